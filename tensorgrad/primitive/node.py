"""Primitive: how a class is read when it is defined, and how it is applied and recorded; Output, one of several results."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy

from tensorgrad.backend import array_types
from tensorgrad.dtypes import is_floating
from tensorgrad.mode import Scope, mode
from tensorgrad.primitive.refusals import explained
from tensorgrad.primitive.saved import Deferred, remember_versions
from tensorgrad.primitive.tangents import push_tangents
from tensorgrad.primitive.tape_backend import parameters, put_class_on_tape
from tensorgrad.storage import Storage
from tensorgrad.tensor import Tensor

# Called as observer(primitive, inputs, outputs) for every application, recorded or not. Empty and free by default.
observers: list[Callable[[Primitive, tuple[Any, ...], tuple[Tensor, ...]], None]] = []

# Counting down makes the newest node the smallest, which is what a heap gives first.
_order = itertools.count(-1, -1)
_new_tensor = object.__new__


class Lent(tuple):  # type: ignore[type-arg]
    """Cotangents that a rule gives and others may hold, a user's backward above all: who keeps one makes a copy."""

    __slots__ = ()


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


class Primitive:
    """One application of a differentiable map. Subclasses give forward, jvp and vjp (see the package's text).

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
        cls.settings = () if cls.__init__ is object.__init__ else tuple(parameters(cls.__init__))
        taken = sorted(set(cls.settings) & set(Primitive.__slots__))
        if taken:
            raise TypeError(
                f"primitive {cls.__name__}: a setting is called {taken[0]!r}, a name that every node uses itself"
            )
        variadic = bool(inspect.unwrap(cls.forward).__code__.co_flags & inspect.CO_VARARGS)
        cls.inputs = () if variadic else tuple(parameters(cls.forward))
        if cls.differentiable:
            for rule in ("jvp", "vjp"):
                if not hasattr(cls, rule):
                    raise TypeError(f"primitive {cls.__name__} has no {rule}")
            cls.keeps = cls._positions("vjp", 1)
            cls.jvp_keeps = cls._positions("jvp", len(cls.inputs))
        put_class_on_tape(cls, variadic)

    @classmethod
    def _positions(cls, rule: str, skip: int) -> tuple[int, ...]:
        """Where the values that a rule names are found: an input's position, or -1 for the output."""
        positions = []
        for name in parameters(getattr(cls, rule))[skip:]:
            if name != "out" and name not in cls.inputs:
                known = ", ".join(cls.inputs) or "no named inputs"
                raise TypeError(f"primitive {cls.__name__}: {rule} asks for {name!r}; there are {known} and out")
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
        clearer = explained(self, error, inputs)
        try:
            if clearer is None:
                raise error
            raise clearer from error
        finally:  # an error holds this frame: held by it in turn, it would keep the inputs' memory after it is caught
            del error, clearer

    # the rare cases after forward

    def _finish(self, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...], recorded: bool) -> None:
        if mode.inference:
            for z in outputs:
                z.make_extra().inference = True
        extras = [x.extra for x in inputs if isinstance(x, Tensor) and x.extra is not None]
        if extras:
            if recorded:
                remember_versions(self, extras)
            if self.differentiable and any(extra.tangents for extra in extras):
                push_tangents(self, inputs, outputs, recorded)
        for observer in observers:
            observer(self, inputs, outputs)

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

    # what others ask of a node

    def make_extra(self) -> NodeExtra:
        """Its NodeExtra, made if it has none."""
        if self.extra is None:
            self.extra = NodeExtra()
        return self.extra

    def output_is_shared(self, storage: Storage) -> None:
        """Told when the output Tensor's memory gets a Storage: from now on it may be changed in place."""
        if -1 in self.keeps and type(self.saved) is list and self.saved[self.keeps.index(-1)] is not None:
            self.make_extra().output_storage = storage

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


def alone(node: Primitive) -> Primitive:
    """The map by itself, for a kernel that takes it as an argument: a recording of the kernels' calls keeps their arguments, and
    must not keep what the node holds."""
    return node if mode.recorder is None else type(node)(*[getattr(node, name) for name in node.settings])
