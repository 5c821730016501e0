"""Numbers worked out by hand in lecture notes on convolutional networks: convolution, its gradients, pooling, sizes."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import models, nn
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
    kernel = plane([[3, 4, 4], [1, 0, 2], [-1, 0, 3]])
    assert F.conv2d(plane(rows), kernel, stride=2)[0, 0].tolist() == [[91, 100, 88]]
    below = [rows[2][:3], [7, 8, 3], [4, 2, 1]]  # the notes work out the first window of the next row too
    assert F.conv2d(plane(below), kernel, stride=2).item() == 69


# red, green and blue of a corner whose border is 0, the filter's three channels, and what each of them sums to
THREE_CHANNELS = [
    ([[0, 0, 0], [0, 156, 155], [0, 153, 154]], [[-1, -1, 1], [0, 1, -1], [0, 1, 1]], 308),
    ([[0, 0, 0], [0, 167, 166], [0, 164, 165]], [[1, 0, 0], [1, -1, -1], [1, 0, -1]], -498),
    ([[0, 0, 0], [0, 163, 162], [0, 160, 161]], [[0, 1, 1], [0, 1, 0], [1, -1, 1]], 164),
]


def test_three_channels_and_a_bias():
    """The channels' sums and a bias of 1 give -25; the border of zeros is a padding of 1."""
    for picture, kernel, expected in THREE_CHANNELS:
        assert F.conv2d(plane(picture), plane(kernel)).item() == expected
    corner = np.array([[row[1:] for row in picture[1:]] for picture, _, _ in THREE_CHANNELS], np.float64)[None]
    kernels = np.array([kernel for _, kernel, _ in THREE_CHANNELS], np.float64)[None]
    z = F.conv2d(tg.tensor(corner), tg.tensor(kernels), tg.ones(1, dtype=tg.float64), padding=1)
    assert z[0, 0, 0, 0].item() == -25


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
        (32, 5, 1, 0, 28),
        (28, 5, 1, 0, 24),  # 32, 28, 24: too fast a shrinking
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


SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
ALL_EDGES = [[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]]
BLUR_3 = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
SOBEL_X = [[1, 0, -1], [2, 0, -2], [1, 0, -1]]
SOBEL_Y = [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]


@pytest.mark.parametrize(
    ("kernel", "flat", "step"),
    [
        # what a flat picture of 1 gives; and what a step from 0 to 1, left to right, gives on its two sides
        (SHARPEN, 1, [-1, 2]),
        (ALL_EDGES, 0, [-3, 3]),
        (EDGES, 0, [-3, -3]),
        (SOBEL_X, 0, [-4, -4]),
        (SOBEL_Y, 0, [0, 0]),
        (BLUR_3, 16, [4, 12]),
    ],
    ids=["sharpen", "all edges", "vertical edges", "Sobel x", "Sobel y", "blur"],
)
def test_classic_kernels(kernel, flat, step):
    assert (F.conv2d(plane(np.ones((5, 5))), plane(kernel)) == flat).all().item()
    picture = np.repeat([[0, 0, 0, 1, 1, 1]], 3, 0)
    assert F.conv2d(plane(picture), plane(kernel))[0, 0, 0, 1:3].tolist() == step


def test_edge_strength_does_not_mind_the_direction():
    """sqrt(gx^2 + gy^2) of a slope of 3 to the right and 4 down: 8 times 5, as Sobel's weights sum to 8 on a slope of 1."""
    rows, columns = np.mgrid[:5, :5]
    x = plane(3 * columns + 4 * rows)
    strength = (F.conv2d(x, plane(SOBEL_X)) ** 2 + F.conv2d(x, plane(SOBEL_Y)) ** 2).sqrt()
    assert np.array_equal(strength.array, np.full((1, 1, 3, 3), 40.0))


def test_channel_and_filter_must_match():
    with pytest.raises(RuntimeError, match="channels"):
        F.conv2d(tg.zeros(1, 3, 8, 8), tg.zeros(6, 4, 3, 3))
    with pytest.raises(ValueError, match="groups"):
        nn.Conv2d(4, 6, 3, groups=4)


def test_each_channel_with_filters_of_its_own():
    """groups = in_channels: the second channel's outputs do not see the first."""
    x = tg.ones(1, 2, 3, 3)
    x[0, 0] = 100.0
    assert F.conv2d(x, tg.ones(2, 1, 3, 3), groups=2).flatten().tolist() == [900.0, 9.0]


def test_other_poolings():
    """Average, sum, the L2 norm, an average weighted by the distance from the centre, and the maximum over channels."""
    x = plane([[1, 2], [2, 4]])
    assert nn.AvgPool2d(2)(x).item() == 9 / 4
    assert nn.SumPool2d(2)(x).item() == 9
    assert nn.LPPool2d(2.0, 2)(x).item() == 5
    # weights 1 in the middle and 1/2, one pixel away, at both sides: of two in all
    assert nn.DistancePool2d((1, 3))(plane([[8, 16, 0]])).item() == (8 / 2 + 16) / 2
    channels = tg.tensor([[[[1.0, 5.0]], [[7.0, 2.0]]]])
    assert nn.Maxout(2)(channels).tolist() == [[[[7.0, 5.0]]]]
    assert F.max_pool2d(nn.Maxout(2)(channels), (1, 2)).item() == 7  # a window over the picture and all channels
    for layer in (nn.AvgPool2d(2), nn.SumPool2d(2), nn.LPPool2d(2.0, 2), nn.DistancePool2d(2), nn.Maxout(2)):
        assert list(layer.parameters()) == []


def test_regions_that_overlap_and_that_do_not():
    """(W - F) / S + 1 of each row; in overlapping regions one value may be the largest several times."""
    x = plane([[1, 9, 2, 3, 4]])
    assert F.max_pool2d(x, (1, 3), 1).flatten().tolist() == [9, 9, 4]
    assert F.max_pool2d(x, (1, 2), 2).flatten().tolist() == [9, 3]


def test_a_maximum_over_filters_does_not_see_the_tilt():
    """Three filters, each tuned to one tilt: each answers to its own only, their maximum to any."""
    strokes = np.stack([np.eye(3), np.eye(3)[::-1], [[0, 1, 0]] * 3])[:, None]
    answers = F.conv2d(tg.tensor(strokes), tg.tensor(strokes)).reshape(3, 3)
    assert answers.diagonal().tolist() == [3, 3, 3]
    assert (answers - 3 * tg.eye(3, dtype=tg.float64)).max().item() == 1  # the strokes share the pixel in the middle
    assert answers.max(1).values.tolist() == [3, 3, 3]


def test_three_small_layers_see_what_a_large_one_sees():
    """An impulse spreads to 7x7 under three 3x3 layers; their 3 (9 C^2) weights are 27/49 of a 7x7 layer's."""
    z = plane(np.pad([[1.0]], 5))
    for _ in range(3):
        z = F.conv2d(z, tg.ones(1, 1, 3, 3, dtype=tg.float64), padding=1)
    assert int((z[0, 0].sum(0) > 0).sum().item()) == 7
    three = sum(nn.Conv2d(64, 64, 3, bias=False).weight.numel() for _ in range(3))
    assert three * 49 == nn.Conv2d(64, 64, 7, bias=False).weight.numel() * 27


VGG16 = [
    # layer, values of its output, weights; the notes' table
    ("conv", 3_211_264, 1_728), ("conv", 3_211_264, 36_864), ("pool", 802_816, 0),
    ("conv", 1_605_632, 73_728), ("conv", 1_605_632, 147_456), ("pool", 401_408, 0),
    ("conv", 802_816, 294_912), ("conv", 802_816, 589_824), ("conv", 802_816, 589_824), ("pool", 200_704, 0),
    ("conv", 401_408, 1_179_648), ("conv", 401_408, 2_359_296), ("conv", 401_408, 2_359_296), ("pool", 100_352, 0),
    ("conv", 100_352, 2_359_296), ("conv", 100_352, 2_359_296), ("conv", 100_352, 2_359_296), ("pool", 25_088, 0),
    ("fc", 4_096, 102_760_448), ("fc", 4_096, 16_777_216), ("fc", 1_000, 4_096_000),
]  # fmt: skip


def test_the_table_of_vgg16():
    """Values and weights of each layer; in all 15,237,608 values (61 MB, not the 96 printed) and 138,344,128 weights."""
    with nn.init.postponed():
        model = models.vgg16()
    side, found = 224, []
    for layer in (*model.features, *model.classifier):
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
            found.append(("conv", channels * side**2, layer.weight.numel()))
            assert (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
        elif isinstance(layer, nn.MaxPool2d):
            side //= 2
            found.append(("pool", channels * side**2, 0))
        elif isinstance(layer, nn.Linear):
            found.append(("fc", layer.out_features, layer.weight.numel()))
    assert found == VGG16
    values = 3 * 224 * 224 + sum(row[1] for row in found)
    assert (values, round(4 * values / 1e6)) == (15_237_608, 61)
    assert sum(row[2] for row in found) == 138_344_128
    assert sum(p.numel() for p in model.parameters()) == 138_344_128 + 13_416


def test_resnet50_in_layers():
    """A 7x7 convolution, 48 in four groups of 3, 4, 6 and 3 blocks, and a linear layer: 50."""
    with nn.init.postponed():
        model = models.resnet50()
    blocks = [len(getattr(model, f"layer{i}")) for i in range(1, 5)]
    assert (blocks, 3 * sum(blocks) + 2) == ([3, 4, 6, 3], 50)
    assert model.conv1.kernel_size == (7, 7)
    assert sum(isinstance(m, nn.Linear) for m in model.modules()) == 1


def depth(module):
    """Layers with weights one after the other; of branches side by side the longest counts, a shortcut does not."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        return 1
    each = [depth(child) for name, child in module.named_children() if name != "downsample"]
    return max(each) if isinstance(module, nn.blocks.Inception) else sum(each)


@pytest.mark.parametrize(
    ("name", "layers", "linear"),
    [
        ("alexnet", 8, 3),
        ("alexnet_paper", 8, 3),
        ("vgg16", 16, 3),
        ("vgg19", 19, 3),
        ("googlenet", 22, 1),
        ("googlenet_paper", 22, 1),
        *((f"resnet{layers}", layers, 1) for layers in (18, 34, 50, 101, 152)),
        *((f"{kind}{layers}", layers, 1) for kind in ("plain", "resnet") for layers in (20, 56)),
    ],
)
def test_networks_have_the_layers_that_they_are_called_for(name, layers, linear):
    """And GoogLeNet and ResNet no linear layer but the classifier."""
    settings = {"aux_logits": False} if name.startswith("googlenet") else {}
    with nn.init.postponed():
        model = models.get_model(name, **settings)
    assert depth(model) == layers
    assert sum(isinstance(layer, nn.Linear) for layer in model.modules()) == linear


@pytest.mark.parametrize(
    ("name", "block", "channels"),
    [
        ("resnet34", nn.blocks.BasicBlock, [64, 128, 256, 512]),
        ("resnet50", nn.blocks.Bottleneck, [256, 512, 1024, 2048]),
    ],
)
def test_stages_have_twice_the_filters_at_half_the_size(name, block, channels):
    """Blocks of two 3x3 convolutions up to 34 layers, bottlenecks from 50 on."""
    with nn.init.postponed():
        model = models.get_model(name).eval()
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    assert {type(one) for stage in range(1, 5) for one in getattr(model, f"layer{stage}")} == {block}
    with tg.no_grad():
        shapes = [models.features(model, tg.zeros(1, 3, 64, 64), at=f"layer{stage}").shape for stage in range(1, 5)]
    assert shapes == [(1, count, side, side) for count, side in zip(channels, (16, 8, 4, 2), strict=True)]


def test_googlenet_is_the_smaller_one():
    """The notes say 5 million parameters, 12 times fewer than AlexNet; the paper's table gives 7.0, and 8.7 times."""
    with nn.init.postponed():
        sizes = [
            sum(p.numel() for p in model.parameters())
            for model in (models.alexnet_paper(), models.googlenet_paper(aux_logits=False))
        ]
    assert sizes == [60_965_224, 6_998_552]
    assert round(sizes[0] / sizes[1], 1) == 8.7


def test_identity_blocks_leave_a_deeper_network_as_it_was():
    """H(x) = F(x) + x with F = 0 hands on what a ReLU gave."""
    block = nn.blocks.BasicBlock(4, 4).eval()
    nn.init.zeros_(block.bn2.weight)
    x = tg.randn(2, 4, 5, 5).relu()
    assert np.array_equal(block(x).array, x.array)


def test_a_blur_keeps_a_flat_picture():
    z = F.conv2d(tg.ones(1, 1, 9, 9, dtype=tg.float64), plane(BLUR_5) / 273)
    assert np.allclose(z.array, 1)


def test_half_of_the_maxima_move_when_the_picture_does():
    """After a shift by one pixel every input changes, but only about half of the max-pooled outputs do."""
    values = np.random.default_rng(0).permutation(2000).astype(np.float64)
    before = F.max_pool2d(plane([values[:-1]]), (1, 3), (1, 1))
    after = F.max_pool2d(plane([values[1:]]), (1, 3), (1, 1))
    changed = (before.array != after.array).mean()
    assert (values[:-1] != values[1:]).all()
    assert 0.4 < changed < 0.6  # a half: two of the four values concerned lie at the ends


def test_a_derivative_is_a_matrix():
    """f: R^n -> R^m has the m-by-n Jacobian J[i, j] = df_i / dx_j; of a scalar it is the gradient in a row, of a scalar by
    a scalar the derivative."""
    w = tg.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    x = tg.tensor([1.0, -1.0, 2.0])
    assert tg.autograd.jacobian(lambda x: w @ x, x).tolist() == w.tolist()
    assert tg.autograd.jacobian(lambda x: (x**2).sum().reshape(1), x).tolist() == [[2.0, -2.0, 4.0]]
    assert tg.autograd.grad((x.requires_grad_() ** 2).sum(), x)[0].tolist() == [2.0, -2.0, 4.0]
    assert tg.autograd.jacobian(lambda x: x**3, tg.tensor(2.0)).item() == 12
