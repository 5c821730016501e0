"""Making Tensors: values, dtypes, devices, errors; one seed for all random numbers."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.errors import DtypeError, OperandError


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1, "int64"),
        (1.0, "float32"),
        (True, "bool"),
        ([1, 2], "int64"),
        ([1, 2.0], "float32"),
        ([[True], [False]], "bool"),
        ([], "float32"),
        (np.float64(1), "float64"),
        (np.int32(1), "int32"),
        (np.ones(2), "float64"),
        (np.ones(2, np.uint8), "uint8"),
        (range(3), "int64"),
        ((1.5, 2), "float32"),
    ],
    ids=repr,
)
def test_dtypes_of_data(data, dtype, device):
    x = tg.tensor(data, device=device)
    assert x.dtype == np.dtype(dtype) and x.shape == np.shape(data) and x.device.type == device
    assert np.array_equal(x.tolist(), np.asarray(data).tolist())
    assert tg.tensor(data, dtype=tg.float64, device=device).dtype == tg.float64


def test_tensor_copies(device):
    values = np.ones(2)
    x = tg.tensor(values, device=device)
    values[0] = 5
    y = tg.tensor(x, requires_grad=True)
    x.zero_()
    assert y.tolist() == [1, 1] and y.is_leaf and y.device.type == device
    assert tg.tensor([tg.tensor(1.0), tg.tensor(2.0)]).tolist() == [1, 2]
    assert tg.tensor([np.float32(1), 2]).tolist() == [1, 2]


def test_tensor_of_a_tensor_stays_on_its_device(device):
    x = tg.ones(2, device=device, requires_grad=True)
    y = tg.tensor(x)
    assert y.device == x.device and not y.requires_grad
    assert tg.tensor(x, device="cpu").device.type == "cpu"


@pytest.mark.parametrize("bad", ["text", [[1], [1, 2]], None, {"a": 1}, 1j, [object]], ids=repr)
def test_data_that_is_none(bad):
    with pytest.raises(OperandError, match="tensor: got data"):
        tg.tensor(bad)


def test_as_tensor_shares_where_it_can():
    values = np.ones(2, np.float32)
    x = tg.as_tensor(values)
    assert x.array is values and tg.as_tensor(x) is x
    assert tg.as_tensor(values, dtype=tg.float64).dtype == tg.float64
    assert tg.as_tensor([1, 2]).tolist() == [1, 2]
    with pytest.raises(OperandError, match="from_numpy: got a list"):
        tg.from_numpy([1])


def test_filled(device):
    place = {"device": device}
    assert tg.zeros(2, 3, **place).tolist() == [[0] * 3] * 2
    assert tg.ones((2, 1), **place).tolist() == [[1], [1]] and tg.ones([2], **place).shape == (2,)
    assert tg.zeros((), **place).shape == () and tg.zeros(**place).shape == ()
    assert tg.empty(2, 0, **place).shape == (2, 0)
    assert tg.full((2,), 7, **place).dtype == tg.int64 and tg.full((2,), 7.0, **place).tolist() == [7, 7]
    assert (
        tg.full((2,), True, **place).dtype == np.bool_
        and tg.full((2,), 1, dtype=tg.float64, **place).dtype == tg.float64
    )
    assert tg.eye(2, 3, **place).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert tg.ones(2, requires_grad=True, **place).requires_grad
    for make in (tg.zeros, tg.ones, tg.empty, tg.eye):
        x = make(2, dtype=tg.float64, **place)
        assert x.dtype == tg.float64 and x.device.type == device


def test_size_by_name(device):
    for make in (tg.zeros, tg.ones, tg.empty, tg.rand, tg.randn):
        assert make(size=(2, 3), device=device).shape == (2, 3)
        with pytest.raises(TypeError, match="the size twice"):
            make(2, size=(2,))


def test_like(device):
    x = tg.ones(2, 3, dtype=tg.float64, device=device, requires_grad=True)
    for make in (tg.zeros_like, tg.ones_like, tg.empty_like, tg.rand_like, tg.randn_like, lambda y: tg.full_like(y, 3)):
        y = make(x)
        assert (y.shape, y.dtype, y.device, y.requires_grad) == (x.shape, x.dtype, x.device, False)
    assert tg.zeros_like(x, dtype=tg.float32, device="cpu").dtype == tg.float32
    assert tg.full_like(x, 3).tolist() == [[3] * 3] * 2


@pytest.mark.parametrize(
    ("arguments", "values", "dtype"),
    [
        ((3,), [0, 1, 2], "int64"),
        ((1, 4), [1, 2, 3], "int64"),
        ((1, 8, 3), [1, 4, 7], "int64"),
        ((3, 0, -1), [3, 2, 1], "int64"),
        ((0.0, 1.0, 0.25), [0, 0.25, 0.5, 0.75], "float32"),
        ((2.0,), [0, 1], "float32"),
        ((0,), [], "int64"),
    ],
)
def test_arange(arguments, values, dtype, device):
    x = tg.arange(*arguments, device=device)
    assert x.tolist() == values and x.dtype == np.dtype(dtype) and x.device.type == device


def test_linspace(device):
    assert tg.linspace(0, 1, 5, device=device).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert tg.linspace(3, 3, 1).tolist() == [3] and tg.linspace(0, 1, 0).shape == (0,)


def test_logspace(device):
    np.testing.assert_allclose(tg.logspace(-1, 2, 4, device=device).tolist(), [0.1, 1, 10, 100], rtol=1e-6)
    assert tg.logspace(0, 3, 4, base=2).tolist() == [1, 2, 4, 8] and tg.logspace(0, 1, 0).shape == (0,)
    assert tg.logspace(0, 2, 3, dtype=tg.int64).tolist() == [1, 10, 100]


def test_bounds_may_be_tensors():
    assert tg.arange(tg.tensor(3)).tolist() == [0, 1, 2] and tg.arange(tg.tensor(2.0)).dtype == tg.float32
    assert tg.linspace(tg.tensor(0.0), tg.tensor(1.0), 3).tolist() == [0, 0.5, 1]
    assert tg.full((2,), tg.tensor(3)).tolist() == [3, 3]


def test_triangles(device):
    assert tg.tril_indices(3, 2, device=device).tolist() == [[0, 1, 1, 2, 2], [0, 0, 1, 0, 1]]
    assert tg.triu_indices(2, 3, 1, dtype=tg.int32).tolist() == [[0, 0, 1], [1, 2, 2]]


def test_asarray():
    values = np.ones(2, np.float32)
    assert tg.asarray(values).array is values and tg.asarray(values, copy=True).array is not values
    assert (
        tg.asarray([1, 2], dtype=tg.float64).dtype == tg.float64 and tg.asarray(1.0, requires_grad=True).requires_grad
    )
    assert tg.scalar_tensor(2).dtype == tg.float32 and tg.scalar_tensor(2).shape == ()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: tg.arange(0, 3, -1),
        lambda: tg.arange(0, float("inf")),
        lambda: tg.arange(float("nan")),
        lambda: tg.linspace(0, 1, -1),
        lambda: tg.logspace(0, 1, -1),
        lambda: tg.eye(-1),
        lambda: tg.eye(2, -1),
        lambda: tg.zeros(2, dtype=np.complex64),
        lambda: tg.full((-1,), 1),
    ],
)
def test_refusals(wrong):
    with pytest.raises(RuntimeError):
        wrong()


def test_dtypes_that_are_none():
    with pytest.raises(TypeError, match="zeros: got dtype 'quarter'"):
        tg.zeros(2, dtype="quarter")
    with pytest.raises(TypeError, match="zeros_like: got a list"):
        tg.zeros_like([1.0])


def test_errors():
    with pytest.raises(RuntimeError, match="step is 0"):
        tg.arange(0, 3, 0)
    for wrong in (lambda: tg.zeros(-1), lambda: tg.ones(2, -3)):
        with pytest.raises((RuntimeError, ValueError), match=r"-1|-3|negative"):
            wrong()
    with pytest.raises(TypeError, match="whole numbers"):
        tg.zeros(1.5)
    with pytest.raises(RuntimeError, match="randint: got the range 3 to 3"):
        tg.randint(3, 3, (2,))
    with pytest.raises(DtypeError, match=r"randn: got dtype int64.*randint"):
        tg.randn(2, dtype=tg.int64)
    with pytest.raises(RuntimeError, match="only floating-point"):
        tg.arange(3, requires_grad=True)


# random numbers


def test_one_seed_for_every_device(device):
    def draw(place: str) -> list[list[float]]:
        tg.manual_seed(7)
        makers = [tg.rand(3, device=place), tg.randn(2, 2, device=place), tg.randint(0, 10, (4,), device=place)]
        return [x.tolist() for x in [*makers, tg.randperm(5, device=place)]]

    assert draw(device) == draw("cpu") == draw("cpu")


def test_state_can_be_saved_and_restored():
    tg.manual_seed(1)
    state = tg.get_rng_state()
    first = tg.randn(3).tolist()
    tg.set_rng_state(state)
    assert tg.randn(3).tolist() == first and tg.initial_seed() == 1
    assert tg.manual_seed(-3).initial_seed() == -3


def test_generators_are_apart():
    tg.manual_seed(0)
    expected = tg.randn(2).tolist()
    tg.manual_seed(0)
    own = tg.Generator(5)
    drawn = tg.randn(2, generator=own).tolist()
    assert tg.randn(2).tolist() == expected
    assert tg.randn(2, generator=tg.Generator(5)).tolist() == drawn
    assert own.spawn_seed() != own.spawn_seed()


def test_distributions():
    g = tg.Generator(0)
    x = tg.rand(10_000, generator=g)
    assert x.dtype == tg.float32 and 0 <= float(x.amin()) and float(x.amax()) < 1 and abs(float(x.mean()) - 0.5) < 0.02
    y = tg.randn(10_000, dtype=tg.float64, generator=g)
    assert y.dtype == tg.float64 and abs(float(y.mean())) < 0.05 and abs(float(y.std()) - 1) < 0.05
    z = tg.randint(2, 5, (1000,), generator=g)
    assert z.dtype == tg.int64 and sorted(set(z.tolist())) == [2, 3, 4]
    assert set(tg.randint(3, (100,), generator=g).tolist()) == {0, 1, 2}
    assert sorted(tg.randperm(50, generator=g).tolist()) == list(range(50))
    assert tg.rand(2, generator=g).shape == (2,) and tg.rand(generator=g).shape == ()


def test_default_dtype():
    try:
        tg.set_default_dtype(tg.float64)
        assert tg.tensor(1.0).dtype == tg.zeros(2).dtype == tg.randn(2).dtype == tg.float64
        assert (tg.arange(2) / 2).dtype == tg.float64
        with pytest.raises(DtypeError, match="int64; only floating-point"):
            tg.set_default_dtype(tg.int64)
    finally:
        tg.set_default_dtype(tg.float32)
