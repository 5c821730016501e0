"""Checkpoints: Tensors by name and what is to be known about them, in one safetensors file.

safetensors is a plain format (a JSON header, then the numbers): reading a file from a stranger runs nobody's code, and
many other programs read it. The metadata stands in the header as JSON, under the key 'tensorgrad', and beside it a digest
of all that the file holds, which is compared when it is read: a flipped bit is an error, not another number.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy
import safetensors
import safetensors.numpy

from tensorgrad.backend import backend_of
from tensorgrad.errors import DtypeError, OperandError, TensorgradError
from tensorgrad.io.atomic import replacing
from tensorgrad.io.errors import CheckpointError
from tensorgrad.tensor import Tensor

_KEY = "tensorgrad"  # of our metadata, in the header
_DIGEST = "tensorgrad.sha256"  # of the names, dtypes, shapes and values in the order of the names, then of the metadata
_HEADER = "__metadata__"  # safetensors' own name for the header's metadata, so no Tensor's
_NUMPYS = {"BOOL": "?", "F16": "<f2", "F32": "<f4", "F64": "<f8"}
_NUMPYS |= {f"{kind}{bits}": f"<{kind.lower()}{bits // 8}" for kind in "IU" for bits in (8, 16, 32, 64)}
_DTYPES = "bool, int8 to int64, uint8 to uint64, float16, float32 and float64"


class Checkpoint(NamedTuple):
    """What a file holds: NumPy arrays by name, and the metadata."""

    tensors: dict[str, numpy.ndarray]
    metadata: dict[str, Any]


def save(path: str | os.PathLike[str], tensors: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Write Tensors or arrays by name, from any device, and metadata (anything that JSON can say) to `path`.

    The file is there entirely or not at all, and if saving fails, the one of before stays (see `replacing`).

    Dimensions and values come back as they were, the layout in memory does not. Raises OperandError for a name or value
    of a wrong type, DtypeError for numbers that safetensors cannot hold, and OSError where the file cannot be written.

    >>> import tempfile, tensorgrad
    >>> path = os.path.join(tempfile.mkdtemp(), "example.safetensors")
    >>> save(path, {"w": tensorgrad.ones(2, 3)}, {"epoch": 4})
    >>> tensors, metadata = load(path)
    >>> tensors["w"].shape, metadata
    ((2, 3), {'epoch': 4})
    """
    arrays = {name: _on_host(name, value) for name, value in tensors.items()}
    try:
        text = json.dumps(dict(metadata or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OperandError(
            f"save: metadata is no JSON ({error}); use dicts, lists, texts and finite numbers"
        ) from error
    content = safetensors.numpy.save(arrays, {_KEY: text, _DIGEST: digest(arrays, text)})
    with replacing(path) as draft, draft.open("xb") as file:
        file.write(content)


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a file that `save`, or any other program that writes safetensors, has written.

    The metadata of other programs comes as the strings they wrote, and their bfloat16 as float32. Raises CheckpointError
    for a file that is damaged, cut off or something else, OSError where it cannot be read.
    """
    try:
        with open(path, "rb"):
            pass  # Python's errors, unlike those of safetensors, say what was wrong with which file
        with safetensors.safe_open(os.fspath(path), framework="np") as file:
            header = file.metadata() or {}
            known = all(file.get_slice(name).get_dtype() in _NUMPYS for name in file.keys())
            tensors = {name: file.get_tensor(name) for name in file.keys()} if known else None
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or 0, f"cannot read the checkpoint: {reason}", os.fspath(path)) from error
    except (safetensors.SafetensorError, ValueError) as error:  # the latter for shapes that no array has
        raise _not_whole(os.fspath(path), error) from error
    if tensors is None:
        with open(path, "rb") as whole:
            return loads(whole.read(), os.fspath(path))
    return _checked(tensors, header, os.fspath(path))


def loads(content: bytes, origin: str = "the file") -> Checkpoint:
    """As `load`, of the content of a file."""
    try:
        entries = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        raise _not_whole(origin, error) from error
    tensors = {name: _array(name, entry, origin) for name, entry in entries}
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length]).get(_HEADER, {})  # which is whole, or load had refused it
    return _checked(tensors, header, origin)


def _array(name: str, entry: Mapping[str, Any], origin: str) -> numpy.ndarray:
    """The numbers of an entry in a file, in memory of their own; bfloat16, the upper half of a float32, as float32."""
    kind = entry["dtype"]
    if kind == "BF16":
        halves = numpy.frombuffer(entry["data"], "<u2").astype(numpy.uint32)
        values: numpy.ndarray = (halves << 16).view(numpy.float32)
    elif kind in _NUMPYS:
        values = numpy.frombuffer(bytearray(entry["data"]), _NUMPYS[kind])
    else:
        raise CheckpointError(f"load: {name!r} in {origin} has the dtype {kind}; a file can hold {_DTYPES}, bfloat16")
    try:
        return values.reshape(entry["shape"])
    except ValueError as error:  # more dimensions than NumPy has, or a 0 among sizes whose product it cannot count
        raise CheckpointError(f"load: {name!r} in {origin} has a shape that no array has ({error})") from error


def _not_whole(origin: str, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"load: {origin} is no whole safetensors file ({error}): damaged, cut off, or of another kind"
    )


def digest(tensors: Mapping[str, numpy.ndarray], text: str) -> str:
    """SHA-256 of arrays by name (each contiguous) and of a text, in hexadecimal."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        dtype = array.dtype.newbyteorder("<")  # as safetensors stores it
        found.update(json.dumps([name, dtype.str, array.shape]).encode())
        found.update(numpy.ascontiguousarray(array, dtype).reshape(-1).view(numpy.uint8).data)
    found.update(text.encode())
    return found.hexdigest()


def _checked(tensors: dict[str, numpy.ndarray], header: Mapping[str, str], origin: str) -> Checkpoint:
    """The content of a file, after its digest was compared; files of other programs, and older ones, have none."""
    ours = {key for key in header if key.casefold().startswith(_KEY)}
    if _DIGEST in ours or (len(header) > 1 and _KEY in ours):
        if set(header) != {_KEY, _DIGEST} or header[_DIGEST] != digest(tensors, header[_KEY]):
            raise CheckpointError(
                f"load: the content of {origin} is not what was saved (its digest differs): damaged, or changed by hand"
            )
    return Checkpoint(tensors, _read_metadata(header, origin))


def _read_metadata(header: Mapping[str, str], origin: str) -> dict[str, Any]:
    """Ours is JSON under a key of its own; that of other programs comes as the strings they wrote."""
    if _KEY not in header:
        return dict(header)
    try:
        metadata = json.loads(header[_KEY])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"load: the metadata in {origin} is no JSON ({error}); it is damaged") from error
    if not isinstance(metadata, dict):
        raise CheckpointError(f"load: the metadata in {origin} is {metadata!r}; it must be a JSON object")
    return metadata


def save_model(path: str | os.PathLike[str], model: Any, metadata: Mapping[str, Any] | None = None) -> None:
    """Write the parameters and buffers of a module, its `state_dict()`, to `path`; see `save`."""
    save(path, model.state_dict(), metadata)


def load_model(path: str | os.PathLike[str], model: Any, strict: bool = True) -> dict[str, Any]:
    """Read the parameters and buffers of a module from `path` into it; returns the metadata.

    With `strict`, names that are missing or superfluous are an error of `load_state_dict`.
    """
    tensors, metadata = load(path)
    model.load_state_dict({name: Tensor(array) for name, array in tensors.items()}, strict=strict)
    return metadata


def _on_host(name: Any, value: Any) -> numpy.ndarray:
    """The value as a NumPy array whose numbers lie in the order of its dimensions: safetensors writes the memory as it
    lies and would silently mix up the numbers of any other (a transpose, a channels-last weight)."""
    if not isinstance(name, str) or name == _HEADER:
        raise OperandError(f"save: a Tensor has the name {name!r}; use strings other than {_HEADER!r}")
    array = value.array if isinstance(value, Tensor) else value
    try:
        host = backend_of(array).to_host(array)
    except TensorgradError as error:
        raise OperandError(f"save: {name!r} is a {type(value).__name__}; use a Tensor or an array") from error
    host = numpy.asarray(host, order="C")  # as ascontiguousarray, which would give a 0-d array a dimension
    if host.dtype.kind not in "biuf" or host.dtype.itemsize > 8:
        raise DtypeError(f"save: {name!r} has dtype {host.dtype}; a file can hold {_DTYPES}")
    return host
