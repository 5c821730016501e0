"""Every network that torchvision has: the same names and shapes, and in float64 the same scores, gradients and statistics.

Pictures are small where the network lets them be: the layers are the same, and the whole set takes seconds.
"""

from __future__ import annotations

import inspect

import pytest
from torchvision_oracle import build_theirs, compare_training_step, stir, with_state_of

import tensorgrad as tg
from tensorgrad import models, nn

pytestmark = pytest.mark.oracle

RESNETS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
RESNETS += ["resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"]
DENSENETS = ["densenet121", "densenet161", "densenet169", "densenet201"]
VGGS = [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]
OTHERS = ["alexnet", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2", "googlenet", "inception_v3"]


@pytest.mark.parametrize("name", RESNETS + DENSENETS + VGGS + OTHERS)
def test_names_shapes_and_their_order(name):
    with nn.init.postponed():
        ours = models.get_model(name)
    found = [(key, value.shape) for key, value in ours.state_dict().items()]
    assert found == [(key, tuple(value.shape)) for key, value in build_theirs(name).state_dict().items()]
    trained = [key for key, _ in ours.named_parameters()]
    assert trained == [key for key, _ in build_theirs(name).named_parameters()]


@pytest.mark.parametrize("name", RESNETS + DENSENETS + VGGS + OTHERS)
def test_what_is_left_out_in_training(name):
    """The comparisons of a step go without dropout: here are its places and rates."""
    import torch

    with nn.init.postponed():
        ours = models.get_model(name)
    found = {key: layer.p for key, layer in ours.named_modules() if isinstance(layer, nn.Dropout)}
    theirs = build_theirs(name).named_modules()
    assert found == {key: layer.p for key, layer in theirs if isinstance(layer, torch.nn.Dropout)}


@pytest.mark.parametrize("settings", [{"aux_logits": False}, {"num_classes": 7}], ids=str)
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_names_with_settings(name, settings):
    with nn.init.postponed():
        ours = models.get_model(name, **settings)
    theirs = build_theirs(name, **settings)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }


SMALL = {
    # name: (shape of the pictures, settings)
    "resnet18": ((3, 3, 64, 64), {}),
    "resnet50": ((2, 3, 64, 64), {}),
    "resnext50_32x4d": ((2, 3, 64, 64), {}),
    "densenet121": ((2, 3, 64, 64), {}),
    "squeezenet1_0": ((2, 3, 64, 64), {"dropout": 0.0}),
    "squeezenet1_1": ((2, 3, 64, 64), {"dropout": 0.0}),
    "mobilenet_v2": ((2, 3, 64, 64), {"dropout": 0.0}),
    "googlenet": ((2, 3, 96, 96), {"dropout": 0.0, "dropout_aux": 0.0}),
    "inception_v3": ((2, 3, 299, 299), {"dropout": 0.0}),
}
MANY_LAYERS = {
    "wide_resnet50_2": ((2, 3, 64, 64), {}),
    "resnet34": ((3, 3, 64, 64), {}),
    "resnet101": ((2, 3, 64, 64), {}),
    "resnet152": ((2, 3, 64, 64), {}),
    "resnext101_32x8d": ((2, 3, 64, 64), {}),
    "resnext101_64x4d": ((2, 3, 64, 64), {}),
    "wide_resnet101_2": ((2, 3, 64, 64), {}),
    "densenet161": ((2, 3, 64, 64), {}),
    "densenet169": ((2, 3, 64, 64), {}),
    "densenet201": ((2, 3, 64, 64), {}),
    "alexnet": ((2, 3, 224, 224), {"dropout": 0.0}),
    "vgg11": ((1, 3, 32, 32), {"dropout": 0.0}),
}


def compare(name, shape, settings):
    tg.manual_seed(0)
    ours = stir(models.get_model(name, num_classes=10, **settings))
    theirs = build_theirs(name, num_classes=10, **settings)
    compare_training_step(ours, with_state_of(theirs, ours), shape)


@pytest.mark.parametrize("name", SMALL)
def test_a_training_step(name):
    compare(name, *SMALL[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", MANY_LAYERS)
def test_a_training_step_of_a_large_one(name):
    compare(name, *MANY_LAYERS[name])


SLOW_VGGS = [pytest.param(name, marks=pytest.mark.slow) for name in ("vgg11_bn", "vgg13_bn", "vgg16", "vgg19_bn")]


@pytest.mark.parametrize("name", ["vgg13", "vgg16_bn", "vgg19", *SLOW_VGGS])
def test_the_convolutions_of_vgg(name):
    """The three large linear layers, the same in all of them, give way to a small one."""
    import torch

    tg.manual_seed(0)
    with nn.init.postponed():
        ours = models.get_model(name)
    theirs = build_theirs(name)
    ours.classifier, theirs.classifier = nn.Linear(25088, 5), torch.nn.Linear(25088, 5)
    for layer in ours.features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            nn.init.zeros_(layer.bias)
    stir(ours)
    compare_training_step(ours, with_state_of(theirs, ours), (2, 3, 64, 64))


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_transform_input(name):
    """Pictures normalised for ImageNet are brought to the range that Google's weights expect."""
    tg.manual_seed(0)
    settings = {"num_classes": 4, "aux_logits": False, "transform_input": True, "dropout": 0.0}
    ours = stir(models.get_model(name, **settings))
    theirs = with_state_of(build_theirs(name, **settings), ours)
    compare_training_step(ours, theirs, (2, 3, 128, 128))


def test_dilation_in_place_of_stride():
    settings = {"replace_stride_with_dilation": [False, True, True]}
    compare("resnet50", (2, 3, 64, 64), settings)


def test_dense_layers_computed_again_in_backward(monkeypatch):
    """As torchvision's, where every norm sees its numbers twice in a step: its running statistics move twice."""
    made = []
    checkpoint = models.densenet.checkpoint
    monkeypatch.setattr(models.densenet, "checkpoint", lambda *a, **k: made.append(len(a)) or checkpoint(*a, **k))
    compare("densenet121", (2, 3, 64, 64), {"memory_efficient": True})
    assert len(made) == 6 + 12 + 24 + 16


# torchvision's class of a builder, and what its builder gives the class by itself
CLASSES = {
    "alexnet": ("AlexNet", set()),
    "vgg16": ("VGG", {"features"}),
    "squeezenet1_0": ("SqueezeNet", {"version"}),
    "googlenet": ("GoogLeNet", set()),
    "inception_v3": ("Inception3", set()),
    "resnet50": ("ResNet", {"block", "layers"}),
    "densenet121": ("DenseNet", {"growth_rate", "block_config", "num_init_features"}),
    "mobilenet_v2": ("MobileNetV2", set()),
}
# None stands for torchvision's True, and for the paper's or torchvision's rate by GoogLeNet's form
OTHER_DEFAULTS = {("vgg16", "init_weights"), ("googlenet", "dropout")}


@pytest.mark.parametrize("name", CLASSES)
def test_keywords_are_torchvisions(name):
    from torchvision_oracle import torchvision_models

    known, given = CLASSES[name]
    theirs = inspect.signature(getattr(torchvision_models(), known)).parameters
    ours = inspect.signature(models.get_model(name, weights=None).__class__).parameters
    found = inspect.signature(models.BUILDERS[name]).parameters
    wanted = [key for key in theirs if key not in given]
    assert [key for key in ours if key in wanted] == wanted  # in their order, for who names none
    for key in wanted:
        assert key in found
        assert found[key].default == theirs[key].default or (name, key) in OTHER_DEFAULTS
    assert {"weights", "progress"} < set(found)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_blocks_that_start_as_identities(name):
    ours = models.get_model(name, zero_init_residual=True, num_classes=3)
    import torchvision_oracle

    theirs = getattr(torchvision_oracle.torchvision_models(), name)(zero_init_residual=True, num_classes=3)
    zero = {key for key, value in theirs.named_parameters() if value.ndim == 1 and "bn" in key and not value.any()}
    found = {key for key, value in ours.named_parameters() if value.ndim == 1 and not value.array.any()}
    assert {key for key in zero if key.endswith("weight")} == {key for key in found if key.endswith("weight")}
    assert any(key.endswith("weight") for key in found)


def test_which_names_are_listed():
    from torchvision_oracle import torchvision_models

    for settings in ({"include": "vgg*"}, {"include": ["vgg*", "alexnet"], "exclude": "*bn"}, {"include": "densenet*"}):
        assert models.list_models(**settings) == torchvision_models().list_models(torchvision_models(), **settings)
