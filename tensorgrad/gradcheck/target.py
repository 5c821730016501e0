"""What is checked: a function of some Tensors, whatever it was made of (a function, a primitive, a module)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy

from tensorgrad.autodiff import grad, jvp
from tensorgrad.backend import backend_of, without_warnings
from tensorgrad.dtypes import is_floating
from tensorgrad.gradcheck.report import GradcheckUsageError
from tensorgrad.mode import enable_grad
from tensorgrad.primitive import Primitive, tape
from tensorgrad.random import standing_in
from tensorgrad.tensor import Tensor

Arrays = list[Any]


class Target:
    """A function of the checked inputs alone, and the point to check it at.

    function  takes one Tensor for each of `arrays`, returns a tuple of Tensors
    arrays    the point: an array of the backend's for each checked input
    names     what reports call them

    Every call draws the same random numbers, so that dropout is a function too.
    """

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], arrays: Arrays, names: Sequence[str], seed: int
    ) -> None:
        self.function = function
        self.arrays = arrays
        self.names = list(names)
        self.seed = seed
        self.evaluations = 0
        self.size = 0.0  # of the largest value of the functions that this one is a derivative of

    def call(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """The floating-point results; integer ones have no derivative."""
        self.evaluations += 1
        with standing_in(numpy.random.default_rng(self.seed)), without_warnings():
            outs = self.function(*inputs)
        return tuple(z for z in outs if is_floating(z.dtype))

    def leaves(self, arrays: Arrays | None = None) -> list[Tensor]:
        """Inputs that require grad, as the function may itself take a gradient."""
        return [Tensor(array, requires_grad=True) for array in (self.arrays if arrays is None else arrays)]

    def gradient(self, random: numpy.random.Generator, cotangents: Sequence[Tensor] | None = None) -> Target | None:
        """The target (x, u) -> J(x)^T u, of one order more; None where no output has a gradient."""
        count = len(self.arrays)
        with enable_grad():
            outs = self.call(*self.leaves())
        tracked = [k for k, z in enumerate(outs) if z.tracked]
        if not tracked:
            return None
        if cotangents is None:
            us = [_like(outs[k], random.standard_normal(outs[k].shape)) for k in tracked]
        else:
            if len(cotangents) != len(outs):
                raise GradcheckUsageError(
                    f"gradgradcheck: got {len(cotangents)} grad_outputs for {len(outs)} outputs; give one each"
                )
            us = [cotangents[k].array for k in tracked]

        def pull(*inputs: Tensor) -> tuple[Tensor, ...]:
            with enable_grad():
                xs = [_place_of_its_own(x) for x in inputs[:count]]
                zs = self.call(*xs)
                return grad(
                    [zs[k] for k in tracked], xs, list(inputs[count:]), create_graph=True, materialize_grads=True
                )

        names = [*self.names, *(f"cotangent {k}" for k in tracked)]
        return self._of_more(pull, us, names, outs)

    def _of_more(
        self, function: Callable[..., tuple[Tensor, ...]], more: Arrays, names: list[str], outs: Sequence[Tensor]
    ) -> Target:
        target = Target(function, [*self.arrays, *more], names, self.seed)
        tops = [numpy.abs(backend_of(z.array).to_host(z.array)).max(initial=0) for z in outs]
        target.size = max([self.size, *(float(top) for top in tops)])
        return target

    def tangent(self, random: numpy.random.Generator) -> Target:
        """The target (x, v) -> J(x) v, of one order more."""
        count = len(self.arrays)
        vs = [_like(Tensor(x), random.standard_normal(x.shape)) for x in self.arrays]

        def push(*inputs: Tensor) -> tuple[Tensor, ...]:
            return tuple(jvp(self.call, tuple(inputs[:count]), tuple(inputs[count:]))[1])

        names = [*self.names, *(f"tangent of {name}" for name in self.names)]
        return self._of_more(push, vs, names, self.call(*self.leaves()))


def _place_of_its_own(x: Tensor) -> Tensor:
    """The same value at a new place on the tape, so that a gradient with respect to it means this use alone."""
    z = tape.identity(x)
    if not z.tracked:
        z.requires_grad = True
    return z


def _like(x: Tensor, values: Any) -> Any:
    """Host values as an array of x's dtype, beside x."""
    return backend_of(x.array).from_host(numpy.asarray(values).astype(x.dtype))


def listed(out: Any) -> tuple[Tensor, ...]:
    """The Tensors a function returned: one, or a tuple or list of them."""
    outs = tuple(out) if isinstance(out, (list, tuple)) else (out,)
    for position, z in enumerate(outs):
        if not isinstance(z, Tensor):
            raise GradcheckUsageError(
                f"gradcheck: the function returned a {type(z).__name__} as output {position}; it must return Tensors"
            )
    return outs


def is_module(func: Any) -> bool:
    """Whether it is an nn.Module, asked without importing nn, which stands on a higher floor."""
    return not isinstance(func, type) and hasattr(func, "named_parameters") and hasattr(func, "modules")


def as_function(func: Any) -> Callable[..., Any]:
    """A function that can be called many times, from a function, a primitive, or a class with `apply`."""
    if isinstance(func, Primitive):
        return func.again  # an instance is one application: every call needs its own
    if isinstance(func, type) and issubclass(func, Primitive):
        return lambda *inputs: func()(*inputs)
    apply = getattr(func, "apply", None)
    if isinstance(func, type) and callable(apply):
        return apply
    if not callable(func):
        raise GradcheckUsageError(
            f"gradcheck: func is a {type(func).__name__}; give a function, a primitive or a module"
        )
    return func  # type: ignore[no-any-return]


def name_of(func: Any) -> str:
    """What a report calls it."""
    if isinstance(func, Primitive) or is_module(func):
        return type(func).__name__
    owner = getattr(func, "__self__", None)
    if isinstance(owner, type):  # Cube.apply is Cube
        return owner.__name__
    return str(getattr(func, "__name__", type(func).__name__)).replace("<lambda>", "function")


def of_function(func: Any, values: Sequence[Any], seed: int) -> Target:
    """The target of a function and those of its inputs that require grad."""
    function = as_function(func)
    checked = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]

    def call(*inputs: Tensor) -> tuple[Tensor, ...]:
        arguments = list(values)
        for i, x in zip(checked, inputs):
            arguments[i] = x
        return listed(function(*arguments))

    return Target(call, [values[i].array for i in checked], [f"input {i}" for i in checked], seed)


def of_module(module: Any, values: Sequence[Any], seed: int) -> tuple[Target, list[str]]:
    """The target of a module in its present mode, and the names of the buffers that a call changes.

    Its inputs are the given ones that require grad, every parameter that does, and every floating-point buffer that a
    call leaves alone (batch norm's statistics in evaluation). Calls run on copies of the buffers: the module stays as it is.
    """
    checked = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]
    parameters = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    buffers = [(name, b) for name, b in module.named_buffers() if is_floating(b.dtype)]

    with _replaced(module, {}) as copies, standing_in(numpy.random.default_rng(seed)), without_warnings():
        module(*values)
        changed = [name for name, b in buffers if not _same(copies[id(b)].array, b.array)]
    steady = [(name, b) for name, b in buffers if name not in changed]
    places = [*parameters, *steady]

    def call(*inputs: Tensor) -> tuple[Tensor, ...]:
        arguments = list(values)
        for i, x in zip(checked, inputs):
            arguments[i] = x
        with _replaced(module, {id(old): new for (_, old), new in zip(places, inputs[len(checked) :])}):
            return listed(module(*arguments))

    arrays = [*(values[i].array for i in checked), *(x.array for _, x in places)]
    names = [*(f"input {i}" for i in checked), *(name for name, _ in places)]
    return Target(call, arrays, names, seed), changed


@contextlib.contextmanager
def _replaced(module: Any, replacements: dict[int, Tensor]) -> Iterator[dict[int, Tensor]]:
    """Inside, the module works with other Tensors in the place of its own (by id), and with copies of its other buffers."""
    before = [
        (held, name, x)
        for part in module.modules()
        for held in (part._parameters, part._buffers)
        for name, x in held.items()
        if x is not None
    ]
    buffers = {id(x) for _, x in module.named_buffers()}
    copies = {
        id(x): Tensor(backend_of(x.array).copy(x.array))
        for _, _, x in before
        if id(x) in buffers and id(x) not in replacements
    }
    try:
        for held, name, x in before:
            held[name] = replacements.get(id(x), copies.get(id(x), x))
        yield copies
    finally:
        for held, name, x in before:
            held[name] = x


def _same(a: Any, b: Any) -> bool:
    backend = backend_of(a)
    return bool(numpy.array_equal(backend.to_host(a), backend.to_host(b), equal_nan=True))
