"""What a gradient check costs:  python benchmarks/bench_gradcheck.py

ResNet-18    the loss, with respect to the images, all parameters and buffers, along random directions, in training
             and in evaluation; beside it the time of one step forward and backward in float64
primitives   every primitive of the library on every sample, all modes, both orders: what `tensorgrad check` does
"""

from __future__ import annotations

import time

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.gradcheck import examine
from tensorgrad.gradcheck.primitives import check_primitives
from tensorgrad.models import resnet18
from tensorgrad.nn import functional as F


class Loss(nn.Module):
    """Cross entropy of a model's scores, as a module, so that its parameters are found."""

    def __init__(self, model: nn.Module, labels: tg.Tensor) -> None:
        super().__init__()
        self.model = model
        self.labels = labels

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return F.cross_entropy(self.model(x), self.labels)


def loss_of_resnet18(images: int = 4, size: int = 32) -> tuple[Loss, tg.Tensor]:
    tg.manual_seed(0)
    labels = tg.tensor([k % 10 for k in range(images)])
    loss = Loss(resnet18(num_classes=10).double(), labels)
    return loss, tg.randn(images, 3, size, size, dtype=tg.float64, requires_grad=True)


def main() -> None:
    loss, x = loss_of_resnet18()
    numbers = sum(p.numel() for p in loss.parameters())
    loss(x).backward()
    started = time.perf_counter()
    loss(x).backward()
    step = time.perf_counter() - started
    started = time.perf_counter()
    report = examine(loss, x, fast_mode=True, directions=1)
    seconds = time.perf_counter() - started
    print(f"ResNet-18, {len(x)} images of {x.shape[2]} x {x.shape[3]}, {numbers:,} parameters: one step {step:.2f} s")
    print(f"  checked in {seconds:.1f} s, {report.evaluations} calls: {report.summary()}")
    worst = ", ".join(f"{rule} {report.worst[1, rule]:.0e}" for rule in ("vjp", "jvp", "identity"))
    print(f"  worst relative error: {worst}")

    started = time.perf_counter()
    rows = check_primitives()
    seconds = time.perf_counter() - started
    cases, right = sum(row.cases for row in rows), sum(row.ok for row in rows)
    print(f"{len(rows)} primitives, {cases} cases: {seconds:.1f} s, {right} right")


if __name__ == "__main__":
    main()
