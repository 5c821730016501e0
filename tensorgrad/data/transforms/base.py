"""What a transform is, and the ways to put several together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tensorgrad.data import engine
from tensorgrad.data.transforms import pillow
from tensorgrad.errors import ArgumentError, OperandError, ShapeError


class Transform:
    """A map of images: a Pillow image, an array or Tensor (H, W) or (C, H, W), or a whole batch (N, C, H, W).

    A subclass writes `apply` for a batch of arrays, or `change` for one image, an array (C, H, W) or a Pillow image, or
    both. `batched = True` tells a dataset that it may hand over a whole batch; any other callable gets one image at a
    time. What comes back is of the kind that went in.
    """

    batched = True

    def __call__(self, images: Any, generator: Any = None) -> Any:
        name = type(self).__name__
        if pillow.is_image(images):
            if type(self).change is Transform.change:
                raise OperandError(f"{name}: images is a Pillow image; put ToTensor() before it")
            return self.change(images, engine.numpy_generator(generator))
        if engine.is_tensor(images):
            return engine.wrap(self._of_array(engine.host_array(name, images), generator))
        if not isinstance(images, np.ndarray):
            raise OperandError(
                f"{name}: images is a {type(images).__name__}; use a NumPy array, a Tensor or a Pillow image"
            )
        if images.ndim == 3 and images.shape[0] > 4 and images.shape[2] in (1, 3, 4):
            raise ShapeError(
                f"{name}: images has shape {images.shape}, which looks like (H, W, C); arrays are (C, H, W) here: "
                "put ToTensor() before it, or transpose(2, 0, 1)"
            )
        return self._of_array(images, generator)

    def _of_array(self, images: np.ndarray, generator: Any) -> np.ndarray:
        if images.ndim not in (2, 3, 4):
            raise ShapeError(
                f"{type(self).__name__}: images has shape {images.shape}; use (H, W), (C, H, W) or (N, C, H, W)"
            )
        added = 4 - images.ndim
        batch = images.reshape((1,) * added + images.shape)
        result = self.apply(batch, generator)
        if added == 2 and result.shape[1] != 1:
            added = 1  # (H, W) became an image of several channels
        return result.reshape(result.shape[added:])

    def apply(self, batch: np.ndarray, generator: Any) -> np.ndarray:
        """Transform a batch (N, C, H, W), image by image unless the subclass knows better."""
        if type(self).change is Transform.change:
            raise NotImplementedError(f"{type(self).__name__} must write apply(batch, generator) or change(image, rng)")
        rng = engine.numpy_generator(generator)
        return np.stack([self.change(image, rng) for image in batch])

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        """Transform one image, a Pillow image or an array (C, H, W)."""
        raise NotImplementedError(f"{type(self).__name__} must write change(image, rng)")

    def __repr__(self) -> str:
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        settings = ", ".join(f"{name}={getattr(self, name)!r}" for name in names if hasattr(self, name))
        return f"{type(self).__name__}({settings})"


def run(transform: Callable[..., Any], images: Any, generator: Any) -> Any:
    """Apply any callable; ours also get the generator."""
    ours = isinstance(transform, (Transform, Compose))
    return transform(images, generator) if ours else transform(images)


def checked(name: str, transforms: Sequence[Callable[..., Any]]) -> list[Callable[..., Any]]:
    """The transforms as a list, if they are callables."""
    if not isinstance(transforms, Sequence):
        raise OperandError(f"{name}: transforms is a {type(transforms).__name__}; use a list of transforms")
    for i, transform in enumerate(transforms):
        if not callable(transform):
            raise OperandError(f"{name}: transforms[{i}] is a {type(transform).__name__}; it must be callable")
    return list(transforms)


class Compose:
    """One transform after another: Compose([f, g])(x) = g(f(x)).

    >>> import numpy as np
    >>> from tensorgrad.data.transforms import Normalize, ToDtype
    >>> prepare = Compose([ToDtype(np.float32, scale=True), Normalize(mean=0.5, std=0.5)])
    >>> prepare(np.array([[0, 255]], dtype=np.uint8))
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = checked("Compose", transforms)

    @property
    def batched(self) -> bool:
        """Whether every part can take a whole batch."""
        return all(getattr(transform, "batched", False) for transform in self.transforms)

    def __call__(self, images: Any, generator: Any = None) -> Any:
        for transform in self.transforms:
            images = run(transform, images, generator)
        return images

    def __repr__(self) -> str:
        return f"Compose({self.transforms})"


class Lambda(Transform):
    """A function of your own, applied to one image at a time.

    >>> Lambda(lambda x: x + 1)(2)
    3
    """

    batched = False

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise OperandError(f"Lambda: lambd is a {type(lambd).__name__}; it must be callable")
        self.lambd = lambd

    def __call__(self, images: Any, generator: Any = None) -> Any:
        return self.lambd(images)


class _OneByOne(Transform):
    """A transform that decides anew for each image what to do with it; it takes whatever its parts take."""

    batched = False

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = checked(type(self).__name__, transforms)

    def __call__(self, images: Any, generator: Any = None) -> Any:
        return self.change(images, engine.numpy_generator(generator))


class RandomApply(_OneByOne):
    """All of the transforms, or with probability 1 - p none."""

    def __init__(self, transforms: Sequence[Callable[..., Any]], p: float = 0.5) -> None:
        super().__init__(transforms)
        self.p = probability("RandomApply", p)

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        if rng.random() >= self.p:
            return image
        for transform in self.transforms:
            image = run(transform, image, rng)
        return image


class RandomChoice(_OneByOne):
    """One of the transforms, picked with the weights p (alike unless given)."""

    def __init__(self, transforms: Sequence[Callable[..., Any]], p: Sequence[float] | None = None) -> None:
        super().__init__(transforms)
        if not self.transforms:
            raise ArgumentError("RandomChoice: transforms is empty; there is nothing to choose from")
        if p is not None and (len(p) != len(self.transforms) or min(p) < 0 or not sum(p) > 0):
            raise ArgumentError(
                f"RandomChoice: p={p}; {len(self.transforms)} transforms need as many weights, 0 or more"
            )
        self.p = p

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        weights = None if self.p is None else np.asarray(self.p, dtype=np.float64) / sum(self.p)
        return run(self.transforms[int(rng.choice(len(self.transforms), p=weights))], image, rng)


class RandomOrder(_OneByOne):
    """All of the transforms, in a random order."""

    def change(self, image: Any, rng: np.random.Generator) -> Any:
        for i in rng.permutation(len(self.transforms)):
            image = run(self.transforms[i], image, rng)
        return image


def probability(name: str, p: float) -> float:
    """p, if it is one."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"{name}: p={p} must lie in [0, 1]")
    return p


def ordered_range(name: str, argument: str, values: Sequence[float], lowest: float = 0.0) -> tuple[float, float]:
    """(low, high) of numbers above `lowest`, in rising order."""
    if not isinstance(values, (tuple, list)):
        raise OperandError(f"{name}: {argument}={values!r}; use a range (low, high)")
    if len(values) != 2 or not lowest < values[0] <= values[1]:
        raise ArgumentError(f"{name}: {argument}={values}; use a range (low, high) above {lowest:g}")
    return float(values[0]), float(values[1])
