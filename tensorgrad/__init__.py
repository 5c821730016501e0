"""tensorgrad: automatic differentiation from scratch, with PyTorch's semantics, on NumPy or CuPy.

>>> import tensorgrad as tg
>>> x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
>>> y = (x ** 2).sum()
>>> y.backward()
>>> x.grad
tensor([2., 4., 6.])
"""

from typing import Any as _Any

import tensorgrad.ops.methods  # gives Tensor its operators and methods
from tensorgrad.autocasting import (
    autocast,
    clear_autocast_cache,
    get_autocast_dtype,
    is_autocast_cache_enabled,
    is_autocast_enabled,
)
from tensorgrad.backend import set_default_device
from tensorgrad.backend.parallel import get_num_threads, set_num_threads
from tensorgrad.creation import *
from tensorgrad.determinism import *
from tensorgrad.device import Device, get_default_device
from tensorgrad.dtypes import (
    can_cast,
    double,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    long,
    promote_types,
    set_default_dtype,
    short,
    uint8,
)
from tensorgrad.errors import OutOfMemoryError
from tensorgrad.io.files import load, save
from tensorgrad.mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_grad_enabled,
)
from tensorgrad.ops.about import *
from tensorgrad.ops.arithmetic import *
from tensorgrad.ops.arranging import *
from tensorgrad.ops.binary import *
from tensorgrad.ops.broadcasting import *
from tensorgrad.ops.cumulative import *
from tensorgrad.ops.diagonals import *
from tensorgrad.ops.einsum import *
from tensorgrad.ops.elementwise import *
from tensorgrad.ops.fills import *
from tensorgrad.ops.interop import *
from tensorgrad.ops.joining import *
from tensorgrad.ops.logic import *
from tensorgrad.ops.loss import *
from tensorgrad.ops.matmul import *
from tensorgrad.ops.norm import *
from tensorgrad.ops.picking import *
from tensorgrad.ops.products import *
from tensorgrad.ops.reduction import *
from tensorgrad.ops.scatter import *
from tensorgrad.ops.shape import *
from tensorgrad.ops.sorting import *
from tensorgrad.ops.splitting import *
from tensorgrad.ops.statistics import *
from tensorgrad.ops.unary import *
from tensorgrad.ops.unique import *
from tensorgrad.printing import set_printoptions
from tensorgrad.random import (
    Generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    set_rng_state,
)
from tensorgrad.sampling import *
from tensorgrad.tensor import (
    Tensor,
)
from tensorgrad.version import __version__

abs = absolute
bool = tensorgrad.dtypes.bool_
float = float32
int = int32
concat = cat
divide = div
mul = multiply
neg = negative
pow = power
sub = subtract


device = Device  # type: ignore[assignment] # torch.device("cpu"); the module of that name is reached by `from`
Size = tuple
dtype = tensorgrad.dtypes.DType


# the parts a user reaches as tensorgrad.nn and so on; they stand on everything above
import tensorgrad.autograd  # noqa: E402
import tensorgrad.linalg  # noqa: E402
import tensorgrad.nn  # noqa: E402
import tensorgrad.optim  # noqa: E402
import tensorgrad.optim.swa_utils  # noqa: E402
import tensorgrad.special  # noqa: E402
from tensorgrad.nn.functional import (  # noqa: E402
    adaptive_avg_pool1d,
    avg_pool1d,
    channel_shuffle,
    constant_pad_nd,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_similarity,
    group_norm,
    layer_norm,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    pairwise_distance,
    pixel_shuffle,
    pixel_unshuffle,
    rms_norm,
)


def _graph(self: "Tensor", **options: "_Any") -> "_Any":
    """A picture of how it was computed: tensorgrad.graph.draw(self, **options)."""
    from tensorgrad.graph import draw

    return draw(self, **options)


Tensor.graph = _graph  # type: ignore[method-assign, assignment]  # pictures stand on Tensors, so only the roof can give them to Tensors


_LATER = "amp backends cuda data func gradcheck graph inspect io jit models train utils".split()


def __getattr__(name: str) -> object:
    """The parts that few programs need are imported when they are first asked for."""
    if name in _LATER:
        import importlib

        return importlib.import_module(f"tensorgrad.{name}")
    if name == "bfloat16":
        return tensorgrad.dtypes.bfloat16
    if name == "vmap":
        from tensorgrad.func import vmap

        return vmap
    if name == "compile":
        from tensorgrad.replay import compile

        return compile
    raise AttributeError(f"module 'tensorgrad' has no attribute {name!r}")


__all__ = [
    "Device",
    "Generator",
    "OutOfMemoryError",
    "Tensor",
    "__version__",
    "abs",
    "adaptive_avg_pool1d",
    "autocast",
    "autograd",
    "avg_pool1d",
    "bool",
    "can_cast",
    "channel_shuffle",
    "clear_autocast_cache",
    "compile",
    "concat",
    "constant_pad_nd",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_similarity",
    "double",
    "enable_grad",
    "finfo",
    "float",
    "float16",
    "float32",
    "float64",
    "get_autocast_dtype",
    "get_default_device",
    "get_default_dtype",
    "get_num_threads",
    "get_rng_state",
    "group_norm",
    "half",
    "iinfo",
    "inference_mode",
    "initial_seed",
    "int",
    "int8",
    "int16",
    "int32",
    "int64",
    "is_autocast_cache_enabled",
    "is_autocast_enabled",
    "is_grad_enabled",
    "layer_norm",
    "linalg",
    "load",
    "long",
    "manual_seed",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "mul",
    "neg",
    "nn",
    "no_grad",
    "optim",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "pow",
    "promote_types",
    "rms_norm",
    "save",
    "set_default_device",
    "set_default_dtype",
    "set_grad_enabled",
    "set_num_threads",
    "set_printoptions",
    "set_rng_state",
    "short",
    "special",
    "sub",
    "uint8",
]
__all__ += tensorgrad.creation.__all__
__all__ += tensorgrad.determinism.__all__
__all__ += tensorgrad.ops.about.__all__
__all__ += tensorgrad.ops.arithmetic.__all__
__all__ += tensorgrad.ops.arranging.__all__
__all__ += tensorgrad.ops.binary.__all__
__all__ += tensorgrad.ops.broadcasting.__all__
__all__ += tensorgrad.ops.cumulative.__all__
__all__ += tensorgrad.ops.diagonals.__all__
__all__ += tensorgrad.ops.einsum.__all__
__all__ += tensorgrad.ops.elementwise.__all__
__all__ += tensorgrad.ops.fills.__all__
__all__ += tensorgrad.ops.interop.__all__
__all__ += tensorgrad.ops.joining.__all__
__all__ += tensorgrad.ops.logic.__all__
__all__ += tensorgrad.ops.loss.__all__
__all__ += tensorgrad.ops.matmul.__all__
__all__ += tensorgrad.ops.norm.__all__
__all__ += tensorgrad.ops.picking.__all__
__all__ += tensorgrad.ops.products.__all__
__all__ += tensorgrad.ops.reduction.__all__
__all__ += tensorgrad.ops.scatter.__all__
__all__ += tensorgrad.ops.shape.__all__
__all__ += tensorgrad.ops.sorting.__all__
__all__ += tensorgrad.ops.splitting.__all__
__all__ += tensorgrad.ops.statistics.__all__
__all__ += tensorgrad.ops.unary.__all__
__all__ += tensorgrad.ops.unique.__all__
__all__ += tensorgrad.sampling.__all__
