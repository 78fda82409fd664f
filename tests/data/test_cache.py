"""The cache of decoded images: decoded once, again only if the content has changed, and never half."""

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Stop
from joblib import Parallel, delayed
from PIL import Image

from cvae_lightning.core import capacity
from cvae_lightning.core.errors import UserError
from cvae_lightning.data import cache, mapped, workers
from cvae_lightning.data.decoding import decode_into
from cvae_lightning.data.folder import Folder
from cvae_lightning.data.loader import Loader
from cvae_lightning.data.mapped import mapped_images


def write(folder: Path, name: str, seed: int) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3)).astype("u1")
    Image.fromarray(pixels).save(folder / name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of seven images, whose files are equally large whatever they show."""
    for seed in range(14):
        write(tmp_path / "birds", f"{'ab'[seed % 2]}/{seed}.bmp", seed)
    return tmp_path / "birds"


def source_of(folder: Path, **arguments: Any) -> Folder:
    return Folder(str(folder), str(folder.parent / "data"), size=[6, 5], channels=3, **arguments)


def bytes_of(source: Folder) -> bytes:
    return b"".join(split.images.numpy().tobytes() for split in (*source.fit_splits(), source.test_split()))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were decoded."""
    seen: list[str] = []

    def noted(directory: Path, decoding: Any, folder: Path, places: Any) -> Any:
        seen.extend(Path(place.name).name for place in places)
        return decode_into(directory, decoding, folder, places)

    monkeypatch.setattr(cache, "decode_into", noted)
    return seen


def touch(folder: Path) -> None:
    for file in folder.glob("*/*"):
        os.utime(file, ns=(1, 1))


def test_a_folder_is_decoded_once(folder: Path, decoded: list[str]) -> None:
    first = source_of(folder)
    assert bytes_of(first) == bytes_of(source_of(folder))
    assert len(decoded) == 14
    assert sorted(path.name for path in (folder.parent / "data" / "cache").rglob("*.*")) == [
        *("images.json", "test.bytes", "train.bytes", "val.bytes")
    ]


def test_how_images_are_decoded_belongs_to_the_cache(folder: Path) -> None:
    def images(**arguments: Any) -> torch.Tensor:
        return (
            Folder(str(folder), str(folder.parent / "data"), **{"size": 9, "channels": 3, **arguments})
            .test_split()
            .images
        )

    assert images(channels=1).shape[1] == 1
    assert not torch.equal(images(), images(background="white"))
    assert not torch.equal(images(), images(fit="crop"))
    assert not torch.equal(images(), images(split_seed=1))


def test_a_touched_folder_is_not_decoded_again(
    folder: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = source_of(folder)
    expected = bytes_of(first)
    touch(folder)
    again = source_of(folder)
    assert bytes_of(again) == expected
    assert again.digests == first.digests
    assert len(decoded) == 14
    monkeypatch.setattr(cache, "digests_of", None)  # the record was renewed
    assert bytes_of(source_of(folder)) == expected


def test_changed_content_is_seen(folder: Path, decoded: list[str]) -> None:
    """A file of the same name and size, and with the pixels of another one."""
    first = source_of(folder)
    expected = bytes_of(first)
    train, _ = first.fit_splits()
    mapped = train.images.clone()
    for seed in range(14):
        write(folder, f"{'ab'[seed % 2]}/{seed}.bmp", 99 + seed)
    again = source_of(folder)
    assert bytes_of(again) != expected
    assert again.digests != first.digests
    assert len(decoded) == 28
    assert torch.equal(train.images, mapped), "what is mapped stays as it is"
    with pytest.raises(UserError, match="birds have changed since this process began"):
        first.test_split()


@pytest.mark.parametrize("change", [lambda f: write(f, "a/new.bmp", 7), lambda f: (f / "a" / "0.bmp").unlink()])
def test_another_list_of_files_is_seen(folder: Path, decoded: list[str], change: Callable[[Path], Any]) -> None:
    bytes_of(source_of(folder))
    change(folder)
    bytes_of(source_of(folder))
    assert len(decoded) in (27, 29)


def test_the_digest_is_that_of_sha256sum(folder: Path) -> None:
    import hashlib

    source = source_of(folder)
    source.fit_splits()
    files = sorted(f"{file.parent.name}/{file.name}" for file in folder.glob("*/*"))
    lines = "".join(f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in files)
    assert source.digests == {"images": hashlib.sha256(lines.encode()).hexdigest()}


@pytest.mark.parametrize("part", ["write_whole", "_shared", "_close_gaps"])
def test_a_killed_decoding_leaves_nothing_that_is_used(
    folder: Path, decoded: list[str], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(cache, part, stop)
        with pytest.raises(Stop):
            source_of(folder).fit_splits()
    decoded.clear()
    bytes_of(source_of(folder))
    assert len(decoded) == 14
    assert not list(folder.parent.rglob("*.part"))


@pytest.mark.parametrize("damage", [b"", b"{}x"])
def test_a_damaged_record_is_not_used(folder: Path, decoded: list[str], damage: bytes) -> None:
    expected = bytes_of(source_of(folder))
    (record,) = folder.parent.rglob("images.json")
    record.write_bytes(damage)
    assert bytes_of(source_of(folder)) == expected
    assert len(decoded) == 28


def test_a_file_that_was_cut_is_not_used(folder: Path, decoded: list[str]) -> None:
    expected = bytes_of(source_of(folder))
    (file,) = folder.parent.rglob("train.bytes")
    os.truncate(file, 100)
    assert bytes_of(source_of(folder)) == expected
    assert len(decoded) == 28


def test_who_needs_the_same_images_waits_for_the_first(
    folder: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = cache._content

    def slowly(digests: dict[str, str]) -> str:
        time.sleep(0.2)
        return content(digests)

    monkeypatch.setattr(cache, "_content", slowly)
    results: list[bytes] = []
    threads = [threading.Thread(target=lambda: results.append(bytes_of(source_of(folder)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded) == 14
    assert len(results) == 3
    assert len(set(results)) == 1


def test_processes_decode_what_one_process_decodes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = bytes_of(source_of(folder))
    for trial in (0, 1e-9):  # of no file, and of one
        (record,) = folder.parent.rglob("images.json")
        record.unlink()
        monkeypatch.setattr(workers, "SECONDS_OF_TRIAL", trial)
        monkeypatch.setattr(workers, "SECONDS_FOR_PROCESSES", 0)
        assert bytes_of(source_of(folder)) == expected


def test_only_much_work_starts_processes() -> None:
    def process(items: Sequence[int]) -> list[int]:
        time.sleep(seconds * len(items))
        return len(items) * [os.getpid()]

    items = range(40)
    seconds = 0.001
    assert set(workers.in_parallel(process, items, 3, "working")) == {os.getpid()}
    seconds = 0.05
    processes = workers.in_parallel(process, items, 3, "working")
    assert len(processes) == len(items)
    assert processes[0] == os.getpid()
    assert len(set(processes)) > 1


@pytest.mark.slow  # each worker imports torch
def test_a_worker_of_joblib_decodes(folder: Path) -> None:
    """The launcher of a sweep trains in such workers."""
    results = Parallel(2)(delayed(_in_a_worker)(folder) for _ in range(2))
    assert results == 2 * [bytes_of(source_of(folder))]


def _in_a_worker(folder: Path) -> bytes:
    workers.SECONDS_OF_TRIAL = 0
    workers.SECONDS_FOR_PROCESSES = 0
    return bytes_of(source_of(folder))


def test_images_are_mapped_and_not_copied(folder: Path) -> None:
    images = source_of(folder).test_split().images
    (file,) = folder.parent.rglob("test.bytes")
    with file.open("r+b") as out:
        out.write(bytes(images[0].numel()))
    assert not images[0].any()
    assert images[1].any()


def test_images_that_do_not_fit_into_memory_are_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split, _ = source_of(folder).fit_splits()
    expected = [x for x, _ in Loader(split, 3, shuffle_seed=0)]
    assert split.images.data_ptr() not in mapped._larger_than_memory
    monkeypatch.setattr(mapped, "available_memory", lambda: 100)
    larger, _ = source_of(folder).fit_splits()
    assert larger.images.data_ptr() in mapped._larger_than_memory
    batches = [x for x, _ in Loader(larger, 3, shuffle_seed=0)]
    assert all(torch.equal(*pair) for pair in zip(batches, expected, strict=True))


def test_fitting_opens_nothing_of_test(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bytes_of(source_of(folder))
    opened: list[str] = []

    def noted(file: Path, shape: Any) -> torch.Tensor:
        opened.append(file.name)
        return mapped_images(file, shape)

    monkeypatch.setattr(cache, "mapped_images", noted)
    source_of(folder).fit_splits()
    assert opened == ["train.bytes", "val.bytes"]


def test_a_disk_without_room_is_refused_before_decoding(
    folder: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "free_room", lambda _: 1000)
    with pytest.raises(
        UserError, match=r"Decoding 14 images needs 1.26 kB in .*, where 1 kB are free. Lower data.size"
    ):
        source_of(folder).fit_splits()
    assert not decoded


def test_a_disk_that_fills_up_is_explained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache, "decode_into", full)
    with pytest.raises(UserError, match=r"1\.26 kB"):
        source_of(folder).fit_splits()


def test_a_data_dir_that_can_only_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(cache, "locked", read_only)
        with pytest.raises(UserError, match=r"written.*\(data_dir\), got '.*data \(Read-only file system\)'"):
            source_of(folder).fit_splits()
    expected = bytes_of(source_of(folder))
    monkeypatch.setattr(cache, "locked", read_only)
    monkeypatch.setattr(cache, "write_whole", read_only)
    assert bytes_of(source_of(folder)) == expected
    touch(folder)
    assert bytes_of(source_of(folder)) == expected
