"""Regions of mixed precision: what is cast, how often, where they end, and what goes through them."""

import threading
import warnings

import numpy
import pytest
from standin import StandInBackend  # noqa: F401  (makes the device 'standin' known)

import tensorgrad as tg
import tensorgrad.nn.functional as F
from tensorgrad import nn
from tensorgrad.autocast_table import LISTED, TABLE
from tensorgrad.errors import TensorgradError
from tensorgrad.primitive import observers
from tensorgrad.utils.checkpoint import checkpoint

LOW = tg.float16  # the tests of what does not depend on the dtype need no further package


def casts_in(function):
    """The dtypes that were cast to while function ran."""
    seen = []

    def watch(primitive, inputs, outputs):
        if primitive.name == "cast":
            seen.append(primitive.dtype)

    observers.append(watch)
    try:
        function()
    finally:
        observers.remove(watch)
    return seen


@pytest.mark.parametrize("name", sorted(LISTED))
def test_every_name_of_the_table_is_an_operation_that_looks_there(name):
    """The public function of that name casts: it is the wrapper, not what it wraps."""
    through = [F.softmax, F.log_softmax, tg.linalg.cross, tg.linalg.norm]  # they call what is listed
    places = (tg, F, tg.linalg, tg.special, tg.Tensor)
    found = [getattr(place, name) for place in places if name in dir(place)]
    assert found
    for function in found:
        assert hasattr(function, "__wrapped__") or function in through, function


ROWS_OF_THE_GPU = [
    # operation, dtypes of the operands, dtype of the result; the list is PyTorch's for CUDA
    ("x @ y", "float32 float32", "float16"),
    ("x @ y", "float16 float32", "float16"),
    ("x @ y", "float64 float64", "float64"),
    ("F.linear(x, y, y[0])", "float32 float32", "float16"),
    ("tg.mv(x, y[0])", "float32 float32", "float16"),
    ("tg.exp(x)", "float16 float16", "float32"),
    ("x ** 2", "float16 float16", "float32"),
    ("x.square()", "float16 float16", "float32"),
    ("x.sum()", "float16 float16", "float32"),
    ("x.sum(dtype=tg.float16)", "float16 float16", "float16"),
    ("x.mean()", "float16 float16", "float16"),
    ("F.softmax(x, 1)", "float16 float16", "float32"),
    ("F.softmax(x, 1, dtype=tg.float64)", "float16 float16", "float64"),
    ("F.layer_norm(x, (3,))", "float16 float16", "float32"),
    ("F.mse_loss(x, y)", "float16 float16", "float32"),
    ("F.relu(x)", "float16 float16", "float16"),
    ("x + y", "float16 float32", "float32"),
    ("tg.dot(x[0], y[0])", "float16 float32", "float32"),
    ("tg.dot(x[0], y[0])", "float16 float16", "float16"),
    ("tg.addcmul(x, y, y)", "float16 float32", "float32"),
    ("tg.cat([x, y])", "float16 float32", "float32"),
    ("F.batch_norm(x, None, None, y[0], y[0], True)", "float16 float32", "float16"),
]


@pytest.mark.parametrize("place", ["standin", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize(("line", "dtypes", "wanted"), ROWS_OF_THE_GPU)
def test_the_table_of_gpus(line, dtypes, wanted, place):
    x, y = (tg.tensor(numpy.eye(3) + 1, dtype=dtype).to(place) for dtype in dtypes.split())
    with tg.autocast(place):
        z = eval(line, {"tg": tg, "F": F, "x": x, "y": y})
    assert z.dtype == wanted
    with tg.autocast("cpu", LOW):  # of another device: it is left alone
        if x.dtype == y.dtype:
            assert eval(line, {"tg": tg, "F": F, "x": x, "y": y}).dtype in (x.dtype, "float64")


def test_probabilities_are_refused_on_a_gpu_and_widened_on_the_cpu():
    p = tg.full((2,), 0.5, dtype=LOW)
    with tg.autocast("standin"), pytest.raises(RuntimeError, match="binary_cross_entropy_with_logits"):
        F.binary_cross_entropy(p.to("standin"), p.to("standin"))
    with tg.autocast("cpu", LOW):
        assert F.binary_cross_entropy(p, p).dtype == tg.float32


def test_bfloat16_is_the_cpu_s_own():
    pytest.importorskip("ml_dtypes")
    with tg.autocast("cpu"):
        assert tg.get_autocast_dtype("cpu") == tg.bfloat16
        assert (tg.ones(2, 2) @ tg.ones(2, 2)).dtype == tg.bfloat16


def test_weights_and_their_gradients_stay_in_float32():
    tg.manual_seed(0)  # of other weights one may lie on the other side of ReLU's kink
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    x = tg.randn(4, 1, 6, 6)
    with tg.autocast("cpu", LOW):
        scores = model(x)
        loss = F.cross_entropy(scores, tg.tensor([0, 1, 2, 0]))
    assert (scores.dtype, loss.dtype) == (LOW, tg.float32)
    loss.backward()
    assert {p.grad.dtype for p in model.parameters()} == {p.dtype for p in model.parameters()} == {tg.float32}
    assert model[1].running_mean.dtype == tg.float32
    exact = nn.Sequential(*model)
    gradients = [p.grad.clone() for p in model.parameters()]
    exact.zero_grad()
    F.cross_entropy(exact(x), tg.tensor([0, 1, 2, 0])).backward()
    for rough, p in zip(gradients, exact.parameters()):
        numpy.testing.assert_allclose(rough.numpy(), p.grad.numpy(), atol=0.02 * float(p.grad.abs().max()) + 1e-3)


def test_a_weight_is_cast_once_in_a_region():
    w, x = tg.randn(3, 3, requires_grad=True), tg.randn(3, 3, dtype=LOW)

    def uses(**settings):
        with tg.autocast("cpu", LOW, **settings):
            return (x @ w) + (x @ w) + (x @ w)

    assert casts_in(uses) == [LOW]
    assert casts_in(lambda: uses(cache_enabled=False)) == [LOW] * 3
    uses().sum().backward()
    once = w.grad.clone()
    w.grad = None
    uses(cache_enabled=False).sum().backward()
    assert (once - w.grad).abs().max() < 0.02


def test_a_kept_cast_is_not_used_for_what_it_does_not_fit():
    """Changed weights, and weights that were first used under no_grad, are cast anew."""
    w = tg.ones(2, 2, requires_grad=True)
    x = tg.ones(1, 2)
    with tg.autocast("cpu", LOW):
        with tg.no_grad():
            assert not (x @ w).requires_grad
        z = x @ w
        assert z.requires_grad
        with tg.no_grad():
            w.mul_(3)
        assert (x @ w).tolist() == [[6.0, 6.0]]
        w.data = tg.full((2, 2), 5.0)
        assert (x @ w).tolist() == [[10.0, 10.0]]


def test_regions_nest_and_share_what_they_kept():
    w, x = tg.ones(2, 2, requires_grad=True), tg.ones(2, 2)

    def nested():
        with tg.autocast("cpu", LOW):
            assert (x @ w).dtype == LOW
            with tg.autocast("cpu", enabled=False):
                assert not tg.is_autocast_enabled("cpu")
                assert (x @ w).dtype == tg.float32
                with tg.autocast("cpu", LOW):
                    assert (x @ w).dtype == LOW
            assert tg.is_autocast_enabled("cpu")
            assert (x @ w).dtype == LOW
        assert not tg.is_autocast_enabled("cpu")
        assert (x @ w).dtype == tg.float32

    assert len(casts_in(nested)) == 1 + 3  # w once, x at every product


def test_a_region_ends_also_by_an_exception_and_can_be_entered_again():
    region = tg.autocast("cpu", LOW)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), region:
            assert tg.is_autocast_enabled("cpu")
            raise ZeroDivisionError
        assert not tg.is_autocast_enabled("cpu")
    with region, region:
        assert tg.is_autocast_enabled("cpu")
    assert not tg.is_autocast_enabled("cpu")


def test_an_overflow_is_a_value_in_a_region():
    x = tg.full((2, 2), 6e4)
    with tg.autocast("cpu", LOW):
        z = x @ x
        assert (z + z).tolist() == [[float("inf")] * 2] * 2
        assert F.conv2d(x.expand(1, 1, 2, 2), tg.full((1, 1, 2, 2), 6e4)).item() == float("inf")
    with pytest.warns(RuntimeWarning, match="overflow"):
        x.half() + x.half()


def test_as_a_decorator():
    @tg.autocast("cpu", LOW)
    def forward(x, depth=2):
        """Its text."""
        return forward(x, depth - 1) if depth else x @ x

    assert forward(tg.ones(2, 2)).dtype == LOW
    assert (forward.__name__, forward.__doc__) == ("forward", "Its text.")
    assert not tg.is_autocast_enabled("cpu")


def test_every_thread_has_its_own():
    found = []
    with tg.autocast("cpu", LOW):
        thread = threading.Thread(target=lambda: found.append((tg.ones(2, 2) @ tg.ones(2, 2)).dtype))
        thread.start()
        thread.join()
    assert found == [tg.float32]


def test_backward_runs_in_the_dtypes_that_forward_chose():
    """Also inside of the region, and with a graph of the gradient; second order too."""
    w = tg.tensor([[0.5, -1.0], [2.0, 0.25]], requires_grad=True)
    x = tg.tensor([[1.0, 2.0]])
    with tg.autocast("cpu", LOW):
        z = F.mse_loss(tg.tanh(x @ w), tg.zeros(1, 2))
        (inside,) = tg.autograd.grad(z, w, create_graph=True)
        penalty = inside.square().sum()
    (outside,) = tg.autograd.grad(z, w, create_graph=True)
    assert inside.dtype == outside.dtype == tg.float32
    assert (inside == outside).all()
    (second,) = tg.autograd.grad(penalty, w)
    (exact_first,) = tg.autograd.grad(F.mse_loss(tg.tanh(x @ w), tg.zeros(1, 2)), w, create_graph=True)
    (exact,) = tg.autograd.grad(exact_first.square().sum(), w)
    assert second.dtype == tg.float32
    numpy.testing.assert_allclose(second.numpy(), exact.numpy(), rtol=0.02, atol=2e-3)


def test_forward_mode():
    w, v = tg.tensor([[0.5, -1.0], [2.0, 0.25]]), tg.tensor([[1.0, 1.0], [0.0, 1.0]])

    def half(w):
        with tg.autocast("cpu", LOW):
            return (tg.ones(1, 2) @ w).exp().sum()

    z, dz = tg.func.jvp(half, (w,), (v,))
    exact, dexact = tg.func.jvp(lambda w: (tg.ones(1, 2) @ w).exp().sum(), (w,), (v,))
    assert abs(float(z - exact)) < 0.05
    assert abs(float(dz - dexact)) < 0.05


@pytest.mark.parametrize("used_before", [False, True])
def test_through_a_checkpoint(used_before):
    """The part runs again in the region it ran in, also where backward is outside and a weight's cast was kept before."""
    w = tg.randn(3, 3, requires_grad=True)
    x = tg.randn(2, 3)

    def part(x):
        assert tg.is_autocast_enabled("cpu")
        return tg.tanh(x @ w)

    def gradient(run):
        w.grad = None
        with tg.autocast("cpu", LOW):
            z = (x @ w).sum() if used_before else 0.0
            loss = run(part, x).sum() + z
        loss.backward()
        return w.grad

    plain = gradient(lambda part, x: part(x))
    kept = gradient(checkpoint)
    if used_before:  # the two uses of w are then added in float32 instead of float16
        assert (plain - kept).abs().max() < 0.02
    else:
        assert (plain == kept).all()


@pytest.mark.parametrize("inside", [False, True])
def test_through_compile(inside):
    """A compiled step with its region inside, or called within one: the same numbers, and no recording for the other."""
    from copy import deepcopy

    first = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    results = []
    for compiled in (False, True):
        model = deepcopy(first)
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1)

        def step(x, model=model, optimizer=optimizer):
            optimizer.zero_grad()
            if inside:
                with tg.autocast("cpu", LOW):
                    loss = model(x).square().mean()
            else:
                loss = model(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = tg.compile(step) if compiled else step
        losses = []
        for turn in range(8):
            x = tg.full((2, 3), 0.1 * turn)
            with tg.autocast("cpu", LOW, enabled=inside or turn % 2 == 0):
                losses.append(run(x))
        results.append([(z.item(), str(z.dtype)) for z in losses])
        if compiled:
            assert run.why() == []
            assert run.replays >= 4
    assert results[0] == results[1]


def test_functions_of_the_user():
    seen = []

    class Product(tg.autograd.Function):
        @staticmethod
        @tg.amp.custom_fwd(device_type="cpu")
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return x @ y

        @staticmethod
        @tg.amp.custom_bwd(device_type="cpu")
        def backward(ctx, dz):
            seen.append(tg.is_autocast_enabled("cpu"))
            x, y = ctx.saved_tensors
            return dz @ y.T, x.T @ dz

    x = tg.ones(2, 2, requires_grad=True)
    with tg.autocast("cpu", LOW):
        z = Product.apply(x, x)
    assert z.dtype == LOW
    z.sum().backward()
    assert x.grad.dtype == tg.float32
    Product.apply(x, x).sum().backward()
    assert seen == [True, False]


def test_inputs_of_the_user_s_functions_are_cast():
    class Sum(tg.autograd.Function):
        @staticmethod
        @tg.amp.custom_fwd(device_type="cpu", cast_inputs=tg.float32)
        def forward(ctx, xs, scale):
            assert not tg.is_autocast_enabled("cpu")
            return xs * scale

        @staticmethod
        @tg.amp.custom_bwd(device_type="cpu")
        def backward(ctx, dz):
            assert not tg.is_autocast_enabled("cpu")
            return dz, None

    x = tg.ones(2, dtype=LOW, requires_grad=True)
    with tg.autocast("cpu", LOW):
        z = Sum.apply(x, 2.0)
    assert z.dtype == tg.float32
    z.sum().backward()
    assert x.grad.dtype == LOW


def test_the_settings_are_told():
    assert tg.is_autocast_cache_enabled()
    assert tg.get_autocast_dtype("cuda") == tg.float16
    with tg.autocast("cpu", LOW, cache_enabled=False):
        assert not tg.is_autocast_cache_enabled()
        assert (tg.get_autocast_dtype("cpu"), tg.is_autocast_enabled("cpu")) == (LOW, True)
        assert not tg.is_autocast_enabled()
        with tg.autocast("cpu", LOW):
            assert not tg.is_autocast_cache_enabled()
    w = tg.ones(2, 2, requires_grad=True)

    def twice():
        with tg.autocast("cpu", LOW):
            w @ w
            tg.clear_autocast_cache()
            w @ w

    assert len(casts_in(twice)) == 2


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("toaster",), RuntimeError, "toaster"),
        (("cuda:0",), RuntimeError, "kind of device"),
        ((5,), ValueError, "int"),
    ],
)
def test_what_is_no_device(arguments, error, text):
    with pytest.raises(error, match=text) as found:
        tg.autocast(*arguments)
    assert isinstance(found.value, TensorgradError)


@pytest.mark.parametrize(
    ("arguments", "text"), [(("cpu", tg.float64), "float64 is not a low precision"), (("cuda",), "off")]
)
def test_what_is_switched_off_with_a_warning(arguments, text):
    if arguments == ("cuda",) and tg.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.warns(UserWarning, match=text):
        region = tg.autocast(*arguments)
    with region:
        assert (tg.ones(2, 2) @ tg.ones(2, 2)).dtype == tg.float32
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tg.autocast(*arguments, enabled=False)


def test_the_table_says_what_it_should():
    """The rules are of four kinds, and no operation is in two lists of one device."""
    for column in TABLE.values():
        assert set(column.values()) <= {"low", "float32", "widest", "refused"}
    assert TABLE["cpu"]["conv2d"] == TABLE["gpu"]["conv2d"] == "low"
    assert TABLE["gpu"]["softmax"] == "float32"
    assert "softmax" not in TABLE["cpu"]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("low", ["float16", "bfloat16"])
def test_batch_norm_of_low_precision_with_weights_in_float32(low, training):
    """Value and dtypes of the result, of the gradients (also recorded ones, for second order), and of the tangent."""
    if low == "bfloat16":
        pytest.importorskip("ml_dtypes")
    dtype = getattr(tg, low)
    values = numpy.random.default_rng(0).standard_normal((6, 2, 3)).astype("float32")
    found = []
    for kind in (dtype, tg.float32):
        x = tg.tensor(values).to(kind).requires_grad_()
        w, b = tg.tensor([0.5, 2.0], requires_grad=True), tg.tensor([1.0, 0.0], requires_grad=True)
        mean, var = tg.tensor([0.1, -0.2]), tg.tensor([1.1, 0.8])

        def norm(x, w, b, mean=mean, var=var):
            return F.batch_norm(x, mean, var, w, b, training)

        z = norm(x, w, b)
        weights = tg.linspace(-1, 1, 36).reshape(6, 2, 3).to(kind)
        plain = tg.autograd.grad((z * weights).sum(), [x, w, b], retain_graph=True)
        recorded = tg.autograd.grad((z * weights).sum(), [x, w, b], create_graph=True)
        _, tangent = tg.func.jvp(lambda x, w, b=b: norm(x, w, b), (x.detach(), w.detach()), (weights, tg.ones(2)))
        assert (z.dtype, tangent.dtype, mean.dtype, var.dtype) == (kind, kind, tg.float32, tg.float32)
        for gradients in (plain, recorded):
            assert [g.dtype for g in gradients] == [kind, tg.float32, tg.float32]
        found.append([t.detach().float().numpy() for t in (z, tangent, mean, var, *plain, *recorded)])
    for ours, exact in zip(*found):
        numpy.testing.assert_allclose(ours, exact, atol=0.03 * abs(exact).max())


@pytest.mark.parametrize("low", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    "norm", ["layer_norm(x, (3,), w, b)", "group_norm(x, 3, w, b)", "instance_norm(x, None, None, w, b)"]
)
def test_other_norms_of_low_precision_with_weights_in_float32(low, norm):
    if low == "bfloat16":
        pytest.importorskip("ml_dtypes")
    values = numpy.random.default_rng(0).standard_normal((4, 3, 3)).astype("float32")
    found = []
    for kind in (getattr(tg, low), tg.float32):
        x = tg.tensor(values).to(kind).requires_grad_()
        w, b = tg.tensor([0.5, 2.0, 1.0], requires_grad=True), tg.tensor([1.0, 0.0, -1.0], requires_grad=True)
        z = eval(f"F.{norm}", {"F": F, "x": x, "w": w, "b": b})
        (z * tg.linspace(-1, 1, 36).reshape(4, 3, 3).to(kind)).sum().backward()
        assert (z.dtype, x.grad.dtype, w.grad.dtype, b.grad.dtype) == (kind, kind, tg.float32, tg.float32)
        found.append([t.detach().float().numpy() for t in (z, x.grad, w.grad, b.grad)])
    for ours, exact in zip(*found):
        numpy.testing.assert_allclose(ours, exact, atol=0.03 * abs(exact).max())


@pytest.mark.oracle
def test_gradients_as_in_pytorch():
    """Value and dtype of every gradient of a small network in bfloat16."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("ml_dtypes")
    torch.set_num_threads(1)
    random = numpy.random.default_rng(3)
    values = {
        "k": random.standard_normal((4, 1, 3, 3)),
        "c": random.standard_normal(4),
        "w": random.standard_normal((3, 64)) / 8,
        "b": random.standard_normal(3),
    }
    image = random.standard_normal((8, 1, 6, 6))
    found = []
    for t, functional in ((torch, torch.nn.functional), (tg, F)):
        p = {name: t.tensor(value.tolist(), requires_grad=True) for name, value in values.items()}
        with t.autocast("cpu", t.bfloat16):
            z = functional.conv2d(t.tensor(image.tolist()), p["k"], p["c"])
            z = functional.layer_norm(functional.relu(z), (4, 4))
            z = functional.linear(t.flatten(z, 1), p["w"], p["b"])
            loss = functional.cross_entropy(z, t.tensor([0, 1, 2, 0, 1, 2, 0, 1]))
        loss.backward()
        found.append(
            (loss.item(), {name: (str(x.grad.dtype).removeprefix("torch."), x.grad.numpy()) for name, x in p.items()})
        )
    (loss, theirs), (our_loss, ours) = found
    assert abs(loss - our_loss) < 0.02
    for name, (dtype, gradient) in theirs.items():
        assert ours[name][0] == dtype == "float32"
        numpy.testing.assert_allclose(ours[name][1], gradient, atol=0.02 * abs(gradient).max())


def test_regions_that_are_left_out_of_turn_leave_nothing_on():
    """A generator inside of a region, closed inside of another: each takes away its own."""

    def within(dtype):
        with tg.autocast("cpu", dtype=dtype):
            yield

    def product():
        return (tg.ones(2, 2) @ tg.ones(2, 2)).dtype

    generator = within(tg.bfloat16)
    next(generator)
    with tg.autocast("cpu", dtype=tg.float16):
        generator.close()
        assert product() == tg.float16
    assert product() == tg.float32
    generator = within(tg.bfloat16)
    with pytest.raises(KeyError), tg.autocast("cpu", dtype=tg.float16):
        next(generator)
        raise KeyError
    assert product() == tg.float32
    generator.close()
    assert product() == tg.float32


def test_one_region_for_several_threads():
    region, turns, found = tg.autocast("cpu", dtype=tg.bfloat16), threading.Barrier(2), {}

    def work(number):
        with tg.autocast("cpu", dtype=tg.float16, enabled=bool(number)):
            turns.wait(10)
            with region:
                turns.wait(10)
            found[number] = (tg.ones(2, 2) @ tg.ones(2, 2)).dtype

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == {0: tg.float32, 1: tg.float16}
