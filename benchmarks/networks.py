"""The networks of the benchmark, each built once for whichever framework it is given: equal by construction.

`build(name, framework)` returns a model of tensorgrad.nn or of torch.nn. The builders use only names that both have. PyTorch's
models are given its own idiom `ReLU(inplace=True)`, which saves it memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Framework(NamedTuple):
    """The module itself (for cat), its nn, and whether its ReLU works in place."""

    library: Any
    nn: Any
    inplace: bool

    def relu(self) -> Any:
        return self.nn.ReLU(inplace=True) if self.inplace else self.nn.ReLU()


class Case(NamedTuple):
    """A network at a batch size: (batch, *image) images, so many classes."""

    batch: int
    image: tuple[int, ...]
    classes: int


CASES = {
    "MLP": Case(128, (784,), 10),
    "LeNet-5": Case(64, (1, 32, 32), 10),
    "LeNet-5, average pooling": Case(64, (1, 32, 32), 10),
    "ResNet-20": Case(128, (3, 32, 32), 10),
    "AlexNet": Case(16, (3, 224, 224), 1000),
    "GoogLeNet": Case(8, (3, 224, 224), 1000),
    "ResNet-18": Case(8, (3, 224, 224), 1000),
    "ResNet-50": Case(4, (3, 224, 224), 1000),
    "VGG-16": Case(4, (3, 224, 224), 1000),
}


def build(name: str, framework: Framework) -> Any:
    """The network of that name, without weights to rely on: see `fill`."""
    return BUILDERS[name](framework, CASES[name].classes)


def fill(model: Any, assign: Callable[[Any, Any], None]) -> None:
    """The same values for equal models, whatever the framework: `assign(parameter, array)` for each, in order."""
    import numpy

    random = numpy.random.default_rng(0)
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)
        if len(shape) > 1:  # He et al., 2015
            fan_in = int(numpy.prod(shape[1:]))
            values = random.standard_normal(shape, dtype=numpy.float32) * (2.0 / fan_in) ** 0.5
        else:
            values = numpy.full(shape, float(name.endswith("weight")), numpy.float32)
        assign(parameter, values.astype(numpy.float32))


def _mlp(f: Framework, classes: int) -> Any:
    nn = f.nn
    return nn.Sequential(
        nn.Linear(784, 512), f.relu(), nn.Linear(512, 512), f.relu(), nn.Linear(512, classes)
    )  # fmt: skip


def _lenet(pool: str) -> Callable[[Framework, int], Any]:
    def build_lenet(f: Framework, classes: int) -> Any:
        nn = f.nn
        layer = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}[pool]
        return nn.Sequential(
            *(nn.Conv2d(1, 6, 5), f.relu(), layer(2)),
            *(nn.Conv2d(6, 16, 5), f.relu(), layer(2)),
            *(nn.Flatten(), nn.Linear(400, 120), f.relu(), nn.Linear(120, 84), f.relu(), nn.Linear(84, classes)),
        )

    return build_lenet


def _alexnet(f: Framework, classes: int) -> Any:
    """Krizhevsky, 2014, in one column."""
    nn = f.nn
    return nn.Sequential(
        *(nn.Conv2d(3, 64, 11, stride=4, padding=2), f.relu(), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(64, 192, 5, padding=2), f.relu(), nn.MaxPool2d(3, stride=2)),
        *(nn.Conv2d(192, 384, 3, padding=1), f.relu(), nn.Conv2d(384, 256, 3, padding=1), f.relu()),
        *(nn.Conv2d(256, 256, 3, padding=1), f.relu(), nn.MaxPool2d(3, stride=2)),  # (N, 256, 6, 6)
        *(nn.Flatten(), nn.Dropout(0.5), nn.Linear(9216, 4096), f.relu(), nn.Dropout(0.5)),
        *(nn.Linear(4096, 4096), f.relu(), nn.Linear(4096, classes)),
    )


def _vgg16(f: Framework, classes: int) -> Any:
    """Simonyan & Zisserman, 2015, configuration D."""
    nn = f.nn
    layers, channels = [], 3
    for width, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), f.relu()]
            channels = width
        layers.append(nn.MaxPool2d(2))
    layers += [nn.Flatten(), nn.Linear(512 * 49, 4096), f.relu(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(4096, 4096), f.relu(), nn.Dropout(0.5), nn.Linear(4096, classes))


def _conv_norm(f: Framework, channels: int, features: int, kernel: int, stride: int = 1) -> list[Any]:
    convolution = f.nn.Conv2d(channels, features, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [convolution, f.nn.BatchNorm2d(features)]


def _global_average(f: Framework) -> Any:
    class GlobalAverage(f.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.mean((2, 3))

    return GlobalAverage()


def _residual(f: Framework, body: list[Any], shortcut: list[Any]) -> Any:
    """relu(body(x) + shortcut(x)); He et al., 2016."""

    class Residual(f.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = f.nn.Sequential(*body)
            self.shortcut = f.nn.Sequential(*shortcut) if shortcut else None
            self.relu = f.relu()

        def forward(self, x: Any) -> Any:
            return self.relu(self.body(x) + (x if self.shortcut is None else self.shortcut(x)))

    return Residual()


def _stages(f: Framework, channels: int, stages: Any, bottleneck: bool) -> tuple[list[Any], int]:
    """The blocks of a ResNet, and how many channels come out; a stage is (width, blocks, stride of the first)."""
    blocks = []
    for width, count, first_stride in stages:
        for number in range(count):
            stride = first_stride if number == 0 else 1
            features = width * 4 if bottleneck else width
            if bottleneck:
                body = [*_conv_norm(f, channels, width, 1), f.relu()]
                body += [*_conv_norm(f, width, width, 3, stride), f.relu(), *_conv_norm(f, width, features, 1)]
            else:
                body = [*_conv_norm(f, channels, width, 3, stride), f.relu(), *_conv_norm(f, width, width, 3)]
            shortcut = _conv_norm(f, channels, features, 1, stride) if stride > 1 or channels != features else []
            blocks.append(_residual(f, body, shortcut))
            channels = features
    return blocks, channels


def _resnet20(f: Framework, classes: int) -> Any:
    """He et al., 2016, section 4.2, with projections where the size changes."""
    blocks, channels = _stages(f, 16, ((16, 3, 1), (32, 3, 2), (64, 3, 2)), False)
    stem = [*_conv_norm(f, 3, 16, 3), f.relu()]
    return f.nn.Sequential(*stem, *blocks, _global_average(f), f.nn.Linear(channels, classes))


def _resnet(counts: tuple[int, ...], bottleneck: bool) -> Callable[[Framework, int], Any]:
    def build_resnet(f: Framework, classes: int) -> Any:
        stages = [(64 << i, count, 1 if i == 0 else 2) for i, count in enumerate(counts)]
        blocks, channels = _stages(f, 64, stages, bottleneck)
        stem = [*_conv_norm(f, 3, 64, 7, 2), f.relu(), f.nn.MaxPool2d(3, stride=2, padding=1)]
        return f.nn.Sequential(*stem, *blocks, _global_average(f), f.nn.Linear(channels, classes))

    return build_resnet


# Szegedy et al., 2015, table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection; "pool" where a stage ends
INCEPTION = (
    (64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), "pool",
    (192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), "pool",
    (256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128),
)  # fmt: skip


def _inception(f: Framework, channels: int, widths: Any) -> Any:
    nn = f.nn
    one, reduce3, three, reduce5, five, project = widths

    def unit(*settings: int) -> list[Any]:
        return [*_conv_norm(f, *settings), f.relu()]

    class Inception(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Sequential(*unit(channels, one, 1))
            self.three = nn.Sequential(*unit(channels, reduce3, 1), *unit(reduce3, three, 3))
            # batch norm and 3x3 in place of 5x5, as in the version that is used since
            self.five = nn.Sequential(*unit(channels, reduce5, 1), *unit(reduce5, five, 3))
            self.pool = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), *unit(channels, project, 1))

        def forward(self, x: Any) -> Any:
            return f.library.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)

    return Inception()


def _googlenet(f: Framework, classes: int) -> Any:
    nn = f.nn
    layers = [*_conv_norm(f, 3, 64, 7, 2), f.relu(), nn.MaxPool2d(3, stride=2, ceil_mode=True)]
    layers += [*_conv_norm(f, 64, 64, 1), f.relu(), *_conv_norm(f, 64, 192, 3), f.relu()]
    layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
    channels = 192
    for widths in INCEPTION:
        if widths == "pool":
            layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
        else:
            layers.append(_inception(f, channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]  # type: ignore[operator]
    return nn.Sequential(*layers, _global_average(f), nn.Dropout(0.2), nn.Linear(channels, classes))


BUILDERS: dict[str, Callable[[Framework, int], Any]] = {
    "MLP": _mlp,
    "LeNet-5": _lenet("max"),
    "LeNet-5, average pooling": _lenet("avg"),
    "ResNet-20": _resnet20,
    "AlexNet": _alexnet,
    "GoogLeNet": _googlenet,
    "ResNet-18": _resnet((2, 2, 2, 2), False),
    "ResNet-50": _resnet((3, 4, 6, 3), True),
    "VGG-16": _vgg16,
}
