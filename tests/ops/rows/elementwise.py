"""Rows: one element at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
from ops.rows.table import apart, between, mask, reseed, row, signed, strided, tenths

import tensorgrad as tg
from tensorgrad.primitive import tape

reseed(__name__)

for _name, _function, _numpy, _values in [
    ("Negative", tg.negative, lambda x: 0 - x, signed),
    ("Exp", tg.exp, np.exp, signed),
    ("Relu", tg.relu, lambda x: (x + abs(x)) / 2, signed),
    ("Abs", tg.absolute, lambda x: np.sqrt(x * x), signed),
    ("Identity", tape.identity, lambda x: x, signed),
    ("Clone", tg.clone, lambda x: x, signed),
]:

    def _oracle(torch: Any, x: Any, name: str = _name) -> Any:
        return x * 1 if name == "Identity" else getattr(torch, name.lower())(x)

    for _shape in [(), (3,), (2, 1, 3), (0, 2)]:
        row(_name, "x".join(map(str, _shape)) or "0d", _function, [_values(*_shape)], _numpy, oracle=_oracle)
    row(_name, "strided", _function, [strided(_values(2, 3))], _numpy)

row("Contiguous", "turned", lambda x: x.T.contiguous(), [signed(2, 3)], lambda x: x.T)

for _note, _settings in [("both", (-0.9, 0.8)), ("low", (0.2, None)), ("high", (None, -0.1)), ("whole", (-1, 1))]:
    row(
        "Clamp",
        _note,
        lambda x, s=_settings: tg.clamp(x, *s),
        [apart(4, 5)],
        lambda x, s=_settings: np.clip(x, *s),
        oracle=lambda torch, x, s=_settings: torch.clamp(x, *s),
    )

for _note, _shapes in [
    ("same", ((2, 3), (2, 3), (2, 3))),
    ("condition-broadcast", ((3,), (2, 3), (2, 3))),
    ("all-broadcast", ((2, 1), (3,), ())),
    ("0d", ((), (), ())),
    ("empty", ((0, 3), (0, 3), (3,))),
]:
    row(
        "Where",
        _note,
        tg.where,
        [mask(*_shapes[0]), signed(*_shapes[1]), signed(*_shapes[2])],
        lambda c, x, y: c * x + ~c * y,
        oracle=lambda torch, c, x, y: torch.where(c, x, y),
    )
row("Where", "number", lambda c, x: tg.where(c, x, 0.5), [mask(2, 3), signed(3)], lambda c, x: c * x + ~c * 0.5)
row("Where", "number-left", lambda c, x: tg.where(c, 2, x), [mask(3), signed(2, 3)], lambda c, x: c * 2 + ~c * x)


def _bounds(x: Any, low: Any, high: Any) -> Any:
    return np.minimum(np.maximum(x, low), high)


for _note, _shapes in [("same", ((2, 3),) * 3), ("broadcast", ((2, 3), (3,), (2, 1))), ("empty", ((0, 3), (3,), ()))]:
    _x, _low, _high = tenths(*_shapes[0]), between(*_shapes[1]) / 4 - 0.3, between(*_shapes[2]) / 4 + 0.3
    _clamped = {"oracle": lambda torch, x, *bounds: torch.clamp(x, *bounds)}
    row("ClampBetween", _note, tg.clamp, [_x, _low, _high], _bounds, **_clamped)
    row("ClampMin", _note, tg.clamp_min, [_x, _low], np.maximum)
    row("ClampMax", _note, tg.clamp_max, [_x, _high], np.minimum)
row(
    "Logit",
    "inside",
    tg.logit,
    [tenths(2, 3) / 2 + 0.5],
    lambda x: np.log(x) - np.log(1 - x),
    oracle=lambda torch, x: x.logit(),
)
row("Logit", "eps", lambda x: tg.logit(x, 0.3), [tenths(2, 3) / 2 + 0.51], lambda x: _logit(np.clip(x, 0.3, 0.7)))
row(
    "Where",
    "nan-to-num",
    lambda x: tg.nan_to_num(x, nan=0.5, neginf=-9.0),
    [np.array([1.0, -2.0])],
    lambda x: x,
    oracle=lambda torch, x: torch.nan_to_num(x, nan=0.5, neginf=-9.0),
)


def _logit(x: Any) -> Any:
    return np.log(x / (1 - x))


# numbers of another type: a cast rounds, so the step is long (a cast is linear) and the comparison that of float32

row(
    "Cast",
    "down",
    lambda x: x.to(tg.float32),
    [signed(2, 3)],
    lambda x: x,
    step=1.0,
    rtol=1e-6,
    keeps_dtype=False,
    oracle=lambda torch, x: x.to(torch.float32),
)
row("Cast", "up-again", lambda x: x.float().double(), [signed(3)], lambda x: x, step=1.0, keeps_dtype=False)
row("Cast", "0d", lambda x: x.float(), [signed()], lambda x: x, step=1.0, keeps_dtype=False)
row("Round", "to-int", lambda x: x.long(), [np.array([-1.7, 1.7, 2.0])], lambda x: np.array([-1, 1, 2]))
row("Round", "to-bool", lambda x: x.bool(), [np.array([0.0, 0.3])], lambda x: np.array([False, True]))
row("ToDevice", "there-and-back", lambda x: (x * 2).to("standin").cpu(), [signed(2, 3)], lambda x: x * 2)
