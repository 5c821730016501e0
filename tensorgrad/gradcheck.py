"""Derivatives checked by numbers: what the rules say against central differences, in float64.

    jvp:  J v            against  (f(x + h v) - f(x - h v)) / 2h
    vjp:  <u, J v>       against  <J^T u, v>

along random directions v and u, for each input apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from tensorgrad.autodiff import grad, jvp
from tensorgrad.backend import backend_of
from tensorgrad.dtypes import float64, is_floating
from tensorgrad.errors import TensorgradError
from tensorgrad.tensor import Tensor


class GradcheckError(TensorgradError, RuntimeError):
    """A derivative that is not what differences say."""


def gradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    directions: int = 2,
    seed: int = 0,
) -> bool:
    """Check vjp and jvp of `fn` at `inputs` along random directions.

    fn      takes the inputs, returns a Tensor or a tuple of them
    inputs  a Tensor or a sequence; those that require grad, in float64, are checked
    Returns True; where a derivative is wrong raises GradcheckError (or returns False if not `raise_exception`), naming the
    input, the rule, and both numbers.

    >>> import tensorgrad
    >>> x = tensorgrad.randn(3, dtype=tensorgrad.float64, requires_grad=True)
    >>> gradcheck(lambda x: (x * x).sum(), x)
    True
    """
    values: list[Any] = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    checked = [i for i, x in enumerate(values) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise GradcheckError("gradcheck: no input requires grad; set requires_grad=True on those to check")
    for i in checked:
        if values[i].dtype != float64:
            raise GradcheckError(
                f"gradcheck: input {i} has dtype {values[i].dtype}; differences need float64, use .double().requires_grad_()"
            )
    random = numpy.random.default_rng(seed)
    try:
        for _ in range(directions):
            for i in checked:
                _check_input(fn, values, i, random, eps, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check_input(
    fn: Callable[..., Any],
    values: list[Any],
    position: int,
    random: numpy.random.Generator,
    eps: float,
    atol: float,
    rtol: float,
) -> None:
    x = values[position]
    backend = backend_of(x.array)
    v = backend.from_host(random.standard_normal(x.shape))

    def along(step: float) -> list[numpy.ndarray]:
        # it requires grad as x does, since the function may itself take a gradient
        moved = [*values[:position], Tensor(x.array + step * v, requires_grad=True), *values[position + 1 :]]
        return [backend_of(z.array).to_host(z.array) for z in _outputs(fn(*moved))]

    numeric = [(a - b) / (2 * eps) for a, b in zip(along(eps), along(-eps))]

    def of_x(y: Tensor) -> tuple[Tensor, ...]:
        return tuple(_outputs(fn(*values[:position], y, *values[position + 1 :])))

    _, tangents = jvp(of_x, (x,), (Tensor(v),))
    for k, (dz, expected) in enumerate(zip(tangents, numeric)):
        got = backend_of(dz.array).to_host(dz.array)
        _compare(f"the jvp of output {k} along input {position}", got, expected, atol, rtol)

    outs = _outputs(fn(*values))
    for k, (out, expected) in enumerate(zip(outs, numeric)):
        if not is_floating(out.dtype) or not out.requires_grad:
            _compare(
                f"output {k}, which has no gradient with respect to input {position},",
                numpy.zeros(expected.shape),
                expected,
                atol,
                rtol,
            )
            continue
        u = random.standard_normal(out.shape)
        cotangent = Tensor(backend.from_host(numpy.asarray(u)))
        (dx,) = grad(out, x, cotangent, retain_graph=True, materialize_grads=True)
        if dx.shape != x.shape or dx.dtype != x.dtype:
            raise GradcheckError(
                f"gradcheck: the vjp of output {k} to input {position} has shape {dx.shape} and dtype {dx.dtype}; the input has "
                f"{x.shape} and {x.dtype}"
            )
        analytic = (backend.to_host(dx.array) * backend.to_host(v)).sum()
        _compare(f"the vjp of output {k} to input {position}", analytic, (u * expected).sum(), atol, rtol)


def _outputs(out: Any) -> list[Tensor]:
    outs = list(out) if isinstance(out, (list, tuple)) else [out]
    return [z for z in outs if is_floating(z.dtype)]


def _compare(what: str, got: Any, expected: Any, atol: float, rtol: float) -> None:
    got, expected = numpy.asarray(got), numpy.asarray(expected)
    if got.shape != expected.shape:
        raise GradcheckError(f"gradcheck: {what} has shape {got.shape}; differences have {expected.shape}")
    wrong = ~numpy.isclose(got, expected, atol=atol, rtol=rtol)
    if wrong.any():
        at = tuple(int(i) for i in numpy.unravel_index(numpy.argmax(numpy.abs(got - expected) * wrong), got.shape))
        raise GradcheckError(
            f"gradcheck: {what} is wrong in {int(wrong.sum())} of {wrong.size} numbers, most at {at}: the rule says "
            f"{float(got[at]):.8g}, differences say {float(expected[at]):.8g}"
        )
