"""torch.autograd.graph's names: what a node is, and what becomes of the values it saves."""

from tensorgrad.primitive import Primitive as Node
from tensorgrad.saved import save_on_cpu, saved_tensors_hooks

__all__ = ["Node", "save_on_cpu", "saved_tensors_hooks"]
