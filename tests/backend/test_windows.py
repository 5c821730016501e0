"""The geometry of windows against counting them one by one, and against PyTorch's sizes."""

from __future__ import annotations

import itertools
from typing import Any

import oracles
import pytest

from tensorgrad.backend.windows import Pair, chunks, output_length, output_size, reach, same_padding, taps
from tensorgrad.errors import ShapeError

#: size, kernel, stride, before, after, dilation, ceil_mode
AXES = [
    axis
    for axis in itertools.product(range(1, 8), (1, 2, 3), (1, 2, 3), (0, 1), (0, 1), (1, 2), (False, True))
    if axis[0] + axis[3] + axis[4] > (axis[1] - 1) * axis[5]  # a window fits
    and max(axis[3:5]) <= ((axis[1] - 1) * axis[5] + 1) // 2  # as pooling asks for
]


def test_output_length_counts_the_windows():
    assert len(AXES) > 500
    for axis in AXES:
        assert output_length(*axis) == oracles.output_length(*axis), axis


def test_reach_finds_the_positions_inside():
    for size, outputs, stride, offset in itertools.product(range(6), range(5), (1, 2, 3), range(-6, 9)):
        inside = [i for i in range(outputs) if 0 <= i * stride + offset < size]
        which, where = reach(size, outputs, stride, offset)
        assert list(range(outputs))[which] == inside
        assert list(range(size))[where] == [i * stride + offset for i in inside]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation"),
    [
        ((5, 6), (3, 2), (1, 2), (1, 0, 0, 2), (1, 1)),
        ((7, 4), (2, 3), (3, 1), (0, 0, 1, 1), (2, 1)),
        ((2, 3), (3, 3), (1, 1), (3, 3, 3, 3), (3, 3)),
    ],
)
def test_taps_cover_every_window_once(size: Pair, kernel: Pair, stride: Pair, padding: Any, dilation: Pair):
    shape = (1, 1, *size)
    outputs = output_size(size, kernel, stride, padding, dilation)
    wanted = {
        (i, j, k, l, h, w)
        for i, j, places in oracles.windows(shape, kernel, stride, padding, dilation, outputs)
        for k, l, h, w in places
    }
    found = []
    for tap in taps(size, kernel, stride, padding, dilation, outputs):
        assert tap.number == tap.row * kernel[1] + tap.column
        rows = zip(range(outputs[0])[tap.rows], range(size[0])[tap.input_rows], strict=True)
        columns = zip(range(outputs[1])[tap.columns], range(size[1])[tap.input_columns], strict=True)
        for (i, h), (j, w) in itertools.product(rows, list(columns)):
            found.append((i, j, tap.row, tap.column, h, w))
    assert len(found) == len(set(found))
    assert set(found) == wanted


def test_same_padding_keeps_the_size_and_puts_the_rest_last():
    for kernel, dilation in itertools.product(range(1, 6), range(1, 4)):
        top, bottom, left, right = same_padding((kernel, 1), (dilation, 1))
        assert (left, right) == (0, 0)
        assert bottom - top in (0, 1)
        assert output_length(9, kernel, 1, top, bottom, dilation, False) == 9
    assert same_padding((4, 3), (1, 2)) == (1, 2, 2, 2)


def test_chunks_cover_the_range():
    for count, size in itertools.product(range(7), range(-1, 9)):
        covered = [i for some in chunks(count, size) for i in range(count)[some]]
        assert covered == list(range(count))
        assert all(0 < some.stop - some.start <= max(1, size) for some in chunks(count, size))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ((3, 3), (0, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
            r"pool: kernel_size is \(0, 1\); each number must be at least 1",
        ),
        (((3, 3), (1, 1), (1, -1), (0, 0, 0, 0), (1, 1)), r"stride is \(1, -1\)"),
        (((3, 3), (1, 1), (1, 1), (0, 0, 0, 0), (0, 1)), r"dilation is \(0, 1\)"),
        (((3, 3), (1, 1), (1, 1), (0, 0, 0, -1), (1, 1)), r"padding is \(0, 0, 0, -1\)"),
        (
            ((3, 4), (2, 3), (1, 1), (0, 0, 1, 0), (3, 2)),
            r"spans \(4, 5\) .* padded input of \(3, 5\) \(input \(3, 4\)",
        ),
    ],
)
def test_says_what_does_not_fit(settings: Any, message: str):
    with pytest.raises(ShapeError, match=message):
        output_size(*settings, operation="pool")


@pytest.mark.oracle
def test_sizes_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    for size, kernel, stride, before, after, dilation, ceil_mode in AXES:
        if before != after:
            continue
        x = torch.zeros(1, 1, size)
        z = torch.nn.functional.max_pool1d(x, kernel, stride, before, dilation, ceil_mode)
        assert z.shape[2] == output_length(size, kernel, stride, before, after, dilation, ceil_mode)
