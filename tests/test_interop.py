"""Memory shared with other libraries: DLPack, and what a Tensor says of its place in memory."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.errors import DeviceError, DtypeError, GraphError, OperandError
from tensorgrad.tensor import Tensor


def test_from_dlpack_shares_memory():
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    x = tg.from_dlpack(values)
    x[0, 0] = 7
    assert values[0, 0] == 7 and x.dtype == tg.float32 and x.shape == (2, 3)
    own = tg.from_dlpack(values, copy=True)
    own[0, 0] = 8
    assert values[0, 0] == 7
    y = tg.ones(2, requires_grad=True)
    assert not tg.from_dlpack(y).requires_grad and np.shares_memory(tg.from_dlpack(y).array, y.array)
    with pytest.raises(OperandError, match="list, which has no __dlpack__"):
        tg.from_dlpack([1.0])


def test_numpy_reads_us_by_dlpack():
    x = tg.arange(6, dtype=tg.float64).reshape(2, 3).T
    values = np.from_dlpack(x)
    assert np.shares_memory(values, x.array) and values.tolist() == x.tolist()
    assert x.__dlpack_device__() == (1, 0)
    with pytest.raises(GraphError, match="detach"):
        np.from_dlpack(tg.ones(2, requires_grad=True))
    if hasattr(tg, "bfloat16"):
        with pytest.raises(DtypeError, match="bfloat16"):
            np.from_dlpack(tg.ones(2, dtype=tg.bfloat16))


def test_devices_that_dlpack_has_and_we_do_not():
    class Elsewhere:
        def __dlpack__(self) -> None:
            raise AssertionError("is not asked")

        def __dlpack_device__(self) -> tuple[int, int]:
            return 8, 0  # Metal

    with pytest.raises(DeviceError, match="DLPack's device 8"):
        tg.from_dlpack(Elsewhere())


@pytest.mark.oracle
def test_dlpack_with_pytorch():
    torch = pytest.importorskip("torch")
    ours = tg.from_dlpack(torch.arange(4))
    assert ours.tolist() == [0, 1, 2, 3] and ours.dtype == tg.int64
    theirs = torch.from_dlpack(tg.ones(2, 3))
    theirs[0, 0] = 5
    assert theirs.shape == (2, 3) and theirs.dtype == torch.float32
    p = torch.zeros(3)
    tg.from_dlpack(p).fill_(2)
    assert p.tolist() == [2, 2, 2]


def test_where_it_lies(device):
    x = tg.arange(24, device=device).reshape(2, 3, 4)
    assert x[1].storage_offset() == 12 and x[1][2, 1:].storage_offset() == 21 and x.storage_offset() == 0
    assert x[1].data_ptr() == x.data_ptr() + 12 * 8
    assert x.clone().data_ptr() != x.data_ptr()
    assert x.nelement() == 24 and x.ndimension() == 3 and x.get_device() == (-1 if device == "cpu" else 0)
    assert x.is_cpu is (device == "cpu") and x.is_cuda is (device == "cuda")


def test_what_kind_it_is():
    x = tg.ones(2)
    assert tg.is_tensor(x) and not tg.is_tensor(x.numpy())
    assert tg.is_floating_point(x) and not tg.is_floating_point(x.int()) and not tg.is_complex(x)
    assert x.is_signed() and not x.byte().is_signed() and not x.bool().is_signed()
    assert x.is_same_size(tg.zeros(2)) and not x.is_same_size(tg.zeros(3))
    assert tg.is_nonzero(tg.tensor(2.0)) and not tg.is_nonzero(tg.tensor([0])) and tg.numel(x) == 2
    with pytest.raises(RuntimeError):
        tg.is_nonzero(x)


def test_detach_in_place():
    x = tg.ones(2, requires_grad=True)
    y = x * 2
    assert y.detach_() is y and y.is_leaf and not y.requires_grad
    with pytest.raises(GraphError, match=r"use \.detach\(\)"):
        (x * 2)[0].detach_()


def test_numbers_in_tensors(device):
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], device=device)
    assert 3 in x and 5 not in x and x[0] in x and tg.tensor(4.0, device=device) in x
    with pytest.raises(OperandError, match="got a str"):
        assert "1" in x


def test_positional_switches_of_to():
    """As in PyTorch the first is non_blocking, the second copy."""
    x = tg.ones(2)
    assert x.to("cpu", True) is x and x.to(tg.float32, non_blocking=True) is x
    assert x.to("cpu", False, True) is not x and x.to(copy=True) is not x
    assert x.to("cpu", tg.float64, True).dtype == tg.float64


def test_numpy_by_force(device):
    x = tg.ones(2, device=device, requires_grad=True)
    values = (x * 2).numpy(force=True)
    assert type(values) is np.ndarray and values.tolist() == [2, 2]


def test_copies():
    x = tg.ones(2, requires_grad=True)
    assert copy.copy(x).array is x.array or np.shares_memory(copy.copy(x).array, x.array)
    deep = copy.deepcopy(x)
    assert deep.requires_grad and not np.shares_memory(deep.array, x.array)


def test_new_ones_beside_it(device):
    x = tg.ones(2, 3, dtype=tg.float64, device=device, requires_grad=True)
    for z, shape in [
        (x.new_zeros(4), (4,)),
        (x.new_ones((1, 2)), (1, 2)),
        (x.new_zeros(size=(1, 2)), (1, 2)),
        (x.new_empty(3, 0), (3, 0)),
        (x.new_full((2,), 7), (2,)),
        (x.new_tensor([1, 2]), (2,)),
    ]:
        assert type(z) is Tensor and z.shape == shape and z.dtype == tg.float64 and z.device == x.device
        assert not z.requires_grad
    assert x.new_full((2,), 7).tolist() == [7, 7] and x.new_tensor([1, 2]).tolist() == [1, 2]
    assert x.new_zeros(2, dtype=tg.int8).dtype == tg.int8 and x.new_ones(2, requires_grad=True).requires_grad


def test_as_an_array_of_another_dtype():
    x = tg.tensor([1.0, 2.0])
    for array in (
        np.asarray(x, dtype=np.float64),
        x.__array__(np.float64),
        x.__array__(np.dtype("float64"), copy=True),
    ):
        assert array.dtype == np.float64 and array.tolist() == [1, 2]
    assert np.shares_memory(x.__array__(np.float32, copy=False), x.array)
    assert not np.shares_memory(x.__array__(copy=True), x.array)
    with pytest.raises(ValueError, match="without a copy"):
        x.__array__(np.float64, copy=False)
