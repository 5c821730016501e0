"""What all functions of PyTorch take besides: axis for dim, keepdims for keepdim, input for the Tensor itself, and out=."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import DtypeError, GraphError, OperandError, ShapeError
from tensorgrad.mode import mode
from tensorgrad.ops.inplace import copy_
from tensorgrad.tensor import Tensor

ALIASES = {"axis": "dim", "keepdims": "keepdim"}


def spelled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, taking its arguments under PyTorch's other names too, sizes and dims also as one keyword, and out=.

    >>> import tensorgrad
    >>> tensorgrad.sum(input=tensorgrad.ones(2, 3), axis=0, keepdims=True)
    tensor([[2., 2., 2.]])
    >>> tensorgrad.permute(tensorgrad.ones(2, 3), dims=(1, 0)).shape
    (3, 2)
    """
    parameters = inspect.signature(function).parameters
    kinds = {name: parameter.kind for name, parameter in parameters.items()}
    first = next(iter(kinds))
    if kinds[first] is inspect.Parameter.VAR_POSITIONAL:
        return function
    names = {alias: name for alias, name in ALIASES.items() if name in kinds}
    if "input" not in kinds:
        names["input"] = first
    several = next((name for name, kind in kinds.items() if kind is inspect.Parameter.VAR_POSITIONAL), None)

    @functools.wraps(function)
    def call(*arguments: Any, **settings: Any) -> Any:
        if settings:
            out = settings.pop("out", None)
            if out is not None:
                return _written(function.__name__, out, call(*arguments, **settings), arguments)
            settings = {names.get(name, name): value for name, value in settings.items()}
            if first in settings:
                arguments = (settings.pop(first), *arguments)
            if several in settings:
                arguments = (*arguments, settings.pop(several))
        return function(*arguments, **settings)

    return call


def _written(operation: str, out: Any, results: Any, arguments: tuple[Any, ...]) -> Any:
    """The results, written into the Tensors of `out`; an empty one takes their shape."""
    if isinstance(results, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(results):
            raise OperandError(
                f"{operation}: got out of type {type(out).__name__}; it takes a tuple of {len(results)} Tensors"
            )
        parts = (_written(operation, z, result, arguments) for z, result in zip(out, results))
        return type(results)(*parts) if hasattr(results, "_fields") else tuple(parts)
    if not isinstance(out, Tensor):
        raise OperandError(f"{operation}: got out of type {type(out).__name__}; it takes a Tensor")
    if mode.recording and (results.tracked or out.tracked):
        raise GraphError(f"{operation}: out= cannot be differentiated; use the result, or no_grad()")
    if out.array.dtype != results.array.dtype:
        raise DtypeError(
            f"{operation}: got out of dtype {out.dtype} for a result of {results.dtype}; they must be equal"
        )
    for x in _tensors(arguments):
        if backend_of(out.array).may_share_memory(out.array, x.array):
            raise ShapeError(f"{operation}: out shares memory with an argument; use a Tensor of its own")
    if not out.array.size:
        out.array = backend_of(out.array).zeros(results.array.shape, out.array.dtype)
    elif out.array.shape != results.array.shape:
        raise ShapeError(f"{operation}: got out of shape {out.shape} for a result of shape {results.shape}")
    return copy_(out, results)


def _tensors(values: Any) -> list[Tensor]:
    """The Tensors among the arguments, in whatever lists they are."""
    if isinstance(values, (tuple, list)):
        return [x for value in values for x in _tensors(value)]
    return [values] if isinstance(values, Tensor) else []


def spell(module: Any) -> None:
    """Put in the place of every function that a module offers the one that knows the other names."""
    known: dict[Any, Any] = {}  # one function may have several names
    for name in module.__all__:
        function = getattr(module, name)
        if function not in known:
            known[function] = spelled(function)
        setattr(module, name, known[function])
