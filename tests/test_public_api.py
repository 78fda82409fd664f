"""What `import cvae_lightning` gives, and what it costs."""

import inspect
import subprocess
import sys

import pytest
from helpers import environment

import cvae_lightning

PROGRAM = """
import sys
before = set(sys.modules)
import cvae_lightning
print(*sorted(set(sys.modules) - before))
"""


def test_the_import_waits_for_nothing() -> None:
    python = [sys.executable, "-c", PROGRAM]
    imported = subprocess.run(python, env=environment(), capture_output=True, text=True, check=True).stdout.split()
    assert {name.partition(".")[0] for name in imported} <= {*sys.stdlib_module_names, "cvae_lightning"}
    assert [name for name in imported if name.startswith("cvae_lightning")] == ["cvae_lightning"]


@pytest.mark.parametrize("name", cvae_lightning.__all__)
def test_each_name_is_the_class_or_function_of_its_room(name: str) -> None:
    part = getattr(cvae_lightning, name)
    assert inspect.isclass(part) or inspect.isfunction(part)
    assert part.__name__ == name
    assert part is getattr(sys.modules[part.__module__], name)
    assert name in dir(cvae_lightning)


def test_another_name_is_an_attribute_error() -> None:
    assert not hasattr(cvae_lightning, "Trainer")
