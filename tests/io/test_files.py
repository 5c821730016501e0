"""save and load: nested values come back as they were, and other programs' files are told by their content."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
import safetensors.numpy
from torch_bytes import items, tensor, zipped

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.errors import DtypeError, OperandError
from tensorgrad.io.errors import CheckpointError
from tensorgrad.io.files import read_npz


def back(value, folder):
    tg.save(value, folder / "file")
    return tg.load(folder / "file")


def same(found, expected):
    assert type(found) is type(expected)
    if isinstance(expected, tg.Tensor):
        assert (found.dtype, found.requires_grad) == (expected.dtype, expected.requires_grad)
        np.testing.assert_array_equal(found.detach().numpy(), expected.detach().numpy())
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            same(a, b)
    else:
        assert found == expected or (found != found and expected != expected)


VALUES = {
    "a state": lambda: {"w": tg.ones(2, 3), "b": tg.zeros(0), "n": tg.tensor(7)},
    "nested": lambda: {"model": {"w": tg.ones(2)}, "epoch": 3, "lr": 0.1, "name": "Größe", "none": None, "on": True},
    "lists and tuples": lambda: [1, (2.5, [tg.arange(3)], ()), {"a": (tg.zeros(2),)}, []],
    "numbers as keys": lambda: {0: tg.ones(1), 1.5: 2, None: 3, (1, "a"): 4, True: 5},
    "keys like our own": lambda: {"$tensor": "x", "a.b": tg.ones(1), "a": {"b": tg.zeros(1)}},
    "sets and bytes": lambda: {"seen": {3, 1}, "raw": b"\x00\xff", "none": set(), b"key": {b"member", (1, b"2")}},
    "odd numbers": lambda: [float("nan"), float("inf"), -float("inf"), 2**100, -0.0],
    "arrays": lambda: {"x": np.arange(3), "y": [np.zeros((2, 0)), np.array(1.5)]},
    "parameters": lambda: {"w": tg.ones(2, requires_grad=True), "b": tg.ones(2)},
    "a Tensor": lambda: tg.arange(4),
    "a number": lambda: 3,
    "nothing": dict,
    "the reserved name": lambda: {"__metadata__": tg.ones(2)},
}


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back(tmp_path, name):
    value = VALUES[name]()
    same(back(value, tmp_path), value)


@pytest.mark.parametrize("kind", ["bool", "uint8", "int8", "int64", "float16", "float32", "float64"])
def test_number_types_come_back(tmp_path, kind):
    value = {"x": tg.tensor(np.array([0, 1, 1]).astype(kind))}
    same(back(value, tmp_path), value)


def test_a_state_dict_is_a_file_for_every_program(tmp_path):
    layer = nn.Linear(3, 2)
    tg.save(layer.state_dict(), tmp_path / "a.safetensors")
    found = safetensors.numpy.load_file(tmp_path / "a.safetensors")
    assert set(found) == {"weight", "bias"}
    np.testing.assert_array_equal(found["weight"], layer.weight.detach().numpy())


def test_nested_tensors_have_the_names_of_their_places(tmp_path):
    tg.save({"state": {0: {"momentum_buffer": tg.ones(2)}}, "list": [tg.zeros(1)]}, tmp_path / "a")
    assert set(safetensors.numpy.load_file(tmp_path / "a")) == {"state.0.momentum_buffer", "list.0"}


def test_training_goes_on_where_it_was(tmp_path):
    """Model and optimiser in one file: two steps after loading are the two steps without."""

    def setup():
        tg.manual_seed(3)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
        return model, tg.optim.Adam(model.parameters(), lr=0.1, betas=(0.8, 0.9))

    def step(model, optimizer, count):
        x = tg.tensor(np.linspace(-1, 1, 24, dtype="float32").reshape(6, 4))
        for _ in range(count):
            optimizer.zero_grad()
            (model(x) ** 2).sum().backward()
            optimizer.step()

    model, optimizer = setup()
    step(model, optimizer, 3)
    tg.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}, tmp_path / "file")
    step(model, optimizer, 2)
    again, its_optimizer = setup()
    saved = tg.load(tmp_path / "file")
    again.load_state_dict(saved["model"])
    its_optimizer.load_state_dict(saved["optimizer"])
    step(again, its_optimizer, 2)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(again.state_dict()[name].numpy(), value.numpy(), err_msg=name)


def test_one_tensor_in_two_places_stays_one(tmp_path):
    w = tg.ones(2)
    found = back({"a": w, "deep": [w]}, tmp_path)
    assert found["a"] is found["deep"][0]


@pytest.mark.parametrize(
    "value, error, text",
    [
        ({"a": [1, object()]}, OperandError, r"the value at 'a\.1' is a object"),
        (object(), OperandError, "the value given is a object"),
        ({"f": len}, OperandError, "the value at 'f' is a builtin_function_or_method"),
        ({frozenset(): 1}, OperandError, "the value given has a key or member frozenset.* of type frozenset"),
        # what load would refuse is not saved
        ({"a": {2**61: 1}}, OperandError, r"'a' has a key or member 2305843009213693952 of type int; .* numbers below"),
        ({(1, (2, 3)): 1}, OperandError, r"has a key or member \(1, \(2, 3\)\) of type tuple"),
        ({"a": {frozenset([1])}}, OperandError, "'a' has a key or member frozenset"),
        ({"a": [{2**61}]}, OperandError, r"'a\.0' has a key or member"),
        ({"\ud800": tg.ones(1)}, OperandError, "use strings of Unicode"),
        ({"x": np.zeros(2, complex)}, DtypeError, "'x' has dtype complex128"),
    ],
)
def test_what_cannot_be_saved_is_named_and_nothing_is_written(tmp_path, value, error, text):
    with pytest.raises(error, match=text):
        tg.save(value, tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_a_value_that_holds_itself(tmp_path):
    value = []
    value.append(value)
    with pytest.raises(OperandError, match="more than 200 levels deep; does it hold itself"):
        tg.save(value, tmp_path / "a")


# other programs' files


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numpys_archives(tmp_path, save):
    save(tmp_path / "a.npz", w=np.arange(6.0).reshape(2, 3), n=np.array(3), big=np.arange(3).astype(">i4"))
    found = tg.load(tmp_path / "a.npz")
    assert {name: (x.dtype, x.tolist()) for name, x in found.items()} == {
        "w": (tg.float64, [[0, 1, 2], [3, 4, 5]]),
        "n": (tg.int64, 3),
        "big": (tg.int32, [0, 1, 2]),
    }
    found["w"] += 1


def test_numpys_arrays(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    assert tg.load(tmp_path / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]


def test_safetensors_of_other_programs(tmp_path):
    safetensors.numpy.save_file({"w": np.ones(2)}, tmp_path / "a", {"format": "pt"})
    assert tg.load(tmp_path / "a")["w"].tolist() == [1, 1]


@pytest.mark.parametrize("value", [{"w": tg.ones(2)}, {"a": [tg.ones(2)]}])
def test_open_files(tmp_path, value):
    tg.save(value, tmp_path / "a")
    with open(tmp_path / "a", "rb") as file:
        same(tg.load(file), value)
    same(tg.load(io.BytesIO((tmp_path / "a").read_bytes())), value)


@pytest.mark.parametrize("value", [{"w": tg.ones(2)}, {"a": [tg.ones(2)], "n": 3}])
def test_saving_to_open_files(value):
    file = io.BytesIO()
    tg.save(value, file)
    file.seek(0)
    same(tg.load(file, weights_only=True), value)


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda path: tg.save(path, {"w": tg.ones(2)}), TypeError, r"save: f is a dict; give save\(obj, f\) a path"),
        (lambda path: tg.load(None), TypeError, "load: f is a NoneType; give a path or a file"),
        (
            lambda path: tg.load(io.StringIO("abc")),
            TypeError,
            "load: the file is opened for reading text; open it with 'rb'",
        ),
        (
            lambda path: tg.load(path, weights_only=False),
            ValueError,
            "load: weights_only is False; a file that makes a",
        ),
        (
            lambda path: tg.load(path, map_location={"cuda:0": "cpu"}),
            TypeError,
            "load: map_location is a dict; give one",
        ),
        (lambda path: tg.load(path, map_location=lambda s, _: s), TypeError, "load: map_location is a function"),
    ],
)
def test_wrong_arguments(tmp_path, call, error, text):
    tg.save({"w": tg.ones(2)}, tmp_path / "a")
    with pytest.raises(error, match=text):
        call(tmp_path / "a")


def test_a_training_in_bfloat16_goes_on_from_a_file(tmp_path):
    """The file holds float32, the same numbers; model and optimiser take them back as what they were."""
    pytest.importorskip("ml_dtypes")

    def setup():
        tg.manual_seed(1)
        model = nn.Linear(3, 2).bfloat16()
        return model, tg.optim.Adam(model.parameters(), lr=0.1)

    def step(model, optimizer):
        optimizer.zero_grad()
        (model(tg.ones(1, 3, dtype=tg.bfloat16)) ** 2).sum().backward()
        optimizer.step()

    model, optimizer = setup()
    step(model, optimizer)
    tg.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "a")
    saved = tg.load(tmp_path / "a")
    assert saved["model"]["weight"].dtype == tg.float32
    again, its_optimizer = setup()
    again.load_state_dict(saved["model"])
    its_optimizer.load_state_dict(saved["optimizer"])
    for one in ((model, optimizer), (again, its_optimizer)):
        step(*one)
    assert again.weight.dtype == tg.bfloat16
    assert again.weight.tolist() == model.weight.tolist() != saved["model"]["weight"].tolist()


def test_map_location(tmp_path, device):
    tg.save({"a": [tg.ones(2)], "n": 3}, tmp_path / "a")
    found = tg.load(tmp_path / "a", map_location=device)
    assert found["a"][0].device.type == tg.Device(device).type
    assert found["n"] == 3


@pytest.mark.parametrize("content", [b"", b"abc", b"\x89HDF\r\n\x1a\n", b"\x80\x04K\x01.", bytes(64)])
def test_other_files_are_refused_by_their_first_bytes(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CheckpointError, match="it is none of safetensors"):
        tg.load(tmp_path / "a")


def test_missing_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="cannot read the file: No such file"):
        tg.load(tmp_path / "nowhere")
    with pytest.raises(OSError, match="cannot read the file"):
        tg.load(tmp_path)


def npy(header, content=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + content


@pytest.mark.parametrize(
    "content, text",
    [
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"), "claims the shape"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }", bytes(15)), "claims the shape|is cut off"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", bytes(99)), "it must be numbers"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-2,), }", bytes(99)), "claims the shape"),
        (npy("{'descr': __import__('os').getcwd(), 'fortran_order': False, 'shape': ()}"), "no whole NumPy array"),
        (npy("{'descr':"), "no whole NumPy array"),
        (b"\x93NUMPY\x09\x00", "version"),
        (b"\x93NUMPY", "no whole NumPy array"),
    ],
)
def test_damaged_arrays(content, text):
    with pytest.raises(CheckpointError, match=text):
        tg.load(io.BytesIO(content))


def test_cut_off_archives_of_numpy():
    file = io.BytesIO()
    np.savez(file, w=np.arange(4.0))
    content = file.getvalue()
    for length in range(5, len(content), 7):
        with pytest.raises(CheckpointError):
            tg.load(io.BytesIO(content[:length]))


@pytest.mark.parametrize(
    "skeleton, text",
    [
        ({"$tensor": "other"}, "lacks the array 'other'"),
        ({"$tuple": 3}, "makes no sense"),
        ({"$dict": [[1, 2, 3]]}, "makes no sense"),
        ({"$dict": [[[1], 2]]}, "makes no sense"),
        ({"$bytes": "no base 64!"}, "makes no sense"),
        ({"$later": 1}, "written by a newer version"),
    ],
)
def test_damaged_skeletons(tmp_path, skeleton, text):
    metadata = {"tensorgrad": json.dumps({"tensorgrad.nested": skeleton})}
    safetensors.numpy.save_file({"w": np.ones(2)}, tmp_path / "a", metadata)
    with pytest.raises(CheckpointError, match=text):
        tg.load(tmp_path / "a")


@pytest.mark.parametrize("opened", [False, True])
def test_bfloat16_and_numbers_that_are_not_known(tmp_path, opened):
    """Written by hand: a header, then 1.0 and -2.5 by their upper halves; and an eight-bit float."""

    def written(kind, size):
        entry = {"dtype": kind, "shape": [2], "data_offsets": [0, 2 * size]}
        header = json.dumps({"w": entry, "n": {"dtype": "U8", "shape": [1], "data_offsets": [2 * size, 2 * size + 1]}})
        halves = (np.array([1.0, -2.5], "<f4").view("<u4") >> 16).astype("<u2").tobytes()
        return struct.pack("<Q", len(header)) + header.encode() + halves[: 2 * size] + b"\x07"

    def load(content):
        (tmp_path / "a").write_bytes(content)
        return tg.load(io.BytesIO(content) if opened else tmp_path / "a")

    found = load(written("BF16", 2))
    assert (found["w"].dtype, found["w"].tolist(), found["n"].tolist()) == (tg.float32, [1.0, -2.5], [7])
    found["w"] += 1
    with pytest.raises(CheckpointError, match=r"'w' in .* has the dtype F8_E4M3"):
        load(written("F8_E4M3", 1))


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("dtype", ["u1", "?", "i1", ">f8", "f4"])
def test_numpys_own_format(version, dtype, tmp_path):
    """Of either version, numbers of one byte too; what follows the array is not touched."""
    array = np.array([[1, 0, 2], [0, 3, 1]], dtype)
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, array, version=version)
        file.write(b"more")
    found = tg.load(tmp_path / "a.npy")
    assert found.tolist() == array.tolist() and found.dtype == array.dtype.newbyteorder("=")


def test_an_archive_may_be_larger_than_what_any_may_unpack_to(tmp_path, monkeypatch):
    """The limit grows with the file: only what was packed more tightly than numbers are is taken for a bomb."""
    monkeypatch.setattr("tensorgrad.io.files._ROOM", 10)
    np.savez(tmp_path / "a.npz", x=np.random.default_rng(0).random(500))
    assert tg.load(tmp_path / "a.npz")["x"].shape == read_npz(tmp_path / "a.npz")["x"].shape == (500,)
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros(500_000))
    with pytest.raises(CheckpointError, match=r"b\.npz"):
        tg.load(tmp_path / "b.npz")
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match=r"c\.npz"):
        tg.load(tmp_path / "c.npz")


@pytest.mark.oracle
def test_pytorch_reads_what_is_saved(tmp_path):
    torch = pytest.importorskip("torch")
    import safetensors.torch

    layer = nn.Conv2d(2, 3, 3)
    tg.save(layer.state_dict(), tmp_path / "a")
    theirs = torch.nn.Conv2d(2, 3, 3)
    theirs.load_state_dict(safetensors.torch.load_file(tmp_path / "a"))
    np.testing.assert_array_equal(theirs.weight.detach().numpy(), layer.weight.detach().numpy())


# two names for one memory


def loaded_of_pytorch(folder):
    found = tg.load(io.BytesIO(zipped(items(a=tensor(), b=tensor(offset=3, shape=(3,), strides=(1,))))))
    return found["a"], found["b"]


def loaded_of_ours(folder):
    x = tg.ones(3)
    tg.save({"a": x, "b": nn.Parameter(x)}, folder / "a")
    found = tg.load(folder / "a")
    return found["a"], found["b"].detach()


def loaded_with_numpy(folder):
    x = tg.ones(3)
    tg.save({"a": x.array, "b": x}, folder / "a")
    found = tg.load(folder / "a")
    return found["a"], found["b"]


@pytest.mark.parametrize("loaded", [loaded_of_pytorch, loaded_of_ours, loaded_with_numpy])
def test_what_was_saved_with_one_memory_notices_changes_when_it_is_loaded(tmp_path, loaded):
    a, b = loaded(tmp_path)
    assert np.shares_memory(np.asarray(a), b.array)
    z = (b * tg.ones(3, requires_grad=True)).sum()
    a[...] = 9.0
    with pytest.raises(RuntimeError, match=r"changed in place|behind tensorgrad's back"):
        z.backward()
