"""What people have in data_dir: digests in any form, other names and other places, and files without images."""

import gzip
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import composed, idx_bytes, write_idx_files
from hypothesis import given
from hypothesis import strategies as st

from cvae_lightning.core.errors import DataUnavailable, UserError
from cvae_lightning.core.files import listed_digests
from cvae_lightning.data.idx_source import IdxSource

DIGEST = hashlib.sha256(b"x").hexdigest()
LINES: dict[str, tuple[bytes, str]] = {
    "sha256sum": (f"{DIGEST}  name\n".encode(), "name"),
    "binary mode": (f"{DIGEST} *name\n".encode(), "name"),
    "one blank": (f"{DIGEST} name".encode(), "name"),
    "upper case, as Windows writes it": (f"{DIGEST.upper()}  name\r\n".encode(), "name"),
    "a byte order mark": (f"\ufeff{DIGEST}  name\n".encode(), "name"),
    "a folder before the name": (f"{DIGEST}  ./name\n".encode(), "name"),
    "--tag": (f"SHA256 (name) = {DIGEST}\n".encode(), "name"),
    "openssl": (f"SHA2-256(name)= {DIGEST}\n".encode(), "name"),
    "an escaped name": (f"\\{DIGEST}  na\\\\me\\n\n".encode(), "na\\me\n"),
    "an escaped name with --tag": (f"\\SHA256 (na\\\\me) = {DIGEST}\n".encode(), "na\\me"),
    "blanks in the name": (f"{DIGEST}  a name (1)\n".encode(), "a name (1)"),
    "comments and blank lines": (f"# of today\n\n{DIGEST}  name\n \n".encode(), "name"),
    "the last of two lines": (f"{'0' * 64}  name\n{DIGEST}  name\n".encode(), "name"),
    "a name in latin-1 beside it": (b"%s  B\xfccher\n%s  name\n" % ((DIGEST.encode(),) * 2), "name"),
}


@pytest.mark.parametrize("form", LINES)
def test_digests_are_read_in_any_form(tmp_path: Path, form: str) -> None:
    content, name = LINES[form]
    (tmp_path / "SHA256SUMS").write_bytes(content)
    assert listed_digests(tmp_path / "SHA256SUMS")[name] == DIGEST


@pytest.mark.parametrize("arguments", [[], ["--binary"], ["--tag"]])
@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_digests_are_read_as_sha256sum_writes_them(tmp_path: Path, arguments: list[str]) -> None:
    for name in ("plain", "with blank", "back\\slash", "new\nline", "(1) = 2"):
        (tmp_path / name).write_bytes(name.encode())
    names = [path.name for path in tmp_path.iterdir()]
    sums = subprocess.run(["sha256sum", *arguments, "--", *names], cwd=tmp_path, capture_output=True, check=True).stdout
    (tmp_path / "SHA256SUMS").write_bytes(sums)
    assert listed_digests(tmp_path / "SHA256SUMS") == {
        name: hashlib.sha256(name.encode()).hexdigest() for name in names
    }


@pytest.mark.parametrize(
    "line", ["oneword", DIGEST, f"{DIGEST[:-1]}  name", "-----BEGIN PGP SIGNATURE-----", f"MD5 (name) = {DIGEST}"]
)
def test_a_line_that_is_no_digest_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{DIGEST}  name\n\n{line}\n")
    with pytest.raises(UserError, match=r"Expected lines `<SHA-256>  <file name>`, got .* in line 3 of .*SHA256SUMS"):
        listed_digests(tmp_path / "SHA256SUMS")


def test_a_list_in_utf_16_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_bytes(f"{DIGEST}  name\n".encode("utf-16"))  # as PowerShell redirects
    with pytest.raises(UserError, match=r"in line 1 of .*SHA256SUMS"):
        listed_digests(tmp_path / "SHA256SUMS")


@given(st.binary(max_size=200))
def test_any_list_is_read_or_refused(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            digests = listed_digests(Path(file.name))
        except UserError:
            return
        assert all(len(digest) == 64 for digest in digests.values())


def source(data_dir: Path) -> IdxSource:
    return IdxSource("mnist", "MNIST", str(data_dir))


def test_compressed_files_are_checked_by_digests_of_either_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = write_idx_files(tmp_path, compress=True)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in raw.glob("*.gz")]
    (raw / "SHA256SUMS").write_text("".join(lines))
    again = source(tmp_path)
    again.test_split()
    again.fit_splits()
    assert not caplog.text, "the origin is known"
    assert len(again.digests) == 4
    (raw / "SHA256SUMS").write_text("".join(lines).replace(lines[0][:8], "00000000"))
    with pytest.raises(
        UserError, match=r"Expected SHA-256 00000000.* as in .*SHA256SUMS, got .*\.gz\. Replace the file"
    ):
        again.fit_splits(), again.test_split()


def test_files_of_ones_own_are_told_how_they_are_listed(tmp_path: Path) -> None:
    raw = write_idx_files(tmp_path / "my data")
    (raw / "SHA256SUMS").unlink()
    own = IdxSource("mnist", "MNIST", str(tmp_path / "my data"), dict(composed().data.module.source.sha256))
    with pytest.raises(
        UserError, match=r"of the official file, got .* If these are images of your own, list them: "
    ) as caught:
        own.fit_splits()
    command = str(caught.value).partition("list them: ")[2].partition("SHA256SUMS")
    subprocess.run("".join(command[:2]), shell=True, check=True, executable="/bin/sh")
    assert len(own.fit_splits()[0].labels) == 300


@pytest.mark.parametrize("compress", [False, True])
def test_kaggles_names_are_read_and_recorded_under_the_usual_ones(tmp_path: Path, compress: bool) -> None:
    usual, kaggle = tmp_path / "usual", tmp_path / "kaggle"
    write_idx_files(usual, compress=compress)
    raw = write_idx_files(kaggle, compress=compress)
    for path in raw.glob("*-idx*"):
        path.rename(raw / path.name.replace("-idx", ".idx"))
    (raw / "train-images-idx3-ubyte").mkdir()  # Kaggle's archive has folders of the usual names too
    sources = [source(usual), source(kaggle)]
    for one in sources:
        one.prepare()
        one.fit_splits()
        one.test_split()
    assert sources[0].digests == sources[1].digests
    assert set(sources[1].digests) == {
        f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
    }


@pytest.mark.parametrize("place", [".", "MNIST"])
@pytest.mark.parametrize("rename", [str, lambda name: name.replace("-idx", ".idx")])
def test_files_in_another_place_are_named_with_the_right_one(
    tmp_path: Path, place: str, rename: Callable[[str], str]
) -> None:
    raw = write_idx_files(tmp_path)
    for path in raw.iterdir():
        path.rename(tmp_path / place / rename(path.name))
    raw.rmdir()
    with pytest.raises(
        UserError, match=rf"Expected the files of mnist in {raw} \(data_dir\), got .*{rename('images-idx3')}"
    ) as caught:
        source(tmp_path).prepare()
    assert not isinstance(caught.value, DataUnavailable), "nothing else is trained on instead"
    assert not raw.exists()


def test_where_nothing_is_downloaded_no_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match="got none"):
        source(tmp_path / "new" / "data").prepare()
    assert not list(tmp_path.iterdir())
    (tmp_path / "MNIST" / "raw").mkdir(parents=True)
    with pytest.raises(DataUnavailable, match="got none"):
        source(tmp_path).prepare()
    assert (tmp_path / "MNIST" / "raw").is_dir(), "a folder that was there is left"


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    (write_idx_files(tmp_path) / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataUnavailable, match=r"got no t10k-labels-idx1-ubyte \("):
        source(tmp_path).prepare()


@pytest.mark.parametrize("name", ["MNIST", "MNIST/raw"])
def test_a_file_where_a_folder_is_expected_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    with pytest.raises(UserError, match=r"Expected a folder \(data_dir\)"):
        source(tmp_path)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("num", [0, 1, 2, 5])
def test_a_few_images_or_none_are_split_without_an_error(tmp_path: Path, num: int, compress: bool) -> None:
    write_idx_files(tmp_path, train=num, test=num, compress=compress)
    train, val = source(tmp_path).fit_splits()
    assert len(train.labels) + len(val.labels) == num
    assert len(source(tmp_path).test_split().labels) == num
    assert train.images.shape[1:] == val.images.shape[1:] == (1, 28, 28)


@pytest.mark.parametrize("shape", [(0, 0, 0), (0, 32, 32), (60, 28, 27)])
def test_images_of_another_size_are_refused_however_many(tmp_path: Path, shape: tuple[int, ...]) -> None:
    raw = write_idx_files(tmp_path, test=shape[0])
    (raw / "SHA256SUMS").unlink()
    content = idx_bytes(np.zeros(shape, "u1"))
    (raw / "t10k-images-idx3-ubyte").write_bytes(gzip.compress(content))
    with pytest.raises(UserError, match=r"Expected images of 28x28 pixels, got \(\d+, \d+\) in .*t10k"):
        source(tmp_path).test_split()
