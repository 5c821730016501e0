"""tensorgrad's gradcheck and PyTorch's on the same list of wrong and right derivatives:  python benchmarks/gradcheck_pytorch.py

The lists are tests/gradcheck/wrong.py and right.py, written once for both. PyTorch's check runs with its defaults, with
check_forward_ad=True where there is forward mode, and gradgradcheck where the row is about a higher order. Needs PyTorch.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from gradcheck.right import RIGHT  # noqa: E402
from gradcheck.subjects import Subject, tensors  # noqa: E402
from gradcheck.wrong import WRONG  # noqa: E402

import tensorgrad as tg  # noqa: E402


def ours(subject: Subject) -> bool:
    function, arrays = subject.make(tg)
    return tg.autograd.gradcheck(
        function, tensors(tg, arrays), raise_exception=False, fast_mode=subject.fast, order=subject.order
    )


def theirs(subject: Subject) -> bool | None:
    """Whether PyTorch passes it; None where it stops with another error, which tells of no derivative."""
    import torch

    def run(forward: bool) -> bool:
        function, arrays = subject.make(torch)
        inputs = tensors(torch, [x.copy() for x in arrays])  # from_numpy takes no negative strides
        settings = {"raise_exception": False, "fast_mode": subject.fast}
        passed = torch.autograd.gradcheck(function, inputs, check_forward_ad=forward, **settings)
        if passed and subject.order > 1:
            passed = torch.autograd.gradgradcheck(function, inputs, **settings)
        return bool(passed)

    try:
        try:
            return run(True)
        except RuntimeError:  # no forward mode here (NotImplementedError is one), or none for this function
            return run(False)
    except (ValueError, RuntimeError, IndexError):
        return None


def timed(check: Callable[[Subject], Any], subject: Subject) -> tuple[Any, float]:
    started = time.perf_counter()
    return check(subject), time.perf_counter() - started


def main() -> None:
    warnings.simplefilter("ignore")  # PyTorch warns of what it cannot check
    import torch

    torch.set_num_threads(1)
    words = {True: "passes", False: "finds it", None: "stops with an error"}
    for title, rows, wanted in (("wrong", WRONG, False), ("right", RIGHT, True)):
        print(f"\n| {title} derivative | tensorgrad | PyTorch {torch.__version__.partition('+')[0]} |\n|---|---|---|")
        good = [0, 0]
        count = [0, 0]
        seconds = [0.0, 0.0]
        for subject in rows:
            cells = []
            for k, check in enumerate((ours, theirs)):
                if k == 1 and not subject.torch:
                    cells.append("(no such rule)")
                    continue
                found, took = timed(check, subject)
                seconds[k] += took
                count[k] += 1
                as_wanted = found is wanted or (found is None and not wanted)
                good[k] += as_wanted
                word = words[found] if not (wanted and found is False) else "refuses it"
                cells.append(word if as_wanted else f"**{word}**")
            print(f"| {subject.name} | {cells[0]} | {cells[1]} |")
        print(f"| all | {good[0]} of {count[0]} as it should be | {good[1]} of {count[1]} |")
        print(f"\nseconds: {seconds[0]:.1f} and {seconds[1]:.1f}", file=sys.stderr)


if __name__ == "__main__":
    main()
