"""Convolution, pooling, normalisation, resizing and borders in one, two and three dimensions against PyTorch: results,
gradients of inputs and parameters, names, buffers, repr."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nn_oracle import compare_functions, compare_layers, random

import tensorgrad as tg
import tensorgrad.nn as nn
import tensorgrad.nn.functional as F

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning"),  # PyTorch's own
]
torch = pytest.importorskip("torch")

both_dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])

LINES, IMAGES, VOLUMES = (2, 4, 9), (2, 4, 7, 8), (2, 4, 5, 6, 7)
BATCHES = {1: LINES, 2: IMAGES, 3: VOLUMES}

LAYERS = {
    # name: (class, arguments, settings, shape of the input)
    "conv 1d": ("Conv1d", (4, 6, 3), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}, LINES),
    "conv 1d, one line": ("Conv1d", (4, 6, 3), {"padding": "same", "bias": False}, (4, 9)),
    "conv 1d, circular": ("Conv1d", (4, 6, 3), {"padding": 2, "padding_mode": "circular"}, LINES),
    "conv 2d, asymmetric": ("Conv2d", (4, 6, (1, 7)), {"padding": (0, 3)}, IMAGES),
    "conv 2d, wide padding": ("Conv2d", (4, 2, 1), {"padding": 2, "stride": 3}, IMAGES),
    "conv 3d": ("Conv3d", (4, 6, (2, 3, 1)), {"stride": (1, 2, 1), "padding": (2, 1, 0), "groups": 2}, VOLUMES),
    "conv 3d, dilation": ("Conv3d", (4, 3, 2), {"dilation": (2, 1, 3), "stride": (2, 1, 1)}, VOLUMES),
    "conv 3d, one volume": ("Conv3d", (4, 6, (4, 3, 2)), {"padding": "same", "bias": False}, (4, 5, 6, 7)),
    "conv 3d, replicate": ("Conv3d", (4, 2, 3), {"padding": (1, 0, 2), "padding_mode": "replicate"}, VOLUMES),
    "transposed 1d": ("ConvTranspose1d", (4, 6, 3), {"stride": 3, "padding": 1, "output_padding": 2}, LINES),
    "transposed 2d": ("ConvTranspose2d", (4, 6, (3, 2)), {"stride": 2, "padding": (1, 0), "groups": 2}, (2, 4, 3, 4)),
    "transposed 2d, zeros beyond": ("ConvTranspose2d", (4, 2, 2), {"dilation": 4, "output_padding": 3}, (2, 4, 3, 4)),
    "transposed 2d, one image": ("ConvTranspose2d", (4, 2, 3), {"bias": False}, (4, 3, 4)),
    "transposed 3d": (
        "ConvTranspose3d",
        (4, 6, (3, 2, 3)),
        {"stride": (2, 1, 2), "padding": (1, 0, 1), "output_padding": (1, 0, 1), "groups": 2},
        (2, 4, 3, 4, 3),
    ),
    "max pool 1d": ("MaxPool1d", (3,), {"stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}, LINES),
    "max pool 1d, indices": ("MaxPool1d", (3,), {"return_indices": True}, (4, 9)),
    "max pool 3d": ("MaxPool3d", ((2, 3, 2),), {"stride": (1, 2, 2), "padding": 1, "ceil_mode": True}, VOLUMES),
    "max pool 3d, indices": ("MaxPool3d", (3,), {"stride": 2, "return_indices": True, "dilation": (2, 1, 1)}, VOLUMES),
    "average pool 1d": ("AvgPool1d", (3, 2, 1), {"ceil_mode": True}, LINES),
    "average pool 1d, no pad": ("AvgPool1d", (3, 2, 1), {"count_include_pad": False}, (4, 9)),
    "average pool 3d": ("AvgPool3d", (3, 2, 1), {"ceil_mode": True}, VOLUMES),
    "average pool 3d, no pad": ("AvgPool3d", ((2, 3, 3), 2, (1, 1, 0)), {"count_include_pad": False}, VOLUMES),
    "average pool 3d, divisor": ("AvgPool3d", (2,), {"divisor_override": 3}, (4, 5, 6, 7)),
    "l2 pool 1d": ("LPPool1d", (2, 3), {"stride": 2}, LINES),
    "l2 pool 2d": ("LPPool2d", (2, (3, 2)), {"ceil_mode": True}, IMAGES),
    "l2 pool 3d": ("LPPool3d", (2, 2), {}, VOLUMES),
    "adaptive average 1d": ("AdaptiveAvgPool1d", (4,), {}, LINES),
    "adaptive average 2d": ("AdaptiveAvgPool2d", ((3, None),), {}, IMAGES),
    "adaptive average 2d, global": ("AdaptiveAvgPool2d", (1,), {}, IMAGES),
    "adaptive average 2d, larger": ("AdaptiveAvgPool2d", ((9, 5),), {}, (4, 7, 8)),
    "adaptive average 3d": ("AdaptiveAvgPool3d", ((2, 3, 7),), {}, VOLUMES),
    "adaptive max 1d": ("AdaptiveMaxPool1d", (4,), {"return_indices": True}, LINES),
    "adaptive max 2d": ("AdaptiveMaxPool2d", ((3, None),), {"return_indices": True}, IMAGES),
    "adaptive max 2d, global": ("AdaptiveMaxPool2d", (1,), {}, (4, 7, 8)),
    "adaptive max 3d": ("AdaptiveMaxPool3d", ((2, 3, 5),), {"return_indices": True}, VOLUMES),
    "batch norm 3d": ("BatchNorm3d", (4,), {}, VOLUMES),
    "group norm": ("GroupNorm", (2, 4), {}, IMAGES),
    "group norm, plain": ("GroupNorm", (4, 4), {"affine": False, "eps": 1e-3}, LINES),
    "group norm, vectors": ("GroupNorm", (2, 4), {"bias": False}, (3, 4)),
    "layer norm": ("LayerNorm", (8,), {}, IMAGES),
    "layer norm, images": ("LayerNorm", ((4, 7, 8),), {"bias": False}, IMAGES),
    "layer norm, plain": ("LayerNorm", (9,), {"elementwise_affine": False, "eps": 1e-3}, LINES),
    "rms norm": ("RMSNorm", (8,), {}, IMAGES),
    "rms norm, plain": ("RMSNorm", ((7, 8),), {"eps": 1e-3, "elementwise_affine": False}, IMAGES),
    "instance norm 1d": ("InstanceNorm1d", (4,), {"affine": True}, LINES),
    "instance norm 1d, one line": ("InstanceNorm1d", (4,), {"track_running_stats": True}, (4, 9)),
    "instance norm 2d": ("InstanceNorm2d", (4,), {"affine": True, "track_running_stats": True}, IMAGES),
    "instance norm 3d": (
        "InstanceNorm3d",
        (4,),
        {"momentum": 0.3, "eps": 1e-3, "affine": True, "bias": False},
        VOLUMES,
    ),
    "local response": ("LocalResponseNorm", (5,), {"alpha": 0.5, "k": 2.0}, IMAGES),
    "local response, even": ("LocalResponseNorm", (2,), {"alpha": 0.5, "beta": 0.3}, (2, 6, 5)),
    "unfold": ("Unfold", ((2, 3),), {"dilation": 2, "padding": (2, 1), "stride": (1, 2)}, IMAGES),
    "fold": ("Fold", ((5, 6), 2), {"padding": 1, "stride": (2, 1)}, (2, 12, 21)),
    "upsample": ("Upsample", (), {"scale_factor": 2}, IMAGES),
    "upsample, size": ("Upsample", ((9, 5),), {"mode": "bilinear"}, IMAGES),
    "upsample, cubic": ("Upsample", (), {"scale_factor": (1.7, 0.6), "mode": "bicubic", "align_corners": True}, IMAGES),
    "upsample, lines": ("Upsample", (), {"scale_factor": 1.3, "mode": "linear"}, LINES),
    "upsample, volumes": ("Upsample", (7,), {"mode": "trilinear", "align_corners": True}, VOLUMES),
    "upsample, nearest 2d": ("UpsamplingNearest2d", (), {"scale_factor": 3}, IMAGES),
    "upsample, bilinear 2d": ("UpsamplingBilinear2d", (), {"scale_factor": 2}, IMAGES),
    "pixel shuffle": ("PixelShuffle", (2,), {}, (2, 8, 3, 4)),
    "pixel unshuffle": ("PixelUnshuffle", (2,), {}, (3, 4, 6)),
    "channel shuffle": ("ChannelShuffle", (2,), {}, IMAGES),
    **{
        f"{kind.lower()} pad {n}d": (f"{kind}Pad{n}d", ((2, 1, 0, 3, 1, 2)[: 2 * n],), {}, BATCHES[n])
        for kind in ("Zero", "Reflection", "Replication", "Circular")
        for n in (1, 2, 3)
    },
    **{f"constant pad {n}d": (f"ConstantPad{n}d", (2, 1.5), {}, BATCHES[n][1:]) for n in (1, 2, 3)},
    "crop": ("ZeroPad2d", ((-1, 2, 0, -2),), {}, IMAGES),
    "dropout of nothing, lines": ("Dropout1d", (0.0,), {}, LINES),
    "dropout of everything, images": ("Dropout2d", (1.0,), {}, IMAGES),
    "dropout of everything, volumes": ("Dropout3d", (1.0, True), {}, VOLUMES),
    "alpha dropout of nothing": ("AlphaDropout", (0.0,), {}, LINES),
    "alpha dropout of everything": ("AlphaDropout", (1.0,), {}, LINES),
    "feature alpha dropout of everything": ("FeatureAlphaDropout", (1.0,), {}, IMAGES),
    "relu6": ("ReLU6", (), {}, LINES),
}


def build(name):
    kind, arguments, options, shape = LAYERS[name]
    ours, theirs = getattr(nn, kind)(*arguments, **options), getattr(torch.nn, kind)(*arguments, **options)
    with torch.no_grad():
        for position, parameter in enumerate(theirs.parameters()):
            parameter.copy_(torch.tensor(random(*parameter.shape, seed=position + 2).astype("float32")))
    return ours, theirs, shape


@both_dtypes
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name, dtype):
    ours, theirs, shape = build(name)
    x = 3 * random(*shape) if name == "relu6" else random(*shape)
    if "everything" in name:  # in place, a leaf will not do
        compare_functions(lambda x: ours(x * 1.0), lambda x: theirs(x * 1.0), [x], dtype)
        assert repr(ours) == repr(theirs)
    else:
        compare_layers(ours, theirs, x, dtype, times=3 if "norm" in name else 1)


@pytest.mark.parametrize("name", [name for name in LAYERS if "norm" in name])
def test_norms_in_evaluation(name):
    ours, theirs, shape = build(name)
    theirs(torch.tensor(random(*shape, seed=8, dtype="float32")))
    compare_layers(ours, theirs, random(*shape), training=False)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_unpooling_undoes_pooling(n):
    x = random(*BATCHES[n])

    def there_and_back(module):
        pool = getattr(module, f"MaxPool{n}d")(3, 2, return_indices=True)
        unpool = getattr(module, f"MaxUnpool{n}d")(3, 2)
        return lambda x: unpool(*pool(x), output_size=x.shape)

    compare_functions(there_and_back(nn), there_and_back(torch.nn), [x])
    assert repr(getattr(nn, f"MaxUnpool{n}d")(3, 2, 1)) == repr(getattr(torch.nn, f"MaxUnpool{n}d")(3, 2, 1))


@pytest.mark.parametrize("size", [(14, 15), (13, 16), (2, 6, 13, 15)])
def test_a_transposed_convolution_of_a_given_size(size):
    x = random(2, 4, 7, 8)
    ours, theirs = (module.ConvTranspose2d(4, 6, 3, stride=2, padding=1) for module in (nn, torch.nn))
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    z, expected = ours(tg.tensor(x, dtype=tg.float32), size), theirs(torch.tensor(x, dtype=torch.float32), size)
    np.testing.assert_allclose(z.detach().numpy(), expected.detach().numpy(), rtol=1e-4, atol=1e-5)


# any shapes and settings

ANY = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def windows(draw, pooling=False):
    """An input's lengths with a kernel, stride, padding and dilation, each a number for every axis."""
    count = draw(st.integers(1, 3))

    def numbers(low, high):
        return tuple(draw(st.integers(low, high)) for _ in range(count))

    kernel, stride, dilation = numbers(1, 3), numbers(1, 3), numbers(1, 2)
    padding = tuple(draw(st.integers(0, k // 2 if pooling else 3)) for k in kernel)
    spans = [(k - 1) * d + 1 - 2 * p for k, d, p in zip(kernel, dilation, padding)]
    # PyTorch's avg_pool3d wants an input that the kernel fits into without the padding
    least = kernel if pooling else (1,) * count
    lengths = tuple(max(low, span) + draw(st.integers(0, 3)) for low, span in zip(least, spans))
    return lengths, kernel, stride, padding, dilation


@ANY
@given(windows(), st.integers(0, 2), st.integers(1, 2), st.integers(1, 2))
def test_any_convolution(window, samples, groups, width):
    lengths, kernel, stride, padding, dilation = window
    name = f"conv{len(kernel)}d"
    x, w = random(samples, 2 * groups, *lengths), random(width * groups, 2, *kernel, seed=1)
    b = random(width * groups, seed=2)
    compare_functions(
        lambda *xs: getattr(F, name)(*xs, stride, padding, dilation, groups),
        lambda *xs: getattr(torch.nn.functional, name)(*xs, stride, padding, dilation, groups),
        [x, w, b],
    )


@ANY
@given(windows(), st.data(), st.integers(1, 2))
def test_any_transposed_convolution(window, data, groups):
    _, kernel, stride, padding, dilation = window
    more = tuple(data.draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation))
    lengths = tuple(data.draw(st.integers(1 + 2 * p, 2 + 2 * p)) for p in padding)
    name = f"conv_transpose{len(kernel)}d"
    x, w = random(2, 2 * groups, *lengths), random(2 * groups, 3, *kernel, seed=1)
    compare_functions(
        lambda *xs: getattr(F, name)(*xs, None, stride, padding, more, groups, dilation),
        lambda *xs: getattr(torch.nn.functional, name)(*xs, None, stride, padding, more, groups, dilation),
        [x, w],
    )


@ANY
@given(windows(pooling=True), st.booleans(), st.booleans())
def test_any_pooling(window, ceil_mode, count_include_pad):
    lengths, kernel, stride, padding, dilation = window
    name = f"pool{len(kernel)}d"
    x = np.round(2 * random(2, 2, *lengths))  # with ties
    compare_functions(
        lambda x: getattr(F, f"max_{name}")(x, kernel, stride, padding, dilation, ceil_mode, True),
        lambda x: getattr(torch.nn.functional, f"max_{name}")(x, kernel, stride, padding, dilation, ceil_mode, True),
        [x],
    )
    if max(dilation) == 1:
        compare_functions(
            lambda x: getattr(F, f"avg_{name}")(x, kernel, stride, padding, ceil_mode, count_include_pad),
            lambda x: getattr(torch.nn.functional, f"avg_{name}")(
                x, kernel, stride, padding, ceil_mode, count_include_pad
            ),
            [x],
        )


@ANY
@given(
    st.lists(st.tuples(st.integers(1, 7), st.integers(1, 9)), min_size=1, max_size=3),
    st.sampled_from(["nearest", "nearest-exact", "area", "linear", "cubic"]),
    st.booleans(),
    st.booleans(),
)
def test_any_resizing(lengths, mode, align_corners, antialias):
    before, after = [a for a, _ in lengths], [b for _, b in lengths]
    options = {"size": after, "mode": mode}
    if mode in ("linear", "cubic"):
        options["mode"] = {"linear": ["linear", "bilinear", "trilinear"][len(after) - 1], "cubic": "bicubic"}[mode]
        options["align_corners"] = align_corners
        if mode == "cubic":
            before, options["size"] = (before * 2)[:2], (after * 2)[:2]
        # with one column PyTorch's antialiasing repeats the first row
        options["antialias"] = antialias and len(before) == 2 and min(before) > 1
    compare_functions(
        lambda x: F.interpolate(x, **options),
        lambda x: torch.nn.functional.interpolate(x, **options),
        [random(2, 2, *before)],
    )


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode, n", [("bilinear", 2), ("nearest", 2), ("bicubic", 2), ("bilinear", 3), ("nearest", 3)])
def test_grid_sample(mode, n, padding_mode, align_corners):
    grid = 1.5 * random(2, *(3, 4, 2)[:n], n, seed=1)
    grid[0, 0, 0, 0] = 7.3  # far outside
    arguments = (mode, padding_mode, align_corners)
    compare_functions(
        lambda x, g: F.grid_sample(x, g, *arguments),
        lambda x, g: torch.nn.functional.grid_sample(x, g, *arguments),
        [random(*BATCHES[n]), grid],
    )


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 1, 3, 2, 4)])
def test_affine_grid(size, align_corners):
    n = len(size) - 2
    compare_functions(
        lambda theta: F.affine_grid(theta, size, align_corners),
        lambda theta: torch.nn.functional.affine_grid(theta, size, align_corners),
        [random(2, n, n + 1)],
    )


# weights computed from others


@pytest.mark.parametrize("dim", [0, 1, None])
@pytest.mark.parametrize("form", ["old", "new"])
def test_weight_norm(form, dim):
    def normalised(module):
        layer = module.Conv2d(3, 4, 3)
        if form == "old":
            return module.utils.weight_norm(layer, dim=dim)
        return module.utils.parametrizations.weight_norm(layer, dim=dim)

    import warnings

    ours = normalised(nn)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own: the old form is deprecated
        theirs = normalised(torch.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    x = random(2, 3, 5, 5, dtype="float32")
    compare_functions(ours, theirs, [x], "float32")
    for name, parameter in theirs.named_parameters():
        found = ours.get_parameter(name).grad.numpy()
        np.testing.assert_allclose(found, parameter.grad.numpy(), rtol=2e-4, atol=1e-4, err_msg=name)
