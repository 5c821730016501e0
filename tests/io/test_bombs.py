"""Small files that ask for much work or memory in roundabout ways: each is refused at once, by name."""

from __future__ import annotations

import io
import json
import random
import struct
import sys
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from torch_bytes import MAGIC, called, name, old, storage, tensor, value, whole, zipped

import tensorgrad as tg
from tensorgrad.io.errors import CheckpointError
from tensorgrad.io.unpickle import brief


def refused(content, match, most):
    """It is, in a second of work and this many bytes."""
    begun = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match=match):
            tg.load(io.BytesIO(content))
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < 5


# a tuple that holds another one twice, which does so too: 100 bytes, and a text of 2^25 tuples wherever it is told

DOUBLED = value(()) + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(25))
NONE, ONE = value(0), value((1,))


FLOATS = name("torch", "FloatStorage")


def made(offset=NONE, shape=ONE, strides=ONE):
    return called(
        name("torch._utils", "_rebuild_tensor_v2"), storage(), offset, shape, strides, value(False), value(())
    )


def numpy_array(shape):
    array = called(name("numpy._core.multiarray", "_reconstruct"), name("numpy", "ndarray"), value((0,)), value(b"b"))
    dtype = called(name("numpy", "dtype"), value("i4"), value(False), value(True))
    return array + b"(" + value(1) + shape + dtype + value(False) + value(b"abcd") + b"tb"


DOUBLING = {
    "a shape": (zipped(made(shape=DOUBLED)), "must be whole numbers"),
    "strides": (zipped(made(strides=DOUBLED)), "must be whole numbers"),
    "an offset": (zipped(made(offset=DOUBLED)), "do not fit together"),
    "a reference": (zipped(DOUBLED + b"Q"), "is no storage"),
    "a storage's name": (zipped(called(b"", value("storage"), FLOATS, DOUBLED, NONE, NONE)[:-1] + b"Q"), "described"),
    "a device": (zipped(called(name("torch", "device"), DOUBLED)), "a device is described as"),
    "a dtype": (zipped(called(name("numpy", "dtype"), DOUBLED)), "must be numbers"),
    "an array's shape": (zipped(numpy_array(DOUBLED)), "an array has the shape"),
    "a version": (whole(value(MAGIC)) + whole(DOUBLED), "has version"),
    "the names of storages": (old(value(1), {})[: -len(whole(value([])))] + whole(b"]" + DOUBLED + b"a"), "are not those"),
}  # fmt: skip


@pytest.mark.parametrize("where", DOUBLING)
def test_tuples_that_double_are_not_told_in_full(where):
    refused(*DOUBLING[where], 1 << 20)


@pytest.mark.parametrize(
    "told, text",
    [
        (1 << 100, "a whole number of 101 bits"),
        ((1, (2, 3), "x" * 100), f"(1, a tuple, '{'x' * 60}')"),
        (list(range(20)), "(0, 1, 2, 3, 4, 5, 6, 7, ...)"),
        ([True, None, 0.5, b"a"], "(True, None, 0.5, b'a')"),
    ],
)
def test_what_errors_tell_of_values(told, text):
    assert brief(told) == text


def test_sizes_of_a_million_bytes_are_not_multiplied():
    huge = b"\x8b" + struct.pack("<I", 1 << 20) + b"\x7f" * (1 << 20) + b"q\xc8"
    many = b"(" + huge + b"h\xc8" * 63 + b"t"
    for body in (made(shape=many, strides=value((1,) * 64)), numpy_array(many)):
        refused(zipped(body), "whole numbers|has the shape", 8 << 20)


# keys that were chosen to collide


def multiples(count):
    return [n * sys.hash_info.modulus for n in range(1, count)]


def pairs_of_one_hash(count):
    """Pairs whose hashes are equal: Python's for tuples (Objects/tupleobject.c) is solved for the second number."""
    prime1, prime2, prime5 = 11400714785074694791, 14029467366897019727, 2870177450012600261
    mask = (1 << 64) - 1
    draw = random.Random(0)
    found = []
    while len(found) < count:
        first = draw.randrange(sys.hash_info.modulus)
        lane = (prime5 + first * prime2) & mask
        lane = ((lane << 31 | lane >> 33) & mask) * prime1 & mask
        second = (7 - lane) * pow(prime2, -1, 1 << 64) & mask
        second -= (second >> 63) << 64
        if abs(second) < sys.hash_info.modulus:
            found.append((first, second))
    return found


def number(n):
    return b"\x8a\x0a" + n.to_bytes(10, "little", signed=True)


def listed(parts):
    return b"](" + b"".join(parts) + b"e"


def in_skeleton(skeleton):
    text = json.dumps({"__metadata__": {"tensorgrad": json.dumps({"tensorgrad.nested": skeleton})}}).encode()
    return struct.pack("<Q", len(text)) + text


PAIRS = pairs_of_one_hash(20_000)
TUPLES = [number(a) + number(b) + b"\x86" for a, b in PAIRS]
COLLIDING = {
    "a set": zipped(called(name("builtins", "set"), listed(map(number, multiples(60_000)))), {}),
    "an OrderedDict": zipped(
        called(name("collections", "OrderedDict"), listed(number(n) + b"N\x86" for n in multiples(60_000))), {}
    ),
    "pairs in a dict": zipped(b"}(" + b"".join(pair + b"N" for pair in TUPLES) + b"u", {}),
    "pairs in a set": zipped(b"\x8f(" + b"".join(TUPLES) + b"\x90", {}),
    "pairs in safetensors": in_skeleton({"$dict": [[{"$tuple": list(pair)}, None] for pair in PAIRS]}),
}


@pytest.mark.parametrize("where", COLLIDING)
def test_keys_that_were_chosen_to_collide(where):
    """Sixty thousand of them take minutes in a dict, and a million days."""
    refused(COLLIDING[where], r"below 2\^61|no list of pairs|collide", 40 * len(COLLIDING[where]))


@pytest.mark.skipif(sys.hash_info.width != 64, reason="the hash is solved for 64 bits")
def test_the_pairs_do_collide():
    assert len({hash(pair) for pair in PAIRS}) == 1 and len(set(PAIRS[:100])) == 100


def test_many_pairs_that_were_not_chosen_are_fine(tmp_path):
    state = {(i, j): i for i in range(100) for j in range(100)}
    tg.save({"many": state, "again": [state] * 3}, tmp_path / "a")
    assert tg.load(tmp_path / "a")["many"] == state


# very many small things


MANY = {
    "sets": b"(" + b"\x8f" * 1_000_000 + b"l",
    "places in the memo": b"]" + b"\x94" * 1_000_000,
    "Tensors of one storage": name("torch._utils", "_rebuild_tensor_v2") + b"q\xc80("
    + b"(" + storage() + value(0) + ONE + value((5,)) + value(False) + value(()) + b"tq\xc9" + b"h\xc8h\xc9R" * 130_000 + b"l",
}  # fmt: skip


@pytest.mark.parametrize("what", MANY)
def test_very_many_small_things(what):
    """A byte makes a set of 216: a file of 100 MB took 22 GB."""
    content = zipped(MANY[what])
    begun = time.process_time()
    with pytest.raises(CheckpointError, match="so many small things"):
        tg.load(io.BytesIO(content))
    assert time.process_time() - begun < 20


def test_a_checkpoint_of_many_tensors_is_no_bomb():
    body = b"](" + tensor() * 5000 + b"e"
    assert len(tg.load(io.BytesIO(zipped(body)))) == 5000


@pytest.mark.parametrize("depth, fine", [(100, True), (100_000, False)])
def test_values_within_values_on_their_way_to_a_device(depth, fine):
    content = zipped(b"]" * depth + b"a" * (depth - 1), {})
    tg.load(io.BytesIO(content))
    if fine:
        assert isinstance(tg.load(io.BytesIO(content), map_location="cpu"), list)
    else:
        with pytest.raises(CheckpointError, match="nested too deep"):
            tg.load(io.BytesIO(content), map_location="cpu")


def test_a_list_that_holds_itself_is_moved():
    found = tg.load(io.BytesIO(zipped(b"]q\xc8(h\xc8" + tensor() + b"e")), map_location="cpu")
    assert found[0] is found and found[1].shape == (2, 3)


# NumPy's files


def npy(header, content=bytes(100)):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header.encode() + b"\n" + content


def npz(members, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for member in members:
            archive.writestr(member, npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", bytes(8)))
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_numpy_would_not_write():
    refused(npz(["a.npy", "a.npy"]), "holds 'a' twice", 1 << 20)
    for compression in (zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        content = bytearray(npz(["a.npy"], compression))
        for damage in (0, 1):  # LZMAError and an OSError without a number came out of the damaged ones
            content[50] ^= damage
            refused(bytes(content), "packed in a way that NumPy does not", 1 << 20)


@pytest.mark.parametrize("header", ["(" * 9000, "{'shape':(" + "-" * 9000 + "1,)}", "{'shape':" + "(" * 90 + ",)" * 90])
def test_headers_of_many_levels(header):
    refused(npy(header), "is no whole NumPy array", 8 << 20)


def test_the_length_of_a_header_is_not_believed(tmp_path):
    """From a file on the disk Python makes room for all that is asked for, here four gigabytes."""
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", 0xFFFFFFF0) + b"{'descr'")
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="a header of 4294967280 bytes"):
            tg.load(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_dtypes_of_several_numbers_are_no_numbers():
    for text in ("i,i", "i4,O", "b,", "f,", "i8)", "", "V4", "M8", "f3"):
        refused(zipped(called(name("numpy", "dtype"), value(text))), "must be numbers", 1 << 20)


def test_bytes_that_are_neither_true_nor_false():
    """NumPy would count a byte of 2 as two."""
    header = "{'descr': '|b1', 'fortran_order': False, 'shape': (4,)}"
    found = tg.load(io.BytesIO(npy(header, bytes([0, 1, 2, 255]))))
    assert found.array.view(np.uint8).tolist() == [0, 1, 1, 1]
    text = json.dumps({"w": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}).encode()
    assert tg.load(io.BytesIO(struct.pack("<Q", len(text)) + text + b"\1\0"))["w"].tolist() == [True, False]
    refused(struct.pack("<Q", len(text)) + text + b"\2\0", "neither 0 nor 1", 1 << 20)
