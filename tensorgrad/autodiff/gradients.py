"""Derivatives of what was recorded: `backward` adds them to the leaves' `.grad`, `grad` returns them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tensorgrad.autodiff.reverse import run_backward, wrap
from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError, GraphError, OperandError, ShapeError
from tensorgrad.locks import lock
from tensorgrad.primitive import tape
from tensorgrad.tensor import Tensor

_leaf_lock = lock()


def _first_cotangent(root: Tensor, given: Tensor | None, operation: str) -> Tensor:
    if not root.tracked:
        raise GraphError(
            f"{operation}: the Tensor does not require grad and has no history; was it computed under no_grad, or from Tensors "
            "without requires_grad=True?"
        )
    if given is None:
        if root.array.size != 1:
            raise GraphError(
                f"{operation}: got a Tensor of shape {root.shape}; without a gradient argument it must be a scalar (reduce it with "
                ".sum() or .mean(), or give the cotangent)"
            )
        return Tensor(backend_of(root.array).ones(root.shape, root.dtype))
    if not isinstance(given, Tensor):
        raise OperandError(f"{operation}: the gradient is a {type(given).__name__}; give a Tensor or None")
    if given.shape != root.shape:
        raise ShapeError(f"{operation}: the gradient has shape {given.shape}; the output has shape {root.shape}")
    return given if given.dtype == root.dtype else tape.cast(given, root.dtype)  # type: ignore[no-any-return]


def _starts(
    roots: Sequence[Tensor], given: Sequence[Tensor | None] | None, operation: str, create_graph: bool
) -> list[Any]:
    if given is not None and len(given) != len(roots):
        raise ArgumentError(f"{operation}: got {len(given)} gradients for {len(roots)} outputs; give one each, or None")
    starts = [_first_cotangent(z, dz, operation) for z, dz in zip(roots, given or [None] * len(roots))]
    if create_graph or any(dz.extra is not None and dz.extra.tangents for dz in starts):
        return list(starts)
    return [dz.array for dz in starts]


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add to `.grad` of every leaf x the vector-Jacobian product dz^T (dz/dx).

    tensors       what to differentiate; a scalar needs no cotangent
    grad_tensors  the cotangents, of the shapes of `tensors`
    retain_graph  keep the saved values for another backward (default: as create_graph)
    create_graph  record the gradients themselves, for higher orders
    inputs        only these leaves collect a gradient

    Raises GraphError where nothing was recorded or the saved values are gone.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor(3.0, requires_grad=True)
    >>> backward(x ** 2)
    >>> x.grad
    tensor(6.)
    """
    roots = listed(tensors)
    starts = _starts(roots, None if grad_tensors is None else listed(grad_tensors), "backward", create_graph)
    wanted = None if inputs is None else {_place(x, "backward") for x in listed(inputs)}
    keep = create_graph if retain_graph is None else retain_graph
    arrived = run_backward(roots, starts, retain_graph=keep, create_graph=create_graph, wanted=wanted)
    for place, dz in arrived.items():
        if isinstance(place, Tensor):
            _accumulate(place, dz)
            if place.extra is not None and place.extra.after:
                for hook in list(place.extra.after.values()):
                    hook(place)
    for x in [] if inputs is None else listed(inputs):
        if x.node is not None and x.node in arrived:
            _accumulate(x, arrived.pop(x.node))  # given once, however often it is named


def _accumulate(leaf: Tensor, dz: Any) -> None:
    """leaf.grad += dz, in memory that belongs to the leaf alone."""
    with _leaf_lock:
        grad = leaf._grad
        if isinstance(dz, Tensor):
            leaf._grad = tape.clone(dz) if grad is None else tape.add(grad, dz)
        elif grad is None:
            leaf._grad = wrap(dz)
        else:
            grad.storage.written("backward")
            grad.array += dz


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Tensor | Sequence[Tensor | None] | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Tensor, ...]:
    """The vector-Jacobian products of `outputs` with respect to `inputs`; no `.grad` is touched.

    Arguments as in `backward`. An input that the outputs do not depend on is an error, unless `allow_unused` (then None)
    or `materialize_grads` (then zeros).

    >>> import tensorgrad
    >>> x = tensorgrad.tensor(3.0, requires_grad=True)
    >>> (g,) = grad(x ** 3, x, create_graph=True)
    >>> grad(g, x)
    (tensor(18.),)
    """
    roots, xs = listed(outputs), listed(inputs)
    starts = _starts(roots, None if grad_outputs is None else listed(grad_outputs), "grad", create_graph)
    places = [_place(x, "grad") for x in xs]
    keep = create_graph if retain_graph is None else retain_graph
    arrived = run_backward(roots, starts, retain_graph=keep, create_graph=create_graph, wanted=set(places))
    results: list[Any] = []
    for position, (x, place) in enumerate(zip(xs, places)):
        dz = arrived.get(place)
        if dz is None:
            if not (allow_unused or materialize_grads):
                raise GraphError(
                    f"grad: the outputs do not depend on input {position}, of shape {x.shape}; pass allow_unused=True to get None, "
                    "materialize_grads=True to get zeros"
                )
            results.append(Tensor(backend_of(x.array).zeros_like(x.array)) if materialize_grads else None)
        else:
            results.append(dz if isinstance(dz, Tensor) else wrap(dz))
    return tuple(results)


def listed(x: Any) -> list[Any]:
    """One or several, as a list."""
    return list(x) if isinstance(x, (list, tuple)) else [x]


def _place(x: Tensor, operation: str) -> Any:
    if not isinstance(x, Tensor):
        raise OperandError(f"{operation}: an input is a {type(x).__name__}; give Tensors")
    if not x.tracked:
        raise GraphError(
            f"{operation}: an input of shape {x.shape} does not require grad; set requires_grad=True on it first"
        )
    return x if x.node is None else x.node
