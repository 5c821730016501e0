"""Every example runs with --quick, prints its number last, and the number is good."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# example -> what the last line says, and the least that the number in it may be
NUMBERS = {
    "train_lenet.py": (r"test accuracy: (\d+\.\d\d) % \(\d+ of 360\)", 95.0),
}


def test_every_example_is_tried():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(NUMBERS)


@pytest.mark.parametrize("example", NUMBERS)
def test_example(example, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "OPENBLAS_NUM_THREADS": "1"}
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example), "--quick"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    pattern, least = NUMBERS[example]
    found = re.fullmatch(pattern, done.stdout.splitlines()[-1])
    assert found, done.stdout
    assert float(found[1]) >= least
    assert time.monotonic() - begun < 30
    assert list(tmp_path.iterdir()) == []


def test_the_training_loop_has_under_forty_lines_of_code():
    source = (ROOT / "examples" / "train_lenet.py").read_text()
    code = source.split('"""', 2)[2]
    lines = [line for line in code.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) < 40
