"""Checkpoints come back as they were saved, whatever their layout in memory, and damaged ones are refused."""

import errno
import json
import os
import struct

import numpy as np
import pytest
import safetensors.numpy

import tensorgrad as tg
from tensorgrad.errors import DtypeError, OperandError
from tensorgrad.io import CheckpointError, load, load_model, save, save_model
from tensorgrad.io.checkpoint import loads

DTYPES = ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["float16", "float32", "float64"]


def numbered(*shape, dtype="float32"):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


# one array in every layout that library or user can bring about
LAYOUTS = {
    "contiguous": numbered(2, 3, 4, 5),
    "transpose": numbered(5, 4).T,
    "channels-last": numbered(2, 4, 5, 3).transpose(0, 3, 1, 2),
    "every second": numbered(6, 4)[::2],
    "backwards": numbered(6)[::-1],
    "a column": numbered(4, 3)[:, 1],
    "broadcast": np.broadcast_to(numbered(3), (4, 3)),
    "Fortran's": np.asfortranarray(numbered(3, 4)),
    "0-d": np.array(7, dtype=np.int64),
    "0-d of a row": numbered(4)[2:3].reshape(()),
    "empty": np.zeros((0, 3), dtype=np.float32),
    "big-endian": numbered(4).astype(">f4"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("wrap", [lambda array: array, tg.Tensor], ids=["array", "Tensor"])
def test_every_layout_comes_back(tmp_path, layout, wrap):
    array = LAYOUTS[layout]
    save(tmp_path / "a.safetensors", {"w": wrap(array)})
    got = load(tmp_path / "a.safetensors").tensors["w"]
    assert got.shape == array.shape
    assert got.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(got, array)


def test_safetensors_alone_would_mix_them_up():
    """Why the copy: when this fails, the library has learnt it, and the copy can go."""
    array = LAYOUTS["transpose"]
    got = safetensors.numpy.load(safetensors.numpy.save({"w": array}))["w"]
    assert not np.array_equal(got, array)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_comes_back(tmp_path, dtype):
    save(tmp_path / "a", {"w": numbered(2, 3, dtype=dtype)})
    got = load(tmp_path / "a").tensors["w"]
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, numbered(2, 3, dtype=dtype))


def test_what_is_read_can_be_written_to_and_is_not_the_file(tmp_path):
    save(tmp_path / "a", {"w": numbered(3)})
    got = load(tmp_path / "a").tensors["w"]
    got += 1
    np.testing.assert_array_equal(load(tmp_path / "a").tensors["w"], numbered(3))


def test_metadata_comes_back_and_other_programs_can_read_it(tmp_path):
    metadata = {"recipe": {"learning_rate": 0.1, "augment": None}, "epoch": 3, "name": "Größe", "seeds": [1, 2]}
    save(tmp_path / "a", {"w": numbered(3)}, metadata)
    assert load(tmp_path / "a").metadata == metadata
    with safetensors.safe_open(str(tmp_path / "a"), "np") as file:
        assert json.loads(file.metadata()["tensorgrad"]) == metadata


def test_files_of_other_programs(tmp_path):
    safetensors.numpy.save_file({"w": numbered(3)}, tmp_path / "a", {"format": "pt"})
    assert load(tmp_path / "a").metadata == {"format": "pt"}
    safetensors.numpy.save_file({"w": numbered(3)}, tmp_path / "b")
    assert load(tmp_path / "b").metadata == {}


@pytest.mark.parametrize("metadata", [{"x": object()}, {"x": float("nan")}, {"x": {1, 2}}])
def test_metadata_that_is_no_json(tmp_path, metadata):
    with pytest.raises(OperandError, match="metadata is no JSON"):
        save(tmp_path / "a", {}, metadata)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tensors", "error", "text"),
    [
        ({1: numbered(2)}, OperandError, "has the name 1"),
        ({"__metadata__": numbered(2)}, OperandError, "has the name '__metadata__'"),
        ({"w": [1.0]}, OperandError, "'w' is a list"),
        ({"w": numbered(2).astype(complex)}, DtypeError, "'w' has dtype complex128"),
        ({"w": np.array(["a"])}, DtypeError, "'w' has dtype <U1"),
        ({"w": np.array([None])}, DtypeError, "'w' has dtype object"),
    ],
)
def test_what_cannot_be_saved_is_named_and_nothing_is_written(tmp_path, tensors, error, text):
    with pytest.raises(error, match=text):
        save(tmp_path / "a", tensors)
    assert not list(tmp_path.iterdir())


def test_missing_file_and_folder_in_its_place(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot read the checkpoint: No such file.*nowhere"):
        load(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError, match="cannot read the checkpoint"):
        load(tmp_path)


def test_truncated_at_every_length(tmp_path):
    file = tmp_path / "a"
    save(file, {"w": numbered(2, 3), "n": np.array(4)}, {"epoch": 1})
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="is no whole safetensors file"):
            load(file)
    file.write_bytes(whole + b"x")
    with pytest.raises(CheckpointError, match="is no whole safetensors file"):
        load(file)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 a zip file, as PyTorch writes", b"\x80\x04\x95 a pickle", bytes(64)]
)
def test_other_files(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(CheckpointError, match="of another kind"):
        load(tmp_path / "a")


def test_every_flipped_bit_is_noticed(tmp_path):
    """Ours carry a digest: whatever one bit becomes, the file is refused, and never gives other numbers or metadata."""
    file = tmp_path / "a"
    save(file, {"w": numbered(2, 3), "n": np.array(4)}, {"epoch": 1})
    whole = file.read_bytes()
    for position in range(len(whole)):
        for bit in range(8):
            content = bytearray(whole)
            content[position] ^= 1 << bit
            file.write_bytes(content)
            with pytest.raises(CheckpointError):
                load(file)
            with pytest.raises(CheckpointError):
                loads(bytes(content))


def test_the_digest_can_be_computed_by_anyone(tmp_path):
    import hashlib

    w = numbered(2, 3)
    save(tmp_path / "a", {"w": w, "b": w.T}, {"epoch": 1})
    with safetensors.safe_open(str(tmp_path / "a"), "np") as file:
        told = file.metadata()
    content = b'["b", "<f4", [3, 2]]' + w.T.tobytes("C") + b'["w", "<f4", [2, 3]]' + w.tobytes("C") + b'{"epoch": 1}'
    assert told["tensorgrad.sha256"] == hashlib.sha256(content).hexdigest()


def test_a_file_without_a_digest_is_of_another_program_or_older(tmp_path):
    safetensors.numpy.save_file({"w": numbered(3)}, tmp_path / "a", {"tensorgrad": '{"epoch": 1}'})
    assert load(tmp_path / "a").metadata == {"epoch": 1}


@pytest.mark.parametrize("text", ["{", "[1]", "7", "[" * 100_000])
def test_damaged_metadata(tmp_path, text):
    header = json.dumps({"__metadata__": {"tensorgrad": text}}).encode()
    (tmp_path / "a").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointError, match=r"the metadata in .* is"):
        load(tmp_path / "a")


def test_a_failed_save_keeps_the_checkpoint_of_before(tmp_path, monkeypatch):
    file = tmp_path / "model.safetensors"
    save(file, {"w": numbered(3)}, {"epoch": 1})

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device; the file that was there is unchanged"):
            save(file, {"w": numbered(3) + 1}, {"epoch": 2})
    tensors, metadata = load(file)
    assert metadata == {"epoch": 1}
    np.testing.assert_array_equal(tensors["w"], numbered(3))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_models_go_through_their_state_dict(tmp_path):
    from tensorgrad import nn

    def make(seed):
        tg.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3))

    saved, other = make(0), make(1)
    x = tg.randn(5, 1, 4, 4)
    saved(x)  # moves the running statistics
    save_model(tmp_path / "m", saved, {"epoch": 7})
    assert load_model(tmp_path / "m", other) == {"epoch": 7}
    saved.eval(), other.eval()
    np.testing.assert_array_equal(saved(x).detach().numpy(), other(x).detach().numpy())
    for name, value in saved.state_dict().items():
        assert value.shape == load(tmp_path / "m").tensors[name].shape


def test_a_model_of_another_shape_is_refused(tmp_path):
    from tensorgrad import nn

    save_model(tmp_path / "m", nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="weight"):
        load_model(tmp_path / "m", nn.Linear(4, 2))
