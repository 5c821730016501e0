"""What happens to the values that nodes save: a user's pair of functions that pack and unpack them, or nothing (the usual).

An observer packs them right after a node was recorded; what stands in the node then is a `Deferred`, which gets them back
when backward asks. Only Tensors and results are packed; what a primitive notes for itself (the winners of a pooling, say)
stays where it is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import GraphError, OperandError, ShapeError
from tensorgrad.locks import lock
from tensorgrad.primitive import Deferred, Primitive, observers
from tensorgrad.tensor import Tensor


class _Active(threading.local):
    """The pairs of functions in force in this thread, the innermost last."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Callable[[Tensor], Any], Callable[[Any], Tensor]]] = []


_active = _Active()
_users = 0  # how many blocks are open, in all threads
_lock = lock()


def is_recorded(primitive: Primitive, outputs: tuple[Tensor, ...]) -> bool:
    """Whether this application became a node of the tape."""
    return any(z.node is not None and getattr(z.node, "node", z.node) is primitive for z in outputs)


class Packed:
    """One value as a user's function packed it."""

    __slots__ = ("noted", "place", "shape", "storage", "unpack", "value", "version")

    def __init__(self, x: Tensor) -> None:
        pack, self.unpack = _active.pairs[-1]
        self.shape = x.shape
        self.place = (x if x.node is None else x.node) if x.tracked else None  # on the tape
        self.storage = x.storage
        self.version = self.storage.version
        self.noted = self.storage.sum_of(x.array)
        self.value = pack(x.detach())

    def get(self) -> Tensor:
        """The value again."""
        x = self.unpack(self.value)
        if not isinstance(x, Tensor):
            raise OperandError(f"saved_tensors_hooks: unpack returned a {type(x).__name__}; it must return a Tensor")
        if x.shape != self.shape:
            raise ShapeError(f"saved_tensors_hooks: unpack returned shape {x.shape}; packed was {self.shape}")
        if x.extra is not None and x.extra.storage is self.storage:  # it was not copied, so it must be as it was
            if self.storage.version != self.version or self.storage.changed_by_numpy(x.array, self.noted):
                raise GraphError(
                    f"saved_tensors_hooks: a value of shape {self.shape} was changed in place by "
                    f"{self.storage.writer or 'NumPy'} since it was packed, and what pack returned is the same memory; copy it "
                    "there, or change a .clone()"
                )
        z = Tensor(x.array)
        z.tracked, z.node = self.place is not None, self.place
        return z


class _PackedValues(Deferred):
    """The saved values of a node, packed."""

    __slots__ = ("values",)

    def __init__(self, node: Primitive, outputs: tuple[Tensor, ...]) -> None:
        self.values: list[Any] = []
        for position, value in zip(node.keeps, node.saved):
            if isinstance(value, Tensor):
                self.values.append(Packed(value))
            elif position < 0 and value is not None and type(value) is not tuple:
                out = next((z for z in outputs if z.array is value), None)
                self.values.append(Packed(Tensor(value) if out is None else out.detach()))  # cut off: the node holds it
            else:
                self.values.append(value)

    def restore(self, node: Primitive) -> list[Any]:
        values = []
        for position, value in zip(node.keeps, self.values):
            if isinstance(value, Packed):
                x = value.get()
                values.append(x.array if position < 0 else x)
            else:
                values.append(value)
        return values


def _pack(primitive: Primitive, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
    if not _active.pairs or not is_recorded(primitive, outputs) or type(primitive.saved) is not list:
        return
    if primitive.saved:
        primitive.saved = _PackedValues(primitive, outputs)
        if primitive.extra is not None:
            primitive.extra.output_storage = None
            primitive.extra.versions.clear()  # what is unpacked is as it was packed, whatever was done in place since


def packed(x: Any) -> Any:
    """A Tensor as the pair in force in this thread packs it; anything else, or with no pair, as it is."""
    return Packed(x) if isinstance(x, Tensor) and _active.pairs else x


class saved_tensors_hooks:
    """Inside, every Tensor saved for backward goes through `pack_hook` when it is saved and `unpack_hook` when it is needed.

    pack_hook    called with a Tensor; whatever it returns is kept
    unpack_hook  called with that; returns a Tensor of the same values

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> with saved_tensors_hooks(lambda x: x.tolist(), lambda kept: tensorgrad.tensor(kept)):
    ...     y = (x * x).sum()
    >>> y.backward()
    >>> x.grad
    tensor([2., 4.])
    """

    def __init__(self, pack_hook: Callable[[Tensor], Any], unpack_hook: Callable[[Any], Tensor]) -> None:
        self._pair = (pack_hook, unpack_hook)

    def __enter__(self) -> None:
        global _users
        with _lock:
            _users += 1
            if _pack not in observers:
                observers.append(_pack)
        _active.pairs.append(self._pair)

    def __exit__(self, *exception: Any) -> None:
        global _users
        pairs = _active.pairs
        for position in reversed(range(len(pairs))):  # its own, though a generator was left out of turn
            if pairs[position] is self._pair:
                del pairs[position]
                break
        with _lock:
            _users -= 1
            if not _users:
                observers.remove(_pack)


class save_on_cpu(saved_tensors_hooks):
    """Inside, Tensors saved for backward wait in the host's memory, and return to their device when they are needed.

    pin_memory  accepted for PyTorch's sake; the backend chooses how it copies
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(x: Tensor) -> Any:
            backend = backend_of(x.array)
            host = backend.to_host(x.array)
            return backend, x.device, host.copy() if host is x.array else host

        def unpack(kept: Any) -> Tensor:
            backend, device, host = kept
            return Tensor(backend.from_host(host, device))

        super().__init__(pack, unpack)
