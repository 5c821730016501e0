"""torch.autograd's names: backward, grad, the grad modes, and gradient checks."""

from typing import TYPE_CHECKING, Any

from tensorgrad.anomaly import (
    detect_anomaly,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_detect_anomaly,
)
from tensorgrad.autodiff import backward, grad, hessian, hvp, jacobian, jvp, vjp
from tensorgrad.autograd import forward_ad, function, functional, graph
from tensorgrad.autograd.function import Function
from tensorgrad.mode import enable_grad, inference_mode, no_grad, set_grad_enabled

if TYPE_CHECKING:
    from tensorgrad.gradcheck import GradcheckError, gradcheck, gradgradcheck

__all__ = [
    "Function",
    "GradcheckError",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "forward_ad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "hessian",
    "hvp",
    "inference_mode",
    "is_anomaly_check_nan_enabled",
    "is_anomaly_enabled",
    "jacobian",
    "jvp",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "vjp",
]


def __getattr__(name: str) -> Any:
    """The gradient checks, read when first asked for: a sixth of the time of `import tensorgrad`."""
    if name not in ("GradcheckError", "gradcheck", "gradgradcheck"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import tensorgrad.gradcheck as checks

    return getattr(checks, name)
