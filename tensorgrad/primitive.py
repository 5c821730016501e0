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
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy

from tensorgrad.backend import array_types, backend_of, register
from tensorgrad.dtypes import is_floating
from tensorgrad.errors import DeviceError, DtypeError, GraphError, ShapeError, TensorgradError
from tensorgrad.mode import Scope, mode
from tensorgrad.storage import Storage
from tensorgrad.tensor import Extra, Tensor

# Called as observer(primitive, inputs, outputs) for every application, recorded or not. Empty and free by default.
observers: list[Callable[[Primitive, tuple[Any, ...], tuple[Tensor, ...]], None]] = []

# Counting down makes the newest node the smallest, which is what a heap gives first.
_order = itertools.count(-1, -1)
_new_tensor = object.__new__


class Tape:
    """The backend of Tensors: every kernel name applies the primitive of that name and records it."""

    name = "tape"

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the tape has no operation {name!r}: no primitive and no composed rule bears that name")


tape = Tape()
register(tape, Tensor)


class Deferred:
    """Stands where a node's saved values were, and knows how to get them back."""

    __slots__ = ()

    def restore(self, node: Primitive) -> list[Any]:
        """The values as the node saved them."""
        raise NotImplementedError


class Freed(Deferred):
    """Stands where a node's saved values were, and knows who used them up."""

    __slots__ = ("where",)

    def __init__(self, where: str) -> None:
        self.where = where

    def restore(self, node: Primitive) -> list[Any]:
        raise GraphError(
            f"{node.name}: its saved values were already used and freed by the backward call at {self.where}; "
            "to go backward a second time, pass retain_graph=True to the first call"
        )


class NodeExtra:
    """What few nodes have: values saved after a change in place, a shared output, tangents."""

    __slots__ = ("dual", "hooks", "origin", "output_storage", "output_tangents", "sums", "versions")

    def __init__(self) -> None:
        self.versions: dict[int, int] = {}  # position in saved -> version, where it was not 0
        self.sums: dict[int, int] = {}  # position in saved -> checksum, where NumPy has the memory
        self.output_storage: Storage | None = None
        self.dual: set[int] = set()  # levels at which an input carried a tangent: backward runs the rules on Tensors
        self.output_tangents: dict[int, Tensor] | None = None
        self.hooks: dict[int, dict[int, Callable[[Any], Any]]] | None = None  # by the number of the result
        self.origin: tuple[str, Any, Any] | None = None  # in anomaly mode: layer, stack, sums over what was saved

    def close(self, level: int) -> None:
        """Forget the tangents of a level whose jvp has returned: nobody can ask for them any more.

        They came out of this node, so they hold it, and it must not hold them for longer than needed.
        """
        self.dual.discard(level)
        if self.output_tangents:
            self.output_tangents = {at: dx for at, dx in self.output_tangents.items() if at != level} or None


#: The levels of the calls of jvp that are running, with what its nodes have to forget when it returns.
open_levels: dict[int, list[NodeExtra]] = {}


class Primitive:
    """One application of a differentiable map. Subclasses give forward, jvp and vjp (see the module's text).

    forward(*arrays) -> array, or a tuple of arrays for several results
    jvp(*tangents, *kept) -> tangent of the result: one tangent an input, zeros where an input has none (None where it
        can have none), kept values by name as in vjp
    vjp(cotangent, *kept) -> cotangents of the inputs, None for those without. With several results `cotangent` is a list
        with None for the unused ones. `self.needs(i)` tells whether input i wants its cotangent.
    """

    __slots__ = ("extra", "order", "out_dtype", "out_shape", "parents", "saved", "scope", "shapes")

    parents: list[Any]
    saved: Any
    order: int
    scope: Scope | None
    extra: NodeExtra | None
    shapes: list[tuple[int, ...] | None] | None
    out_shape: (
        Any  # of the result, for graphs: the node does not hold the result itself; a list where there are several
    )
    out_dtype: Any

    # read off the class when it is defined
    name = ""  # the kernel's name: the class's, in snake_case
    settings: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()  # empty for any number of inputs
    keeps: tuple[int, ...] = ()  # positions of inputs, -1 for the output
    jvp_keeps: tuple[int, ...] = ()

    # said by the class
    differentiable = True  # False: integer results or zero derivative; nothing is recorded
    broadcasts = False  # inputs broadcast against each other; cotangents are summed back to their shapes
    bilinear = False
    missing_tangents = False  # jvp takes None for an input without a tangent
    state: tuple[str, ...] = ()  # attributes that forward fills for the rules and backward frees

    forward: Callable[..., Any]
    jvp: Callable[..., Any]
    vjp: Callable[..., Any]

    def __init_subclass__(cls) -> None:
        if not hasattr(cls, "forward"):
            return  # a base of primitives, not one itself
        if not (cls.__doc__ or "").strip():
            raise TypeError(f"primitive {cls.__name__}: its docstring must be its formula")
        cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        cls.settings = () if cls.__init__ is object.__init__ else tuple(_parameters(cls.__init__))
        taken = sorted(set(cls.settings) & set(Primitive.__slots__))
        if taken:
            raise TypeError(
                f"primitive {cls.__name__}: a setting is called {taken[0]!r}, a name that every node uses itself"
            )
        variadic = bool(inspect.unwrap(cls.forward).__code__.co_flags & inspect.CO_VARARGS)
        cls.inputs = () if variadic else tuple(_parameters(cls.forward))
        if cls.differentiable:
            for rule in ("jvp", "vjp"):
                if not hasattr(cls, rule):
                    raise TypeError(f"primitive {cls.__name__} has no {rule}")
            cls.keeps = cls._positions("vjp", 1)
            cls.jvp_keeps = cls._positions("jvp", len(cls.inputs))
        _put_on_tape(cls, variadic)

    @classmethod
    def _positions(cls, rule: str, skip: int) -> tuple[int, ...]:
        """Where the values that a rule names are found: an input's position, or -1 for the output."""
        positions = []
        for name in _parameters(getattr(cls, rule))[skip:]:
            if name != "out" and name not in cls.inputs:
                raise TypeError(
                    f"primitive {cls.__name__}: {rule} asks for {name!r}; there are {', '.join(cls.inputs) or 'no named inputs'} and out"
                )
            positions.append(-1 if name == "out" else cls.inputs.index(name))
        return tuple(positions)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.settings)})"

    def needs(self, position: int) -> bool:
        """Whether input number `position` wants its cotangent; a rule may return None where it does not."""
        return self.parents[position] is not None

    def again(self, *inputs: Any) -> Any:
        """The same map, same settings, on other inputs: computed for arrays, recorded for Tensors."""
        fresh = type(self)(*[getattr(self, name) for name in self.settings])
        for x in inputs:
            if isinstance(x, Tensor):
                return fresh(*inputs)
        return fresh.forward(*inputs)

    # applying it: the hot path, one plain loop

    def __call__(self, *inputs: Any) -> Any:
        arrays = []
        parents: list[Any] = []
        track = rare = False
        for x in inputs:
            if isinstance(x, Tensor):
                arrays.append(x.array)
                if x.extra is not None:
                    rare = True
                if x.tracked:
                    node = x.node
                    parents.append(x if node is None else node)
                    track = True
                    continue
            else:
                arrays.append(x)
            parents.append(None)
        try:
            out = self.forward(*arrays)
        except Exception as error:
            self._fail(error, inputs)
        kind = type(out)
        if kind is tuple:
            return self._finish_several(inputs, out, parents, track, rare)
        if kind not in array_types:
            out = numpy.asarray(out)  # NumPy gives a scalar where a result has no dimensions
        z = _new_tensor(Tensor)
        z.array = out
        z._grad = z.extra = None
        if track and self.differentiable and mode.recording:
            z.tracked = True
            z.node = self
            self._record(inputs, arrays, parents, out)
            if rare or observers:
                self._finish(inputs, (z,), True)
        else:
            z.tracked = False
            z.node = None
            if rare or observers or mode.inference:
                self._finish(inputs, (z,), False)
        return z

    def of_two(self, x: Tensor, y: Tensor) -> Tensor:
        """self(x, y) of two Tensors, recorded: the same without loops, for what chains of small operations are made of."""
        tracks, other_tracks = x.tracked, y.tracked
        plain = x.extra is None and y.extra is None and not observers
        if not plain or not (tracks or other_tracks) or not mode.recording:
            return self(x, y)  # type: ignore[no-any-return]
        arrays = x.array, y.array
        try:
            out = self.forward(*arrays)
        except Exception as error:
            self._fail(error, (x, y))
        if type(out) not in array_types:
            out = numpy.asarray(out)
        z = _new_tensor(Tensor)
        z.array = out
        z._grad = z.extra = None
        z.tracked = True
        z.node = self
        parents: list[Any] = [None, None]
        if tracks:
            parents[0] = x if x.node is None else x.node
        if other_tracks:
            parents[1] = y if y.node is None else y.node
        self._record((x, y), arrays, parents, out)
        return z

    def _record(self, inputs: tuple[Any, ...], arrays: Sequence[Any], parents: list[Any], out: Any) -> None:
        """Become a node: remember the parents and what the rules need."""
        self.parents = parents
        self.order = next(_order)
        self.scope = mode.scope
        self.extra = None
        if type(out) is tuple:
            self.out_shape, self.out_dtype = [z.shape for z in out], [z.dtype for z in out]
        else:
            self.out_shape = out.shape
            self.out_dtype = out.dtype
        if self.bilinear:  # the cotangent of one factor needs the other
            self.saved = [None if parents[1] is None else inputs[0], None if parents[0] is None else inputs[1]]
        else:
            saved = self.saved = []
            for position in self.keeps:
                saved.append(inputs[position] if position >= 0 else out)
        if self.broadcasts:
            self.shapes = None
            shape = self.out_shape
            position = 0  # counted by hand: zip costs a tenth of the operation
            for parent in parents:
                if parent is not None and arrays[position].shape != shape:
                    self.shapes = [None if p is None else a.shape for a, p in zip(arrays, parents)]
                    break
                position += 1

    def _fail(self, error: Exception, inputs: tuple[Any, ...]) -> NoReturn:
        """Raise the error of forward, or a clearer one."""
        explained = self._explain(error, inputs)
        try:
            if explained is None:
                raise error
            raise explained from error
        finally:  # an error holds this frame: held by it in turn, it would keep the inputs' memory after it is caught
            del error, explained

    def _explain(self, error: Exception, inputs: tuple[Any, ...]) -> Exception | None:
        """A clearer error than the array library's, or None where there is nothing to add."""
        if isinstance(error, TensorgradError):
            return None
        devices = {str(x.device) for x in inputs if isinstance(x, Tensor)}
        if len(devices) > 1:
            places = [f"{name} on '{x.device}'" for name, x in self._named(inputs) if isinstance(x, Tensor)]
            return DeviceError(
                f"{self.name}: got {', '.join(places)}; all must be on one device, move one with .to(device)"
            )
        if isinstance(error, ValueError):
            shapes = [f"{name} of shape {x.shape}" for name, x in self._named(inputs) if isinstance(x, Tensor)]
            rule = "sizes must be equal or 1, compared from the last dimension" if self.broadcasts else str(error)
            return ShapeError(f"{self.name}: got {', '.join(shapes)}; {rule}")
        if isinstance(error, TypeError) and ("ufunc" in str(error) or "boolean" in str(error)):
            kinds = [f"{name} of dtype {x.dtype}" for name, x in self._named(inputs) if isinstance(x, Tensor)]
            return DtypeError(f"{self.name}: got {', '.join(kinds)}, which it does not take; convert with .to(dtype)")
        return None

    def _named(self, inputs: tuple[Any, ...]) -> list[tuple[str, Any]]:
        names = self.inputs or tuple(f"input {i}" for i in range(len(inputs)))
        return list(zip(names, inputs))

    # the rare cases after forward

    def _finish(self, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...], recorded: bool) -> None:
        if mode.inference:
            for z in outputs:
                z.make_extra().inference = True
        extras = [x.extra for x in inputs if isinstance(x, Tensor) and x.extra is not None]
        if extras:
            if recorded:
                self._remember_versions(extras)
            if self.differentiable and any(extra.tangents for extra in extras):
                self.push_tangents(inputs, outputs, recorded)
        for observer in observers:
            observer(self, inputs, outputs)

    def _remember_versions(self, extras: list[Extra]) -> None:
        if any(extra.inference for extra in extras):
            raise GraphError(
                f"{self.name}: an input was made under inference_mode and cannot be recorded; use .clone() outside of it"
            )
        for position, value in enumerate(self.saved):
            if isinstance(value, Tensor) and value.extra is not None and value.extra.storage is not None:
                storage = value.extra.storage
                if storage.version:
                    self.make_extra().versions[position] = storage.version
                noted = storage.sum_of(value.array)
                if noted is not None:
                    self.make_extra().sums[position] = noted

    def make_extra(self) -> NodeExtra:
        if self.extra is None:
            self.extra = NodeExtra()
        return self.extra

    def output_is_shared(self, storage: Storage) -> None:
        """Told when the output Tensor's memory gets a Storage: from now on it may be changed in place."""
        if -1 in self.keeps and type(self.saved) is list and self.saved[self.keeps.index(-1)] is not None:
            self.make_extra().output_storage = storage

    def _finish_several(
        self, inputs: tuple[Any, ...], outs: tuple[Any, ...], parents: list[Any], track: bool, rare: bool
    ) -> tuple[Tensor, ...]:
        recorded = track and self.differentiable and mode.recording
        outputs = []
        for position, out in enumerate(outs):
            z = Tensor(out if type(out) in array_types else numpy.asarray(out))
            if recorded and is_floating(z.array.dtype):
                z.tracked = True
                z.node = Output(self, position)
            outputs.append(z)
        if recorded:
            self._record(inputs, [], parents, outs)
            for z in outputs:
                if z.node is not None:
                    z.node.order = self.order
        if rare or observers or mode.inference:
            self._finish(inputs, tuple(outputs), recorded)
        return tuple(outputs)

    # forward mode

    def push_tangents(self, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...], recorded: bool) -> None:
        """Give the outputs their tangents, one level after the other, the outermost (smallest) first.

        A value with tangents a at level 1 and b at level 2 stands for x + a e1 + b e2, where b may itself have a part in
        e1. The derivative of level 2 belongs to the inner call, so level 1 is everywhere part of the values it sees:
        the rule of level L runs on the inputs with all their tangents below L, and so its result has them too.
        """
        levels: set[int] = set()
        for x in inputs:
            if isinstance(x, Tensor) and x.extra is not None and x.extra.tangents:
                levels.update(x.extra.tangents)
        levels &= open_levels.keys()  # a Tensor carried out of its jvp has no tangent any more
        casting, mode.autocast = mode.autocast, None  # the rules work in the dtypes that forward chose
        try:
            self._push_levels(inputs, outputs, recorded, levels)
        finally:
            mode.autocast = casting

    def _push_levels(
        self, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...], recorded: bool, levels: set[int]
    ) -> None:
        for level in sorted(levels):
            values = [x.below(level) if isinstance(x, Tensor) else x for x in inputs]
            dxs = [x.tangent(level) if isinstance(x, Tensor) else None for x in inputs]
            plain = not recorded and len(levels) == 1 and all(dx is None or _is_plain(dx) for dx in dxs)
            if not self.missing_tangents:
                dxs = [_zero_like(x) if dx is None else dx for x, dx in zip(values, dxs)]
            out = [z.alias(None if z.extra is None else z.extra.tangents) for z in outputs]
            kept = [values[i] if i >= 0 else out[0] for i in self.jvp_keeps]
            if plain:
                dz = self.jvp(*[_array(dx) for dx in dxs], *[_array(x) for x in kept])
            else:
                dz = self.jvp(*dxs, *kept)
            dzs = dz if len(outputs) > 1 or isinstance(dz, tuple) else (dz,)
            for z, tangent in zip(outputs, dzs):
                if tangent is not None and is_floating(z.array.dtype):
                    extra = z.make_extra()
                    tangent = tangent if isinstance(tangent, Tensor) else Tensor(_as_array(tangent))
                    extra.tangents = {**(extra.tangents or {}), level: tangent}
        if recorded and levels:
            node_extra = self.make_extra()
            node_extra.dual = levels
            for level in levels:
                open_levels[level].append(node_extra)
            node_extra.output_tangents = None if outputs[0].extra is None else outputs[0].extra.tangents

    # what backward asks of a node

    def saved_arrays(self) -> list[Any]:
        """The kept values as arrays, for the rules of first-order backward."""
        saved = self.saved
        if type(saved) is not list:
            saved = saved.restore(self)
        values = []
        for position, value in enumerate(saved):
            if isinstance(value, Tensor):
                if value.extra is not None:
                    self._check_version(position, value)
                array = value.array
                values.append(array if array.ndim else array[()])  # NumPy is faster on scalars than on 0-d arrays
            else:
                values.append(value)
        if self.extra is not None:
            self._check_output()
        return values

    def saved_tensors(self) -> list[Any]:
        """The kept values as Tensors at the places on the tape where this node found them, for higher orders."""
        saved = self.saved
        if type(saved) is not list:
            saved = saved.restore(self)
        if self.extra is not None:
            self._check_output()
        values = []
        for index, (position, value) in enumerate(zip(self.keeps, saved)):
            if value is None:
                pass  # an input that is None, or what this application does not need
            elif position < 0:
                out = Tensor(value)
                out.tracked, out.node = True, self
                if self.extra is not None and self.extra.output_tangents:
                    out.make_extra().tangents = self.extra.output_tangents
                value = out
            elif isinstance(value, Tensor):
                self._check_version(index, value)
                value = self._as_recorded(value, self.parents[position])
            values.append(value)
        return values

    def _as_recorded(self, value: Tensor, parent: Any) -> Tensor:
        """`value` with the history it had when this node was recorded (it may have been detached or overwritten since)."""
        edge = (value if value.node is None else value.node) if value.tracked else None
        if edge is parent:
            return value
        past = Tensor(value.array)
        past.tracked, past.node = parent is not None, parent
        if value.extra is not None and value.extra.tangents:
            past.make_extra().tangents = value.extra.tangents
        return past

    def _check_version(self, index: int, value: Tensor) -> None:
        version = value._version
        needed = 0 if self.extra is None else self.extra.versions.get(index, 0)
        if version != needed:
            assert value.extra is not None and value.extra.storage is not None
            self._refuse_changed(self._saved_name(index), value.shape, value.extra.storage)
        if value.is_lent:
            storage = value.storage
            noted = None if self.extra is None else self.extra.sums.get(index)
            if storage.changed_by_numpy(value.array, noted):
                self._refuse_changed_by_numpy(self._saved_name(index))

    def _check_output(self) -> None:
        storage = None if self.extra is None else self.extra.output_storage
        if storage is not None:
            if storage.version:
                self._refuse_changed("its result", None, storage)
            if storage.changed_by_numpy(None, None):
                self._refuse_changed_by_numpy("its result")

    def _saved_name(self, index: int) -> str:
        place = index if self.bilinear else self.keeps[index]
        return f"its input {self.inputs[place]}" if self.inputs else f"its input {place}"

    def _refuse_changed_by_numpy(self, what: str) -> None:
        raise GraphError(
            f"{self.name}: {what} is needed for the gradient, but was changed behind tensorgrad's back, through a NumPy array "
            "on the same memory (x.numpy(), or the array it was made from); change a copy"
        )

    def _refuse_changed(self, what: str, shape: Any, storage: Storage) -> None:
        of_shape = "" if shape is None else f" of shape {shape}"
        raise GraphError(
            f"{self.name}: {what}{of_shape} is needed for the gradient, but was changed in place by {storage.writer} "
            f"(now at version {storage.version}); change a .clone() instead, or use the out-of-place operation"
        )

    def free(self, freed: Deferred) -> None:
        """Let go of the saved values."""
        self.saved = freed
        for name in self.state:
            setattr(self, name, None)


class Output:
    """The place on the tape of one of several results."""

    __slots__ = ("node", "order", "position")

    def __init__(self, node: Primitive, position: int) -> None:
        self.node = node
        self.position = position
        self.order = 0

    def __repr__(self) -> str:
        return f"{self.node!r}[{self.position}]"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Output) and self.node is other.node and self.position == other.position

    def __hash__(self) -> int:
        return hash((id(self.node), self.position))

    def output_is_shared(self, storage: Storage) -> None:
        self.node.output_is_shared(storage)


class Linear(Primitive):
    """A linear map: its derivative is the map itself."""

    __slots__ = ()

    def jvp(self, *dxs: Any) -> Any:
        return self.again(*dxs)


class Bilinear(Primitive):
    """z(x, y), linear in each argument: dz = z(dx, y) + z(x, dy).

    A subclass gives the two adjoint maps vjp_x(dz, y) and vjp_y(dz, x); each factor is kept only if the other one's cotangent
    is wanted.
    """

    __slots__ = ()
    bilinear = True
    missing_tangents = True

    vjp_x: Callable[..., Any]
    vjp_y: Callable[..., Any]

    def jvp(self, dx: Any, dy: Any, x: Any, y: Any) -> Any:
        if dy is None:
            return self.again(dx, y)
        if dx is None:
            return self.again(x, dy)
        left = self.again(dx, y)
        return backend_of(left).add(left, self.again(x, dy))

    def vjp(self, dz: Any, x: Any, y: Any) -> tuple[Any, Any]:
        wants_x, wants_y = self.parents
        return (
            None if wants_x is None else self.vjp_x(dz, y),
            None if wants_y is None else self.vjp_y(dz, x),
        )

    @classmethod
    def _positions(cls, rule: str, skip: int) -> tuple[int, ...]:
        return (0, 1)


class View(Linear):
    """A linear map whose result looks at its input's memory: a change of one is seen by the other."""

    __slots__ = ()

    def __call__(self, x: Any) -> Any:
        z = Primitive.__call__(self, x)
        may_share_memory = backend_of(x.array).may_share_memory
        for position, view in enumerate(z if type(z) is tuple else (z,)):
            if may_share_memory(x.array, view.array):
                storage = x.storage
                extra = view.make_extra()
                extra.storage = storage
                extra.view = (x, self.alone(position))
                storage.add_view(view)
        return z

    def alone(self, position: int) -> View:
        """The view that gives result number `position` and no other."""
        return self


def _parameters(function: Callable[..., Any]) -> list[str]:
    """The names of a method's positional parameters after self."""
    code = inspect.unwrap(function).__code__  # twenty times as fast as inspect.signature, at every import
    return list(code.co_varnames[1 : code.co_argcount])


def _put_on_tape(cls: type[Primitive], variadic: bool) -> None:
    """tape.name(*inputs, *settings); with any number of inputs tape.name(inputs, *settings).

    Refuses a name that another module's primitive has: the rules of others, which call it, would silently compute something
    else. The same module may define its class anew, as a notebook does.
    """
    count = len(cls.inputs)
    holder = getattr(tape, cls.name, None)
    if holder is not None and getattr(holder, "__module__", "") != cls.__module__:
        raise TypeError(
            f"primitive {cls.__name__}: {cls.name!r} is on the tape already, from {getattr(holder, '__module__', 'the tape')}, "
            "and its derivatives are computed with it by others; give the class another name"
        )

    def apply(*arguments: Any) -> Any:
        if variadic:
            return cls(*arguments[1:])(*arguments[0])
        return cls(*arguments[count:])(*arguments[:count])

    apply.__name__ = apply.__qualname__ = cls.name
    apply.__module__ = cls.__module__
    setattr(tape, cls.name, apply)


def _is_plain(x: Tensor) -> bool:
    return not x.tracked and (x.extra is None or not x.extra.tangents)


def alone(node: Primitive) -> Primitive:
    """The map by itself, for a kernel that takes it as an argument: a recording of the kernels' calls keeps their arguments, and
    must not keep what the node holds."""
    return node if mode.recorder is None else type(node)(*[getattr(node, name) for name in node.settings])


def _zero_like(x: Any) -> Tensor | None:
    if not isinstance(x, Tensor) or not is_floating(x.array.dtype):
        return None
    return Tensor(backend_of(x.array).zeros_like(x.array))


def _array(x: Any) -> Any:
    return x.array if isinstance(x, Tensor) else x


def _as_array(x: Any) -> Any:
    return x if type(x) in array_types else numpy.asarray(x)


def sum_to(dz: Any, shape: tuple[int, ...]) -> Any:
    """The adjoint of broadcasting: sum over the leading axes and over those of length 1, down to `shape`."""
    if dz.shape == shape:
        return dz
    lead = dz.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and dz.shape[lead + i] != 1)
    backend = backend_of(dz)
    return backend.reshape(backend.sum(dz, axes, True), shape)


def check_floating(operation: str, x: Tensor) -> None:
    """Refuse a Tensor that is not of a floating-point type."""
    if not is_floating(x.array.dtype):
        raise DtypeError(f"{operation}: got dtype {x.array.dtype}; it needs a floating-point Tensor, use .float()")
