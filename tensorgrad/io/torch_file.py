"""PyTorch's .pt, .pth and .th files, zipped (since 1.6) and old, read without PyTorch.

Both hold a pickle that describes Tensors as views of storages, and the storages' bytes: a zip archive as entries of
their own ('archive/data.pkl', 'archive/data/0', ...), the old format one after the other behind the pickle.
"""

from __future__ import annotations

import contextlib
import errno
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Any

import numpy

from tensorgrad.io.errors import CheckpointError
from tensorgrad.io.opening import fill
from tensorgrad.io.torch_names import BFLOAT16, Kind, is_count, names
from tensorgrad.io.unpickle import Bounded, brief, read_pickle
from tensorgrad.tensor import Tensor

MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of an old file
_OLD_START = b"\x8a\x0a" + MAGIC.to_bytes(10, "little")  # the opcode and the number; a frame may stand before it
_MOST_DIMENSIONS = 64
_ROOM = 16 << 20  # bytes that any file may want for copies
_MOST_COPIES = 8  # and beyond that, how many times what its storages hold


def begins_old(start: bytes) -> bool:
    """Whether a file whose first bytes these are is of the old format: a pickle of the magic number."""
    return start.startswith(b"\x80") and _OLD_START in start[:32]


class Storage:
    """The bytes of a storage, or the place where they will be read to."""

    def __init__(self, kind: Kind, count: int) -> None:
        self.kind = kind
        self.count = count
        self.bytes = numpy.empty(count * kind.size, numpy.uint8)

    def values(self, kind: Kind) -> numpy.ndarray:
        """The bytes as numbers; bfloat16 and bool as what they lie as, to be converted."""
        raw: Any = {BFLOAT16: numpy.dtype("<u2"), "bool": numpy.dtype("u1")}.get(kind.name, kind.dtype)
        whole = len(self.bytes) // kind.size * kind.size
        return self.bytes[:whole].view(raw)


class _Tensors:
    """Makes Tensors of storages. What cannot be a view of the bytes is converted when they are all there."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self._later: list[Callable[[], None]] = []
        self._held: dict[int, int] = {}  # bytes of each storage, by its id
        self._first: dict[int, Tensor] = {}  # on the bytes of each storage
        self._wanted = 0  # bytes of the copies

    def names(self) -> dict[str, Any]:
        return names(self.tensor, self.tensor_of_kind, self.parameter)

    def finish(self) -> None:
        for convert in self._later:
            convert()

    def tensor(
        self, storage: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any = False, *_: Any
    ) -> Tensor:
        kind = storage.kind if isinstance(storage, Storage) else Kind("uint8")
        return self._make(storage, kind, offset, shape, strides, requires_grad)

    def tensor_of_kind(
        self, storage: Any, offset: Any, shape: Any, strides: Any, requires_grad: Any, hooks: Any, kind: Any, *_: Any
    ) -> Tensor:
        if not isinstance(kind, Kind):
            raise CheckpointError(f"load: a Tensor in {self.origin} has no dtype; it is damaged")
        return self._make(storage, kind, offset, shape, strides, requires_grad)

    def parameter(self, data: Any, requires_grad: Any = True, *_: Any) -> Tensor:
        if not isinstance(data, Tensor):
            raise CheckpointError(f"load: a Parameter in {self.origin} is made of no Tensor; it is damaged")
        return Tensor(data, requires_grad=bool(requires_grad) and data.array.dtype.kind == "f")

    def _make(self, storage: Any, kind: Kind, offset: Any, shape: Any, strides: Any, requires_grad: Any) -> Tensor:
        if not isinstance(storage, Storage):
            raise CheckpointError(f"load: a Tensor in {self.origin} has no storage; it is damaged")
        values = storage.values(kind)
        self._held[id(storage)] = len(storage.bytes)
        count = self._check(values.size, offset, shape, strides)
        plain = kind.dtype if kind.dtype != BFLOAT16 else numpy.dtype(numpy.float32)
        if values.dtype == plain and strides == _in_order(shape):
            z = Tensor(values[offset : offset + count].reshape(shape))
            first = self._first.setdefault(id(storage), z)
            if first is not z:  # a change of one, in place, is noticed by who saved the other
                z.make_extra().storage = first.storage
        else:
            z = Tensor(self._converted(values[offset:], kind, plain, shape, strides))
        return z.requires_grad_(bool(requires_grad) and z.array.dtype.kind == "f")

    def _check(self, available: int, offset: Any, shape: Any, strides: Any) -> int:
        """The number of values, where they all lie inside of the storage and none twice."""
        what = f"a Tensor in {self.origin} of shape {brief(shape)}, strides {brief(strides)}, offset {brief(offset)}"
        numbers = (shape, strides)
        if not all(isinstance(t, tuple) and all(is_count(n) for n in t) for t in numbers):
            raise CheckpointError(f"load: {what}: these must be whole numbers from 0 up")
        if not is_count(offset) or len(shape) != len(strides) or len(shape) > _MOST_DIMENSIONS:
            raise CheckpointError(f"load: {what}: these do not fit together")
        count, last = 1, offset
        for length, stride in zip(shape, strides):
            count *= length
            last += (length - 1) * stride
        if not count:
            return 0
        if last >= available:
            raise CheckpointError(f"load: {what} reaches beyond its storage of {available} values")
        if count > available:
            raise CheckpointError(
                f"load: {what} shows values of its storage of {available} more than once (an expanded Tensor); save it "
                "after .contiguous()"
            )
        return count

    def _converted(
        self, values: numpy.ndarray, kind: Kind, plain: Any, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> numpy.ndarray:
        """An array that will hold the values in their order and dtype."""
        self._wanted += int(numpy.prod(shape, dtype=object)) * plain.itemsize
        held = sum(self._held.values())
        if self._wanted > _ROOM + _MOST_COPIES * held:
            raise CheckpointError(
                f"load: the Tensors in {self.origin} want {self._wanted} bytes of the {held} that its storages have: too "
                "many copies of the same values"
            )
        result = numpy.empty(shape, plain)
        if not result.size:
            return result
        steps = [stride * values.itemsize for stride in strides]

        def convert() -> None:
            view = numpy.lib.stride_tricks.as_strided(values, shape, steps, writeable=False)
            if kind.dtype == BFLOAT16:
                result[...] = (view.astype(numpy.uint32) << 16).view(numpy.float32)
            elif plain == numpy.bool_:
                result[...] = view != 0
            else:
                result[...] = view

        self._later.append(convert)
        return result


def _in_order(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of values that lie one after the other."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


def _described(key: Any, origin: str) -> tuple[Kind, str, int]:
    """Number type, name and length of the storage that a persistent id stands for."""
    if not isinstance(key, tuple) or len(key) < 5 or key[0] != "storage":
        raise CheckpointError(f"load: {origin} refers to {brief(key)}, which is no storage")
    _, kind, name, _, count = key[:5]
    if not isinstance(kind, Kind) or not isinstance(name, str) or not is_count(count):
        raise CheckpointError(f"load: a storage in {origin} is described as {brief(key)}; it is damaged")
    if len(key) > 5 and key[5] is not None:
        raise CheckpointError(f"load: {origin} holds views of storages, as PyTorch before 0.4 wrote; save it anew")
    return kind, name, count


# the zipped format


def read_zipped(file: IO[bytes], origin: str) -> Any:
    """What a zipped file holds."""
    with opened_zip(file, origin) as archive:
        return _from_archive(archive, origin)


@contextlib.contextmanager
def opened_zip(file: IO[bytes], origin: str) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever a damaged one makes zipfile raise comes out as a CheckpointError."""
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except CheckpointError:
        raise
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError, RuntimeError) as error:
        raise CheckpointError(f"load: {origin} is a damaged or cut off zip archive ({error})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place before the beginning
            raise
        raise CheckpointError(f"load: {origin} is a damaged zip archive ({error})") from error


def _from_archive(archive: zipfile.ZipFile, origin: str) -> Any:
    entries = _checked_entries(archive, origin)
    pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(pickles) != 1:
        raise CheckpointError(f"load: {origin} is a zip archive without a data.pkl; it is no file of PyTorch's")
    folder = pickles[0].removesuffix("data.pkl")
    order = entries.get(f"{folder}byteorder")
    if order is not None and order.file_size < 10 and archive.read(order) != b"little":
        raise CheckpointError(f"load: {origin} holds big-endian numbers, which this reader does not know")
    tensors = _Tensors(origin)
    storages: dict[str, Storage] = {}

    def persistent(key: Any) -> Storage:
        kind, name, count = _described(key, origin)
        if name not in storages:
            entry = entries.get(f"{folder}data/{name}")
            if entry is None:
                raise CheckpointError(f"load: {origin} lacks the storage {brief(name)}")
            if entry.file_size != count * kind.size:
                raise CheckpointError(
                    f"load: the storage {brief(name)} in {origin} has {entry.file_size} bytes; {count} values of {kind.name} "
                    f"need {count * kind.size}"
                )
            storages[name] = _read_entry(archive, entry, kind, count, origin)
        elif (storages[name].kind.name, storages[name].count) != (kind.name, count):
            raise CheckpointError(
                f"load: the storage {brief(name)} in {origin} is described in two ways; it is damaged"
            )
        return storages[name]

    pickle = io.BytesIO(archive.read(entries[pickles[0]]))
    value = read_pickle(Bounded(pickle), tensors.names(), persistent, origin)
    tensors.finish()
    return value


def _checked_entries(archive: zipfile.ZipFile, origin: str) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, if they are stored as PyTorch stores them: plain, whole, and each in a place of its own."""
    entries: dict[str, zipfile.ZipInfo] = {}
    end = -1
    for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.file_size != entry.compress_size:
            raise CheckpointError(f"load: {entry.filename!r:.60} in {origin} is compressed or encrypted, not stored")
        if entry.filename in entries:
            raise CheckpointError(f"load: {origin} holds {entry.filename!r:.60} twice")
        if entry.header_offset < end:
            raise CheckpointError(f"load: entries of {origin} lie on top of each other; it is damaged")
        end = entry.header_offset + 30 + len(entry.filename.encode()) + entry.compress_size
        entries[entry.filename] = entry
    if end > archive.start_dir:
        raise CheckpointError(f"load: the entries of {origin} reach beyond its end; it is damaged")
    return entries


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, kind: Kind, count: int, origin: str) -> Storage:
    storage = Storage(kind, count)
    with archive.open(entry) as source:
        if not fill(source, storage.bytes):
            raise CheckpointError(f"load: the storage {brief(entry.filename)} in {origin} is cut off")
        source.read(1)  # at the end the checksum is looked at
    return storage


# the old format


def read_old(file: IO[bytes], origin: str) -> Any:
    """What an old file holds: pickles of a magic number, a version, a machine, the value, and the storages' names."""
    source = Bounded(file)
    if read_pickle(source, {}, None, origin) != MAGIC:
        raise CheckpointError(f"load: {origin} does not begin as PyTorch's files do")
    version = read_pickle(source, {}, None, origin)
    if version != 1001:
        raise CheckpointError(f"load: {origin} has version {brief(version)}; this reader knows 1001")
    machine = read_pickle(source, {}, None, origin)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise CheckpointError(f"load: {origin} holds big-endian numbers, which this reader does not know")
    tensors = _Tensors(origin)
    storages: dict[str, Storage] = {}
    room = source.left()

    def persistent(key: Any) -> Storage:
        nonlocal room
        kind, name, count = _described(key, origin)
        if name not in storages:
            room -= count * kind.size
            if room < 0:
                raise CheckpointError(
                    f"load: the storages of {origin} need more bytes than it has; it is cut off or damaged"
                )
            storages[name] = Storage(kind, count)
        elif (storages[name].kind.name, storages[name].count) != (kind.name, count):
            raise CheckpointError(
                f"load: the storage {brief(name)} in {origin} is described in two ways; it is damaged"
            )
        return storages[name]

    value = read_pickle(source, tensors.names(), persistent, origin)
    order = read_pickle(source, {}, None, origin)
    names_of_storages = isinstance(order, list) and all(isinstance(name, str) for name in order)
    if not names_of_storages or sorted(order) != sorted(storages):
        raise CheckpointError(f"load: the storages of {origin} are not those that its Tensors need; it is damaged")
    for name in order:
        _fill(source, storages[name], name, origin)
    tensors.finish()
    return value


def _fill(source: Bounded, storage: Storage, name: str, origin: str) -> None:
    count = int.from_bytes(source.read(8), "little")
    if count != storage.count:
        raise CheckpointError(f"load: the storage {brief(name)} in {origin} has {count} values, not {storage.count}")
    if not fill(source.file, storage.bytes):
        raise CheckpointError(f"load: the storage {brief(name)} in {origin} is cut off")
