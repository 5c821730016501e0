"""Layers in a Sequential that write their result to where their input was, because nobody else ever sees that input.

What a convolution gives to the ReLU behind it is known to these two alone: the caller of the Sequential has no name for it, and
no rule of the convolution's keeps it. So ReLU may overwrite it, which saves the memory of a result, and the time
to read and write it. The numbers are the same to the last bit.
"""

from __future__ import annotations

from typing import Any

from tensorgrad.backend.memory import spare
from tensorgrad.mode import mode
from tensorgrad.nn.activation_layers import ReLU
from tensorgrad.nn.convolution import Conv1d, Conv2d
from tensorgrad.nn.linear import Linear
from tensorgrad.nn.normalization import BatchNorm1d, BatchNorm2d
from tensorgrad.primitive import observers

#: Layers whose result is new memory that their rules do not keep.
_GIVING = frozenset((Conv1d, Conv2d, Linear, BatchNorm1d, BatchNorm2d))
_NORMS = frozenset((BatchNorm1d, BatchNorm2d))


def may_take(before: Any, module: Any, x: Any) -> bool:
    """Whether `module` may overwrite x, which `before` has just made for it: both of exactly these classes, and unobserved.

    ReLU may always (its rules keep its own result), a batch norm only by its running statistics and off the tape, since
    its rules keep its input. Hooks, observers of operations, tangents and a step being recorded all see x.
    """
    kind = type(module)
    if kind is not ReLU and (kind not in _NORMS or mode.recording or module.training or module.running_mean is None):
        return False
    if type(before) not in _GIVING or observers or mode.recorder is not None:
        return False
    for layer in (before, module):
        if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
            return False
        if "forward" in layer.__dict__:  # somebody put another one in its place
            return False
    extra = x.extra
    return extra is None or (extra.inference and extra.tangents is None)


def take(module: Any, x: Any) -> Any:
    """module(x), with x's memory to use."""
    spare.array = x.array
    try:
        return module(x)
    finally:
        spare.array = None
