"""Imports without a search for garbage."""

import gc

import pytest
from helpers import Stop

from cvae_lightning.core.imports import quick_imports


@pytest.mark.parametrize("collects", [True, False])
def test_the_collector_pauses_and_is_then_as_it_was(collects: bool) -> None:
    before = gc.isenabled()
    (gc.enable if collects else gc.disable)()
    try:
        with quick_imports():
            assert not gc.isenabled()
        assert gc.isenabled() == collects
        with pytest.raises(Stop), quick_imports():
            raise Stop
        assert gc.isenabled() == collects
        assert gc.get_freeze_count() > 0, "what was imported is not looked through again"
    finally:
        gc.unfreeze()
        (gc.enable if before else gc.disable)()
