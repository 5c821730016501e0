"""Compare with PyTorch on a CUDA GPU and print the table:

    python -m benchmarks.gpu [--only TEXT] [--precision float32|float16] [--batch N] [--rounds N] [--seconds S] [--eager]
                             [--no-cudnn] [--inference]

Needs a GPU, CuPy (extra gpu12 or gpu13), cuDNN if it is to be used (cudnn12 or cudnn13), and a PyTorch built for CUDA; says which is
missing and measures nothing without. Four sides, each in a process of its own, asked in turn: tensorgrad as it is and through
tensorgrad.compile, PyTorch eager and through torch.compile. A turn is ten steps, after which the GPU is waited for. Ratios are
medians of the rounds'; below 1 tensorgrad is faster. A side that breaks down leaves its cells empty and says why below its row, and
so does a compiled step that is not launched as CUDA graphs. --eager leaves torch.compile out, which takes a minute to start. TF32 is
as each library has it by default: in convolutions, not in matrix products. Memory is what each library's pool has taken from the GPU
after a turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks.duel import ROOT, Failed, Side, contest
from benchmarks.networks import BUILDERS, Framework, build, fill
from benchmarks.steps import batch_of

Step = Callable[[], Any]
STEPS = 10

#: Network -> batch, and the goals: the ratio to PyTorch eager, as it is or compiled.
GOALS = {
    "LeNet-5": (128, "compiled at most 0.5"),
    "ResNet-20": (128, "compiled at most 0.5"),
    "AlexNet": (256, "at most 1.0"),
    "GoogLeNet": (128, "at most 1.0"),
    "ResNet-18": (128, "at most 1.0"),
    "ResNet-50": (64, "at most 1.0"),
    "VGG-16": (64, "at most 1.0"),
}
SIDES = {
    "tensorgrad": ("ours", False),
    "tensorgrad, compiled": ("ours", True),
    "PyTorch": ("theirs", False),
    "PyTorch, compiled": ("theirs", True),
}


class Plan(NamedTuple):
    """What a side computes."""

    name: str
    batch: int
    precision: str
    train: bool
    cudnn: bool

    def settings(self, compiled: bool) -> dict[str, Any]:
        return {**self._asdict(), "compiled": compiled}


def ours(name: str, batch: int, precision: str, train: bool, cudnn: bool, compiled: bool, device: str = "cuda") -> Step:
    """Ten steps in tensorgrad, then waiting."""
    import tensorgrad
    import tensorgrad.nn as nn
    import tensorgrad.optim as optim

    tensorgrad.backends.cudnn.enabled = cudnn
    model = build(name, Framework(tensorgrad, nn, False))

    def assign(parameter: Any, values: Any) -> None:
        parameter.data = tensorgrad.from_numpy(values)

    fill(model, assign)
    dtype = getattr(tensorgrad, precision)
    model = model.to(device, dtype)
    images, labels = (tensorgrad.from_numpy(values).to(device) for values in batch_of(name, batch))
    step = one_step(tensorgrad, nn, optim, model, images.to(dtype), labels, train)
    fast = tensorgrad.compile(step) if compiled else None
    steps = several(fast or step, tensorgrad.cuda.synchronize if device == "cuda" else lambda: None)
    steps.why = fast.why if fast is not None else list  # type: ignore[attr-defined]
    return steps


def theirs(
    name: str, batch: int, precision: str, train: bool, cudnn: bool, compiled: bool, device: str = "cuda"
) -> Step:
    """The same in PyTorch."""
    import torch

    if device != "cpu":
        torch.backends.cudnn.enabled = cudnn
    model = build(name, Framework(torch, torch.nn, True))

    def assign(parameter: Any, values: Any) -> None:
        parameter.data = torch.from_numpy(values)

    fill(model, assign)
    dtype = getattr(torch, precision)
    model = model.to(device, dtype)
    images, labels = (torch.from_numpy(values).to(device) for values in batch_of(name, batch))
    step = one_step(
        torch, torch.nn, torch.optim, torch.compile(model) if compiled else model, images.to(dtype), labels, train
    )
    return several(step, torch.cuda.synchronize if device == "cuda" else lambda: None)


def one_step(library: Any, nn: Any, optim: Any, model: Any, images: Any, labels: Any, train: bool) -> Step:
    """Forward, backward, SGD with momentum; or inference."""
    loss_of = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def training() -> None:
        optimizer.zero_grad()
        loss_of(model(images), labels).backward()
        optimizer.step()

    def inference() -> None:
        with library.no_grad():
            model(images)

    if not train:
        model.eval()
    return training if train else inference


def several(step: Step, wait: Callable[[], Any]) -> Step:
    def steps() -> None:
        for _ in range(STEPS):
            step()
        wait()

    return steps


def reserved(side: str, settings: dict[str, Any]) -> tuple[float, list[str]]:
    """MB that the side's pool has taken from the GPU after two turns, and why its step was not launched as graphs."""
    steps = {"ours": ours, "theirs": theirs}[side](**settings)
    steps()
    steps()
    if side == "ours":
        import tensorgrad

        return tensorgrad.cuda.memory_reserved() / 2**20, steps.why()  # type: ignore[attr-defined]
    import torch

    return float(torch.cuda.memory_reserved()) / 2**20, []


def memory_of(label: str, plan: Plan) -> tuple[float, list[str]]:
    """`reserved` in a process of its own; raises Failed with the last line that it said."""
    side, compiled = SIDES[label]
    command = [sys.executable, "-m", "benchmarks.gpu", "--memory", side, json.dumps(plan.settings(compiled))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"{label}: {(done.stderr.strip().splitlines() or ['it ended without a word'])[-1]}")
    megabytes, reasons = json.loads(done.stdout.splitlines()[-1])
    return megabytes, reasons


def why_not() -> str | None:
    """What is missing here, in one sentence, or None."""
    import tensorgrad
    from tensorgrad.backend import backend_for
    from tensorgrad.errors import DeviceError

    try:
        backend_for("cuda")
    except DeviceError as error:
        return str(error)
    assert tensorgrad.cuda.is_available()
    try:
        import torch
    except ImportError:
        return "PyTorch is not installed, and it must be one that is built for CUDA"
    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} is not built for CUDA, or finds no GPU"
    return None


def machine(plan_cudnn: bool) -> str:
    """The GPU and the versions of all that takes part."""
    import cupy
    import torch

    import tensorgrad

    runtime = cupy.cuda.runtime
    cudnn = tensorgrad.backends.cudnn.version() if plan_cudnn else None
    return (
        f"{tensorgrad.cuda.get_device_name()}, driver for CUDA {runtime.driverGetVersion()}, CuPy {cupy.__version__} with CUDA "
        f"{runtime.runtimeGetVersion()}, cuDNN {cudnn or 'not used'}; PyTorch {torch.__version__} with CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version() if plan_cudnn else 'not used'}"
    )


def row(plan: Plan, rounds: int, seconds: float = 1.0, labels: Sequence[str] = tuple(SIDES)) -> str:
    """A line of the table: milliseconds a step, ratios to PyTorch eager, and to its compiled step, memory, the goal; and below it
    what the sides had to say."""
    times, said = times_of(plan, rounds, seconds, labels)

    def ratio(one: str, other: str) -> str:
        if one not in times or other not in times:
            return ""
        return f"{statistics.median(a / b for a, b in zip(times[one], times[other])):.2f}"

    cells = [f"{1e3 * statistics.median(times[label]) / STEPS:.2f}" if label in times else "" for label in SIDES]
    cells += [ratio("tensorgrad", "PyTorch"), ratio("tensorgrad, compiled", "PyTorch")]
    cells.append(ratio("tensorgrad, compiled", "PyTorch, compiled"))
    memory = []
    for label in ("tensorgrad", "PyTorch", "tensorgrad, compiled"):
        if label not in times:
            continue
        try:
            megabytes, reasons = memory_of(label, plan)
        except Failed as error:
            said.append(str(error))
            continue
        said += [f"{label}: {reason}" for reason in reasons]
        if label != "tensorgrad, compiled":
            memory.append(f"{megabytes:.0f}")
    cells.append(" / ".join(memory))
    line = f"| {plan.name} ({plan.batch}) | {' | '.join(cells)} | {GOALS[plan.name][1]} |"
    return "\n".join([line, *(f"<!-- {plan.name}: {text} -->" for text in said)])


def times_of(
    plan: Plan, rounds: int, seconds: float, labels: Sequence[str]
) -> tuple[dict[str, list[float]], list[str]]:
    """Seconds of every round of the sides that work, and what the others said; without these the contest begins anew."""
    said: list[str] = []
    left = list(labels)
    while left:
        sides = [Side(one, f"benchmarks.gpu:{SIDES[one][0]}", plan.settings(SIDES[one][1])) for one in left]
        try:
            return dict(zip(left, contest(sides, rounds=rounds, seconds=seconds))), said
        except Failed as error:
            said.append(str(error))
            left.remove(next(one for one in left if str(error).startswith(f"{one}:")))
    return {}, said


HEAD = (
    "| network (batch) | tensorgrad, ms | compiled | PyTorch | compiled | ratio | compiled to eager | compiled to compiled "
    "| MB, ours / PyTorch | goal |"
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="rows with this text in their names")
    parser.add_argument("--precision", choices=("float32", "float16"), default="float32")
    parser.add_argument("--batch", type=int, help="in place of the networks' own")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0, help="a side's turn")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    parser.add_argument("--no-cudnn", action="store_true", help="on both sides")
    parser.add_argument("--inference", action="store_true", help="in place of training steps")
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.memory:
        print(json.dumps(reserved(given.memory[0], json.loads(given.memory[1]))))
        return 0
    missing = why_not()
    if missing is not None:
        print(f"benchmarks.gpu: nothing was measured: {missing}", file=sys.stderr)
        return 2
    print(machine(not given.no_cudnn))
    print(f"{given.precision}, {'inference' if given.inference else 'training steps'}\n\n{HEAD}")
    print("| --- |" + " ---: |" * 8 + " --- |")
    for name, (batch, _) in GOALS.items():
        if given.only.lower() in name.lower():
            plan = Plan(name, given.batch or batch, given.precision, not given.inference, not given.no_cudnn)
            labels = [label for label in SIDES if not (given.eager and label == "PyTorch, compiled")]
            print(row(plan, given.rounds, given.seconds, labels), flush=True)
    return 0


assert set(GOALS) <= set(BUILDERS)

if __name__ == "__main__":
    sys.exit(main())
