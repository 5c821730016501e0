"""torch.func's names: derivatives as functions of functions, on arguments that may be tuples, lists or dicts of Tensors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tensorgrad import autodiff
from tensorgrad.autodiff import hvp
from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError, GraphError, OperandError, ShapeError
from tensorgrad.mode import enable_grad, mode
from tensorgrad.primitive import tape
from tensorgrad.random import default_generator
from tensorgrad.tensor import Tensor

__all__ = [
    "functional_call",
    "grad",
    "grad_and_value",
    "hessian",
    "hvp",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "stack_module_state",
    "value_and_grad",
    "vjp",
    "vmap",
]

ArgNums = int | tuple[int, ...]


# Trees: tuples, lists and dicts of Tensors, of any depth


def leaves(tree: Any) -> list[Any]:
    """What stands in a tree, from left to right."""
    if isinstance(tree, Mapping):
        return [leaf for item in tree.values() for leaf in leaves(item)]
    if isinstance(tree, (list, tuple)):
        return [leaf for item in tree for leaf in leaves(item)]
    return [] if tree is None else [tree]


def like(tree: Any, values: Iterator[Any]) -> Any:
    """A tree of the same form with other things in it."""
    if tree is None:
        return None
    if isinstance(tree, Mapping):
        return {name: like(item, values) for name, item in tree.items()}
    if isinstance(tree, (list, tuple)):
        items = [like(item, values) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return next(values)


def _tensors(operation: str, what: str, tree: Any) -> list[Tensor]:
    found = leaves(tree)
    for x in found:
        if not isinstance(x, Tensor):
            raise OperandError(
                f"{operation}: {what} holds a {type(x).__name__}; it must be Tensors, in tuples, lists or dicts"
            )
    return found


def _chosen(operation: str, args: Sequence[Any], argnums: ArgNums) -> tuple[int, ...]:
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for number in numbers:
        if not -len(args) <= number < len(args):
            raise ArgumentError(
                f"{operation}: got argnums={argnums}; the function was called with {len(args)} arguments"
            )
    chosen = tuple(number % len(args) for number in numbers)
    if len(set(chosen)) != len(chosen):
        raise ArgumentError(f"{operation}: got argnums={argnums}; an argument appears twice")
    return chosen


def _split_aux(operation: str, out: Any, has_aux: bool) -> tuple[Any, Any]:
    if not has_aux:
        return out, None
    if not (isinstance(out, tuple) and len(out) == 2):
        raise OperandError(f"{operation}: with has_aux=True the function must return a pair (output, other)")
    return out


def _detached(tree: Any) -> Any:
    return like(tree, iter([x.detach() if isinstance(x, Tensor) else x for x in leaves(tree)]))


# reverse mode


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """func(*primals), and the map from a cotangent of its output to the tuple of the primals' cotangents.

    With `has_aux`, func returns (output, other), and so does vjp: (output, map, other).

    >>> import tensorgrad
    >>> out, pullback = vjp(lambda x: x.sin(), tensorgrad.tensor([0.0]))
    >>> pullback(tensorgrad.tensor([2.0]))
    (tensor([2.]),)
    """
    aux: list[Any] = []
    form: list[Any] = []

    def flat(*xs: Tensor) -> tuple[Tensor, ...]:
        out, other = _split_aux("vjp", func(*like(primals, iter(xs))), has_aux)
        aux.append(other)
        form.append(out)
        return tuple(_tensors("vjp", "the output", out))

    outs, pullback = autodiff.vjp(flat, *_tensors("vjp", "a primal", primals))

    def on_trees(*cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> tuple[Any, ...]:
        given = cotangents[0] if len(cotangents) == 1 else cotangents
        found: tuple[Any, ...] = like(primals, iter(pullback(*_tensors("vjp", "the cotangent", given))))
        return found

    out = like(form[0], iter(outs))
    if not mode.recording or not any(x.tracked for x in leaves(primals)):
        out = _detached(out)
    return (out, on_trees, aux[0]) if has_aux else (out, on_trees)


def _gradients(
    operation: str, func: Callable[..., Any], argnums: ArgNums, has_aux: bool, args: tuple[Any, ...], kwargs: Any
) -> tuple[Any, Any, Any]:
    """Gradients, value and other of a scalar function."""
    chosen = _chosen(operation, args, argnums)
    wanted = [args[number] for number in chosen]
    xs = autodiff.fresh(_tensors(operation, "a differentiated argument", wanted))
    replaced = dict(zip(chosen, like(wanted, iter(xs))))
    with enable_grad():
        value, other = _split_aux(operation, func(*[replaced.get(i, x) for i, x in enumerate(args)], **kwargs), has_aux)
        if not isinstance(value, Tensor) or value.array.size != 1:
            got = f"shape {value.shape}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
            raise GraphError(f"{operation}: the function returned {got}; it must return a scalar Tensor")
    outer = mode.recording and any(autodiff.has_history(x) for x in leaves([args, kwargs]) if isinstance(x, Tensor))
    if value.tracked:
        found = autodiff.grad(value, xs, create_graph=outer, materialize_grads=True)
    else:
        found = tuple(Tensor(backend_of(x.array).zeros_like(x.array)) for x in xs)
    grads = like(wanted, iter(found))
    if not outer:
        value, other = _detached(value), _detached(other) if other is not None else None
    return grads[0] if isinstance(argnums, int) else tuple(grads), value, other


def grad(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The function that gives the gradient of a scalar function with respect to argument(s) `argnums`.

    >>> import tensorgrad
    >>> grad(grad(lambda x: x ** 3))(tensorgrad.tensor(2.0))
    tensor(12.)
    """

    @functools.wraps(func)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        grads, _, other = _gradients("grad", func, argnums, has_aux, args, kwargs)
        return (grads, other) if has_aux else grads

    return gradient


def grad_and_value(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """As grad, but the function gives (gradient, value), or (gradient, (value, other)) with `has_aux`.

    >>> import tensorgrad
    >>> grad_and_value(lambda x: x * x)(tensorgrad.tensor(3.0))
    (tensor(6.), tensor(9.))
    """

    @functools.wraps(func)
    def both(*args: Any, **kwargs: Any) -> Any:
        grads, value, other = _gradients("grad_and_value", func, argnums, has_aux, args, kwargs)
        return (grads, (value, other)) if has_aux else (grads, value)

    return both


def value_and_grad(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """As grad_and_value, in the other order: (value, gradient), or ((value, other), gradient) with `has_aux`.

    >>> import tensorgrad
    >>> value_and_grad(lambda x: x * x)(tensorgrad.tensor(3.0))
    (tensor(9.), tensor(6.))
    """

    @functools.wraps(func)
    def both(*args: Any, **kwargs: Any) -> Any:
        grads, value, other = _gradients("value_and_grad", func, argnums, has_aux, args, kwargs)
        return ((value, other), grads) if has_aux else (value, grads)

    return both


# forward mode


def jvp(
    func: Callable[..., Any],
    primals: tuple[Any, ...],
    tangents: tuple[Any, ...],
    *,
    strict: bool = False,
    has_aux: bool = False,
) -> Any:
    """func(*primals) and its derivative along `tangents`, in one forward pass.

    >>> import tensorgrad
    >>> jvp(lambda x: x * x, (tensorgrad.tensor(3.0),), (tensorgrad.tensor(1.0),))
    (tensor(9.), tensor(6.))
    """
    if not isinstance(primals, tuple) or not isinstance(tangents, tuple):
        raise OperandError("jvp: primals and tangents must be tuples, one entry for each argument: jvp(f, (x,), (dx,))")
    xs, dxs = _tensors("jvp", "a primal", primals), _tensors("jvp", "a tangent", tangents)
    aux: list[Any] = []
    form: list[Any] = []

    def flat(*duals: Tensor) -> tuple[Tensor, ...]:
        out, other = _split_aux("jvp", func(*like(primals, iter(duals))), has_aux)
        aux.append(other)
        form.append(out)
        return tuple(_tensors("jvp", "the output", out))

    outs, douts = autodiff.jvp(flat, tuple(xs), tuple(dxs))
    out, dout = like(form[0], iter(outs)), like(form[0], iter(douts))
    return (out, dout, _detached(aux[0])) if has_aux else (out, dout)


def linearize(func: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[..., Any]]:
    """func(*primals), and the linear map J from tangents of the primals to the tangent of the output, func run only once.

    J is the transpose of the transpose: u -> J^T u is recorded, is linear in u, and its own pullback is J.

    >>> import tensorgrad
    >>> out, push = linearize(lambda x: x.sin(), tensorgrad.tensor([0.0, 1.0]))
    >>> push(tensorgrad.tensor([1.0, 0.0]))
    tensor([1., 0.])
    """
    xs = autodiff.fresh(_tensors("linearize", "a primal", primals))
    with enable_grad():
        out = func(*like(primals, iter(xs)))
        outs = _tensors("linearize", "the output", out)
        us = [Tensor(backend_of(z.array).zeros_like(z.array), requires_grad=True) for z in outs]
        moving = [(z, u) for z, u in zip(outs, us) if z.tracked]
        back = autodiff.grad(
            [z for z, _ in moving], xs, [u for _, u in moving], create_graph=True, materialize_grads=True
        )

    def push(*tangents: Any) -> Any:
        dxs = _tensors("linearize", "a tangent", tangents)
        for x, dx in zip(xs, dxs):
            if x.shape != dx.shape:
                raise ShapeError(f"linearize: a tangent has shape {dx.shape}; its primal has {x.shape}")
        pairs = [(g, dx) for g, dx in zip(back, dxs) if g.tracked]
        douts = (
            autodiff.grad([g for g, _ in pairs], us, [dx for _, dx in pairs], retain_graph=True, materialize_grads=True)
            if pairs
            else tuple(Tensor(backend_of(z.array).zeros_like(z.array)) for z in outs)
        )
        return like(out, iter(douts))

    return _detached(out), push


# matrices


def _units(x: Tensor) -> Iterator[Tensor]:
    """The unit vectors of x's space."""
    backend = backend_of(x.array)
    for i in range(x.array.size):
        unit = backend.zeros((x.array.size,), x.array.dtype)
        unit[i] = 1
        yield Tensor(backend.reshape(unit, x.shape))


def jacrev(func: Callable[..., Any], argnums: ArgNums = 0, *, has_aux: bool = False, **_: Any) -> Callable[..., Any]:
    """The function that gives the Jacobian of `func` with respect to argument(s) `argnums`, row by row in reverse mode.

    A Tensor of shape (*output shape, *input shape) for each output and input, in the outputs' tree of the inputs' trees.

    >>> import tensorgrad
    >>> jacrev(lambda x: x * x)(tensorgrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen("jacrev", args, argnums)
        wanted = [args[number] for number in chosen]

        def of_wanted(*replaced: Any) -> Any:
            places = dict(zip(chosen, replaced))
            return func(*[places.get(i, x) for i, x in enumerate(args)], **kwargs)

        found = vjp(of_wanted, *wanted, has_aux=has_aux)
        out, pullback = found[0], found[1]
        outs = leaves(out)
        blocks = []
        for position, z in enumerate(outs):
            rows = []
            for unit in _units(z):
                us = [
                    unit if i == position else Tensor(backend_of(y.array).zeros_like(y.array))
                    for i, y in enumerate(outs)
                ]
                rows.append(leaves(pullback(like(out, iter(us)))))
            xs = leaves(wanted)
            columns = [
                tape.reshape(tape.stack([row[i] for row in rows], 0), (*z.shape, *x.shape))
                if rows
                else Tensor(backend_of(z.array).zeros((*z.shape, *x.shape), z.array.dtype))
                for i, x in enumerate(xs)
            ]
            tree = like(wanted, iter(columns))
            blocks.append(tree[0] if isinstance(argnums, int) else tuple(tree))
        result = like(out, iter(blocks))
        return (result, found[2]) if has_aux else result

    return jacobian


def jacfwd(func: Callable[..., Any], argnums: ArgNums = 0, has_aux: bool = False, **_: Any) -> Callable[..., Any]:
    """As jacrev, column by column in forward mode: for functions with fewer inputs than outputs.

    >>> import tensorgrad
    >>> jacfwd(lambda x: x * x)(tensorgrad.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """

    @functools.wraps(func)
    def jacobian(*args: Any, **kwargs: Any) -> Any:
        chosen = _chosen("jacfwd", args, argnums)
        wanted = [args[number] for number in chosen]
        xs = _tensors("jacfwd", "a differentiated argument", wanted)
        other: list[Any] = []
        form: list[Any] = []

        def flat(*duals: Tensor) -> tuple[Tensor, ...]:
            places = dict(zip(chosen, like(wanted, iter(duals))))
            out, aux = _split_aux("jacfwd", func(*[places.get(i, x) for i, x in enumerate(args)], **kwargs), has_aux)
            other[:], form[:] = [aux], [out]
            return tuple(_tensors("jacfwd", "the output", out))

        columns: list[list[Any]] = []  # by input, then by unit vector: the tangents of the outputs
        for position, x in enumerate(xs):
            columns.append([])
            for unit in _units(x):
                dxs = [
                    unit if i == position else Tensor(backend_of(y.array).zeros_like(y.array)) for i, y in enumerate(xs)
                ]
                columns[-1].append(autodiff.jvp(flat, tuple(xs), tuple(dxs))[1])
        if not form:
            flat(*xs)
        outs = leaves(form[0])
        blocks = []
        for number, z in enumerate(outs):
            parts = []
            for x, tangents in zip(xs, columns):
                if not tangents:
                    parts.append(Tensor(backend_of(z.array).zeros((*z.shape, *x.shape), z.array.dtype)))
                    continue
                stacked = tape.stack([dz[number] for dz in tangents], z.ndim)
                parts.append(tape.reshape(stacked, (*z.shape, *x.shape)))
            tree = like(wanted, iter(parts))
            blocks.append(tree[0] if isinstance(argnums, int) else tuple(tree))
        result = like(form[0], iter(blocks))
        if not any(autodiff.has_history(x) for x in leaves([args, kwargs]) if isinstance(x, Tensor)):
            result = _detached(result)  # what history it has is that of derivatives inside, which nobody can reach
        return (result, _detached(other[0])) if has_aux else result

    return jacobian


def hessian(func: Callable[..., Any], argnums: ArgNums = 0) -> Callable[..., Any]:
    """The function that gives the second derivatives: forward over reverse.

    >>> import tensorgrad
    >>> hessian(lambda x: (x ** 3).sum())(tensorgrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


# modules as functions


@contextmanager
def _swapped(module: Any, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside, the module's parameters and buffers of these names are these Tensors."""
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for path, value in values.items():
            place, _, name = path.rpartition(".")
            owner = module.get_submodule(place)
            for table in (owner._parameters, owner._buffers):
                if name in table:
                    before.append((table, name, table[name]))
                    table[name] = value
                    break
        yield
    finally:
        for table, name, value in reversed(before):
            table[name] = value


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """module(*args, **kwargs) with these Tensors in the places of its parameters and buffers of these names.

    tie_weights  give the value of one name of a shared parameter to its other names too
    strict       refuse names that are missing

    Raises KeyError for a name that the module has not.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> functional_call(layer, {"weight": tensorgrad.tensor([[1.0, 2.0]])}, tensorgrad.tensor([[3.0, 4.0]]))
    tensor([[11.]])
    """
    dicts = (
        [parameter_and_buffer_dicts] if isinstance(parameter_and_buffer_dicts, Mapping) else parameter_and_buffer_dicts
    )
    values: dict[str, Tensor] = {}
    for given in dicts:
        twice = values.keys() & given.keys()
        if twice:
            raise ArgumentError(f"functional_call: {sorted(twice)[0]!r} is given twice")
        values.update(given)
    named = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    unknown = sorted(values.keys() - named.keys())
    if unknown:
        raise KeyError(f"functional_call: {type(module).__name__} has no parameter or buffer {unknown[0]!r}")
    if tie_weights:
        by_value = {id(named[name]): value for name, value in values.items()}
        values.update({name: by_value[id(x)] for name, x in named.items() if id(x) in by_value and name not in values})
    missing = sorted(named.keys() - values.keys())
    if strict and missing:
        raise KeyError(
            f"functional_call: {missing[0]!r} is missing; with strict=True every parameter and buffer must be given"
        )
    arguments = args if isinstance(args, tuple) else () if args is None else (args,)
    with _swapped(module, values):
        return module(*arguments, **(kwargs or {}))


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and buffers of several models of one kind, stacked along a new first dimension: an ensemble for vmap."""
    if not models:
        raise ArgumentError("stack_module_state: got no models")
    parameters = {
        name: tape.stack([dict(model.named_parameters())[name].detach() for model in models], 0).requires_grad_()
        for name, _ in models[0].named_parameters()
    }
    buffers = {
        name: tape.stack([dict(model.named_buffers())[name].detach() for model in models], 0)
        for name, _ in models[0].named_buffers()
    }
    return parameters, buffers


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that applies `func` to every slice of its arguments and stacks the results.

    in_dims     the dimension to slice, for all arguments or for each (None: the argument is passed whole)
    out_dims    where the new dimension goes in the results
    randomness  'error' refuses random numbers inside; 'different' draws new ones for each slice; 'same' the same ones

    It runs func slice by slice, so it works with every operation and every derivative, and saves writing the loop, not time.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> vmap(lambda row: (row * row).sum())(x)
    tensor([ 5., 25.])
    """
    if randomness not in ("error", "different", "same"):
        raise ArgumentError(f"vmap: got randomness={randomness!r}; give 'error', 'different' or 'same'")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        dims_in = _dims_like(args, tuple(in_dims) if isinstance(in_dims, (tuple, list)) else in_dims, "in_dims")
        given = leaves(args)
        sizes = {x.shape[d] for x, d in zip(given, dims_in) if d is not None}
        if len(sizes) != 1:
            what = "no argument is mapped over" if not sizes else f"the mapped dimensions have sizes {sorted(sizes)}"
            raise ArgumentError(f"vmap: {what}; at least one must be mapped, and all to the same size")
        (size,) = sizes
        state = default_generator.get_state()
        outs = []
        for i in range(size):
            if randomness == "same":
                default_generator.set_state(state)
            slices = [x if d is None else x.unbind(d)[i] for x, d in zip(given, dims_in)]
            outs.append(func(*like(args, iter(slices)), **kwargs))
            if randomness == "error" and default_generator.get_state() != state:
                default_generator.set_state(state)
                raise GraphError("vmap: the function drew random numbers; choose randomness='different' or 'same'")
        if not outs:
            raise ArgumentError("vmap: the mapped dimension has size 0, so there is no result to take the form from")
        dims_out = _dims_like(outs[0], out_dims, "out_dims")
        columns = zip(*[leaves(out) for out in outs])
        return like(outs[0], iter([tape.stack(list(column), d) for column, d in zip(columns, dims_out)]))

    return mapped


def _dims_like(tree: Any, dims: Any, name: str) -> list[Any]:
    """A dimension for every leaf: one number for all, or a tree that begins like the other."""
    if dims is None or isinstance(dims, int):
        return [dims if isinstance(x, Tensor) else None for x in leaves(tree)]
    if isinstance(tree, Tensor) or len(tree) != len(dims):
        raise ArgumentError(f"vmap: got {name}={dims}; it must be a number, or one entry for each argument")
    items = tree.values() if isinstance(tree, Mapping) else tree
    entries = [dims[key] for key in tree] if isinstance(tree, Mapping) and isinstance(dims, Mapping) else dims
    return [d for item, entry in zip(items, entries) for d in _dims_like(item, entry, name)]
