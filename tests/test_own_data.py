"""Images of one's own: the data sets that benchmarks/ draws, and every command on colour letters drawn from fonts."""

import colorsys
import csv
from pathlib import Path

import fonts
import matplotlib
import numpy as np
import pytest
import torch
import turned_digits
from helpers import write_idx_files
from PIL import Image

from cvae_lightning.data.idx_source import IdxSource

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="module")
def faces() -> list[fonts.Face]:
    """The fonts that come with matplotlib."""
    return fonts.faces_in([FONTS])


def test_a_font_is_used_once_and_only_with_letters(faces: list[fonts.Face], tmp_path: Path) -> None:
    names = {face.name for face in faces}
    assert {"DejaVuSans", "DejaVuSerif-Bold", "STIXGeneral", "cmr10"} <= names
    assert not names & {"cmex10", "cmsy10", "LastResortHE-Regular", "STIXSizFourSymBol", "STIXNonUni"}
    (tmp_path / "A.ttf").write_bytes((FONTS / "DejaVuSans.ttf").read_bytes())
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    assert fonts.faces_in([tmp_path, FONTS])[0].name == "A"
    assert len(fonts.faces_in([tmp_path, FONTS])) == len(faces)


@pytest.mark.parametrize("seed", range(5))
def test_a_family_of_fonts_is_in_one_split(faces: list[fonts.Face], seed: int) -> None:
    splits = fonts.split_by_family(faces, seed)
    families = [{face.family for face in part} for part in splits.values()]
    assert sum(map(len, families)) == len(set.union(*families))
    assert sorted(face for part in splits.values() for face in part) == sorted(faces)
    assert len(splits["train"]) > len(splits["val"]) > 0 < len(splits["test"]) < len(splits["train"])
    with pytest.raises(SystemExit, match="at least three families, got cmr10"):
        fonts.split_by_family([face for face in faces if face.family == "cmr10"], seed)


def test_the_folders_are_those_of_the_classes_and_the_same_each_time(faces: list[fonts.Face], tmp_path: Path) -> None:
    few = [face for face in faces if face.family in ("cmr10", "cmss10", "STIXGeneral")]
    counts = fonts.draw(tmp_path / "a", few, size=12, images=300, metadata=True)
    assert counts == {"train": 300, "val": 75, "test": 75}
    assert counts == fonts.draw(tmp_path / "b", few, size=12, images=300, metadata=True)
    for split, count in counts.items():
        files = sorted((tmp_path / "a" / split).rglob("*.png"))
        assert len(files) == count
        assert sorted(path.name for path in (tmp_path / "a" / split).iterdir() if path.is_dir()) == sorted(
            map(fonts.class_of, fonts.LETTERS)
        )
        for path in [*files, tmp_path / "a" / split / "metadata.csv"]:
            assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    with Image.open(files[0]) as image:
        assert (image.size, image.mode) == ((12, 12), "RGB")


def test_the_metadata_state_the_hue_of_the_letter(faces: list[fonts.Face], tmp_path: Path) -> None:
    bold = [face for face in faces if face.name in ("DejaVuSans-Bold", "STIXGeneralBol", "cmb10")]
    fonts.draw(tmp_path / "letters", bold, size=48, metadata=True, flat=True)
    folder = tmp_path / "letters" / "train"
    rows = list(csv.DictReader((folder / "metadata.csv").read_text().splitlines()))
    assert len(rows) == 62
    assert {row["letter"] for row in rows} == set(map(fonts.class_of, fonts.LETTERS))
    for row in rows:
        with Image.open(folder / row["file_name"]) as image:
            pixels = np.asarray(image).reshape(-1, 3) / 255
        red, green, blue = pixels[np.argmax(np.ptp(pixels, 1))]  # the most saturated one
        hue = 360 * colorsys.rgb_to_hsv(red, green, blue)[0]
        assert min(abs(hue - float(row["hue"])), 360 - abs(hue - float(row["hue"]))) < 4


def test_an_angle_is_anticlockwise() -> None:
    right = torch.zeros(2, 1, 29, 29, dtype=torch.uint8)
    right[:, :, 14, 22:26] = 255
    up, corner = turned_digits.turned(right, torch.tensor([90.0, 45.0]))[:, 0]
    assert torch.equal(up.nonzero(), torch.stack([torch.arange(3, 7), torch.full((4,), 14)], 1))
    rows, columns = (corner > 60).nonzero().float().mean(0).tolist()
    assert (14 - rows, columns - 14) == pytest.approx((9.5 / 2**0.5, 9.5 / 2**0.5), abs=0.5)
    assert torch.equal(turned_digits.turned(right, torch.zeros(2)), right)


def test_the_turned_digits_are_those_of_the_splits_with_their_angles(tmp_path: Path) -> None:
    write_idx_files(tmp_path)
    source = IdxSource("mnist", "MNIST", str(tmp_path))
    found = turned_digits.arrays(source, most=45, seed=0)
    train, val = source.fit_splits()
    for name, split in {"train": train, "val": val, "test": source.test_split()}.items():
        images, angles = found[f"{name}_images"], torch.from_numpy(found[f"{name}_angle"])
        assert np.array_equal(found[f"{name}_digit"], split.labels)
        assert images.shape == (len(split.labels), 28, 28)
        back = turned_digits.turned(torch.from_numpy(images)[:, None], -angles).float() - split.images.float()
        assert back[:, :, 6:22, 6:22].abs().mean() < 3
        assert 30 < angles.abs().max() <= 45
    assert not np.array_equal(found["val_angle"], found["test_angle"])
