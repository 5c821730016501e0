"""Borders: `pad` and the layers that call it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgrad.errors import ArgumentError, OperandError, ShapeError
from tensorgrad.nn.arguments import one_of, several, whole
from tensorgrad.nn.module import Module
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.resampling import Resample, mirrored, repeated, wrapped
from tensorgrad.tensor import Tensor

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
_TABLES = {"reflect": mirrored, "replicate": repeated, "circular": wrapped}


def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """The input inside a border, its widths given from the last dimension backwards.

    pad    (left, right), (left, right, top, bottom), ...: two numbers a dimension; negative ones crop
    mode   what fills the border: 'constant' (`value`, 0 unless given), 'reflect' (mirrored, the edge not repeated),
           'replicate' (the edge's value), 'circular' (from the other end)

    >>> import tensorgrad
    >>> pad(tensorgrad.tensor([[1.0, 2.0, 3.0]]), (2, 1), "reflect")
    tensor([[3., 2., 1., 2., 3., 2.]])
    """
    one_of("pad", "mode", mode, ("constant", "reflect", "replicate", "circular"))
    if not isinstance(input, Tensor):
        raise OperandError(f"pad: input is a {type(input).__name__}; it must be a Tensor")
    numbers = [whole("pad", "pad", n) for n in pad]
    if len(numbers) % 2 or len(numbers) > 2 * input.array.ndim:
        raise ShapeError(
            f"pad: got {len(numbers)} widths for a Tensor of shape {input.shape}; give two a dimension, for the last "
            "ones first"
        )
    widths = [(0, 0)] * input.array.ndim
    for i in range(len(numbers) // 2):
        widths[-1 - i] = (numbers[2 * i], numbers[2 * i + 1])
    for dim, (before, after) in enumerate(widths):
        if input.array.shape[dim] + before + after < 0:
            raise ShapeError(
                f"pad: widths {before}, {after} take more than dimension {dim} of a Tensor of shape {input.shape} has"
            )
    if mode == "constant":
        return _pad_constant(input, widths, 0.0 if value is None else value)
    if value is not None and value != 0:
        raise ArgumentError(f"pad: value is {value}; mode {mode!r} takes none")
    z = input
    for dim, (before, after) in enumerate(widths):
        if before or after:
            z = _pad_from_itself(z, dim, before, after, mode)
    return z if z is not input else shapes.clone(input)


def constant_pad_nd(input: Tensor, padding: Sequence[int], value: float = 0) -> Tensor:
    """pad with a constant, under the name it has in torch itself."""
    return pad(input, padding, "constant", value)


def _pad_constant(x: Tensor, widths: list[tuple[int, int]], value: float) -> Tensor:
    if any(before < 0 or after < 0 for before, after in widths):
        x = x[tuple(slice(max(-before, 0), n - max(-after, 0)) for n, (before, after) in zip(x.shape, widths))]
        widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    return shapes.Pad(tuple(widths), value)(x)


def _pad_from_itself(x: Tensor, dim: int, before: int, after: int, mode: str) -> Tensor:
    """A border along one dimension made of values of x itself."""
    if mode == "circular" and min(before, after) < 0:  # it goes round what is left
        n = x.array.shape[dim]
        x = x[(slice(None),) * dim + (slice(max(-before, 0), n - max(-after, 0)),)]
        before, after = max(before, 0), max(after, 0)
    n = x.array.shape[dim]
    most = {"reflect": n - 1, "circular": n, "replicate": max(before, after) if n else 0}[mode]
    if max(before, after) > most:
        raise ShapeError(
            f"pad: a border of {before}, {after} in mode {mode!r} along dimension {dim} of a Tensor of shape "
            f"{x.shape}; it can be at most {most} wide there"
        )
    return Resample(dim, _TABLES[mode](n, before, after))(x)


class _Padding(Module):
    """What the layers share; a class's `mode` and the number of dimensions it frames make it."""

    mode = "constant"
    dimensions = 1

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = several(type(self).__name__, "padding", padding, 2 * self.dimensions)

    def forward(self, input: Tensor) -> Tensor:
        most = self.dimensions + 2
        if self.mode != "constant" and isinstance(input, Tensor) and input.array.ndim not in (most - 1, most):
            raise ShapeError(
                f"{type(self).__name__}: input has shape {input.shape}; it must have {most} dimensions, or {most - 1} "
                "for one sample"
            )
        return pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return str(self.padding)


class _ConstantPadding(_Padding):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


def _layer(name: str, base: type[_Padding], mode: str, dimensions: int, text: str) -> Any:
    """A padding layer: `padding` is one number, or two a dimension from the last one backwards."""
    doc = f"{text} around the last {dimensions} dimension(s); see `tensorgrad.nn.functional.pad`."
    return type(name, (base,), {"mode": mode, "dimensions": dimensions, "__doc__": doc, "__module__": __name__})


ConstantPad1d, ConstantPad2d, ConstantPad3d = (
    _layer(f"ConstantPad{n}d", _ConstantPadding, "constant", n, "A border of `value`") for n in (1, 2, 3)
)
ZeroPad1d, ZeroPad2d, ZeroPad3d = (
    _layer(f"ZeroPad{n}d", _Padding, "constant", n, "A border of zeros") for n in (1, 2, 3)
)
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = (
    _layer(f"ReflectionPad{n}d", _Padding, "reflect", n, "A mirrored border, the edge not repeated,") for n in (1, 2, 3)
)
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = (
    _layer(f"ReplicationPad{n}d", _Padding, "replicate", n, "A border of the edge's values") for n in (1, 2, 3)
)
CircularPad1d, CircularPad2d, CircularPad3d = (
    _layer(f"CircularPad{n}d", _Padding, "circular", n, "A border of the values from the other end") for n in (1, 2, 3)
)
