"""Reading the safetensors format: eight bytes of the header's length, the header (JSON), then the numbers of every Tensor.

    {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"a text": "another"}}

(https://github.com/huggingface/safetensors, section "Format".) The package of that name writes our files. It reads by mapping the
file into memory, and a file that another program cuts off meanwhile then ends the whole process, without an error. Here
every byte is read where it is wanted, into the memory that keeps it, from any file that is open.
"""

from __future__ import annotations

import json
from typing import IO, Any, NamedTuple

import numpy

from tensorgrad.io.errors import CheckpointError
from tensorgrad.io.opening import fill
from tensorgrad.io.unpickle import Bounded, brief

HEADER = "__metadata__"  # safetensors' own name for the header's metadata, so no Tensor's
NUMPYS = {"BOOL": "?", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
NUMPYS |= {f"{kind}{bits}": f"<{kind.lower()}{bits // 8}" for kind in "IU" for bits in (8, 16, 32, 64)}
DTYPES = "bool, int8 to int64, uint8 to uint64, float16, float32 and float64"
_LIE_AS = {"BF16": "<u2", "BOOL": "u1"}  # what is converted when it is read
_MOST_HEADER = 100_000_000  # bytes, as the format says


class _Entry(NamedTuple):
    """What the header says of a Tensor: its bytes are those from begin to end, counted from the header's end."""

    begin: int
    end: int
    name: str
    kind: str
    shape: tuple[int, ...]


def read(file: IO[bytes], origin: str) -> tuple[dict[str, numpy.ndarray], dict[str, str]]:
    """The arrays by name and the metadata of the file that begins here and ends with it; bfloat16 comes as float32.

    Raises CheckpointError where the file is anything but whole, or has dtypes and shapes that no array has.
    """
    source = Bounded(file)
    header = _header(source, origin)
    metadata = header.pop(HEADER, {})
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise _not_whole(origin, "its metadata are not texts")
    entries = sorted(_entry(name, said, origin) for name, said in header.items())
    here = 0
    for entry in entries:  # before any memory is asked for
        if entry.begin != here:
            raise _not_whole(origin, f"the bytes of {brief(entry.name)} do not begin where others end")
        here = entry.end
    if here != source.left():
        raise _not_whole(origin, f"its numbers take {here} bytes and it has {source.left()}")
    found = {entry.name: _read_array(source, entry, origin) for entry in entries}
    return {name: found[name] for name in header}, metadata


def _header(source: Bounded, origin: str) -> dict[str, Any]:
    length = int.from_bytes(source.read(8), "little")
    if length > min(source.left(), _MOST_HEADER):
        raise _not_whole(origin, f"its header would have {length} bytes")
    try:
        header = json.loads(source.read(length), object_pairs_hook=_without_twins, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _not_whole(origin, f"its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise _not_whole(origin, "its header is no JSON object")
    return header


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, which may say of no name two things: other readers could take the other one."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no number")


def _entry(name: str, said: Any, origin: str) -> _Entry:
    """What is said of a Tensor, if it makes sense."""
    if not isinstance(said, dict) or not said.keys() >= {"dtype", "shape", "data_offsets"}:
        raise _not_whole(origin, f"it does not say what {brief(name)} is")
    kind, shape, places = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(kind, str):
        raise _not_whole(origin, f"{brief(name)} has the dtype {brief(kind)}")
    if not _are_counts(shape) or not _are_counts(places) or len(places) != 2 or places[0] > places[1]:
        raise _not_whole(origin, f"{brief(name)} has the shape {brief(shape)} and the place {brief(places)}")
    if kind not in NUMPYS and kind != "BF16":
        raise CheckpointError(
            f"load: {brief(name)} in {origin} has the dtype {kind:.40}; a file can hold {DTYPES}, bfloat16"
        )
    count = numpy.dtype(_LIE_AS.get(kind) or NUMPYS[kind]).itemsize
    for n in shape:
        count *= n
    if places[1] - places[0] != count:
        raise _not_whole(origin, f"{brief(name)} of {kind} and shape {brief(shape)} has {places[1] - places[0]} bytes")
    return _Entry(places[0], places[1], name, kind, tuple(shape))


def _are_counts(numbers: Any) -> bool:
    return isinstance(numbers, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in numbers)


def _read_array(source: Bounded, entry: _Entry, origin: str) -> numpy.ndarray:
    values = numpy.empty(entry.end - entry.begin, numpy.uint8)
    if not fill(source.file, values):
        raise _not_whole(origin, f"it was cut off while {brief(entry.name)} was read")
    values = values.view(_LIE_AS.get(entry.kind) or NUMPYS[entry.kind])
    if entry.kind == "BF16":  # the upper half of a float32
        values = (values.astype(numpy.uint32) << 16).view(numpy.float32)
    elif entry.kind == "BOOL":
        if values.max(initial=0) > 1:  # NumPy would count it twice
            raise _not_whole(origin, f"{brief(entry.name)} of BOOL holds bytes that are neither 0 nor 1")
        values = values.view("?")
    try:
        return values.reshape(entry.shape).astype(values.dtype.newbyteorder("="), copy=False)
    except ValueError as error:  # more dimensions than NumPy has, or a 0 among sizes whose product it cannot count
        raise CheckpointError(
            f"load: {brief(entry.name)} in {origin} has a shape that no array has ({error})"
        ) from error


def _not_whole(origin: str, reason: str) -> CheckpointError:
    return CheckpointError(
        f"load: {origin} is no whole safetensors file ({reason}): damaged, cut off, or of another kind"
    )
