"""Rows: convolution: stride, padding (top, bottom, left, right), dilation, groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from backend import oracles  # tests/backend/oracles.py
from ops.rows.table import channels_last, reseed, row, signed

from tensorgrad.primitive import tape

reseed(__name__)

CONVOLUTIONS = [
    ("plain", (2, 2, 4, 4), (3, 2, 3, 3), ((1, 1), (0, 0, 0, 0), (1, 1), 1)),
    ("padded", (1, 2, 3, 4), (2, 2, 3, 2), ((1, 1), (1, 0, 0, 2), (1, 1), 1)),
    ("stride", (2, 1, 5, 4), (2, 1, 2, 3), ((2, 1), (1, 1, 1, 1), (1, 1), 1)),
    ("dilation", (1, 1, 5, 5), (1, 1, 2, 2), ((1, 2), (0, 0, 1, 1), (2, 3), 1)),
    ("groups", (1, 4, 3, 3), (2, 2, 2, 2), ((1, 1), (0, 0, 0, 0), (1, 1), 2)),
    ("depthwise", (2, 2, 3, 3), (4, 1, 2, 2), ((1, 1), (1, 1, 1, 1), (1, 1), 2)),
    ("pointwise", (2, 3, 2, 2), (2, 3, 1, 1), ((1, 1), (0, 0, 0, 0), (1, 1), 1)),
    ("pointwise-stride", (1, 2, 3, 3), (2, 2, 1, 1), ((2, 2), (0, 0, 0, 0), (1, 1), 1)),
    ("whole-image", (2, 2, 3, 3), (2, 2, 3, 3), ((1, 1), (0, 0, 0, 0), (1, 1), 1)),
    ("unreached", (1, 1, 4, 4), (1, 1, 1, 1), ((3, 3), (0, 0, 0, 0), (1, 1), 1)),
]


def _torch_conv2d(torch: Any, x: Any, w: Any, settings: Any) -> Any:
    stride, (top, bottom, left, right), dilation, groups = settings
    padded = torch.nn.functional.pad(x, (left, right, top, bottom))
    return torch.nn.functional.conv2d(padded, w, None, stride, 0, dilation, groups)


for _note, _shape_x, _shape_w, _settings in CONVOLUTIONS:
    _size = oracles.output_size(_shape_x, _shape_w[2:], *_settings[:3])
    _dz_shape = (_shape_x[0], _shape_w[0], *_size)
    row(
        "Conv2d",
        _note,
        lambda x, w, s=_settings: tape.conv2d(x, w, *s),
        [signed(*_shape_x), signed(*_shape_w)],
        lambda x, w, s=_settings: oracles.conv2d(x, w, *s),
        oracle=lambda torch, x, w, s=_settings: _torch_conv2d(torch, x, w, s),
    )
    row(
        "Conv2dBias",
        _note,
        lambda x, w, b, s=_settings: tape.conv2d_bias(x, w, b, *s),
        [signed(*_shape_x), signed(*_shape_w), signed(_shape_w[0])],
        lambda x, w, b, s=_settings: oracles.conv2d(x, w, *s) + b.reshape(-1, 1, 1),
        oracle=lambda torch, x, w, b, s=_settings: _torch_conv2d(torch, x, w, s) + b.reshape(-1, 1, 1),
    )
    row(
        "Conv2dBiasRelu",
        _note,
        lambda x, w, b, s=_settings: tape.conv2d_bias_relu(x, w, b, *s),
        [signed(*_shape_x), signed(*_shape_w), signed(_shape_w[0])],
        lambda x, w, b, s=_settings: np.maximum(oracles.conv2d(x, w, *s) + b.reshape(-1, 1, 1), 0),
        oracle=lambda torch, x, w, b, s=_settings: torch.relu(_torch_conv2d(torch, x, w, s) + b.reshape(-1, 1, 1)),
    )
    row(
        "Conv2dInputGrad",
        _note,
        lambda dz, w, n=_shape_x[2:], s=_settings: tape.conv2d_input_grad(dz, w, n, *s),
        [signed(*_dz_shape), signed(*_shape_w)],
        lambda dz, w, n=_shape_x[2:], s=_settings: oracles.conv2d_input_grad(dz, w, n, *s),
    )
    row(
        "Conv2dWeightGrad",
        _note,
        lambda dz, x, n=_shape_w[2:], s=_settings: tape.conv2d_weight_grad(dz, x, n, *s),
        [signed(*_dz_shape), signed(*_shape_x)],
        lambda dz, x, n=_shape_w[2:], s=_settings: oracles.conv2d_weight_grad(dz, x, n, *s),
    )
row(
    "Conv2d",
    "channels-last",
    lambda x, w: tape.conv2d(x, w, (1, 1), (1, 1, 1, 1), (1, 1), 1),
    [channels_last(signed(2, 3, 3, 3)), signed(2, 3, 3, 3)],
    lambda x, w: oracles.conv2d(x, w, (1, 1), (1, 1, 1, 1), (1, 1), 1),
)
