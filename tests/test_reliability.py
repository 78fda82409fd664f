"""What docs/reliability.md claims, a few times instead of a hundred."""

import re
import subprocess
import sys

import pytest
from helpers import ROOT, environment


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_whatever_ends_a_training_it_goes_on_with_the_same_bits() -> None:
    script = [sys.executable, str(ROOT / "benchmarks" / "kill.py"), "--kills", "6", "--signals", "2", "--disks", "1"]
    answer = subprocess.run(script, env=environment(), capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert re.search(r"^\| all \| \| 9 \| 9 \|$", answer.stdout, re.MULTILINE)
