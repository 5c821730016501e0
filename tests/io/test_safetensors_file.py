"""Our own reader of safetensors against the package of that name: it reads what that reads, and refuses what that refuses."""

from __future__ import annotations

import io
import json
import os
import struct

import damage
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import HealthCheck, given, settings

from tensorgrad.io import CheckpointError
from tensorgrad.io.safetensors_file import read

ARRAYS = {
    "w": np.arange(6, dtype="f4").reshape(2, 3),
    "mask": np.array([True, False]),
    "n": np.array(7),
    "": np.zeros((0, 3), "f8"),
    "half": np.ones(3, "f2"),
}
CONTENT = safetensors.numpy.save(ARRAYS, {"a": "b", "ö": "\U0001f600"})
#: what is refused here alone, on purpose
STRICTER = "stands there twice|neither 0 nor 1|no array has|has the dtype"


def written(header, content=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def compare(data):
    """Both give the same, or neither anything."""
    try:
        theirs = {name: bytes(entry["data"]) for name, entry in safetensors.deserialize(data)}
    except safetensors.SafetensorError:
        theirs = None
    try:
        ours, _ = read(io.BytesIO(data), "x")
    except CheckpointError as error:
        assert theirs is None or any(reason in str(error) for reason in STRICTER.split("|")), str(error)
        return False
    assert theirs is not None
    assert {name: array.tobytes() for name, array in ours.items()} == theirs
    return True


def test_a_whole_file_comes_as_it_is():
    found, metadata = read(io.BytesIO(CONTENT), "x")
    assert compare(CONTENT) and metadata == {"a": "b", "ö": "\U0001f600"}
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype and found[name].flags.writeable
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("examples", [300, pytest.param(20_000, marks=pytest.mark.slow)])
def test_damaged_files(examples):
    tried = 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=os.environ.get("TENSORGRAD_FUZZ_SEED") is None,
        suppress_health_check=list(HealthCheck),
    )
    @given(damage.damaged(CONTENT))
    def one(data):
        nonlocal tried
        tried += 1
        compare(data)

    one()
    assert tried >= examples


PLACE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
OTHER = {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}
HEADERS = {
    "nothing": ({}, b"", True),
    "more than is known": ({"w": {**PLACE, "later": 1}}, bytes(4), True),
    "spaces behind": (json.dumps({"w": PLACE}).encode() + b"   ", bytes(4), True),
    "in another order": ({"b": OTHER, "a": PLACE}, bytes(8), True),
    "empty ones in one place": ({n: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for n in "ab"}, b"", True),
    "a gap": ({"a": OTHER}, bytes(8), False),
    "bytes left over": ({"a": PLACE}, bytes(5), False),
    "no object": ([1], b"", False),
    "metadata that are no texts": ({"__metadata__": {"a": 1}}, b"", False),
    "metadata that are a text": ({"__metadata__": "a"}, b"", False),
    "a dtype that is none": ({"a": {**PLACE, "dtype": ["F32"]}}, bytes(4), False),
    "numbers with a fraction": ({"a": {**PLACE, "shape": [1.0]}}, bytes(4), False),
    "true for one": ({"a": {**PLACE, "shape": [True]}}, bytes(4), False),
    "below zero": ({"a": {**PLACE, "shape": [-1, -1]}}, bytes(4), False),
    "three places": ({"a": {**PLACE, "data_offsets": [0, 4, 4]}}, bytes(4), False),
    "nan": (b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', bytes(4), False),
    "many digits": (b'{"a":{"dtype":"F32","shape":[' + b"9" * 10_000 + b'],"data_offsets":[0,4]}}', bytes(4), False),
    "many levels": (b'{"a":' + b"[" * 100_000, b"", False),
    "no Unicode": (b'{"\xff":1}', b"", False),
    "one name twice": (json.dumps({"a": PLACE}).encode()[:-1] + b',"a":' + json.dumps(PLACE).encode() + b"}", bytes(4), False),
}  # fmt: skip


@pytest.mark.parametrize("what", HEADERS)
def test_headers(what):
    header, content, fine = HEADERS[what]
    assert compare(written(header, content)) == fine
