"""Batch normalisation, and what the layers with running statistics share."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.creation import ones, zeros
from tensorgrad.dtypes import int64
from tensorgrad.errors import ArgumentError, OperandError, ShapeError, UnsupportedError
from tensorgrad.mode import mode
from tensorgrad.nn import init
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.module import Module
from tensorgrad.nn.parameter import Parameter
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.normalization import BatchNorm, BatchNormRelu, Normalize
from tensorgrad.primitive import check_floating
from tensorgrad.tensor import Tensor


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """z = w (x - mean) / sqrt(var + eps) + b, channel by channel. Ioffe & Szegedy, 2015.

    input     (N, C), (N, C, L), (N, C, H, W), ...; the others (C)
    training  True: by the mean and the biased variance of this batch, and if the running ones are given, they become
              (1 - momentum) running + momentum batch, with the unbiased variance; False: by the running ones
    Raises ArgumentError in training with one value a channel, whose variance would be 0.
    """
    if isinstance(input, Tensor) and input.array.shape == (0,):
        return shapes.clone(input)
    _check_channels(input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if not training:
        return _by_running(input, running_mean, running_var, weight, bias, eps)
    return _by_batch(BatchNorm(float(eps)), input, running_mean, running_var, weight, bias, momentum)


def _by_batch(
    norm: BatchNorm | BatchNormRelu,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
) -> Tensor:
    """The primitive by the statistics of this batch, which the running ones move towards."""
    count = input.array.size // max(input.array.shape[1], 1)
    if count == 1:
        raise ArgumentError(
            f"batch_norm: input of shape {input.shape} has one value per channel; training needs more, its variance "
            "would be 0"
        )
    z: Tensor = norm(input, weight, bias)
    if running_mean is not None and count:
        move_running(running_mean, norm.mean, momentum, "batch_norm")
    if running_var is not None and count:
        move_running(running_var, norm.var, momentum, "batch_norm", count / (count - 1))
    return z


def move_running(running: Tensor, value: Any, momentum: float, operation: str, factor: float = 1.0) -> None:
    """running = (1 - momentum) running + momentum factor value, in place and outside of the tape."""
    running.storage.written(operation)
    backend_of(running.array).move_running(running.array, value, float(momentum), factor)


def _by_running(
    x: Tensor, mean: Tensor | None, var: Tensor | None, weight: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    if mean is None or var is None:
        raise ArgumentError("batch_norm: outside of training it needs running_mean and running_var")
    return Normalize()(x, mean, (var + eps) ** -0.5, weight, bias)


def _check_channels(input: Any, **others: Any) -> None:
    if not isinstance(input, Tensor):
        raise OperandError(f"batch_norm: input is a {type(input).__name__}; it must be a Tensor")
    check_floating("batch_norm", input)
    if input.array.ndim < 2:
        raise ShapeError(f"batch_norm: input has shape {input.shape}; it must be (N, C) or (N, C, ...)")
    channels = input.array.shape[1]
    for name, x in others.items():
        if x is not None and x.array.shape != (channels,):
            raise ShapeError(
                f"batch_norm: {name} has shape {x.shape}; an input of shape {input.shape} has {channels} channels and "
                f"needs ({channels},)"
            )


class NormBase(Module):
    """What the layers with one weight, bias and pair of running statistics a channel share."""

    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None
    dimensions: tuple[int, ...] = ()
    layouts = ""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = at_least(type(self).__name__, "num_features", num_features, 0)
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.register_parameter("weight", Parameter(ones(num_features, device=device, dtype=dtype)) if affine else None)
        self.register_parameter(
            "bias", Parameter(zeros(num_features, device=device, dtype=dtype)) if affine and bias else None
        )
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, device=device, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", ones(num_features, device=device, dtype=dtype) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), device=device, dtype=int64) if tracked else None)

    def reset_running_stats(self) -> None:
        """Running mean 0, running variance 1, no batch seen."""
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Start anew: weight 1, bias 0, no batch seen."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def check_input(self, input: Any) -> None:
        """Refuse what has not the dimensions of the layer's layouts."""
        if not isinstance(input, Tensor):
            raise OperandError(f"{type(self).__name__}: input is a {type(input).__name__}; it must be a Tensor")
        if input.array.ndim not in self.dimensions:
            raise ArgumentError(
                f"{type(self).__name__}: input has shape {input.shape} of {input.array.ndim} dimensions; it takes "
                f"{self.layouts}"
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(NormBase):
    """What the batch norms of all dimensions share."""

    def forward(self, input: Tensor) -> Tensor:
        self.check_input(input)
        by_batch = self.training or self.running_mean is None
        seen = self.num_batches_tracked
        if not self.training or seen is None:
            return batch_norm(
                input,
                None if by_batch else self.running_mean,
                None if by_batch else self.running_var,
                self.weight,
                self.bias,
                by_batch,
                eps=self.eps,
            )
        # momentum None: the plain average over all batches so far
        momentum = 1.0 / (int(seen.item()) + 1) if self.momentum is None else self.momentum
        if mode.relu_follows is self:  # both at once: see nn/chain.py
            _check_channels(input, weight=self.weight, bias=self.bias)
            norm = BatchNormRelu(float(self.eps))
            z = _by_batch(norm, input, self.running_mean, self.running_var, self.weight, self.bias, momentum)
        else:
            z = batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, True, momentum, self.eps)
        seen.storage.written("batch_norm")
        seen.array += 1
        return z


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L); see `tensorgrad.nn.functional.batch_norm`.

    num_features         C
    momentum             of the running statistics; None averages over all batches
    affine, bias         whether there are weight and bias, 1 and 0 at first; without affine there is neither
    track_running_stats  whether there are running statistics; without, evaluation uses the batch too

    >>> import tensorgrad
    >>> BatchNorm1d(1)(tensorgrad.tensor([[-1.0], [1.0]]))
    tensor([[-1.0000],
            [ 1.0000]], grad_fn=<BatchNorm>)
    """

    dimensions = (2, 3)
    layouts = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W); arguments as in BatchNorm1d.

    >>> import tensorgrad
    >>> BatchNorm2d(6)(tensorgrad.rand(2, 6, 14, 14)).shape
    (2, 6, 14, 14)
    """

    dimensions = (4,)
    layouts = "(N, C, H, W)"


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); arguments as in BatchNorm1d."""

    dimensions = (5,)
    layouts = "(N, C, D, H, W)"


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation over several processes: refused, training runs in one process here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise UnsupportedError(
            "SyncBatchNorm: training runs in one process here, whose batch BatchNorm1d, 2d and 3d normalise as a whole; use "
            "one of them"
        )

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Refused, as the class is."""
        raise UnsupportedError(
            "convert_sync_batchnorm: training runs in one process here; leave the module's BatchNorm layers as they are"
        )
