"""Parameters and multiply-accumulates of a network, counted without doing the work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn


def parameters(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


def multiply_accumulates(model: Any, *shape: int) -> int:
    """Those of convolutions and linear layers for an input of this shape.

    The layers are replaced by ones that count and give zeros of the right shape, so that sizes flow through the network
    as they do in earnest.
    """
    total = 0

    def zeros(*sizes: int) -> Any:
        return tg.Tensor(np.broadcast_to(np.float32(0), sizes))

    def conv(layer: Any, x: Any) -> Any:
        nonlocal total
        n, _, *lengths = x.shape
        border = (layer.padding,) * 2 if isinstance(layer.padding, int) else layer.padding
        out = [
            (length + 2 * p - d * (k - 1) - 1) // s + 1
            for length, p, d, k, s in zip(lengths, border, layer.dilation, layer.kernel_size, layer.stride)
        ]
        total += int(np.prod(out)) * int(np.prod(layer.weight.shape)) * n
        return zeros(n, layer.out_channels, *out)

    def linear(layer: Any, x: Any) -> Any:
        nonlocal total
        assert x.shape[-1] == layer.in_features
        total += layer.in_features * layer.out_features * int(np.prod(x.shape[:-1]))
        return zeros(*x.shape[:-1], layer.out_features)

    with pytest.MonkeyPatch.context() as patch, tg.no_grad():
        patch.setattr(nn.Conv2d, "forward", conv)
        patch.setattr(nn.Linear, "forward", linear)
        model(zeros(*shape))
    return total
