"""torch.func's names: derivatives as functions of functions, on arguments that may be tuples, lists or dicts of Tensors."""

from tensorgrad.autodiff import hvp
from tensorgrad.func.batching import vmap
from tensorgrad.func.derivatives import grad, grad_and_value, jvp, linearize, value_and_grad, vjp
from tensorgrad.func.matrices import hessian, jacfwd, jacrev
from tensorgrad.func.modules import functional_call, stack_module_state

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "hvp",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "value_and_grad",
    "vjp",
    "vmap",
]
