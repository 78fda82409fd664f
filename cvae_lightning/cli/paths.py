"""Keys that take a path: a path that a shell accepts needs no second pair of quotes for Hydra."""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from cvae_lightning.core.errors import refuse

DIRECTORIES_OF_RUNS = ("resume", "hydra.run.dir", "hydra.sweep.dir")  # Lightning and TensorBoard write there
INTERPOLATED = {  # Hydra resolves these a second time
    *(*DIRECTORIES_OF_RUNS, "data_dir", "data.module.source.data_dir", "data.path"),
    *("evaluators.judged.folder", "evaluators.inception.weights"),
}
KEYS = {*INTERPOLATED, "hydra.sweep.subdir", "run", "directory", "out", "to", "images", "data_path"}
MAY_BE_NULL = ("out", "to", "images", "data_dir", "data.path", "data_path")

QUOTED = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""  # one value in quotes for Hydra
ELEMENT = rf"(?:^|,)(\s*(?:{QUOTED})\s*(?=,|$)|[^,]*)"
SWEEP_FUNCTION = r"(?:choice|shuffle|sort|tag)\(.*\)"
INTERPOLATION = r"\$\{.*\}"
PLAIN = r"(?:\.{0,2}/|[A-Za-z_])[\w./-]*"  # a string for Hydra, unless it is one of RESERVED
RESERVED = ("true", "false", "null", "inf", "nan")


def quoted_paths(arguments: Sequence[str]) -> list[str]:
    """The words of a command line, with the values of keys that take a path quoted for Hydra.

    A value is the first of these that fits: a path that exists, exactly as it was typed; a value in quotes for Hydra;
    null, if the key may be null; a list [a.png,b.png], for `images`; with -m several paths a,b; any other path, in
    which ~ is expanded, and ${...} is an interpolation. Raises UserError for anything but a local path in UTF-8.
    """
    sweeps = not {"-m", "--multirun"}.isdisjoint(arguments)
    return [_quoted_word(word, sweeps) for word in arguments]


def check_surroundings(config_name: str) -> None:
    """Raises UserError if the working directory cannot hold a run, or CVAE_DATA_DIR is not a local path."""
    here = str(Path.cwd())
    _check_utf8("the working directory", here)
    if config_name in ("config", "resume") and ("${" in here or "::" in here):
        refuse("no ${ or :: in its path", "the working directory", here, "Change to another directory.")
    if data_dir := os.environ.get("CVAE_DATA_DIR"):
        _check_local("CVAE_DATA_DIR", data_dir)


def _quoted_word(word: str, sweeps: bool) -> str:
    signs, key, value = re.fullmatch(r"(\+*)([^=]*=?)(.*)", word, re.DOTALL).groups()  # type: ignore[union-attr]
    if not key.endswith("=") or key[:-1] not in KEYS:
        return word
    return f"{signs}{key}{_quoted(key[:-1], value, sweeps)}"


def _quoted(key: str, value: str, sweeps: bool) -> str:
    """The value of `key` as Hydra's grammar writes it."""
    if os.path.lexists(value):
        return _quoted_path(key, value)
    if re.fullmatch(QUOTED, value, re.DOTALL) or (value == "null" and key in MAY_BE_NULL):
        return value
    if key == "images" and value[:1] == "[" and value[-1:] == "]":
        return f"[{_quoted_elements(key, value[1:-1])}]"
    if sweeps and not key.startswith("hydra."):
        if re.fullmatch(SWEEP_FUNCTION, value, re.DOTALL):
            return value
        if "," in value:
            return _quoted_elements(key, value)
    return _quoted_path(key, value)


def _quoted_elements(key: str, values: str) -> str:
    elements = re.findall(ELEMENT, values, re.DOTALL) if values.strip() else []
    typed = (element if os.path.lexists(element) else element.strip() for element in elements)
    return ",".join(_quoted(key, element, sweeps=False) for element in typed)


def _quoted_path(key: str, path: str) -> str:
    if not path:
        refuse("a path", key, path, "Name a file or a folder.")
    _check_utf8(key, path)
    _check_local(key, path)
    exists = os.path.lexists(path)
    if not exists:
        path = os.path.expanduser(path)  # noqa: PTH111 # a Path would drop a trailing slash and ./
    if "${" in path and (exists or not re.search(INTERPOLATION, path, re.DOTALL)):
        if key in INTERPOLATED:
            refuse("a path without ${", key, path, "Rename it: Hydra would look up what is in braces.")
        path = re.sub(r"(\\*)\$\{", r"\1\1\\${", path)  # escaped for OmegaConf
    if re.fullmatch(PLAIN, path, re.ASCII) and path.lower() not in RESERVED:
        return path
    return QuotedString(path, Quote.single).with_quotes()


def _check_utf8(key: str, path: str) -> None:
    """Raises UserError for a path that is not in UTF-8.

    Under another locale, Python and TensorBoard would write different names, and a run would record the wrong one.
    """
    try:
        path.encode()
        readable = path.isascii() or sys.getfilesystemencoding() == "utf-8"
    except UnicodeEncodeError:  # bytes of the name that the locale cannot decode
        readable = False
    if not readable:
        refuse("a path in UTF-8", key, path, "Set LC_ALL=C.UTF-8 or PYTHONUTF8=1; rename it if that does not help.")


def _check_local(key: str, path: str) -> None:
    """Raises UserError for a path that Lightning or TensorBoard would take for a remote one."""
    elsewhere = bool(re.match(r"[A-Za-z][\w+.-]*://", path)) or "::" in path
    if key in DIRECTORIES_OF_RUNS and "::" in os.path.abspath(path):  # noqa: PTH100 # Path.absolute keeps ..
        elsewhere = True
    elif os.path.lexists(path):
        elsewhere = False
    if elsewhere:
        refuse("a local path", key, path, "Name a folder on this machine, without :// and ::.")
