"""save and load: anything made of dicts, lists, numbers, texts and Tensors, in one file.

`save` writes safetensors: the Tensors by name, and in the header, as JSON, how they are nested. `load` reads that, and
files of other programs, which it tells by their content: safetensors, NumPy's .npy and .npz, PyTorch's .pt, .pth and .th.
"""

from __future__ import annotations

import io
import os
import tokenize
import zipfile
from collections.abc import Mapping
from typing import IO, Any

import numpy

from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.io import checkpoint
from tensorgrad.io.errors import CheckpointError
from tensorgrad.io.nested import flatten, nest
from tensorgrad.io.opening import opened
from tensorgrad.io.torch_file import begins_old, opened_zip, read_old, read_zipped
from tensorgrad.io.unpickle import brief
from tensorgrad.tensor import Tensor

# in the metadata: how the Tensors are nested; or, of a state dict, the order of the names, which safetensors sorts
_KEY = "tensorgrad.nested"
_ORDER = "tensorgrad.order"
_ROOM = 16 << 20  # bytes that any archive may unpack to
_MOST_PACKED = 50  # and beyond that, how many times its size; weights pack to no less than half, masks to an eighth
_MOST_HEAD = 1 << 16  # bytes of the header of an .npy file
_NPY = b"\x93NUMPY"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")


def save(obj: Any, f: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write `obj` to `f` as safetensors; `load` gives it back.

    obj  dicts, lists, tuples and sets, in any depth, of Tensors, NumPy arrays, numbers, texts, bytes and None: a
         `state_dict()` of a model or an optimiser, or several of them together. A dict of Tensors by name becomes a file
         that every program that knows safetensors reads.
    f    the file's path, where it is entirely or not at all; or a file opened for writing bytes

    Raises OperandError for anything else, naming its place; DtypeError for numbers a file cannot hold; OSError where the
    file cannot be written.

    >>> import tempfile, tensorgrad
    >>> path = os.path.join(tempfile.mkdtemp(), "state.safetensors")
    >>> save({"epoch": 3, "weights": {"w": tensorgrad.ones(2)}}, path)
    >>> load(path)
    {'epoch': 3, 'weights': {'w': tensor([1., 1.])}}
    """
    if not isinstance(f, (str, os.PathLike)) and not hasattr(f, "write"):
        raise OperandError(
            f"save: f is a {type(f).__name__}; give save(obj, f) a path or a file opened for writing bytes"
        )
    tensors, skeleton = flatten(obj)
    metadata = {_ORDER: list(tensors)} if skeleton is None else {_KEY: skeleton}
    if isinstance(f, (str, os.PathLike)):
        checkpoint.save(f, tensors, metadata)
    else:
        f.write(checkpoint.dumps(tensors, metadata))


def load(f: str | os.PathLike[str] | IO[bytes], map_location: Any = None, *, weights_only: bool | None = None) -> Any:
    """What the file holds, its arrays as Tensors.

    f             a path, or a file opened for reading bytes
    map_location  the device on which the Tensors are put, the CPU by default
    weights_only  True or None, which are the same: nothing else is ever read

    The format is told by the content: safetensors (a dict of Tensors by name, or what `save` was given), NumPy's .npz
    (a dict) and .npy (a Tensor), and PyTorch's files, zipped or old, which are read without PyTorch. Their bfloat16
    comes as float32, their Parameters as Tensors that require gradients, an OrderedDict as a dict. No file can make
    anything run: a pickle may name only what is on a list.

    Raises CheckpointError for a file that is damaged, cut off or of another kind, ForbiddenError (a CheckpointError and
    an UnpicklingError) for one that holds more than data, OSError where it cannot be read, OperandError or ArgumentError
    for other arguments.
    """
    if weights_only not in (True, None):
        raise ArgumentError(
            f"load: weights_only is {weights_only!r}; a file that makes a program run is never read, save a state_dict()"
        )
    if callable(map_location) or isinstance(map_location, Mapping):
        raise OperandError(
            f"load: map_location is a {type(map_location).__name__}; give one device, as 'cpu' or 'cuda': where the Tensors "
            "were when they were saved is not asked"
        )
    if isinstance(f, (str, os.PathLike)):
        value = _from_path(f)
    elif hasattr(f, "read") and hasattr(f, "seek"):
        value = _from_file(f, "the file")
    else:
        raise OperandError(f"load: f is a {type(f).__name__}; give a path or a file opened for reading bytes")
    return value if map_location is None else moved(value, map_location)


def _from_path(path: str | os.PathLike[str]) -> Any:
    try:
        with opened(path) as file:
            return _from_file(file, os.fspath(path))
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or 0, f"cannot read the file: {reason}", os.fspath(path)) from error


def _from_file(file: IO[bytes], origin: str) -> Any:
    begin = file.tell()
    start = file.read(32)
    if not isinstance(start, bytes):
        raise OperandError("load: the file is opened for reading text; open it with 'rb'")
    file.seek(begin)
    if start.startswith(_ZIP):
        return _from_zip(file, origin)
    if begins_old(start):
        return read_old(file, origin)
    if start.startswith(_NPY):
        return Tensor(_read_npy(file, origin))
    if len(start) > 8 and start[8:9] == b"{":
        return _from_safetensors(file, origin)
    raise CheckpointError(
        f"load: {origin} begins with {start[:8]!r}; it is none of safetensors, .npz, .npy and PyTorch's .pt, .pth, .th"
    )


def _from_zip(file: IO[bytes], origin: str) -> Any:
    """NumPy's and PyTorch's archives are both zipped."""
    with opened_zip(file, origin) as archive:
        names = archive.namelist()
        if names and all(name.endswith(".npy") for name in names):
            arrays = _from_npz(archive, origin, file.seek(0, io.SEEK_END))
            return {name: Tensor(array) for name, array in arrays.items()}
    return read_zipped(file, origin)


def read_npz(path: str | os.PathLike[str]) -> dict[str, numpy.ndarray]:
    """The arrays of a .npz file by name, of numbers or of texts, read with the same care as by `load`.

    numpy.load believes what a file claims of its sizes. Raises CheckpointError for a file that is damaged, cut off, no
    .npz or a bomb, OSError where it cannot be read.

    >>> import tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "two.npz")
    >>> numpy.savez(path, x=numpy.arange(3), names=["a", "b"])
    >>> found = read_npz(path)
    >>> found["x"].tolist(), found["names"].tolist()
    ([0, 1, 2], ['a', 'b'])
    """
    origin = os.fspath(path)
    with opened(path) as file, opened_zip(file, origin) as archive:
        if not all(name.endswith(".npy") for name in archive.namelist()):
            raise CheckpointError(f"load: {origin} is an archive, but not one of NumPy arrays (.npz)")
        return _from_npz(archive, origin, file.seek(0, io.SEEK_END), "biufUS")


def _from_npz(archive: zipfile.ZipFile, origin: str, size: int, kinds: str = "biuf") -> dict[str, numpy.ndarray]:
    unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > max(_ROOM, _MOST_PACKED * size):
        raise CheckpointError(
            f"load: {origin} has {size} bytes and would unpack to {unpacked}; more than {_MOST_PACKED} times its size "
            "is refused (a zip bomb), save it with numpy.savez"
        )
    found: dict[str, numpy.ndarray] = {}
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name in found:
            raise CheckpointError(f"load: {origin} holds {brief(name)} twice; it is damaged")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CheckpointError(
                f"load: {brief(name)} in {origin} is packed in a way that NumPy does not; use numpy.savez"
            )
        with archive.open(entry) as file:
            array = _read_npy(file, f"{entry.filename} in {origin}", entry.file_size, kinds)
        found[name] = array
    return found


class _Head:
    """The beginning of a file of NumPy's, of which no more is read at once than any has: its length is believed otherwise."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        if size > _MOST_HEAD:
            raise ValueError(f"a header of {size} bytes")
        return self._file.read(size)


def _read_npy(file: IO[bytes], origin: str, size: int | None = None, kinds: str = "biuf") -> numpy.ndarray:
    """NumPy's own format; its header is looked at before memory is asked for."""
    if size is None:
        here = file.tell()
        size = file.seek(0, io.SEEK_END) - here
        file.seek(here)
    head: Any = _Head(file)
    try:
        version = numpy.lib.format.read_magic(head)
        read_header = {
            (1, 0): numpy.lib.format.read_array_header_1_0,
            (2, 0): numpy.lib.format.read_array_header_2_0,
        }.get(version)
        if read_header is None:
            raise CheckpointError(f"load: {origin} has version {version} of NumPy's format; this reader knows 1.0, 2.0")
        shape, is_fortran, dtype = read_header(head)
    except (ValueError, TypeError, EOFError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"load: {origin} is no whole NumPy array ({error})") from error
    if dtype.hasobject or dtype.kind not in kinds or dtype.itemsize == 0:
        raise CheckpointError(f"load: {origin} has the dtype {dtype}; it must be numbers")
    count = 1
    for n in shape:
        count *= n
    if min(shape, default=0) < 0 or count * dtype.itemsize > size:
        raise CheckpointError(f"load: {origin} claims the shape {shape} and {dtype}, more than its {size} bytes hold")
    raw = file.read(count * dtype.itemsize)
    if len(raw) != count * dtype.itemsize:
        raise CheckpointError(f"load: {origin} is cut off: {len(raw)} bytes of {count * dtype.itemsize}")
    try:
        values = numpy.frombuffer(bytearray(raw), "u1" if dtype.kind == "b" else dtype)
        values = (values != 0) if dtype.kind == "b" else values  # a byte of 2 NumPy would count twice
        values = values.reshape(shape, order="F" if is_fortran else "C")
    except ValueError as error:  # more dimensions than NumPy has, or a 0 among sizes whose product it cannot count
        raise CheckpointError(f"load: {origin} claims the shape {shape}, which no array has ({error})") from error
    return values.astype(dtype.newbyteorder("="), copy=False)


def _from_safetensors(file: IO[bytes], origin: str) -> Any:
    found = checkpoint.read(file, origin)
    if _KEY not in found.metadata:
        order = found.metadata.get(_ORDER)
        names = order if isinstance(order, list) and sorted(map(str, order)) == sorted(found.tensors) else found.tensors
        return {name: Tensor(found.tensors[name]) for name in names}
    return nest(found.metadata[_KEY], found.tensors, origin)


def moved(value: Any, device: Any) -> Any:
    """The value with its Tensors on a device; one that appears twice is moved once."""
    done: dict[int, Any] = {}

    def visit(part: Any) -> Any:
        if id(part) in done:
            return done[id(part)]
        result: Any = part
        if isinstance(part, Tensor):
            result = done[id(part)] = Tensor(part.detach().to(device).array, requires_grad=part.requires_grad)
        elif isinstance(part, dict):
            result = done[id(part)] = {}  # before its items: a pickle may hold a value that holds itself
            result.update((key, visit(x)) for key, x in part.items())
        elif isinstance(part, list):
            result = done[id(part)] = []
            result.extend(visit(x) for x in part)
        elif isinstance(part, tuple):
            result = done[id(part)] = tuple(visit(x) for x in part)
        return result

    try:
        return visit(value)
    except RecursionError as error:
        raise CheckpointError(
            "load: the value is nested too deep to move its Tensors; leave map_location out"
        ) from error
    finally:
        visit = None  # type: ignore[assignment]  # it calls itself, a circle that would hold the values
