"""Parameters and multiply-accumulates of every network equal the published ones, and the papers', to the last digit."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from counting import multiply_accumulates, parameters

import tensorgrad as tg
from tensorgrad import models, nn
from tensorgrad.nn.arguments import pair


def empty(name, **settings):
    """A network without numbers in it."""
    with nn.init.postponed():
        return models.get_model(name, **settings)


def test_counting_by_hand():
    """Three 2x2 filters on two channels of 5x5, stride 2: 2x2 places of 3 x 2 x 4 products; then 12 x 7."""
    net = nn.Sequential(nn.Conv2d(2, 3, 2, stride=2), nn.Flatten(), nn.Linear(12, 7))
    assert multiply_accumulates(net, 1, 2, 5, 5) == 4 * 24 + 84
    assert parameters(net) == 27 + 91


# parameters, multiply-accumulates of a picture of 224x224 (None: the table does not say)
IMAGENET = {
    "alexnet": (61_100_840, 714_188_480),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg11_bn": (132_868_840, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg13_bn": (133_053_736, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg16_bn": (138_365_992, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "vgg19_bn": (143_678_248, 19_632_062_464),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "resnet50_v1": (25_557_032, 3_857_973_248),
    "resnet101_v1": (44_549_160, 7_570_194_432),
    "resnet152_v1": (60_192_808, 11_282_415_616),
    "plain18": (11_515_688, 1_794_805_760),
    "plain34": (21_623_848, 3_644_493_824),
    "zfnet": (62_357_608, 1_168_032_896),
    # parameters that torchvision states of its weights
    "densenet121": (7_978_856, None),
    "densenet161": (28_681_000, None),
    "densenet169": (14_149_480, None),
    "densenet201": (20_013_928, None),
    "mobilenet_v2": (3_504_872, None),
    "resnext50_32x4d": (25_028_904, None),
    "resnext101_32x8d": (88_791_336, None),
    "resnext101_64x4d": (83_455_272, None),
    "wide_resnet50_2": (68_883_240, None),
    "wide_resnet101_2": (126_886_696, None),
    "squeezenet1_0": (1_248_424, None),
    "squeezenet1_1": (1_235_496, None),
}


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet(name):
    model = empty(name)
    expected, work = IMAGENET[name]
    assert parameters(model) == expected
    if work is not None:
        assert multiply_accumulates(model.eval(), 1, 3, 224, 224) == work


@pytest.mark.parametrize(
    "depth, count", [(20, 269_722), (32, 464_154), (44, 658_586), (56, 853_018), (110, 1_727_962), (1202, 19_421_274)]
)
def test_cifar(depth, count):
    assert parameters(empty(f"resnet{depth}")) == count
    if depth <= 56:
        assert parameters(empty(f"plain{depth}")) == count


def test_googlenet():
    assert parameters(empty("googlenet")) == 13_004_888
    without = empty("googlenet", aux_logits=False).eval()
    assert parameters(without) == 6_624_904
    assert multiply_accumulates(without, 1, 3, 224, 224) == 1_498_376_192
    assert len(without.state_dict()) == 344


def test_googlenet_of_the_paper():
    assert parameters(empty("googlenet_paper")) == 13_378_280
    without = empty("googlenet_paper", aux_logits=False).eval()
    assert parameters(without) == 6_998_552
    assert round(multiply_accumulates(without, 1, 3, 224, 224) / 1e9, 3) == 1.583


def test_inception_v3():
    assert parameters(empty("inception_v3")) == 27_161_264  # as torchvision states
    assert parameters(empty("inception_v3", aux_logits=False)) == 23_834_568


@pytest.mark.parametrize(
    "settings, count, work",
    [
        ({}, 60_965_224, 724_406_816),
        ({"groups": 1}, 62_378_344, 1_135_256_096),
    ],
    ids=str,
)
def test_alexnet_of_the_paper(settings, count, work):
    model = empty("alexnet_paper", **settings).eval()
    assert parameters(model) == count
    assert multiply_accumulates(model, 1, 3, 227, 227) == work


def test_ablations_of_alexnet():
    """Without FC7 16 million parameters fewer; without conv3, conv4, FC6 and FC7 50 million fewer (the lectures)."""
    whole = parameters(empty("alexnet_paper"))
    assert whole - parameters(empty("alexnet_paper", without=["fc7"])) == 4096 * 4096 + 4096  # 16,781,312
    four = ["conv3", "conv4", "fc6", "fc7"]
    fewer = whole - parameters(empty("alexnet_paper", without=four))
    # conv3, conv4, fc6, fc7; conv5 sees 256 channels in place of 384, fc8 9216 values in place of 4096
    gone = 885_120 + 663_936 + 37_752_832 + 16_781_312
    assert fewer == gone + 256 * (192 - 128) * 9 - 1000 * (9216 - 4096)
    assert round(fewer / 1e6) == 51


@pytest.mark.parametrize(
    "settings, names",
    [
        ({}, "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5"),
        (
            {"norm": "after"},
            "conv1 relu1 pool1 norm1 conv2 relu2 pool2 norm2 conv3 relu3 conv4 relu4 conv5 relu5 pool5",
        ),
        ({"norm": None}, "conv1 relu1 pool1 conv2 relu2 pool2 conv3 relu3 conv4 relu4 conv5 relu5 pool5"),
        ({"without": ["conv3", "conv4"]}, "conv1 relu1 norm1 pool1 conv2 relu2 norm2 pool2 conv5 relu5 pool5"),
    ],
    ids=str,
)
def test_alexnets_layers_and_sides(settings, names):
    """The paper's order, the lectures', and an ablation's; 227 pixels become 55, 27, 13 and 6 in each of them."""
    model = empty("alexnet_paper", **settings).eval()
    assert " ".join(dict(model.features.named_children())) == names
    sides = []
    for layer in model.features:
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)):
            layer.register_forward_hook(lambda layer, args, z: sides.append(z.shape[-1]))
    multiply_accumulates(model, 1, 3, 227, 227)
    assert list(dict.fromkeys(sides)) == [55, 27, 13, 6]


@pytest.mark.parametrize("settings", [{"norm": "never"}, {"without": ["conv1"]}, {"groups": 3}], ids=str)
def test_forms_of_alexnet_that_are_not_there(settings):
    with pytest.raises(ValueError, match=f"PaperAlexNet: {next(iter(settings))} "):
        models.alexnet_paper(**settings)


def test_settings_of_the_papers_layers():
    """AlexNet: n = 5, k = 2, alpha = 1e-4 for each square, which PyTorch's formula divides by n; dropout 0.5 before FC6 and
    FC7. GoogLeNet: dropout 0.4, and 0.7 in its heads. ZFNet: as AlexNet, dropout after its first two linear layers."""
    alexnet, zfnet = empty("alexnet_paper"), empty("zfnet")
    for model in (alexnet, zfnet):
        norms = [layer for layer in model.modules() if isinstance(layer, nn.LocalResponseNorm)]
        assert [(n.size, n.k, n.alpha / n.size, n.beta) for n in norms] == [(5, 2.0, pytest.approx(1e-4), 0.75)] * 2
    assert list(dict(alexnet.classifier.named_children())) == "drop6 fc6 relu6 drop7 fc7 relu7 fc8".split()
    rates = {
        name: [layer.p for layer in empty(name).modules() if isinstance(layer, nn.Dropout)]
        for name in ("alexnet_paper", "zfnet", "googlenet_paper")
    }
    assert rates == {"alexnet_paper": [0.5, 0.5], "zfnet": [0.5, 0.5], "googlenet_paper": [0.7, 0.7, 0.4]}
    pools = [layer for layer in alexnet.features if isinstance(layer, nn.MaxPool2d)]
    assert all(pair("", "", layer.kernel_size) == (3, 3) for layer in pools)
    assert all(pair("", "", layer.stride) == (2, 2) for layer in pools)  # less than 3: they overlap


BAD_SETTINGS = [
    (lambda: models.VGG((1, 1)), ValueError, r"VGG: convolutions is \(1, 1\); it must be 5 numbers"),
    (lambda: models.VGG((1, 1, 1, 1, 1, 1)), ValueError, "VGG: convolutions is"),
    (lambda: models.VGG((1, 1, 0, 1, 1)), ValueError, "VGG: convolutions is"),
    (lambda: models.DenseNet(block_config=()), ValueError, "DenseNet: block_config is empty"),
    (lambda: models.mobilenet_v2(width_mult=-1.0), ValueError, "MobileNetV2: width_mult is -1.0; it must be positive"),
    (lambda: models.googlenet(blocks=[nn.Conv2d]), ValueError, "GoogLeNet: blocks are 1; they must be three"),
    (
        lambda: models.inception_v3(inception_blocks=[]),
        ValueError,
        "InceptionV3: inception_blocks are 0; they must be 7",
    ),
    (
        lambda: models.plain18(zero_init_residual=True),
        ValueError,
        "ResNet: zero_init_residual is True and residual is False",
    ),
    (lambda: models.resnet50(replace_stride_with_dilation=[True]), ValueError, "one answer for each but the first"),
    (lambda: models.resnet18(clases=10), TypeError, "unexpected keyword argument 'clases'"),
    (lambda: models.resnet18(10), TypeError, r"resnet18\(\) takes 0 positional arguments"),
]


@pytest.mark.parametrize("build, error, text", BAD_SETTINGS)
def test_settings_that_make_no_network(build, error, text):
    with nn.init.postponed(), pytest.raises(error, match=text):
        build()


def test_a_single_layer_left_out():
    assert parameters(empty("alexnet_paper", without="fc7")) == parameters(empty("alexnet_paper", without=["fc7"]))


def test_alexnets_first_layer():
    """The lectures' figures: 34,848 weights and 96 biases; without sharing 290,400 units of 364 numbers each."""
    conv1 = empty("alexnet_paper").features.conv1
    assert (conv1.weight.numel(), parameters(conv1)) == (34_848, 34_944)
    nn.init.zeros_(conv1.weight)
    nn.init.zeros_(conv1.bias)
    with tg.no_grad():
        units = conv1(tg.zeros(1, 3, 227, 227)).numel()
    assert (units, units * 364) == (290_400, 105_705_600)


def test_vgg16_layer_by_layer():
    """The lectures' table: values and weights of each stage, without biases."""
    model = empty("vgg16")
    weights = [p.numel() for name, p in model.named_parameters() if name.endswith("weight")]
    assert weights == [
        *(1_728, 36_864, 73_728, 147_456, 294_912, 589_824, 589_824, 1_179_648, 2_359_296, 2_359_296),
        *(2_359_296, 2_359_296, 2_359_296, 102_760_448, 16_777_216, 4_096_000),
    ]
    assert sum(weights) == 138_344_128
    assert parameters(model) - sum(weights) == 13_416


def test_state_sizes_of_the_published_table():
    keys = {"alexnet": 16, "vgg11": 22, "vgg16_bn": 97, "googlenet": 364, "resnet18": 122, "resnet152": 932}
    assert {name: len(empty(name).state_dict()) for name in keys} == keys


def test_inception_modules_of_the_lectures():
    """28x28x256: the naive module costs 854,196,224 products, bottlenecks of 64 bring them to 271,351,808 (the notes'
    353 million is a slip in adding up their own layers)."""
    naive = nn.blocks.NaiveInception(256, 128, 192, 96)
    assert multiply_accumulates(naive, 1, 256, 28, 28) == 854_196_224
    assert naive.out_channels == 672
    bottled = nn.blocks.Inception(256, 128, 64, 192, 64, 96, 64)
    assert multiply_accumulates(bottled, 1, 256, 28, 28) == 271_351_808
    assert bottled.out_channels == 480


def counted(maker, calls):
    def make(*arguments, **settings):
        calls.append(maker)
        return maker(*arguments, **settings)

    return make


def test_blocks_of_ones_own():
    """torchvision's keywords for what a network is made of: called for every part, with torchvision's arguments."""
    googlenet, inception_v3, mobilenet = (
        importlib.import_module(f"tensorgrad.models.{name}") for name in ("googlenet", "inception_v3", "mobilenet")
    )
    calls = []
    whole = (googlenet.plain_conv, googlenet.Inception, googlenet.AuxiliaryHead)
    conv, module, head = (counted(maker, calls) for maker in whole)

    def inception(*channels):
        return module(*channels, conv_block=googlenet.plain_conv)

    def auxiliary(channels, classes, dropout):
        return head(channels, classes, googlenet.plain_conv, dropout)

    model = empty("googlenet", blocks=(conv, inception, auxiliary))
    assert [calls.count(maker) for maker in whole] == [3, 9, 2]
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules())

    calls.clear()
    model = empty("inception_v3", inception_blocks=[counted(maker, calls) for maker in inception_v3._BLOCKS])
    assert [calls.count(maker) for maker in inception_v3._BLOCKS] == [5, 3, 1, 4, 1, 2, 1]
    assert parameters(model) == 27_161_264

    calls.clear()
    model = empty("mobilenet_v2", block=counted(mobilenet.InvertedResidual, calls))
    assert len(calls) == 17 and parameters(model) == 3_504_872


def test_small_cnn():
    """Kernels, then a factor and an offset a channel, then 2,048 values to ten classes; the work at 32, 16, 8 and 4 pixels."""
    model = empty("small_cnn").eval()
    kernels = [9 * 16, 9 * 16 * 32, 9 * 32 * 32, 9 * 32 * 64, 9 * 64 * 64, 9 * 64 * 128]
    assert parameters(model) == sum(kernels) + 2 * (16 + 32 + 32 + 64 + 64 + 128) + 2048 * 10 + 10
    work = sum(count * side**2 for count, side in zip(kernels, (32, 16, 16, 8, 8, 4), strict=True)) + 2048 * 10
    assert multiply_accumulates(model, 1, 1, 32, 32) == work


def documented():
    """The rows of docs/models.md: name, parameters, multiply-accumulates, size, entries."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    return [(name, *(int(number.replace(",", "")) for number in numbers)) for name, *numbers in rows]


@pytest.mark.parametrize("row", documented(), ids=lambda row: row[0])
def test_the_table_of_the_docs(row):
    name, count, work, size, entries = row
    model = empty(name).eval()
    assert parameters(model) == count
    assert len(model.state_dict()) == entries
    channels = 1 if name in ("lenet5", "small_cnn") else 3
    if name != "resnet1202":  # whose 1,200 convolutions take their time even when nothing is computed
        assert multiply_accumulates(model, 1, channels, size, size) == work


def test_the_work_of_the_deepest():
    """In resnet1202 a stage has 200 blocks; each one more in every stage is the same work, as between 3 and 5 blocks."""
    work = {row[0]: row[2] for row in documented()}
    each = (work["resnet32"] - work["resnet20"]) // 2
    assert work["resnet1202"] == work["resnet20"] + (200 - 3) * each


def test_the_docs_name_every_network():
    others = {"lenet5_original", "perceptron", "adaline", "tcn", "gcn"}
    assert {row[0] for row in documented()} | others == set(models.list_models())


@pytest.mark.oracle
def test_torchvision_states_the_same():
    """Parameters, and thousands of millions of multiply-accumulates to three digits."""
    from torchvision_oracle import torchvision_models

    theirs = torchvision_models()
    compared = 0
    for name, count, work, _, _ in documented():
        if name not in theirs.list_models() or name in ("resnet20", "googlenet"):
            continue
        stated = theirs.get_model_weights(name).DEFAULT.meta
        assert count == stated["num_params"], name
        assert round(work / 1e9, 3) == pytest.approx(stated["_ops"], abs=1.1e-3), name
        compared += 1
    assert compared >= 25


def receptive_field(model, size):
    """Pixels of the input that one unit of the last map sees: they grow by (K - 1) times the step between units."""
    seen = []
    for name, layer in model.named_modules():
        if isinstance(layer, (nn.Conv2d, nn.MaxPool2d)) and "downsample" not in name:
            layer.register_forward_hook(lambda layer, args, output: seen.append(layer))
    multiply_accumulates(model, 1, 3, size, size)
    reach, step = 1, 1
    for layer in seen:
        kernel, stride = (x if isinstance(x, int) else x[0] for x in (layer.kernel_size, layer.stride))
        reach += (kernel - 1) * step
        step *= stride
    return reach


RECEPTIVE = {
    "alexnet_paper": 195,
    "vgg16": 212,
    "vgg19": 268,
    "resnet18": 435,
    "resnet34": 899,
    "resnet50": 427,
    "resnet101": 971,
    "resnet152": 1451,
    "resnet50_v1": 483,
    "resnet101_v1": 1027,
    "resnet152_v1": 1507,
}


@pytest.mark.parametrize("name", RECEPTIVE)
def test_receptive_fields(name):
    assert receptive_field(empty(name).eval(), 227) == RECEPTIVE[name]


def test_three_stacked_3x3_see_what_one_7x7_sees():
    """With 27 C^2 weights in place of 49 C^2."""
    stack = nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1, bias=False) for _ in range(3)))
    assert receptive_field(stack, 16) == receptive_field(nn.Conv2d(3, 3, 7, bias=False), 16) == 7
    assert (parameters(stack), parameters(nn.Conv2d(3, 3, 7, bias=False))) == (27 * 9, 49 * 9)
