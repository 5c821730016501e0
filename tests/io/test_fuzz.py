"""Every reader on files made to break it: an error of its own or a value, nothing run, no time, no memory.

The inputs are whole files that hypothesis damages (bytes changed, cut out, doubled, put in, numbers of the header made
huge) and bytes of its own invention. The default run is short; `-m slow` is the count that docs/reliability.md tells.
"""

import gzip
import io
import json
import struct
import sys
import time
import tracemalloc
import zipfile

import damage
import numpy as np
import pytest
from torch_bytes import SIX, items, old, storage, tensor, value, zipped

import tensorgrad as tg
from tensorgrad.data.idx import IdxError, read_idx
from tensorgrad.io import checkpoint
from tensorgrad.io.errors import CheckpointError
from tensorgrad.io.files import read_npz


def safetensors_file():
    path = io.BytesIO()
    header = {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"a": "b"}}
    text = json.dumps(header).encode()
    path.write(struct.pack("<Q", len(text)) + text + np.arange(6, dtype="<f4").tobytes())
    return path.getvalue()


def nested_file(folder):
    tg.save(
        {"epoch": 3, "state": {0: {"m": tg.ones(2)}, "betas": (0.9, float("inf"))}, "raw": b"ab"}, folder / "nested"
    )
    return (folder / "nested").read_bytes()


def npz_file(compressed=False, **more):
    file = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(file, w=np.arange(6.0), n=np.array(3), **more)
    return file.getvalue()


def npy_file():
    file = io.BytesIO()
    np.save(file, np.arange(6, dtype="f4").reshape(2, 3))
    return file.getvalue()


BODY = items(
    w=tensor(), h=tensor(storage(kind="BFloat16Storage", key="1", count=2), shape=(2,), strides=(1,)), e=value(3)
)
TWO = {**SIX, "1": bytes(4)}
FILES = {
    "safetensors": safetensors_file(),
    "npz": npz_file(),
    "npz, compressed": npz_file(True),
    "npz with texts": npz_file(names=["cat", "dog"]),
    "npy": npy_file(),
    "PyTorch's zip": zipped(BODY, TWO),
    "PyTorch's old": old(BODY, SIX, order=["0", "1"]) + struct.pack("<q", 2) + bytes(4),
    "nested": b"",  # made by the first test that asks
    "idx": struct.pack(">HBBII", 0, 8, 2, 3, 4) + bytes(12),
    "idx, gzipped": gzip.compress(struct.pack(">HBBII", 0, 8, 2, 3, 4) + bytes(12), mtime=0),
}


def read(name, content, path):
    """What comes out, from memory or from a file; an error of the reader's own is fine, any other goes through."""
    try:
        if name.startswith("idx"):
            path.write_bytes(content)
            return read_idx(path)
        if name == "npz with texts":
            path.write_bytes(content)
            return read_npz(path)
        return tg.load(io.BytesIO(content))
    except (CheckpointError, IdxError):
        return None


def total(found):
    """How many bytes of numbers a value holds."""
    if isinstance(found, dict):
        return sum(total(x) for x in found.values())
    if isinstance(found, (list, tuple)):
        return sum(total(x) for x in found)
    return getattr(found, "nbytes", 0)


def fuzz(name, path, examples):
    content = FILES[name] or nested_file(path.parent)
    return damage.fuzz(lambda data: read(name, data, path), content, examples, total)


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(name, tmp_path):
    assert fuzz(name, tmp_path / "file", 60) >= 60


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_damaged_files(name, tmp_path):
    assert fuzz(name, tmp_path / "file", 3000) >= 3000


@pytest.mark.parametrize("name", FILES)
def test_cut_off_at_every_length_and_every_bit_flipped(name, tmp_path):
    """No error but the reader's own; a whole file cut off is refused, but for what may stand behind its end."""
    content = FILES[name] or nested_file(tmp_path)
    assert read(name, content, tmp_path / "file") is not None
    for length in range(len(content)):
        assert read(name, content[:length], tmp_path / "file") is None, length
    for position in range(0, len(content), 1 + len(content) // 400):
        for bit in (0, 3, 7):
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            found = read(name, bytes(flipped), tmp_path / "file")
            assert found is None or name != "nested"  # which carries a digest


# bombs


def refused(content, match):
    """How many bytes the refusal took at most."""
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=match):
            tg.load(io.BytesIO(content))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_zip_bomb():
    """100 MB of zeros in 100 KB, in one array or in many."""
    for pieces in (1, 10):
        file = io.BytesIO()
        np.savez_compressed(file, **{f"w{i}": np.zeros(100_000_000 // pieces, "u1") for i in range(pieces)})
        content = file.getvalue()
        assert len(content) < 200_000
        assert refused(content, "zip bomb") < 5e6
    small = io.BytesIO()
    np.savez_compressed(small, w=np.zeros(1_000_000))  # what weights at their start may look like
    assert tg.load(io.BytesIO(small.getvalue()))["w"].shape == (1_000_000,)


def test_the_arrays_of_an_npz_file(tmp_path):
    """As `tensorgrad inspect --data` reads them: what NumPy's own reader would believe or run is refused."""
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.zeros((2, 1, 4, 4), "u1"), y=np.array([0, 1]), classes=np.array(["cat", "dög"]))
    found = read_npz(path)
    assert found["x"].shape == (2, 1, 4, 4) and found["classes"].tolist() == ["cat", "dög"]
    np.savez_compressed(path, x=np.zeros(100_000_000, "u1"))
    for content, match in (
        (path.read_bytes(), "zip bomb"),
        (npz_file(o=np.array([{}], dtype=object)), "must be numbers|allow_pickle"),
        (zipped(BODY, TWO), "not one of NumPy arrays"),
        (npy_file(), "zip"),
        (b"", "zip"),
    ):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=match):
            read_npz(path)
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "nowhere.npz")


def test_an_archive_that_lies_about_its_sizes():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        header = npy_file()[:128].replace(b"(2, 3)", b"(2,10)")
        archive.writestr("w.npy", header + bytes(2 * 10 * 4 + 40_000_000))
    content = bytearray(file.getvalue())
    directory = content.index(b"PK\x01\x02")
    struct.pack_into("<I", content, directory + 24, 208)  # the size it unpacks to, as the directory tells
    tracemalloc.start()
    try:
        read("npz", bytes(content), None)
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_many_tensors_of_one_storage_take_no_more_than_a_multiple():
    """Each a copy of half a megabyte, since bfloat16 has to be converted: a thousand would be half a gigabyte."""
    held = storage(kind="BFloat16Storage", count=250_000)
    body = items(**{f"w{i}": tensor(held, shape=(250_000,), strides=(1,)) for i in range(1000)})
    content = zipped(body, {"0": bytes(500_000)})
    assert refused(content, "too many copies of the same values") < 40e6


@pytest.mark.parametrize("way", ["keys of a pickle", "places of a pickle", "keys of a safetensors", "a set"])
def test_numbers_that_were_chosen_to_collide(way):
    """Multiples of 2^61 - 1 all hash to 0 in Python: to put 800,000 of them into a dict takes forty minutes."""
    numbers = [n * sys.hash_info.modulus for n in range(1, 60_000)]
    if way.endswith("a pickle"):
        if way.startswith("keys"):
            pairs = b"".join(b"\x8a\x0a" + n.to_bytes(10, "little", signed=True) + b"N" for n in numbers)
            body = b"\x80\x02}(" + pairs + b"u."
        else:
            body = b"\x80\x02]" + b"".join(b"p%d\n" % n for n in numbers) + b"."
        content = zipped(body, {})
    else:
        skeleton = {"$set": numbers} if way == "a set" else {"$dict": [[n, None] for n in numbers]}
        nested = json.dumps({"tensorgrad.nested": skeleton})
        text = json.dumps({"__metadata__": {"tensorgrad": nested}}).encode()
        content = struct.pack("<Q", len(text)) + text
    begun = time.process_time()
    assert refused(content, r"below 2\^61|in a way that no program does") < 20 * len(content)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 24]},
        {"dtype": "F32", "shape": [2**62], "data_offsets": [0, 2**64 - 4]},
        {"dtype": "F32", "shape": [6], "data_offsets": [24, 0]},
        {"dtype": "F32", "shape": [6], "data_offsets": [4, 28]},
        {"dtype": "F32", "shape": [-6], "data_offsets": [0, 24]},
        {"dtype": "X99", "shape": [6], "data_offsets": [0, 24]},
        {"shape": [6]},
        7,
    ],
)
def test_headers_of_safetensors_that_lie(entry):
    text = json.dumps({"w": entry}).encode()
    assert refused(struct.pack("<Q", len(text)) + text + bytes(24), "load") < 5e6


def test_storages_of_safetensors_that_overlap():
    entry = {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}
    text = json.dumps({"a": entry, "b": entry}).encode()
    assert refused(struct.pack("<Q", len(text)) + text + bytes(24), "load") < 5e6


@pytest.mark.parametrize("shape", [(0, 2**62, 2**40), (0, 2**62, 2), (1,) * 70], ids=["0 of many", "0 of two", "70"])
def test_shapes_that_no_array_has(tmp_path, shape):
    """A 0 among them makes any size fit the bytes that are there; NumPy refuses it all the same."""
    count = 0 if 0 in shape else 4
    text = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, count]}}).encode()
    npy = io.BytesIO()
    np.lib.format.write_array_header_1_0(npy, {"descr": "<f4", "fortran_order": False, "shape": shape})
    body = items(w=tensor(shape=shape, strides=(1,) * len(shape)))
    for content in (
        struct.pack("<Q", len(text)) + text + bytes(count),
        npy.getvalue() + bytes(count),
        zipped(body, SIX),
        old(body, SIX),
    ):
        assert refused(content, "load") < 5e6
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(CheckpointError, match="load"):
            tg.load(tmp_path / "file")


def test_a_header_that_claims_to_be_huge():
    assert refused(struct.pack("<Q", 2**63) + b"{" + bytes(100), "load") < 5e6
    with pytest.raises(CheckpointError):
        checkpoint.loads(struct.pack("<Q", 2**40) + b"{}")


@pytest.mark.parametrize("name", ["../../outside", "/outside", "..\\outside", "a/../../outside", "C:\\outside"])
def test_names_that_lead_out_of_the_folder_are_only_names(tmp_path, monkeypatch, name):
    """Readers unpack nothing to the disk: such a name is a key of the dict, or refused."""
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.npy", npy_file())
    tg.load(io.BytesIO(file.getvalue()))
    body = items(w=tensor(storage(key=name)))
    for content in (zipped(body, {name: SIX["0"]}), zipped(body, {"0": SIX["0"]}), old(body, {name: SIX["0"]})):
        read("zip", content, None)
    assert [path.name for path in tmp_path.iterdir()] == ["in"] and not list((tmp_path / "in").iterdir())
