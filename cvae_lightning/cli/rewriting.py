"""The words of a command line, rewritten as Hydra reads them."""

import re
from collections.abc import Sequence

from cvae_lightning.cli.paths import quoted_paths
from cvae_lightning.core.build import CONF


def rewritten(words: Sequence[str], config_name: str) -> list[str]:
    """The same request in Hydra's grammar. Raises UserError for a value that should be a local path and is not."""
    if config_name == "report":
        words = [_directory_of_sweep(word) for word in words]
    return set_in_each_run(quoted_paths(options_first([with_files(word) for word in words])))


def options_first(words: Sequence[str]) -> list[str]:
    """Options, then key=value: Hydra accepts them in this order only."""
    return sorted(words, key=lambda word: bool(re.match(r"[^-][^=]*=|~", word)))


def with_files(word: str) -> str:
    """group=glob(folder/pattern) as group=folder/a,folder/b: Hydra's own glob does not look into folders."""
    glob = re.fullmatch(r"([^=]+)=glob\((\w[^()]*/[^()]*)\)", word)
    if not glob:
        return word
    files = sorted((CONF / glob[1]).glob(f"{glob[2]}.yaml"))
    names = [file.relative_to(CONF / glob[1]).with_suffix("").as_posix() for file in files]
    return f"{glob[1]}={','.join(names)}" if names else word


def set_in_each_run(words: Sequence[str]) -> list[str]:
    """With -m, network=conv,residual network.channels=4 sets the channels in each run, after its network is chosen.

    Hydra would set them in the configuration that all runs share, which has the default network.
    """
    if {"-m", "--multirun"}.isdisjoint(words):
        return list(words)
    pairs = (word.partition("=") for word in words)
    swept = {key for key, _, value in pairs if is_group(key) and re.search(r",|^(choice|glob)\(", value)}
    return [_as_choice(word) if word.partition(".")[0] in swept else word for word in words]


def is_group(key: str) -> bool:
    """Whether `key` chooses a file of a folder of conf/."""
    return bool(key) and (CONF / key).is_dir()


def _as_choice(word: str) -> str:
    """key=value as a sweep over this one value."""
    key, _, value = word.partition("=")
    return word if not value or re.match(r"\w+\(", value) else f"{key}=choice({value})"


def _directory_of_sweep(word: str) -> str:
    """sweep=<directory> as directory=<directory>, since sweep= chooses a file of conf/sweep for Hydra."""
    return f"directory={word.removeprefix('sweep=')}" if word.startswith("sweep=") else word
