"""Text of unknown origin in Markdown, escaped so that it is shown literally."""

import re


def escaped(text: str) -> str:
    """`text` on one line, in which Markdown sees no markup, link or image."""
    line = re.sub(r"([\\`*<>\[\]|&@]|(?<![^\W_])_|_(?![^\W_])|:(?=//))", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?i)\bwww\.", r"www\.", line)


def code(text: str) -> str:
    """`text` on one line, as inline code, which may also stand in a cell of a table."""
    line = " ".join(text.split())
    ticks = "`" * (_longest_run(line) + 1)
    inner = f" {line} " if "`" in line else line
    return f"{ticks}{inner}{ticks}".replace("|", r"\|")


def fenced(text: str, language: str = "") -> str:
    """`text` as a block of code, with a fence that no line of the text can close."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    """The length of the longest run of backticks in `text`."""
    return max(map(len, re.findall("`+", text)), default=0)
