"""What stands behind `python -m cvae_lightning`, checked before Hydra sees it: its own words for mistakes are many."""

import re
from argparse import ArgumentError
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser
from omegaconf import OmegaConf

from cvae_lightning.build import CONF
from cvae_lightning.errors import refuse


def in_order(arguments: Sequence[str]) -> list[str]:
    """Options first, since Hydra takes them only there, then key=value."""
    return sorted(arguments, key=lambda word: bool(re.match(r"[^-][^=]*=|~", word)))


def check_options(arguments: Sequence[str], config_name: str) -> None:
    """Raises UserError for an option that Hydra lacks, for two that exclude each other, and for -m out of place."""
    parser = get_args_parser()
    parser.exit_on_error = False
    try:
        options, unknown = parser.parse_known_args(arguments)
    except ArgumentError as error:
        refuse(
            "an option as --hydra-help explains it", str(error.argument_name), error.message, "Mend it or leave it out."
        )
    if unknown:
        refuse("key=value", "or an option that --hydra-help lists", unknown[0], "Keys have no dashes.")
    if options.multirun and config_name != "config":
        refuse("one run at a time", "-m", "a sweep", "Leave -m out.")
    if sum(map(bool, (options.run, options.multirun, options.cfg, options.info))) > 1:
        refuse("one of -m, --cfg and --info", "options", " ".join(arguments), "Leave the others out.")


def check_added_keys(overrides: Sequence[str], config_name: str) -> None:
    """Raises UserError for a new key, +key=value, that nothing reads; one within a part is refused by that part."""
    known = {*map(str, OmegaConf.load(CONF / f"{config_name}.yaml")), *(path.name for path in CONF.iterdir())}
    for override in overrides:
        added = re.match(r"\+{1,2}([^.=@/]+)=", override)
        if added and added[1] not in known:
            refuse("a known key", "after +", added[1], "Nothing reads it; --cfg job lists all keys.")
