"""torch.autograd.functional's names: Jacobians, Hessians and their products, of functions of one Tensor or several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad import autodiff
from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError, GraphError, OperandError, ShapeError
from tensorgrad.func import jacfwd
from tensorgrad.mode import enable_grad
from tensorgrad.primitive import tape
from tensorgrad.tensor import Tensor

Tensors = Tensor | tuple[Tensor, ...]


def _tuple(x: Any, what: str) -> tuple[Tensor, ...]:
    xs = tuple(x) if isinstance(x, (tuple, list)) else (x,)
    for y in xs:
        if not isinstance(y, Tensor):
            raise OperandError(
                f"autograd.functional: {what} holds a {type(y).__name__}; give a Tensor or a tuple of Tensors"
            )
    return xs


def _as_given(values: Any, given: Any) -> Any:
    return tuple(values) if isinstance(given, (tuple, list)) else values[0]


def _run(func: Callable[..., Any], inputs: Any) -> tuple[list[Tensor], Any, tuple[Tensor, ...]]:
    xs = autodiff.fresh(_tuple(inputs, "inputs"))
    with enable_grad():
        out = func(*xs)
    return xs, out, _tuple(out, "the output")


def _directions(v: Any, like: tuple[Tensor, ...], needed: bool, operation: str) -> list[Tensor]:
    if v is None:
        if needed and (len(like) != 1 or like[0].array.size != 1):
            raise GraphError(
                f"{operation}: v can only be left out where there is one number; give one Tensor of each shape"
            )
        return [Tensor(backend_of(x.array).ones(x.shape, x.array.dtype)) for x in like]
    vs = _tuple(v, "v")
    if [x.shape for x in vs] != [x.shape for x in like]:
        raise ShapeError(f"{operation}: v has shapes {[x.shape for x in vs]}; they must be {[x.shape for x in like]}")
    return list(vs)


def _finished(values: Any, create_graph: bool) -> list[Tensor]:
    return list(values) if create_graph else [Tensor(x.array) for x in values]


def _gradient(outs: Any, xs: Any, us: Any, strict: bool, create_graph: bool, operation: str) -> tuple[Tensor, ...]:
    pairs = [(z, u) for z, u in zip(outs, us) if z.tracked]
    if strict and len(pairs) < len(outs):
        raise GraphError(f"{operation}: an output does not depend on the inputs, and strict=True refuses that")
    if not pairs:
        return tuple(Tensor(backend_of(x.array).zeros_like(x.array)) for x in xs)
    return autodiff.grad(
        [z for z, _ in pairs],
        xs,
        [u for _, u in pairs],
        retain_graph=True,
        create_graph=create_graph,
        materialize_grads=not strict,
    )


def vjp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """func(*inputs), and v^T J, of the inputs' form."""
    xs, out, outs = _run(func, inputs)
    us = _directions(v, outs, True, "vjp")
    grads = _gradient(outs, xs, us, strict, create_graph, "vjp")
    return _as_given(_finished(outs, create_graph), out), _as_given(_finished(grads, create_graph), inputs)


def jvp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """func(*inputs), and J v, of the output's form."""
    xs = _tuple(inputs, "inputs")
    vs = _directions(v, xs, True, "jvp")
    form: list[Any] = []

    def flat(*duals: Tensor) -> tuple[Tensor, ...]:
        form.append(func(*duals))
        return _tuple(form[-1], "the output")

    outs, douts = autodiff.jvp(flat, xs, tuple(vs))
    return _as_given(_finished(outs, create_graph), form[0]), _as_given(_finished(douts, create_graph), form[0])


def jacobian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian of each output with respect to each input: a Tensor, or a tuple (outputs) of tuples (inputs).

    strategy  'reverse-mode' goes row by row, 'forward-mode' column by column; `vectorize` is accepted for PyTorch's sake

    >>> import tensorgrad
    >>> jacobian(lambda x, y: x * y, (tensorgrad.tensor([2.0]), tensorgrad.tensor([3.0])))
    (tensor([[3.]]), tensor([[2.]]))
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ArgumentError(f"jacobian: got strategy={strategy!r}; give 'reverse-mode' or 'forward-mode'")
    if strategy == "forward-mode":
        return _by_columns(func, inputs, create_graph)
    xs, out, outs = _run(func, inputs)
    blocks = []
    for z in outs:
        backend = backend_of(z.array)
        rows = []
        for i in range(z.array.size):
            unit = backend.zeros((z.array.size,), z.array.dtype)
            unit[i] = 1
            rows.append(_gradient([z], xs, [Tensor(backend.reshape(unit, z.shape))], strict, create_graph, "jacobian"))
        columns = [
            tape.reshape(tape.stack([row[i] for row in rows], 0), (*z.shape, *x.shape))
            if rows
            else Tensor(backend.zeros((*z.shape, *x.shape), z.array.dtype))
            for i, x in enumerate(xs)
        ]
        blocks.append(_as_given(_finished(columns, create_graph), inputs))
    return _as_given(blocks, out)


def _by_columns(func: Callable[..., Any], inputs: Any, create_graph: bool) -> Any:
    xs = _tuple(inputs, "inputs")
    found = jacfwd(func, tuple(range(len(xs))))(*xs)
    several = isinstance(found[0], tuple)
    blocks = [_as_given(_finished(row, create_graph), inputs) for row in (found if several else [found])]
    return tuple(blocks) if several else blocks[0]


def hessian(
    func: Callable[..., Any],
    inputs: Tensors,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The second derivatives of a scalar function: a Tensor, or a tuple (inputs) of tuples (inputs).

    >>> import tensorgrad
    >>> hessian(lambda x: (x ** 3).sum(), tensorgrad.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """

    def gradient(*xs: Tensor) -> Any:
        with enable_grad():
            value = func(*xs)
        if not isinstance(value, Tensor) or value.array.size != 1:
            raise GraphError("hessian: the function must return a scalar Tensor")
        grads = _gradient([value], xs, [_ones_like(value)], strict, True, "hessian")
        return _as_given(list(grads), inputs)

    return jacobian(gradient, inputs, create_graph, strict, strategy=outer_jacobian_strategy)


def _ones_like(x: Tensor) -> Tensor:
    return Tensor(backend_of(x.array).ones(x.shape, x.array.dtype))


def vhp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of a scalar function, and v^T H."""
    xs, _, outs = _run(func, inputs)
    vs = _directions(v, tuple(xs), True, "vhp")
    grads = _gradient(outs, xs, [_ones_like(outs[0])], strict, True, "vhp")
    product = _gradient(grads, xs, vs, False, create_graph, "vhp")
    return _finished(outs, create_graph)[0], _as_given(_finished(product, create_graph), inputs)


def hvp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of a scalar function, and H v, which is v^T H: H is symmetric."""
    return vhp(func, inputs, v, create_graph, strict)
