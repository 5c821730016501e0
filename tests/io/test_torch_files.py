"""PyTorch's files without PyTorch: whole ones are read, damaged ones refused."""

from __future__ import annotations

import io
import random
import struct
import zipfile

import numpy as np
import pytest
from torch_bytes import SIX, called, items, name, old, storage, tensor, value, zipped

import tensorgrad as tg
from tensorgrad.io.errors import CheckpointError

FORMATS = pytest.mark.parametrize("pack", [zipped, old], ids=["zipped", "old"])


def load(content):
    return tg.load(io.BytesIO(content))


# whole files


@FORMATS
def test_a_state_dict(tmp_path, pack):
    content = pack(items(w=tensor(), epoch=value(3), best=value((0.5, None)), names=value(["a", "b"])))
    for found in (load(content), from_path(tmp_path, content)):
        assert list(found) == ["w", "epoch", "best", "names"]
        assert found["w"].tolist() == [[0, 1, 2], [3, 4, 5]]
        assert found["w"].dtype == tg.float32
        assert not found["w"].requires_grad
        assert (found["epoch"], found["best"], found["names"]) == (3, (0.5, None), ["a", "b"])
        found["w"] += 1  # the memory is ours


def from_path(folder, content):
    (folder / "state.pth").write_bytes(content)
    return tg.load(folder / "state.pth")


KINDS = {
    "HalfStorage": "<f2",
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "ByteStorage": "u1",
    "CharStorage": "i1",
    "ShortStorage": "<i2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
}


@FORMATS
@pytest.mark.parametrize("kind", KINDS)
def test_number_types(pack, kind):
    numbers = np.array([1, 2, 100, 3, 4, 5], KINDS[kind])
    settings = {"sizes": numbers.itemsize} if pack is old else {}
    found = load(pack(tensor(storage(kind=kind)), {"0": numbers.tobytes()}, **settings))
    assert found.dtype == numbers.dtype.newbyteorder("=")
    assert found.tolist() == numbers.reshape(2, 3).tolist()


@FORMATS
def test_bool_and_bfloat16(pack):
    settings = {"sizes": 1} if pack is old else {}
    found = load(pack(tensor(storage(kind="BoolStorage")), {"0": bytes([0, 1, 2, 0, 255, 1])}, **settings))
    assert (found.dtype, found.tolist()) == (tg.bool, [[False, True, True], [False, True, True]])
    settings = {"sizes": 2} if pack is old else {}
    numbers = np.array([1.0, -2.5, 3.0e38, 0.0, np.inf, 1e-38], np.float32).view(np.uint32) >> 16
    found = load(pack(tensor(storage(kind="BFloat16Storage")), {"0": numbers.astype("<u2").tobytes()}, **settings))
    assert found.dtype == tg.float32
    assert found.numpy().tobytes() == (numbers << 16).astype(np.uint32).tobytes()
    assert found.tolist()[0][:2] == [1.0, -2.5]


VIEWS = {
    # offset, shape, strides: what is read of 0, 1, ..., 5
    "whole": (0, (2, 3), (3, 1), [[0, 1, 2], [3, 4, 5]]),
    "transposed": (0, (3, 2), (1, 3), [[0, 3], [1, 4], [2, 5]]),
    "the end": (4, (2,), (1,), [4, 5]),
    "every second": (1, (3,), (2,), [1, 3, 5]),
    "one number": (2, (), (), 2),
    "nothing": (6, (0, 4), (4, 1), []),
    "a dimension of one": (0, (1, 6), (1, 1), [[0, 1, 2, 3, 4, 5]]),
}


@FORMATS
@pytest.mark.parametrize("view", VIEWS)
def test_views_of_a_storage(pack, view):
    offset, shape, strides, expected = VIEWS[view]
    found = load(pack(tensor(offset=offset, shape=shape, strides=strides)))
    assert found.shape == shape
    assert found.tolist() == expected


@FORMATS
def test_two_views_of_one_storage_share_their_memory(pack):
    body = items(a=tensor(), b=tensor(offset=3, shape=(3,), strides=(1,)))
    found = load(pack(body))
    found["a"].zero_()
    assert found["b"].tolist() == [0, 0, 0]


@FORMATS
def test_parameters_require_gradients(pack):
    hooks = name("collections", "OrderedDict") + b")R"
    parameter = called(name("torch._utils", "_rebuild_parameter"), tensor(), value(True), hooks)
    found = load(pack(parameter))
    assert found.requires_grad
    assert found.is_leaf


@FORMATS
def test_other_things_that_checkpoints_hold(pack):
    dtype = called(name("numpy", "dtype"), value("f8"), value(False), value(True))
    dtype += value((3, "<", None, None, None, -1, -1, 0)) + b"b"
    raw = called(name("_codecs", "encode"), value(struct.pack("<d", 1.5).decode("latin1")), value("latin1"))
    shape = called(name("torch", "Size"), value([2, 3]))
    device = called(name("torch", "device"), value("cuda"), value(1))
    ordered = called(name("collections", "OrderedDict"), value([["x", 1], ["y", 2]])) + b"}" + value("_metadata")
    ordered += value({"version": 1}) + b"sb"  # state_dict() gives its dict an attribute
    found = load(
        pack(
            items(
                best=called(name("numpy.core.multiarray", "scalar"), dtype, raw),
                shape=shape,
                device=device,
                ordered=ordered,
                seen=called(name("__builtin__", "set"), value([3, 1])),
                big=value(2**80),
                w=tensor(),
            )
        )
    )
    assert found.pop("w").shape == (2, 3)
    assert found == {
        "best": 1.5,
        "shape": (2, 3),
        "device": "cuda:1",
        "ordered": {"x": 1, "y": 2},
        "seen": {1, 3},
        "big": 2**80,
    }


@FORMATS
def test_arrays_of_numpy(pack):
    dtype = called(name("numpy", "dtype"), value("i4"), value(False), value(True))
    dtype += value((3, ">", None, None, None, -1, -1, 0)) + b"b"
    array = called(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"), value((0,)), value(b"b"))
    state = b"(" + value(1) + value((2, 2)) + dtype + value(True) + value(bytes([0, 0, 0, 1] * 3 + [0, 0, 1, 0])) + b"t"
    found = load(pack(items(w=tensor(), random=array + state + b"b")))
    assert found["random"].tolist() == [[1, 1], [1, 256]]
    assert found["random"].dtype == np.dtype("int32")


def test_folders_and_orders_of_bytes():
    assert load(zipped(tensor(), folder="resnet18-f37072fd")).shape == (2, 3)
    assert load(zipped(tensor(), byteorder=None)).shape == (2, 3)  # older ones do not say
    with pytest.raises(CheckpointError, match="big-endian"):
        load(zipped(tensor(), byteorder=b"big"))
    with pytest.raises(CheckpointError, match="big-endian"):
        load(old(tensor(), little=False))
    with pytest.raises(CheckpointError, match="version 1000; this reader knows 1001"):
        load(old(tensor(), version=1000))


def test_old_files_of_a_gpu():
    assert load(old(tensor(storage(module="torch.cuda"), version="_rebuild_tensor"))).tolist()[1] == [3, 4, 5]


# damaged files


@FORMATS
def test_cut_off_at_every_length(pack):
    content = pack(items(w=tensor(), epoch=value(3)))
    for length in range(len(content)):
        with pytest.raises(CheckpointError):
            load(content[:length])


@FORMATS
@pytest.mark.parametrize("seed", range(4))
def test_damaged_bytes_are_an_error_or_other_numbers(pack, seed):
    """Whatever byte changes: a CheckpointError, or a value; nothing else comes out, and nothing large is asked for."""
    body = items(w=tensor(), h=tensor(storage(kind="HalfStorage", key="1", count=2), shape=(2,), strides=(1,)))
    storages = {**SIX, "1": bytes(4)}
    content = bytearray(pack(body, storages) if pack is zipped else old_of_two(body))
    chooser = random.Random(seed)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(chooser.choice([1, 1, 2, 8])):
            damaged[chooser.randrange(len(damaged))] = chooser.randrange(256)
        try:
            load(bytes(damaged))
        except CheckpointError:
            refused += 1
    assert refused > 100


def old_of_two(body):
    content = old(body, SIX, order=["0", "1"])
    return content + struct.pack("<q", 2) + bytes(4)


BROKEN = {
    # name: (opcodes, what the error says)
    "beyond the end": (tensor(offset=1), "reaches beyond its storage of 6 values"),
    "far strides": (tensor(strides=(2**40, 1)), "reaches beyond its storage"),
    "huge shape": (tensor(shape=(2**40, 2**40), strides=(2**40, 1)), "reaches beyond its storage"),
    "huge shape without strides": (tensor(shape=(2**31, 2**31), strides=(0, 0)), "more than once"),
    "expanded": (tensor(shape=(7,), strides=(0,)), "storage of 6 more than once"),
    "negative length": (tensor(shape=(-1, 3)), "must be whole numbers from 0 up"),
    "negative stride": (tensor(strides=(-3, 1)), "must be whole numbers from 0 up"),
    "negative offset": (tensor(offset=-1), "do not fit together"),
    "lengths and strides": (tensor(shape=(2, 3, 1)), "do not fit together"),
    "too many dimensions": (tensor(shape=(1,) * 65, strides=(1,) * 65), "do not fit together"),
    "a shape of texts": (tensor(shape=("2", "3")), "must be whole numbers"),
    "bool as length": (tensor(shape=(True, 3)), "must be whole numbers"),
    "no storage": (tensor(value(7)), "has no storage"),
    "a storage that is no tuple": (tensor(value("storage") + b"Q"), "is no storage"),
    "a storage of a wrong type": (storage(count="6"), "is described as"),
    "a view of a storage": (tensor(storage(extra=value(("v", 0, 3)))), "views of storages"),
    "one storage described twice": (items(a=tensor(), b=tensor(storage(kind="IntStorage"))), "described in two ways"),
    "an unknown memo": (b"h\x07", "damaged or cut off"),
    "too few values": (b"\x86", "takes a value that is not there"),
    "an end without a beginning": (b"t", "ends something that has not begun"),
    "values left behind": (value(1) + value(2), "leaves values behind"),
    "a key without a value": (b"}(" + value("a") + b"u", "a key without a value"),
    "a text that lies about its length": (b"X\xff\xff\xff\x7fabc", "damaged or cut off"),
    "bytes that lie about their length": (b"\x8e" + struct.pack("<Q", 2**62) + b"x", "damaged or cut off"),
    "wrong arguments": (called(name("torch._utils", "_rebuild_tensor_v2"), value(1)), "got wrong arguments"),
    "an unknown opcode": (b"\xff", "damaged or cut off"),
    "a name alone": (name("collections", "OrderedDict"), "only a name"),
}


@FORMATS
@pytest.mark.parametrize("case", BROKEN)
def test_broken_files(pack, case):
    body, text = BROKEN[case]
    with pytest.raises(CheckpointError, match=text):
        load(pack(body))


def test_storages_that_do_not_fit():
    with pytest.raises(CheckpointError, match="lacks the storage '0'"):
        load(zipped(tensor(), {}))
    with pytest.raises(CheckpointError, match="has 20 bytes; 6 values of float32 need 24"):
        load(zipped(tensor(), {"0": bytes(20)}))
    with pytest.raises(CheckpointError, match="need more bytes than it has"):
        load(old(tensor(storage(count=2**40))))
    with pytest.raises(CheckpointError, match="are not those that its Tensors need"):
        load(old(tensor(), order=["1"]))
    with pytest.raises(CheckpointError, match="has 5 values, not 6"):
        load(old(tensor(), {"0": bytes(20)}) + bytes(4))
    with pytest.raises(CheckpointError, match="is cut off"):
        load(old(tensor())[:-1])


def test_a_wrong_checksum():
    content = bytearray(zipped(tensor()))
    place = content.index(SIX["0"])
    content[place + 4] ^= 1
    with pytest.raises(CheckpointError, match="Bad CRC-32"):
        load(bytes(content))


def test_archives_that_are_not_pytorchs():
    with pytest.raises(CheckpointError, match="compressed or encrypted"):
        load(zipped(tensor(), compress=zipfile.ZIP_DEFLATED))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match=r"without a data\.pkl"):
        load(file.getvalue())


def test_entries_that_lie_on_top_of_each_other():
    """Two entries of the directory lead to the same bytes: how small files claim to be large ones."""
    content = zipped(items(a=tensor(), b=tensor(storage(key="1"))), {"0": SIX["0"], "1": SIX["0"]})
    places = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        places = [archive.getinfo(f"archive/data/{key}").header_offset for key in "01"]
    directory = content.index(b"PK\x01\x02")
    begin, end = content[:directory], content[directory:]
    moved = end.replace(
        struct.pack("<I", places[1]) + b"archive/data/1", struct.pack("<I", places[0]) + b"archive/data/1"
    )
    assert moved != end
    with pytest.raises(CheckpointError, match=r"on top of each other|Overlapped|differ"):
        load(begin + moved)


# PyTorch itself


@pytest.mark.oracle
@pytest.mark.parametrize("new", [True, False], ids=["zipped", "old"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_files_that_pytorch_writes(tmp_path, new, protocol):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), betas=(0.8, 0.9))
    net(torch.ones(2, 3, 5, 5)).sum().backward()
    optimizer.step()
    base = torch.arange(24.0).reshape(2, 3, 4)
    saved = {
        "model": net.state_dict(),
        "optimizer": optimizer.state_dict(),
        "parameter": net[0].weight,
        "views": [base, base[1], base.transpose(0, 2), base[:, ::2], base[0, 0, 0]],
        "kinds": [torch.tensor([0, 1, 100]).to(getattr(torch, kind)) for kind in NAMES],
        "size": torch.Size([2, 3]),
        "best": np.float64(0.5),
        "random": np.arange(4.0),
    }
    if new:
        saved["unsigned"] = torch.tensor([1, 2]).to(torch.uint16)  # which PyTorch itself cannot read from old files
    path = tmp_path / "state.pt"
    torch.save(saved, path, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    compare(tg.load(path), torch.load(path, weights_only=False))


NAMES = ["float16", "float32", "float64", "bfloat16", "uint8", "int8", "int16", "int32", "int64", "bool"]


def compare(found, expected, path="the file"):
    import torch

    if isinstance(expected, torch.Tensor):
        numbers = expected.detach()
        numbers = (numbers.float() if expected.dtype == torch.bfloat16 else numbers).numpy()
        assert found.detach().numpy().dtype == numbers.dtype, path
        np.testing.assert_array_equal(found.detach().numpy(), numbers, err_msg=path)
        assert found.requires_grad == expected.requires_grad, path
    elif isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected), path
        for key in expected:
            compare(found[key], expected[key], f"{path}[{key!r}]")
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), path
        for number, part in enumerate(expected):
            compare(found[number], part, f"{path}[{number}]")
    else:
        assert found == expected, path
