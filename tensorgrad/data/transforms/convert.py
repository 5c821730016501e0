"""Between Pillow images, arrays and Tensors, and between ranges of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.data import engine
from tensorgrad.data.transforms import pillow
from tensorgrad.data.transforms.base import Transform
from tensorgrad.data.transforms.warp import floating
from tensorgrad.errors import ArgumentError, DtypeError, OperandError, ShapeError
from tensorgrad.tensor import Tensor

_CHANNELS = (1, 2, 3, 4)  # what an image may have


def as_channels_first(name: str, array: np.ndarray) -> np.ndarray:
    """An array that may be (H, W), (H, W, C) as in torchvision, or (C, H, W) as here -> (C, H, W).

    Which of the last two it is, the number of channels tells: 1 to 4 in one place and not in the other. Where it tells
    nothing the array is refused, as a wrong guess would turn the image on its side without a word.
    """
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise ArgumentError(f"{name}: an array of shape {array.shape}; use (H, W), (H, W, C) or (C, H, W)")
    first, last = array.shape[0] in _CHANNELS, array.shape[2] in _CHANNELS
    if first == last:
        raise ArgumentError(
            f"{name}: an array of shape {array.shape} may be (H, W, C) or (C, H, W). Give a Tensor (C, H, W): "
            "tensorgrad.from_numpy(array), or tensorgrad.from_numpy(array.transpose(2, 0, 1))"
        )
    return array if first else array.transpose(2, 0, 1)


def to_tensor(pic: Any) -> Tensor:
    """A Pillow image or an array -> a Tensor (C, H, W); bytes become float32 from 0 to 1, other numbers stay.

    pic: a Pillow image, or an array (H, W), (H, W, C) or (C, H, W); a batch (N, C, H, W) too. Raises TypeError for
    anything else, ValueError for other shapes.

    >>> import numpy as np
    >>> to_tensor(np.array([[0, 255]], dtype=np.uint8)).tolist()
    [[[0.0, 1.0]]]
    """
    if pillow.is_image(pic):
        array, whole = pillow.to_array(pic), pic.mode in ("I", "I;16", "F")
        return engine.wrap(array if whole else _unit(array))
    if not isinstance(pic, np.ndarray):
        raise OperandError(f"to_tensor: pic is a {type(pic).__name__}; use a Pillow image or a NumPy array")
    array = pic if pic.ndim == 4 else as_channels_first("to_tensor", pic)
    return engine.wrap(_unit(array) if array.dtype == np.uint8 else np.array(array, order="C"))


def _unit(array: np.ndarray) -> np.ndarray:
    """Bytes -> float32 from 0 to 1, in memory of its own."""
    return np.divide(array, np.float32(255), dtype=np.float32, order="C")


def pil_to_tensor(pic: Any) -> Tensor:
    """A Pillow image -> a Tensor (C, H, W) of its own numbers."""
    if not pillow.is_image(pic):
        raise OperandError(f"pil_to_tensor: pic is a {type(pic).__name__}; use a Pillow image")
    return engine.wrap(pillow.to_array(pic))


# (dtype, channels) -> Pillow's mode, and the other modes that one may ask for
_MODES = {
    (np.dtype(np.uint8), 1): ("L",),
    (np.dtype(np.uint8), 2): ("LA",),
    (np.dtype(np.uint8), 3): ("RGB", "YCbCr", "HSV"),
    (np.dtype(np.uint8), 4): ("RGBA", "CMYK", "RGBX"),
    (np.dtype(np.uint16), 1): ("I;16",),
    (np.dtype(np.int32), 1): ("I",),
    (np.dtype(np.float32), 1): ("F",),
}


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A Tensor (H, W) or (C, H, W), or an array (H, W), (H, W, C) or (C, H, W), -> a Pillow image.

    A Tensor of floating point is taken to lie in [0, 1] and becomes bytes, unless mode is 'F'. An array's numbers are
    taken as they are: uint8, or uint16, int32 and float32 for one channel. mode: Pillow's, if the number of channels
    leaves a choice.
    """
    image = pillow.library()
    if engine.is_tensor(pic):
        array = engine.host_array("to_pil_image", pic)
        if array.ndim not in (2, 3):
            raise ArgumentError(f"to_pil_image: pic has shape {array.shape}; use (H, W) or (C, H, W)")
        array = array[None] if array.ndim == 2 else array
        if array.dtype.kind == "f" and mode != "F":
            array = (array * array.dtype.type(255)).astype(np.int64).astype(np.uint8)
    elif isinstance(pic, np.ndarray):
        array = as_channels_first("to_pil_image", pic)
    else:
        raise OperandError(f"to_pil_image: pic is a {type(pic).__name__}; use a Tensor or a NumPy array")
    if array.shape[0] not in _CHANNELS:
        raise ArgumentError(f"to_pil_image: pic has {array.shape[0]} channels; an image has 1 to 4")
    modes = _MODES.get((array.dtype, array.shape[0]))
    if modes is None:
        raise OperandError(f"to_pil_image: {array.shape[0]} channels of {array.dtype}; use uint8, which all can have")
    if mode is not None and mode not in modes:
        raise ArgumentError(f"to_pil_image: mode={mode!r} of {array.shape[0]} channels of {array.dtype}; use {modes}")
    pixels = np.ascontiguousarray(array.transpose(1, 2, 0))  # (C, H, W) -> (H, W, C)
    made = image.fromarray(pixels[:, :, 0] if len(array) == 1 else pixels)
    if mode in (None, made.mode):
        return made
    return image.frombytes(mode, made.size, pixels.tobytes())  # the same bytes, read in another way


class ToTensor(Transform):
    """A Pillow image or an array -> a Tensor (C, H, W); bytes become float32 from 0 to 1. See `functional.to_tensor`.

    >>> import numpy as np
    >>> ToTensor()(np.zeros((28, 28, 3), dtype=np.uint8)).shape
    (3, 28, 28)
    """

    def __call__(self, images: Any, generator: Any = None) -> Tensor:
        return to_tensor(images)


class PILToTensor(Transform):
    """A Pillow image -> a Tensor (C, H, W) of its own numbers."""

    batched = False

    def __call__(self, images: Any, generator: Any = None) -> Tensor:
        return pil_to_tensor(images)


class ToPILImage(Transform):
    """A Tensor or an array -> a Pillow image. See `functional.to_pil_image`."""

    batched = False

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, images: Any, generator: Any = None) -> Any:
        return to_pil_image(images, self.mode)


class ToDtype(Transform):
    """Convert to `dtype`, and with `scale` bring whole numbers into [0, 1].

    scale: True divides by the largest value of the integer type the images have (255 for uint8, as torchvision's
    ToTensor does); a number divides by that number; False only converts.

    >>> import numpy as np
    >>> ToDtype(np.float32, scale=16)(np.array([[0, 4, 16]], dtype=np.uint8))
    array([[0.  , 0.25, 1.  ]], dtype=float32)
    """

    def __init__(self, dtype: Any = np.float32, scale: bool | float = False) -> None:
        self.dtype = np.dtype(dtype)
        self.scale = scale
        if scale is not False and self.dtype.kind != "f":
            raise ArgumentError(f"ToDtype: scale={scale} needs a floating-point dtype, got {self.dtype}")
        if scale is not False and scale is not True and not scale > 0:
            raise ArgumentError(f"ToDtype: scale={scale} must be above 0")

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        converted = batch.astype(self.dtype, copy=False)
        if self.scale is False:
            return converted
        if self.scale is not True:
            return converted * self.dtype.type(1 / self.scale)
        if batch.dtype.kind not in "ui":
            return converted  # floating-point images are in [0, 1] already, as in torchvision
        return converted * self.dtype.type(1 / np.iinfo(batch.dtype).max)

    def __repr__(self) -> str:
        return f"ToDtype({self.dtype}, scale={self.scale})"


class ConvertImageDtype(Transform):
    """Convert to `dtype` and from its range: whole numbers count from 0 to their largest, floating ones from 0 to 1."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        old, new = batch.dtype, self.dtype
        if old.kind not in "uif" or new.kind not in "uif":
            raise DtypeError(f"ConvertImageDtype: from {old} to {new}; use whole or floating-point numbers")
        if new.kind == "f":
            return batch.astype(new) if old.kind == "f" else batch.astype(new) / new.type(np.iinfo(old).max)
        top = np.iinfo(new).max
        if old.kind == "f":
            if old.itemsize <= np.dtype(new).itemsize and new.itemsize > 2:
                raise DtypeError(f"ConvertImageDtype: {old} has too few digits for {new}; use a wider dtype")
            return (batch * (top + 1 - 1e-3)).astype(new)
        shift = np.iinfo(old).max.bit_length() - top.bit_length()
        wide = batch.astype(new) if shift <= 0 else batch
        return (wide >> shift).astype(new) if shift >= 0 else wide << -shift


def convert_image_dtype(image: Any, dtype: Any = np.float32) -> Any:
    """ConvertImageDtype as a function."""
    return ConvertImageDtype(dtype)(image)


class Normalize(Transform):
    """(x - mean) / std, with one mean and std for all channels or one for each."""

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float], inplace: bool = False) -> None:
        if inplace:
            raise ArgumentError("Normalize: inplace=True is not done here; use the result")
        self.mean = np.atleast_1d(np.asarray(mean, dtype=np.float64))
        self.std = np.atleast_1d(np.asarray(std, dtype=np.float64))
        if self.mean.ndim != 1 or self.std.ndim != 1:
            raise ShapeError(f"Normalize: mean and std must be numbers or flat lists, got {mean} and {std}")
        if not (self.std > 0).all():
            raise ArgumentError(f"Normalize: std={std} must be above 0")

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        channels = batch.shape[1]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ShapeError(f"Normalize: {name} has {len(values)} values, the images have {channels} channels")
        batch = floating(batch)
        slope = (1 / self.std).astype(batch.dtype)[:, None, None]
        offset = (-self.mean / self.std).astype(batch.dtype)[:, None, None]
        result = batch * slope
        result += offset
        return result

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean.tolist()}, std={self.std.tolist()})"


def normalize(tensor: Any, mean: float | Sequence[float], std: float | Sequence[float], inplace: bool = False) -> Any:
    """(x - mean) / std by channel: Normalize as a function."""
    return Normalize(mean, std, inplace)(tensor)
