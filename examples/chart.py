"""Accuracy, size and time of the family of networks, as the lectures' charts compare them.

Accuracy is what is published: top-1 of one crop of ImageNet's validation pictures by torchvision's first weights
(IMAGENET1K_V1 in its documentation). Parameters are counted, multiply-accumulates come from the shapes, and the time of one
picture, forward, is measured here and now.

python examples/chart.py [--quick] [--out chart.png]    --quick takes four small networks; --out draws, with matplotlib
"""

import argparse
import time

import tensorgrad as tg
from tensorgrad import models, nn

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true")
parser.add_argument("--out")
options = parser.parse_args()

TOP1 = {
    "alexnet": 56.522, "vgg11": 69.020, "vgg13": 69.928, "vgg16": 71.592, "vgg19": 72.376,
    "squeezenet1_0": 58.092, "squeezenet1_1": 58.178, "googlenet": 69.778, "inception_v3": 77.294,
    "resnet18": 69.758, "resnet34": 73.314, "resnet50": 76.130, "resnet101": 77.374, "resnet152": 78.312,
    "resnext50_32x4d": 77.618, "resnext101_32x8d": 79.312, "wide_resnet50_2": 78.468, "wide_resnet101_2": 78.848,
    "densenet121": 74.434, "densenet161": 77.138, "densenet169": 75.600, "densenet201": 76.896,
    "mobilenet_v2": 71.878,
}  # fmt: skip
QUICK = ("squeezenet1_0", "squeezenet1_1", "resnet18", "mobilenet_v2")


def multiply_accumulates(model, x):
    """Products that convolutions and linear layers form for x, from the shapes of what goes in and out."""
    total = 0

    def count(layer, inputs, output):
        nonlocal total
        each = layer.in_features if isinstance(layer, nn.Linear) else layer.weight[0].numel()
        total += output.numel() * each

    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    handles = [layer.register_forward_hook(count) for layer in layers]
    model(x)
    for handle in handles:
        handle.remove()
    return total


def milliseconds(model, x):
    """The median of five passes, after the one that counted."""
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        model(x)
        times.append(time.perf_counter() - begun)
    return 1000 * sorted(times)[2]


tg.manual_seed(0)
rows = []
print(f"{'network':18} {'top-1 %':>8} {'parameters':>12} {'MACs':>15} {'ms':>7}")
for name in QUICK if options.quick else TOP1:
    model = models.get_model(name).eval()
    side = 299 if name == "inception_v3" else 224
    x = tg.randn(1, 3, side, side)
    with tg.no_grad():
        work, taken = multiply_accumulates(model, x), milliseconds(model, x)
    parameters = sum(p.numel() for p in model.parameters())
    rows.append((name, TOP1[name], parameters, work, taken))
    print(f"{name:18} {TOP1[name]:8.3f} {parameters:12,} {work:15,} {taken:7.1f}")

if options.out:
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter, StrMethodFormatter

    figure = Figure(figsize=(10, 8), layout="constrained")
    axes = figure.add_subplot()
    largest = max(row[2] for row in rows)
    for name, top1, parameters, _, taken in rows:
        axes.scatter(taken, top1, s=1500 * parameters / largest, alpha=0.4)
        axes.annotate(name, (taken, top1), (0, 3), textcoords="offset points", ha="center", fontsize=7)
    axes.set(xlabel="milliseconds for one picture", ylabel="top-1 accuracy in % (published)", xscale="log")
    axes.set_xticks([step * power for power in (1, 10, 100, 1000) for step in (1, 2, 5)])
    axes.set_xlim(min(row[4] for row in rows) / 1.3, max(row[4] for row in rows) * 1.3)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title("area: parameters")
    figure.savefig(options.out)
    print(f"drawn: {options.out}")
most = max(rows, key=lambda row: row[1])
print(f"the most accurate of {len(rows)}: {most[0]} with {most[1]:.3f} %")
