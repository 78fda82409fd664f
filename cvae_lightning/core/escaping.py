"""Text in Markdown that is shown as it is, whoever wrote it."""

import re


def escaped(text: str) -> str:
    """In one line, without markup, links or images of its own."""
    line = re.sub(r"([\\`*<>\[\]|&@]|(?<![^\W_])_|_(?![^\W_])|:(?=//))", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?i)\bwww\.", r"www\.", line)


def code(text: str) -> str:
    """In one line, as code that may stand in a cell of a table."""
    line = " ".join(text.split())
    ticks = "`" * (_longest_run(line) + 1)
    inner = f" {line} " if "`" in line else line
    return f"{ticks}{inner}{ticks}".replace("|", r"\|")


def fenced(text: str, language: str = "") -> str:
    """A block of code, behind a fence that nothing in it closes."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _longest_run(text: str) -> int:
    """Of backticks."""
    return max(map(len, re.findall("`+", text)), default=0)
