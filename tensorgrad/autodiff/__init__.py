"""Derivatives: backward and grad (reverse mode), jvp (forward mode), and what is built of them.

reverse.py    the walk over the tape
gradients.py  derivatives of what was recorded: backward, grad
functions.py  derivatives of a function at a point: jvp, vjp, jacobian, hessian, hvp

What forward mode does at each application is in tensorgrad.primitive.tangents.
"""

from tensorgrad.autodiff.functions import fresh, has_history, hessian, hvp, jacobian, jvp, new_level, vjp
from tensorgrad.autodiff.gradients import backward, grad

__all__ = [
    "backward",
    "fresh",
    "grad",
    "has_history",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "new_level",
    "vjp",
]
