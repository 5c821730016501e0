"""The tape. A primitive is one differentiable map; an instance of its class is one application of it, a node.

    class Exp(Primitive):
        '''z = e^x        dz = z dx'''
        def forward(self, x):    return backend_of(x).exp(x)
        def jvp(self, dx, out):  return out * dx
        def vjp(self, dz, out):  return out * dz

- The constructor's arguments are the settings (axis, stride): immutable, shown in repr and graphs.
- The names after `dz` in `vjp` are what stays in memory: inputs by name, or `out`. They are read when the class is defined.
- The rules are polymorphic. `backend_of(array)` holds kernels; `backend_of(tensor)` is the tape, where the same names apply
  primitives. So a rule called with arrays computes, and called with Tensors also records (second order and beyond).
- A node holds its inputs, never its output Tensor: when the user drops the loss, reference counting frees the graph.
- Nodes carry a growing order; backward (in tensorgrad.autodiff) visits them newest first.

node.py          Primitive: how a class is read, applied and recorded; Output, one of several results
linear.py        the kinds that give a rule for free: Linear, Bilinear, View; and sum_to, the adjoint of broadcasting
tangents.py      forward mode: what an application does to the tangents of its inputs
saved.py         what a node keeps for backward, as backward reads it, and how a change since is found
refusals.py      the errors of an application, in the words of the operation
tape_backend.py  the backend of Tensors, where every primitive is found by its name
"""

from tensorgrad.primitive.linear import Bilinear, Linear, View, sum_to
from tensorgrad.primitive.node import Lent, NodeExtra, Output, Primitive, alone, observers
from tensorgrad.primitive.refusals import check_floating
from tensorgrad.primitive.saved import Deferred, Freed
from tensorgrad.primitive.tangents import open_levels
from tensorgrad.primitive.tape_backend import tape

__all__ = [
    "Bilinear",
    "Deferred",
    "Freed",
    "Lent",
    "Linear",
    "NodeExtra",
    "Output",
    "Primitive",
    "View",
    "alone",
    "check_floating",
    "observers",
    "open_levels",
    "sum_to",
    "tape",
]
