"""Convolutions of random shapes, settings and layouts: float32 on whatever kernels are chosen, beside float64, which takes none
that is not exact."""

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn.functional as F

CASES = 160


def draw(random):
    """Shapes and settings of a convolution that exists and is no work to speak of."""
    while True:
        groups = int(random.choice([1, 1, 1, 1, 2, 4, 8, 32]))
        channels, features = (int(random.choice([1, 2, 3, 8, 16, 24, 33, 64, 96, 128, 256, 1024])) for _ in range(2))
        kernel = tuple(int(k) for k in random.choice([1, 3, 3, 3, 5, 7], 2))
        stride = int(random.choice([1, 1, 1, 2, 3]))
        dilation = int(random.choice([1, 1, 1, 2])) if stride == 1 else 1
        padding = tuple(int(random.integers(0, k)) for k in kernel)
        images = int(random.choice([1, 1, 2, 3, 8, 16]))
        size = tuple(int(n) for n in random.choice([3, 4, 5, 7, 8, 13, 14, 16, 28], 2))
        room = all(n + 2 * p > (k - 1) * dilation for n, p, k in zip(size, padding, kernel))
        weights = channels * features * groups * kernel[0] * kernel[1]
        if room and weights <= 2e6 and weights * images * size[0] * size[1] <= 2e8:
            x = (images, channels * groups, *size)
            return x, (features * groups, channels, *kernel), stride, padding, dilation, groups


@pytest.mark.parametrize("seed", range(CASES))
def test_random_convolution(seed):
    random = np.random.default_rng(seed)
    x_shape, w_shape, stride, padding, dilation, groups = draw(random)
    x, w, bias = random.standard_normal(x_shape), random.standard_normal(w_shape), random.standard_normal(w_shape[0])
    channels_last, biased = random.random() < 0.6, random.random() < 0.5
    results = []
    for dtype in (np.float32, np.float64):
        array = x.astype(dtype)
        if channels_last:
            array = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        inputs = [tg.Tensor(array, requires_grad=True), tg.Tensor(w.astype(dtype), requires_grad=True)]
        if biased:
            inputs.append(tg.Tensor(bias.astype(dtype), requires_grad=True))
        z = F.conv2d(*inputs, stride=stride, padding=padding, dilation=dilation, groups=groups)
        z.backward(tg.Tensor(np.random.default_rng(seed).standard_normal(z.shape).astype(dtype)))
        results.append([z.detach().numpy(), *(value.grad.numpy() for value in inputs)])
    for found, exact in zip(*results):
        assert np.abs(found - exact).max() <= 1e-4 * np.abs(exact).max()
