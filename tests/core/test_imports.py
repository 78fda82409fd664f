"""Imports without a search for garbage, and without what nobody uses."""

import gc
import subprocess
import sys

import pytest
from helpers import Stop

from cvae_lightning.core.imports import quick_imports

TRAINING = """
from cvae_lightning.core.imports import quick_imports
with quick_imports():
    import cvae_lightning.training.train"""
HALF = "scipy.signal.windows.boxcar(4).sum() / 8 == 0.5"


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


@pytest.mark.parametrize(
    "code",
    [
        f"{TRAINING}\nassert 'scipy.stats' not in sys.modules\nassert 'scipy.signal' not in sys.modules",
        f"{TRAINING}\nimport scipy.signal\nassert {HALF}",
        f"{TRAINING}\nfrom scipy.signal import windows\nassert {HALF.removeprefix('scipy.signal.')}",
        f"{TRAINING}\n    import scipy.signal\nassert {HALF}",
        f"{TRAINING}\n    import scipy.signal.windows\nassert {HALF}",
        f"import scipy.signal\nsignal = scipy.signal\n{TRAINING}\nassert sys.modules['scipy.signal'] is signal",
    ],
    ids=["not imported", "afterwards", "a name afterwards", "meanwhile", "a module of it meanwhile", "before"],
)
def test_scipy_signal_is_imported_once_it_is_used(code: str) -> None:
    subprocess.run([sys.executable, "-c", f"import sys\n{code}"], check=True)
