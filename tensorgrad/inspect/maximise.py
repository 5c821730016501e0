"""A picture made for a unit: gradient ascent on the pixels, held back by regularisers so that something can be recognised.

D. Erhan et al., Visualizing Higher-Layer Features of a Deep Network, 2009; J. Yosinski et al., Understanding Neural Networks
Through Deep Visualization, 2015 (decay, blur); A. Mahendran, A. Vedaldi, 2014 (total variation); A. Mordvintsev et al.,
2015 (jitter).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy

from tensorgrad.autodiff import grad
from tensorgrad.errors import ArgumentError
from tensorgrad.inspect.drawing import BLUE, Result, draw_picture, new_figure, plain
from tensorgrad.inspect.features import Progress
from tensorgrad.inspect.layers import checked_unit, find_layer, run_to
from tensorgrad.inspect.running import Bar, at_rest, on_device, to_host
from tensorgrad.nn.module import Module
from tensorgrad.tensor import Tensor


@dataclass(frozen=True)
class Maximised(Result):
    """A picture `image` (C, H, W) that a unit answers to strongly; `values` (steps + 1,) of the unit on the way there."""

    layer: str
    unit: tuple[int, ...]
    image: numpy.ndarray
    values: numpy.ndarray

    def figure(self) -> Any:
        """The picture, and the value of the unit over the steps."""
        what = f"channel {self.unit[0]}" if len(self.unit) == 1 else f"unit {self.unit}"
        name = f"'{self.layer}', {what}" if self.layer else f"the score of class {self.unit[0]}"
        figure = new_figure(8.4, 4.0, f"a picture made for {name}")
        left, right = figure.subplots(1, 2)
        draw_picture(left, self.image, "after gradient ascent", 10)
        right.plot(self.values, color=BLUE)
        right.set(xlabel="step", ylabel="value of the unit (mean over its places)", title="on the way")
        plain(right)
        return figure


def maximise(
    model: Module,
    layer: str,
    unit: int | tuple[int, ...],
    shape: tuple[int, int, int],
    steps: int = 128,
    rate: float = 0.05,
    decay: float = 0.01,
    variation: float = 0.05,
    blur: float = 0.4,
    blur_every: int = 8,
    jitter: int = 2,
    bounds: tuple[float, float] | None = None,
    start: Any = None,
    seed: int = 0,
    progress: Progress = None,
) -> Maximised:
    """Gradient ascent on a picture of `shape` (C, H, W) for a unit: a channel (its mean), or (channel, row, column).

    steps, rate   steps of Adam's rule on the pixels, and their size
    decay         weight of the mean square of the pixels, which is taken off the value
    variation     weight of the mean square of the differences of neighbouring pixels
    blur          deviation, in pixels, of the blur after every `blur_every` steps; 0: none
    jitter        the picture is moved about by up to so many pixels in each step, and back
    bounds        smallest and largest value of a pixel
    start         the picture to begin with; noise of deviation 0.1, decided by `seed`, unless given

    decay and variation are weights relative to the size of the gradient, so that one setting serves every layer.

    >>> import tensorgrad
    >>> from tensorgrad import nn
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    >>> found = maximise(net, "0", 1, (1, 8, 8), steps=16)
    >>> bool(found.values[-1] > found.values[0])
    True
    """
    if steps < 1 or blur_every < 1 or min(rate, decay, variation, blur, jitter) < 0:
        raise ArgumentError(
            f"maximise: got steps {steps}, blur_every {blur_every}, rate {rate}, decay {decay}, variation {variation}, "
            f"blur {blur}, jitter {jitter}; the first two must be 1 or more, the others 0 or more"
        )
    random = numpy.random.default_rng(seed)
    x = 0.1 * random.standard_normal(shape) if start is None else to_host(start).astype(numpy.float64).reshape(shape)
    found = find_layer("maximise", model, x[None].astype(numpy.float32), layer, real=start is not None)
    place = checked_unit("maximise", found, unit)
    first, second = numpy.zeros_like(x), numpy.zeros_like(x)
    values = []
    bar = Bar(f"maximising {layer!r}, unit {unit}", steps, progress)

    def climb(picture: numpy.ndarray) -> tuple[float, numpy.ndarray]:
        with at_rest(model, gradients=True):
            z = on_device(picture[None].astype(numpy.float32), model).requires_grad_()
            value, _ = run_to("maximise", model, z, found)
            wanted: Tensor = value[(0, *place)].mean()
            (dz,) = grad(wanted, z, materialize_grads=True)
        return float(to_host(wanted.detach())), to_host(dz)[0].astype(numpy.float64)

    for step in range(1, steps + 1):
        shift = tuple(int(s) for s in random.integers(-jitter, jitter + 1, 2))
        value, dx = climb(numpy.roll(x, shift, (1, 2)))
        values.append(value)
        dx = numpy.roll(dx, (-shift[0], -shift[1]), (1, 2))
        if not dx.any():  # a rectifier lets nothing through here: look elsewhere
            x = x + 0.3 * random.standard_normal(x.shape)
            bar.add(1)
            continue
        dx /= max(float(numpy.sqrt((dx * dx).mean())), 1e-12)
        dx -= 2 * decay * x + 2 * variation * roughness(x)
        first, second = 0.9 * first + 0.1 * dx, 0.99 * second + 0.01 * dx * dx
        x = x + rate * (first / (1 - 0.9**step)) / (numpy.sqrt(second / (1 - 0.99**step)) + 1e-8)
        if blur > 0 and step % blur_every == 0 and step < steps:
            x = blurred(x, blur)
        if bounds is not None:
            x = numpy.clip(x, *bounds)
        bar.add(1)
    values.append(climb(x)[0])
    return Maximised(layer, place, x.astype(numpy.float32), numpy.array(values))


def roughness(x: numpy.ndarray) -> numpy.ndarray:
    """Half the gradient of the sum of squared differences of neighbouring pixels of (C, H, W)."""
    found = numpy.zeros_like(x)
    for axis in (1, 2):
        steps = numpy.diff(x, axis=axis)
        before = [(0, 0)] * 3
        after = [(0, 0)] * 3
        before[axis], after[axis] = (1, 0), (0, 1)
        found += numpy.pad(steps, before) - numpy.pad(steps, after)
    return found


def blurred(x: numpy.ndarray, deviation: float) -> numpy.ndarray:
    """(C, H, W) under a Gaussian blur, its border repeated outward."""
    reach = max(1, int(3 * deviation + 0.5))
    offsets = numpy.arange(-reach, reach + 1)
    kernel = numpy.exp(-0.5 * (offsets / deviation) ** 2)
    kernel /= kernel.sum()
    for axis in (1, 2):
        widths = [(0, 0)] * 3
        widths[axis] = (reach, reach)
        wide = numpy.pad(x, widths, mode="edge")
        x = sum(k * numpy.take(wide, range(i, i + x.shape[axis]), axis) for i, k in enumerate(kernel))
    return x
