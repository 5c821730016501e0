"""The kinds of primitives that give a rule for free, because they are linear in an input; and the adjoint of broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.primitive.node import Primitive


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


def sum_to(dz: Any, shape: tuple[int, ...]) -> Any:
    """The adjoint of broadcasting: sum over the leading axes and over those of length 1, down to `shape`."""
    if dz.shape == shape:
        return dz
    lead = dz.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1 and dz.shape[lead + i] != 1)
    backend = backend_of(dz)
    return backend.reshape(backend.sum(dz, axes, True), shape)
