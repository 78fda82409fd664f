"""Data sets that torchvision downloads: small files in each official format, downloads that fail, and damaged files."""

import bz2
import functools
import gzip
import hashlib
import io
import os
import pickle
import socket
import string
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from helpers import composed, idx_bytes
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from cvae_lightning.core.build import build
from cvae_lightning.core.conditions import Classes, Condition
from cvae_lightning.core.errors import DataUnavailable, UserError
from cvae_lightning.data import torchvision_source
from cvae_lightning.data.sources import source_of
from cvae_lightning.data.torchvision_source import SHAPES, SPLITS, TorchvisionSource

RANDOM = np.random.default_rng(0)
Patch = pytest.MonkeyPatch
Array = npt.NDArray[Any]
RESOLVE = socket.getaddrinfo  # which the tests otherwise replace


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def source(name: str, folder: Path, *overrides: str) -> TorchvisionSource:
    """The source that conf/data/<name>.yaml describes."""
    built: TorchvisionSource = build(composed(f"data={name}", f"data_dir={folder}", *overrides).data.module.source)
    return built


def write(file: Path, content: bytes) -> str:
    """Write a file; return its MD5."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return md5(content)


def cifar_files(folder: Path, patch: Patch, name: str = "CIFAR10") -> dict[str, Array]:
    """CIFAR's files with ten images each; returns the images and labels of each part."""
    official: Any = getattr(datasets, name)
    parts, known = {}, {}
    for kind in ("train_list", "test_list"):
        sums, images, labels = [], [], []
        for batch, _ in getattr(official, kind):
            pixels = RANDOM.integers(0, 256, (10, 3072), "u1")
            fine = RANDOM.integers(0, 10 if name == "CIFAR10" else 100, 10).tolist()
            key = "labels" if name == "CIFAR10" else "fine_labels"
            content = {"data": pixels, key: fine, "coarse_labels": [label // 5 for label in fine]}
            sums.append([batch, write(folder / official.base_folder / batch, pickle.dumps(content))])
            images.append(pixels.reshape(-1, 3, 32, 32))
            labels += fine
        patch.setattr(official, kind, sums)
        known[kind] = (np.concatenate(images), labels)
    fine_names = [f"fine {number}" for number in range(100)]
    meta = {
        "label_names": list("abcdefghij"),
        "fine_label_names": fine_names,
        "coarse_label_names": [f"coarse {number}" for number in range(20)],
    }
    sum_of_meta = write(folder / official.base_folder / official.meta["filename"], pickle.dumps(meta))
    patch.setattr(official, "meta", {**official.meta, "md5": sum_of_meta})
    parts["images"], parts["labels"] = (np.asarray(part) for part in known["test_list"])
    parts["train_images"], parts["train_labels"] = (np.asarray(part) for part in known["train_list"])
    return parts


def both_parts(data: TorchvisionSource) -> tuple[Any, Any]:
    """Train and val together, in the order of the files if there is one image of each kind, and test."""
    assert data.available()
    data.prepare()
    train, val = data.fit_splits()
    return (torch.cat([train.images, val.images]), torch.cat([train.labels, val.labels])), data.test_split()


def pairs(images: Any, labels: Any) -> set[tuple[bytes, Any]]:
    return {(np.ascontiguousarray(image).tobytes(), int(label)) for image, label in zip(images, labels, strict=True)}


def test_cifar10(tmp_path: Path, monkeypatch: Patch) -> None:
    files = cifar_files(tmp_path, monkeypatch)
    data = source("cifar10", tmp_path)
    assert data.facts() == ((3, 32, 32), Condition((Classes("label", tuple("abcdefghij")),)))
    fit, test = both_parts(data)
    assert torch.equal(test.images, torch.from_numpy(files["images"]))
    assert test.labels.tolist() == files["labels"].tolist()
    assert len(fit[1]) == 50
    assert pairs(fit[0].numpy(), fit[1]) == pairs(files["train_images"], files["train_labels"])
    assert "data_batch_3" in data.digests
    assert len(data.digests) == 7


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        ("[label]", {"label": 100}),
        ("[superclass]", {"superclass": 20}),
        ("[label,superclass]", {"label": 100, "superclass": 20}),
    ],
)
def test_cifar100(condition: str, columns: dict[str, int], tmp_path: Path, monkeypatch: Patch) -> None:
    files = cifar_files(tmp_path, monkeypatch, "CIFAR100")
    data = source("cifar100", tmp_path, f"data.condition={condition}")
    described = data.facts().condition
    assert {column.name: column.width for column in described.columns} == columns
    _, test = both_parts(data)
    labels = test.labels if test.labels.ndim == 2 else test.labels[:, None]
    by_name = {"label": files["labels"], "superclass": files["labels"] // 5}
    assert labels.long().tolist() == np.stack([by_name[name] for name in columns], 1).tolist()
    assert described.written(test.labels)[0].endswith(
        f"{'fine' if 'superclass' not in columns else 'coarse'} {labels[0, -1]:.0f}"
    )


def svhn_files(folder: Path, patch: Patch) -> dict[str, tuple[Array, Array]]:
    """Files of SVHN with the labels 1 to 10, where 10 is the digit 0."""
    parts, sums = {}, {}
    for number, (part, (url, name, _)) in enumerate(datasets.SVHN.split_list.items()):
        images = RANDOM.integers(0, 256, (20 + number, 3, 32, 32), "u1")
        labels = (np.arange(20 + number) % 10 + 1).astype("u1")
        savemat(folder / name, {"X": images.transpose(2, 3, 1, 0), "y": labels[:, None]})
        sums[part] = [url, name, md5((folder / name).read_bytes())]
        parts[part] = images, labels % 10
    patch.setattr(datasets.SVHN, "split_list", sums)
    return parts


@pytest.mark.parametrize("extra", [False, True])
def test_svhn(extra: bool, tmp_path: Path, monkeypatch: Patch) -> None:
    files = svhn_files(tmp_path, monkeypatch)
    data = source("svhn", tmp_path, f"data.extra={str(extra).lower()}")
    assert data.facts() == ((3, 32, 32), Condition((Classes("label", tuple(string.digits)),)))
    fit, test = both_parts(data)
    assert torch.equal(test.images, torch.from_numpy(files["test"][0]))
    assert test.labels.tolist() == files["test"][1].tolist()
    wanted = [files["train"], *([files["extra"]] * extra)]
    assert pairs(fit[0].numpy(), fit[1]) == set().union(*(pairs(*part) for part in wanted))
    assert ("extra_32x32.mat" in data.digests) == extra


def emnist_files(folder: Path, split: str, labels: Array, numbers: int = 30) -> Array:
    """EMNIST's archive with the letter L in each image, transposed as in the official files; returns the images."""
    images = np.zeros((numbers, 28, 28), "u1")
    images[:, 4:24, 8] = 255  # upright
    images[:, 23, 8:20] = 255
    images[:, 0, 0] = np.arange(numbers)  # each is different
    with zipfile.ZipFile(folder / "gzip.zip", "w") as archive:
        for part in ("train", "test"):
            for kind, array in (("images-idx3", images.transpose(0, 2, 1)), ("labels-idx1", labels)):
                content = gzip.compress(idx_bytes(np.ascontiguousarray(array)))
                archive.writestr(f"gzip/emnist-{split}-{part}-{kind}-ubyte.gz", content)
    return images


@pytest.mark.parametrize(
    ("split", "first", "names"),
    [
        ("byclass", 0, string.digits + string.ascii_uppercase + string.ascii_lowercase),
        ("balanced", 0, string.digits + string.ascii_uppercase + "abdefghnqrt"),
        ("bymerge", 0, string.digits + string.ascii_uppercase + "abdefghnqrt"),
        ("letters", 1, string.ascii_lowercase),
        ("digits", 0, string.digits),
        ("mnist", 0, string.digits),
    ],
)
def test_emnist_is_upright_and_its_letters_are_named(
    split: str, first: int, names: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    """The archive in data_dir is unpacked without a network."""
    raw = tmp_path / "EMNIST" / "raw"
    raw.mkdir(parents=True)
    labels = (np.arange(30) % len(names) + first).astype("u1")
    images = emnist_files(raw, split, labels)
    monkeypatch.setattr(datasets.EMNIST, "md5", md5((raw / "gzip.zip").read_bytes()))
    data = source("emnist", tmp_path, f"data.split={split}")
    assert data.name == f"emnist_{split}"
    assert not data.available()
    data.prepare()
    assert data.facts() == ((1, 28, 28), Condition((Classes("label", tuple(names)),)))
    _, test = both_parts(data)
    assert torch.equal(test.images[:, 0], torch.from_numpy(images))
    assert test.labels.tolist() == (labels - first).tolist()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "EMNIST"]
    assert (raw / "gzip.zip").is_file()


def usps_file(images: Array, labels: Array) -> bytes:
    """The text of libsvm: the label from 1 on, then index:value from -1 to 1."""
    lines = (
        f"{label + 1} " + " ".join(f"{index}:{value / 127.5 - 1:.6f}" for index, value in enumerate(image.ravel(), 1))
        for image, label in zip(images, labels, strict=True)
    )
    return bz2.compress("\n".join(lines).encode())


def usps_files(folder: Path, patch: Patch) -> dict[str, tuple[Array, Array]]:
    parts, sums = {}, {}
    for part, (url, name, _) in datasets.USPS.split_list.items():
        images, labels = RANDOM.integers(0, 2, (20, 16, 16)).astype("u1") * 255, np.arange(20) % 10
        sums[part] = [url, name, write(folder / name, usps_file(images, labels))]
        parts[part] = images, labels
    patch.setattr(datasets.USPS, "split_list", sums)
    return parts


def test_usps(tmp_path: Path, monkeypatch: Patch) -> None:
    files = usps_files(tmp_path, monkeypatch)
    data = source("usps", tmp_path)
    assert data.facts() == ((1, 16, 16), Condition((Classes("label", tuple(string.digits)),)))
    fit, test = both_parts(data)
    assert torch.equal(test.images[:, 0], torch.from_numpy(files["test"][0]))
    assert test.labels.tolist() == files["test"][1].tolist()
    assert pairs(fit[0].numpy(), fit[1]) == pairs(*files["train"])


def qmnist_files(folder: Path) -> dict[str, tuple[Array, Array]]:
    parts = {}
    for part in ("train", "test"):
        images = RANDOM.integers(0, 256, (20, 28, 28), "u1")
        labels = np.stack([np.arange(20) % 10, *RANDOM.integers(0, 9000, (7, 20))], 1).astype(">i4")
        header = struct.pack(">BBBB2I", 0, 0, 12, 2, *labels.shape)
        write(folder / "QMNIST" / "raw" / f"qmnist-{part}-images-idx3-ubyte", idx_bytes(images))
        write(folder / "QMNIST" / "raw" / f"qmnist-{part}-labels-idx2-int", header + labels.tobytes())
        parts[part] = images, labels[:, 0]
    return parts


def test_qmnist(tmp_path: Path) -> None:
    files = qmnist_files(tmp_path)
    data = source("qmnist", tmp_path)
    assert data.facts() == ((1, 28, 28), Condition((Classes("label", tuple(string.digits)),)))
    fit, test = both_parts(data)
    assert torch.equal(test.images[:, 0], torch.from_numpy(files["test"][0]))
    assert test.labels.tolist() == files["test"][1].tolist()
    assert pairs(fit[0].numpy(), fit[1]) == pairs(*files["train"])


def omniglot_files(folder: Path, patch: Patch) -> dict[tuple[str, str], list[Array]]:
    """Omniglot's archives with two alphabets each, seven drawings of each of three characters: black on white."""
    sums, drawn = {}, {}
    for part, alphabets in (("images_background", "BA"), ("images_evaluation", "CD")):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for alphabet in alphabets:
                for character in range(1, 4):
                    name = f"{alphabet}/character{character:02}"
                    drawn[part, name] = [RANDOM.random((105, 105)) < 0.1 for _ in range(7)]
                    for number, strokes in enumerate(drawn[part, name]):
                        png = io.BytesIO()
                        Image.fromarray(~strokes).save(png, format="png")
                        archive.writestr(f"{part}/{name}/{character:04}_{number:02}.png", png.getvalue())
        sums[part] = write(folder / "omniglot-py" / f"{part}.zip", content.getvalue())
    patch.setattr(datasets.Omniglot, "zips_md5", sums)
    return drawn


@pytest.mark.parametrize("split", SPLITS["Omniglot"])
def test_omniglot(split: str, tmp_path: Path, monkeypatch: Patch) -> None:
    drawn = omniglot_files(tmp_path, monkeypatch)
    wanted = {name: images for (part, name), images in drawn.items() if split in (part.partition("_")[2], "all")}
    data = source("omniglot", tmp_path, f"data.split={split}", "data.size=null")
    assert data.facts() == ((1, 105, 105), Condition((Classes("label", tuple(sorted(wanted))),)))
    (images, labels), test = both_parts(data)
    assert len(test.labels) == len(wanted)  # one of seven of each character
    found = pairs(torch.cat([images, test.images]).numpy(), torch.cat([labels, test.labels]))
    names = sorted(wanted)
    expected = ((255 * image.astype("u1"), names.index(name)) for name in wanted for image in wanted[name])
    assert found == {(image.tobytes(), number) for image, number in expected}
    alphabets = source("omniglot", tmp_path, f"data.split={split}", "data.condition=[alphabet]")
    assert alphabets.facts().image_shape == (1, 28, 28)
    test = alphabets.test_split()
    assert test.condition
    assert test.condition.class_names == tuple(sorted({name[0] for name in wanted}))
    assert test.labels.bincount().tolist() == [3] * len(test.condition.class_names)


SMALL: dict[str, Callable[[Path, Patch], Any]] = {
    "cifar10": cifar_files,
    "cifar100": functools.partial(cifar_files, name="CIFAR100"),
    "svhn": svhn_files,
    "usps": usps_files,
    "qmnist": lambda folder, _: qmnist_files(folder),
    "omniglot": omniglot_files,
}


@pytest.mark.parametrize("name", SMALL)
def test_another_size_and_grey(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    """With what `describe_data` writes into a run directory, the same images come again."""
    SMALL[name](tmp_path, monkeypatch)
    overrides = ["data.size=[12, 14]", "data.channels=1"]
    config = composed(f"data={name}", f"data_dir={tmp_path}", *overrides)
    facts = source_of(config).facts()
    assert facts.image_shape == (1, 12, 14)
    config.data.condition = facts.condition.described()
    data = source_of(config)
    assert data.test_split().images.shape[1:] == (1, 12, 14)
    assert data.test_split().condition == facts.condition


@pytest.mark.parametrize("name", [*SMALL, "emnist"])
def test_without_files_and_without_a_network(name: str, tmp_path: Path) -> None:
    """The sentence says what is missing and where to put which file, and nothing is left behind."""
    folder = tmp_path / "new" / "data"
    data = source(name, folder)
    assert not data.available()
    with pytest.raises(DataUnavailable) as error:
        data.prepare()
    assert all(words in str(error.value) for words in ("data_dir", data.name, "no network", "Put ", "run once"))
    assert all(Path(archive).name in str(error.value) for archive in data._archives)
    assert str(folder / Path(next(iter(data._archives))).parent) in str(error.value)
    assert not (tmp_path / "new").exists()


def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: Patch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # never answers
        monkeypatch.setattr(socket, "getaddrinfo", RESOLVE)
        monkeypatch.setattr(torchvision_source, "SECONDS_WITHOUT_DATA", 0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/usps"
        names = {"train": "usps.bz2", "test": "usps.t.bz2"}
        monkeypatch.setattr(datasets.USPS, "split_list", {part: [address, name, "0"] for part, name in names.items()})
        start = time.monotonic()
        with pytest.raises(DataUnavailable, match="timed out"):
            source("usps", tmp_path).prepare()
        assert time.monotonic() - start < 10
    assert socket.getdefaulttimeout() is None


class Server:
    """Serves files on this machine, and counts what was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection:
                name = connection.recv(4096).split()[1].decode().strip("/")
                self.asked.append(name)
                body = self.files.get(name)
                status = "404 Not Found" if body is None else "200 OK"
                size = len(body or b"")
                head = f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode() + (body or b""))


def packed(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(folder, folder.name)
    return content.getvalue()


def test_a_download_is_complete_or_absent(tmp_path: Path, monkeypatch: Patch) -> None:
    """torchvision unpacks in a folder of its own; the files appear in data_dir once all of them are there."""
    monkeypatch.setattr(socket, "getaddrinfo", RESOLVE)
    cifar_files(tmp_path / "made", monkeypatch)
    archive = packed(tmp_path / "made" / "cifar-10-batches-py")
    server = Server({"cifar-10-python.tar.gz": archive[: len(archive) // 2]})
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{server.url}/cifar-10-python.tar.gz")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(archive))
    data = source("cifar10", tmp_path / "data")
    with pytest.raises(DataUnavailable, match="corrupted"):
        data.prepare()
    assert not (tmp_path / "data").exists()
    server.files["cifar-10-python.tar.gz"] = archive
    data.prepare()
    assert data.available()
    assert len(data.fit_splits()[0].labels) > 0
    left = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert left == [".lock", "cifar-10-batches-py", "cifar-10-python.tar.gz"]
    num_asked = len(server.asked)
    data.prepare()
    assert len(server.asked) == num_asked  # nothing is downloaded twice
    (tmp_path / "data" / "cifar-10-batches-py" / "test_batch").unlink()
    data.prepare()  # from the archive
    assert len(server.asked) == num_asked
    assert data.available()
    server.socket.close()


def test_what_a_killed_download_has_left_is_removed(tmp_path: Path, monkeypatch: Patch) -> None:
    (tmp_path / ".CIFAR10-killed").mkdir()
    (tmp_path / ".CIFAR10-killed" / "half").touch()
    with pytest.raises(DataUnavailable):
        source("cifar10", tmp_path).prepare()
    assert not (tmp_path / ".CIFAR10-killed").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataUnavailable, match=r"Not a directory|File exists"):
        source("usps", tmp_path / "file").prepare()


class Payload:
    """An object whose pickle would write a file when it is read."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("file", ["data_batch_2", "batches.meta"])
def test_no_code_in_a_pickle_is_run(file: str, tmp_path: Path, monkeypatch: Patch) -> None:
    cifar_files(tmp_path, monkeypatch)
    write(tmp_path / "cifar-10-batches-py" / file, pickle.dumps(Payload(tmp_path / "harm")))
    data = source("cifar10", tmp_path)
    with pytest.raises(UserError, match=f"official files of cifar10.*Delete .*{file}"):
        (data.facts(), data.fit_splits())
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("svhn", "test_32x32.mat"),
        ("usps", "usps.t.bz2"),
        ("qmnist", "QMNIST/raw/qmnist-test-images-idx3-ubyte"),
        ("qmnist", "QMNIST/raw/qmnist-test-labels-idx2-int"),
        ("omniglot", "omniglot-py/images_background.zip"),
    ],
)
def test_damaged_files(name: str, file: str, tmp_path: Path, monkeypatch: Patch) -> None:
    SMALL[name](tmp_path, monkeypatch)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    data = source(name, tmp_path)
    with pytest.raises(UserError, match=f"official files of {data.name}.*{Path(file).name}"):
        (data.facts(), data.fit_splits(), data.test_split())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data=emnist", "data.split=capitals"], r"byclass or .*data\.split"),
        (["data=omniglot", "data.split=null"], r"background or .*data\.split"),
        (["data=svhn", "data.extra=2"], r"data\.extra"),
        (["data=cifar10", "data_dir="], "data_dir"),
        (["data=cifar10", "data.module.source.dataset=Food101"], "CIFAR100.*'Food101'"),
        (["data=cifar10", "data.size=-1"], r"data\.size"),
    ],
)
def test_refused_before_anything_is_downloaded(overrides: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build(composed(*overrides).data.module.source)


def test_a_condition_that_the_data_do_not_have(tmp_path: Path, monkeypatch: Patch) -> None:
    cifar_files(tmp_path, monkeypatch)
    with pytest.raises(UserError, match=r"label.*data\.condition.*'superclass'"):
        source("cifar10", tmp_path, "data.condition=[superclass]").facts()


def test_every_dataset_is_a_class_of_torchvision() -> None:
    assert all(hasattr(datasets, name) for name in SHAPES)
    assert set(datasets.EMNIST.splits) == set(SPLITS["EMNIST"])


def test_torchvisions_classes_are_not_imported_before_they_are_needed() -> None:
    code = (
        "import sys; from cvae_lightning.data.torchvision_source import TorchvisionSource as S; "
        "S('cifar10', 'CIFAR10', 'data').available(); sys.exit('torchvision' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
