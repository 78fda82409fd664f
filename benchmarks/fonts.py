r"""Draws letters and digits from the fonts of this machine, in colour: 62 classes, one folder per class.

    python benchmarks/fonts.py letters [--fonts <folder> ...] [--size 32] [--images 20000] [--metadata] [--flat]

The folder has train/, val/ and test/, and in each a folder per class: 0 to 9, A to Z, and a_lower to z_lower, whose
names differ on file systems that ignore case too. Whole families of fonts are held out, so that val and test have
letters that no training image shows. `--images` is the number of images in train; val and test have a seventh as many
fonts as there are. Without it, each font draws each letter once.

A letter has a saturated colour on a ground that is nearly grey, both drawn at random: bright on dark, or dark on
bright. `--metadata` writes `metadata.csv` into train/, val/ and test/: the file, the letter, and the hue of the letter
in degrees, 0 (red) to 300 (magenta). The interval ends there because the hues of 0 and 360 degrees are the same.
`--flat` puts the images of a split into one folder, where that file is the only label.

The same fonts and the same seed draw the same images. Pillow draws them, and a font without one of the letters is left
out. On Debian, these packages have about 470 usable fonts in 39 families:

    apt-get install fonts-adf-accanthis fonts-adf-baskervald fonts-adf-berenis fonts-adf-gillius fonts-adf-ikarius \
        fonts-adf-irianis fonts-adf-libris fonts-adf-mekanus fonts-adf-oldania fonts-adf-romande fonts-adf-switzera \
        fonts-adf-tribun fonts-adf-universalis fonts-adf-verana fonts-b612 fonts-cabin fonts-cantarell fonts-cmu \
        fonts-comfortaa fonts-dejavu fonts-ebgaramond fonts-firacode fonts-hack fonts-inter fonts-jetbrains-mono \
        fonts-junicode fonts-lato fonts-liberation fonts-linuxlibertine fonts-noto-core fonts-open-sans \
        fonts-paratype fonts-roboto-unhinted fonts-stix fonts-urw-base35
"""

import argparse
import colorsys
import hashlib
import itertools
import os
import string
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont

from cvae_lightning.core.files import write_whole

LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
MEASURED_AT = 256  # pixels: the size at which a font is measured
HUES = (0.0, 300.0)  # degrees
NO_LETTERS = {"D050000L", "Last Resort High-Efficiency", "Linux Biolinum Keyboard O", "Standard Symbols PS"}
NO_LETTERS |= {"cmex10", "cmmi10", "cmsy10"}
"""Fonts with symbols in the places of letters, or with frames around them."""
HELD_OUT = 1 / 7  # share of the fonts in val, and in test

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]


Row = tuple[str, str, float]
"""A line of metadata.csv: the file, the letter, and the hue."""


class Face(NamedTuple):
    """A font file that has all letters."""

    path: Path
    family: str
    """The first word of the font's name, which its weights, widths and slopes have in common."""

    @property
    def name(self) -> str:
        return self.path.stem.replace(" ", "")


class Drawing(NamedTuple):
    """What one image shows."""

    letter: str
    hue: float
    """Degrees."""
    ink: Colour
    ground: Colour
    scale: float
    """The size of the letter, relative to the largest that fits."""


Work = tuple[Face, list[tuple[str, int]]]
"""A font, and what it draws: letters, each with the number of the copy."""


def class_of(letter: str) -> str:
    """The name of the folder: the letter, and `a_lower` for a small one."""
    return f"{letter}_lower" if letter.islower() else letter


def faces_in(folders: Sequence[Path]) -> list[Face]:
    """The fonts below the folders that have every letter, each drawing once, in the order of their names."""
    files = {path for folder in folders for ending in ("*.ttf", "*.otf") for path in folder.rglob(ending)}
    found: dict[str, Face] = {}
    for path in sorted(files, key=lambda path: (path.stem, str(path))):
        face = face_of(path)
        if face:
            found.setdefault(shapes(face), face)
    return list(found.values())


def face_of(path: Path) -> Face | None:
    """The font in the file; None if it cannot be read, or lacks a letter."""
    try:
        font = FT2Font(str(path))
        if font.family_name in NO_LETTERS or not set(map(ord, LETTERS)) <= font.get_charmap().keys():
            return None
        words = font.family_name.split()
        face = Face(path, words[0] if words else path.stem)
        sizes = [right - left for left, _, right, _ in boxes(face)]
    except (OSError, RuntimeError, UnicodeDecodeError):
        return None
    return face if min(sizes) > 0 else None


def font_of(face: Face, pixels: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(face.path, pixels, layout_engine=ImageFont.Layout.BASIC)


def boxes(face: Face) -> list[Box]:
    """Left, top, right and bottom of each letter around the start of its baseline, at `MEASURED_AT`."""
    font = font_of(face, MEASURED_AT)
    return [font.getbbox(letter, anchor="ls") for letter in LETTERS]


def shapes(face: Face) -> str:
    """A digest of how the font draws all letters: the same for two copies of one font."""
    text = ImageDraw.Draw(image := Image.new("L", (24 * len(LETTERS), 32)))
    font = font_of(face, 20)
    for place, letter in enumerate(LETTERS):
        text.text((24 * place, 24), letter, fill=255, font=font, anchor="ls")
    return hashlib.sha256(image.tobytes()).hexdigest()


def split_by_family(faces: Sequence[Face], seed: int) -> dict[str, list[Face]]:
    """The fonts of train, val and test, with all fonts of a family in one of them.

    Families are taken in a random order. Each goes into val or test as long as these have no more than a seventh of all
    fonts, or a third if it is the first there; all others go into train.
    """
    families: dict[str, list[Face]] = {}
    for face in faces:
        families.setdefault(face.family, []).append(face)
    names = sorted(families)
    splits: dict[str, list[Face]] = {"train": [], "val": [], "test": []}
    for place in np.random.default_rng(seed).permutation(len(names)):
        family = families[names[place]]
        fits = [
            name
            for name in ("val", "test")
            if len(splits[name]) + len(family) <= len(faces) * (HELD_OUT if splits[name] else 1 / 3)
        ]
        splits[min(fits, key=lambda name: len(splits[name]), default="train")] += family
    if not all(splits.values()):
        raise SystemExit(f"Expected fonts of at least three families, got {', '.join(names) or 'none'}. Install more.")
    return splits


def drawing_of(face: Face, letter: str, copy: int, seed: int) -> Drawing:
    """The colours and the size of a letter, which depend on nothing but the arguments."""
    random = np.random.default_rng([seed, zlib.crc32(face.name.encode()), ord(letter), copy])
    hue = random.uniform(*HUES)
    bright, dark = random.uniform(0.8, 1.0), random.uniform(0.0, 0.3)
    grey = random.uniform(0.0, 0.15)  # the saturation of the ground, whose hue says nothing
    ground_hue, on_dark = random.uniform(0.0, 360.0), random.random() < 0.5
    ink = colour(hue, random.uniform(0.7, 1.0), bright if on_dark else 0.2 + dark)
    ground = colour(ground_hue, grey, dark if on_dark else bright)
    return Drawing(letter, round(hue, 1), ink, ground, random.uniform(0.85, 1.0))


def colour(hue: float, saturation: float, value: float) -> Colour:
    """Red, green and blue, 0 to 255."""
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue / 360, saturation, value))
    return red, green, blue


def picture_of(face: Face, drawing: Drawing, size: int, box: Box) -> Image.Image:
    """The letter on its ground, (size, size) pixels; all letters of a font stand on one line.

    `box` encloses all letters of the font at `MEASURED_AT`, as `enclosing` returns it.
    """
    left, top, right, bottom = box
    scale = 0.88 * size * drawing.scale / max(right - left, bottom - top)
    font = font_of(face, scale * MEASURED_AT)
    start, _, end, _ = font.getbbox(drawing.letter, anchor="ls")
    place = ((size - start - end) / 2, size / 2 - scale * (top + bottom) / 2)
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).text(place, drawing.letter, fill=255, font=font, anchor="ls")
    ink, ground = (Image.new("RGB", (size, size), part) for part in (drawing.ink, drawing.ground))
    return Image.composite(ink, ground, mask)


def enclosing(found: Sequence[Box]) -> Box:
    """A box as wide as the widest letter, and from the top of the highest to the bottom of the lowest."""
    _, tops, _, bottoms = zip(*found, strict=True)
    return 0, min(tops), max(right - left for left, _, right, _ in found), max(bottoms)


def draw_face(work: Work, folder: Path, size: int, seed: int, flat: bool) -> list[Row]:
    """Write one PNG file per letter that the font is to draw; returns the lines for metadata.csv."""
    face, letters = work
    box = enclosing(boxes(face))
    rows = []
    for letter, copy in letters:
        drawing = drawing_of(face, letter, copy, seed)
        name = f"{face.name}_{copy}.png"
        path = folder / f"{class_of(letter)}_{name}" if flat else folder / class_of(letter) / name
        picture_of(face, drawing, size, box).save(path)
        rows.append((path.relative_to(folder).as_posix(), class_of(letter), drawing.hue))
    return rows


def works(faces: Sequence[Face], num_images: int | None) -> list[Work]:
    """What each font draws, so that all fonts together draw `num_images`; by default each letter once."""
    everything = ((copy, face, letter) for copy in itertools.count() for face in faces for letter in LETTERS)
    letters: dict[Face, list[tuple[str, int]]] = {face: [] for face in faces}
    for copy, face, letter in itertools.islice(everything, num_images or len(faces) * len(LETTERS)):
        letters[face].append((letter, copy))
    return list(letters.items())


def draw(
    folder: Path,
    faces: Sequence[Face],
    size: int = 32,
    images: int | None = None,
    seed: int = 0,
    metadata: bool = False,
    flat: bool = False,
) -> dict[str, int]:
    """Write the whole data set; returns the number of images in each split. The options are those of the command."""
    splits = split_by_family(faces, seed)
    counts = {}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for split, part in splits.items():
            for name in [""] if flat else map(class_of, LETTERS):
                (folder / split / name).mkdir(parents=True, exist_ok=True)
            drawn = partial(draw_face, folder=folder / split, size=size, seed=seed, flat=flat)
            share = images and images * len(part) // len(splits["train"])
            rows = [row for rows in pool.map(drawn, works(part, share)) for row in rows]
            if metadata:
                lines = [("file_name", "letter", "hue"), *sorted(rows)]
                write_whole(folder / split / "metadata.csv", "".join(f"{a},{b},{c}\n" for a, b, c in lines))
            counts[split] = len(rows)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="is made, and must not exist")
    parser.add_argument("--fonts", type=Path, nargs="+", default=[Path("/usr/share/fonts")], metavar="folder")
    parser.add_argument("--size", type=int, default=32, help="of the images, in pixels")
    parser.add_argument("--images", type=int, help="in train; by default each font draws each letter once")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--metadata", action="store_true")
    parser.add_argument("--flat", action="store_true")
    asked = parser.parse_args()
    if asked.folder.exists():
        raise SystemExit(f"Expected a new folder, got {str(asked.folder)!r}. Delete it, or name another.")
    faces = faces_in(asked.fonts)
    counts = draw(asked.folder, faces, asked.size, asked.images, asked.seed, asked.metadata or asked.flat, asked.flat)
    listed = ", ".join(f"{count:,} in {split}" for split, count in counts.items())
    print(f"{asked.folder}: letters of {len(faces)} fonts, {asked.size}x{asked.size} pixels; {listed}")


if __name__ == "__main__":
    main()
