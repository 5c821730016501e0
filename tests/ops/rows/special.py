"""Rows: special functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from ops.rows.table import positive, reseed, row, signed, strided

from tensorgrad import special

reseed(__name__)


def by_number(function: Any) -> Any:
    return lambda x: np.vectorize(function, otypes=[float])(x).reshape(x.shape) if x.size else x


for _name, _function, _expected, _values in [
    ("Erfcx", special.erfcx, by_number(lambda v: math.exp(v * v) * math.erfc(v)), signed),
    ("Entr", special.entr, lambda x: -x * np.log(x), positive),
    ("LogNdtr", special.log_ndtr, by_number(lambda v: math.log(math.erfc(-v / math.sqrt(2)) / 2)), signed),
]:
    _torch = {"LogNdtr": "log_ndtr"}.get(_name, _name.lower())

    def _oracle(torch: Any, x: Any, name: str = _torch) -> Any:
        return getattr(torch.special, name)(x)

    for _shape in [(), (2, 3), (0, 2)]:
        row(_name, "x".join(map(str, _shape)) or "0d", _function, [_values(*_shape)], _expected, oracle=_oracle)
    row(_name, "strided", _function, [strided(_values(2, 3))], _expected)

row("Erfcx", "far", special.erfcx, [np.array([5.0, 20.0])], by_number(lambda v: math.exp(v * v) * math.erfc(v)))
row(
    "LogNdtr",
    "far",
    special.log_ndtr,
    [np.array([-30.0, -8.0, 6.0])],
    by_number(lambda v: math.log(math.erfc(-v / math.sqrt(2)) / 2)),
)
row("Xlog1py", "same", special.xlog1py, [signed(2, 3), positive(2, 3)], lambda x, y: x * np.log(1 + y))
row("Xlog1py", "broadcast", special.xlog1py, [signed(3), positive(2, 1)], lambda x, y: x * np.log(1 + y))
row("Erfc", "ndtr", special.ndtr, [signed(3)], by_number(lambda v: math.erfc(-v / math.sqrt(2)) / 2))
row("Erfinv", "ndtri", lambda x: special.ndtri(special.ndtr(x)), [signed(3)], lambda x: x)
