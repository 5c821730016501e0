"""The reader of IDX files: every type, plain and gzipped, and all the ways a file can lie."""

import gzip
import hashlib
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tensorgrad.data.idx import IdxError, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def encode(array, code=None, shape=None):
    """IDX bytes of an array; the header can be made to lie."""
    shape = array.shape if shape is None else shape
    code = CODES[array.dtype.str[1:]] if code is None else code
    header = struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture(params=["plain", "gzip"])
def write(request, tmp_path):
    def write(content, name="file"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if request.param == "gzip" else content)
        return path

    return write


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 5)])
def test_reads_every_type(write, kind, shape):
    values = np.random.default_rng(0).integers(-100, 100, shape).astype(kind)
    array = read_idx(write(encode(values)))
    assert array.dtype == np.dtype(kind) and array.dtype.isnative
    assert array.flags.writeable
    np.testing.assert_array_equal(array, values)


def test_a_header_written_by_hand(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(bytes([0, 0, 0x0B, 1, 0, 0, 0, 2, 0x01, 0x02, 0xFF, 0xFF]))
    assert read_idx(path).tolist() == [258, -1]


ARRAY = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.mark.parametrize(
    "content, text",
    [
        (b"", "has 0 bytes"),
        (b"\0\0\x08", "has 3 bytes"),
        (b"\x01" + encode(ARRAY)[1:], "begins with 01 00 08 02"),
        (encode(ARRAY, code=0x0A), "begins with 00 00 0a 02"),
        (b"\0\0\x08\0", "declares 0 dimensions"),
        (b"\0\0\x08\xff" + bytes(4 * 255), "declares 255 dimensions"),
        (encode(ARRAY)[:9], "ends within its header: 9 bytes, needed 12"),
        (encode(ARRAY)[:-1], "holds 11 bytes of numbers; its shape (3, 4) of uint8 needs 12"),
        (encode(ARRAY) + b"x", "goes on after the 12 bytes"),
        (encode(ARRAY, code=0x0C), "needs 48"),
    ],
)
def test_refuses_what_is_not_right(write, content, text):
    path = write(content, "broken-file")
    with pytest.raises(IdxError) as caught:
        read_idx(path)
    assert str(path) in str(caught.value) and text in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_digest_of_the_uncompressed_bytes(write):
    content = encode(ARRAY)
    right = hashlib.sha256(content).hexdigest()
    np.testing.assert_array_equal(read_idx(write(content), sha256=right), ARRAY)
    changed = content[:-1] + b"\x63"
    with pytest.raises(IdxError, match=f"is {hashlib.sha256(changed).hexdigest()}, needed {right}"):
        read_idx(write(changed), sha256=right)
    changed_header = encode(ARRAY, shape=(4, 3))
    with pytest.raises(IdxError, match="sha256"):
        read_idx(write(changed_header), sha256=right)


@pytest.mark.parametrize("cut", [3, 15, -1, -5])
def test_a_gzip_stream_cut_off_or_damaged(tmp_path, cut):
    whole = gzip.compress(encode(np.random.default_rng(0).integers(0, 255, (50, 50)).astype(np.uint8)))
    path = tmp_path / "cut.gz"
    path.write_bytes(whole[:cut])
    with pytest.raises(IdxError, match=r"cut\.gz"):
        read_idx(path)
    damaged = bytearray(whole)
    damaged[-6] ^= 0xFF  # in the checksum: the numbers themselves unpack
    path.write_bytes(damaged)
    with pytest.raises(IdxError, match="damaged"):
        read_idx(path)


def peak_of(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_gzip_bomb_takes_no_memory(tmp_path):
    bomb = tmp_path / "bomb.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write(encode(ARRAY))
        for _ in range(256):
            file.write(bytes(1 << 20))

    def read():
        with pytest.raises(IdxError, match="goes on after"):
            read_idx(bomb)

    assert peak_of(read) < 8 << 20  # of 256 MB


def test_a_declared_size_takes_no_memory_before_it_is_there(write):
    huge = encode(ARRAY, shape=(2**31 - 1, 1))

    def read():
        with pytest.raises(IdxError, match=r"holds 12 bytes|at most 16777216 are accepted"):
            read_idx(write(huge), max_bytes=2**32)

    assert peak_of(read) < 8 << 20
    with pytest.raises(IdxError, match="at most 1000 are accepted"):
        read_idx(write(huge), max_bytes=1000)
    overflow = encode(ARRAY, shape=(2**32 - 1,) * 3)  # 2^96 bytes
    with pytest.raises(IdxError, match="are accepted"):
        read_idx(write(overflow))


def test_sizes_that_no_array_has(write):
    """One of them is 0, so there is nothing to read; but NumPy does not count so far."""
    with pytest.raises(IdxError, match="which no array has"):
        read_idx(write(encode(ARRAY[:0], shape=(0, 2**32 - 1, 2**32 - 1))))


def test_a_missing_file_is_the_system_s_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nothing")


SOUND = struct.pack(">HBBIII", 0, 8, 3, 5, 6, 7) + bytes(range(210))
FORMS = {"plain": SOUND, "gzipped": gzip.compress(SOUND, mtime=0)}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzzed_files_are_read_or_refused(tmp_path, data):
    """Cut off at any length, with bytes changed or added: an array no larger than the file tells, or an IdxError."""
    content = bytearray(FORMS[data.draw(st.sampled_from(sorted(FORMS)))])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content += data.draw(st.binary(max_size=3))
    path = tmp_path / "fuzz"
    path.write_bytes(content)
    try:
        assert read_idx(path, max_bytes=1 << 20).nbytes <= len(SOUND)
    except IdxError as error:
        assert "fuzz" in str(error)
    try:
        checked = read_idx(path, max_bytes=1 << 20, sha256=hashlib.sha256(SOUND).hexdigest())
        np.testing.assert_array_equal(checked.ravel(), np.arange(210))
    except IdxError as error:
        assert "fuzz" in str(error)
