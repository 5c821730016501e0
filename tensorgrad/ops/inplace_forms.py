"""Which elementwise operations are methods of Tensor, and which of them have an in-place form: x.exp() and x.exp_()."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.ops import arithmetic, binary, elementwise, logic, unary
from tensorgrad.ops.inplace import in_place
from tensorgrad.tensor import Tensor


def _of(module: Any, names: str) -> dict[str, Callable[..., Any]]:
    return {name: getattr(module, name) for name in names.split()}


def _where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """x where condition, else `other`, broadcast."""
    return elementwise.where(condition, self, other)


#: Methods that have an in-place form too.
BOTH: dict[str, Callable[..., Any]] = {
    "add": arithmetic.add,
    "sub": arithmetic.subtract,
    "subtract": arithmetic.subtract,
    "mul": arithmetic.multiply,
    "multiply": arithmetic.multiply,
    "div": binary.div,
    "divide": binary.div,
    "pow": arithmetic.power,
    "neg": arithmetic.negative,
    "negative": arithmetic.negative,
    "square": arithmetic.square,
    "abs": elementwise.absolute,
    **_of(elementwise, "absolute exp relu clamp clip clamp_min clamp_max logit nan_to_num"),
    **{name: getattr(unary, name) for name in unary.__all__ if name != "positive"},
    **_of(
        binary, "true_divide floor_divide fmod remainder float_power atan2 arctan2 hypot copysign heaviside xlogy ldexp"
    ),
    **_of(binary, "lerp addcmul addcdiv"),
    **_of(logic, "eq ne not_equal lt less le less_equal gt greater ge greater_equal"),
    **_of(logic, "logical_and logical_or logical_xor logical_not bitwise_and bitwise_or bitwise_xor bitwise_not"),
    **_of(logic, "bitwise_left_shift bitwise_right_shift gcd lcm"),
}

#: Methods that have none.
ALONE: dict[str, Callable[..., Any]] = {
    **_of(elementwise, "maximum minimum"),
    **_of(binary, "fmax fmin logaddexp logaddexp2"),
    **_of(logic, "equal isclose allclose isnan isinf isposinf isneginf isfinite isreal signbit"),
    "positive": unary.positive,
    "where": _where,
}

IN_PLACE: dict[str, Callable[..., Tensor]] = {
    f"{name}_": in_place(f"{name}_", function) for name, function in BOTH.items()
}

METHODS: dict[str, Callable[..., Any]] = {**BOTH, **ALONE, **IN_PLACE}

add_, mul_, relu_ = (IN_PLACE[name] for name in ("add_", "mul_", "relu_"))
