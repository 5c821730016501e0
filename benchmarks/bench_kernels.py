"""Convolution, pooling and normalisation kernels against PyTorch's, layer by layer:

    python -m benchmarks.bench_kernels [--only LeNet] [--quick]

A line is one kernel of one layer: our time, and the ratio of our time to PyTorch's in its default layout and in its
channels_last layout; below 1 we are faster. Our activations are channels-last, as our own layers leave them, and images (3
channels or fewer) are as they come, (N, C, H, W). Without PyTorch only our times are printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

from benchmarks.duel import duel

Step = Callable[[], Any]


class Layer(NamedTuple):
    """x is (images, channels, size, size); features, kernel and groups matter to convolutions only."""

    kinds: str
    images: int
    channels: int
    size: int
    features: int = 0
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    groups: int = 1


LAYERS = {
    "LeNet conv1, 5x5": Layer("conv", 64, 1, 32, 6, 5),
    "LeNet conv2, 5x5": Layer("conv", 64, 6, 14, 16, 5),
    "LeNet conv3, 5x5": Layer("conv", 64, 16, 5, 120, 5),
    "LeNet pool1, 2x2": Layer("pool", 64, 6, 28, kernel=2, stride=2),
    "LeNet pool2, 2x2": Layer("pool", 64, 16, 10, kernel=2, stride=2),
    "ResNet-20, 3x3 16": Layer("conv", 128, 16, 32, 16, 3, 1, 1),
    "ResNet-20, 3x3 16-32 stride 2": Layer("conv", 128, 16, 32, 32, 3, 2, 1),
    "ResNet-20, 3x3 64": Layer("conv", 128, 64, 8, 64, 3, 1, 1),
    "ResNet-20, batch norm": Layer("norm", 128, 16, 32),
    "ResNet stem, 7x7 stride 2": Layer("conv", 8, 3, 224, 64, 7, 2, 3),
    "ResNet pool, 3x3 stride 2": Layer("pool", 8, 64, 112, kernel=3, stride=2, padding=1),
    "ResNet, 3x3 64": Layer("conv", 8, 64, 56, 64, 3, 1, 1),
    "ResNet, 3x3 128": Layer("conv", 8, 128, 28, 128, 3, 1, 1),
    "ResNet, 3x3 256": Layer("conv", 8, 256, 14, 256, 3, 1, 1),
    "ResNet, 3x3 512": Layer("conv", 8, 512, 7, 512, 3, 1, 1),
    "ResNet, 3x3 64-128 stride 2": Layer("conv", 8, 64, 56, 128, 3, 2, 1),
    "ResNet, 1x1 256-64": Layer("conv", 8, 256, 56, 64, 1),
    "ResNet, 1x1 64-128 stride 2": Layer("conv", 8, 64, 56, 128, 1, 2),
    "ResNet, batch norm": Layer("norm", 8, 64, 56),
    "AlexNet conv1, 11x11 stride 4": Layer("conv", 8, 3, 224, 64, 11, 4, 2),
    "depthwise, 3x3 64": Layer("conv", 8, 64, 56, 64, 3, 1, 1, 64),
    "VGG pool, 2x2": Layer("pool", 4, 64, 112, kernel=2, stride=2),
    "GoogLeNet pool, 3x3": Layer("pool", 8, 192, 28, kernel=3, stride=1, padding=1),
}

KINDS = {
    "conv": ("forward", "input gradient", "weight gradient"),
    "pool": ("max", "max gradient", "average", "average gradient"),
    "norm": ("forward", "gradient"),
}


def _normal(*shape: int) -> numpy.ndarray:
    return numpy.random.default_rng(0).standard_normal(shape, dtype=numpy.float32)


def _as_our_layers_leave_it(x: numpy.ndarray) -> numpy.ndarray:
    if x.shape[1] <= 3:
        return x
    return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def ours(name: str, kernel: str) -> Step:
    """A call of our kernel without arguments."""
    from tensorgrad.backend import backend_for

    layer, kernels = LAYERS[name], backend_for("cpu")
    size = layer.size, layer.size
    x = _as_our_layers_leave_it(_normal(layer.images, layer.channels, *size))
    window, stride, padding = (layer.kernel,) * 2, (layer.stride,) * 2, (layer.padding,) * 4
    if layer.kinds == "conv":
        settings = stride, padding, (1, 1), layer.groups
        w = _normal(layer.features, layer.channels // layer.groups, *window)
        dz = _as_our_layers_leave_it(_normal(*kernels.conv2d(x, w, *settings).shape))
        steps: dict[str, Step] = {
            "forward": lambda: kernels.conv2d(x, w, *settings),
            "input gradient": lambda: kernels.conv2d_input_grad(dz, w, size, *settings),
            "weight gradient": lambda: kernels.conv2d_weight_grad(dz, x, window, *settings),
        }
    elif layer.kinds == "pool":
        z, winners = kernels.max_pool2d(x, window, stride, padding, (1, 1), False)
        average = window, stride, padding, False, True, None
        steps = {
            "max": lambda: kernels.max_pool2d(x, window, stride, padding, (1, 1), False),
            "max gradient": lambda: kernels.max_pool2d_scatter(z, winners, size, window, stride, padding, (1, 1)),
            "average": lambda: kernels.avg_pool2d(x, *average),
            "average gradient": lambda: kernels.avg_pool2d_input_grad(z, size, *average),
        }
    else:
        weight = bias = _normal(layer.channels)
        y, mean, _, inv_std = kernels.batch_norm(x, weight, bias, 1e-5)
        steps = {
            "forward": lambda: kernels.batch_norm(x, weight, bias, 1e-5),
            "gradient": lambda: kernels.batch_norm_grad(y, x, weight, mean, inv_std),
        }
    return steps[kernel]


def torch_default(name: str, kernel: str) -> Step:
    """The same call of PyTorch's, on arrays in its default layout."""
    return _torch(name, kernel, False)


def torch_channels_last(name: str, kernel: str) -> Step:
    """The same call of PyTorch's, on channels-last arrays."""
    return _torch(name, kernel, True)


def _torch(name: str, kernel: str, channels_last: bool) -> Step:
    import torch

    layer, aten = LAYERS[name], torch.ops.aten

    def laid_out(x: Any) -> Any:
        return x.contiguous(memory_format=torch.channels_last) if channels_last else x

    x = laid_out(torch.from_numpy(_normal(layer.images, layer.channels, layer.size, layer.size)))
    window, stride, padding = [layer.kernel] * 2, [layer.stride] * 2, [layer.padding] * 2
    if layer.kinds == "conv":
        w = laid_out(torch.from_numpy(_normal(layer.features, layer.channels // layer.groups, *window)))
        dz = laid_out(
            torch.randn_like(aten.convolution(x, w, None, stride, padding, [1, 1], False, [0, 0], layer.groups))
        )

        def gradient(wanted: list[bool]) -> Any:
            settings = None, stride, padding, [1, 1], False, [0, 0], layer.groups
            return aten.convolution_backward(dz, x, w, *settings, wanted)

        steps: dict[str, Step] = {
            "forward": lambda: aten.convolution(x, w, None, stride, padding, [1, 1], False, [0, 0], layer.groups),
            "input gradient": lambda: gradient([True, False, False]),
            "weight gradient": lambda: gradient([False, True, False]),
        }
    elif layer.kinds == "pool":
        z, indices = aten.max_pool2d_with_indices(x, window, stride, padding)
        average = window, stride, padding, False, True, None
        steps = {
            "max": lambda: aten.max_pool2d_with_indices(x, window, stride, padding),
            "max gradient": lambda: aten.max_pool2d_with_indices_backward(
                z, x, window, stride, padding, [1, 1], False, indices
            ),
            "average": lambda: aten.avg_pool2d(x, *average),
            "average gradient": lambda: aten.avg_pool2d_backward(z, x, *average),
        }
    else:
        weight = bias = torch.from_numpy(_normal(layer.channels))
        running = torch.zeros(layer.channels), torch.ones(layer.channels)
        y, mean, inv_std = aten.native_batch_norm(x, weight, bias, *running, True, 0.1, 1e-5)
        steps = {
            "forward": lambda: aten.native_batch_norm(x, weight, bias, *running, True, 0.1, 1e-5),
            "gradient": lambda: aten.native_batch_norm_backward(
                y, x, weight, *running, mean, inv_std, True, 1e-5, [True, True, True]
            ),
        }
    step = steps[kernel]

    def without_a_tape() -> Any:
        with torch.no_grad():
            return step()

    return without_a_tape


def milliseconds(step: Step, rounds: int) -> float:
    """The median time of a call."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2] * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="the layers with this in their names")
    parser.add_argument("--quick", action="store_true", help="few and short rounds")
    arguments = parser.parse_args()
    rounds, seconds = (3, 0.02) if arguments.quick else (11, 0.1)
    with_torch = importlib.util.find_spec("torch") is not None
    print(f"{'layer':32s}{'kernel':18s}{'ours, ms':>10s}{'to PyTorch':>13s}{'to its channels_last':>22s}")
    for name, layer in LAYERS.items():
        if arguments.only not in name:
            continue
        for kernel in KINDS[layer.kinds]:
            line = f"{name:32s}{kernel:18s}"
            if not with_torch:
                print(f"{line}{milliseconds(ours(name, kernel), rounds):10.3f}", flush=True)
                continue
            settings = {"name": name, "kernel": kernel}
            results = []
            for theirs in ("torch_default", "torch_channels_last"):
                here = "benchmarks.bench_kernels"
                results.append(
                    duel(f"{here}:ours", f"{here}:{theirs}", rounds=rounds, seconds=seconds, settings=settings)
                )
            default, last = results
            print(f"{line}{default.ours * 1e3:10.3f}{default.ratio:13.2f}{last.ratio:22.2f}", flush=True)


if __name__ == "__main__":
    main()
