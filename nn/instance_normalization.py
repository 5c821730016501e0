"""Instance normalisation: of each channel of each sample."""

from __future__ import annotations

from typing import Any

from tensorgrad.errors import ArgumentError, ShapeError
from tensorgrad.nn.group_normalization import check, normalised
from tensorgrad.nn.normalization import NormBase, batch_norm, move_running
from tensorgrad.ops import shape as shapes
from tensorgrad.tensor import Tensor


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """z = w (x - mean) / sqrt(var + eps) + b, by the statistics of each channel of each sample.

    input            (N, C, L), (N, C, H, W), ...; the others (C)
    use_input_stats  False: by the running ones, as batch_norm. True moves them, if given, towards the mean over the samples
    Ulyanov, Vedaldi & Lempitsky, 2016.
    """
    channels = input.array.shape[1] if isinstance(input, Tensor) and input.array.ndim > 1 else 0
    wanted = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    check("instance_norm", input, **{name: (x, (channels,)) for name, x in wanted.items()})
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if input.array.ndim < 3:
        raise ShapeError(f"instance_norm: input has shape {input.shape}; it must be (N, C, ...) with values to average")
    samples, rows = input.array.shape[0], input.array.shape[0] * channels
    values = input.array.size // rows if rows else 0
    if values == 1:
        raise ArgumentError(
            f"instance_norm: input of shape {input.shape} has one value per channel; it needs more, its variance would be 0"
        )
    z, norm = normalised(input, channels, weight, bias, eps)
    if values and samples:
        if running_mean is not None:
            move_running(running_mean, norm.mean.reshape(samples, channels).mean(axis=0), momentum, "instance_norm")
        if running_var is not None:
            unbiased = norm.var * (values / (values - 1))
            move_running(running_var, unbiased.reshape(samples, channels).mean(axis=0), momentum, "instance_norm")
    return z


class _InstanceNorm(NormBase):
    """What the three share; `dimensions` are those of one sample and of a batch."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        self.check_input(input)
        one = input.array.ndim == self.dimensions[0]
        if self.affine and input.array.shape[0 if one else 1] != self.num_features:
            raise ArgumentError(
                f"{type(self).__name__}: input has shape {input.shape}; it must have {self.num_features} channels"
            )
        z = instance_norm(
            shapes.unsqueeze(input, 0) if one else input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum,
            self.eps,
        )
        return shapes.squeeze(z, 0) if one else z


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L); arguments as in InstanceNorm2d."""

    dimensions = (2, 3)
    layouts = "(N, C, L), or (C, L) for one sample"


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of (N, C, H, W) or (C, H, W); see `tensorgrad.nn.functional.instance_norm`.

    Arguments as in BatchNorm2d; without affine and track_running_stats, unless asked for.

    >>> import tensorgrad
    >>> InstanceNorm2d(6)(tensorgrad.rand(2, 6, 14, 14)).shape
    (2, 6, 14, 14)
    """

    dimensions = (3, 4)
    layouts = "(N, C, H, W), or (C, H, W) for one sample"


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (N, C, D, H, W) or (C, D, H, W); arguments as in InstanceNorm2d."""

    dimensions = (4, 5)
    layouts = "(N, C, D, H, W), or (C, D, H, W) for one sample"
