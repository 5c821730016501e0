"""Normalisation within one sample: of groups of channels, of the last dimensions.

The mathematics is in tensorgrad.ops.normalization and tensorgrad.ops.group_normalization.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.creation import ones, zeros
from tensorgrad.dtypes import finfo
from tensorgrad.errors import ArgumentError, OperandError, ShapeError
from tensorgrad.nn import init
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.module import Module
from tensorgrad.nn.parameter import Parameter
from tensorgrad.ops import group_normalization, normalization
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.operands import cast
from tensorgrad.primitive import check_floating
from tensorgrad.tensor import Tensor

Sizes = tuple[int, ...]


def check(operation: str, input: Any, **others: tuple[Any, Sizes]) -> None:
    if not isinstance(input, Tensor):
        raise OperandError(f"{operation}: input is a {type(input).__name__}; it must be a Tensor")
    check_floating(operation, input)
    for name, (x, shape) in others.items():
        if x is not None and x.array.shape != shape:
            raise ShapeError(
                f"{operation}: {name} has shape {x.shape}; an input of shape {input.shape} needs one of shape {shape}"
            )


def normalised(
    x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, group_normalization.GroupNorm]:
    """w h + b, h of mean 0 and variance 1 in each of `groups` groups of channels, and the node that knows what they were."""
    norm = group_normalization.GroupNorm(groups, float(eps))
    if x.array.size and not _of_other_dtypes(x, weight, bias):
        return norm(x, weight, bias), norm
    z = norm(x, None, None) if x.array.size else shapes.clone(x)
    return scaled(z, weight, bias, (-1, *(1,) * (x.array.ndim - 2))), norm


def _of_other_dtypes(x: Tensor, *others: Tensor | None) -> bool:
    """Whether low precision stands beside float32 weights."""
    return any(other is not None and other.dtype != x.dtype for other in others)


def scaled(z: Tensor, weight: Tensor | None, bias: Tensor | None, shape: Sizes) -> Tensor:
    """w z + b, w and b brought to `shape`; in z's dtype, also where w and b are in a wider one (mixed precision)."""
    dtype = z.dtype
    if weight is not None:
        z = z * shapes.reshape(weight, *shape)
    return cast(z if bias is None else z + shapes.reshape(bias, *shape), dtype)


@under_autocast
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """z = w (x - mean) / sqrt(var + eps) + b, by each sample's statistics of each of num_groups groups of channels.

    input (N, C, ...), weight and bias (C). Wu & He, 2018.

    >>> import tensorgrad
    >>> group_norm(tensorgrad.tensor([[1.0, 3.0, 5.0, 9.0]]), 2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])
    """
    channels = input.array.shape[1] if isinstance(input, Tensor) and input.array.ndim > 1 else 0
    check("group_norm", input, weight=(weight, (channels,)), bias=(bias, (channels,)))
    groups = at_least("group_norm", "num_groups", num_groups, 1)
    if input.array.ndim < 2 or channels % groups:
        raise ShapeError(
            f"group_norm: input has shape {input.shape} and num_groups is {groups}; it must be (N, C, ...), C divisible "
            "by num_groups"
        )
    if input.array.size == groups:
        raise ArgumentError(
            f"group_norm: input of shape {input.shape} has one value in each of {groups} groups; it needs more, their "
            "variance would be 0"
        )
    z, _ = normalised(input, groups, weight, bias, eps)
    return z


@under_autocast
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """z = w (x - mean) / sqrt(var + eps) + b, by the statistics over the last dimensions.

    normalized_shape  their sizes, and the shape of weight and bias. Ba, Kiros & Hinton, 2016.

    >>> import tensorgrad
    >>> layer_norm(tensorgrad.tensor([[1.0, 3.0], [5.0, 9.0]]), (2,))
    tensor([[-1.0000,  1.0000],
            [-1.0000,  1.0000]])
    """
    last = _last_sizes("layer_norm", input, normalized_shape)
    check("layer_norm", input, weight=(weight, last), bias=(bias, last))
    if not input.array.size:
        return scaled(shapes.clone(input), weight, bias, last)
    norm = normalization.LayerNorm(len(last), float(eps))
    if _of_other_dtypes(input, weight, bias):
        return scaled(norm(input, None, None), weight, bias, last)
    z: Tensor = norm(input, weight, bias)
    return z


@under_autocast
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """z = w x / sqrt(mean(x^2) + eps), the mean over the last dimensions. Zhang & Sennrich, 2019.

    normalized_shape  their sizes, and the shape of the weight
    eps               None is the distance from 1 to the next number of x's dtype

    >>> import tensorgrad
    >>> rms_norm(tensorgrad.tensor([[3.0, 4.0]]), (2,)) ** 2 * 25
    tensor([[18.0000, 32.0000]])
    """
    last = _last_sizes("rms_norm", input, normalized_shape)
    check("rms_norm", input, weight=(weight, last))
    small = finfo(input.dtype).eps if eps is None else eps
    if not input.array.size:
        return scaled(shapes.clone(input), weight, None, last)
    norm = group_normalization.RmsNorm(len(last), float(small))
    if _of_other_dtypes(input, weight):
        return scaled(norm(input, None), weight, None, last)
    z: Tensor = norm(input, weight)
    return z


def _last_sizes(operation: str, input: Any, normalized_shape: Any) -> Sizes:
    if not isinstance(input, Tensor):
        raise OperandError(f"{operation}: input is a {type(input).__name__}; it must be a Tensor")
    last = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not last or input.array.shape[-len(last) :] != last:
        raise ShapeError(
            f"{operation}: input has shape {input.shape} and normalized_shape is {last}; they must end alike"
        )
    return last


class GroupNorm(Module):
    """Normalises groups of channels; see `tensorgrad.nn.functional.group_norm`.

    num_groups, num_channels  the second divisible by the first; weight and bias are (num_channels)
    affine, bias              whether there are weight and bias, 1 and 0 at first; without affine there is neither

    >>> import tensorgrad
    >>> GroupNorm(2, 6)(tensorgrad.rand(1, 6, 4, 4)).shape
    (1, 6, 4, 4)
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_groups = at_least("GroupNorm", "num_groups", num_groups, 1)
        self.num_channels = at_least("GroupNorm", "num_channels", num_channels, 0)
        if num_channels % num_groups:
            raise ArgumentError(
                f"GroupNorm: num_channels is {num_channels}; it must be divisible by num_groups {num_groups}"
            )
        self.eps = eps
        self.affine = affine
        _add_affine(self, (num_channels,), affine, affine and bias, device, dtype)

    def reset_parameters(self) -> None:
        """Start anew: weight 1, bias 0."""
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class LayerNorm(Module):
    """Normalises over the last dimensions; see `tensorgrad.nn.functional.layer_norm`.

    normalized_shape          their sizes (or the last one), and the shape of weight and bias
    elementwise_affine, bias  whether there are weight and bias, 1 and 0 at first

    >>> import tensorgrad
    >>> LayerNorm(8)(tensorgrad.rand(2, 5, 8)).shape
    (2, 5, 8)
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        _add_affine(self, self.normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype)

    def reset_parameters(self) -> None:
        """Start anew: weight 1, bias 0."""
        _reset_affine(self)

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, "
            f"bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """Divides by the root of the mean square over the last dimensions; see `tensorgrad.nn.functional.rms_norm`.

    >>> import tensorgrad
    >>> RMSNorm(8)(tensorgrad.rand(2, 5, 8)).shape
    (2, 5, 8)
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        weight = Parameter(ones(*self.normalized_shape, device=device, dtype=dtype)) if elementwise_affine else None
        self.register_parameter("weight", weight)

    def reset_parameters(self) -> None:
        """Start anew: weight 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Tensor) -> Tensor:
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


def _add_affine(module: Module, shape: Sizes, weight: bool, bias: bool, device: Any, dtype: Any) -> None:
    module.register_parameter("weight", Parameter(ones(*shape, device=device, dtype=dtype)) if weight else None)
    module.register_parameter("bias", Parameter(zeros(*shape, device=device, dtype=dtype)) if bias else None)


def _reset_affine(module: Any) -> None:
    if module.weight is not None:
        init.ones_(module.weight)
    if module.bias is not None:
        init.zeros_(module.bias)
