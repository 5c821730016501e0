"""How a Tensor shows itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import bool_, get_default_dtype, int64, is_floating

if TYPE_CHECKING:
    from tensorgrad.tensor import Tensor


def _number(value: float) -> str:
    return f"{value:.4f}"


def tensor_repr(x: Tensor, name: str = "tensor") -> str:
    """As PyTorch writes it: four digits, dtype and device only where they are not the usual ones."""
    values = backend_of(x.array).to_host(x.array)
    suffix = []
    if str(x.device) != "cpu":
        suffix.append(f"device='{x.device}'")
    if x.array.size == 0 and x.array.shape != (0,):
        suffix.append(f"size={x.shape}")
    usual = {bool_, int64, get_default_dtype()}
    if x.dtype not in usual:
        suffix.append(f"dtype={x.dtype}")
    if x.node is not None:
        node = getattr(x.node, "node", x.node)
        suffix.append(f"grad_fn=<{type(node).__name__}>")
    elif x.tracked:
        suffix.append("requires_grad=True")
    text = _values(values, " " * (len(name) + 1)).replace(", ...,", ",  ...,")
    return f"{name}({', '.join([text, *suffix])})"


def _values(values: numpy.ndarray, indent: str) -> str:
    if values.size == 0:
        return "[]"
    if not is_floating(values.dtype):
        return numpy.array2string(values, separator=", ", prefix=indent, threshold=1000, edgeitems=3)
    values = values.astype(numpy.float64)
    shown = values.ravel() if values.size <= 1000 else _shown(values)
    finite = shown[numpy.isfinite(shown)]
    magnitudes = numpy.abs(finite[finite != 0])
    whole = bool((finite == numpy.round(finite)).all())
    scientific = magnitudes.size > 0 and (
        magnitudes.max() / magnitudes.min() > 1000 or magnitudes.max() > 1e8 or magnitudes.min() < 1e-4
    )
    if whole and not (magnitudes.size and magnitudes.max() > 1e8):
        formatter = _whole
    elif scientific:
        formatter = _scientific
    else:
        formatter = _number
    width = max((len(formatter(v)) for v in finite), default=0)

    def aligned(value: Any) -> str:
        return formatter(value).rjust(width) if values.ndim else formatter(value)

    return numpy.array2string(
        values, separator=", ", prefix=indent, threshold=1000, edgeitems=3, formatter={"float_kind": aligned}
    )


def _shown(values: numpy.ndarray) -> numpy.ndarray:
    """The corner values that an abbreviated display shows."""
    for axis in range(values.ndim):
        if values.shape[axis] > 6:
            values = numpy.take(values, [0, 1, 2, -3, -2, -1], axis)
    return values.ravel()


def _whole(value: float) -> str:
    return f"{value:.0f}." if numpy.isfinite(value) else str(value)


def _scientific(value: float) -> str:
    return f"{value:.4e}"
