"""Compare with PyTorch and write benchmarks/RESULTS.md:  python -m benchmarks.run [--quick]

Needs the extra `oracle` (PyTorch 2.13.0, CPU). Run it on a quiet machine; the ratios are what counts.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.duel import Result, duel

CASES = {
    "chain of 1,000 operations on 0-d values, forward + backward": ("chain", {"size": 0}),
    "chain of 1,000 operations on 1,000 values, forward + backward": ("chain", {"size": 1000}),
    "LeNet-5 (64), max pooling, training step": ("lenet", {"batch": 64, "train": True, "pool": "max"}),
    "LeNet-5 (64), average pooling, training step": ("lenet", {"batch": 64, "train": True, "pool": "avg"}),
    "LeNet-5 (64), max pooling, inference": ("lenet", {"batch": 64, "train": False, "pool": "max"}),
}


def import_seconds(package: str) -> float:
    """The median time of `import package` in a fresh interpreter, less the interpreter's own."""
    code = f"import time; t = time.perf_counter(); import {package}; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    return sorted(times)[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, nothing written")
    arguments = parser.parse_args()
    rows: list[tuple[str, str, Result]] = []
    for title, (name, settings) in CASES.items():
        for threads, policy in ((1, "one thread each"), (None, "each one's own threads")):
            result = duel(
                f"benchmarks.steps:{name}_ours",
                f"benchmarks.steps:{name}_torch",
                rounds=3 if arguments.quick else 21,
                settings=settings,
                threads=threads,
            )
            rows.append((title, policy, result))
            print(f"{title:65s} {policy:24s} {result}", flush=True)
    imports = {package: import_seconds(package) for package in ("tensorgrad", "torch")}
    print(f"import: tensorgrad {imports['tensorgrad']:.2f} s, torch {imports['torch']:.2f} s")
    if not arguments.quick:
        Path(__file__).with_name("RESULTS.md").write_text(_report(rows, imports), encoding="utf-8")


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {package}"


def _report(rows: list[tuple[str, str, Result]], imports: dict[str, float]) -> str:
    versions = ", ".join(_version(package) for package in ("numpy", "numba", "torch"))
    lines = [
        "# Measured against PyTorch",
        "",
        "Made by `python -m benchmarks.run`: two processes asked in turn, medians; the ratio is the median of the rounds' ratios, with",
        "its middle half. Below 1 tensorgrad is faster. Absolute times are the machine's of that day; trust the ratios. Where a machine",
        "shares its cores with others, threads that wait for each other may take many times their work's time: a wide spread, or a",
        "PyTorch far slower on two threads than on one, says so, and then the rows with one thread each are the ones to read.",
        "",
        f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}.",
        "",
        "| case | threads | tensorgrad, ms | PyTorch, ms | ratio |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for title, policy, result in rows:
        ratio = f"{result.ratio:.2f} ({result.low:.2f} to {result.high:.2f})"
        lines.append(f"| {title} | {policy} | {result.ours * 1e3:.3f} | {result.theirs * 1e3:.3f} | {ratio} |")
    lines.append(
        f"| import | | {imports['tensorgrad'] * 1e3:.0f} | {imports['torch'] * 1e3:.0f} "
        f"| {imports['tensorgrad'] / imports['torch']:.2f} |"
    )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
