"""A batch norm that only applies its running statistics is z = s x + t, a channel at a time: a layer before it can do it itself.

    norm(x) = s x + t,  s = w / sqrt(var + eps),  t = b - s mean        norm(W x + c) = (s W) x + (s c + t)

torch.nn.utils.fusion's names; `tensorgrad.nn.utils` offers them. For whole models: nn/fusion_of_models.py.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from tensorgrad.errors import ArgumentError, ShapeError
from tensorgrad.mode import no_grad
from tensorgrad.nn.convolution import _Convolution
from tensorgrad.nn.linear import Linear
from tensorgrad.nn.module import Module
from tensorgrad.nn.normalization import _BatchNorm
from tensorgrad.nn.parameter import Parameter
from tensorgrad.ops.unary import rsqrt
from tensorgrad.tensor import Tensor

_Conv = TypeVar("_Conv", bound=_Convolution)
_Linear = TypeVar("_Linear", bound=Linear)


def fuse_conv_bn_eval(conv: _Conv, bn: _BatchNorm, transpose: bool = False) -> _Conv:
    """A new convolution that computes bn(conv(x)); both stay as they are.

    conv       Conv1d, 2d, 3d or ConvTranspose1d, 2d, 3d, in eval mode
    bn         a batch norm with running statistics, in eval mode, of as many features as conv has channels out
    transpose  whether conv is a transposed convolution

    It has a bias in any case, which collects gradients if conv had one that did. Raises ArgumentError in training mode,
    without running statistics, where conv's weight is computed from other parameters, or `transpose` is not what conv is.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> conv, bn = nn.Conv2d(3, 8, 3, bias=False).eval(), nn.BatchNorm2d(8).eval()
    >>> fused = fuse_conv_bn_eval(conv, bn)
    >>> x = tensorgrad.rand(2, 3, 8, 8)
    >>> tensorgrad.allclose(fused(x), bn(conv(x)), atol=1e-6)
    True
    """
    if bool(transpose) != conv.transposed:
        raise ArgumentError(
            f"fuse_conv_bn_eval: transpose is {transpose} for a {type(conv).__name__}; it must be {conv.transposed}"
        )
    mean, var = _checked("fuse_conv_bn_eval", conv, bn)
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, mean, var, bn.eps, bn.weight, bn.bias, transpose
    )
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the convolution that applies a batch norm too, as new Parameters in the convolution's dtypes.

    conv_w, conv_b  (O, C / groups, ...), for transpose=True (C, O / groups, ...); (O) or None
    bn_rm, bn_rv    running mean and variance, (O)
    bn_eps          added to the variance
    bn_w, bn_b      (O), or None for 1 and 0

    They require grad where conv_w and conv_b did; a bias that was not there does not. Raises ShapeError where the number of
    features does not fit.

    >>> import tensorgrad
    >>> one = tensorgrad.ones(1)
    >>> w, b = fuse_conv_bn_weights(tensorgrad.ones(1, 1, 1), None, 3 * one, 4 * one, 0.0, 2 * one, one)
    >>> w.tolist(), b.tolist()
    ([[[1.0]]], [-2.0])
    """
    features, shape = bn_rm.array.shape[0], conv_w.array.shape
    per_group = shape[1] if transpose else features
    groups = max(features // max(per_group, 1), 1)
    fits = groups * per_group == features and shape[0] % groups == 0 if transpose else shape[0] == features
    if not fits:
        raise ShapeError(
            f"fuse_conv_bn_weights: got a weight of shape {shape} with transpose={transpose} and a norm of {features} "
            f"features; the {'second' if transpose else 'first'} size of the weight must be the number of features"
            f"{', or divide it (groups)' if transpose else ''}"
        )
    with no_grad():
        scale = _scale(bn_rv, bn_eps, bn_w)
        if transpose:  # (O) -> (groups, C / groups, O / groups): every input channel of a group meets its features
            along = scale.reshape(groups, 1, per_group).expand(groups, shape[0] // groups, per_group)
            factor = along.reshape(*shape[:2], *[1] * (len(shape) - 2))
        else:
            factor = scale.reshape(features, *[1] * (len(shape) - 1))
        return _parameters(conv_w, conv_w * factor, conv_b, _shift(conv_b, bn_rm, scale, bn_b))


def fuse_linear_bn_eval(linear: _Linear, bn: _BatchNorm) -> _Linear:
    """A new linear layer that computes bn(linear(x)) for x of shape (N, in_features); both stay as they are.

    linear  in eval mode
    bn      with running statistics, in eval mode, of out_features features, or of one: then of (N, 1, in_features)

    Bias and errors as in fuse_conv_bn_eval; ArgumentError also for another number of features.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> linear, bn = nn.Linear(3, 4).eval(), nn.BatchNorm1d(4).eval()
    >>> x = tensorgrad.rand(5, 3)
    >>> tensorgrad.allclose(fuse_linear_bn_eval(linear, bn)(x), bn(linear(x)), atol=1e-6)
    True
    """
    mean, var = _checked("fuse_linear_bn_eval", linear, bn)
    if bn.num_features not in (linear.out_features, 1):
        raise ArgumentError(
            f"fuse_linear_bn_eval: got linear.out_features {linear.out_features} and bn.num_features {bn.num_features}; they "
            "must be equal, or the norm's 1"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(linear.weight, linear.bias, mean, var, bn.eps, bn.weight, bn.bias)
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the linear layer that applies a batch norm too; arguments and errors as in fuse_conv_bn_weights.

    linear_w  (out_features, in_features); the norm's features are out_features or 1, the new bias is (out_features)

    >>> import tensorgrad
    >>> one = tensorgrad.ones(1)
    >>> w, b = fuse_linear_bn_weights(tensorgrad.ones(1, 2), 5 * one, 3 * one, 4 * one, 0.0, 2 * one, one)
    >>> w.tolist(), b.tolist()
    ([[1.0, 1.0]], [3.0])
    """
    features, rows = bn_rm.array.shape[0], linear_w.array.shape[0]
    if features not in (rows, 1):
        raise ShapeError(
            f"fuse_linear_bn_weights: got a weight of shape {linear_w.shape} and a norm of {features} features; they must be "
            f"{rows} or 1"
        )
    with no_grad():
        scale = _scale(bn_rv, bn_eps, bn_w)
        shift = _shift(linear_b, bn_rm, scale, bn_b).expand(rows).clone()
        return _parameters(linear_w, linear_w * scale.unsqueeze(-1), linear_b, shift)


def _checked(operation: str, layer: Module, bn: _BatchNorm) -> tuple[Tensor, Tensor]:
    """The running mean and variance, where norm and layer can be one."""
    for module in (layer, bn):
        if module.training:
            raise ArgumentError(
                f"{operation}: the {type(module).__name__} is in training mode, where the norm depends on the batch; call .eval() "
                "first"
            )
    if layer._parameters.get("weight") is None:
        raise ArgumentError(
            f"{operation}: the weight of the {type(layer).__name__} is computed from other parameters; remove the "
            "parametrization or weight norm first"
        )
    if bn.running_mean is None or bn.running_var is None:
        raise ArgumentError(
            f"{operation}: the {type(bn).__name__} has no running statistics (track_running_stats=False), so it depends on the "
            "batch; it cannot be fused"
        )
    return bn.running_mean, bn.running_var


def _scale(var: Tensor, eps: float, w: Tensor | None) -> Tensor:
    """s = w / sqrt(var + eps)"""
    s: Tensor = rsqrt(var + eps)
    return s if w is None else w * s


def _shift(c: Tensor | None, mean: Tensor, s: Tensor, b: Tensor | None) -> Tensor:
    """s (c - mean) + b"""
    shift = (-mean if c is None else c - mean) * s
    return shift if b is None else shift + b


def _parameters(w: Tensor, fused_w: Tensor, c: Tensor | None, fused_c: Tensor) -> tuple[Parameter, Parameter]:
    """What is new, in the dtypes of what was there, and as trainable."""
    dtype = w.dtype if c is None else c.dtype
    return (
        Parameter(fused_w.to(w.dtype), w.requires_grad),
        Parameter(fused_c.to(dtype), c is not None and c.requires_grad),
    )
