"""Checkpoints: Tensors by name and what is to be known about them, in one safetensors file.

safetensors is a plain format (a JSON header, then the numbers): reading a file from a stranger runs nobody's code, and
many other programs read it. The metadata stands in the header as JSON, under the key 'tensorgrad', and beside it a digest
of all that the file holds, which is compared when it is read: a flipped bit is an error, not another number.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from typing import IO, Any, NamedTuple

import numpy
import safetensors.numpy

from tensorgrad.backend import backend_of
from tensorgrad.dtypes import is_bfloat16
from tensorgrad.errors import DtypeError, OperandError, TensorgradError
from tensorgrad.io import safetensors_file
from tensorgrad.io.atomic import replacing
from tensorgrad.io.errors import CheckpointError
from tensorgrad.io.opening import opened
from tensorgrad.io.safetensors_file import DTYPES, HEADER
from tensorgrad.tensor import Tensor

_KEY = "tensorgrad"  # of our metadata, in the header
_DIGEST = "tensorgrad.sha256"  # of the names, dtypes, shapes and values in the order of the names, then of the metadata


class Checkpoint(NamedTuple):
    """What a file holds: NumPy arrays by name, and the metadata."""

    tensors: dict[str, numpy.ndarray]
    metadata: dict[str, Any]


def save(path: str | os.PathLike[str], tensors: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Write Tensors or arrays by name, from any device, and metadata (anything that JSON can say) to `path`.

    The file is there entirely or not at all, and if saving fails, the one of before stays (see `replacing`).

    Dimensions and values come back as they were, the layout in memory does not, and bfloat16 as float32. Raises
    OperandError for a name or value of a wrong type, DtypeError for numbers that safetensors cannot hold, and OSError
    where the file cannot be written.

    >>> import tempfile, tensorgrad
    >>> path = os.path.join(tempfile.mkdtemp(), "example.safetensors")
    >>> save(path, {"w": tensorgrad.ones(2, 3)}, {"epoch": 4})
    >>> tensors, metadata = load(path)
    >>> tensors["w"].shape, metadata
    ((2, 3), {'epoch': 4})
    """
    content = dumps(tensors, metadata)
    with replacing(path) as draft, draft.open("xb") as file:
        file.write(content)


def dumps(tensors: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> bytes:
    """The content of the file that `save` writes."""
    arrays = {name: _on_host(name, value) for name, value in tensors.items()}
    try:
        text = json.dumps(dict(metadata or {}), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise OperandError(
            f"save: metadata is no JSON ({error}); use dicts, lists, texts and finite numbers"
        ) from error
    content: bytes = safetensors.numpy.save(arrays, {_KEY: text, _DIGEST: digest(arrays, text)})
    return content


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a file that `save`, or any other program that writes safetensors, has written.

    The metadata of other programs comes as the strings they wrote, and their bfloat16 as float32. Raises CheckpointError
    for a file that is damaged, cut off or something else, OSError where it cannot be read.
    """
    origin = os.fspath(path)
    try:
        with opened(path) as file:
            return read(file, origin)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or 0, f"cannot read the checkpoint: {reason}", origin) from error


def loads(content: bytes, origin: str = "the file") -> Checkpoint:
    """As `load`, of the content of a file."""
    return read(io.BytesIO(content), origin)


def read(file: IO[bytes], origin: str) -> Checkpoint:
    """As `load`, of a file that is open, from here to its end."""
    return _checked(*safetensors_file.read(file, origin), origin)


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
        raise CheckpointError(
            f"load: the metadata in {origin} is a {type(metadata).__name__}; it must be a JSON object"
        )
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
    if not isinstance(name, str) or name == HEADER or not _is_unicode(name):
        raise OperandError(f"save: a Tensor has the name {name!r}; use strings of Unicode other than {HEADER!r}")
    array = value.array if isinstance(value, Tensor) else value
    try:
        host = backend_of(array).to_host(array)
    except TensorgradError as error:
        raise OperandError(f"save: {name!r} is a {type(value).__name__}; use a Tensor or an array") from error
    host = numpy.asarray(host, order="C")  # as ascontiguousarray, which would give a 0-d array a dimension
    if is_bfloat16(host.dtype):
        host = host.astype(numpy.float32)  # the same numbers, and what reading gives of other programs' bfloat16
    if host.dtype.kind not in "biuf" or host.dtype.itemsize > 8:
        raise DtypeError(f"save: {name!r} has dtype {host.dtype}; a file can hold {DTYPES}")
    return host


def _is_unicode(name: str) -> bool:
    """Whether it can be written: half of a pair of UTF-16, as a file's name may hold, cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
