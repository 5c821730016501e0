"""Number types: PyTorch's rules for mixing them, what they hold, and bfloat16."""

from __future__ import annotations

import itertools
import operator
import pickle
import subprocess
import sys

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.errors import DtypeError, OperandError

NAMES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"]
needs_bfloat16 = pytest.mark.skipif(not hasattr(tg, "bfloat16"), reason="ml_dtypes is not installed (extra bfloat16)")


def kinds() -> list[str]:
    return [name for name in NAMES if hasattr(tg, name)]


def named(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


@pytest.mark.oracle
def test_promotion_as_pytorch():
    """Every pair of dtypes, each with and without dimensions, and every kind of number, in an operation and by name."""
    torch = pytest.importorskip("torch")
    for a, b in itertools.product(kinds(), kinds()):
        ours, theirs = (getattr(tg, a), getattr(tg, b)), (getattr(torch, a), getattr(torch, b))
        assert named(tg.promote_types(*ours)) == named(torch.promote_types(*theirs)), (a, b)
        assert tg.can_cast(*ours) == torch.can_cast(*theirs), (a, b)
        for left, right in itertools.product([(2,), ()], [(2,), ()]):
            x, y = tg.ones(left, dtype=ours[0]), tg.ones(right, dtype=ours[1])
            p, q = torch.ones(left, dtype=theirs[0]), torch.ones(right, dtype=theirs[1])
            assert named(tg.result_type(x, y)) == named(torch.result_type(p, q)), (a, left, b, right)
            for operation in ("mul", "add", "div", "pow", "eq", "xlogy", "atan2"):
                found, expected = getattr(tg, operation)(x, y).dtype, None
                try:
                    expected = getattr(torch, operation)(p, q).dtype
                except RuntimeError:
                    continue
                assert named(found) == named(expected), (operation, a, left, b, right)
    for a, number, shape in itertools.product(kinds(), (True, 2, 2.5), [(2,), ()]):
        x, p = tg.ones(shape, dtype=getattr(tg, a)), torch.ones(shape, dtype=getattr(torch, a))
        for operate in (operator.mul, operator.truediv, operator.pow, operator.eq, operator.sub):
            if (a == "bool" and operate in (operator.sub, operator.pow)) or (
                number is True and operate is operator.sub
            ):
                continue  # refused there
            assert named(operate(x, number).dtype) == named(operate(p, number).dtype), (operate, a, number, shape)
            assert named(operate(number, x).dtype) == named(operate(number, p).dtype), (operate, number, a, shape)
        assert named(tg.result_type(x, number)) == named(torch.result_type(p, number))


@pytest.mark.oracle
def test_what_dtypes_hold_as_pytorch():
    torch = pytest.importorskip("torch")
    for name in kinds():
        if "float" in name:
            ours, theirs = tg.finfo(getattr(tg, name)), torch.finfo(getattr(torch, name))
            for what in ("bits", "eps", "max", "min", "tiny", "smallest_normal", "resolution", "dtype"):
                assert getattr(ours, what) == getattr(theirs, what), (name, what)
        elif name != "bool":
            ours, theirs = tg.iinfo(getattr(tg, name)), torch.iinfo(getattr(torch, name))
            for what in ("bits", "max", "min", "dtype"):
                assert getattr(ours, what) == getattr(theirs, what), (name, what)


def test_what_dtypes_hold():
    assert tg.finfo().eps == 2.0**-23 and tg.finfo(tg.float64).max == sys.float_info.max
    assert tg.iinfo(tg.uint8).max == 255 and tg.iinfo(tg.int16).min == -(2**15)
    with pytest.raises(TypeError, match="use iinfo"):
        tg.finfo(tg.int32)
    with pytest.raises(OperandError, match="use finfo"):
        tg.iinfo(tg.float32)


def test_conversions_by_method(device):
    x = tg.tensor([0.0, 1.7, -2.7], device=device)
    for method, name in [
        ("bool", "bool"),
        ("char", "int8"),
        ("short", "int16"),
        ("int", "int32"),
        ("long", "int64"),
        ("half", "float16"),
        ("float", "float32"),
        ("double", "float64"),
    ]:
        z = getattr(x, method)()
        assert z.dtype == np.dtype(name) and z.device.type == device
        assert z.tolist() == np.array([0.0, 1.7, -2.7], np.float32).astype(name).tolist()
    assert x.abs().byte().dtype == tg.uint8 and x.type_as(tg.ones(1, dtype=tg.int8)).dtype == tg.int8
    assert x.type(tg.int64).tolist() == [0, 1, -2]


def test_names_of_classes():
    assert tg.ones(1).type() == "tensorgrad.FloatTensor" and tg.tensor([True]).type() == "tensorgrad.BoolTensor"
    assert tg.ones(1).type("tensorgrad.LongTensor").dtype == tg.int64
    with pytest.raises(OperandError, match="QuadTensor"):
        tg.ones(1).type("tensorgrad.QuadTensor")


def test_whole_numbers_wrap_around():
    x = tg.tensor([250, 3], dtype=tg.uint8)
    assert (x + 10).tolist() == [4, 13] and (x + 300).tolist() == [38, 47] and (x - 5).tolist() == [245, 254]
    assert (x < 300).tolist() == [True, True] and (x > -1).tolist() == [True, True]


# float16


MANY = 4096  # added up in float16 one after the other, ones stop at 2048


@pytest.mark.parametrize(
    "compute, wanted",
    [
        (lambda ones: ones.sum(0)[0], MANY),
        (lambda ones: ones.cumsum(0)[-1, 0], MANY),
        (lambda ones: ones.norm(dim=0)[0], 64),
        (lambda ones: (ones[:2, 0] * 300).norm(), 424.25),  # 300^2 is beyond float16
        (lambda ones: (ones[:, 0] * 300).norm(), 19200),
        (lambda ones: (ones[:2, 0] * tg.tensor([300.0, -300.0]).half()).std(), 424.25),
    ],
    ids=["sum", "cumsum", "norm", "large norm", "long norm", "std"],
)
def test_sums_of_float16_are_taken_in_float32(compute, wanted):
    z = compute(tg.ones(MANY, 3, dtype=tg.float16))
    assert z.dtype == tg.float16 and z.item() == wanted


@pytest.mark.parametrize(
    "layer",
    [
        lambda x, w, b: x * w + b,
        lambda x, w, b: tg.nn.functional.linear(x, tg.ones(3, 3, dtype=tg.float16), b) * w,
        lambda x, w, b: tg.nn.functional.layer_norm(x, (3,), w, b),
        lambda x, w, b: tg.nn.functional.group_norm(x, 1, w, b),
    ],
    ids=["affine", "linear", "layer norm", "group norm"],
)
def test_gradients_of_a_float16_bias_are_summed_in_float32(layer):
    x = tg.ones(MANY, 3, dtype=tg.float16)
    w, b = (tg.ones(3, dtype=tg.float16, requires_grad=True) for _ in range(2))
    layer(x, w, b).sum(1).mean().mul(MANY).backward()
    assert b.grad.dtype == tg.float16 and b.grad.tolist() == [MANY] * 3


def test_the_sum_in_a_softmax_s_gradient_is_taken_in_float32():
    x = tg.zeros(MANY, 2, dtype=tg.float16, requires_grad=True)
    z = x.log_softmax(0)
    z.backward(tg.ones(MANY, 2, dtype=tg.float16))  # 1 - MANY / MANY
    assert x.grad.abs().max().item() < 2**-8  # what rounds z, some -8.3


# bfloat16


@needs_bfloat16
def test_bfloat16_computes_in_float32():
    ones = tg.ones(1000, dtype=tg.bfloat16)
    assert ones.sum().item() == 1000  # added up in bfloat16 it would stop at 256
    assert ones.mean().item() == 1 and (ones @ ones).item() == 1000
    x = tg.tensor([1.0, 2.0, -3.0], dtype=tg.bfloat16)
    for compute in (
        lambda v: v * 2.5,
        lambda v: 1 - v,
        lambda v: v / 3,
        lambda v: v.exp(),
        lambda v: v.sigmoid(),
        lambda v: v.clamp(0, 1),
        lambda v: tg.where(v > 0, v, 0.5),
        lambda v: v[1:],
        lambda v: v.reshape(3, 1).T,
        lambda v: tg.cat([v, v]),
        lambda v: v.sum(),
        lambda v: v.max(),
        lambda v: v.sort().values,
    ):
        z = compute(x)
        assert z.dtype == tg.bfloat16
        wide = compute(x.float()).bfloat16()
        assert z.tolist() == wide.tolist()


@needs_bfloat16
def test_gradients_in_bfloat16():
    x = tg.tensor([1.0, 2.0, -3.0], dtype=tg.bfloat16, requires_grad=True)
    (x * x * 0.5).sum().backward()
    assert x.grad.dtype == tg.bfloat16 and x.grad.tolist() == [1, 2, -3]
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    (w.bfloat16() ** 2).sum().backward()
    assert w.grad.dtype == tg.float32 and w.grad.tolist() == [2, 4]
    (g,) = tg.autograd.grad((x**3).sum(), x, create_graph=True)
    g.sum().backward()
    assert g.dtype == tg.bfloat16 and (x.grad - tg.tensor([1, 2, -3])).tolist() == [6, 12, -18]


@needs_bfloat16
def test_views_in_bfloat16_look_at_the_same_memory():
    for view in (
        lambda x: x[1:, ::2],
        lambda x: x.T,
        lambda x: x.reshape(-1),
        lambda x: x.diagonal(),
        lambda x: x.diagonal(1),
        lambda x: x.as_strided((2, 2), (4, 1), 1),
        lambda x: x.unfold(1, 2, 2),
        lambda x: x[None, 0],
        lambda x: x.split(2, 1)[1],
        lambda x: x.unbind()[2],
        lambda x: x.unsqueeze(0).squeeze(0),
    ):
        wide = tg.arange(12.0).reshape(3, 4).clone()
        narrow = wide.bfloat16()
        assert view(narrow).tolist() == view(wide).tolist()
        view(wide).zero_()
        view(narrow).zero_()
        assert narrow.tolist() == wide.tolist()
        x, dz = narrow.clone().requires_grad_(), tg.ones(*view(wide).shape)
        view(x).backward(dz.bfloat16())
        y = wide.clone().requires_grad_()
        view(y).backward(dz)
        assert x.grad.dtype == tg.bfloat16 and x.grad.tolist() == y.grad.tolist()


@needs_bfloat16
def test_gradients_of_a_single_number_in_bfloat16():
    """NumPy turns arrays without dimensions into numbers on the way."""
    for other in (tg.float32, tg.float64):
        x = tg.ones(2, dtype=tg.bfloat16, requires_grad=True)
        ((x * 3).sum() * tg.tensor(8.0, dtype=other)).backward()
        assert x.grad.dtype == tg.bfloat16 and x.grad.tolist() == [24, 24]


@needs_bfloat16
@pytest.mark.parametrize("loss", ["cross_entropy", "nll_loss", "multi_margin_loss"])
def test_losses_of_classes_in_bfloat16(loss):
    scores, target = tg.randn(5, 4).bfloat16(), tg.tensor([0, 3, 1, 2, 2])
    wide, narrow = scores.float().requires_grad_(), scores.clone().requires_grad_()
    expected, found = (getattr(tg.nn.functional, loss)(z, target) for z in (wide, narrow))
    assert found.dtype == tg.bfloat16
    assert found.item() == pytest.approx(expected.item(), rel=0.01)
    expected.backward()
    found.backward()
    np.testing.assert_allclose(narrow.grad.float().numpy(), wide.grad.numpy(), atol=0.01)


OPTIMIZERS = {
    "SGD": {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
    "Adam": {"amsgrad": True},
    "LBFGS": {"max_iter": 1},
    **{name: {} for name in "AdamW Adamax NAdam RAdam Adagrad Adadelta RMSprop".split()},
}


@needs_bfloat16
@pytest.mark.parametrize("shape", [(3, 4), (300, 200)])  # one within a block, one of several
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimisers_move_weights_in_bfloat16(name, shape):
    """Two steps as in float32, but for the rounding of the weight and of what the optimiser keeps."""
    tg.manual_seed(0)
    start, slope = tg.randn(*shape).bfloat16(), tg.randn(*shape).bfloat16()
    found = []
    for dtype in (tg.float32, tg.bfloat16):
        w = start.clone().to(dtype).requires_grad_()
        optimizer = getattr(tg.optim, name)([w], lr=0.1, **OPTIMIZERS[name])

        def closure(w=w, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (w * slope.to(w.dtype)).sum()
            loss.backward()
            return loss

        for _ in range(2):
            closure()
            optimizer.step(closure if name == "LBFGS" else None)
        assert w.dtype == dtype
        found.append(w.detach().float().numpy())
    moved = np.abs(found[0] - start.float().numpy()).max()
    assert np.abs(found[1] - start.float().numpy()).max() > 0.3 * moved > 0
    np.testing.assert_allclose(found[1], found[0], atol=0.1 * moved + 2**-7 * np.abs(found[0]).max())


@needs_bfloat16
@pytest.mark.parametrize("layer", [tg.nn.BatchNorm1d, tg.nn.InstanceNorm1d])
def test_running_statistics_move_in_bfloat16(layer):
    norms = [layer(3, track_running_stats=True).to(dtype) for dtype in (tg.float32, tg.bfloat16)]
    x = (3 * tg.randn(4, 3, 20) + 5).bfloat16()
    for norm in norms:
        norm(x.to(norm.running_mean.dtype))
    for name in ("running_mean", "running_var"):
        wide, narrow = (getattr(norm, name) for norm in norms)
        assert narrow.dtype == tg.bfloat16
        np.testing.assert_allclose(narrow.float().numpy(), wide.numpy(), rtol=0.01)


@needs_bfloat16
def test_bfloat16_on_the_way_in_and_out():
    import ml_dtypes

    values = np.array([1.0, 2.5], ml_dtypes.bfloat16)
    for x in (tg.from_numpy(values), tg.as_tensor(values), tg.tensor(values), tg.tensor([1.0, 2.5], dtype=tg.bfloat16)):
        assert x.dtype == tg.bfloat16 and (x * 2.0).dtype == tg.bfloat16
        assert x.tolist() == [1.0, 2.5] and type(x.tolist()[0]) is float
    assert np.shares_memory(tg.from_numpy(values).numpy(), values)
    for make in (tg.zeros, tg.ones, tg.empty, tg.rand, tg.randn):
        assert (make(2, dtype=tg.bfloat16) + 1.0).dtype == tg.bfloat16
    assert tg.arange(3, dtype=tg.bfloat16).tolist() == [0, 1, 2]
    copied = pickle.loads(pickle.dumps(tg.ones(2, dtype=tg.bfloat16)))
    assert (copied * 1.5).dtype == tg.bfloat16
    y = tg.ones(3, dtype=tg.bfloat16)
    y.mul_(1.5).add_(1)
    y[0] = 7
    assert y.dtype == tg.bfloat16 and y.tolist() == [7, 2.5, 2.5]
    with pytest.raises(DtypeError, match="bfloat16 is not there on 'standin'"):
        y.to("standin")


@needs_bfloat16
def test_layers_in_bfloat16():
    tg.manual_seed(0)
    layer = tg.nn.Sequential(
        tg.nn.Conv2d(1, 2, 3), tg.nn.ReLU(), tg.nn.MaxPool2d(2), tg.nn.Flatten(), tg.nn.Linear(8, 3)
    )
    x, wide = tg.randn(2, 1, 6, 6), layer
    expected = wide(x)
    found = layer.bfloat16()(x.bfloat16())
    assert found.dtype == tg.bfloat16
    np.testing.assert_allclose(found.float().detach().numpy(), expected.detach().numpy(), atol=0.02)


@pytest.mark.oracle
@needs_bfloat16
def test_bfloat16_as_pytorch():
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    x, p = tg.tensor(values).bfloat16(), torch.tensor(values).bfloat16()
    for compute in (
        lambda v: v,
        lambda v: v * 2.1,
        lambda v: v / 3,
        lambda v: v.exp(),
        lambda v: v.sum(1),
        lambda v: v.mean(),
        lambda v: v @ v.T,
        lambda v: v.tanh(),
    ):
        expected = compute(p).float().numpy()
        np.testing.assert_allclose(compute(x).float().numpy(), expected, rtol=2**-7, atol=2**-7)


def test_without_ml_dtypes():
    """Everything else works, and the message says what is missing."""
    program = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "import tensorgrad as tg\n"
        "assert tg.ones(2).sum().item() == 2 and not hasattr(tg, 'bfloat16')\n"
        "try: tg.bfloat16\n"
        "except AttributeError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "tapegrad[bfloat16]" in done.stdout
