"""Transforms of Pillow images, arrays and Tensors, one image or a whole batch (N, C, H, W) at once.

Names and arguments are torchvision's. A random transform draws from the generator it is given, and otherwise from
`current_generator()`: the loader's own stream for the batch at hand, or the library's default generator, so that one
`tensorgrad.manual_seed` governs augmentation too.
"""

from tensorgrad.data.transforms import functional
from tensorgrad.data.transforms.base import Compose, Lambda, RandomApply, RandomChoice, RandomOrder, Transform
from tensorgrad.data.transforms.color import ColorJitter, Grayscale, PCALighting, RandomGrayscale
from tensorgrad.data.transforms.convert import ConvertImageDtype, Normalize, PILToTensor, ToDtype, ToPILImage, ToTensor
from tensorgrad.data.transforms.crop import (
    CenterCrop,
    FiveCrop,
    Pad,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    TenCrop,
)
from tensorgrad.data.transforms.functional import InterpolationMode
from tensorgrad.data.transforms.turn import RandomAffine, RandomRotation
from tensorgrad.data.transforms.warp import resize_matrix, warp_affine

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "ConvertImageDtype",
    "FiveCrop",
    "Grayscale",
    "InterpolationMode",
    "Lambda",
    "Normalize",
    "PCALighting",
    "PILToTensor",
    "Pad",
    "RandomAffine",
    "RandomApply",
    "RandomChoice",
    "RandomCrop",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomOrder",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
    "Resize",
    "TenCrop",
    "ToDtype",
    "ToPILImage",
    "ToTensor",
    "Transform",
    "functional",
    "resize_matrix",
    "warp_affine",
]
