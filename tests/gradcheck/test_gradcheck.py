"""The checker is itself checked: it passes what is right and finds every wrong derivative we know how to make."""

from __future__ import annotations

from typing import Any

import pytest

import tensorgrad as tg
from tensorgrad.backend import backend_of
from tensorgrad.gradcheck import GradcheckError, gradcheck
from tensorgrad.primitive import Primitive
from tensorgrad.tensor import Tensor


class Cube(Primitive):
    """z = x^3        dz = 3 x^2 dx"""

    __slots__ = ()

    def forward(self, x: Any) -> Any:
        return x * x * x

    def jvp(self, dx: Any, x: Any) -> Any:
        return 3 * x * x * dx

    def vjp(self, dz: Any, x: Any) -> Any:
        return 3 * x * x * dz


class WrongVjp(Cube):
    """z = x^3        dz = 3 x^2 dx, but the vjp has a factor of 2"""

    __slots__ = ()

    def vjp(self, dz: Any, x: Any) -> Any:
        return 2 * x * x * dz


class WrongJvp(Cube):
    """z = x^3        dz = 3 x^2 dx, but the jvp forgets the direction's sign"""

    __slots__ = ()

    def jvp(self, dx: Any, x: Any) -> Any:
        return -3 * x * x * dx


class WrongInOnePlace(Cube):
    """z = x^3        dz = 3 x^2 dx, but the vjp drops the last number"""

    __slots__ = ()

    def vjp(self, dz: Any, x: Any) -> Any:
        g = 3 * x * x * dz
        g[-1] = 0
        return g


class NoBroadcastSum(Primitive):
    """z = x y        dz = dx y + x dy, but broadcasting is not summed back"""

    __slots__ = ()

    def forward(self, x: Any, y: Any) -> Any:
        return x * y

    def jvp(self, dx: Any, dy: Any, x: Any, y: Any) -> Any:
        return dx * y + x * dy

    def vjp(self, dz: Any, x: Any, y: Any) -> Any:
        return dz * y, dz * x


class Transposed(Primitive):
    """z = A x        dz = A dx, but the vjp multiplies by A instead of its transpose"""

    __slots__ = ()

    def forward(self, x: Any, a: Any) -> Any:
        return backend_of(x).matmul(a, x)

    def jvp(self, dx: Any, _: Any, a: Any) -> Any:
        return backend_of(dx).matmul(a, dx)

    def vjp(self, dz: Any, a: Any) -> Any:
        return backend_of(dz).matmul(a, dz), None


def double(*shape: int) -> Tensor:
    return tg.randn(*shape, dtype=tg.float64, requires_grad=True, generator=tg.Generator(3))


def test_right_derivatives_pass(device):
    x = tg.tensor([[0.5, -1.0], [2.0, 3.0]], dtype=tg.float64, device=device, requires_grad=True)
    assert gradcheck(lambda y: (y * y).sum(), x)
    assert gradcheck(lambda y, k: (y @ y, y.exp().sum(0), k), (x, tg.arange(3, device=device)))
    assert gradcheck(lambda y, c: y * c, [x, tg.ones(2, dtype=tg.float64, device=device)])
    assert gradcheck(lambda y: tg.ones(2, dtype=tg.float64, device=device), x)


@pytest.mark.parametrize(
    ("kind", "rule"),
    [(WrongVjp, "vjp of output 0 to input 0"), (WrongJvp, "jvp of output 0 along input 0"), (WrongInOnePlace, "vjp")],
)
def test_wrong_rules_are_found(kind, rule):
    x = double(4)
    assert gradcheck(lambda y: Cube()(y), x)
    with pytest.raises(GradcheckError, match=f"the {rule}.*the rule says .*, differences say"):
        gradcheck(lambda y: kind()(y), x)
    assert not gradcheck(lambda y: kind()(y), x, raise_exception=False)


@pytest.mark.parametrize("other", [(1, 3), (3,), ()])
def test_a_missing_sum_over_broadcast_dimensions_is_found(other):
    with pytest.raises(GradcheckError, match=r"shape|wrong"):
        gradcheck(lambda x, y: NoBroadcastSum()(x, y), (double(2, 3), double(*other)))


def test_a_missing_transpose_is_found():
    a = tg.tensor([[1.0, 2.0], [0.0, 1.0]], dtype=tg.float64)
    with pytest.raises(GradcheckError, match="vjp"):
        gradcheck(lambda x: Transposed()(x, a), double(2))


def test_a_history_cut_by_mistake_is_found():
    with pytest.raises(GradcheckError, match=r"has no gradient with respect to input 0|wrong"):
        gradcheck(lambda x: x.detach() * 2, double(2))
    with pytest.raises(GradcheckError):
        gradcheck(lambda x: Tensor(x.array * x.array), double(2))


def test_a_wrong_second_derivative_is_found():
    """Wrong only where the rule itself is differentiated."""

    class Half(Cube):
        """z = x^3        dz = 3 x^2 dx, with the second derivative cut off"""

        __slots__ = ()

        def vjp(self, dz: Any, x: Any) -> Any:
            return 3 * (x.detach() if isinstance(x, Tensor) else x) * x * dz

    x = double(3)

    def slope(y: Tensor) -> Tensor:
        return tg.autograd.grad(Half()(y).sum(), y, create_graph=True)[0]

    assert gradcheck(lambda y: Half()(y), x)
    with pytest.raises(GradcheckError, match="is wrong in"):
        gradcheck(slope, x)


def test_what_it_refuses():
    with pytest.raises(GradcheckError, match="no input requires grad"):
        gradcheck(lambda x: x, tg.ones(2, dtype=tg.float64))
    with pytest.raises(GradcheckError, match=r"input 0 has dtype float32; differences need float64"):
        gradcheck(lambda x: x, tg.ones(2, requires_grad=True))


def test_it_leaves_the_inputs_alone():
    x = double(3)
    before = x.tolist()
    gradcheck(lambda y: y * y, x)
    assert x.tolist() == before and x.grad is None and x.requires_grad
