"""The Tensor itself: what it says of itself, number types, NumPy beside it, the host, copies, how it shows itself."""

from __future__ import annotations

import copy
import operator
import pickle
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.errors import DeviceError, DimensionError, DtypeError, GraphError, OperandError, ShapeError
from tensorgrad.tensor import Tensor

# what it is


def test_what_it_says_of_itself(device):
    x = tg.zeros(2, 3, device=device)
    assert (x.shape, x.size(), x.size(1), x.size(-1)) == ((2, 3), (2, 3), 3, 3)
    assert (x.ndim, x.dim(), x.numel(), len(x)) == (2, 2, 6, 2)
    assert (x.dtype, x.itemsize, x.element_size(), x.nbytes) == (tg.float32, 4, 4, 24)
    assert x.stride() == (3, 1) and x.T.stride() == (1, 3) and x.stride(0) == 3
    assert [type(step) for step in x.stride()] == [int, int]
    assert x.is_contiguous() and not x.T.is_contiguous() and x.T.contiguous().is_contiguous()
    assert x.is_floating_point() and not x.long().is_floating_point()
    assert x.device.type == device and x.is_leaf and x.grad_fn is None and x.grad is None


def test_always_an_array_never_a_scalar(device):
    """A result without dimensions is an array: NumPy itself would give a number."""
    x = tg.tensor([1.0, 2.0], device=device, requires_grad=True)
    kind = type(x.array)
    for z in (x.sum(), x[0], x.mean() * 2, x.max(), -x.sum(), x @ x, x.sum().exp() + x[1], x.argmax(), x.sum() > 0):
        assert type(z.array) is kind and z.shape == ()
    (x @ x).backward()
    assert type(x.grad.array) is kind
    y = tg.tensor(3.0, device=device, requires_grad=True)
    (y * y * y + y).backward()
    assert type(y.grad.array) is kind and y.grad.item() == 28


def test_the_constructor_shares_and_tensor_copies():
    values = np.zeros(3, np.float32)
    shared, copied = Tensor(values), tg.tensor(values)
    values[0] = 1
    assert shared.tolist() == [1, 0, 0] and copied.tolist() == [0, 0, 0]
    assert Tensor([1.0, 2.0]).dtype == tg.float32
    with pytest.raises(OperandError, match="Tensor: got int"):
        Tensor(3)


def test_data_and_detach_share_memory():
    x = tg.ones(3, requires_grad=True)
    assert not x.data.requires_grad and np.shares_memory(x.data.array, x.array)
    assert not x.detach().requires_grad and np.shares_memory(x.detach().array, x.array)
    x.data = tg.zeros(2)
    assert x.tolist() == [0, 0] and x.requires_grad
    with pytest.raises(OperandError, match="data: got float"):
        x.data = 1.0  # type: ignore[assignment]


def test_requires_grad_can_be_set():
    x = tg.ones(3)
    assert x.requires_grad_() is x and x.requires_grad
    x.requires_grad = False
    assert not x.requires_grad
    with pytest.raises(RuntimeError, match="dtype int64; only floating-point"):
        tg.arange(3).requires_grad_()
    with pytest.raises(GraphError, match=r"\.detach\(\)"):
        (tg.ones(3, requires_grad=True) * 2).requires_grad = False


def test_grad_can_be_set():
    x = tg.ones(3, requires_grad=True)
    x.grad = tg.zeros(3)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2, 2, 2]
    with pytest.raises(ShapeError, match=r"grad: got shape \(2,\); the Tensor has shape \(3,\)"):
        x.grad = tg.zeros(2)
    with pytest.raises(OperandError, match="grad: got ndarray"):
        x.grad = np.zeros(3)  # type: ignore[assignment]


# number types: PyTorch's rules


@pytest.mark.parametrize(
    "compute",
    [
        lambda x: x * 2.0,
        lambda x: 2 * x,
        lambda x: x * np.float64(2.0),
        lambda x: np.float64(2.0) * x,
        lambda x: np.float64(2.0) / x,
        lambda x: np.float64(2.0) - x,
        lambda x: np.int64(2) + x,
        lambda x: x ** np.float64(2.0),
        lambda x: np.float64(2.0) ** x,
        lambda x: x + np.array(2.0),
        lambda x: x + tg.tensor(2.0, dtype=tg.float64),
        lambda x: tg.tensor(2.0, dtype=tg.float64) * x,
        lambda x: x + tg.arange(2),
        lambda x: x / 3,
        lambda x: 1 / x,
        lambda x: x.sum(),
        lambda x: x.sum() * 0.5,
        lambda x: x.mean(),
        lambda x: x.var(),
        lambda x: x.std(),
        lambda x: tg.maximum(x, tg.tensor(0.5)),
        lambda x: tg.where(x > 1, x, 0.0),
        lambda x: tg.where(x > 1, 1.0, 0.0),
        lambda x: x.clamp(0.0, np.float64(1.0)),
        lambda x: x.exp().log().sqrt().tanh().sigmoid(),
        lambda x: tg.log_softmax(x, 0),
        lambda x: tg.logsumexp(x, 0),
        lambda x: x[0] * np.float64(1.0),
        lambda x: x @ x,
        lambda x: x.fill_(np.float64(3.0)),
        lambda x: x.add_(np.float64(3.0)),
        lambda x: tg.add(x, x, alpha=np.float64(2.0)),
    ],
)
def test_float32_stays_float32(compute):
    z = compute(tg.tensor([1.0, 2.0]))
    assert z.dtype == tg.float32
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    z = compute(x * 1)
    assert z.dtype == tg.float32
    if z.requires_grad:
        z.sum().backward()
        assert x.grad.dtype == tg.float32


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (tg.float32, tg.float64, tg.float64),
        (tg.int64, tg.float32, tg.float32),
        (tg.int64, tg.float16, tg.float16),
        (tg.uint8, tg.int8, tg.int16),
        (tg.int32, tg.int64, tg.int64),
        (np.bool_, tg.uint8, tg.uint8),
        (np.bool_, tg.float32, tg.float32),
        (tg.float16, tg.float32, tg.float32),
    ],
)
def test_promotion_of_tensors(left, right, expected, device):
    x, y = (tg.ones(2, dtype=kind, device=device) for kind in (left, right))
    assert (x * y).dtype == expected and (y + x).dtype == expected
    assert tg.cat([x, y]).dtype == expected
    zero_d = tg.ones((), dtype=right, device=device)
    same_kind = np.dtype(left).kind == np.dtype(right).kind or {np.dtype(left).kind, np.dtype(right).kind} == {"u", "i"}
    if same_kind:
        assert (x * zero_d).dtype == np.dtype(left), "a Tensor without dimensions counts only where its kind is higher"


def test_promotion_of_numbers():
    whole, flags = tg.arange(3), tg.tensor([True, False])
    assert (whole * 2).dtype == tg.int64 and (whole * 2.0).dtype == tg.float32 and (whole / 2).dtype == tg.float32
    assert (flags + 1).dtype == tg.int64 and (flags * 0.5).dtype == tg.float32
    assert (tg.tensor([1, 2], dtype=tg.uint8) + 1).dtype == tg.uint8
    assert whole.sum().dtype == tg.int64 and flags.sum().dtype == tg.int64 and whole.float().sum().dtype == tg.float32
    assert whole.exp().dtype == tg.float32 and (whole > 0.5).tolist() == [False, True, True]
    with pytest.raises(DtypeError, match=r"mean: got dtype int64.*\.float\(\)"):
        whole.mean()
    assert whole.mean(dtype=tg.float32).item() == 1


def test_gradients_come_back_in_the_dtype_of_their_input(device):
    x = tg.ones(2, dtype=tg.float32, device=device, requires_grad=True)
    y = tg.ones(2, dtype=tg.float64, device=device, requires_grad=True)
    z = x * y
    assert z.dtype == tg.float64
    z.sum().backward()
    assert x.grad.dtype == tg.float32 and y.grad.dtype == tg.float64


@pytest.mark.oracle
def test_promotion_as_pytorch():
    torch = pytest.importorskip("torch")
    kinds = ["bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64"]
    for a in kinds:
        for b in kinds:
            for shape in ((2,), ()):
                x, y = torch.ones(2, dtype=getattr(torch, a)), torch.ones(shape, dtype=getattr(torch, b))
                ours = tg.ones(2, dtype=a) * tg.ones(shape, dtype=b)
                assert str(ours.dtype) == str((x * y).dtype).partition(".")[2], (a, b, shape)
        for number in (True, 2, 2.5):
            ours = tg.ones(2, dtype=a) * number
            assert str(ours.dtype) == str((torch.ones(2, dtype=getattr(torch, a)) * number).dtype).partition(".")[2]


# NumPy beside it


@pytest.mark.parametrize(
    "left", [np.float32(2), np.float64(2), np.array(2.0, np.float32), np.array([2.0, 3.0], np.float32)], ids=repr
)
@pytest.mark.parametrize(
    "op",
    [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, operator.eq, operator.lt, operator.ge],
)
def test_numpy_on_the_left(left, op):
    x = tg.tensor([4.0, 0.5], requires_grad=True)
    z = op(left, x)
    assert type(z) is Tensor
    np.testing.assert_allclose(z.detach().array, op(left, x.detach().array), rtol=1e-6)
    assert z.dtype == (np.bool_ if op in (operator.eq, operator.lt, operator.ge) else tg.float32)
    if z.requires_grad:
        z.sum().backward()
        assert x.grad is not None


def test_numpy_matrices_on_the_left():
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = tg.ones(3, requires_grad=True)
    z = a @ x
    assert type(z) is Tensor and z.tolist() == [3, 12]
    z.sum().backward()
    assert x.grad.tolist() == [3, 5, 7]
    array = np.ones(3, np.float32)
    array += x.detach().numpy()
    assert type(array) is np.ndarray and array.tolist() == [2, 2, 2]


def test_numpy_functions_give_tensors():
    x = tg.tensor([1.0, 4.0], requires_grad=True)
    for function in (np.exp, np.log, np.sqrt, np.tanh, np.abs, np.negative, np.sin, np.cos):
        z = function(x)
        assert type(z) is Tensor and z.requires_grad
        np.testing.assert_allclose(z.detach().array, function(x.detach().array), rtol=1e-6)
    assert type(np.add(np.ones(2, np.float32), x)) is Tensor
    assert np.maximum(x, 2.0).tolist() == [2, 4]
    with pytest.raises(TypeError):
        np.nextafter(x, 1.0)
    with pytest.raises(TypeError):
        np.add.reduce(x)


def test_numpy_and_other_devices_do_not_mix():
    x = tg.ones(2, device="standin")
    for mix in (lambda: np.ones(2) * x, lambda: x * np.ones(2, np.float32), lambda: np.add(x, np.ones(2))):
        with pytest.raises(DeviceError, match=r"'standin:0'|NumPy array"):
            mix()
    with pytest.raises(DeviceError, match=r"numpy\(\): this Tensor is on 'standin:0'; use \.cpu\(\)\.numpy\(\)"):
        x.numpy()
    with pytest.raises(RuntimeError):
        np.asarray(x)
    assert x.cpu().numpy().tolist() == [1, 1]


def test_to_numpy_and_back():
    x = tg.ones(2)
    assert x.numpy() is x.array and np.asarray(x) is x.array
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    copied = np.array(x)
    copied[0] = 5
    assert x.tolist() == [1, 1]
    assert np.shares_memory(tg.from_numpy(copied).array, copied)
    x.requires_grad_()
    with pytest.raises(GraphError, match=r"\.detach\(\)\.numpy\(\)"):
        x.numpy()
    with pytest.raises(GraphError):
        np.asarray(x)


# the host


def test_numbers_out_of_tensors(device):
    x = tg.tensor([[2.5]], device=device)
    assert x.item() == 2.5 and type(x.item()) is float and float(x) == 2.5 and int(x) == 2 and bool(x)
    assert type(tg.tensor(3, device=device).item()) is int and [10, 20, 30][tg.tensor(1, device=device)] == 20
    assert not tg.tensor(False, device=device)
    assert x.tolist() == [[2.5]] and f"{x.sum():.2f}" == "2.50"
    for read in (float, int, lambda y: y.item()):
        with pytest.raises(ShapeError, match=r"item\(\): got shape \(2,\)"):
            read(tg.ones(2, device=device))
    with pytest.raises(ShapeError, match=r"truth of a Tensor of shape \(2,\).*\.any\(\) or \.all\(\)"):
        bool(tg.ones(2, device=device))
    with pytest.raises(OperandError, match="dtype float32"):
        operator.index(tg.tensor(1.0, device=device))
    with pytest.raises(OperandError, match=r"len\(\) of a 0-d Tensor"):
        len(tg.tensor(1.0))
    with pytest.raises(OperandError, match="cannot be iterated over"):
        list(tg.tensor(1.0))


def test_equality_is_element_by_element_and_hashing_by_identity(device):
    x, y = tg.tensor([1.0, 2.0], device=device), tg.tensor([1.0, 3.0], device=device)
    assert (x == y).tolist() == [True, False] and (x != y).tolist() == [False, True]
    assert len({x, y, x}) == 2 and {x: 1}[x] == 1
    assert (x == None) is False and (x != "text") is True  # noqa: E711
    assert (~(x > 1) | (y > 2)).tolist() == [True, True] and ((x > 1) & (y > 2)).tolist() == [False, True]


def test_iteration_and_unpacking(device):
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], device=device, requires_grad=True)
    first, second = x
    (first * second).sum().backward()
    assert x.grad.tolist() == [[3, 4], [1, 2]]
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]


# devices and dtypes


def test_moving(device):
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    y = x.to(device)
    assert y.device.type == device and (y is x) == (device == "cpu")
    (y * y).sum().backward()
    assert x.grad.tolist() == [2, 4] and x.grad.device.type == "cpu"
    assert y.cpu().tolist() == [1, 2] and y.to(x).device.type == "cpu"
    z = tg.arange(3).to(device, tg.float64)
    assert z.dtype == tg.float64 and z.device.type == device
    assert z.to(tg.float64) is z and z.to(tg.float64, copy=True) is not z
    assert z.to(dtype=tg.float32, device="cpu").dtype == tg.float32
    assert z.to(f"{device}:0").device.type == device


def test_devices_that_are_not_there():
    for bad in ("tpu", "float33", object()):
        with pytest.raises(TypeError, match="to: got"):
            tg.ones(2).to(bad)
    with pytest.raises(DeviceError, match="got 'standin:3'; this machine has 2 GPU"):
        tg.ones(2).to("standin:3")
    with pytest.raises(DeviceError, match=r"got 'tpu'; there are cpu, cuda, standin"):
        tg.ones(2, device="tpu")
    with pytest.raises(DeviceError, match="'cpu:1'; there is one 'cpu'"):
        tg.ones(2, device="cpu:1")


def test_the_default_device():
    try:
        tg.set_default_device("standin")
        assert tg.zeros(2).device.type == tg.tensor([1.0]).device.type == tg.randn(2).device.type == "standin"
        assert tg.get_default_device().type == "standin"
        assert (tg.ones(2, device="cpu") * 2).device.type == "cpu"
        with pytest.raises(DeviceError):
            tg.set_default_device("nowhere")
        assert tg.get_default_device().type == "standin"
    finally:
        tg.set_default_device("cpu")


def test_dtype_methods():
    x = tg.tensor([0.0, 1.7])
    kinds = [x.half(), x.float(), x.double(), x.int(), x.long(), x.bool()]
    assert [k.dtype for k in kinds] == [tg.float16, tg.float32, tg.float64, tg.int32, tg.int64, np.bool_]
    assert kinds[1] is x and x.long().tolist() == [0, 1]


# dimensions and reductions


def test_dimensions_out_of_range(device):
    x = tg.ones(2, 3, device=device)
    for wrong in (
        lambda: x.sum(2),
        lambda: x.mean(-3),
        lambda: x.transpose(0, 2),
        lambda: x.unbind(5),
        lambda: tg.cat([x, x], 2),
    ):
        with pytest.raises(DimensionError, match="has -2 to 1"):
            wrong()
    with pytest.raises(ShapeError, match="a dimension appears twice"):
        x.sum((0, -2))
    with pytest.raises(IndexError, match="index 3 is out of bounds"):
        x[3]
    with pytest.raises(IndexError, match=r"3 indices for a Tensor of shape \(2, 3\)"):
        x[0, 0, 0]
    with pytest.raises(TypeError, match="dim is a str"):
        x.sum("rows")
    with pytest.raises((TypeError, IndexError)):
        x[1.5]


def test_reductions_over_nothing(device):
    x = tg.zeros(0, 3, device=device, requires_grad=True)
    assert x.sum().item() == 0 and x.sum(0).tolist() == [0, 0, 0] and x.sum(1).shape == (0,)
    x.sum().backward()
    assert x.grad.shape == (0, 3)
    for extreme in (x.max, x.amin, lambda: x.amax(0), lambda: x.max(0), lambda: x.argmax()):
        with pytest.raises((ShapeError, DimensionError, ValueError)):
            extreme()
    assert x.amax(1).shape == (0,)
    assert tg.all(x > 0).item() is True and tg.any(x > 0).item() is False


def test_the_mean_of_nothing_is_nan(device):
    assert np.isnan(tg.zeros(0, device=device).mean().item())
    assert np.isnan(tg.zeros(2, 0, device=device).mean(1).tolist()).all()
    assert np.isnan(tg.ones(1, device=device).var().item())
    assert np.isnan(tg.tensor([float("nan"), 1.0], device=device).std().item())


def test_indices_come_from_the_host_but_from_no_other_device():
    x = tg.tensor([1.0, 2.0, 3.0], device="standin")
    for index in ([2, 0], np.array([2, 0]), tg.tensor([2, 0]), tg.tensor([2, 0], device="standin")):
        assert x[index].tolist() == [3, 1]
    for mask in ([True, False, True], np.array([True, False, True]), tg.tensor([True, False, True])):
        assert x[mask].tolist() == [1, 3]
    x[tg.tensor([0])] = 9.0
    assert x.tolist() == [9, 2, 3]
    with pytest.raises(DeviceError, match="the index is on 'standin:0', the Tensor on 'cpu'"):
        tg.ones(3)[tg.tensor([0], device="standin")]


def test_max_and_min_name_their_results(device):
    x = tg.tensor([[1.0, 5.0], [7.0, 7.0]], device=device)
    found = x.max(dim=1)
    assert found.values.tolist() == [5, 7] and found.indices.tolist() == [1, 0]
    values, indices = x.min(1, keepdim=True)
    assert values.tolist() == [[1], [7]] and indices.tolist() == [[0], [0]]
    assert tg.max(x).item() == 7 and tg.max(x, 0)[0].tolist() == [7, 7]
    number = tg.tensor(3.0, device=device, requires_grad=True)
    assert number.max(0).values.item() == 3 and number.max(0).indices.item() == 0


def test_view_and_reshape(device):
    x = tg.arange(6, device=device).reshape(2, 3)
    assert x.view(3, -1).tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(ShapeError, match=r"view: .*do not lie in order; use \.reshape\(\)"):
        x.T.view(6)
    assert x.T.reshape(6).tolist() == [0, 3, 1, 4, 2, 5]
    for wrong in (lambda: x.reshape(4), lambda: x.reshape(-1, -1), lambda: x.reshape(-2, 3)):
        with pytest.raises(RuntimeError, match="reshape: got"):
            wrong()


# copies


def test_deepcopy_of_leaves(device):
    x = tg.ones(2, device=device, requires_grad=True)
    (x * 3).sum().backward()
    y = copy.deepcopy({"a": x, "b": [x]})
    assert y["a"] is y["b"][0] and y["a"] is not x, "one Tensor stays one"
    assert y["a"].requires_grad and y["a"].grad.tolist() == [3, 3]
    y["a"].grad.zero_()
    y["a"].data.zero_()
    assert x.tolist() == [1, 1] and x.grad.tolist() == [3, 3] and x.device.type == y["a"].device.type
    with pytest.raises(GraphError, match="only leaves"):
        copy.deepcopy(x * 2)


def test_pickle_of_leaves(device):
    x = tg.tensor([[1.0, 2.0]], dtype=tg.float64, device=device, requires_grad=True)
    y = pickle.loads(pickle.dumps(x))
    assert y.tolist() == x.tolist() and y.requires_grad and y.dtype == x.dtype and y.device == x.device
    with pytest.raises(GraphError, match=r"pickle: only leaves.*\.detach\(\)"):
        pickle.dumps(x * 2)
    z = pickle.loads(pickle.dumps(tg.tensor(3)))
    assert z.item() == 3 and z.shape == ()


# how it shows itself


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: tg.tensor([1.0, 2.0]), "tensor([1., 2.])"),
        (lambda: tg.tensor([0.5, -1.25]), "tensor([ 0.5000, -1.2500])"),
        (lambda: tg.tensor(3.0), "tensor(3.)"),
        (lambda: tg.tensor(3), "tensor(3)"),
        (lambda: tg.tensor([True, False]), "tensor([ True, False])"),
        (lambda: tg.tensor([1.0, float("nan"), float("inf")]), "tensor([1., nan, inf])"),
        (lambda: tg.tensor([1e-6, 1.0]), "tensor([1.0000e-06, 1.0000e+00])"),
        (lambda: tg.tensor([1.0], dtype=tg.float64), "tensor([1.], dtype=float64)"),
        (lambda: tg.tensor([1], dtype=tg.uint8), "tensor([1], dtype=uint8)"),
        (lambda: tg.ones(2, requires_grad=True), "tensor([1., 1.], requires_grad=True)"),
        (lambda: tg.ones(2, requires_grad=True) * 2, "tensor([2., 2.], grad_fn=<Multiply>)"),
        (lambda: tg.ones(2, 1, requires_grad=True).unbind()[0], "tensor([1.], grad_fn=<Unbind>)"),
        (lambda: tg.zeros(0), "tensor([])"),
        (lambda: tg.zeros(0, 3), "tensor([], size=(0, 3))"),
        (lambda: tg.ones(1, device="standin"), "tensor([1.], device='standin:0')"),
        (lambda: tg.tensor([[1.0, 2.0], [3.0, 4.0]]), "tensor([[1., 2.],\n        [3., 4.]])"),
    ],
)
def test_repr(make: Any, text: str):
    assert repr(make()) == text


def test_long_tensors_are_abbreviated():
    assert repr(tg.arange(10_000)) == "tensor([   0,    1,    2,  ..., 9997, 9998, 9999])"
    assert len(repr(tg.randn(100, 100, 100))) < 5000


@pytest.mark.oracle
def test_repr_as_pytorch():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    nan, inf = float("nan"), float("inf")
    for values in (
        [1.0, 2.0, 10.0],
        [0.0, -1.0],
        [1.0, nan, inf],
        [0.5, nan, -inf],
        [nan, nan],
        [[-0.25, 100.0], [3.5, 7.0]],
        [1e-5, 1.0],
        [1e9, 1.0],
        [123456.5, 0.25],
        random.standard_normal((3, 4)).tolist(),
        random.standard_normal((2, 2, 2)).tolist(),
        random.standard_normal(2000).tolist(),
        (1000 * random.standard_normal((40, 50))).tolist(),
        0.125,
        3.0,
        [True, False],
        [1, -20, 300],
        list(range(2000)),
        [],
    ):
        assert repr(tg.tensor(values)) == repr(torch.tensor(values))
