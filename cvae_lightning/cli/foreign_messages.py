"""Messages of Hydra, OmegaConf, logging and torch that are parsed because no attribute says the same.

A test provokes each of them from the installed release, so that a change of wording fails the test and not a user.
"""

import re

SEVERAL_VALUES = re.compile(r"Ambiguous value for argument '(?P<key>[^=]+)=(?P<value>.*)'")
WRONG_KIND = re.compile(r"Error merging override (?P<key>[^=]+)=(?P<value>.*)", re.DOTALL)
UNKNOWN_KEY = re.compile(r"Could not (?:override|delete from config\.) '(?P<key>[^']+)'")
MISSING_PLUGIN = re.compile(r"Unknown plugin class : 'hydra_plugins\.(?P<plugin>[^.]+)")
BAD_LOGGING = re.compile("Unable to configure ")
NO_MEMORY = re.compile("out of memory|can't allocate memory|Storage size calculation overflowed")
LINK_TO_HYDRA = "hydra.cc"  # in lines that point to Hydra's documentation
