"""How a Tensor shows itself: as PyTorch writes it, but with NumPy's names of dtypes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import bool_, get_default_dtype, int64, is_floating
from tensorgrad.errors import ArgumentError

if TYPE_CHECKING:
    from tensorgrad.tensor import Tensor


@dataclass
class PrintOptions:
    """What `set_printoptions` sets."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None  # None: where the values need it


_options = PrintOptions()
_PROFILES: dict[str, dict[str, float]] = {
    "default": {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80},
    "short": {"precision": 2, "threshold": 1000, "edgeitems": 2, "linewidth": 80},
    "full": {"precision": 4, "threshold": math.inf, "edgeitems": 3, "linewidth": 80},
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How Tensors are shown: the digits behind the point, from how many values on they are abbreviated, to how many at
    each edge, how wide a line may be, whether as 1.0000e+00 (None: where needed). `profile` is default, short or full.

    >>> import tensorgrad
    >>> set_printoptions(precision=2)
    >>> tensorgrad.tensor([0.125])
    tensor([0.12])
    >>> set_printoptions(profile="default")
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ArgumentError(f"set_printoptions: got profile {profile!r}; there are {', '.join(_PROFILES)}")
        for name, value in _PROFILES[profile].items():
            setattr(_options, name, value)
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    for name, chosen in given.items():
        if chosen is not None:
            setattr(_options, name, chosen)
    _options.sci_mode = sci_mode


class _Look:
    """The form that all numbers of one Tensor share: with or without decimals, or an exponent, and their width."""

    def __init__(self, shown: numpy.ndarray) -> None:
        self.floating = shown.dtype.kind == "f"
        self.whole, self.scientific, self.width = True, False, 1
        values = shown.reshape(-1)
        if not self.floating:
            self.width = max((len(str(value)) for value in values.tolist()), default=1)
            return
        values = values[numpy.isfinite(values) & (values != 0)]
        if not values.size:
            return
        self.whole = bool((values == numpy.ceil(values)).all())
        sizes = numpy.abs(values)
        largest, smallest = float(sizes.max()), float(sizes.min())
        if _options.sci_mode is None:
            self.scientific = largest / smallest > 1000 or largest > 1e8 or smallest < 1e-4
        else:
            self.scientific = _options.sci_mode
        self.width = max(len(self._text(value)) for value in values.tolist())

    def _text(self, value: Any) -> str:
        if not self.floating:
            return str(value)
        if self.scientific:
            return f"{value:.{_options.precision}e}"
        if self.whole:
            return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"
        return f"{value:.{_options.precision}f}"

    def of(self, value: Any) -> str:
        return self._text(value).rjust(self.width)


def tensor_repr(x: Tensor, name: str = "tensor") -> str:
    """As PyTorch writes it: dtype and device only where they are not the usual ones."""
    indent = len(name) + 1
    suffixes = []
    if str(x.device) != "cpu":
        suffixes.append(f"device='{x.device}'")
    if x.array.size == 0:
        if x.array.ndim != 1:
            suffixes.append(f"size={x.shape}")
        if x.dtype != get_default_dtype():
            suffixes.append(f"dtype={x.dtype}")
        text = "[]"
    else:
        if x.dtype not in (bool_, int64, get_default_dtype()):
            suffixes.append(f"dtype={x.dtype}")
        text = _values(x, indent)
    if x.node is not None:
        node = getattr(x.node, "node", x.node)
        suffixes.append(f"grad_fn=<{type(node).__name__}>")
    elif x.tracked:
        suffixes.append("requires_grad=True")
    return _with_suffixes(f"{name}({text}", suffixes, indent) + ")"


def _with_suffixes(text: str, suffixes: list[str], indent: int) -> str:
    """What stands behind the values, on a new line where the last one is full."""
    length = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if length + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * indent + suffix
            length = indent + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text


def _values(x: Tensor, indent: int) -> str:
    values = backend_of(x.array).to_host(x.array)
    if is_floating(values.dtype):
        values = values.astype(numpy.float64)
    abbreviated = values.size > _options.threshold
    look = _Look(_shown(values) if abbreviated else values)
    return _nested(values, look, abbreviated, indent) if values.ndim else look.of(values.item())


def _shown(values: numpy.ndarray) -> numpy.ndarray:
    """The values that an abbreviated display shows: those at the edges."""
    edge = _options.edgeitems
    for axis in range(values.ndim):
        length = values.shape[axis]
        if length > 2 * edge:
            values = numpy.take(values, [*range(edge), *range(length - edge, length)], axis)
    return values


def _nested(values: numpy.ndarray, look: _Look, abbreviated: bool, indent: int) -> str:
    edge = _options.edgeitems
    omits = abbreviated and len(values) > 2 * edge
    parts = [*values[:edge], *values[-edge:]] if omits and edge else [] if omits else list(values)
    if values.ndim > 1:
        texts = [_nested(part, look, abbreviated, indent + 1) for part in parts]
        if omits:
            texts.insert(edge, "...")
        return "[" + (",".ljust(values.ndim, "\n") + " " * (indent + 1)).join(texts) + "]"
    texts = [look.of(part.item()) for part in parts]
    if omits:
        texts.insert(edge, " ...")
    a_line = max(1, math.floor((_options.linewidth - indent) / (look.width + 2)))
    lines = [", ".join(texts[start : start + a_line]) for start in range(0, len(texts), a_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
