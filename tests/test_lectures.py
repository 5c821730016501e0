"""Numbers worked out by hand in lecture notes on convolutional networks: convolution, its gradients, pooling, sizes."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.nn import functional as F

EDGES = [[1, 0, -1]] * 3
BLUR_5 = [[1, 4, 7, 4, 1], [4, 16, 26, 16, 4], [7, 26, 41, 26, 7], [4, 16, 26, 16, 4], [1, 4, 7, 4, 1]]


def plane(values, **settings):
    """A picture or a filter: one image, one channel."""
    return tg.tensor(np.array(values, np.float64)[None, None], **settings)


def test_vertical_edges():
    picture = [
        [3, 0, 1, 2, 4, 7],
        [1, 5, 8, 9, 3, 1],
        [2, 7, 2, 5, 1, 3],
        [0, 1, 3, 1, 7, 8],
        [4, 2, 1, 6, 2, 8],
        [2, 4, 5, 2, 3, 9],
    ]
    expected = [[-5, -4, 3, 5], [-10, -2, 2, 3], [0, -2, -4, -7], [-3, -2, -3, -16]]
    assert F.conv2d(plane(picture), plane(EDGES))[0, 0].tolist() == expected


def test_stride_2():
    rows = [[2, 3, 7, 4, 6, 2, 9], [6, 6, 9, 8, 7, 4, 3], [3, 4, 8, 3, 8, 9, 7]]
    z = F.conv2d(plane(rows), plane([[3, 4, 4], [1, 0, 2], [-1, 0, 3]]), stride=2)
    assert z[0, 0].tolist() == [[91, 100, 88]]


def test_channels_and_bias_add_up():
    """Three channels whose sums are 308, -498 and 164, and a bias of 1, give -25."""
    x = tg.ones(1, 3, 1, 1)
    w = tg.tensor([308.0, -498.0, 164.0]).reshape(1, 3, 1, 1)
    assert F.conv2d(x, w, tg.tensor([1.0])).item() == -25


def test_the_gradients_are_convolutions():
    """dF = X * dO, and dX is the full convolution of dO with F turned by 180 degrees."""
    x, f = plane(np.arange(9).reshape(3, 3), requires_grad=True), plane([[1, 2], [3, 4]], requires_grad=True)
    do = np.array([[1.0, -2.0], [0.5, 3.0]])
    F.conv2d(x, f).backward(plane(do))
    df = F.conv2d(x.detach(), plane(do))
    dx = F.conv2d(plane(np.pad(do, 1)), plane(f.detach().array[0, 0, ::-1, ::-1]))
    assert np.array_equal(f.grad.array, df.array)
    assert np.array_equal(x.grad.array, dx.array)
    # the entry that one page of the notes misprints: dE/dX23 = dO12 F22 + dO22 F12
    assert x.grad[0, 0, 1, 2].item() == do[0, 1] * 4 + do[1, 1] * 2


def test_max_pooling_sends_all_to_the_winner():
    x = plane([[1, 2, 5, 3], [4, 0, 1, 2], [7, 8, 1, 1], [3, 2, 1, 6]], requires_grad=True)
    F.max_pool2d(x, 2).backward(plane([[10, 20], [30, 40]]))
    expected = [[0, 0, 20, 0], [10, 0, 0, 0], [0, 30, 0, 0], [0, 0, 0, 40]]
    assert x.grad[0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "expected"),
    [
        (7, 3, 1, 0, 5),
        (7, 3, 2, 0, 3),
        (7, 3, 3, 0, 2),
        (7, 3, 1, 1, 7),
        (9, 5, 1, 2, 9),
        (9, 7, 1, 3, 9),
        (227, 11, 4, 0, 55),
    ],
)
def test_output_size(size, kernel, stride, padding, expected):
    """floor((N + 2 P - F) / S) + 1"""
    z = F.conv2d(tg.zeros(1, 1, size, size), tg.zeros(1, 1, kernel, kernel), stride=stride, padding=padding)
    assert z.shape == (1, 1, expected, expected)


@pytest.mark.parametrize(
    ("layer", "shape", "expected", "parameters"),
    [
        (lambda: nn.Conv2d(3, 6, 5), (1, 3, 32, 32), (1, 6, 28, 28), 456),
        (lambda: nn.Conv2d(3, 10, 5, padding=2), (1, 3, 32, 32), (1, 10, 32, 32), 760),
        (lambda: nn.Conv2d(3, 96, 11, stride=4), (1, 3, 227, 227), (1, 96, 55, 55), 34_944),
        (lambda: nn.MaxPool2d(3, stride=2), (1, 96, 55, 55), (1, 96, 27, 27), 0),
        (lambda: nn.MaxPool2d(2, stride=2), (1, 64, 224, 224), (1, 64, 112, 112), 0),
        (lambda: nn.Conv2d(64, 32, 1), (1, 64, 56, 56), (1, 32, 56, 56), 64 * 32 + 32),
    ],
)
def test_layers_of_the_notes(layer, shape, expected, parameters):
    module = layer()
    assert module(tg.zeros(*shape)).shape == expected
    assert sum(p.numel() for p in module.parameters()) == parameters


def test_groups_are_convolutions_side_by_side():
    x, w = tg.randn(2, 4, 6, 6), tg.randn(6, 2, 3, 3)
    halves = [F.conv2d(x[:, :2], w[:3]), F.conv2d(x[:, 2:], w[3:])]
    assert np.allclose(F.conv2d(x, w, groups=2).array, tg.cat(halves, 1).array, atol=1e-5)


def test_the_last_region_counts_in_ceil_mode():
    """Width 3, stride 2 over 6: the right-most region is smaller, and must be there if no detector is to be ignored."""
    x = tg.arange(6, dtype=tg.float32).reshape(1, 1, 1, 6)
    assert F.max_pool2d(x, (1, 3), (1, 2)).tolist() == [[[[2.0, 4.0]]]]
    assert F.max_pool2d(x, (1, 3), (1, 2), ceil_mode=True).tolist() == [[[[2.0, 4.0, 5.0]]]]


def test_a_blur_keeps_a_flat_picture():
    z = F.conv2d(tg.ones(1, 1, 9, 9, dtype=tg.float64), plane(BLUR_5) / 273)
    assert np.allclose(z.array, 1)


def test_half_of_the_maxima_move_when_the_picture_does():
    """After a shift by one pixel every input changes, but only about half of the max-pooled outputs do."""
    values = np.random.default_rng(0).permutation(200).astype(np.float64)
    before = F.max_pool2d(plane([values[:-1]]), (1, 3), (1, 1))
    after = F.max_pool2d(plane([values[1:]]), (1, 3), (1, 1))
    changed = (before.array != after.array).mean()
    assert (values[:-1] != values[1:]).all()
    assert 0.3 < changed < 0.8


def test_a_derivative_is_a_matrix():
    """f: R^n -> R^m has the m-by-n Jacobian J[i, j] = df_i / dx_j."""
    w = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    jacobian = tg.autograd.jacobian(lambda x: w @ x, tg.zeros(3))
    assert jacobian.tolist() == w.tolist()
