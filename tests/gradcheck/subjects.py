"""What the tables of right and wrong derivatives are made of, written once for tensorgrad and for PyTorch.

A row is a function of T, the module tensorgrad or torch, that gives the function to check and the NumPy arrays to check it at;
both libraries have the same autograd.Function and the same names for what the rows use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Subject:
    """`make(T)` gives (function, arrays); floating-point arrays become inputs that require grad.

    fast    along random directions, for many numbers
    order   up to which derivatives are checked
    finds   what the report must name: a finding's kind, a rule, or 'kink'
    torch   whether PyTorch's gradcheck can be given the same
    """

    name: str
    make: Callable[[Any], tuple[Callable[..., Any], Sequence[np.ndarray]]]
    fast: bool = False
    order: int = 1
    finds: str = ""
    torch: bool = True

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def tensors(T: Any, arrays: Sequence[np.ndarray]) -> list[Any]:
    """The inputs of a row."""
    made = []
    for x in arrays:
        t = T.from_numpy(x)
        made.append(t.requires_grad_() if x.dtype.kind == "f" else t)
    return made


def rule(T: Any, forward: Any, vjp: Any, jvp: Any = None) -> Callable[..., Any]:
    """A function with these rules: forward(*xs), vjp(*cotangents, *xs), jvp(*tangents, *xs)."""

    class Rule(T.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            ctx.save_for_backward(*xs)
            ctx.save_for_forward(*xs)
            return forward(*xs)

        @staticmethod
        def backward(ctx: Any, *dzs: Any) -> Any:
            return vjp(*dzs, *ctx.saved_tensors)

    class WithJvp(Rule):
        @staticmethod
        def jvp(ctx: Any, *dxs: Any) -> Any:
            return jvp(*dxs, *ctx.saved_tensors)

    return Rule.apply if jvp is None else WithJvp.apply


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Of magnitude 0.2 and more, either sign: away from kinks at 0."""
    x = np.random.default_rng(seed).standard_normal(shape)
    return np.asarray(x + np.copysign(0.2, x))


def array(*values: float) -> np.ndarray:
    return np.array(values)
