"""Which kernel computes a convolution: a table in code, from shapes and dtypes alone, that can be read and overruled.

    winograd    3 x 3, stride 1, float32: fewer products, about a digit less accurate (numba_winograd.py)
    direct      any other float32 (numba_direct.py)
    depthwise   one filter a channel, float32, channels a multiple of a register (numba_depthwise.py)
    batch       fewer features than a register has places, images in whole registers (numba_batch.py)
    loops       very few channels and features in planes, stride 1 (numba_convolution.py)
    numpy       everything else, and everything without Numba: most of float64 (numpy_convolution.py)

`choose("exact")` leaves Winograd out; `choose("direct")`, `choose("numpy")`, ... take that kernel wherever it can compute the
case. So does TENSORGRAD_CONVOLUTION in the environment. `explain(...)` shows what is chosen. Equal inputs give equal results,
to the last bit, from run to run with the same choice and the same number of threads.
"""

from __future__ import annotations

import functools
import math
import os
from typing import Any

import numpy as np

from tensorgrad.backend import compiled
from tensorgrad.backend.windows import Padding, Pair, conv2d_output_size
from tensorgrad.errors import ArgumentError

CHOICES = ("auto", "exact", "winograd", "direct", "depthwise", "batch", "loops", "numpy")
#: Products of one channel and feature up to which loops over planes are the fastest.
THIN = 12
#: Winograd's transforms pay from these many channels and features on, and from this many tiles that share the weights'.
FEWEST_CHANNELS, FEWEST_TILES = 32, 48

_chosen = os.environ.get("TENSORGRAD_CONVOLUTION", "auto")


def choose(choice: str) -> str:
    """Choose among convolution kernels from now on: one of CHOICES; returns what was chosen before.

    Raises ArgumentError for another name.

    >>> before = choose("exact")
    >>> choose(before)
    'exact'
    """
    global _chosen
    if choice not in CHOICES:
        raise ArgumentError(f"choose: got {choice!r}; it can be {', '.join(CHOICES)}")
    before, _chosen = _chosen, choice
    return before


def kernel_for(
    direction: str,
    images: int,
    w_shape: tuple[int, ...],
    outputs: Pair,
    dtype: Any,
    stride: Pair,
    dilation: Pair,
    groups: int,
    register: int,
    memory: str = "channels last",
) -> str:
    """The kernel's name for one direction ('forward', 'input grad', 'weight grad') of x (N, C, H, W) * w (O, C / groups, KH, KW).

    outputs   the size of what is made of windows: z's, or for the input gradient dx's
    register  numbers of float32 in a vector register, 0 where there are no compiled kernels
    memory    the order of the images' memory: "planes" (N, C, H, W), "channels last" (N, H, W, C), "batch last" (C, H, W, N)
    """
    case = direction, images, w_shape, outputs, dtype, stride, dilation, groups, register
    return _kernel_for(_chosen, memory, *case)


@functools.lru_cache(maxsize=1024)
def _kernel_for(chosen: str, memory: str, *case: Any) -> str:
    _, images, w_shape, outputs, _, _, _, groups, register = case
    possible = _possible(*case)
    if chosen not in ("auto", "exact") and chosen in possible:
        return chosen
    features, channels = w_shape[0], w_shape[1]
    thin = features < register and channels < register
    if "batch" in possible and (thin or (memory == "batch last" and min(features, channels) < register)):
        return "batch"
    in_planes = memory == "planes" or channels * groups == 1
    if "loops" in possible and features * channels <= THIN and in_planes:
        return "loops"
    tiles = images * -(-outputs[0] // 4) * -(-outputs[1] // 4)
    worthwhile = min(features, channels) >= FEWEST_CHANNELS and tiles >= FEWEST_TILES and min(outputs) >= 4
    if "winograd" in possible and worthwhile and chosen != "exact":
        return "winograd"
    if "depthwise" in possible:
        return "depthwise"
    if "direct" in possible and not (channels == 1 and groups > 1):
        return "direct"
    return "numpy"


def _possible(
    direction: str,
    images: int,
    w_shape: tuple[int, ...],
    outputs: Pair,
    dtype: Any,
    stride: Pair,
    dilation: Pair,
    groups: int,
    register: int,
) -> list[str]:
    """The kernels that can compute this case."""
    found = ["numpy"]
    if not register:
        return found
    features, channels, *kernel = w_shape
    once = stride == (1, 1)
    if once and groups == 1 and kernel != [1, 1] and w_shape[3] <= outputs[1]:
        found.append("loops")
    if dtype == np.float32:
        if direction != "input grad" or once or dilation == (1, 1):
            found.append("direct")
        if groups == 1 and images % register == 0 and (direction != "input grad" or once):
            found.append("batch")
        if channels == 1 and features == groups and features % register == 0:
            found.append("depthwise")
        whole = features % register == 0 and channels % register == 0
        if kernel == [3, 3] and once and dilation == (1, 1) and groups == 1 and whole:
            found.append("winograd")
    return found


def explain(
    x_shape: tuple[int, int, int, int],
    w_shape: tuple[int, int, int, int],
    stride: Pair = (1, 1),
    padding: Padding = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    dtype: Any = np.float32,
) -> str:
    """Which kernels compute the convolution of x (N, C, H, W) by w (O, C / groups, KH, KW), padding (top, bottom, left, right).

    A table of one line for each of the three maps, with its multiplications; small arrays (fewer than FAST_ELEMENTS
    values) are NumPy's in any case. Raises ShapeError where shapes and settings do not go together.

    >>> print(explain((8, 64, 56, 56), (64, 64, 3, 3), padding=(1, 1, 1, 1), dtype="float64"))
    forward      numpy        925 M products
    input grad   numpy        925 M products
    weight grad  numpy        925 M products
    """
    outputs = conv2d_output_size(x_shape, w_shape, stride, padding, dilation, groups)
    register = 0
    if compiled.numba_works():
        from tensorgrad.backend.numba_simd import lanes

        register = lanes()
    products = x_shape[0] * math.prod(outputs) * math.prod(w_shape)
    lines = []
    for direction in ("forward", "input grad", "weight grad"):
        made: Any = x_shape[2:] if direction == "input grad" else outputs
        settings = np.dtype(dtype), stride, dilation, groups, register
        name = kernel_for(direction, x_shape[0], w_shape, made, *settings)
        lines.append(f"{direction:<12} {name:<10} {products / 1e6:5,.0f} M products")
    return "\n".join(lines)
