"""The loops on arrays with every index checked (TENSORGRAD_BOUNDSCHECK=1), in processes of their own. Kernels on vector registers work on
addresses, which nothing checks: they run on guarded memory, test_guarded.py."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
)
ROOT = Path(__file__).resolve().parents[2]
#: What runs the loops: files, and which tests; the others start processes without the checks, or watch the cache.
LOOPS = {
    "test_fast.py": "strides or shows or relu_grad or every_loop or infinity",
    "test_moving.py": "",
    "test_sampling_kernels.py": "",
    "test_odd_sizes.py": "",
}


def checked(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    given = {**os.environ, "TENSORGRAD_BOUNDSCHECK": "1", "PYTHONPATH": path, **environment}
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, env=given, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOPS)
def test_no_loop_goes_out_of_bounds(name: str):
    chosen = ["-k", LOOPS[name]] if LOOPS[name] else []
    done = checked("-m", "pytest", "-q", "-m", "not oracle and not gpu and not slow", f"tests/backend/{name}", *chosen)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]


PLANTED = """
import numpy as np
from tensorgrad.backend import numba_elementwise as loops
line = np.ones(5)
loops.relu_grad(line, line, np.empty(5), 0, 5)
try:
    loops.relu_grad(line, line, np.empty(6), 0, 6)
except IndexError as error:
    print("found:", error)
"""


def test_an_index_that_is_out_of_range_is_found(tmp_path: Path):
    done = checked("-c", PLANTED, NUMBA_CACHE_DIR=str(tmp_path))
    assert done.stdout.startswith("found: "), done.stdout + done.stderr
    kept = [path.name for path in tmp_path.rglob("*.nbi")]
    assert kept and all("_bounds_checked" in name for name in kept)  # none that others would take for theirs
