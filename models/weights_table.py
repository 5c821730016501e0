"""Where public weights lie: for every network its files, the usual one last.

A digest is the beginning of the file's SHA-256, in hexadecimal; PyTorch's files carry eight digits of it in their name.
Sizes are bounds on what is fetched.
"""

from __future__ import annotations

from typing import NamedTuple


class PublicFile(NamedTuple):
    """One public file of weights: its name among a network's, its address, and how its digest begins."""

    label: str
    url: str
    sha256: str


_PYTORCH = "https://download.pytorch.org/models/"
_AKAMASTER = "https://raw.githubusercontent.com/akamaster/pytorch_resnet_cifar10/master/pretrained_models/"

# network: the middle of the file's name if it is not the network's, then the digests of versions 1 and 2
_IMAGENET: dict[str, tuple[str, ...]] = {
    "alexnet": ("alexnet-owt", "7be5be79"),
    "vgg11": ("vgg11", "8a719046"),
    "vgg13": ("vgg13", "19584684"),
    "vgg16": ("vgg16", "397923af"),
    "vgg19": ("vgg19", "dcbb9e9d"),
    "vgg11_bn": ("vgg11_bn", "6002323d"),
    "vgg13_bn": ("vgg13_bn", "abd245e5"),
    "vgg16_bn": ("vgg16_bn", "6c64b313"),
    "vgg19_bn": ("vgg19_bn", "c79401a0"),
    "googlenet": ("googlenet", "1378be20"),
    "inception_v3": ("inception_v3_google", "0cc3c7bd"),
    "resnet18": ("resnet18", "f37072fd"),
    "resnet34": ("resnet34", "b627a593"),
    "resnet50": ("resnet50", "0676ba61", "11ad3fa6"),
    "resnet101": ("resnet101", "63fe2227", "cd907fc2"),
    "resnet152": ("resnet152", "394f9c45", "f82ba261"),
    "resnext50_32x4d": ("resnext50_32x4d", "7cdf4587", "1a0047aa"),
    "resnext101_32x8d": ("resnext101_32x8d", "8ba56ff5", "110c445d"),
    "resnext101_64x4d": ("resnext101_64x4d", "173b62eb"),
    "wide_resnet50_2": ("wide_resnet50_2", "95faca4d", "9ba9bcbe"),
    "wide_resnet101_2": ("wide_resnet101_2", "32ee1156", "d733dc28"),
    "densenet121": ("densenet121", "a639ec97"),
    "densenet161": ("densenet161", "8d451a50"),
    "densenet169": ("densenet169", "b2777c0a"),
    "densenet201": ("densenet201", "c1103571"),
    "mobilenet_v2": ("mobilenet_v2", "b0353104", "7ebf99e0"),
    "squeezenet1_0": ("squeezenet1_0", "b66bff10"),
    "squeezenet1_1": ("squeezenet1_1", "b8a52dc0"),
}


def _imagenet(stem: str, *digests: str) -> tuple[PublicFile, ...]:
    return tuple(
        PublicFile(f"IMAGENET1K_V{version}", f"{_PYTORCH}{stem}-{digest}.pth", digest)
        for version, digest in enumerate(digests, 1)
    )


#: Every network's public files, the usual one last.
PUBLIC: dict[str, tuple[PublicFile, ...]] = {name: _imagenet(*row) for name, row in _IMAGENET.items()}
PUBLIC["resnet20"] = (
    PublicFile(
        "CIFAR10",
        f"{_AKAMASTER}resnet20-12fca82f.th",
        "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
    ),
)

#: What a network has to be built with for its public files to mean what they meant.
SETTINGS: dict[str, dict[str, object]] = {
    "googlenet": {"transform_input": True, "aux_logits": False},
    "inception_v3": {"transform_input": True},
}
