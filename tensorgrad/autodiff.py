"""Derivatives of what was recorded: backward and grad (reverse mode), jvp (forward mode), and what is built of them.

Backward keeps a heap of nodes, newest first, and the cotangents that wait at each. A node is visited once, when everything
that used its result has been visited, because whatever used it is newer. Nothing recurses, so any depth will do.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tensorgrad.anomaly import explain_error, refuse_changed, refuse_nan
from tensorgrad.backend import array_types, backend_of, without_warnings
from tensorgrad.errors import ArgumentError, GraphError, OperandError, ShapeError
from tensorgrad.gradient_hooks import run_hooks
from tensorgrad.locks import lock
from tensorgrad.mode import enable_grad, mode
from tensorgrad.primitive import Freed, NodeExtra, Output, Primitive, open_levels, sum_to, tape
from tensorgrad.primitive.saved import saved_arrays, saved_tensors
from tensorgrad.tensor import Tensor

_leaf_lock = lock()
_levels = itertools.count(1)


def run_backward(
    roots: Sequence[Tensor],
    cotangents: Sequence[Any],
    *,
    retain_graph: bool,
    create_graph: bool,
    wanted: set[Any] | None = None,
) -> dict[Any, Any]:
    """Send cotangents from the roots down the tape; returns what arrived at each leaf and at each wanted place.

    The rules run on arrays, or on Tensors if a graph of the gradient is wanted or anything at hand carries a tangent.
    With `wanted`, only nodes from which a wanted place can be reached are visited.
    """
    # place -> the sum of the cotangents that have arrived there. Of a node with several results: the list of the places
    # (Output) of those that were used.
    pending: dict[Any, Any] = {}
    # Sums made here may be added to in place; a first arrival may be shared with others and is not touched.
    own: set[Any] = set()
    arrived: dict[Any, Any] = {}
    heap: list[tuple[int, Primitive]] = []
    useful = None if wanted is None else _nodes_towards(roots, wanted)
    freed = None if retain_graph else Freed(_caller())
    heappush, heappop = heapq.heappush, heapq.heappop

    def send(parents: Sequence[Any], grads: Sequence[Any], shared: Any) -> None:
        """Add each cotangent to the sum at its place; what is new waits on the heap (leaves wait for the end)."""
        for place, g in zip(parents, grads):
            if place is None or g is None or (useful is not None and place not in useful):
                continue
            before = pending.get(place)
            if before is not None:
                if type(before) not in array_types or type(g) not in array_types:  # NumPy's scalars, Tensors
                    pending[place] = before + g
                    own.discard(place)
                elif place in own:
                    before += g
                else:
                    pending[place] = backend_of(before).add(before, g)
                    own.add(place)
            elif isinstance(place, Primitive):
                pending[place] = g
                heappush(heap, (place.order, place))
            elif isinstance(place, Tensor):
                # a leaf keeps what it gets, so it must be its own
                pending[place] = _own(g) if _is_shared(g, shared, grads) else g
                if type(g) in array_types:
                    own.add(place)
            else:
                pending[place] = g
                node = place.node
                if node not in pending:
                    pending[node] = []
                    heappush(heap, (node.order, node))
                pending[node].append(place)

    recording, casting = mode.recording, mode.autocast
    mode.recording, mode.autocast = create_graph, None  # the rules work in the dtypes that forward chose
    try:
        with without_warnings():
            for root, cotangent in zip(roots, cotangents):
                send((root if root.node is None else root.node,), (cotangent,), cotangent)
            while heap:
                node = heappop(heap)[1]
                dz = pending.pop(node)
                if node in own:
                    own.remove(node)
                extra = node.extra
                if type(dz) is list:
                    dz = _collect(dz, pending, own, wanted, arrived, create_graph)
                    tensors = create_graph or any(isinstance(part, Tensor) for part in dz)
                else:
                    if extra is not None and extra.hooks:
                        dz = run_hooks(extra.hooks.get(0), dz, create_graph)
                    tensors = create_graph or isinstance(dz, Tensor)
                    if wanted is not None and node in wanted:
                        arrived[node] = _own(dz)
                if useful is not None and not any(p is not None and p in useful for p in node.parents):
                    continue
                if extra is not None:
                    grads = _special(node, extra, dz, tensors)
                elif tensors:
                    grads = node.vjp(_as_tensors(dz), *saved_tensors(node))
                else:
                    grads = node.vjp(dz, *saved_arrays(node))
                if type(grads) is not tuple:
                    grads = (grads,)
                if extra is not None and extra.origin is not None:
                    refuse_nan(node, dz, grads)
                if node.broadcasts and node.shapes is not None:
                    grads = [g if g is None or s is None else sum_to(g, s) for g, s in zip(grads, node.shapes)]
                if freed is not None and (node.saved or node.state):  # who keeps nothing can go backward again
                    node.saved = freed
                    if node.state:
                        node.free(freed)
                send(node.parents, grads, dz)
            for place, dz in pending.items():  # the leaves
                if isinstance(place, Tensor) and place.extra is not None and place.extra.hooks:
                    dz = run_hooks(place.extra.hooks, dz, create_graph)
                arrived[place] = dz
    finally:
        mode.recording, mode.autocast = recording, casting
    return arrived


def _special(node: Primitive, extra: NodeExtra, dz: Any, tensors: bool) -> Any:
    """The cotangents of a node's inputs, where it carries tangents or is watched in anomaly mode."""
    try:
        if extra.origin is not None:
            refuse_changed(node)
        if tensors or extra.dual:
            return node.vjp(_as_tensors(dz), *saved_tensors(node))
        return node.vjp(dz, *saved_arrays(node))
    except Exception as error:
        if extra.origin is not None:
            explain_error(node, error)
        raise


def _collect(
    places: list[Output],
    pending: dict[Any, Any],
    own: set[Any],
    wanted: set[Any] | None,
    arrived: dict[Any, Any],
    create_graph: bool,
) -> list[Any]:
    """The cotangents of a node's several results, None for those nobody used."""
    parts: list[Any] = [None] * (1 + max(place.position for place in places))
    for place in places:
        dz = pending.pop(place)
        own.discard(place)
        extra = place.node.extra
        if extra is not None and extra.hooks:
            dz = run_hooks(extra.hooks.get(place.position), dz, create_graph)
        parts[place.position] = dz
        if wanted is not None and place in wanted:
            arrived[place] = _own(dz)
    return parts


def _own(dz: Any) -> Any:
    """A cotangent in memory of its own, for someone who keeps it."""
    return dz if isinstance(dz, Tensor) else backend_of(dz).copy(dz)


def _is_shared(g: Any, dz: Any, grads: Sequence[Any]) -> bool:
    """Whether a rule gave as g what a leaf cannot keep: memory of its cotangent dz (as addition and reshape do), what it gave
    to another input too, or one value for many places (as broadcasting does)."""
    if type(g) not in array_types:
        return False
    # a broadcast array has strides of 0 or, from NumPy, cannot be written; CuPy's flags do not tell
    if 0 in g.strides or not getattr(g.flags, "writeable", True) or sum(g is other for other in grads) > 1:
        return True
    may_share_memory = backend_of(g).may_share_memory
    for part in dz if type(dz) is list else (dz,):
        if type(part) is type(g) and may_share_memory(part, g):
            return True
    return False


def _nodes_towards(roots: Sequence[Tensor], wanted: set[Any]) -> set[Any]:
    """The places between the roots and the wanted ones: those from which a wanted place can be reached."""
    children: dict[Any, list[Any]] = {}
    stack = [root if root.node is None else root.node for root in roots]
    seen = set(stack)
    found = [place for place in stack if place in wanted]
    while stack:
        place = stack.pop()
        if isinstance(place, Tensor):
            continue
        below = [place.node] if type(place) is Output else place.parents
        for parent in below:
            if parent is None:
                continue
            children.setdefault(parent, []).append(place)
            if parent not in seen:
                seen.add(parent)
                stack.append(parent)
                if parent in wanted:
                    found.append(parent)
    useful = set(found)
    while found:
        for place in children.get(found.pop(), ()):
            if place not in useful:
                useful.add(place)
                found.append(place)
    return useful


def _wrap(array: Any) -> Tensor:
    backend = backend_of(array)
    return Tensor(array if isinstance(array, backend.array_type) else backend.asarray(array))


def _as_tensors(dz: Any) -> Any:
    if type(dz) is list:
        return [None if part is None else _as_tensors(part) for part in dz]
    return dz if isinstance(dz, Tensor) else _wrap(dz)


def _caller() -> str:
    """file:line of the first frame outside of this package, for the message about a second backward."""
    frame: Any = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "tensorgrad":
        frame = frame.f_back
    return "an unknown place" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


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
    roots = _listed(tensors)
    starts = _starts(roots, None if grad_tensors is None else _listed(grad_tensors), "backward", create_graph)
    wanted = None if inputs is None else {_place(x, "backward") for x in _listed(inputs)}
    keep = create_graph if retain_graph is None else retain_graph
    arrived = run_backward(roots, starts, retain_graph=keep, create_graph=create_graph, wanted=wanted)
    for place, dz in arrived.items():
        if isinstance(place, Tensor):
            _accumulate(place, dz)
            if place.extra is not None and place.extra.after:
                for hook in list(place.extra.after.values()):
                    hook(place)
    for x in [] if inputs is None else _listed(inputs):
        if x.node is not None and x.node in arrived:
            _accumulate(x, arrived[x.node])


def _accumulate(leaf: Tensor, dz: Any) -> None:
    """leaf.grad += dz, in memory that belongs to the leaf alone."""
    with _leaf_lock:
        grad = leaf._grad
        if isinstance(dz, Tensor):
            leaf._grad = tape.clone(dz) if grad is None else tape.add(grad, dz)
        elif grad is None:
            leaf._grad = _wrap(dz)
        else:
            grad.array += dz
            grad.storage.version += 1
            grad.storage.writer = "backward"


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
    roots, xs = _listed(outputs), _listed(inputs)
    starts = _starts(roots, None if grad_outputs is None else _listed(grad_outputs), "grad", create_graph)
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
            results.append(dz if isinstance(dz, Tensor) else _wrap(dz))
    return tuple(results)


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple)) else [x]


def _place(x: Tensor, operation: str) -> Any:
    if not isinstance(x, Tensor):
        raise OperandError(f"{operation}: an input is a {type(x).__name__}; give Tensors")
    if not x.tracked:
        raise GraphError(
            f"{operation}: an input of shape {x.shape} does not require grad; set requires_grad=True on it first"
        )
    return x if x.node is None else x.node


# forward mode


def new_level() -> int:
    """The number of a derivative in forward mode, larger than all before it."""
    return next(_levels)


def jvp(function: Callable[..., Any], primals: Any, tangents: Any) -> tuple[Any, Any]:
    """The value of function(*primals) and its derivative along `tangents`, in one forward pass.

    primals, tangents  a Tensor or a tuple of Tensors, tangents of the primals' shapes and dtypes
    Returns (output, tangent of the output), each a Tensor or a tuple as the function gives. Calls nest to any order, and
    mix with backward and grad.

    >>> import tensorgrad
    >>> x, dx = tensorgrad.tensor([1.0, 2.0]), tensorgrad.tensor([1.0, 0.0])
    >>> jvp(lambda x: x * x, (x,), (dx,))
    (tensor([1., 4.]), tensor([2., 0.]))
    """
    xs, dxs = _listed(primals), _listed(tangents)
    if len(xs) != len(dxs):
        raise ArgumentError(f"jvp: got {len(xs)} primals and {len(dxs)} tangents; give one tangent for each primal")
    level = next(_levels)
    duals = []
    for position, (x, dx) in enumerate(zip(xs, dxs)):
        if x.shape != dx.shape or x.dtype != dx.dtype:
            raise ShapeError(
                f"jvp: tangent {position} has shape {dx.shape} and dtype {dx.dtype}; its primal has {x.shape} and {x.dtype}"
            )
        before = None if x.extra is None else x.extra.tangents
        duals.append(x.alias({**(before or {}), level: dx}))
    open_levels[level] = []
    try:
        out = function(*duals)
        results = [_split(z, level) for z in _listed(out)]
    finally:
        for node_extra in open_levels.pop(level):
            node_extra.close(level)
    if isinstance(out, (list, tuple)):
        return tuple(z for z, _ in results), tuple(dz for _, dz in results)
    return results[0]


def _split(z: Tensor, level: int) -> tuple[Tensor, Tensor]:
    if not isinstance(z, Tensor):
        raise OperandError(f"jvp: the function returned a {type(z).__name__}; it must return Tensors")
    dz = z.tangent(level)
    if dz is None:
        dz = Tensor(backend_of(z.array).zeros_like(z.array))
    return z.below(level), dz


def vjp(function: Callable[..., Any], *primals: Tensor) -> tuple[Any, Callable[..., tuple[Tensor, ...]]]:
    """The value of function(*primals), and the map from a cotangent of it to the cotangents of the primals.

    >>> import tensorgrad
    >>> out, pullback = vjp(lambda x: x * x, tensorgrad.tensor([1.0, 2.0]))
    >>> pullback(tensorgrad.tensor([1.0, 1.0]))
    (tensor([2., 4.]),)
    """
    xs = fresh(primals)
    with enable_grad():
        out = function(*xs)
    outs = _listed(out)

    def pullback(*cotangents: Tensor) -> tuple[Tensor, ...]:
        outer = mode.recording and any(has_history(dz) for dz in [*cotangents, *primals])
        return grad(outs, xs, list(cotangents), retain_graph=True, create_graph=outer, materialize_grads=True)

    return out, pullback


def has_history(x: Tensor) -> bool:
    return x.tracked or (x.extra is not None and bool(x.extra.tangents))


def fresh(primals: Sequence[Tensor]) -> list[Tensor]:
    """The same values as inputs of their own, still attached to what they came from."""
    fresh = []
    with enable_grad():
        for x in primals:
            z = tape.identity(x)
            if not z.tracked:
                z.requires_grad = True
            fresh.append(z)
    return fresh


def jacobian(function: Callable[..., Tensor], x: Tensor, create_graph: bool = False) -> Tensor:
    """The m-by-n Jacobian J[i, j] = df_i/dx_j of f at x, of shape (*output shape, *input shape), row by row in reverse mode.

    >>> import tensorgrad
    >>> jacobian(lambda x: x * x, tensorgrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    (z,) = fresh([x])
    with enable_grad():
        out = function(z)
    backend = backend_of(out.array)
    rows = []
    for i in range(out.array.size):
        unit = backend.zeros((out.array.size,), out.dtype)
        unit[i] = 1
        (row,) = grad(
            out,
            z,
            Tensor(backend.reshape(unit, out.shape)),
            retain_graph=True,
            create_graph=create_graph,
            materialize_grads=True,
        )
        rows.append(row)
    if not rows:
        return Tensor(backend.zeros((*out.shape, *x.shape), out.dtype))
    return tape.reshape(tape.stack(rows, 0), (*out.shape, *x.shape))


def hessian(function: Callable[..., Tensor], x: Tensor) -> Tensor:
    """The matrix of second derivatives of a scalar f at x, of shape (*x.shape, *x.shape).

    >>> import tensorgrad
    >>> hessian(lambda x: (x ** 3).sum(), tensorgrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacobian(lambda y: _gradient(function, y), x)


def hvp(function: Callable[..., Tensor], x: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and the Hessian of f at x times v, forward over reverse: about four evaluations of f, no matrix.

    >>> import tensorgrad
    >>> hvp(lambda x: (x ** 3).sum(), tensorgrad.tensor([1.0, 2.0]), tensorgrad.tensor([0.0, 1.0]))[1]
    tensor([ 0., 12.])
    """
    value: list[Tensor] = []

    def gradient(y: Tensor) -> Tensor:
        return _gradient(function, y, value)

    _, product = jvp(gradient, (x,), (v,))
    # without a history of x or v, the product's leads only to the leaf that _gradient made
    return Tensor(value[0].array), product if has_history(x) or has_history(v) else Tensor(product.array)


def _gradient(function: Callable[..., Tensor], x: Tensor, value: list[Tensor] | None = None) -> Tensor:
    (z,) = fresh([x])
    with enable_grad():
        out = function(z)
    if value is not None:
        value.append(out)
    return grad(out, z, create_graph=True, materialize_grads=True)[0]
