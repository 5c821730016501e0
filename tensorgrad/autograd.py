"""torch.autograd's names: backward, grad, the grad modes, and gradient checks."""

from tensorgrad.autodiff import backward, grad, hessian, hvp, jacobian, jvp, vjp
from tensorgrad.gradcheck import GradcheckError, gradcheck
from tensorgrad.mode import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = [
    "GradcheckError",
    "backward",
    "enable_grad",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "inference_mode",
    "jacobian",
    "jvp",
    "no_grad",
    "set_grad_enabled",
    "vjp",
]
