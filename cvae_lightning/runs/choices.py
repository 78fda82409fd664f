"""The names of the files in conf/ that a run was composed from."""

import re

from omegaconf import DictConfig, OmegaConf

from cvae_lightning.core.build import CONF, load_group
from cvae_lightning.runs.run import Run

PLACES = {  # groups whose files configure another key than their own name
    "averaging": "callbacks.averaging",
    "figures": "callbacks.figures",
}


def choice(run: Run, group: str) -> str:
    """The name of the choice in conf/<group>, such as "gaussian" for sampler=gaussian; "none" if there is none.

    It is taken from Hydra's record in the run directory, unless the part was given another `_target_` than that file
    has. Without a record, it is the file with the same `_target_` whose keys are most like those of the part. A class
    that no file names is called by its own name.
    """
    part = OmegaConf.select(run.raw_config, PLACES.get(group, group))
    if part is None:
        return "none"
    files = {path.stem: load_group(group, path.stem) for path in sorted((CONF / group).glob("*.yaml"))}
    alike = [name for name, file in files.items() if file.get("_target_") == part.get("_target_")]
    recorded = run.choices.get(group)
    if recorded in alike or (recorded and recorded not in files):  # the latter lies on a search path of the user's own
        return recorded
    if alike:
        return min(alike, key=lambda name: len(files[name].keys() ^ part.keys()))
    return _class_name(part)


def _class_name(part: DictConfig) -> str:
    """The name of the class, in lower case with underscores."""
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", str(part._target_).rpartition(".")[2]).lower()
