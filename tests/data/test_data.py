"""The loader, the splits, and what happens to files that are not what they should be."""

import gzip
import hashlib
import http.server
import itertools
import logging
import shutil
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import composed, idx_bytes, write_idx_files

from cvae_lightning.core.build import build
from cvae_lightning.core.errors import UserError
from cvae_lightning.data import download
from cvae_lightning.data.datamodule import DataModule
from cvae_lightning.data.digits import Digits
from cvae_lightning.data.download import DownloadFailed, download_missing
from cvae_lightning.data.idx_source import IdxSource
from cvae_lightning.data.loader import Loader
from cvae_lightning.data.splits import Split, split_off


def numbered(num: int) -> Split:
    """Images that can be told apart by their label."""
    return Split(torch.arange(num).to(torch.uint8).reshape(-1, 1, 1, 1).expand(num, 1, 28, 28), torch.arange(num))


def order_of(loader: Loader) -> list[int]:
    return torch.cat([labels for _, labels in loader]).tolist()


@pytest.mark.parametrize("batch_size", [1, 7, 20, 50])
def test_an_epoch_holds_each_image_once_beside_its_label(batch_size: int) -> None:
    loader = Loader(numbered(20), batch_size, shuffle_seed=0)
    batches = list(loader)
    assert len(batches) == len(loader)
    assert sorted(order_of(loader)) == list(range(20))
    for x, y in batches:
        assert x.dtype == torch.float32
        torch.testing.assert_close(x[:, 0, 0, 0], y / 255)


def test_the_order_follows_from_seed_and_epoch() -> None:
    loader, same, other = (Loader(numbered(50), 8, seed) for seed in (1, 1, 2))
    first, second = order_of(loader), order_of(loader)
    assert [order_of(same), order_of(same)] == [first, second]
    assert len({tuple(first), tuple(second), tuple(order_of(other)), tuple(range(50))}) == 4


def test_without_a_seed_images_come_in_their_order() -> None:
    assert order_of(Loader(numbered(10), 3)) == list(range(10))


def test_a_restored_loader_goes_on_where_the_other_stopped() -> None:
    loader, restored = Loader(numbered(30), 8, 5), Loader(numbered(30), 8, 5)
    order_of(loader)
    next(iter(loader))  # an epoch that was interrupted is begun again
    restored.load_state_dict(loader.state_dict())
    assert order_of(restored) == order_of(loader)


def test_passes_repeat_the_split_in_orders_of_their_own() -> None:
    loader = Loader(numbered(10), 10, 0, passes=3)
    passes = [labels.tolist() for _, labels in loader]
    assert loader.num_images == 30
    assert [sorted(labels) for labels in passes] == 3 * [list(range(10))]
    assert passes[0] != passes[1]


@pytest.mark.parametrize("stratified", [False, True])
def test_a_split_is_a_seeded_partition(stratified: bool) -> None:
    whole = Split(numbered(54).images, torch.arange(54) % 3)
    rest, part = split_off(whole, 1 / 6, seed=4, stratified=stratified)
    pixels = torch.cat([rest.images, part.images])[:, 0, 0, 0].tolist()
    assert (len(rest.labels), len(part.labels)) == (45, 9)
    assert sorted(pixels) == list(range(54))
    if stratified:
        assert part.labels.bincount().tolist() == [3, 3, 3]
    again = split_off(whole, 1 / 6, seed=4, stratified=stratified)
    assert torch.equal(part.images, again[1].images)
    assert not torch.equal(part.images, split_off(whole, 1 / 6, seed=5, stratified=stratified)[1].images)


def grey(num: int = 600) -> Split:
    """Images of one grey level each."""
    levels = torch.tensor([0, 64, 127, 128, 200, 255], dtype=torch.uint8).repeat_interleave(num // 6)
    return Split(levels.reshape(-1, 1, 1, 1).expand(-1, 1, 28, 28).contiguous(), torch.arange(num))


class Grey:
    """A source whose splits are all the same, so that nothing but their names tells them apart."""

    name, digests = "grey", dict[str, str]()

    def prepare(self) -> None:
        pass

    def fit_splits(self) -> tuple[Split, Split]:
        return grey(), grey()

    def test_split(self) -> Split:
        return grey()


def module_of(binarize: str | None, seed: int = 0, batch_size: int = 100) -> DataModule:
    module = DataModule(Grey(), batch_size, seed, binarize=binarize)
    module.setup("fit")
    module.setup("test")
    return module


def images_of(loader: Loader) -> torch.Tensor:
    """In the order of their labels."""
    x, y = (torch.cat(parts) for parts in zip(*loader, strict=True))
    return x[y.argsort()]


def test_a_grey_level_is_the_probability_of_white() -> None:
    module = module_of("dynamic")
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        x = images_of(loader)
        assert set(x.unique().tolist()) == {0.0, 1.0}
        assert not x[:100].any(), "black stays black"
        assert x[500:].all(), "white stays white"
        means = x.unflatten(0, (6, 100)).mean((1, 2, 3, 4))
        torch.testing.assert_close(means, torch.tensor([0, 64, 127, 128, 200, 255]) / 255, atol=0.006, rtol=0)


def test_a_threshold_is_half_of_white() -> None:
    module = module_of("static-threshold")
    expected = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0]).repeat_interleave(100)
    for loader in (module.train_dataloader(), module.val_dataloader(), module.test_dataloader()):
        for pixel in images_of(loader).flatten(1).unbind(1):
            assert torch.equal(pixel, expected)


def test_training_images_are_drawn_anew_each_epoch_and_all_others_once() -> None:
    module = module_of("dynamic")
    train = module.train_dataloader()
    epochs = [images_of(train) for _ in range(3)]
    assert not any(torch.equal(one, other) for one, other in itertools.combinations(epochs, 2))
    val, test = images_of(module.val_dataloader()), images_of(module.test_dataloader())
    assert not torch.equal(val, test)
    other = module_of("dynamic", seed=1, batch_size=7)
    assert torch.equal(images_of(other.val_dataloader()), val), "whatever the seed and the batch size"
    assert torch.equal(images_of(Loader(other.splits["val"], 13)), val)
    assert not torch.equal(images_of(other.train_dataloader()), epochs[0])
    assert set(module.splits["train"].images.unique().tolist()) == {0, 255}, "evaluators see black and white too"


def test_drawn_images_are_drawn_again_after_an_interruption() -> None:
    module, again = module_of("dynamic"), module_of("dynamic")
    loader = module.train_dataloader()
    list(loader)
    state = module.state_dict()
    next(iter(loader))
    torch.rand(5)  # whatever happens in between
    again.load_state_dict(state)
    for (x, y), (other_x, other_y) in zip(loader, again.train_dataloader(), strict=True):
        assert torch.equal(x, other_x)
        assert torch.equal(y, other_y)


def test_drawing_images_leaves_the_stream_of_the_training_alone() -> None:
    state = torch.get_rng_state()
    for _ in module_of("dynamic").train_dataloader():
        pass
    assert torch.equal(torch.get_rng_state(), state)


def test_grey_levels_are_left_alone_where_nothing_is_asked_for() -> None:
    module = module_of(None)
    assert torch.equal(images_of(module.train_dataloader()), grey().images / 255)
    assert torch.equal(module.splits["val"].images, grey().images)


def test_the_order_of_the_images_does_not_depend_on_whether_they_are_drawn() -> None:
    assert order_of(module_of("dynamic").train_dataloader()) == order_of(module_of(None).train_dataloader())


@pytest.mark.parametrize("data", ["mnist", "fashion_mnist", "kmnist", "digits"])
def test_every_data_set_can_be_binarized(data: str) -> None:
    config = composed(f"data={data}", "data.binarize=static-threshold")
    assert build(config.data.module).binarize == "static-threshold"
    assert build(composed(f"data={data}").data.module).binarize is None


def test_mnist_is_split_as_in_the_report(mnist_dir: Path) -> None:
    module: DataModule = build(composed(f"data_dir={mnist_dir}").data.module)
    module.setup("fit")
    module.setup("test")
    assert {name: len(split.labels) for name, split in module.splits.items()} == {
        "train": 50_000,
        "val": 10_000,
        "test": 10_000,
    }
    hashes = {
        name: {hashlib.sha1(image.numpy().tobytes()).digest() for image in split.images}
        for name, split in module.splits.items()
    }
    assert not hashes["train"] & hashes["val"]
    assert not (hashes["train"] | hashes["val"]) & hashes["test"]


def test_digits_are_split_5_1_1_class_by_class() -> None:
    source = Digits()
    train, val = source.fit_splits()
    test = source.test_split()
    sizes = torch.stack([split.labels.bincount() for split in (train, val, test)])
    assert sizes.sum() == 1797
    shares = sizes / sizes.sum(0)
    torch.testing.assert_close(shares, torch.tensor([5 / 7, 1 / 7, 1 / 7])[:, None].expand(3, 10), atol=0.01, rtol=0)
    assert train.images.shape[1:] == (1, 28, 28)
    assert train.images.dtype == torch.uint8
    assert train.images.max() == 255


def test_an_epoch_of_digits_has_as_many_steps_as_one_of_mnist() -> None:
    module: DataModule = build(composed("data=digits").data.module)
    module.setup("fit")
    assert len(module.train_dataloader()) == -(-50_000 // 1024)


def test_the_test_set_is_not_read_during_fit(tmp_path: Path) -> None:
    raw = write_idx_files(tmp_path)
    for file in raw.glob("t10k-*"):
        file.write_bytes(b"not to be read")
    module = DataModule(IdxSource("mnist", "MNIST", str(tmp_path)), batch_size=10)
    module.prepare_data()
    module.setup("fit")
    module.setup("validate")
    assert set(module.splits) == {"train", "val"}
    with pytest.raises(UserError, match="t10k-images-idx3-ubyte"):
        module.setup("test")


def test_compressed_files_read_as_raw_ones(tmp_path: Path) -> None:
    sources = []
    for compress in (False, True):
        folder = tmp_path / str(compress)
        write_idx_files(folder, compress=compress)
        sources.append(IdxSource("mnist", "MNIST", str(folder)))
    splits = [source.test_split() for source in sources]
    assert torch.equal(splits[0].images, splits[1].images)
    assert sources[0].digests == sources[1].digests


Damage = Callable[[bytes], bytes]
DAMAGES: dict[str, tuple[Damage, str]] = {
    "a digest that differs": (lambda content: content[:-1] + b"\0", "Expected SHA-256 .* for .*train-labels"),
    "truncated": (lambda content: content[:-5], "Expected a whole file, got 355 of 360 bytes in .*train-labels"),
    "another magic": (lambda content: b"\0\0\x0d\1" + content[4:], "Expected an IDX file .* got .*train-labels"),
    "empty": (lambda content: b"", "Expected an IDX file .* got .*train-labels"),
    "a label too large": (lambda content: content[:-1] + b"\x0b", r"Expected labels in 0\.\.9, got 11 in .*train"),
    "fewer labels": (
        lambda content: content[:4] + struct.pack(">I", 359) + content[8:-1],
        "Expected one label per image, got 359 for 360 in .*train",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    raw = write_idx_files(tmp_path)
    damage, sentence = DAMAGES[name]
    path = raw / "train-labels-idx1-ubyte"
    content = damage(path.read_bytes())
    path.write_bytes(content)
    if "digest" not in name:
        old = (raw / "SHA256SUMS").read_text().splitlines()
        lines = [line for line in old if path.name not in line]
        (raw / "SHA256SUMS").write_text("\n".join([*lines, f"{hashlib.sha256(content).hexdigest()}  {path.name}"]))
    with pytest.raises(UserError, match=sentence):
        IdxSource("mnist", "MNIST", str(tmp_path)).fit_splits()


def test_a_truncated_gzip_file_is_refused_by_name(tmp_path: Path) -> None:
    raw = write_idx_files(tmp_path, compress=True)
    path = raw / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"Expected a whole gzip file, got .*train-images-idx3-ubyte\.gz"):
        IdxSource("mnist", "MNIST", str(tmp_path)).fit_splits()


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    raw = write_idx_files(tmp_path)
    (raw / "SHA256SUMS").unlink()
    (raw / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((60, 32, 32), "u1")))
    with pytest.raises(UserError, match="Expected images of 28x28 pixels"):
        IdxSource("mnist", "MNIST", str(tmp_path)).test_split()


def test_a_file_of_unknown_origin_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = write_idx_files(tmp_path)
    (raw / "SHA256SUMS").unlink()
    source = IdxSource("mnist", "MNIST", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        source.test_split()
    digest = hashlib.sha256((raw / "t10k-labels-idx1-ubyte").read_bytes()).hexdigest()
    assert (
        f"t10k-labels-idx1-ubyte is of unknown origin: there is no digest to check it against (SHA-256 {digest})"
        in caplog.text
    )
    assert source.digests["t10k-labels-idx1-ubyte"] == digest


def test_files_must_have_the_official_digest_where_there_is_one(tmp_path: Path) -> None:
    raw = write_idx_files(tmp_path)
    (raw / "SHA256SUMS").unlink()
    official = composed().data.module.source.sha256
    with pytest.raises(UserError, match="Expected SHA-256 ba891046e650"):
        IdxSource("mnist", "MNIST", str(tmp_path), dict(official)).fit_splits()


def test_a_data_dir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(UserError, match=r"Expected a folder \(data_dir\), got "):
            IdxSource("mnist", "MNIST", str(path))


ARCHIVE = "some-idx1-ubyte.gz"
CONTENT = gzip.compress(idx_bytes(np.arange(5, dtype="u1")))
MD5 = hashlib.md5(CONTENT).hexdigest()


class Mirror(http.server.BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        if "silent" in self.path:
            threading.Event().wait(3)
            return
        content = b"<html>" if "wrong" in self.path else CONTENT
        self.send_response(404 if "absent" in self.path else 200)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that the base class gives it
        pass


@pytest.fixture
def mirror() -> Iterator[str]:
    Mirror.requests = 0
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mirror) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture
def _real_lookup(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mirror of these tests is on this machine, and needs no name server."""
    import socket

    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, *_, **__: [(2, 1, 6, "", (host, port))])


@pytest.mark.usefixtures("_real_lookup")
def test_missing_files_are_downloaded_checked_and_noted(tmp_path: Path, mirror: str) -> None:
    failing = [mirror + "absent/", mirror + "wrong/"]
    download_missing(tmp_path, {ARCHIVE: MD5}, [*failing, mirror])
    raw = tmp_path / "some-idx1-ubyte"
    assert raw.read_bytes() == gzip.decompress(CONTENT)
    assert f"{hashlib.sha256(raw.read_bytes()).hexdigest()}  {raw.name}\n" == (tmp_path / "SHA256SUMS").read_text()
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.usefixtures("_real_lookup")
def test_one_downloads_while_the_others_wait(tmp_path: Path, mirror: str) -> None:
    threads = [
        threading.Thread(target=download_missing, args=(tmp_path, {ARCHIVE: MD5}, [mirror]), daemon=True)
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Mirror.requests == 1


@pytest.mark.usefixtures("_real_lookup")
def test_a_silent_mirror_is_given_up(tmp_path: Path, mirror: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert download.SECONDS_WITHOUT_DATA == 20
    monkeypatch.setattr(download, "SECONDS_WITHOUT_DATA", 0.2)
    with pytest.raises(DownloadFailed, match=r"127\.0\.0\.1: timed out"):
        download_missing(tmp_path, {ARCHIVE: MD5}, [mirror + "silent/"])
    assert not (tmp_path / "some-idx1-ubyte").exists()


@pytest.mark.usefixtures("_real_lookup")
def test_a_file_that_is_not_the_official_one_is_not_kept(tmp_path: Path, mirror: str) -> None:
    with pytest.raises(DownloadFailed, match=r"some-idx1-ubyte\.gz is not the official file"):
        download_missing(tmp_path, {ARCHIVE: MD5}, [mirror + "wrong/"])
    assert not (tmp_path / "some-idx1-ubyte").exists()


def test_files_that_are_there_are_not_asked_for(tmp_path: Path) -> None:
    shutil.copy(write_idx_files(tmp_path) / "t10k-labels-idx1-ubyte", tmp_path / "some-idx1-ubyte")
    download_missing(tmp_path, {ARCHIVE: MD5}, ["http://192.0.2.1/"])


def test_shifts_move_about_half_of_the_batches_and_lose_no_image() -> None:
    """A dot in the middle, so that each batch tells where it was moved to."""
    images = torch.zeros(400, 1, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 2] = 255
    loader = Loader(Split(images, torch.arange(400)), batch_size=2, shuffle_seed=0, max_shift=1)
    batches = list(loader)
    assert sorted(label for _, y in batches for label in y.tolist()) == list(range(400))
    places = [tuple((x[0, 0] == 1).nonzero()[0].tolist()) for x, _ in batches]
    assert all(x[0].equal(x[1]) and x.sum() == 2 for x, _ in batches), "a batch moves as one"
    assert set(places) == {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}
    assert 0.4 < sum(place == (2, 2) for place in places) / len(places) < 0.7
    again = Loader(loader.split, batch_size=2, shuffle_seed=0, max_shift=1)
    assert all(a[0].equal(b[0]) for a, b in zip(batches, again, strict=True)), "the same in the same epoch"
    assert not all(a[0].equal(b[0]) for a, b in zip(batches, again, strict=True)), "others in the next"


def test_what_is_shifted_out_is_gone_and_black_comes_in() -> None:
    loader = Loader(Split(torch.full((8, 1, 4, 4), 255, dtype=torch.uint8), torch.zeros(8).long()), 1, 0, max_shift=3)
    sums = {int(x.sum()) for x, _ in loader}
    assert max(sums) == 16
    assert min(sums) < 16
