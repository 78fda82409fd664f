"""Text in pictures: names in any script, each character taken literally.

matplotlib's own font, DejaVu Sans, has Latin, Greek, Cyrillic and a few other scripts. Other characters are drawn in
the first font of the system that has them; a name for which there is none is replaced.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font

OWN = "DejaVu Sans"
MOST_FONTS = 500  # of the system, which are searched for a character
LONGEST = 24  # characters of a name


def shortened(name: str, most: int = LONGEST) -> str:
    """A name as a picture has room for it, in one line."""
    line = " ".join(
        "".join(" " if unicodedata.category(character)[0] == "C" else character for character in name).split()
    )
    return line if len(line) <= most else f"{line[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def drawable(name: str, instead: str = "") -> str:
    """`name` if there are fonts with all of its characters; otherwise `instead`, or with "?" where one is missing."""
    missing = {character for character in name if _font_with(character) is None}
    if not missing or instead:
        return instead if missing else name
    return "".join("?" if character in missing else character for character in name)


def style(texts: Iterable[str]) -> dict[str, Any]:
    """Keywords with which matplotlib draws these texts literally, whatever dollar signs or scripts they have."""
    fonts = dict.fromkeys(_font_with(character) or OWN for text in texts for character in text)
    extra = [font for font in fonts if font != OWN]
    return {"parse_math": False, **({"fontfamily": [OWN, *extra]} if extra else {})}


def width(text: str) -> int:
    """How many Latin letters the text is as wide as, about."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


@functools.cache
def _font_with(character: str) -> str | None:
    """The family of the first font that has the character: matplotlib's own, or one of the system; or None."""
    for family, file in _files():
        if ord(character) in _characters(file):
            return family
    return None


@functools.cache
def _files() -> list[tuple[str, str]]:
    """Families and files of fonts, matplotlib's own first.

    Without those of emoji, whose colours matplotlib does not draw, and those that have placeholders only.
    """
    fonts = (font for font in fontManager.ttflist if not re.search("Emoji|Last ?Resort", font.name))
    upright = [font for font in fonts if font.style == "normal"]
    upright.sort(key=lambda font: (font.name != OWN, abs(_weight(font.weight) - 400), font.name, font.fname))
    return [(font.name, font.fname) for font in upright[:MOST_FONTS]]


def _weight(weight: int | str) -> int:
    return weight if isinstance(weight, int) else 400


@functools.cache
def _characters(file: str) -> frozenset[int]:
    """The characters that a font file has; none if it cannot be read."""
    try:
        return frozenset(FT2Font(file).get_charmap())
    except (RuntimeError, OSError, UnicodeError):
        return frozenset()
