"""Layers in a Sequential that save passes over memory, because nobody else ever sees what lies between them.

What a convolution gives to the ReLU behind it is known to these two alone: the caller of the Sequential has no name for it, and
no rule of the convolution's keeps it. So ReLU may overwrite it, which saves the memory of a result, and the time
to read and write it. A batch norm in training and the ReLU behind it are one primitive, BatchNormRelu, and so are a convolution with
a bias and the ReLU behind it where the backend has them in one (cuDNN): Conv2dBiasRelu. The numbers are the same, on a processor to
the last bit.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.backend.memory import spare
from tensorgrad.dtypes import float32
from tensorgrad.mode import mode
from tensorgrad.nn.activation_layers import ReLU
from tensorgrad.nn.convolution import Conv1d, Conv2d
from tensorgrad.nn.linear import Identity, Linear
from tensorgrad.nn.normalization import BatchNorm1d, BatchNorm2d
from tensorgrad.primitive import observers
from tensorgrad.tensor import Tensor

#: Layers whose result is new memory that their rules do not keep.
_GIVING = frozenset((Conv1d, Conv2d, Linear, BatchNorm1d, BatchNorm2d))
_NORMS = frozenset((BatchNorm1d, BatchNorm2d))


def through(modules: list[Any], x: Any) -> Any:
    """The modules one after the other, each on what the one before it gave."""
    before = joined = None
    # where a norm was folded away, convolution and ReLU are neighbours
    modules = [module for module in modules if type(module) is not Identity or not _plain(module)]
    for module, following in zip_longest(modules, modules[1:]):
        if module is joined:
            joined = None
        elif may_join(module, following, x):
            x = join(module, following, x)
            joined = following
        elif before is not None and may_take(before, module, x):
            x = take(module, x)
        else:
            x = module(x)
        before = module
    return x


def _plain(layer: Any) -> bool:
    """Whether nobody listens to this layer, or has put another forward in its place."""
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        return False
    return "forward" not in layer.__dict__


def may_join(layer: Any, following: Any, x: Any) -> bool:
    """Whether a layer and the ReLU behind it may be one: unobserved, and a convolution with a bias where the backend has it so."""
    if type(following) is not ReLU:
        return False
    if type(layer) is not Conv2d:
        return _may_join_norm(layer, following, x)
    if observers or layer.bias is None or type(x) is not Tensor or x.extra is not None:
        return False
    return backend_of(x.array).rectifies_convolutions is True and _plain(layer) and _plain(following)


def _may_join_norm(norm: Any, following: Any, x: Any) -> bool:
    """A batch norm: in training, in float32."""
    if type(norm) not in _NORMS or not norm.training or norm.num_batches_tracked is None:
        return False
    if observers or mode.autocast is not None or type(x) is not Tensor or x.array.dtype != float32:
        return False
    return x.extra is None and _plain(norm) and _plain(following)


def join(layer: Any, relu: Any, x: Any) -> Any:
    """relu(layer(x)). A convolution that has done the ReLU's work says so by taking the note away."""
    mode.relu_follows = layer
    try:
        x = layer(x)
        left = type(layer) is Conv2d and mode.relu_follows is not None
    finally:
        mode.relu_follows = None
    return relu(x) if left else x


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
    if not (_plain(before) and _plain(module)):
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
