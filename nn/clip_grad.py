"""Gradients made smaller before a step."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tensorgrad.backend import backend_of
from tensorgrad.errors import GraphError
from tensorgrad.tensor import Tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p._grad for p in given if p._grad is not None]


def get_total_norm(tensors: Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """The norm of all the Tensors' values taken as one vector."""
    found = [x.detach() for x in ([tensors] if isinstance(tensors, Tensor) else tensors)]
    if not found:
        from tensorgrad.creation import tensor

        return tensor(0.0)
    norms = [x.abs().amax() if norm_type == math.inf else x.norm(norm_type) for x in found if x.array.size]
    first = norms[0]
    together = Tensor(backend_of(first.array).stack([n.to(first.device, first.dtype).array for n in norms], 0))
    total = together.amax() if norm_type == math.inf else together.norm(norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise GraphError(
            f"clip_grad_norm_: the total norm of the gradients is {total.item()}; pass error_if_nonfinite=False to scale by it"
        )
    return total


def clip_grads_with_norm_(parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor) -> None:
    """Scale all gradients by max_norm / (total_norm + 1e-6), if that makes them smaller."""
    for g in _gradients(parameters):
        share = (float(max_norm) / (total_norm + 1e-6)).clamp_max(1.0)
        g.storage.written("clip_grad_norm_")
        g.array *= share.to(g.device, g.dtype).array  # no look at the number, so that a GPU need not be waited for


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients together so that their total norm is at most max_norm; returns what it was.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([3.0, 4.0], requires_grad=True)
    >>> (x * x / 2).sum().backward()
    >>> clip_grad_norm_([x], max_norm=1.0), x.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    total = get_total_norm(_gradients(given), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(given, max_norm, total)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Bring every value of every gradient into [-clip_value, clip_value]."""
    for g in _gradients(parameters):
        g.storage.written("clip_grad_value_")
        g.array[...] = backend_of(g.array).clamp(g.array, -float(clip_value), float(clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters' values one after the other, as one vector; differentiable."""
    from tensorgrad.ops.joining import cat

    return cat([p.reshape(-1) for p in parameters], 0)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters the values of a vector such as parameters_to_vector makes."""
    offset = 0
    for p in parameters:
        p.data.copy_(vec.detach()[offset : offset + p.array.size].reshape(p.shape))
        offset += p.array.size
