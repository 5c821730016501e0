#!/usr/bin/env python3
"""Mutation testing with mutmut: change one thing at a time in some files, and see whether the tests that mirror them notice.

    pip install mutmut
    python scripts/mutants.py [GROUP ...] [--share N] [--only PATTERN] [--keep FOLDER]

A copy of the repository is made for each group, since mutmut writes beside what it mutates and does not follow the links to
nn/ and models/; of the table of cases it holds the rows that the group names. Words, and so the messages of errors, are left
alone. What survives is printed with its change and judged in docs/reliability.md: either a test is missing, or the change makes
no difference.

mutmut changes no properties, no decorated functions and nothing outside of functions, and what runs while the library is imported
runs unchanged. Comparisons with PyTorch that stand in the named files are run where it is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("tensorgrad", "nn", "models", "tests", "setup.cfg", "pytest_tensorgrad.py", "run.py")


@dataclass
class Group:
    """Files, named without 'tensorgrad/' and '.py', the rows of the table of cases that mirror them, and other tests."""

    files: str
    rows: str = ""
    tests: str = ""


ENGINE = "test_tape test_tensor test_inplace test_modes test_autodiff autograd reliability/test_engine"
OPERATIONS = "test_tensor test_methods ops/test_arrays ops/test_kinks"
GROUPS = {
    "tensor": Group("tensor storage", "", f"{ENGINE} test_interop test_printing"),
    "modes": Group("mode saved anomaly utils/checkpoint", "", f"{ENGINE} utils test_func test_threads"),
    "function": Group(
        "autograd/function autograd/function_call", "function", "autograd reliability/test_engine test_modes test_func"
    ),
    "forward": Group("autograd/forward_ad autograd/functional", "", "test_func test_autodiff autograd"),
    "indexing": Group(
        "ops/indexing", "indexing picking scatter inplace", f"{OPERATIONS} ops/test_indexing_at_random test_inplace"
    ),
    "views": Group(
        "ops/shape ops/splitting ops/broadcasting",
        "shape splitting broadcasting",
        f"{OPERATIONS} ops/test_shapes test_inplace",
    ),
    "reduction": Group("ops/reduction", "reduction", f"{OPERATIONS} ops/test_reduction"),
    "elementwise": Group(
        "ops/elementwise ops/arithmetic", "elementwise arithmetic", f"{OPERATIONS} ops/test_elementwise"
    ),
    "matmul": Group("ops/matmul", "matmul products", f"{OPERATIONS} ops/test_matmul"),
    "convolution": Group("ops/convolution", "convolution", "nn/test_spatial"),
    "norms": Group(
        "nn/normalization ops/normalization", "normalization", "nn/test_norm_layers nn/test_layers nn/test_chain"
    ),
    "optim": Group(
        "optim/optimizer optim/sgd optim/adam", "", "optim/test_optimizers optim/test_optim_against_pytorch"
    ),
    "files": Group("io/checkpoint io/files io/atomic", "", "io/test_checkpoint io/test_files io/test_atomic"),
    "foreign": Group("io/torch_file io/unpickle", "", "io/test_torch_files io/test_hostile_files"),
    "training": Group("train/checkpoints", "", "train/test_checkpoints reliability/test_resume"),
}


def copied(group: Group, folder: Path) -> None:
    """A copy of what is tested, told what to mutate and which tests to run."""
    for name in COPIED:
        if (ROOT / name).is_dir():  # what links lead to is copied too
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    tests = [f"tests/{name}" for name in group.tests.split()]
    if group.rows:
        tests.insert(0, "tests/ops/test_cases")
        for path in (folder / "tests/ops/rows").glob("*.py"):
            if path.stem not in (*group.rows.split(), "table"):
                path.unlink()
    settings = {
        "source_paths": [f"tensorgrad/{name}.py" for name in group.files.split()],
        "also_copy": ["tensorgrad", "nn", "models", "pytest_tensorgrad.py", "run.py"],
        "do_not_mutate_patterns": [r"\braise\b"],
        "process_isolation": "forkserver",  # mutmut's own process has threads, of which a fork may inherit a lock
        "timeout_constant": 8.0,  # seconds, times 15: a machine may be busy with other things
        "pytest_add_cli_args": ["-n", "0", "-p", "no:cacheprovider", "-m", "not slow"]
        + ["--deselect", "tests/ops/test_cases.py::test_every_primitive_has_a_row", "-k", "not hard_cases_together"],
        "pytest_add_cli_args_test_selection": [t if (ROOT / t).is_dir() else f"{t}.py" for t in tests],
    }
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]  # JSON is TOML here
    (folder / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text() + "\n[tool.mutmut]\n" + "".join(lines))


# names of operations stand in many calls, and only messages show them, so words are not changed
COMMAND = """
import sys
from mutmut.mutation import file_mutation, mutators
mutators.mutation_operators[:] = [pair for pair in mutators.mutation_operators if pair[1] is not mutators.operator_string]
create, share = file_mutation.create_mutations, int(sys.argv.pop(1))
def some(*arguments):
    module, mutations, *others = create(*arguments)
    return module, mutations[::share], *others
file_mutation.create_mutations = some
from mutmut.__main__ import cli
cli()
"""


def mutmut(folder: Path, share: int, *arguments: str) -> str:
    """What a command of mutmut says."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "TENSORGRAD_FAST": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", COMMAND, str(share), *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"mutmut {' '.join(arguments)} failed:\n{result.stdout[-4000:]}{result.stderr[-4000:]}")
    return result.stdout


def judge(name: str, folder: Path, share: int, only: list[str]) -> None:
    """Run the mutants of a group, and print the counts and what survived."""
    copied(GROUPS[name], folder)
    mutmut(folder, share, "run", "--max-children", "1", *only)
    lines = mutmut(folder, share, "results", "--all", "true").splitlines()
    states = dict(line.strip().split(": ") for line in lines if line)
    states = {mutant: state for mutant, state in states.items() if state != "not checked"}
    print(f"{name}: {len(states)} mutants, {dict(Counter(states.values()))}", flush=True)
    for mutant, state in states.items():
        if state != "killed":
            print(f"  {mutant}: {state}", flush=True)
            changes = mutmut(folder, share, "show", mutant).splitlines()
            print("".join(f"    {line}\n" for line in changes if line[:1] in "+-" and line[:3] not in ("+++", "---")))


def main() -> int:
    """Run it; the exit status is 0 however many survive."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("groups", nargs="*", default=list(GROUPS), metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--share", type=int, default=1, metavar="N", help="try one mutant in N")
    parser.add_argument("--only", action="append", default=[], help="names of mutants, with * for any")
    parser.add_argument("--keep", type=Path, help="where the copies are left")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.groups:
            try:
                judge(name, (options.keep or Path(temporary)) / name, options.share, options.only)
            except RuntimeError as error:  # the others can still be judged
                print(f"{name}: {error}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
