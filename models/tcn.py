"""TCN: S. Bai, J. Z. Kolter, V. Koltun, "An Empirical Evaluation of Generic Convolutional and Recurrent Networks for
Sequence Modeling", 2018 (arXiv:1803.01271).

Convolutions over time that see only the past (padded on the left), each level with twice the dilation of the one before:

    level    0    1    2    3        two convolutions a level, so that an output sees
    dilation 1    2    4    8        1 + 2 (K - 1) (1 + 2 + 4 + 8) steps
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgrad import nn
from tensorgrad.errors import ArgumentError
from tensorgrad.models.build import builder
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.functional import pad
from tensorgrad.tensor import Tensor


class CausalConv1d(nn.Module):
    """A convolution over time in which an output sees no later input: (N, C, T) -> (N, out_channels, T).

    weight_norm  train length and direction of the kernels apart (Salimans & Kingma, 2016), as the paper does
    std          draw the kernels from a normal distribution; None for the layer's default
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilation: int = 1,
        weight_norm: bool = True,
        std: float | None = None,
    ) -> None:
        super().__init__()
        conv = nn.Conv1d(in_channels, out_channels, kernel_size, dilation=dilation)
        if nn.init.is_postponed():
            nn.init.zeros_(conv.weight)  # weight norm measures the kernels: they must be numbers
        elif std is not None:
            nn.init.normal_(conv.weight, 0.0, std)
        self.conv = nn.utils.parametrizations.weight_norm(conv) if weight_norm else conv
        self.past = (kernel_size - 1) * dilation

    def forward(self, x: Tensor) -> Any:
        return self.conv(pad(x, (self.past, 0)))


class TemporalBlock(nn.Module):
    """relu(F(x) + x), F two causal convolutions, each followed by ReLU and dropout; figure 1 (b).

    A 1x1 convolution brings x to F's channels where they differ.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilation: int,
        dropout: float = 0.2,
        weight_norm: bool = True,
        std: float | None = None,
    ) -> None:
        super().__init__()
        self.conv1 = CausalConv1d(in_channels, out_channels, kernel_size, dilation, weight_norm, std)
        self.conv2 = CausalConv1d(out_channels, out_channels, kernel_size, dilation, weight_norm, std)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout)
        self.downsample: Any = None
        if in_channels != out_channels:
            self.downsample = nn.Conv1d(in_channels, out_channels, 1)
            if std is not None and not nn.init.is_postponed():
                nn.init.normal_(self.downsample.weight, 0.0, std)

    def forward(self, x: Tensor) -> Any:
        z = self.dropout(self.relu(self.conv1(x)))
        z = self.dropout(self.relu(self.conv2(z)))
        return self.relu(z + (x if self.downsample is None else self.downsample(x)))


class TCN(nn.Module):
    """A temporal convolutional network, (N, in_channels, T) -> (N, num_outputs, T): an output for every step.

    channels     of each level; their number is that of the levels
    kernel_size  steps that a convolution sees
    dropout      after each convolution
    last_only    give (N, num_outputs), the output of the last step alone
    init_weights None, True, False: each layer's default, as the authors' program comes out with; 'paper': kernels of
                 deviation 0.01, with which weight norm starts slowly

    receptive_field is the number of steps that an output sees.

    >>> import tensorgrad
    >>> model = TCN(1, 5, channels=(8, 8, 8), kernel_size=3)
    >>> model(tensorgrad.zeros(2, 1, 40)).shape, model.receptive_field
    ((2, 5, 40), 29)
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_outputs: int = 10,
        channels: Sequence[int] = (25,) * 8,
        kernel_size: int = 7,
        dropout: float = 0.05,
        *,
        weight_norm: bool = True,
        last_only: bool = False,
        init_weights: bool | str | None = None,
    ) -> None:
        super().__init__()
        at_least("TCN", "kernel_size", kernel_size, 1)
        at_least("TCN", "num_outputs", num_outputs, 1)
        if not channels:
            raise ArgumentError("TCN: channels is empty; it must say how many channels each level has")
        if init_weights not in (None, True, False, "paper"):
            raise ArgumentError(f"TCN: init_weights is {init_weights!r}; it must be None, True, False or 'paper'")
        std = 0.01 if init_weights == "paper" else None
        self.receptive_field = 1 + 2 * (kernel_size - 1) * (2 ** len(channels) - 1)
        self.last_only = last_only
        levels: list[nn.Module] = []
        before = in_channels
        for level, width in enumerate(channels):
            levels.append(TemporalBlock(before, width, kernel_size, 2**level, dropout, weight_norm, std))
            before = width
        self.network = nn.Sequential(*levels)  # (N, C, T)
        self.linear = nn.Linear(before, num_outputs)

    def forward(self, x: Tensor) -> Any:
        z = self.network(x)
        if self.last_only:
            return self.linear(z[:, :, -1])  # (N, C) -> (N, num_outputs)
        return self.linear(z.transpose(1, 2)).transpose(1, 2)  # by channels: (N, T, C) -> (N, T, num_outputs)


tcn = builder("tcn", TCN, "A temporal convolutional network, (N, 1, T) -> (N, 10, T); Bai et al., 2018.")
