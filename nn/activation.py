"""Activations as functions, under the names of torch.nn.functional. `inplace` writes into the input's own memory.

Their layers are in tensorgrad.nn.activation_layers.
"""

from __future__ import annotations

from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.dtypes import is_floating
from tensorgrad.errors import ArgumentError, OperandError, RangeError, ShapeError
from tensorgrad.ops import activation, elementwise, loss, unary
from tensorgrad.ops.inplace import in_place
from tensorgrad.ops.inplace_forms import relu_ as _relu_
from tensorgrad.ops.operands import tensors
from tensorgrad.ops.pointwise import floating
from tensorgrad.primitive import Primitive, check_floating
from tensorgrad.tensor import Tensor

# the constants of self-normalising networks (Klambauer et al. 2017, appendix)
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946


def _check(operation: str, input: Any) -> None:
    if not isinstance(input, Tensor):
        raise OperandError(f"{operation}: input is a {type(input).__name__}; it must be a Tensor")


def _checked(operation: str, input: Any) -> Tensor:
    _check(operation, input)
    return input  # type: ignore[no-any-return]


def _apply(operation: str, primitive: Primitive, input: Tensor, inplace: bool = False) -> Tensor:
    _check(operation, input)
    check_floating(operation, input)
    if not inplace:
        z: Tensor = primitive(input)
        return z
    return in_place(f"{operation}_", lambda x: primitive(x))(input)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); the gradient at 0 is 0."""
    _check("relu", input)
    return _relu_(input) if inplace else elementwise.relu(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6); the gradient at 0 and 6 is 0. Krizhevsky, 2010."""
    return hardtanh(input, 0.0, 6.0, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else negative_slope * x. Maas et al. 2013."""
    return _apply("leaky_relu", activation.LeakyRelu(float(negative_slope)), input, inplace)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, else value."""
    if not is_floating(_checked("threshold", input).array.dtype):
        return elementwise.where(input > threshold, input, int(value))
    return _apply("threshold", activation.Threshold(float(threshold), float(value)), input, inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """x held between min_val and max_val; the gradient at the bounds is 0."""
    if min_val > max_val:
        raise ArgumentError(f"hardtanh: got min_val {min_val} and max_val {max_val}; min_val must not be larger")
    if not is_floating(_checked("hardtanh", input).array.dtype):
        return elementwise.clamp(input, int(min_val), int(max_val))
    return _apply("hardtanh", activation.Hardtanh(float(min_val), float(max_val)), input, inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """x / 6 + 1/2 held between 0 and 1."""
    return _apply("hardsigmoid", activation.Hardsigmoid(), input, inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x hardsigmoid(x). Howard et al. 2019, "Searching for MobileNetV3"."""
    return _apply("hardswish", activation.Hardswish(), input, inplace)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0."""
    return _apply("hardshrink", activation.Hardshrink(float(lambd)), input)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x moved towards 0 by lambd, 0 where it would pass it."""
    if lambd < 0:
        raise RangeError(f"softshrink: lambd is {lambd}; it must not be negative")
    return _apply("softshrink", activation.Softshrink(float(lambd)), input)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)"""
    _check("tanhshrink", input)
    return input - unary.tanh(input)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha (e^x - 1). Clevert et al. 2015."""
    return _apply("elu", activation.Elu(float(alpha), 1.0, 1.0), input, inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 elu(x, 1.6733): keeps mean 0 and variance 1 through the layers. Klambauer et al. 2017."""
    return _apply("selu", activation.Elu(SELU_ALPHA, SELU_SCALE, 1.0), input, inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else alpha (e^(x / alpha) - 1). Barron 2017."""
    if alpha == 0:
        raise ZeroDivisionError("celu: alpha is 0; x is divided by it")
    return _apply("celu", activation.Elu(float(alpha), 1.0, 1.0 / alpha), input, inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x P(x), P the normal distribution; with approximate='tanh' by its tanh formula. Hendrycks & Gimpel 2016."""
    if approximate not in ("none", "tanh"):
        raise RangeError(f"gelu: approximate is {approximate!r}; it must be 'none' or 'tanh'")
    return _apply("gelu", activation.Gelu() if approximate == "none" else activation.GeluTanh(), input)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x), also called swish. Elfwing et al. 2017."""
    return _apply("silu", activation.Silu(), input, inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(log(1 + e^x)). Misra 2019."""
    return _apply("mish", activation.Mish(), input, inplace)


@under_autocast
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + e^(beta x)) / beta; x itself where beta x > threshold."""
    return _apply("softplus", activation.Softplus(float(beta), float(threshold)), input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)"""
    return _apply("softsign", activation.Softsign(), floating("softsign", _checked("softsign", input)))


def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + e^-x)), without overflow."""
    return _apply("logsigmoid", activation.Logsigmoid(), input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    _check("tanh", input)
    return unary.tanh(input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + e^-x), without overflow for any x."""
    _check("sigmoid", input)
    return unary.sigmoid(input)


def scaled_tanh(input: Tensor) -> Tensor:
    """1.7159 tanh(2 x / 3), which maps -1 to -1 and 1 to 1. LeCun et al. 1998, appendix A."""
    _check("scaled_tanh", input)
    return unary.tanh(input * (2 / 3)) * 1.7159


@under_autocast
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight x; weight holds one number, or one for each channel (dimension 1). He et al. 2015.

    >>> import tensorgrad
    >>> prelu(tensorgrad.tensor([-2.0, 1.0]), tensorgrad.tensor([0.25]))
    tensor([-0.5000,  1.0000])
    """
    _check("prelu", input)
    channels = input.array.shape[1] if input.array.ndim > 1 else 1
    count = weight.array.size
    if count not in (1, channels) or weight.array.ndim > 1:
        raise ShapeError(
            f"prelu: weight has shape {weight.shape}; it must hold one number, or {channels}, one for each channel of the input"
        )
    if input.dtype != weight.dtype:
        input, weight = tensors("prelu", input, weight)
    z: Tensor = activation.Prelu()(input, weight if weight.array.ndim else weight.reshape(1))
    return z


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), a and b the two halves of the input along `dim`. Dauphin et al. 2016."""
    _check("glu", input)
    if not input.array.ndim:
        raise ShapeError("glu: the input has no dimensions; it must have one to halve")
    size = input.array.shape[dim]
    if size % 2:
        raise ShapeError(f"glu: dimension {dim} has {size} values; it must be an even number, to halve it")
    a, b = input.chunk(2, dim)
    return a * unary.sigmoid(b)


def softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """e^x / sum e^x along `dim`: positive, summing to 1."""
    _check("softmax", input)
    return loss.softmax(input, dim, dtype)


def softmin(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """softmax(-x): positive, summing to 1, largest where x is smallest."""
    _check("softmin", input)
    return loss.softmax(-input, dim, dtype)


def log_softmax(input: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along `dim`, for values of any size."""
    _check("log_softmax", input)
    return loss.log_softmax(input, dim, dtype)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(||x||_p, eps) along `dim`."""
    _check("normalize", input)
    return input / input.norm(p, dim, keepdim=True).clamp_min(eps).expand_as(input)


def gumbel_softmax(logits: Tensor, tau: float = 1.0, hard: bool = False, dim: int = -1) -> Tensor:
    """A random draw of probabilities that can be differentiated: softmax((logits + Gumbel noise) / tau). Jang et al. 2016.

    With `hard` the values are 0 and one 1, and the gradient is that of the soft ones.
    """
    from tensorgrad.sampling import rand_like

    waiting = (-unary.log(rand_like(logits).clamp_min(1e-20))).clamp_min(1e-20)  # exponentially distributed
    noise = -unary.log(waiting)
    soft = loss.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    one = (soft.detach() == soft.detach().amax(dim, keepdim=True)).to(soft.dtype)
    return one - soft.detach() + soft


__all__ = [
    "celu",
    "elu",
    "gelu",
    "glu",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "log_softmax",
    "logsigmoid",
    "mish",
    "normalize",
    "prelu",
    "relu",
    "relu6",
    "scaled_tanh",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
]
