"""The table of cases: for every primitive at least one row, on which tests/ops/test_cases.py runs all its checks.

A row is a function of Tensors that applies the primitive, inputs, and the same function written the obvious way in NumPy.
Inputs that are floating point are differentiated; they stay away from kinks (ties, zeros of |x|, bounds), which have tests of
their own in tests/ops/test_kinks.py. Where PyTorch has the same function, the row names it too.

To add a primitive: add its class in tensorgrad/ops, then a row here; a test fails until it is there.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from backend import oracles  # tests/backend/oracles.py

import tensorgrad as tg
import tensorgrad.ops
from tensorgrad.ops.arithmetic import power
from tensorgrad.ops.indexing import Overwrite, Slice
from tensorgrad.ops.shape import Transpose
from tensorgrad.primitive import Primitive, tape
from tensorgrad.tensor import Tensor

for _module in pkgutil.iter_modules(tensorgrad.ops.__path__, "tensorgrad.ops."):
    importlib.import_module(_module.name)


def all_primitives() -> dict[str, type[Primitive]]:
    """Every primitive of the library by its class's name."""
    found: dict[str, type[Primitive]] = {}
    stack: list[type[Primitive]] = [Primitive]
    while stack:
        kind = stack.pop()
        stack.extend(kind.__subclasses__())
        if hasattr(kind, "forward") and kind.__module__.partition(".")[0] == "tensorgrad":
            found[kind.__name__] = kind
    return found


@dataclass
class Case:
    """One row. `expected` gives one array or a list of them; `oracle` takes the module torch and its tensors."""

    primitive: str
    note: str
    function: Callable[..., Any]
    inputs: Sequence[np.ndarray]
    expected: Callable[..., Any]
    oracle: Callable[..., Any] | None = None
    step: float = 1e-6  # of the central differences; a map that rounds needs a long one, a linear map can take one
    rtol: float = 1e-6
    keeps_dtype: bool = True  # float32 in, float32 out
    rows32: float = 2e-5  # how far float32 may be from float64, relative to the largest value
    floats: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.floats = [i for i, x in enumerate(self.inputs) if x.dtype.kind == "f"]

    def __str__(self) -> str:
        return f"{self.primitive}-{self.note}"


CASES: list[Case] = []


def row(primitive: str, note: str, function: Any, inputs: Sequence[np.ndarray], expected: Any, **more: Any) -> None:
    CASES.append(Case(primitive, note, function, inputs, expected, **more))


# Values. Each row gets its own, the same at every run.

_random = np.random.default_rng(20260101)


def signed(*shape: int) -> np.ndarray:
    """Of magnitude 0.4 to 1.6, either sign."""
    return np.asarray(_random.uniform(0.4, 1.6, shape) * _random.choice([-1.0, 1.0], shape))


def positive(*shape: int) -> np.ndarray:
    """0.5 to 2."""
    return np.asarray(_random.uniform(0.5, 2.0, shape))


def tenths(*shape: int) -> np.ndarray:
    """-0.5, -0.4, ... 0.5"""
    return np.asarray(_random.integers(-5, 6, shape) / 10)


def between(*shape: int) -> np.ndarray:
    """-0.55, -0.45, ... 0.55: never near one of the tenths."""
    return np.asarray(_random.integers(-6, 6, shape) / 10 + 0.05)


def apart(*shape: int) -> np.ndarray:
    """No two values closer than 0.1, none closer than 0.05 to 0."""
    count = int(np.prod(shape))
    values = 0.1 * (np.arange(count) - count // 2) + 0.05
    return np.asarray(_random.permutation(values).reshape(shape))


def strided(x: np.ndarray) -> np.ndarray:
    """The same values, every second place of a larger array whose axes are in reverse order."""
    z = np.empty(tuple(2 * n for n in reversed(x.shape)))[tuple(slice(None, None, 2) for _ in x.shape)].transpose()
    z[...] = x
    assert x.ndim == 0 or not z.flags.c_contiguous
    return z


def channels_last(x: np.ndarray) -> np.ndarray:
    """(N, C, H, W) lying in memory as (N, H, W, C)."""
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def whole(high: int, *shape: int) -> np.ndarray:
    """Whole numbers below `high`."""
    return np.asarray(_random.integers(0, high, shape))


def mask(*shape: int) -> np.ndarray:
    return np.asarray(_random.random(shape) < 0.5)


# arithmetic

PAIRS = [
    ("same", (2, 3), (2, 3)),
    ("left-broadcast", (3,), (2, 3)),
    ("right-broadcast", (2, 3), (1,)),
    ("both-broadcast", (2, 1), (1, 3)),
    ("left-0d", (), (2, 2)),
    ("right-0d", (2, 2), ()),
    ("0d", (), ()),
    ("ones", (1, 1), (1,)),
    ("empty", (0, 3), (3,)),
]

for _name, _function, _numpy, _left, _right in [
    ("Add", tg.add, np.add, signed, signed),
    ("Subtract", tg.subtract, np.subtract, signed, signed),
    ("Multiply", tg.multiply, np.multiply, signed, signed),
    ("Divide", tg.divide, np.divide, signed, signed),
    ("Power", tg.power, np.power, positive, signed),
    ("Maximum", tg.maximum, np.maximum, tenths, between),
    ("Minimum", tg.minimum, np.minimum, tenths, between),
]:
    _torch = {"Power": "pow"}.get(_name, _name.lower())

    def _oracle(torch: Any, x: Any, y: Any, name: str = _torch) -> Any:
        return getattr(torch, name)(x, y)

    for _note, _shape_x, _shape_y in PAIRS:
        row(_name, _note, _function, [_left(*_shape_x), _right(*_shape_y)], _numpy, oracle=_oracle)
    row(_name, "strided", _function, [strided(_left(2, 3)), strided(_right(2, 3))], _numpy, oracle=_oracle)

row("Add", "number", lambda x: x + 2, [signed(3)], lambda x: x + 2)
row("Add", "number-left", lambda x: 2 + x, [signed(3)], lambda x: x + 2)
row("Add", "alpha", lambda x, y: tg.add(x, y, alpha=3), [signed(3), signed(3)], lambda x, y: x + 3 * y)
row("Add", "twice", lambda x: x + x, [signed(3)], lambda x: 2 * x)
row("Subtract", "number", lambda x: x - 2, [signed(3)], lambda x: x - 2)
row("Subtract", "number-left", lambda x: 2 - x, [signed(3)], lambda x: 2 - x)
row("Subtract", "twice", lambda x: x - x, [signed(3)], lambda x: 0 * x)
row("Multiply", "number", lambda x: x * 2.5, [signed(3)], lambda x: x * 2.5)
row("Multiply", "twice", lambda x: x * x, [signed(2, 2)], np.square)
row("Multiply", "square", tg.square, [signed(2, 2)], np.square)
row("Divide", "number", lambda x: x / 4, [signed(3)], lambda x: x / 4)
row("Divide", "number-left", lambda x: 4 / x, [signed(3)], lambda x: 4 / x)
row("Divide", "twice", lambda x: x / x, [signed(3)], lambda x: x / x)
row("Power", "square", lambda x: x**2, [signed(2, 3)], np.square, oracle=lambda torch, x: x**2)
row("Power", "cube", lambda x: x**3, [signed(3)], lambda x: x * x * x, oracle=lambda torch, x: x**3)
row("Power", "one", lambda x: x**1, [signed(3)], lambda x: x)
row("Power", "zero", lambda x: x**0, [signed(3)], np.ones_like, oracle=lambda torch, x: x**0)
row("Power", "half", lambda x: x**0.5, [positive(3)], np.sqrt)
row("Power", "minus-two", lambda x: x**-2, [signed(3)], lambda x: 1 / (x * x))
row("Power", "number-left", lambda x: 2**x, [signed(3)], lambda x: np.exp(x * np.log(2)), oracle=lambda torch, x: 2**x)
row("Power", "twice", lambda x: power(x, x), [positive(3)], lambda x: np.exp(x * np.log(x)))
row("Power", "whole-exponent", power, [signed(3), np.array([2, 3, 1])], np.power)

# one element at a time

for _name, _function, _numpy, _values in [
    ("Negative", tg.negative, lambda x: 0 - x, signed),
    ("Exp", tg.exp, np.exp, signed),
    ("Log", tg.log, np.log, positive),
    ("Sqrt", tg.sqrt, np.sqrt, positive),
    ("Sin", tg.sin, np.sin, signed),
    ("Cos", tg.cos, np.cos, signed),
    ("Tanh", tg.tanh, np.tanh, signed),
    ("Sigmoid", tg.sigmoid, lambda x: 1 / (1 + np.exp(-x)), signed),
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

row("Sigmoid", "far", tg.sigmoid, [np.array([-800.0, -30.0, 30.0, 800.0])], lambda x: np.array([0, np.exp(-30), 1, 1]))
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

row("Sign", "values", tg.sign, [np.array([-2.5, -0.0, 0.0, 3.0])], lambda x: np.array([-1.0, 0.0, 0.0, 1.0]))
for _relation in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    row(
        "Compare",
        _relation,
        getattr(tg, _relation),
        [np.array([[1.0, 2.0, 3.0]]), np.array([[2.0], [1.0]])],
        lambda x, y, relation=_relation: np.array(
            [[_PYTHON[relation](a, b) for a in (1.0, 2.0, 3.0)] for b in (2.0, 1.0)],
        ),
    )
row("Compare", "number", lambda x: x > 0, [np.array([-1.0, 0.0, 2.0])], lambda x: np.array([False, False, True]))
_PYTHON: dict[str, Callable[[float, float], bool]] = {
    "equal": lambda a, b: a == b,
    "not_equal": lambda a, b: a != b,
    "less": lambda a, b: a < b,
    "less_equal": lambda a, b: a <= b,
    "greater": lambda a, b: a > b,
    "greater_equal": lambda a, b: a >= b,
}
row(
    "Logical",
    "and",
    tg.logical_and,
    [np.array([True, True, False]), np.array([True, False, False])],
    lambda x, y: x * y,
)
row("Logical", "or", tg.logical_or, [np.array([True, True, False]), np.array([True, False, False])], lambda x, y: x + y)
row("Logical", "not", tg.logical_not, [np.array([True, False])], lambda x: np.array([False, True]))
row("Logical", "isnan", tg.isnan, [np.array([1.0, np.nan, np.inf])], lambda x: np.array([False, True, False]))
row("Logical", "isfinite", tg.isfinite, [np.array([1.0, np.nan, -np.inf])], lambda x: np.array([True, False, False]))

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

# reductions

for _note, _shape, _dim, _keepdim in [
    ("all", (2, 3), None, False),
    ("all-keep", (2, 3), None, True),
    ("first", (2, 3), 0, False),
    ("last-keep", (2, 3), -1, True),
    ("two", (2, 3, 2), (0, 2), False),
    ("0d", (), None, False),
    ("one-long", (2, 1), 1, False),
    ("empty", (0, 3), 1, False),
]:
    for _name, _function, _method in [
        ("Sum", tg.sum, "sum"),
        ("Mean", tg.mean, "mean"),
        ("Amax", tg.amax, "max"),
        ("Amin", tg.amin, "min"),
    ]:
        row(
            _name,
            _note,
            lambda x, f=_function, d=_dim, k=_keepdim: f(x, d, k),
            [apart(*_shape)],
            lambda x, m=_method, d=_dim, k=_keepdim: getattr(x, m)(axis=d, keepdims=k),
            oracle=lambda torch, x, name=_name, d=_dim, k=_keepdim: getattr(torch, name.lower())(
                x, () if d is None else d, keepdim=k
            ),
        )
row("Sum", "strided", lambda x: x.sum(1), [strided(signed(2, 3))], lambda x: x[:, 0] + x[:, 1] + x[:, 2])
row("Sum", "none", lambda x: x.sum(), [signed(0)], lambda x: np.array(0.0))
row("Sum", "none-along", lambda x: x.sum(0), [signed(0, 2)], lambda x: np.zeros(2))
row(
    "Mean", "var", lambda x: x.var(1), [signed(2, 3)], lambda x: x.var(axis=1, ddof=1), oracle=lambda torch, x: x.var(1)
)
row("Mean", "std", lambda x: x.std(), [signed(2, 3)], lambda x: x.std(ddof=1), oracle=lambda torch, x: x.std())
for _name, _function, _numpy in [("Argmax", tg.argmax, np.argmax), ("Argmin", tg.argmin, np.argmin)]:
    row(_name, "all", _function, [apart(2, 3)], _numpy)
    row(_name, "along", lambda x, f=_function: f(x, 1), [apart(2, 3)], lambda x, f=_numpy: f(x, 1))
    row(_name, "keep", lambda x, f=_function: f(x, 0, True), [apart(2, 3)], lambda x, f=_numpy: f(x, 0, keepdims=True))
    row(_name, "tie", _function, [np.array([3.0, 3.0, 3.0])], lambda x: np.array(0))

# shapes

for _note, _function, _numpy, _shape in [
    ("flat", lambda x: x.reshape(-1), lambda x: x.reshape(-1), (2, 3)),
    ("split", lambda x: x.reshape(3, 2), lambda x: x.reshape(3, 2), (2, 3)),
    ("to-0d", lambda x: x.reshape(()), lambda x: x.reshape(()), (1, 1)),
    ("from-0d", lambda x: x.reshape(1, 1), lambda x: x.reshape(1, 1), ()),
    ("unsqueeze", lambda x: x.unsqueeze(1), lambda x: x[:, None], (2, 3)),
    ("squeeze", lambda x: x.squeeze(), lambda x: x[0, :, 0], (1, 3, 1)),
    ("flatten", lambda x: x.flatten(1), lambda x: x.reshape(2, 6), (2, 3, 2)),
    ("view", lambda x: x.view(6), lambda x: x.reshape(6), (2, 3)),
    ("empty", lambda x: x.reshape(3, 0), lambda x: x.reshape(3, 0), (0, 2)),
]:
    row("Reshape", _note, _function, [signed(*_shape)], _numpy)
row("Reshape", "copied", lambda x: x.reshape(6), [strided(signed(2, 3))], lambda x: x.reshape(6))
row("Transpose", "permute", lambda x: x.permute(2, 0, 1), [signed(2, 3, 4)], lambda x: np.moveaxis(x, 2, 0))
row("Transpose", "transpose", lambda x: x.transpose(0, -1), [signed(2, 3)], lambda x: np.swapaxes(x, 0, -1))
row("Transpose", "T", lambda x: x.T, [signed(2, 3)], lambda x: x.T)
row("Transpose", "0d", lambda x: x.T, [signed()], lambda x: x)
for _note, _from, _to in [
    ("lead", (3,), (2, 3)),
    ("ones", (2, 1), (2, 3)),
    ("0d", (), (2, 2)),
    ("none", (1, 3), (0, 3)),
]:
    row(
        "BroadcastTo",
        _note,
        lambda x, to=_to: tg.broadcast_to(x, to),
        [signed(*_from)],
        lambda x, to=_to: x + np.zeros(to),
        oracle=lambda torch, x, to=_to: torch.broadcast_to(x, to),
    )
row("BroadcastTo", "expand", lambda x: x.expand(2, -1), [signed(1, 3)], lambda x: np.concatenate([x, x]))
row("Unbind", "first", tg.unbind, [signed(3, 2)], lambda x: [x[0], x[1], x[2]])
row("Unbind", "last", lambda x: tg.unbind(x, -1), [signed(2, 2)], lambda x: [x[:, 0], x[:, 1]])
row("Unbind", "unused", lambda x: tg.unbind(x)[1], [signed(3, 2)], lambda x: x[1])
row("Unbind", "values", tg.unbind, [signed(2)], lambda x: [x[0], x[1]])
row("Unbind", "iteration", lambda x: tuple(x), [signed(2, 2)], lambda x: [x[0], x[1]])
row("Concatenate", "rows", lambda *xs: tg.cat(xs), [signed(1, 2), signed(2, 2)], lambda *xs: np.concatenate(xs))
row(
    "Concatenate",
    "columns",
    lambda *xs: tg.cat(xs, 1),
    [signed(2, 1), signed(2, 0), signed(2, 2)],
    lambda *xs: np.hstack(xs),
)
row("Concatenate", "one", lambda x: tg.cat([x]), [signed(3)], lambda x: x)
row("Concatenate", "twice", lambda x: tg.cat([x, x]), [signed(3)], lambda x: np.concatenate([x, x]))
row("Stack", "first", lambda *xs: tg.stack(xs), [signed(2), signed(2)], lambda x, y: np.array([x, y]))
row("Stack", "last", lambda *xs: tg.stack(xs, -1), [signed(2), signed(2)], lambda x, y: np.array([x, y]).T)
row("Stack", "0d", lambda *xs: tg.stack(xs), [signed(), signed(), signed()], lambda *xs: np.array(xs))
row("Pad", "zeros", lambda x: tape.pad(x, ((1, 0), (0, 2)), 0.0), [signed(2, 3)], lambda x: np.pad(x, ((1, 0), (0, 2))))
row(
    "Pad",
    "value",
    lambda x: tape.pad(x, ((0, 0), (1, 1)), -2.0),
    [signed(2, 1)],
    lambda x: np.pad(x, ((0, 0), (1, 1)), constant_values=-2.0),
)

# indices

for _note, _index, _shape in [
    ("number", 1, (3, 2)),
    ("value", 2, (3,)),
    ("negative", -1, (3, 2)),
    ("slice", slice(1, None), (3, 2)),
    ("step", slice(None, None, 2), (5,)),
    ("backward", slice(None, None, -1), (3,)),
    ("several", (slice(None), 1, slice(0, 2)), (2, 3, 3)),
    ("new-axis", (None, slice(None), None), (3,)),
    ("dots", (..., 0), (2, 2, 3)),
    ("dots-value", (..., 0), (3,)),
    ("nothing", (), (2,)),
    ("nothing-0d", (), ()),
    ("empty", slice(0, 0), (3, 2)),
]:
    row("Slice", _note, lambda x, i=_index: x[i], [signed(*_shape)], lambda x, i=_index: x[i])
    row(
        "Unslice",
        _note,
        lambda x, i=_index, s=_shape: tape.unslice(x, i if isinstance(i, tuple) else (i,), s),
        [np.asarray(signed(*_shape)[_index])],
        lambda x, i=_index, s=_shape: _placed(x, i, s),
    )


def _placed(x: np.ndarray, index: Any, shape: tuple[int, ...]) -> np.ndarray:
    z = np.zeros(shape)
    z[index] = x
    return z


def _added(x: np.ndarray, places: np.ndarray, length: int) -> np.ndarray:
    """z[places[j]] += x[j]"""
    z = np.zeros((length, *x.shape[1:]))
    for value, place in zip(x, places):
        z[place] += value
    return z


row(
    "Gather",
    "repeated",
    lambda x, i: x[i],
    [signed(3, 2), np.array([2, 0, 2])],
    lambda x, i: np.array([x[2], x[0], x[2]]),
)
row("Gather", "list", lambda x: x[[0, 0, -1]], [signed(3)], lambda x: np.array([x[0], x[0], x[-1]]))
row("Gather", "two", lambda x, i, j: x[i, j], [signed(3, 3), whole(3, 4), whole(3, 4)], lambda x, i, j: x[i, j])
row("Gather", "with-slice", lambda x, i: x[:, i], [signed(2, 3), whole(3, 2, 2)], lambda x, i: x[:, i])
row(
    "Gather", "mask", lambda x: x[x > 0], [np.array([[1.0, -2.0], [-3.0, 4.0]])], lambda x: np.array([x[0, 0], x[1, 1]])
)
row("Gather", "mask-rows", lambda x, m: x[m], [signed(3, 2), np.array([True, False, True])], lambda x, m: x[[0, 2]])
row("Gather", "none", lambda x: x[[]], [signed(3)], lambda x: x[:0])
row(
    "ScatterAdd",
    "repeated",
    lambda x, i: tape.scatter_add(x, (i.array,), (3, 2)),
    [signed(4, 2), np.array([2, 0, 2, 2])],
    lambda x, i: _added(x, i, 3),
)
row(
    "TakeAlongAxis",
    "first",
    lambda x, i: tg.take_along_dim(x, i, 0),
    [signed(3, 2), whole(3, 4, 2)],
    lambda x, i: np.array([[x[i[j, k], k] for k in range(2)] for j in range(4)]),
    oracle=lambda torch, x, i: torch.take_along_dim(x, i, 0),
)
row(
    "TakeAlongAxis",
    "last",
    lambda x, i: tg.take_along_dim(x, i, -1),
    [signed(2, 3), np.array([[0, 0], [2, 1]])],
    lambda x, i: np.array([[x[0, 0], x[0, 0]], [x[1, 2], x[1, 1]]]),
    oracle=lambda torch, x, i: torch.take_along_dim(x, i, -1),
)
row(
    "TakeAlongAxis",
    "max",
    lambda x: x.max(1).values,
    [apart(2, 3)],
    lambda x: x.max(1),
    oracle=lambda torch, x: x.max(1)[0],
)
row("TakeAlongAxis", "min", lambda x: x.min(0, True)[0], [apart(2, 3)], lambda x: x.min(0, keepdims=True))
row(
    "PutAlongAxis",
    "repeated",
    lambda x, i: tape.put_along_axis(x, i, 0, 4),
    [signed(3), np.array([1, 3, 1])],
    lambda x, i: np.array([0, x[0] + x[2], 0, x[1]]),
)
row(
    "PutAlongAxis",
    "last",
    lambda x, i: tape.put_along_axis(x, i, 1, 3),
    [signed(2, 2), np.array([[0, 0], [2, 1]])],
    lambda x, i: np.array([[x[0, 0] + x[0, 1], 0, 0], [0, x[1, 1], x[1, 0]]]),
)

# changes in place


def _written(change: Callable[[Tensor, Tensor], Any]) -> Callable[[Tensor, Tensor], Tensor]:
    def function(x: Tensor, y: Tensor) -> Tensor:
        z = x.clone()
        change(z, y)
        return z

    return function


def _rows_replaced(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.concatenate([x[:1], y + np.zeros((2, 2))])


row(
    "Overwrite",
    "rows",
    lambda x, y: Overwrite(Slice((slice(1, 3),)))(x, y),
    [signed(3, 2), signed(2, 2)],
    _rows_replaced,
)
row(
    "Overwrite",
    "turned",
    lambda x, y: Overwrite(Transpose((1, 0)))(x, y),
    [signed(3, 2), signed(2, 3)],
    lambda x, y: y.T,
)
row(
    "_WrittenInPlace",
    "setitem",
    _written(lambda z, y: z.__setitem__(slice(1, 3), y)),
    [signed(3, 2), signed(2)],
    _rows_replaced,
)
row(
    "_WrittenInPlace",
    "multiply-view",
    _written(lambda z, y: z[1:].mul_(y)),
    [signed(3, 2), signed(2)],
    lambda x, y: np.array([x[0], x[1] * y, x[2] * y]),
)
row(
    "_WrittenInPlace",
    "view-of-view",
    _written(lambda z, y: z.T[1].exp_().mul_(y)),
    [signed(3, 2), signed(3)],
    lambda x, y: np.array([x[:, 0], np.exp(x[:, 1]) * y]).T,
)
row("_WrittenInPlace", "value", _written(lambda z, y: z[1].add_(y)), [signed(3), signed()], lambda x, y: x + [0, y, 0])
row(
    "_WrittenInPlace",
    "cotangent-broadcast",
    lambda x, y: _written(lambda z, y: z.view(6)[2:5].mul_(y))(x, y).sum(0),
    [signed(3, 2), signed(3)],
    lambda x, y: np.array([x[0, 0] + x[1, 0] * y[0] + x[2, 0] * y[2], x[0, 1] + x[1, 1] * y[1] + x[2, 1]]),
)
row(
    "_WrittenInPlace",
    "cotangent-turned",
    lambda x, y: _written(lambda z, y: z.view(6)[:2].mul_(y))(x, y).T * 1,
    [signed(3, 2), signed(2)],
    lambda x, y: np.array([x[0] * y, x[1], x[2]]).T,
)
row(
    "_WrittenInPlace",
    "base-turned",
    lambda x, y: _written(lambda z, y: z.T.view(6)[1:3].mul_(y))(x.T, y).sum(1),
    [signed(3, 2), signed(2)],
    lambda x, y: np.array([x[0, 0] + x[1, 0] * y[1] + x[2, 0], x[0, 1] * y[0] + x[1, 1] + x[2, 1]]),
)
row(
    "Scattered",
    "list",
    _written(lambda z, y: z.__setitem__([2, 0], y)),
    [signed(3, 2), signed(2, 2)],
    lambda x, y: np.array([y[1], x[1], y[0]]),
)
row(
    "Scattered",
    "mask",
    _written(lambda z, y: z.__setitem__(tg.tensor([True, False, True]).to(z.device), y)),
    [signed(3), signed()],
    lambda x, y: np.array([y, x[1], y]),
)

# products

MATRICES = [
    ("matrices", (2, 3), (3, 4)),
    ("row", (3,), (3, 2)),
    ("column", (2, 3), (3,)),
    ("vectors", (3,), (3,)),
    ("stacks", (2, 2, 3), (2, 3, 2)),
    ("left-stack", (2, 2, 3), (3, 2)),
    ("right-stack", (2, 3), (2, 3, 2)),
    ("broadcast-stacks", (2, 1, 2, 3), (3, 3, 1)),
    ("row-stack", (3,), (2, 3, 2)),
    ("stack-column", (2, 2, 3), (3,)),
    ("empty-inside", (2, 0), (0, 3)),
    ("empty-outside", (0, 2), (2, 3)),
]
for _note, _shape_x, _shape_y in MATRICES:
    row(
        "Matmul",
        _note,
        tg.matmul,
        [signed(*_shape_x), signed(*_shape_y)],
        lambda x, y: _product(x, y),
        oracle=lambda torch, x, y: x @ y,
    )
row("Matmul", "strided", tg.matmul, [strided(signed(2, 3)), strided(signed(3, 2))], lambda x, y: _product(x, y))
row("Matmul", "twice", lambda x: x @ x, [signed(2, 2)], lambda x: _product(x, x))


def _product(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """sum_j x_ij y_jk by broadcasting, a single vector as one row or one column."""
    left = x[None] if x.ndim == 1 else x
    right = y[:, None] if y.ndim == 1 else y
    z = (left[..., :, :, None] * right[..., None, :, :]).sum(-2)
    z = z[..., 0] if y.ndim == 1 else z
    return z[..., 0] if x.ndim == 1 and y.ndim == 1 else z[..., 0, :] if x.ndim == 1 else z


for _note, _shape in [("rows", (2, 3)), ("vector", (3,)), ("stack", (2, 2, 3)), ("empty", (0, 3))]:
    row(
        "InnerProduct",
        _note,
        tape.inner_product,
        [signed(*_shape), signed(4, 3)],
        lambda x, w: (x[..., None, :] * w).sum(-1),
        oracle=lambda torch, x, w: torch.nn.functional.linear(x, w),
    )

# probabilities


def _logsumexp(x: np.ndarray, dim: int, keepdims: bool) -> np.ndarray:
    return np.log(np.exp(x).sum(axis=dim, keepdims=keepdims))


for _note, _shape, _dim in [
    ("last", (2, 3), -1),
    ("first", (3, 2), 0),
    ("middle", (2, 3, 2), 1),
    ("one", (3, 1), 1),
    ("vector", (3,), 0),
]:
    row(
        "LogSoftmax",
        _note,
        lambda x, d=_dim: tg.log_softmax(x, d),
        [signed(*_shape)],
        lambda x, d=_dim: x - _logsumexp(x, d, True),
        oracle=lambda torch, x, d=_dim: torch.log_softmax(x, d),
    )
    row(
        "Softmax",
        _note,
        lambda x, d=_dim: tg.softmax(x, d),
        [signed(*_shape)],
        lambda x, d=_dim: np.exp(x) / np.exp(x).sum(axis=d, keepdims=True),
        oracle=lambda torch, x, d=_dim: torch.softmax(x, d),
    )
    for _keepdim in (False, True):
        row(
            "Logsumexp",
            f"{_note}-keep" if _keepdim else _note,
            lambda x, d=_dim, k=_keepdim: tg.logsumexp(x, d, k),
            [signed(*_shape)],
            lambda x, d=_dim, k=_keepdim: _logsumexp(x, d, k),
            oracle=lambda torch, x, d=_dim, k=_keepdim: torch.logsumexp(x, d, k),
        )
row(
    "LogSoftmax",
    "strided",
    lambda x: tg.log_softmax(x, 1),
    [strided(signed(2, 3))],
    lambda x: x - _logsumexp(x, 1, True),
)

# convolution: stride, padding (top, bottom, left, right), dilation, groups

CONVOLUTIONS = [
    ("plain", (2, 2, 4, 4), (3, 2, 3, 3), ((1, 1), (0, 0, 0, 0), (1, 1), 1)),
    ("padded", (1, 2, 3, 4), (2, 2, 3, 2), ((1, 1), (1, 0, 0, 2), (1, 1), 1)),
    ("stride", (2, 1, 5, 4), (2, 1, 2, 3), ((2, 1), (1, 1, 1, 1), (1, 1), 1)),
    ("dilation", (1, 1, 5, 5), (1, 1, 2, 2), ((1, 2), (0, 0, 1, 1), (2, 3), 1)),
    ("groups", (1, 4, 3, 3), (2, 2, 2, 2), ((1, 1), (0, 0, 0, 0), (1, 1), 2)),
    ("depthwise", (2, 2, 3, 3), (4, 1, 2, 2), ((1, 1), (1, 1, 1, 1), (1, 1), 2)),
    ("pointwise", (2, 3, 2, 2), (2, 3, 1, 1), ((1, 1), (0, 0, 0, 0), (1, 1), 1)),
    ("pointwise-stride", (1, 2, 3, 3), (2, 2, 1, 1), ((2, 2), (0, 0, 0, 0), (1, 1), 1)),
    ("whole-image", (2, 2, 3, 3), (2, 2, 3, 3), ((1, 1), (0, 0, 0, 0), (1, 1), 1)),
    ("unreached", (1, 1, 4, 4), (1, 1, 1, 1), ((3, 3), (0, 0, 0, 0), (1, 1), 1)),
]


def _torch_conv2d(torch: Any, x: Any, w: Any, settings: Any) -> Any:
    stride, (top, bottom, left, right), dilation, groups = settings
    padded = torch.nn.functional.pad(x, (left, right, top, bottom))
    return torch.nn.functional.conv2d(padded, w, None, stride, 0, dilation, groups)


for _note, _shape_x, _shape_w, _settings in CONVOLUTIONS:
    _size = oracles.output_size(_shape_x, _shape_w[2:], *_settings[:3])
    _dz_shape = (_shape_x[0], _shape_w[0], *_size)
    row(
        "Conv2d",
        _note,
        lambda x, w, s=_settings: tape.conv2d(x, w, *s),
        [signed(*_shape_x), signed(*_shape_w)],
        lambda x, w, s=_settings: oracles.conv2d(x, w, *s),
        oracle=lambda torch, x, w, s=_settings: _torch_conv2d(torch, x, w, s),
    )
    row(
        "Conv2dInputGrad",
        _note,
        lambda dz, w, n=_shape_x[2:], s=_settings: tape.conv2d_input_grad(dz, w, n, *s),
        [signed(*_dz_shape), signed(*_shape_w)],
        lambda dz, w, n=_shape_x[2:], s=_settings: oracles.conv2d_input_grad(dz, w, n, *s),
    )
    row(
        "Conv2dWeightGrad",
        _note,
        lambda dz, x, n=_shape_w[2:], s=_settings: tape.conv2d_weight_grad(dz, x, n, *s),
        [signed(*_dz_shape), signed(*_shape_x)],
        lambda dz, x, n=_shape_w[2:], s=_settings: oracles.conv2d_weight_grad(dz, x, n, *s),
    )
row(
    "Conv2d",
    "channels-last",
    lambda x, w: tape.conv2d(x, w, (1, 1), (1, 1, 1, 1), (1, 1), 1),
    [channels_last(signed(2, 3, 3, 3)), signed(2, 3, 3, 3)],
    lambda x, w: oracles.conv2d(x, w, (1, 1), (1, 1, 1, 1), (1, 1), 1),
)

# pooling: kernel, stride, padding, then dilation and ceil_mode, or what divides

MAX_POOLINGS = [
    ("tiles", (2, 2, 4, 4), ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1), False)),
    ("overlap", (1, 2, 5, 4), ((3, 2), (1, 1), (0, 0, 0, 0), (1, 1), False)),
    ("padded", (1, 1, 4, 4), ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1), False)),
    ("ceil", (1, 1, 5, 5), ((2, 2), (2, 2), (0, 0, 0, 0), (1, 1), True)),
    ("dilation", (1, 1, 5, 5), ((2, 2), (1, 2), (0, 0, 0, 0), (2, 2), False)),
]


def _max_pool2d(x: np.ndarray, settings: Any) -> np.ndarray:
    return oracles.max_pool2d(x, *settings)[0]


def _taps_to_indices(winners: np.ndarray, settings: Any, width: int) -> np.ndarray:
    """Each winner, a tap's number, as h * W + w in the plane of the input; for windows without padding."""
    kernel, stride, _, dilation = settings[:4]
    indices = np.zeros(winners.shape, np.int64)
    for place in np.ndindex(winners.shape):
        k, l = divmod(int(winners[place]), kernel[1])
        indices[place] = (place[2] * stride[0] + k * dilation[0]) * width + place[3] * stride[1] + l * dilation[1]
    return indices


for _note, _shape, _settings in MAX_POOLINGS:
    row(
        "MaxPool2d",
        _note,
        lambda x, s=_settings: tape.max_pool2d(x, *s),
        [apart(*_shape)],
        lambda x, s=_settings: _max_pool2d(x, s),
        oracle=lambda torch, x, s=_settings: torch.nn.functional.max_pool2d(x, s[0], s[1], s[2][0], s[3], s[4]),
    )
    if _note in ("overlap", "dilation"):
        _size = oracles.output_size(_shape, *_settings)
        _winners = whole(_settings[0][0] * _settings[0][1], *_shape[:2], *_size).astype(np.uint8)
        row(
            "MaxPool2dScatter",
            _note,
            lambda x, w, n=_shape[2:], s=_settings: tape.max_pool2d_scatter(x, w, n, *s[:4]),
            [signed(*_winners.shape), _winners],
            lambda x, w, n=_shape[2:], s=_settings: oracles.max_pool2d_scatter(x, _taps_to_indices(w, s, n[1]), n),
        )
        row(
            "MaxPool2dGather",
            _note,
            lambda x, w, s=_settings: tape.max_pool2d_gather(x, w, *s[:4]),
            [signed(*_shape), _winners],
            lambda x, w, s=_settings: oracles.max_pool2d_gather(x, _taps_to_indices(w, s, x.shape[3])),
        )

AVG_POOLINGS = [
    ("tiles", (1, 2, 4, 4), ((2, 2), (2, 2), (0, 0, 0, 0), False, True, None)),
    ("overlap", (1, 1, 4, 5), ((2, 3), (1, 2), (0, 0, 0, 0), False, True, None)),
    ("padded", (1, 1, 4, 4), ((3, 3), (2, 2), (1, 1, 1, 1), False, True, None)),
    ("inside-only", (1, 1, 4, 4), ((3, 3), (2, 2), (1, 1, 1, 1), False, False, None)),
    ("ceil", (1, 1, 6, 6), ((3, 3), (2, 2), (1, 1, 1, 1), True, True, None)),
    ("divisor", (1, 1, 4, 4), ((2, 2), (2, 2), (0, 0, 0, 0), False, True, 3)),
]
for _note, _shape, _settings in AVG_POOLINGS:
    _size = oracles.output_size(_shape, *_settings[:3], (1, 1), _settings[3])
    row(
        "AvgPool2d",
        _note,
        lambda x, s=_settings: tape.avg_pool2d(x, *s),
        [signed(*_shape)],
        lambda x, s=_settings: oracles.avg_pool2d(x, *s),
        oracle=lambda torch, x, s=_settings: torch.nn.functional.avg_pool2d(x, s[0], s[1], s[2][0], s[3], s[4], s[5]),
    )
    row(
        "AvgPool2dInputGrad",
        _note,
        lambda dz, n=_shape[2:], s=_settings: tape.avg_pool2d_input_grad(dz, n, *s),
        [signed(*_shape[:2], *_size)],
        lambda dz, n=_shape[2:], s=_settings: oracles.avg_pool2d_input_grad(dz, n, *s),
    )

# normalisation

EPS = 1e-3
for _note, _shape in [("images", (3, 2, 2, 2)), ("vectors", (4, 3)), ("sequences", (2, 2, 3))]:
    row(
        "BatchNorm",
        _note,
        lambda x, w, b: tape.batch_norm(x, w, b, EPS),
        [signed(*_shape), signed(_shape[1]), signed(_shape[1])],
        lambda x, w, b: oracles.batch_norm(x, w, b, EPS)[0],
        oracle=lambda torch, x, w, b: torch.nn.functional.batch_norm(x, None, None, w, b, True, 0.1, EPS),
    )
row(
    "BatchNorm",
    "plain",
    lambda x: tape.batch_norm(x, None, None, EPS),
    [signed(3, 2, 2)],
    lambda x: oracles.batch_norm(x, None, None, EPS)[0],
    oracle=lambda torch, x: torch.nn.functional.batch_norm(x, None, None, None, None, True, 0.1, EPS),
)
row(
    "BatchNorm",
    "channels-last",
    lambda x, w, b: tape.batch_norm(x, w, b, EPS),
    [channels_last(signed(2, 3, 2, 2)), signed(3), signed(3)],
    lambda x, w, b: oracles.batch_norm(x, w, b, EPS)[0],
)
