"""tensorgrad: automatic differentiation from scratch, with PyTorch's semantics, on NumPy or CuPy.

>>> import tensorgrad as tg
>>> x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> y = (x ** 2).sum()
>>> y.backward()
>>> x.grad
tensor([2., 4., 6.])
"""

import tensorgrad.ops.methods  # gives Tensor its operators and methods
from tensorgrad.backend import set_default_device
from tensorgrad.creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from tensorgrad.device import Device, get_default_device
from tensorgrad.dtypes import (
    double,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    int8,
    int16,
    int32,
    int64,
    long,
    set_default_dtype,
    uint8,
)
from tensorgrad.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from tensorgrad.ops.arithmetic import *
from tensorgrad.ops.elementwise import *
from tensorgrad.ops.indexing import *
from tensorgrad.ops.loss import *
from tensorgrad.ops.matmul import *
from tensorgrad.ops.reduction import *
from tensorgrad.ops.shape import *
from tensorgrad.random import (
    Generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    set_rng_state,
)
from tensorgrad.tensor import (
    Tensor,
)
from tensorgrad.version import __version__

abs = absolute
bool = tensorgrad.dtypes.bool_
concat = cat
div = divide
eq, ge, gt, le, lt, ne = equal, greater_equal, greater, less_equal, less, not_equal
mul = multiply
neg = negative
pow = power
sub = subtract


# the parts a user reaches as tensorgrad.nn and so on; they stand on everything above
import tensorgrad.autograd  # noqa: E402
import tensorgrad.nn  # noqa: E402
import tensorgrad.optim  # noqa: E402


def __getattr__(name: str) -> object:
    """The parts that few programs need are imported when they are first asked for."""
    if name in ("data", "graph", "io", "models", "train"):
        import importlib

        return importlib.import_module(f"tensorgrad.{name}")
    raise AttributeError(f"module 'tensorgrad' has no attribute {name!r}")


__all__ = [
    "Device",
    "Generator",
    "Tensor",
    "__version__",
    "abs",
    "arange",
    "as_tensor",
    "autograd",
    "bool",
    "concat",
    "div",
    "double",
    "empty",
    "empty_like",
    "enable_grad",
    "eq",
    "eye",
    "float16",
    "float32",
    "float64",
    "from_numpy",
    "full",
    "full_like",
    "ge",
    "get_default_device",
    "get_default_dtype",
    "get_rng_state",
    "gt",
    "half",
    "inference_mode",
    "initial_seed",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_grad_enabled",
    "le",
    "linspace",
    "long",
    "lt",
    "manual_seed",
    "mul",
    "ne",
    "neg",
    "nn",
    "no_grad",
    "ones",
    "ones_like",
    "optim",
    "pow",
    "rand",
    "rand_like",
    "randint",
    "randn",
    "randn_like",
    "randperm",
    "set_default_device",
    "set_default_dtype",
    "set_grad_enabled",
    "set_rng_state",
    "sub",
    "tensor",
    "uint8",
    "zeros",
    "zeros_like",
]
__all__ += tensorgrad.ops.arithmetic.__all__
__all__ += tensorgrad.ops.elementwise.__all__
__all__ += tensorgrad.ops.indexing.__all__
__all__ += tensorgrad.ops.loss.__all__
__all__ += tensorgrad.ops.matmul.__all__
__all__ += tensorgrad.ops.reduction.__all__
__all__ += tensorgrad.ops.shape.__all__
