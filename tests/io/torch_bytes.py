"""PyTorch's files, put together opcode by opcode: whole ones, odd ones and hostile ones, without PyTorch."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C


def value(x) -> bytes:
    """The opcodes that push a plain value."""
    return pickle.dumps(x, 2)[2:-1]


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def whole(body: bytes) -> bytes:
    """A pickle of protocol 2."""
    return b"\x80\x02" + body + b"."


def called(function: bytes, *arguments: bytes) -> bytes:
    return function + b"(" + b"".join(arguments) + b"tR"


def items(**pairs: bytes) -> bytes:
    """A dict of texts and pushed values."""
    return b"}(" + b"".join(value(key) + pushed for key, pushed in pairs.items()) + b"u"


def storage(key="0", count=6, kind="FloatStorage", module="torch", extra=b"") -> bytes:
    return b"(" + value("storage") + name(module, kind) + value(key) + value("cpu") + value(count) + extra + b"tQ"


def tensor(held: bytes | None = None, offset=0, shape=(2, 3), strides=(3, 1), version="_rebuild_tensor_v2") -> bytes:
    hooks = name("collections", "OrderedDict") + b")R"
    arguments = [storage() if held is None else held, value(offset), value(shape), value(strides)]
    if version != "_rebuild_tensor":
        arguments += [value(False), hooks]
    return called(name("torch._utils", version), *arguments)


SIX = {"0": np.arange(6, dtype="<f4").tobytes()}


def zipped(body: bytes, storages=SIX, folder="archive", byteorder=b"little", compress=zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compress) as archive:
        archive.writestr(f"{folder}/data.pkl", whole(body))
        if byteorder is not None:
            archive.writestr(f"{folder}/byteorder", byteorder)
        for key, content in storages.items():
            archive.writestr(f"{folder}/data/{key}", content)
        archive.writestr(f"{folder}/version", "3\n")
    return file.getvalue()


def old(body: bytes, storages=SIX, sizes=4, order=None, version=1001, little=True, magic=MAGIC) -> bytes:
    machine = {"protocol_version": 1001, "little_endian": little, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    parts = [whole(value(magic)), whole(value(version)), whole(value(machine)), whole(body)]
    parts.append(whole(value(list(storages) if order is None else order)))
    for content in storages.values():
        parts.append(struct.pack("<q", len(content) // sizes) + content)
    return b"".join(parts)
