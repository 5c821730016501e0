#!/usr/bin/env python3
"""Mutation testing of the engine: change one thing at a time in a copy of the sources, and see whether a test notices.

    python scripts/mutate.py [--minutes 15] [--seed 0] [FILE ...]

The mutants of each file are drawn at random within the time given; each is one change of the syntax tree: a comparison, a
sign, a constant, a condition, an `and`, a statement left out. A mutant survives if all TESTS still pass. What survives is
listed at the end and judged in docs/reliability.md: either a test is missing, or the change makes no difference.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ("tensorgrad/primitive/*.py", "tensorgrad/autodiff/*.py", "tensorgrad/ops/inplace.py")
FILES = tuple(path.relative_to(ROOT).as_posix() for pattern in ENGINE for path in sorted(ROOT.glob(pattern)))
TESTS = ("tests/test_tape.py", "tests/test_inplace.py", "tests/test_autodiff.py", "tests/test_modes.py")
TESTS += ("tests/test_tensor.py", "tests/autograd", "tests/test_func.py", "tests/reliability/test_engine.py")
COPIED = ("tensorgrad", "nn", "models", "tests", "pyproject.toml", "setup.cfg", "pytest_tensorgrad.py")

COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
SIGNS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv}


def mutant(tree: ast.Module, number: int, variant: int) -> tuple[int, str, ast.Module] | None:
    """(line, what was changed, the changed tree) for a change of one node; None where there is nothing to change."""
    changed = copy.deepcopy(tree)
    node = _numbered(changed, number)
    before = ast.unparse(node) if isinstance(node, (ast.expr, ast.stmt)) else ""
    if not 0 < len(before) < 400 or not _change(changed, node, variant):
        return None
    return node.lineno, f"{before} -> {ast.unparse(node)}", changed


def _numbered(tree: ast.Module, number: int) -> ast.AST:
    for position, node in enumerate(ast.walk(tree)):
        if position == number:
            return node
    raise IndexError(number)


def _change(tree: ast.Module, node: ast.AST, variant: int) -> bool:
    """Change the node in place; False where there is nothing (more) to change."""
    if isinstance(node, ast.Compare) and variant == 0:
        node.ops[0] = COMPARISONS[type(node.ops[0])]()
        return True
    if isinstance(node, ast.BinOp) and type(node.op) in SIGNS and variant == 0:
        node.op = SIGNS[type(node.op)]()
        return not isinstance(node.left, (ast.Constant, ast.JoinedStr)) or not isinstance(node.left.value, str)
    if isinstance(node, ast.BoolOp):
        if variant == 0:
            node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        else:
            node.values = node.values[:-1] if len(node.values) > 2 else [node.values[0], node.values[0]]
        return True
    if isinstance(node, ast.If):
        node.test = ast.Constant(bool(variant))
        return not any(isinstance(x, ast.Raise) for x in node.body) or variant == 0
    if isinstance(node, ast.Constant) and variant == 0 and type(node.value) in (bool, int):
        node.value = (not node.value) if type(node.value) is bool else node.value + 1
        return True
    if isinstance(node, (ast.Assign, ast.AugAssign, ast.Expr, ast.Continue)) and variant == 0:
        return _leave_out(tree, node)
    return False


def _leave_out(tree: ast.Module, node: ast.stmt) -> bool:
    """Put `pass` in the place of a statement inside a function that is no docstring."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return False
    for holder in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(holder, field, None)
            if isinstance(body, list) and node in body and not isinstance(holder, (ast.Module, ast.ClassDef)):
                node.__class__ = ast.Pass
                return True
    return False


def survives(copy_of: Path, tests: list[str], limit: float) -> bool:
    """Whether every test passes."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy_of),
        "OPENBLAS_NUM_THREADS": "1",
        "TENSORGRAD_FAST": "0",  # no kernels are mutated, and without Numba a run starts sooner
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    try:
        result = subprocess.run(command, cwd=copy_of, env=environment, capture_output=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


def main() -> int:
    """Run it; the exit status is 0 however many survive."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", default=FILES)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        copy_of = Path(folder)
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(
                    ROOT / name, copy_of / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(ROOT / name, copy_of / name)
        tests = [name for name in TESTS if (copy_of / name).exists()]
        begun = time.monotonic()
        if not survives(copy_of, tests, 300):
            print("the tests fail without any change: nothing can be said")
            return 1
        limit = 30 + 5 * (time.monotonic() - begun)
        trees = {name: ast.parse((ROOT / name).read_text()) for name in options.files}
        places = [(name, n, v) for name in trees for n in range(sum(1 for _ in ast.walk(trees[name]))) for v in (0, 1)]
        draw.shuffle(places)
        print(f"{time.monotonic() - begun:.0f} s for the tests without any change", flush=True)
        tried, left = 0, []
        deadline = time.monotonic() + 60 * options.minutes
        for name, number, variant in places:
            if time.monotonic() > deadline:
                break
            made = mutant(trees[name], number, variant)
            if made is None:
                continue
            line, what, tree = made
            original = (copy_of / name).read_text()
            (copy_of / name).write_text(ast.unparse(ast.fix_missing_locations(tree)))
            tried += 1
            if survives(copy_of, tests, limit):
                left.append(f"{name}:{line}: {what}")
                print(f"survived: {left[-1]}", flush=True)
            (copy_of / name).write_text(original)
        print(f"{tried} mutants tried (seed {options.seed}), {tried - len(left)} noticed, {len(left)} survived")
    return 0


if __name__ == "__main__":
    sys.exit(main())
