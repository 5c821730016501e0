"""torch.autograd's names: backward, grad, the grad modes, and gradient checks."""

from tensorgrad.anomaly import (
    detect_anomaly,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    set_detect_anomaly,
)
from tensorgrad.autodiff import backward, grad, hessian, hvp, jacobian, jvp, vjp
from tensorgrad.autograd import forward_ad, function, functional, graph
from tensorgrad.autograd.function import Function
from tensorgrad.gradcheck import GradcheckError, gradcheck, gradgradcheck
from tensorgrad.mode import enable_grad, inference_mode, no_grad, set_grad_enabled

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
