"""The node of a user's Function: what the tape calls, and how the results get their places there and their tangents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import is_floating
from tensorgrad.errors import GraphError, OperandError, ShapeError
from tensorgrad.mode import mode
from tensorgrad.ops.inplace import refresh_views
from tensorgrad.ops.operands import cast
from tensorgrad.primitive import Lent, Output, Primitive
from tensorgrad.primitive.refusals import refuse_changed, refuse_changed_by_numpy
from tensorgrad.primitive.tangents import give_tangent, note_levels
from tensorgrad.saved import Packed, packed
from tensorgrad.tensor import Tensor

if TYPE_CHECKING:
    from tensorgrad.autograd.function import Context, Function


class _Result:
    """Stands in ctx for a result of the node: the node must not hold it, or nothing would ever be freed."""

    def __init__(self, position: int, x: Tensor) -> None:
        self.position = position
        self.array = x.array
        self.storage = x.storage
        self.version = x.storage.version
        self.noted = x.storage.sum_of(x.array)


class FunctionCall(Primitive):
    """z = the user's forward(x)        dz = the user's jvp(dx)"""

    __slots__ = ("__weakref__", "context", "function", "layouts", "tensors")
    state = ("context",)

    context: Context
    tensors: list[tuple[tuple[int, ...], Any] | None]  # shape and dtype of each argument that is a Tensor
    layouts: list[tuple[tuple[int, ...], Any, Any]]  # shape, dtype and backend of each result

    def __init__(self, function: type[Function]) -> None:
        self.function = function

    def __repr__(self) -> str:
        return self.function.__name__

    def forward(self, *xs: Any) -> Any:
        raise GraphError(f"{self.function.__name__}: a Function is applied through .apply")

    def vjp(self, dz: Any) -> Any:
        parts = dz if type(dz) is list else [dz]
        arrays = not any(isinstance(part, Tensor) for part in parts) and not mode.recording
        context = self.context
        cotangents: list[Tensor | None] = []
        for position, (shape, dtype, backend) in enumerate(self.layouts):
            part = parts[position] if position < len(parts) else None
            if part is None:
                part = Tensor(backend.zeros(shape, dtype)) if context._materialize else None
            elif not isinstance(part, Tensor):
                part = Tensor(backend_of(part).asarray(part))
            cotangents.append(part)
        grads = self.function.backward(context, *cotangents)
        return self._checked_grads(grads, arrays)

    def _checked_grads(self, grads: Any, arrays: bool) -> tuple[Any, ...]:
        """The cotangents of the Tensors among the arguments, of their shapes and dtypes."""
        name = self.function.__name__
        given = list(grads) if isinstance(grads, (tuple, list)) else [grads]
        arguments = len(self.tensors)
        if any(g is not None for g in given[arguments:]) or len(given) < arguments:
            raise GraphError(
                f"{name}.backward: it returned {len(given)} gradients; forward has {arguments} arguments, return one for each "
                "(None where there is none)"
            )
        found: list[Any] = []
        for position, wanted in enumerate(self.tensors):
            if wanted is None:
                continue
            shape, dtype = wanted
            g = given[position]
            if g is None:
                found.append(None)
                continue
            if not isinstance(g, Tensor):
                raise OperandError(
                    f"{name}.backward: gradient {position} is a {type(g).__name__}; return a Tensor or None"
                )
            if g.shape != shape:
                raise ShapeError(f"{name}.backward: gradient {position} has shape {g.shape}; the argument has {shape}")
            g = cast(g, dtype) if is_floating(dtype) else g  # as PyTorch does
            found.append(g.array if arrays else g)
        return Lent(found)

    def jvp(self, *dxs: Any) -> Any:
        return self.function.jvp(self.context, *dxs)

    # what ctx asks

    def checked(self, position: int, value: Any) -> Any:
        """A saved Tensor, unchanged since; a result as a Tensor at its place on the tape."""
        if isinstance(value, Packed):
            return value.get()
        if isinstance(value, _Result):
            if value.storage.version != value.version:
                refuse_changed(self, "its result", value.array.shape, value.storage)
            if value.storage.changed_by_numpy(value.array, value.noted):
                refuse_changed_by_numpy(self, "its result")
            z = Tensor(value.array)
            z.tracked = True
            z.node = self if len(self.layouts) == 1 else _output(self, value.position)
            return z
        if isinstance(value, Tensor) and value._version != self.context._versions[position]:
            refuse_changed(self, "a saved Tensor", value.shape, value.storage)
        if isinstance(value, Tensor) and value.is_lent:
            if value.storage.changed_by_numpy(value.array, self.context._sums[position]):
                refuse_changed_by_numpy(self, "a saved Tensor")
        return value


def _output(node: Primitive, position: int) -> Output:
    place = Output(node, position)
    place.order = node.order
    return place


def without_tangents(x: Any) -> Any:
    """An argument as forward gets it."""
    if isinstance(x, Tensor) and x.extra is not None and x.extra.tangents:
        return x.alias(None)
    return x


def put_back(context: Context, plain: Sequence[Any], args: Sequence[Any]) -> None:
    """Saved inputs are the caller's own, with their tangents."""
    own = {id(x): y for x, y in zip(plain, args)}
    context._saved = tuple(own.get(id(x), x) for x in context._saved)
    if context._for_jvp is not None:
        context._for_jvp = tuple(own.get(id(x), x) for x in context._for_jvp)
    context._dirty = tuple(own.get(id(x), x) for x in context._dirty)


def results_of(
    node: FunctionCall,
    context: Context,
    args: Sequence[Any],
    plain: Sequence[Any],
    outs: list[Any],
    record: bool,
    versions: list[int],
) -> list[Any]:
    """The results as the caller gets them, at their places on the tape."""
    name = node.function.__name__
    own = {id(x): y for x, y in zip(plain, args) if isinstance(x, Tensor)}
    dirty = {id(x) for x in context._dirty}
    tensors = [x for x in args if isinstance(x, Tensor)]
    for x, before in zip(tensors, versions):
        if x._version != before and id(x) not in dirty:
            raise GraphError(f"{name}.forward: it changed an input in place; say so with ctx.mark_dirty(input)")
    results: list[Any] = []
    for z in outs:
        if isinstance(z, Tensor):
            given = own.get(id(z))
            if given is not None and id(given) in dirty:
                z = given
            elif given is not None or z.tracked or (z.extra is not None and z.extra.view is not None):
                z = Tensor(backend_of(z.array).copy(z.array))  # an input, or a view of one, is a result of its own
        results.append(z)
    if not dirty <= {id(z) for z in results}:
        raise GraphError(f"{name}.forward: an input marked dirty must be returned")
    if record:
        _record(node, context, args, outs, results, dirty)
    return results


def _record(
    node: FunctionCall, context: Context, args: Sequence[Any], outs: list[Any], results: list[Any], dirty: set[int]
) -> None:
    """Put the node on the tape, and the results behind it."""
    pairs = [(z, raw) for z, raw in zip(results, outs) if isinstance(z, Tensor)]
    parents = [(x if x.node is None else x.node) if x.tracked else None for x in args if isinstance(x, Tensor)]
    Primitive._record(node, (), [], parents, tuple(z.array for z, _ in pairs))
    node.tensors = [(x.shape, x.dtype) if isinstance(x, Tensor) else None for x in args]
    node.layouts = [(z.shape, z.dtype, backend_of(z.array)) for z, _ in pairs]
    constants = {id(x) for x in context._not_differentiable}
    for position, (z, raw) in enumerate(pairs):
        if id(raw) in constants or not is_floating(z.array.dtype):
            continue
        if id(z) in dirty:
            _refuse_dirty(z, node.function.__name__)
        z.tracked = True
        z.node = node if len(pairs) == 1 else _output(node, position)
        if id(z) in dirty:
            refresh_views(z)
    made = {id(x): position for position, pair in enumerate(pairs) for x in pair}
    given = {id(x) for x in args} - dirty
    context._versions = [x._version if isinstance(x, Tensor) else 0 for x in context._saved]
    context._sums = [x.storage.sum_of(x.array) if isinstance(x, Tensor) and x.is_lent else None for x in context._saved]
    context._saved = tuple(
        _Result(made[id(x)], pairs[made[id(x)]][0]) if id(x) in made and id(x) not in given else packed(x)
        for x in context._saved
    )


def _refuse_dirty(x: Tensor, name: str) -> None:
    if x.tracked and x.node is None:
        raise GraphError(f"{name}: a leaf that requires grad cannot be changed in place; change a .clone()")
    if x.extra is not None and x.extra.view is not None:
        raise GraphError(f"{name}: an input that is a view cannot be marked dirty; change a .clone()")


def push(node: FunctionCall, args: Sequence[Any], results: list[Tensor], levels: list[int]) -> None:
    """Tangents of the results, level by level: the user's jvp runs on what is below the level (see Primitive)."""
    context = node.context
    for level in levels:
        dxs = [x.tangent(level) if isinstance(x, Tensor) else None for x in args]
        context._level = level
        try:
            dzs = node.jvp(*dxs)
        finally:
            context._level = None
        dzs = list(dzs) if isinstance(dzs, (tuple, list)) else [dzs]
        if len(dzs) != len(results):
            raise GraphError(
                f"{node.function.__name__}.jvp: it returned {len(dzs)} tangents for {len(results)} results; return one for each"
            )
        for z, dz in zip(results, dzs):
            if dz is None or not is_floating(z.array.dtype):
                continue
            if dz.shape != z.shape:
                raise ShapeError(
                    f"{node.function.__name__}.jvp: a tangent has shape {dz.shape}; the result has {z.shape}"
                )
            give_tangent(z, level, dz)
    if any(z.node is not None for z in results):
        note_levels(node, set(levels))
