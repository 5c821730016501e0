"""The engine under misuse: nothing is silently wrong, nothing is left behind by an error, any depth will do."""

import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.autograd import detect_anomaly, grad, hvp, jvp
from tensorgrad.autograd.function import Function
from tensorgrad.utils.checkpoint import checkpoint

# changes of saved values


def fresh(values=(1.0, 2.0, 3.0)):
    return tg.tensor(list(values), requires_grad=True)


CHANGES = {
    "in place": lambda y: y.mul_(2.0),
    "through a view": lambda y: y[1:].zero_(),
    "through a view of a view": lambda y: y.reshape(3, 1)[1:].T.fill_(7.0),
    "through detach": lambda y: y.detach().add_(1.0),
    "through data": lambda y: y.data.add_(1.0),
    "through a view of data": lambda y: y.data[0:1].zero_(),
    "by an index": lambda y: y.data.__setitem__(0, 5.0),
    "by an index of places": lambda y: y.data.__setitem__(tg.tensor([0, 2]), 5.0),
    "by new data": lambda y: setattr(y, "data", tg.ones(3)),
}


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("anomaly", [False, True], ids=["plain", "anomaly"])
def test_a_saved_value_that_was_changed_is_refused(how, anomaly):
    with detect_anomaly() if anomaly else tg.enable_grad():
        y = fresh() * 1.0
        z = (y * y).sum()
        with tg.no_grad():
            CHANGES[how](y)
        with pytest.raises(RuntimeError, match="changed in place"):
            z.backward()


@pytest.mark.parametrize("how", CHANGES)
def test_a_leaf_that_was_changed_is_refused(how):
    x = fresh()
    z = (x * x).sum()
    with tg.no_grad():
        CHANGES[how](x)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.backward()


@pytest.mark.parametrize("how", CHANGES)
def test_a_value_that_nobody_saved_may_change(how):
    x = fresh()
    z = (x * 2.0).sum()
    with tg.no_grad():
        CHANGES[how](x)
    z.backward()
    assert x.grad.tolist() == [2, 2, 2]


@pytest.mark.parametrize("part", ["the leaf", "the array it was made from", "a result"])
def test_anomaly_mode_finds_a_change_through_numpy(part):
    """No version counts there; the values themselves are compared."""
    made_from = np.array([1.0, 2.0, 3.0])
    with detect_anomaly():
        x = tg.Tensor(made_from, requires_grad=True) if "made" in part else fresh()
        y = x * 1.0
        z = (y * y).sum() if part == "a result" else (x * x).sum()
        z.backward(retain_graph=True)  # unchanged, it is fine, and fine again
        z.backward(retain_graph=True)
        alias = {"the leaf": x.detach().numpy(), "a result": y.detach().numpy()}.get(part, made_from)
        alias[1] = 9.0
        with pytest.raises(RuntimeError, match=r"behind tensorgrad's back.*multiply was called here"):
            z.backward()


# what NumPy is given of a Tensor, or gives it: (the Tensor, the array)


def lent(give):
    def make():
        y = fresh() * 1.0
        return y, give(y)

    return make


def taken(take):
    def make():
        array = np.array([1.0, 2.0, 3.0], dtype="float32")
        return take(array).requires_grad_(), array

    return make


ALIASES_OF_NUMPY = {
    "numpy": lent(lambda y: y.detach().numpy()),
    "numpy of data": lent(lambda y: y.data.numpy()),
    "numpy, forced": lent(lambda y: y.numpy(force=True)),
    "asarray": lent(lambda y: np.asarray(y.detach())),
    "a view's": lent(lambda y: y.detach()[:2].numpy()),
    "the second of two": lent(lambda y: (y.detach()[:1].numpy(), y.detach()[:2].numpy())[1]),
    "dlpack": lent(lambda y: np.from_dlpack(y.detach()).view()),
    "from_numpy": taken(tg.from_numpy),
    "as_tensor": taken(tg.as_tensor),
    "asarray of an array": taken(tg.asarray),
    "from_dlpack": taken(tg.from_dlpack),
}
WRITES = {
    "one value": lambda a: a.__setitem__(1, 9.0),
    "another order": lambda a: a.__setitem__(slice(0, 2), a[:2][::-1].copy()),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("alias", ALIASES_OF_NUMPY)
def test_a_change_through_numpy_is_refused(alias, write):
    """Without anomaly mode: memory that NumPy has is compared with a checksum."""
    y, array = ALIASES_OF_NUMPY[alias]()
    if not array.flags.writeable:
        pytest.skip("this NumPy exports DLPack read-only")
    z = (y * y).sum()
    z.backward(retain_graph=True)  # unchanged, it is fine
    WRITES[write](array)
    with pytest.raises(RuntimeError, match=r"multiply: its input .* behind tensorgrad's back"):
        z.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="behind tensorgrad's back"):
        grad(z, y, create_graph=True)
    (y * y).sum().backward()  # what comes later takes the values as they are now


@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_a_new_batch_over_an_old_one_is_seen(order):
    """Of a large array a checksum looks at 4,096 places, wherever they lie."""
    whole = np.random.default_rng(3).standard_normal((64, 3, 40, 40))
    array = {"C": whole, "F": np.asfortranarray(whole), "strided": whole[:, :, ::2]}[order]
    x = tg.from_numpy(array).requires_grad_()
    z = (x * x).sum()
    array[...] = np.random.default_rng(4).standard_normal(array.shape)
    with pytest.raises(RuntimeError, match="behind tensorgrad's back"):
        z.backward()


@pytest.mark.parametrize("saved", ["the leaf", "a result", "a view", "of a Function"])
def test_a_change_through_numpy_after_the_saving(saved):
    """NumPy is given the memory only when the node stands already."""
    x = fresh()
    if saved == "the leaf":
        y, z = x, (x * x).sum()
    elif saved == "a result":
        y = x.exp()
        z = y.sum()
    elif saved == "a view":
        y = x * 1.0
        z = (y[1:] * y[1:]).sum()
    else:
        y = x * 1.0
        z = Square.apply(y).sum()
    y.detach().numpy()[1] = 9.0
    with pytest.raises(RuntimeError, match="behind tensorgrad's back"):
        z.backward()


def test_every_part_that_numpy_got_after_the_saving_is_watched():
    x = fresh()
    z = (x * x).sum()
    first, second = x.detach()[:1].numpy(), x.detach()[1:].numpy()
    z.backward(retain_graph=True)
    second[0] = 9.0
    with pytest.raises(RuntimeError, match="behind tensorgrad's back"):
        z.backward()
    assert first[0] == x[0]


class Square(Function):
    """x^2, by what it saved."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, dz):
        (x,) = ctx.saved_tensors
        return 2.0 * x * dz


def test_a_change_through_numpy_where_it_does_no_harm():
    x = fresh()
    x.detach().numpy()[0] = 5.0  # before it is saved
    z, w = (x * x).sum(), Square.apply(x).sum()
    (z + w).backward()
    assert x.grad.tolist() == [20, 8, 12]
    y = x * 2.0  # which keeps x's values for nobody
    x.detach().numpy()[:] = 0.0
    y.sum().backward()
    assert x.grad.tolist() == [22, 10, 14]
    for _ in range(3):  # descent written with NumPy
        x.grad = None
        (x * x).sum().backward()
        x.detach().numpy()[...] -= 0.5 * x.grad.numpy()
        assert x.tolist() == [0, 0, 0]
    x.data = tg.tensor([1.0, 2.0, 3.0])
    z = (x * x).sum()
    x.detach().numpy()[0] = 5.0  # the new memory is watched as well
    with pytest.raises(RuntimeError, match="behind tensorgrad's back"):
        z.backward()


def test_what_numpy_never_had_costs_nothing_and_a_loop_of_views_no_memory():
    x = tg.ones(1000, 4, requires_grad=True)
    (x * x).sum().backward()
    assert x.extra is None
    rows = x.detach()
    for i in range(1000):
        rows[i].numpy()
    assert len(x.storage.lent) <= 64


def test_changes_between_steps_are_fine():
    w = fresh()
    for _ in range(3):
        w.grad = None
        (w * w).sum().backward()
        w.data.sub_(0.5 * w.grad)  # w -= w
        assert w.tolist() == [0, 0, 0]
        w.data = tg.tensor([1.0, 2.0, 3.0])


# gradients are nobody else's memory

ALIASES = {
    "x + y": lambda x, y: (x + y).sum(),
    "x - y": lambda x, y: (x - y).sum(),
    "reshape": lambda x, y: (x.reshape(3, 2).reshape(2, 3) + y.T.T).sum(),
    "cat": lambda x, y: tg.cat([x, y]).sum(),
    "stack": lambda x, y: tg.stack([x, x, y]).sum(),
    "expand": lambda x, y: (x.expand(4, 2, 3) * 1.0 + y).sum(),
    "index": lambda x, y: (x[:, :] + y[:]).sum(),
    "where": lambda x, y: tg.where(tg.tensor(True), x, y).sum(),
    "the same twice": lambda x, y: (x + x + y).sum(),
    "the leaf itself": lambda x, y: x.sum() + y.sum(),
}


@pytest.mark.parametrize("case", ALIASES)
@pytest.mark.parametrize("create_graph", [False, True], ids=["first", "create_graph"])
def test_gradients_never_alias(case, create_graph):
    x, y = tg.ones(2, 3, requires_grad=True), tg.ones(2, 3, requires_grad=True)
    seed = tg.tensor(1.0)
    ALIASES[case](x, y).backward(seed, create_graph=create_graph)
    arrays = {"x": x.array, "y": y.array, "x.grad": x.grad.array, "y.grad": y.grad.array, "seed": seed.array}
    names = sorted(arrays)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert not np.shares_memory(arrays[a], arrays[b]), (a, b)
    expected = [x.grad.numpy(force=True).copy(), y.grad.numpy(force=True).copy()]
    with tg.no_grad():
        x.grad.mul_(100.0)  # must reach neither y.grad nor the next backward
    assert y.grad.tolist() == expected[1].tolist()
    x.grad = y.grad = None
    ALIASES[case](x, y).backward(seed)
    assert x.grad.tolist() == expected[0].tolist()


def test_a_gradient_given_out_is_not_added_to_later():
    x = fresh()
    (x * 2).sum().backward()
    kept = x.grad
    x.grad = None
    (x * 5).sum().backward()
    assert kept.tolist() == [2, 2, 2]
    (first,) = grad((x * 3).sum(), x)
    (second,) = grad((x * 4).sum(), x)
    assert not np.shares_memory(first.array, second.array) and not np.shares_memory(first.array, x.grad.array)


# dtype never creeps

LAYERS = {
    "Linear": (lambda: nn.Linear(4, 3), (2, 4)),
    "Conv1d": (lambda: nn.Conv1d(2, 3, 3, padding=1), (2, 2, 8)),
    "Conv2d": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 2, 8, 8)),
    "Conv2d, grouped": (lambda: nn.Conv2d(4, 4, 3, groups=4, stride=2), (2, 4, 8, 8)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 3, 3, stride=2), (2, 2, 5, 5)),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3), (4, 3, 5, 5)),
    "LayerNorm": (lambda: nn.LayerNorm(6), (4, 6)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (4, 4, 3, 3)),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(3, affine=True), (4, 3, 5, 5)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (2, 3, 6, 6)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (2, 3, 6, 6)),
    "AdaptiveAvgPool2d": (lambda: nn.AdaptiveAvgPool2d(3), (2, 3, 7, 7)),
    "Dropout": (lambda: nn.Dropout(0.5), (4, 6)),
    "Softmax": (lambda: nn.Softmax(dim=1), (4, 6)),
    "LogSoftmax": (lambda: nn.LogSoftmax(dim=1), (4, 6)),
    "PReLU": (lambda: nn.PReLU(3), (4, 3, 2)),
    "LocalResponseNorm": (lambda: nn.LocalResponseNorm(3), (2, 4, 5, 5)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), (2, 3, 4, 4)),
    **{
        name: (lambda name=name: getattr(nn, name)(), (4, 6))
        for name in ("ReLU", "LeakyReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Softplus", "Sigmoid", "Tanh")
    },
}


FLOATS = ["float32", "float64", "float16", "bfloat16"]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LAYERS)
def test_dtype_never_creeps_in_layers(name, dtype):
    make, shape = LAYERS[name]
    layer = make().to(getattr(tg, dtype))
    x = tg.randn(*shape).to(getattr(tg, dtype)).requires_grad_()
    for training in (True, False):
        layer.train(training)
        y = layer(x)
        assert str(y.dtype).endswith(dtype)
        (g,) = grad((y * y).sum(), x, create_graph=True)
        (g * g).sum().backward()
        assert str(g.dtype).endswith(dtype) and str(x.grad.dtype).endswith(dtype)
    for key, value in (*layer.named_parameters(), *layer.named_buffers()):
        if key != "num_batches_tracked":
            assert str(value.dtype).endswith(dtype), key
        if value.grad is not None:
            assert str(value.grad.dtype).endswith(dtype), key


POSITIVE, CLASSES = tg.tensor([[0.2, 0.8], [0.6, 0.4]]), tg.tensor([1, 0])
SIGNS = tg.tensor([[1.0, -1.0], [-1.0, 1.0]])
F = nn.functional
LOSSES = {
    "cross_entropy": lambda x: F.cross_entropy(x, CLASSES),
    "cross_entropy, weights": lambda x: F.cross_entropy(
        x, CLASSES, weight=POSITIVE[0].to(x.dtype), label_smoothing=0.1
    ),
    "cross_entropy, ignored": lambda x: F.cross_entropy(x, CLASSES, ignore_index=0),
    "cross_entropy, probabilities": lambda x: F.cross_entropy(x, POSITIVE.to(x.dtype)),
    "nll_loss": lambda x: F.nll_loss(x, CLASSES),
    "mse_loss": lambda x: F.mse_loss(x, POSITIVE.to(x.dtype)),
    "l1_loss": lambda x: F.l1_loss(x, POSITIVE.to(x.dtype)),
    "smooth_l1_loss": lambda x: F.smooth_l1_loss(x, POSITIVE.to(x.dtype)),
    "huber_loss": lambda x: F.huber_loss(x, POSITIVE.to(x.dtype)),
    "binary_cross_entropy": lambda x: F.binary_cross_entropy(x.sigmoid(), POSITIVE.to(x.dtype)),
    "binary_cross_entropy_with_logits": lambda x: F.binary_cross_entropy_with_logits(x, POSITIVE.to(x.dtype)),
    "kl_div": lambda x: F.kl_div(x, POSITIVE.to(x.dtype), reduction="batchmean"),
    "soft_margin_loss": lambda x: F.soft_margin_loss(x, SIGNS.to(x.dtype)),
    "hinge_embedding_loss": lambda x: F.hinge_embedding_loss(x, SIGNS.to(x.dtype)),
    "multi_margin_loss": lambda x: F.multi_margin_loss(x, CLASSES),
    "cosine_embedding_loss": lambda x: F.cosine_embedding_loss(x, POSITIVE.to(x.dtype), SIGNS[0].to(x.dtype)),
    "triplet_margin_loss": lambda x: F.triplet_margin_loss(x, POSITIVE.to(x.dtype), SIGNS.to(x.dtype)),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", LOSSES)
def test_dtype_never_creeps_in_losses(name, dtype):
    x = tg.tensor([[0.3, -0.2], [0.7, 0.9]]).to(getattr(tg, dtype)).requires_grad_()
    loss = LOSSES[name](x)
    loss.backward()
    assert loss.dtype == x.dtype == x.grad.dtype
    other = tg.tensor([[0.3, -0.2], [0.7, 0.9]], dtype=tg.float64, requires_grad=True)
    expected = LOSSES[name](other)
    assert abs(float(loss.item()) - expected.item()) <= 0.03 * (1 + abs(expected.item()))


OPTIMIZERS = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    "Adam": {"amsgrad": True, "weight_decay": 0.1},
    **{name: {} for name in ("AdamW", "NAdam", "RAdam", "Adamax", "Adagrad", "Adadelta", "RMSprop")},
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_dtype_never_creeps_in_optimizers(name, dtype):
    kind = getattr(tg, dtype)
    w = tg.ones(3, dtype=kind, requires_grad=True)
    before = w.array
    optimizer = getattr(tg.optim, name)([w], **OPTIMIZERS[name])
    for _ in range(3):
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()
    assert w.dtype == kind and w.grad.dtype == kind and w.array is before
    for key, value in optimizer.state[w].items():
        if isinstance(value, tg.Tensor) and value.ndim:
            assert value.dtype == kind, key


# errors in the middle


class Failing(Function):
    """The identity, which fails in the direction it is told to."""

    where = ""

    @staticmethod
    def forward(ctx, x):
        if Failing.where == "forward":
            raise KeyError("in the middle of forward")
        return x.clone()

    @staticmethod
    def backward(ctx, dz):
        if Failing.where == "backward":
            raise KeyError("in the middle of backward")
        return dz


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("way", ["plain", "checkpointed", "anomaly"])
def test_an_error_in_the_middle_leaves_nothing_behind(where, way):
    gc.collect()
    gc.disable()  # counting references alone must free it
    try:
        w = tg.ones(100, requires_grad=True)
        freed = []

        def step():
            y = w * 2.0
            freed.append(weakref.ref(y))
            middle = checkpoint(lambda y: Failing.apply(y * 1.0), y) if way == "checkpointed" else Failing.apply(y)
            (middle * middle).sum().backward()

        with detect_anomaly() if way == "anomaly" else tg.enable_grad():
            Failing.where = where
            for _ in range(3):
                with pytest.raises((KeyError, RuntimeError)) as caught:
                    step()
                del caught
            Failing.where = ""
            assert w.grad is None
            assert tg.is_grad_enabled()
            step()
            assert w.grad.tolist() == [8.0] * 100
        if way == "plain":
            assert [ref() for ref in freed] == [None] * 4
    finally:
        Failing.where = ""
        gc.enable()


def test_errors_again_and_again_take_no_memory():
    model = nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 50))
    x = tg.randn(20, 50)

    def step():
        with pytest.raises(RuntimeError):
            (model(x) @ tg.ones(3, 3)).sum().backward()  # the shapes do not fit

    for _ in range(5):
        step()
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(40):
            step()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20 * 50 * 4 * 10  # less than ten of the 40 activations


def test_a_failing_backward_stops_no_other_graph():
    x = fresh()
    good = (x * x).sum()
    y = x * 3.0
    bad = (y * y).sum()
    with tg.no_grad():
        y.zero_()
    with pytest.raises(RuntimeError, match="changed in place"):
        (good * 1.0 + bad).backward(retain_graph=True)
    x.grad = None
    good.backward()
    assert x.grad.tolist() == [2, 4, 6]


# anomaly mode


def zero():
    return tg.zeros(1, requires_grad=True)


def test_anomaly_mode_in_threads_names_each_ones_own_layer():
    """Four threads, four layers of their own; a fifth thread computes without fault at the same time."""
    told = {}

    class Root(nn.Module):
        def forward(self, x):
            return x.sqrt() * 0.0

    def work(number):
        layers = [nn.Identity() for _ in range(5)]
        if number < 4:
            layers[number] = Root()
        model = nn.Sequential(*layers)
        for _ in range(10):
            try:
                model(zero()).backward()
                told.setdefault(number, set()).add("fine")
            except RuntimeError as error:
                told.setdefault(number, set()).add("in layer " + str(error).split("in layer ")[1].split(" ")[0])

    with detect_anomaly():
        threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert told == {**{n: {f"in layer '{n}'"} for n in range(4)}, 4: {"fine"}}


def test_a_block_of_another_thread_that_ends_earlier_ends_no_other():
    """Opened in turn, left out of turn: each takes away its own."""
    first, second = detect_anomaly(), detect_anomaly(check_nan=False)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert tg.autograd.is_anomaly_enabled() and not tg.autograd.is_anomaly_check_nan_enabled()
    with tg.autograd.set_detect_anomaly(False):
        assert not tg.autograd.is_anomaly_enabled()
    assert tg.autograd.is_anomaly_enabled()
    second.__exit__(None, None, None)
    assert not tg.autograd.is_anomaly_enabled() and tg.autograd.is_anomaly_check_nan_enabled()


def test_anomaly_mode_in_a_double_backward_through_a_checkpoint():
    def part(x):
        return x**1.5  # the slope of its slope is not finite at 0

    with detect_anomaly():
        x = zero()
        (g,) = grad(checkpoint(part, x).sum(), x, create_graph=True)
        with pytest.raises(RuntimeError, match="holds nan"):
            grad((g * 0.0).sum(), x)
        y = tg.ones(1, requires_grad=True)
        (g,) = grad(checkpoint(part, y).sum(), y, create_graph=True)
        (h,) = grad(g.sum(), y)
        assert h.tolist() == [0.75]


# depth


@pytest.mark.parametrize("depth", [pytest.param(10_000), pytest.param(100_000, marks=pytest.mark.slow)])
def test_deep_graphs(depth):
    gc.collect()
    x = tg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(depth):
        y = y + 1.0
    (g,) = grad(y, x, retain_graph=True)
    assert g.item() == 1.0
    y.backward()
    assert x.grad.item() == 1.0
    y = x
    for _ in range(depth):
        y = y * 1.0
    (g,) = grad(y, x, create_graph=True)
    assert g.item() == 1.0
    del y, g  # freeing it recurses neither, and needs no garbage collector
    assert sum(type(thing).__name__ == "Multiply" for thing in gc.get_objects()) < depth / 100


def test_a_graph_whose_paths_double_takes_no_more_time_than_its_nodes():
    """2^200 paths from the end to the beginning, over 200 nodes, also when only one place is asked for."""
    x, other = tg.tensor(1.0, requires_grad=True, dtype=tg.float64), tg.tensor(1.0, requires_grad=True)
    y = x
    for _ in range(200):
        y = (y + y) * 0.5
    (g,) = grad(y * other, x, retain_graph=True)
    assert g.item() == 1.0
    (g,) = grad(y, x, create_graph=True)
    assert g.item() == 1.0


def test_inputs_that_the_loss_does_not_reach_get_nothing():
    x = fresh()
    apart = x * 2.0
    (x * 3.0).sum().backward(inputs=[apart])
    assert apart.grad is None and x.grad is None
    (x * 3.0).sum().backward(inputs=[apart, x])
    assert apart.grad is None and x.grad.tolist() == [3, 3, 3]


def test_only_the_places_asked_for_get_a_gradient_among_several_results():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    first, second = Halves.apply(x)
    z = (first * first).sum() + (second * 5.0).sum()
    (g,) = grad(z, second, retain_graph=True)
    assert g.tolist() == [5, 5]
    g.array[0] = 100.0  # its own memory, not what goes on to x
    g, gx = grad(z, [first, x], retain_graph=True)
    assert g.tolist() == [2, 4] and gx.tolist() == [[2, 4], [5, 5]]
    z.backward()
    assert first.grad is None and x.grad.tolist() == [[2, 4], [5, 5]]


class Halves(Function):
    """The two rows as two results of one node."""

    @staticmethod
    def forward(ctx, x):
        return x[0].clone(), x[1].clone()

    @staticmethod
    def backward(ctx, first, second):
        return tg.stack([first, second])


def test_a_tangent_that_comes_with_the_cotangent_only_through_a_node_of_several_results():
    """z = sum(sort(x) t^2): dz/dx is t^2 in the order of x, and its slope along dt is 2 t dt, though x has no tangent."""
    x = tg.tensor([3.0, 1.0, 2.0], requires_grad=True)
    t, dt = tg.tensor([1.0, 2.0, 3.0]), tg.tensor([1.0, 10.0, 100.0])

    def slope(t):
        values, _ = tg.sort(x)
        return grad((values * t * t).sum(), x, create_graph=True)[0]

    value, tangent = jvp(slope, t, dt)
    assert value.tolist() == [9, 1, 4]
    assert tangent.tolist() == [600, 2, 40]

    def slope_without_a_graph(t):
        values, _ = tg.sort(x)
        return grad((values * t * t).sum(), x)[0]

    assert jvp(slope_without_a_graph, t, dt)[1].tolist() == [600, 2, 40]


# what mutants survived; see docs/reliability.md


def test_a_value_that_was_detached_since_still_has_its_history_where_it_was_saved():
    """(3 w)^2 has the second derivative 18, whatever became of 3 w after it was used."""
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    x = w * 3.0
    z = (x * x).sum()
    x.detach_()
    (g,) = grad(z, w, create_graph=True)
    assert g.tolist() == [18, 36]
    assert grad(g.sum(), w)[0].tolist() == [18, 18]


@pytest.mark.parametrize("which", ["x", "v"])
def test_a_hessian_times_a_vector_leads_to_whichever_of_the_two_has_a_history(which):
    """H v = 6 x v for x^3, so its slope is 6 v along x and 6 x along v."""
    x, v = tg.tensor([1.0, 2.0]), tg.tensor([1.0, 10.0])
    expected = {"x": [6, 60], "v": [6, 12]}[which]
    {"x": x, "v": v}[which].requires_grad_()
    _, product = hvp(lambda x: (x**3).sum(), x, v)
    assert grad(product.sum(), {"x": x, "v": v}[which])[0].tolist() == expected
    _, product = hvp(lambda x: (x**3).sum(), x.detach(), v.detach())
    assert not product.requires_grad


@pytest.mark.parametrize("change", ["mul_", "sin_", "pow_"])
def test_the_slope_of_a_tangent_through_a_change_in_place(change):
    """f(x) written in place: its tangent is f'(x) dx, and that one's slope f''(x) dx; the former x must still be there."""

    def function(x):
        y = x * 1.0
        {"mul_": lambda: y.mul_(y), "sin_": lambda: y.sin_(), "pow_": lambda: y.pow_(3)}[change]()
        return y.sum()

    x, dx = tg.tensor([1.0, 2.0], requires_grad=True, dtype=tg.float64), tg.tensor([1.0, 10.0], dtype=tg.float64)
    _, tangent = jvp(function, x, dx)
    at, along = x.detach().numpy(), dx.numpy()
    slopes = {"mul_": 2 * along, "sin_": -np.sin(at) * along, "pow_": 6 * at * along}
    np.testing.assert_allclose(grad(tangent, x)[0].numpy(), slopes[change])
    (inner,) = jvp(lambda x: jvp(function, x, dx)[1], x.detach(), dx)[1:]
    np.testing.assert_allclose(inner.item(), (slopes[change] * along).sum())


def test_several_results_are_not_recorded_where_nothing_is():
    x = tg.randn(3, 3, requires_grad=True)
    for several in (lambda: x.unbind(), lambda: x.split(2), lambda: tg.sort(x)):
        with tg.no_grad():
            assert not any(z.requires_grad or z.grad_fn is not None for z in several())
        with tg.inference_mode():
            assert not any(z.requires_grad for z in several())


@pytest.mark.parametrize("shape", [(2, 1), (1, 5), (1, 1), (2, 5), (5,), (1,), ()])
@pytest.mark.parametrize("other", [(1, 2, 5), (3, 2, 5), (2, 5)])
def test_a_broadcast_value_gets_the_sum_over_all_its_places(shape, other):
    x = tg.ones(*shape, requires_grad=True)
    (x * tg.ones(*other)).sum().backward()
    assert x.grad.shape == shape
    assert (x.grad.numpy() == np.prod(other) / np.prod(shape)).all()
