"""Classic kernels on a picture: edges, sharpening, blurs, Sobel. The picture is drawn here: a disc, a square and a slope.

python examples/kernels.py [--quick] [--out kernels.png]    --out draws all of them, with matplotlib
"""

import argparse

import numpy as np

import tensorgrad as tg
from tensorgrad.nn import functional as F

parser = argparse.ArgumentParser()
parser.add_argument("--quick", action="store_true", help="the same: it takes no time")
parser.add_argument("--out", help="where the sheet of pictures goes")
options = parser.parse_args()

KERNELS = {
    "vertical edges": np.array([[1, 0, -1]] * 3),
    "all edges": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]),
    "sharper": np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]),
    "3x3 Gaussian blur": np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16,
    "5x5 Gaussian blur": np.array(
        [[1, 4, 7, 4, 1], [4, 16, 26, 16, 4], [7, 26, 41, 26, 7], [4, 16, 26, 16, 4], [1, 4, 7, 4, 1]]
    )
    / 273,
    "Sobel x": np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]]),
    "Sobel y": np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]]),
}

rows, columns = np.mgrid[:96, :96].astype(np.float64)
disc = (rows - 32) ** 2 + (columns - 32) ** 2 < 20**2
square = (abs(rows - 64) < 18) & (abs(columns - 66) < 18)
picture = np.where(square, 0.9, np.where(disc, 0.6, 0.2)) + columns / 960  # (96, 96), brighter to the right


def apply(kernel):
    """The picture, widened by its own margin, cross-correlated with a kernel: (96, 96) -> (96, 96)."""
    side = len(kernel) // 2
    wide = tg.tensor(np.pad(picture, side, mode="edge")[None, None])
    return F.conv2d(wide, tg.tensor(kernel[None, None].astype(np.float64)))[0, 0]


results = {name: apply(kernel) for name, kernel in KERNELS.items()}
results["edge strength"] = (results["Sobel x"] ** 2 + results["Sobel y"] ** 2).sqrt()
for name, result in results.items():
    least, most, mean = result.min().item(), result.max().item(), result.mean().item()
    print(f"{name:18} from {least:6.2f} to {most:6.2f}, mean {mean:.4f}")

if options.out:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 9), layout="constrained")
    for place, (name, shown) in enumerate({"picture": tg.tensor(picture), **results}.items(), 1):
        axes = figure.add_subplot(3, 3, place)
        axes.imshow(shown.numpy(), cmap="gray")
        axes.set(xticks=[], yticks=[], title=name)
    figure.savefig(options.out)
    print(f"drawn: {options.out}")

# where a neighbour is of another shape there is an outline; the slope alone gives far less
shape = np.where(square, 2, np.where(disc, 1, 0))
outline = np.zeros_like(shape, bool)
for down in (-1, 0, 1):
    for right in (-1, 0, 1):
        outline |= np.roll(shape, (down, right), (0, 1)) != shape
found = results["edge strength"].numpy() > 0.1
print(f"pixels where edge strength tells outline from inside: {100 * (found == outline).mean():.2f} %")
