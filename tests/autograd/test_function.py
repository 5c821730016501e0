"""autograd.Function: PyTorch's own differentiable functions, in every mode and order."""

import gc
import weakref

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autograd import Function, grad, jvp
from tensorgrad.autograd.function import once_differentiable
from tensorgrad.func import hessian
from tensorgrad.primitive import observers


class Cube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, dz):
        (x,) = ctx.saved_tensors
        return 3 * x * x * dz

    @staticmethod
    def jvp(ctx, dx):
        (x,) = ctx.saved_tensors
        return 3 * x * x * dx


class Exp(Function):
    """Saves its result."""

    @staticmethod
    def forward(ctx, x):
        out = x.exp()
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, dz):
        (out,) = ctx.saved_tensors
        return dz * out


class SumAndProduct(Function):
    """Two results, a setting, and an argument that needs no gradient."""

    @staticmethod
    def forward(x, y, factor):
        return x + y, x * y * factor

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, y, ctx.factor = inputs
        ctx.save_for_backward(x, y)
        ctx.save_for_forward(x, y)

    @staticmethod
    def backward(ctx, d_sum, d_product):
        x, y = ctx.saved_tensors
        return d_sum + d_product * y * ctx.factor, d_sum + d_product * x * ctx.factor, None

    @staticmethod
    def jvp(ctx, dx, dy, _):
        x, y = ctx.saved_tensors
        dx = tg.zeros_like(x) if dx is None else dx
        dy = tg.zeros_like(y) if dy is None else dy
        return dx + dy, (dx * y + x * dy) * ctx.factor


def leaf(*values):
    return tg.tensor(values, dtype=tg.float64, requires_grad=True)


@pytest.mark.parametrize("function", [Cube, Exp])
def test_first_and_higher_orders(function):
    plain = {Cube: lambda x: x * x * x, Exp: lambda x: x.exp()}[function]
    x = leaf(0.5, -1.5)
    ours, obvious = function.apply(x), plain(x)
    for _ in range(3):
        (ours,) = grad(ours.sum(), x, create_graph=True)
        (obvious,) = grad(obvious.sum(), x, create_graph=True)
        np.testing.assert_allclose(ours.detach(), obvious.detach(), rtol=1e-12)


def test_forward_mode_and_its_mixtures():
    x, v = tg.tensor([0.5, -1.5], dtype=tg.float64), tg.tensor([1.0, 2.0], dtype=tg.float64)
    out, dz = jvp(Cube.apply, (x,), (v,))
    np.testing.assert_allclose(out, [0.125, -3.375])
    np.testing.assert_allclose(dz, 3 * x.array**2 * v.array)
    _, second = jvp(lambda x: jvp(Cube.apply, (x,), (v,))[1], (x,), (v,))  # forward over forward
    np.testing.assert_allclose(second, 6 * x.array * v.array**2)
    np.testing.assert_allclose(hessian(lambda x: Cube.apply(x).sum())(x), np.diag(6 * x.array))  # forward over reverse
    y = leaf(0.5, -1.5)
    (back,) = grad(jvp(Cube.apply, (y,), (v,))[1].sum(), y)  # reverse over forward
    np.testing.assert_allclose(back, 6 * y.array * v.array)


def test_several_results_and_settings():
    x, y = leaf(1.0, 2.0), leaf(3.0, 5.0)
    total, product = SumAndProduct.apply(x, y, 10)
    (total.sum() + product.sum()).backward()
    np.testing.assert_allclose(x.grad, 1 + 10 * y.array)
    np.testing.assert_allclose(y.grad, 1 + 10 * x.array)
    x.grad = None
    SumAndProduct.apply(x, y, 10)[1].sum().backward()  # the other result is unused: zeros arrive for it
    np.testing.assert_allclose(x.grad, 10 * y.array)
    _, (_, d_product) = jvp(
        lambda x: SumAndProduct.apply(x, y.detach(), 10), (x.detach(),), (tg.ones_like(x).detach(),)
    )
    np.testing.assert_allclose(d_product, 10 * y.array)


def test_needs_input_grad():
    seen = []

    class Watch(Function):
        @staticmethod
        def forward(ctx, x, y, number):
            return x * y

        @staticmethod
        def backward(ctx, dz):
            seen.append(ctx.needs_input_grad)
            return dz, None, None

    Watch.apply(leaf(1.0), tg.ones(1, dtype=tg.float64), 3).sum().backward()
    assert seen == [(True, False, False)]


def test_results_nobody_used_are_none_where_asked():
    seen = []

    class Two(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx, first, second):
            seen.append((first, second))
            return second * 2

    x = leaf(1.0)
    Two.apply(x)[1].sum().backward()
    assert seen[0][0] is None
    np.testing.assert_allclose(x.grad, [2.0])


def test_not_differentiable_and_whole_results():
    class SortedWith(Function):
        @staticmethod
        def forward(ctx, x):
            order = tg.tensor(np.argsort(x.array))
            half = x * 0.5
            ctx.mark_non_differentiable(order, half)
            return x * 2, order, half

        @staticmethod
        def backward(ctx, dz, _, __):
            return dz * 2

    double, order, half = SortedWith.apply(leaf(3.0, 1.0))
    assert double.requires_grad and not order.requires_grad and not half.requires_grad


def test_changed_in_place():
    class Double_(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            x.mul_(2)
            return x

        @staticmethod
        def backward(ctx, dz):
            return dz * 2

    x = leaf(1.0, 2.0)
    y = x * 1
    z = Double_.apply(y)
    assert z is y
    (y * y).sum().backward()
    np.testing.assert_allclose(x.grad, 8 * x.array)
    with pytest.raises(RuntimeError, match="leaf"):
        Double_.apply(x)


def test_an_undeclared_change_is_refused():
    class Sly(Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            return x * 1

        @staticmethod
        def backward(ctx, dz):
            return dz

    with pytest.raises(RuntimeError, match="mark_dirty"):
        Sly.apply(leaf(1.0) * 1)


def test_a_saved_value_changed_in_place_is_noticed():
    x = leaf(1.0, 2.0)
    y = x * 1
    z = Cube.apply(y)
    y.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()
    out = Exp.apply(x)
    out.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        out.sum().backward()


def test_a_second_backward_is_refused_unless_retained():
    x = leaf(1.0, 2.0)
    z = Cube.apply(x).sum()
    z.backward(retain_graph=True)
    z.backward()
    np.testing.assert_allclose(x.grad, 6 * x.array**2)
    with pytest.raises(RuntimeError, match="retain_graph"):
        z.backward()


def test_an_input_given_back_is_a_result_of_its_own():
    class Same(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, dz):
            return dz * 7

    x = leaf(1.0)
    z = Same.apply(x)
    z.backward()
    assert z is not x
    np.testing.assert_allclose(x.grad, [7.0])


def test_once_differentiable():
    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, dz):
            (x,) = ctx.saved_tensors
            return 2 * x * dz

    x = leaf(3.0)
    Square.apply(x).backward()
    np.testing.assert_allclose(x.grad, [6.0])
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad(Square.apply(x).sum(), x, create_graph=True)


@pytest.mark.parametrize(
    "gradients, error, message",
    [
        (lambda dz: (dz, dz), RuntimeError, "returned 2 gradients"),
        (lambda dz: dz.sum(), RuntimeError, "has shape"),
        (lambda dz: 1.0, TypeError, "a float"),
    ],
)
def test_wrong_gradients(gradients, error, message):
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, dz):
            return gradients(dz)

    with pytest.raises(error, match=message):
        Wrong.apply(leaf(1.0, 2.0)).sum().backward()


def test_what_is_missing_is_said():
    class Bare(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    with pytest.raises(NotImplementedError, match="backward"):
        Bare.apply(leaf(1.0)).backward()
    with pytest.raises(NotImplementedError, match="jvp"):
        jvp(Bare.apply, (tg.ones(1),), (tg.ones(1),))
    with pytest.raises(RuntimeError, match="call Bare"):
        Bare()
    with pytest.raises(TypeError, match="save_for_backward"):

        class Saves(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(3)
                return x * 2

        Saves.apply(leaf(1.0))


def test_nothing_is_recorded_without_need():
    z = Cube.apply(tg.ones(2))
    assert not z.requires_grad and z.grad_fn is None
    with tg.no_grad():
        assert not Cube.apply(leaf(1.0)).requires_grad


@pytest.mark.parametrize("function", [Cube, Exp])
def test_counting_references_frees_the_graph(function):
    gc.collect()
    gc.disable()
    try:
        x = leaf(1.0, 2.0)
        y = x * 1
        z = function.apply(y)
        gone = weakref.ref(y), weakref.ref(z), weakref.ref(z.grad_fn)
        del y, z
        assert [ref() for ref in gone] == [None, None, None]
    finally:
        gc.enable()


def test_on_another_device():
    x = leaf(1.0, 2.0).detach().to("standin").requires_grad_()
    Cube.apply(x).sum().backward()
    np.testing.assert_allclose(x.grad.cpu(), [3.0, 12.0])


class LineAndCurve(Function):
    """2x and e^x, of which the second is saved; forward mode has what it needs by itself, and so has the tangent of one only."""

    @staticmethod
    def forward(ctx, factor, x):
        line, curve = factor * x, x.exp()
        ctx.save_for_backward(None, curve)
        ctx.save_for_forward(x)
        ctx.factor = factor
        ctx.set_materialize_grads(True)
        return line, curve

    @staticmethod
    def backward(ctx, d_line, d_curve):
        nothing, curve = ctx.saved_tensors
        assert nothing is None and d_line.dtype == d_curve.dtype == curve.dtype
        return None, ctx.factor * d_line + curve * d_curve

    @staticmethod
    def jvp(ctx, _, dx):
        (x,) = ctx.saved_tensors
        return None, x.exp() * dx


@pytest.mark.parametrize("dtype", [tg.float32, tg.float64])
def test_one_of_several_results_is_saved(dtype):
    """It stands at its own place on the tape: the slope of its slope is right too."""
    x = tg.tensor([0.5, -1.5], dtype=dtype, requires_grad=True)
    line, curve = LineAndCurve.apply(2, x)
    (first,) = grad((3 * line + curve * 5).sum(), x, create_graph=True)
    np.testing.assert_allclose(first.detach(), 6 + 5 * np.exp(x.detach()), rtol=1e-6)
    np.testing.assert_allclose(grad(first.sum(), x)[0], 5 * np.exp(x.detach()), rtol=1e-6)
    (alone,) = grad(LineAndCurve.apply(2, x)[1].sum(), x)
    assert alone.dtype == dtype
    np.testing.assert_allclose(alone, np.exp(x.detach()), rtol=1e-6)


def test_forward_mode_has_what_it_asked_for():
    x, v = tg.tensor([0.5], dtype=tg.float64), tg.tensor([3.0], dtype=tg.float64)
    _, (line, curve) = jvp(lambda x: LineAndCurve.apply(2, x), (x,), (v,))
    np.testing.assert_allclose(curve, 3 * np.exp(0.5))
    assert line is None or not line.any()

    class Curve(Function):
        """Its jvp takes the result that backward would take."""

        @staticmethod
        def forward(ctx, x):
            out = x.exp()
            ctx.save_for_backward(out)
            return out

        @staticmethod
        def jvp(ctx, dx):
            (out,) = ctx.saved_tensors
            return out * dx

    np.testing.assert_allclose(jvp(Curve.apply, (x,), (v,))[1], 3 * np.exp(0.5))


def test_forward_mode_through_a_change_in_place():
    class Double_(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def jvp(ctx, dx):
            return dx * 2

    def function(x):
        y = x * 5
        assert Double_.apply(y) is y
        return y

    z, dz = jvp(function, (tg.tensor([1.0]),), (tg.tensor([3.0]),))
    assert z.tolist() == [10] and dz.tolist() == [30]


def test_views_made_before_see_a_declared_change():
    class Double_(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx, dz):
            return 2 * dz

    x = leaf(1.0, 2.0)
    y = x * 1
    last = y[1:]
    Double_.apply(y)
    assert last.tolist() == [4] and grad(last.sum(), x)[0].tolist() == [0, 2]


def test_what_was_changed_before_it_is_saved_is_fine():
    x = leaf(1.0, 2.0)
    y = x * 1
    y.add_(1)
    Cube.apply(y).sum().backward()
    np.testing.assert_allclose(x.grad, 3 * (x.detach().array + 1) ** 2)


def test_a_gradient_of_whole_numbers_takes_the_arguments_dtype():
    class Step(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, dz):
            return (dz > 0).long()

    x = tg.ones(2, requires_grad=True)
    Step.apply(x).sum().backward()
    assert x.grad.dtype == tg.float32 and x.grad.tolist() == [1, 1]


def test_a_result_in_memory_of_numpy_is_watched():
    memory = np.array([1.0, 2.0])

    class Given(Function):
        @staticmethod
        def forward(ctx, x):
            out = tg.from_numpy(memory)
            ctx.save_for_backward(out)
            return out

        @staticmethod
        def backward(ctx, dz):
            (out,) = ctx.saved_tensors
            return out * dz

    x = leaf(0.0, 0.0)
    z = Given.apply(x).sum()
    z.backward(retain_graph=True)
    assert x.grad.tolist() == [1, 2]
    memory[0] = 7.0
    with pytest.raises(RuntimeError, match=r"its result .* behind tensorgrad's back"):
        z.backward()


def test_a_view_of_an_input_given_back_is_a_result_of_its_own():
    class Last(Function):
        @staticmethod
        def forward(ctx, x):
            return x[1:]

        @staticmethod
        def backward(ctx, dz):
            return tg.cat([tg.zeros(1, dtype=dz.dtype), dz])

    x = leaf(1.0, 2.0)
    y = x * 1
    z = Last.apply(y)
    z.add_(5)
    assert z.tolist() == [7] and y.tolist() == [1, 2]
    assert grad(z.sum(), x)[0].tolist() == [0, 1]


def test_observers_see_it_as_one_application():
    seen = []

    def observe(node, inputs, outputs):
        if repr(node) == "SumAndProduct":
            seen.append((inputs, outputs))

    x, y = leaf(1.0), leaf(2.0)
    observers.append(observe)
    try:
        outs = SumAndProduct.apply(x, y, 10)
    finally:
        observers.remove(observe)
    ((inputs, outputs),) = seen
    assert [id(z) for z in (*inputs, *outputs)] == [id(z) for z in (x, y, *outs)]
