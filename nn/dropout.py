"""Dropout: of single values, of whole channels, and the kind that keeps SELU's mean and variance."""

from __future__ import annotations

from typing import Any

from tensorgrad.errors import OperandError, ShapeError
from tensorgrad.nn.arguments import probability
from tensorgrad.nn.module import Module
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.inplace_forms import add_, mul_
from tensorgrad.primitive import check_floating
from tensorgrad.random import default_generator
from tensorgrad.tensor import Tensor

#: -lambda alpha of SELU, where it saturates: the value that alpha dropout puts in place of a dropped one.
SELU_FLOOR = -1.7580993408473766


def _drop(
    operation: str, input: Any, p: float, training: bool, inplace: bool, features: bool = False, alpha: bool = False
) -> Tensor:
    """Any dropout: of values or `features` (whole channels), to 0 or, with `alpha`, to SELU's floor."""
    chance = probability(operation, "p", p)
    if not isinstance(input, Tensor):
        raise OperandError(f"{operation}: input is a {type(input).__name__}; it must be a Tensor")
    if not training or chance == 0.0:
        return input
    if features and input.array.ndim < 2:
        raise ShapeError(f"{operation}: input has shape {input.shape}; whole channels need (N, C, ...)")
    check_floating(operation, input)
    x = input.array
    shape = (*x.shape[:2], *(1,) * (x.ndim - 2)) if features else x.shape
    plain = not alpha or chance == 1.0
    # never at p = 1: the numbers are below 1
    kept = default_generator.kept(
        shape, chance, 1.0 / (1.0 - chance) if plain and chance < 1.0 else 1.0, x.dtype, input.device
    )
    if plain:
        return mul_(input, Tensor(kept)) if inplace else input * Tensor(kept)
    # what is dropped becomes SELU_FLOOR; then an affine map makes mean 0 and variance 1 of it again
    scale = ((1.0 + chance * SELU_FLOOR**2) * (1.0 - chance)) ** -0.5
    factor = Tensor(kept * scale)
    offset = Tensor((1.0 - kept - chance) * (scale * SELU_FLOOR))
    return add_(mul_(input, factor), offset) if inplace else input * factor + offset


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each value is 0 with probability p, else x / (1 - p), so that the mean stays; x itself outside of training.

    Srivastava et al., 2014.

    >>> import tensorgrad
    >>> dropout(tensorgrad.ones(3), p=1.0)
    tensor([0., 0., 0.])
    """
    return _drop("dropout", input, p, training, inplace)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each channel of (N, C, L), or (C, L), is 0 with probability p, else x / (1 - p). Tompson et al., 2015."""
    return _of_channels("dropout1d", input, p, training, inplace, (2, 3))


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each channel of (N, C, H, W) is 0 with probability p, else x / (1 - p); three dimensions count as (N, C, L).

    Neighbouring values of a channel resemble each other, so dropping single ones would regularise little. Tompson et
    al., 2015.

    >>> import tensorgrad
    >>> z = dropout2d(tensorgrad.ones(1, 64, 2, 2))
    >>> bool((z.amax((2, 3)) == z.amin((2, 3))).all())  # a channel goes as a whole
    True
    """
    return _drop("dropout2d", input, p, training, inplace, features=True)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each channel of (N, C, D, H, W), or (C, D, H, W), is 0 with probability p, else x / (1 - p)."""
    return _of_channels("dropout3d", input, p, training, inplace, (4, 5))


def _of_channels(
    operation: str, input: Any, p: float, training: bool, inplace: bool, dimensions: tuple[int, int]
) -> Tensor:
    """With one dimension less than a batch has, it is one sample."""
    if isinstance(input, Tensor) and input.array.ndim not in dimensions:
        raise ShapeError(
            f"{operation}: input has shape {input.shape}; it must have {dimensions[0]} or {dimensions[1]} dimensions"
        )
    if not isinstance(input, Tensor) or input.array.ndim == dimensions[1]:
        return _drop(operation, input, p, training, inplace, features=True)
    z = _drop(operation, shapes.unsqueeze(input, 0), p, training, inplace, features=True)
    return input if inplace else shapes.squeeze(z, 0)


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """a (x or, with probability p, SELU's lower limit) + b, where a and b keep mean 0 and variance 1.

    Klambauer et al., Self-Normalizing Neural Networks, 2017. Not training is the default, as in PyTorch.
    """
    return _drop("alpha_dropout", input, p, training, inplace, alpha=True)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """alpha_dropout of whole channels of (N, C, ...)."""
    return _drop("feature_alpha_dropout", input, p, training, inplace, features=True, alpha=True)


class _Dropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = probability(type(self).__name__, "p", p)
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    """Each value is 0 with probability p while training, else x / (1 - p); x itself after `eval()`.

    >>> import tensorgrad
    >>> layer = Dropout(0.5).eval()
    >>> layer(tensorgrad.ones(3))
    tensor([1., 1., 1.])
    """

    def forward(self, input: Tensor) -> Any:
        return dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Drops whole channels of (N, C, L); see `tensorgrad.nn.functional.dropout1d`."""

    def forward(self, input: Tensor) -> Any:
        return dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Drops whole channels of (N, C, H, W); see `tensorgrad.nn.functional.dropout2d`."""

    def forward(self, input: Tensor) -> Any:
        return dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """Drops whole channels of (N, C, D, H, W); see `tensorgrad.nn.functional.dropout3d`."""

    def forward(self, input: Tensor) -> Any:
        return dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Dropout for networks of SELU; see `tensorgrad.nn.functional.alpha_dropout`."""

    def forward(self, input: Tensor) -> Any:
        return alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """Alpha dropout of whole channels; see `tensorgrad.nn.functional.feature_alpha_dropout`."""

    def forward(self, input: Tensor) -> Any:
        return feature_alpha_dropout(input, self.p, self.training, self.inplace)
