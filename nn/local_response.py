"""Local response normalisation."""

from __future__ import annotations

from tensorgrad.autocasting import under_autocast
from tensorgrad.dtypes import float64, is_floating
from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.module import Module
from tensorgrad.ops import shape as shapes
from tensorgrad.ops.operands import cast
from tensorgrad.ops.pooling import AvgPool2d
from tensorgrad.tensor import Tensor


@under_autocast
def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, mean: bool = True
) -> Tensor:
    """z[c] = x[c] / (k + alpha m[c])^beta, m[c] the mean of x^2 over `size` channels round c.

    input   (N, C, ...), of at least three dimensions; beyond the first and last channel are zeros, which count
    mean    False: m is the sum, as in the paper (Krizhevsky et al., 2012: size 5, alpha 1e-4, beta 0.75, k 2). PyTorch and
            Caffe take the mean, so that theirs for the paper's is alpha = size 1e-4.
    """
    if not isinstance(input, Tensor):
        raise OperandError(f"local_response_norm: input is a {type(input).__name__}; it must be a Tensor")
    if input.array.ndim < 3:
        raise ArgumentError(f"local_response_norm: input has shape {input.shape}; it must be (N, C, ...)")
    width = at_least("local_response_norm", "size", size, 1)
    if not input.array.size:
        return input
    samples, channels = input.array.shape[:2]
    planes = shapes.reshape(input, samples, 1, channels, -1)
    window = AvgPool2d((width, 1), (1, 1), (width // 2, (width - 1) // 2, 0, 0), False, True, width if mean else 1)
    if is_floating(input.dtype):
        energy = window(planes * planes)
    else:  # as PyTorch, whole numbers have whole means
        energy = cast(window(cast(planes * planes, float64)), input.dtype)
    divisor = (energy * alpha + k) ** beta
    return input / shapes.reshape(divisor, *input.array.shape)


class LocalResponseNorm(Module):
    """Divides by the energy of neighbouring channels; see `tensorgrad.nn.functional.local_response_norm`.

    >>> import tensorgrad
    >>> LocalResponseNorm(5, alpha=1e-4, k=2.0, mean=False)(tensorgrad.ones(1, 96, 55, 55)).shape
    (1, 96, 55, 55)
    """

    def __init__(
        self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0, *, mean: bool = True
    ) -> None:
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k
        self.mean = mean

    def forward(self, input: Tensor) -> Tensor:
        return local_response_norm(input, self.size, self.alpha, self.beta, self.k, mean=self.mean)

    def extra_repr(self) -> str:
        text = f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
        return text if self.mean else f"{text}, mean=False"
