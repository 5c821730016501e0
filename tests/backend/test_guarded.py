"""Kernels stay within their arrays: the tests of the kernels and the table of cases, on memory between inaccessible pages.

Each file of tests runs in a process of its own with the plugin tests/guarded.py; where a kernel reads or writes past an array, the
process ends, and what it ran stands in the failure: the test, the kernel, the lines of Python above it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import guarded
import pytest

pytestmark = [
    pytest.mark.skipif(guarded.why_not() is not None, reason=str(guarded.why_not())),
    pytest.mark.skipif(
        importlib.util.find_spec("numba") is None, reason="Numba is not installed: `python3 run.py setup fast`"
    ),
]
ROOT = Path(__file__).resolve().parents[2]
#: What runs kernels on vector registers, and what runs the loops on arrays and NumPy's own kernels besides: files, and which tests.
REGISTERS = {
    "backend/test_registers.py": "not other_processors",
    "backend/test_curves.py": "not few_numbers and not small_arrays",
    "backend/test_lines.py": "",
    "backend/test_rows.py": "",
    "backend/test_prelu.py": "",
    "backend/test_update.py": "not transposed-float64",
    "backend/test_odd_sizes.py": "",
}
REST = {
    "backend/test_fast.py": "strides or shows or relu_grad or every_loop or infinity",
    "backend/test_moving.py": "",
    "backend/test_sampling_kernels.py": "float32 or not float64",
    "backend/test_convolution.py": "numpy",
    "backend/test_pooling.py": "numpy",
    "backend/test_random_convolutions.py": "",
    "ops/test_cases.py": "(test_values and cpu) or test_float32 or (test_derivatives and cpu)",
}


class Run(NamedTuple):
    code: int
    running: str  # the kernel that ran when the process ended
    ran: set[str]
    compiled: set[str]
    text: str


def guarded_run(arguments: list[str], side: str, folder: Path, lanes: str = "", program: str = "pytest") -> Run:
    """A process with guarded memory."""
    notes = folder / "notes"
    environment = {**os.environ, "TENSORGRAD_GUARD": side, "TENSORGRAD_GUARD_NOTES": str(notes)}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    if lanes:
        environment["TENSORGRAD_LANES"] = lanes
    command = [
        sys.executable,
        *(["-m", "pytest", "-p", "guarded", "-q"] if program == "pytest" else ["-c"]),
        *arguments,
    ]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    left = notes.read_text(encoding="utf-8").strip("\0 ") if notes.exists() else ""
    found = json.loads(left) if left.startswith("{") else {"ran": [], "compiled": []}
    return Run(done.returncode, left, set(found["ran"]), set(found["compiled"]), (done.stdout + done.stderr)[-5000:])


@pytest.mark.slow
@pytest.mark.parametrize("lanes", ["", "8", "4"])
@pytest.mark.parametrize("side", ["end", "start"])
def test_kernels_stay_within_their_arrays(side: str, lanes: str, tmp_path: Path):
    """Every kernel and every loop is run; with the registers of other processors, those on registers."""
    from tensorgrad.backend import compiled

    if not compiled.numba_works():
        pytest.skip(f"no compiled kernels: {compiled.why_not()}")
    failures, ran, asked_for = [], set(), set()
    for name, chosen in (REGISTERS if lanes else {**REGISTERS, **REST}).items():
        arguments = [
            f"tests/{name}",
            "-m",
            "not oracle and not gpu and not slow",
            "-k",
            f"not standin and ({chosen or 'test'})",
        ]
        run = guarded_run(arguments, side, tmp_path, lanes)
        ran |= run.ran
        asked_for |= run.compiled
        if run.code != 0:
            failures.append(f"{name} ended with {run.code}, the last kernel was {run.running}:\n{run.text}")
    assert not failures, "\n\n".join(failures)
    if not lanes:
        kernels = {kernel.name for kernel in compiled.kernels_of_all() if not kernel.name.startswith("numba_team.")}
        parts = {name for name in kernels if name.startswith(("numba_tile.", "numba_batch.dots"))}
        assert not kernels - parts - ran, "these kernels were not run"
        assert not parts - asked_for, "these parts of kernels were not asked for"


# that it would be seen

#: Each in a forked child: z = max(x, 0) for 37 numbers, with a mistake in what the kernel is told.
PLANTED = """
import json, os
import numpy as np
import guarded
from tensorgrad.backend import memory, numba_rows, parallel, team
parallel.set_thread_count(1)
guarded.install(os.environ["TENSORGRAD_GUARD"], guarded.Notes(os.environ["TENSORGRAD_GUARD_NOTES"]))

def positive(*words):
    team.run(numba_rows.positive, list(words), 37)

def child(name):
    x, z, wide = np.zeros(37, np.float32), memory.aligned((37,), np.float32), np.zeros(38, np.float32)
    at = memory.address_of
    positive(at(x), at(z), 37)
    assert not z.any()
    if name == "read behind":
        positive(at(x), at(wide), 38)
    elif name == "read before":
        positive(at(x) - 4, at(wide), 38)
    elif name == "written behind":
        positive(at(wide), at(z), 38)
    elif name == "written before":
        positive(at(wide), at(z) - 4, 38)
    elif name == "arguments":
        positive(at(x), at(z))
    elif name == "scratch":
        positive(at(wide), team.scratch(37), 38)
    elif name == "freed":
        freed = at(z)
        del z
        positive(at(x), freed, 37)
    elif name == "loop":
        np.lib.stride_tricks.as_strided(x, (40,)).sum()

found = {}
for name in NAMES:
    number = os.fork()
    if number == 0:
        child(name)
        guarded._scratch.memory = None
        os._exit(0)
    found[name] = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
print("found", json.dumps(found))
"""
FAULT, FOUND_LATER = -signal.SIGSEGV, -signal.SIGABRT
#: What is told -> how the process ends where arrays end at a page, and where they begin behind one.
ENDS = {
    "right": (0, 0),
    "read behind": (FAULT, 0),
    "read before": (0, FAULT),
    "written behind": (FAULT, FOUND_LATER),
    "written before": (FOUND_LATER, FAULT),
    "arguments": (FAULT, FAULT),
    "scratch": (FAULT, FOUND_LATER),
    "freed": (FAULT, FAULT),
    "loop": (FAULT, 0),
}


@pytest.mark.parametrize("side", ["end", "start"])
def test_what_goes_past_an_array_is_seen(side: str, tmp_path: Path):
    program = f"NAMES = {list(ENDS)}\n{PLANTED}"
    run = guarded_run([program], side, tmp_path, program="child")
    assert run.code == 0, run.text
    found = json.loads(run.text.partition("found ")[2].splitlines()[0])
    assert found == {name: codes[side == "start"] for name, codes in ENDS.items()}
    assert run.running == "numba_rows.positive"  # the name outlives the process


def test_a_fault_names_test_and_kernel(tmp_path: Path):
    """A whole session of pytest: what the slow tests would say."""
    wrong = tmp_path / "test_wrong.py"
    wrong.write_text(
        "import numpy as np\n"
        "from tensorgrad.backend import numba_rows, team\n"
        "from tensorgrad.backend.memory import address_of\n"
        "def test_one_number_too_many():\n"
        "    x = np.zeros(5, np.float32)\n"
        "    team.run(numba_rows.positive, [address_of(x), address_of(x), 6], 1)\n",
        encoding="utf-8",
    )
    run = guarded_run([str(wrong), "-p", "no:cacheprovider"], "end", tmp_path)
    assert run.code == FAULT and run.running == "numba_rows.positive"
    assert "in test_one_number_too_many" in run.text
