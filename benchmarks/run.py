"""Compare with PyTorch and write benchmarks/RESULTS.md:

    python -m benchmarks.run [--quick] [--only TEXT] [--sections networks,chain] [--peers PYTHON]

Needs the extra `oracle` (PyTorch 2.13.0, CPU). Run it on a quiet machine; the ratios are what counts. `--quick` makes few rounds,
`--only` takes the rows with that text in their names; both write nothing. Sections that are not run stay in the file as they
were. A row that fails says why and the rest goes on. All of it takes about an hour.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bench_kernels, family, growth, leaks, operations, peers
from benchmarks.duel import Failed, Result, Side, compare, contest, peak_memory
from benchmarks.networks import CASES

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
OPENING = (
    "# Measured against PyTorch",
    "",
    "Made by `python -m benchmarks.run`: every contestant in a process of its own, asked in turn; the ratio is the median of the",
    "rounds' ratios, with its middle half. Below 1 tensorgrad is faster. Absolute times are the machine's of that day; trust the",
    "ratios. Threads: 1 each, or each one's own policy (all cores). Where a machine shares its cores with others, threads that wait",
    "for each other may take many times their work's time: a wide spread, or a PyTorch far slower on two threads than on one, says",
    "so, and then the rows with one thread each are the ones to read.",
)
ALONE = {"TENSORGRAD_FAST": "0"}  # NumPy without Numba
POLICIES = ((1, "1"), (None, "own"))


@dataclass
class Plan:
    """What was asked for on the command line."""

    quick: bool
    only: str
    peers: str

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 21

    @property
    def budget(self) -> float:
        """Seconds for a row."""
        return 8.0 if self.quick else 14.0

    def wants(self, name: str) -> bool:
        return self.only.lower() in name.lower()


def _row(*cells: object) -> str:
    line = f"| {' | '.join(str(cell) for cell in cells)} |"
    print(line, flush=True)
    return line


def _head(*titles: str) -> list[str]:
    return [_row(*titles), _row("---", *("---:" for _ in titles[1:]))]


def _ratio(result: Result | None) -> str:
    return "-" if result is None else f"{result.ratio:.2f} ({result.low:.2f} to {result.high:.2f})"


def _race(plan: Plan, sides: Sequence[Side]) -> dict[str, list[float]] | str:
    """The times of every side by its label, or what went wrong."""
    try:
        times = contest(sides, rounds=plan.rounds, seconds=0.05 if plan.quick else 0.2, budget=plan.budget)
    except Failed as failure:
        return str(failure)
    return {side.label: row for side, row in zip(sides, times)}


def networks(plan: Plan) -> Iterator[str]:
    """Whole networks: training steps (forward, backward, SGD with momentum) and inference"""
    yield from _head(
        "network (batch)", "threads", "ms", "PyTorch ms", "ratio to default", "ratio to channels_last",
        "compiled, to default", "NumPy alone, to default",
    )  # fmt: skip
    for name, case in CASES.items():
        for train in (True, False):
            title = f"{name} ({case.batch}), {'training' if train else 'inference'}"
            if not plan.wants(title):
                continue
            for threads, policy in POLICIES:
                settings = {"name": name, "train": train}
                ours, theirs = "benchmarks.steps:network_ours", "benchmarks.steps:network_torch"
                sides = [
                    Side("ours", ours, settings, threads=threads),
                    Side("torch", theirs, settings, threads=threads),
                    Side("compiled", ours, {**settings, "compiled": True}, threads=threads),
                    Side("alone", ours, settings, ALONE, threads=threads),
                ]
                if len(case.image) == 3:
                    sides.append(Side("last", theirs, {**settings, "channels_last": True}, threads=threads))
                times = _race(plan, sides)
                if isinstance(times, str):
                    yield _row(title, policy, times, "", "", "", "", "")
                    continue
                result = compare(times["ours"], times["torch"])
                last = compare(times["ours"], times["last"]) if "last" in times else None
                yield _row(
                    title, policy, f"{result.ours * 1e3:.2f}", f"{result.theirs * 1e3:.2f}", _ratio(result), _ratio(last),
                    _ratio(compare(times["compiled"], times["torch"])), _ratio(compare(times["alone"], times["torch"])),
                )  # fmt: skip


def memory(plan: Plan) -> Iterator[str]:
    """Peak memory of a fresh process after three training steps, in MB"""
    yield from _head(
        "network (batch)", "tensorgrad", "compiled", "NumPy alone", "PyTorch", "its channels_last", "ratio"
    )
    for name, case in CASES.items():
        title = f"{name} ({case.batch})"
        if not plan.wants(title):
            continue
        settings = {"name": name, "train": True}
        ours, theirs = "benchmarks.steps:network_ours", "benchmarks.steps:network_torch"
        sides = [
            Side("ours", ours, settings),
            Side("compiled", ours, {**settings, "compiled": True}),
            Side("alone", ours, settings, ALONE),
            Side("torch", theirs, settings),
            Side("last", theirs, {**settings, "channels_last": len(case.image) == 3}),
        ]
        try:
            peaks = [peak_memory(side) for side in sides]
        except Failed as failure:
            yield _row(title, failure, "", "", "", "", "")
            continue
        yield _row(title, *(f"{peak:.0f}" for peak in peaks), f"{peaks[0] / peaks[3]:.2f}")


def _two(
    plan: Plan, title: str, contestants: tuple[str, str], settings: dict[str, object], threads: int | None
) -> list[object]:
    sides = [
        Side(label, contestant, settings, threads=threads) for label, contestant in zip(("ours", "torch"), contestants)
    ]
    times = _race(plan, sides)
    if isinstance(times, str):
        return [title, times, "", ""]
    result = compare(times["ours"], times["torch"])
    return [title, f"{result.ours * 1e3:.3f}", f"{result.theirs * 1e3:.3f}", _ratio(result)]


def chain(plan: Plan) -> Iterator[str]:
    """A chain of 1,000 small operations, forward and backward, on one thread"""
    yield from _head("values", "ms", "PyTorch ms", "ratio", "compiled ms", "compiled, ratio")
    for size in (0, 100, 1000, 10_000):
        title = f"{size} values each" if size else "0-d values"
        if not plan.wants(f"chain {title}"):
            continue
        sides = [
            Side("ours", "benchmarks.steps:chain_ours", {"size": size}, threads=1),
            Side("torch", "benchmarks.steps:chain_torch", {"size": size}, threads=1),
            Side("compiled", "benchmarks.steps:chain_ours", {"size": size, "compiled": True}, threads=1),
        ]
        times = _race(plan, sides)
        if isinstance(times, str):
            yield _row(title, times, "", "", "", "")
            continue
        eager, compiled = (compare(times[label], times["torch"]) for label in ("ours", "compiled"))
        yield _row(
            title, f"{eager.ours * 1e3:.3f}", f"{eager.theirs * 1e3:.3f}", _ratio(eager), f"{compiled.ours * 1e3:.3f}", _ratio(compiled)
        )  # fmt: skip


def single_operations(plan: Plan) -> Iterator[str]:
    """Single operations on float32, forward and backward, on one thread"""
    yield from _head("operation on (256, 1024) values unless named", "ms", "PyTorch ms", "ratio")
    for name in operations.OPERATIONS:
        if plan.wants(name):
            contestants = "benchmarks.operations:ours", "benchmarks.operations:theirs"
            yield _row(*_two(plan, name, contestants, {"name": name}, 1))


def layers(plan: Plan) -> Iterator[str]:
    """Kernels of single layers; `python -m benchmarks.bench_kernels` prints them alone"""
    yield from _head("layer", "kernel", "ms", "ratio to default", "ratio to channels_last")
    for name, layer in bench_kernels.LAYERS.items():
        for kernel in bench_kernels.KINDS[layer.kinds]:
            if not plan.wants(f"{name} {kernel}"):
                continue
            settings = {"name": name, "kernel": kernel}
            here = "benchmarks.bench_kernels"
            sides = [
                Side(label, f"{here}:{label}", settings) for label in ("ours", "torch_default", "torch_channels_last")
            ]
            times = _race(plan, sides)
            if isinstance(times, str):
                yield _row(name, kernel, times, "", "")
                continue
            default, last = (compare(times["ours"], times[side.label]) for side in sides[1:])
            yield _row(name, kernel, f"{default.ours * 1e3:.3f}", _ratio(default), _ratio(last))


def other_libraries(plan: Plan) -> Iterator[str]:
    """Other libraries on NumPy, as ratio to PyTorch in the same rounds (ours first)"""
    yield from _head("case", "tensorgrad", *peers.NAMES)
    cases: list[tuple[str, str, dict[str, object], Sequence[str]]] = [
        ("LeNet-5 (64), training", "lenet", {"name": "LeNet-5", "train": True}, peers.WITH_LENET),
        ("chain of 1,000 operations on 0-d values", "chain", {"size": 0}, peers.NAMES),
        ("chain of 1,000 operations on 1,000 values", "chain", {"size": 1000}, peers.NAMES),
    ]
    for title, kind, settings, names in cases:
        if not plan.wants(title):
            continue
        function = "network" if kind == "lenet" else kind
        known = {} if kind == "lenet" else settings
        cells = []
        for name in ("tensorgrad", *peers.NAMES):
            if name != "tensorgrad" and name not in names:
                cells.append("-")
                continue
            ours = f"benchmarks.steps:{function}_ours"
            side = Side(name, ours, settings, threads=1)
            if name != "tensorgrad":
                side = Side(name, f"benchmarks.peers:{kind}_{name}", known, threads=1, python=plan.peers)
            times = _race(plan, [side, Side("torch", f"benchmarks.steps:{function}_torch", settings, threads=1)])
            cells.append(times if isinstance(times, str) else f"{compare(times[name], times['torch']).ratio:.2f}")
        yield _row(title, *cells)


def import_seconds(package: str) -> float:
    """The median time of `import package` in a fresh interpreter, less the interpreter's own."""
    code = f"import time; t = time.perf_counter(); import {package}; print(time.perf_counter() - t)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(7)
    ]
    return sorted(times)[3]


def imports(plan: Plan) -> Iterator[str]:
    """Import, in a fresh interpreter with its files in the cache"""
    yield from _head("package", "ms")
    for package in ("numpy", "tensorgrad", "tensorgrad.nn, tensorgrad.optim", "torch"):
        if plan.wants(f"import {package}"):
            yield _row(package, f"{import_seconds(package) * 1e3:.0f}")


def building(plan: Plan) -> Iterator[str]:
    """Building a network of the family, all its numbers drawn, beside torchvision's"""
    yield from _head("network", "seconds", "torchvision's", "ratio")
    for name in family.NAMES:
        if not plan.wants(f"build {name}"):
            continue
        sides = [Side(label, f"benchmarks.family:build_{label}", {"name": name}) for label in ("ours", "torch")]
        times = _race(plan, sides)
        if isinstance(times, str):
            yield _row(name, times, "", "")
            continue
        result = compare(times["ours"], times["torch"])
        yield _row(name, f"{result.ours:.3f}", f"{result.theirs:.3f}", _ratio(result))


def one_picture(plan: Plan) -> Iterator[str]:
    """Peak memory of a fresh process that built a network and computed the scores of one picture, in MB"""
    yield from _head(
        "network (side)", "tensorgrad", "torchvision", "ratio", "tensorgrad, built alone", "torchvision, built alone"
    )
    for name in family.NAMES:
        title = f"{name} ({family.side_of(name)})"
        if not plan.wants(f"picture {title}"):
            continue
        try:
            peaks = [
                peak_memory(Side(label, f"benchmarks.family:forward_{label}", {"name": name, "pictures": pictures}))
                for pictures in (1, 0)
                for label in ("ours", "torch")
            ]
        except Failed as failure:
            yield _row(title, failure, "", "", "", "")
            continue
        ours, theirs, *built = (f"{peak:.0f}" for peak in peaks)
        yield _row(title, ours, theirs, f"{peaks[0] / peaks[1]:.2f}", *built)


def how_cost_grows(plan: Plan) -> Iterator[str]:
    """How the cost grows, on one thread (picture: growth.png)"""
    if not plan.wants("growth"):
        return
    found = growth.curves(plan.quick)
    for line in growth.table(found):
        print(line, flush=True)
        yield line
    if not plan.quick:
        growth.draw(found, HERE / "growth.png")


def left_behind(plan: Plan) -> Iterator[str]:
    """What is left behind by everything, with the garbage collector off; `python -m benchmarks.leaks` prints it alone"""
    if plan.wants("left behind"):
        for line in leaks.report("step of" if plan.quick else "", 10, 4 if plan.quick else 10):
            print(line, flush=True)
            yield line


SECTIONS: dict[str, Callable[[Plan], Iterator[str]]] = {
    "networks": networks,
    "memory": memory,
    "chain": chain,
    "operations": single_operations,
    "layers": layers,
    "peers": other_libraries,
    "imports": imports,
    "building": building,
    "picture": one_picture,
    "growth": how_cost_grows,
    "leaks": left_behind,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, nothing written")
    parser.add_argument("--only", default="", metavar="TEXT", help="the rows with this in their names, nothing written")
    parser.add_argument("--sections", default=",".join(SECTIONS), help=f"some of {', '.join(SECTIONS)}")
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="where peers.py's libraries are")
    arguments = parser.parse_args()
    plan = Plan(arguments.quick, arguments.only, arguments.peers)
    report = _sections_of(RESULTS)
    for name in arguments.sections.split(","):
        section = SECTIONS[name]
        print(f"\n## {section.__doc__}\n", flush=True)
        report[str(section.__doc__)] = [_machine(), "", *section(plan)]
        if not plan.quick and not plan.only:  # after every section, so that an interrupted run has not run for nothing
            RESULTS.write_text(_text(report), encoding="utf-8")


def _sections_of(path: Path) -> dict[str, list[str]]:
    """The sections of the report of earlier runs, by title; those not measured again stay as they are."""
    found: dict[str, list[str]] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for line in lines:
        if line.startswith("## "):
            found[line[3:]] = []
        elif found:
            found[list(found)[-1]].append(line)
    return {title: "\n".join(body).strip("\n").split("\n") for title, body in found.items()}


def _text(report: dict[str, list[str]]) -> str:
    """The whole report, the sections in the order of SECTIONS, and behind them those written by hand."""
    titles = [str(section.__doc__) for section in SECTIONS.values()]
    titles += [title for title in report if title not in titles]
    lines = [*OPENING]
    for title in titles:
        if title in report:
            lines += ["", f"## {title}", "", *report[title]]
    return "\n".join([*lines, ""])


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"no {package}"


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _machine() -> str:
    """When, where and with what a section was measured."""
    versions = ", ".join(_version(package) for package in ("numpy", "numba", "torch"))
    return f"{datetime.date.today()}, {_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}."


if __name__ == "__main__":
    main()
