"""Tensor: an array, the place on the tape it came from, and its gradient.

This file holds the value itself. What can be done with it (operators, methods) is attached by `tensorgrad.ops.methods`,
and the tape is in `tensorgrad.primitive`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy
from numpy import ndarray

from tensorgrad.backend import backend_of, is_array, stored
from tensorgrad.device import Device
from tensorgrad.dtypes import DType, get_default_dtype, is_floating
from tensorgrad.errors import ArgumentError, DeviceError, DtypeError, GraphError, OperandError, ShapeError
from tensorgrad.storage import Storage

if TYPE_CHECKING:
    from tensorgrad.methods import Methods  # the signatures of what tensorgrad.ops.methods attaches
else:
    Methods = object


class Extra:
    """What few Tensors have; a plain one has `extra` None, so that the tape asks one question instead of four.

    tangents   forward mode: level -> tangent (see tensorgrad.primitive.tangents)
    storage    made when the memory is first viewed or changed in place
    view       (parent, primitive): this Tensor is primitive(parent) on the same memory
    inference  made under inference_mode: cannot take part in recording later
    hooks      of a leaf: called with the gradient before it is added to .grad
    after      of a leaf: called with the Tensor when its .grad has grown
    """

    __slots__ = ("after", "hooks", "inference", "storage", "tangents", "view")

    def __init__(self) -> None:
        self.tangents: dict[int, Tensor] | None = None
        self.storage: Storage | None = None
        self.view: tuple[Tensor, Any] | None = None
        self.inference = False
        self.hooks: dict[int, Any] | None = None
        self.after: dict[int, Any] | None = None


class Tensor(Methods):
    """An n-dimensional array that remembers how it was computed.

    `Tensor(array)` wraps a NumPy or CuPy array without copying; `tensorgrad.tensor(data)` copies lists, numbers or arrays.

    >>> import tensorgrad
    >>> x = tensorgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.])
    """

    # array    the values: always an array, never a scalar
    # tracked  whether gradients flow to it (requires_grad to the outside)
    # node     the Primitive it came out of (or Output, one of several results); None for a leaf
    __slots__ = ("__weakref__", "_grad", "array", "extra", "node", "tracked")

    array: Any
    tracked: bool
    node: Any
    extra: Extra | None
    _grad: Tensor | None

    # NumPy on the left hands over: see tensorgrad.ops.numpy_protocol
    __array_priority__ = 1000

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        source = None
        if not is_array(data):
            if isinstance(data, Tensor):
                source, data = data, data.array
            elif isinstance(data, (list, tuple, numpy.generic)):
                data = numpy.asarray(data, None if isinstance(data, numpy.generic) else get_default_dtype())
            else:
                raise OperandError(
                    f"Tensor: got {type(data).__name__}; give an array, or use tensorgrad.tensor(data) for numbers and lists"
                )
        self.array = stored(data) if data.dtype.kind == "V" else data  # bfloat16 has an array type of its own
        self.tracked = False
        self.node = None
        self.extra = None
        self._grad = None
        if source is not None:  # on its memory: a change of one is noticed by who saved the other
            self.make_extra().storage = source.storage
        if requires_grad:
            self.requires_grad = True

    # what it is

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its dimensions."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """How many dimensions it has."""
        return self.array.ndim

    @property
    def dtype(self) -> DType:
        """The type of its numbers."""
        return self.array.dtype

    @property
    def device(self) -> Device:
        """Where its values live."""
        return backend_of(self.array).device_of(self.array)

    @property
    def itemsize(self) -> int:
        """Bytes of one value."""
        return self.array.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.array.nbytes

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of one dimension."""
        return self.array.shape if dim is None else self.array.shape[dim]

    def dim(self) -> int:
        """How many dimensions it has."""
        return self.array.ndim

    def numel(self) -> int:
        """How many values it holds."""
        return self.array.size

    def element_size(self) -> int:
        """Bytes of one value."""
        return self.array.dtype.itemsize

    def stride(self, dim: int | None = None) -> Any:
        """How many values lie between neighbours along each dimension (or one)."""
        strides = tuple(s // self.array.dtype.itemsize for s in self.array.strides)
        return strides if dim is None else strides[dim]

    def is_floating_point(self) -> bool:
        """Whether its numbers are floating point."""
        return is_floating(self.array.dtype)

    def is_contiguous(self) -> bool:
        """Whether its values lie in memory in the order of its dimensions."""
        return bool(self.array.flags.c_contiguous)

    def __len__(self) -> int:
        if not self.array.shape:
            raise OperandError("len() of a 0-d Tensor; it holds one number, read it with .item()")
        return self.array.shape[0]

    def __repr__(self) -> str:
        from tensorgrad.printing import tensor_repr

        return tensor_repr(self)

    # a Tensor is compared element by element, but is found in sets and dictionaries as itself
    __hash__ = object.__hash__

    # the tape

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to this Tensor."""
        return self.tracked

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and not is_floating(self.array.dtype):
            raise DtypeError(
                f"requires_grad: got dtype {self.array.dtype}; only floating-point Tensors can have gradients"
            )
        if not value and self.node is not None:
            raise GraphError(
                "requires_grad = False: this Tensor is the result of an operation; use .detach() for one without a history"
            )
        if value and self.extra is not None and self.extra.inference:
            raise GraphError("requires_grad: this Tensor was made under inference_mode; use .clone() outside of it")
        self.tracked = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad`; returns self."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user rather than by a recorded operation."""
        return self.node is None

    @property
    def grad_fn(self) -> Any:
        """The application of a primitive that made it; None for a leaf."""
        return self.node

    @property
    def grad(self) -> Tensor | None:
        """The sum of the gradients that backward calls left here."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise OperandError(f"grad: got {type(value).__name__}; assign a Tensor or None")
            if value.array.shape != self.array.shape:
                raise ShapeError(f"grad: got shape {value.array.shape}; the Tensor has shape {self.array.shape}")
        self._grad = value

    @property
    def data(self) -> Tensor:
        """The same memory as a Tensor without history; changes in place are still noticed. The raw array is `.array`."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise OperandError(f"data: got {type(value).__name__}; assign a Tensor")
        self.array = value.array
        storage = self.storage
        storage.version += 1  # a node that saved this Tensor would take the new values for the old ones
        storage.writer = "data = value"
        if storage.lent is not None or value.is_lent:
            storage.lent = []  # older nodes refuse by the version, newer ones note what they save

    @property
    def storage(self) -> Storage:
        """What this Tensor shares with its views; made when first asked for."""
        extra = self.make_extra()
        if extra.storage is None:
            extra.storage = Storage()
            if self.node is not None:
                self.node.output_is_shared(extra.storage)
        return extra.storage

    @property
    def _version(self) -> int:
        """How often its memory was changed in place."""
        return 0 if self.extra is None or self.extra.storage is None else self.extra.storage.version

    @property
    def is_lent(self) -> bool:
        """Whether NumPy has its memory, and may change it unseen."""
        return self.extra is not None and self.extra.storage is not None and self.extra.storage.lent is not None

    def shared_with_numpy(self) -> Tensor:
        """Note that its memory is an array that NumPy has too; returns self."""
        if isinstance(self.array, ndarray) and self.storage.lent is None:
            self.storage.lent = []
        return self

    def make_extra(self) -> Extra:
        """Its Extra, made if it has none."""
        if self.extra is None:
            self.extra = Extra()
        return self.extra

    def detach(self) -> Tensor:
        """The same memory, cut off from the tape; changes in place are still noticed."""
        z = Tensor(self.array)
        z.make_extra().storage = self.storage
        return z

    # forward mode: tangents by level

    def tangent(self, level: int) -> Tensor | None:
        """The tangent it carries at this level."""
        if self.extra is None or self.extra.tangents is None:
            return None
        return self.extra.tangents.get(level)

    def alias(self, tangents: dict[int, Tensor] | None) -> Tensor:
        """The same value at the same place on the tape, with these tangents instead of its own."""
        z = Tensor(self.array)
        z.tracked = self.tracked
        z.node = self if self.tracked and self.node is None else self.node  # a leaf stays the one that collects
        extra = z.make_extra()
        extra.tangents = tangents or None
        extra.storage = self.storage
        extra.inference = self.extra is not None and self.extra.inference
        return z

    def below(self, level: int) -> Tensor:
        """The same value without its tangents of this level and above (levels of inner, later derivatives)."""
        tangents = None if self.extra is None else self.extra.tangents
        if not tangents or max(tangents) < level:
            return self
        return self.alias({at: dx for at, dx in tangents.items() if at < level})

    # the host

    def numpy(self, *, force: bool = False) -> numpy.ndarray:
        """The values as a NumPy array on the same memory; only for a Tensor on the CPU that needs no gradient, unless
        forced: then detached and moved first."""
        if self.tracked and not force:
            raise GraphError("numpy(): this Tensor requires grad; use .detach().numpy()")
        if self.device.type != "cpu" and not force:
            raise DeviceError(f"numpy(): this Tensor is on '{self.device}'; use .cpu().numpy()")
        if isinstance(self.array, ndarray):
            self.storage.lend(self.array)
        values: numpy.ndarray = backend_of(self.array).to_host(self.array)
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> ndarray:
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            if copy is False:
                raise ArgumentError(f"__array__: a Tensor of dtype {array.dtype} cannot become {dtype} without a copy")
            return array.astype(dtype)
        return array.copy() if copy else array

    def item(self) -> Any:
        """Its one value as a Python number."""
        if self.array.size != 1:
            raise ShapeError(f"item(): got shape {self.array.shape}; only a Tensor with one value is a number")
        return backend_of(self.array).to_host(self.array).item()

    def tolist(self) -> Any:
        """Its values as nested lists of Python numbers."""
        return backend_of(self.array).to_host(self.array).tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.array.size != 1:
            raise ShapeError(f"the truth of a Tensor of shape {self.array.shape} is not defined; use .any() or .all()")
        return bool(self.item())

    def __index__(self) -> int:
        if is_floating(self.array.dtype):
            raise OperandError(f"only a whole number can be an index; this Tensor has dtype {self.array.dtype}")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        """A Tensor of one number and no dimensions as that number, as in PyTorch; a Parameter only where a format is asked for."""
        is_number = self.array.ndim == 0 and (spec or type(self) is Tensor)
        return format(self.item(), spec) if is_number else object.__format__(self, spec)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self.node is not None:
            raise GraphError("deepcopy: only leaves (made by the user) can be copied with their gradient; use .clone()")
        z = type(self).__new__(type(self))
        Tensor.__init__(z, backend_of(self.array).copy(self.array), self.tracked)
        if self._grad is not None:
            z._grad = Tensor(backend_of(self._grad.array).copy(self._grad.array))
        return z

    def __copy__(self) -> Tensor:
        if self.node is not None:
            raise GraphError("copy: only leaves (made by the user) can be copied; use .clone(), or .detach()")
        z = type(self).__new__(type(self))
        Tensor.__init__(z, self, self.tracked)
        return z

    def __reduce__(self) -> Any:
        if self.node is not None:
            raise GraphError("pickle: only leaves (made by the user) can be saved; use .detach()")
        return _unpickle, (type(self), backend_of(self.array).to_host(self.array), self.tracked, self.device)


def _unpickle(kind: type[Tensor], values: numpy.ndarray, tracked: bool, device: Device) -> Tensor:
    from tensorgrad.backend import backend_for

    z = kind.__new__(kind)
    Tensor.__init__(z, backend_for(device).from_host(values, device), tracked)
    return z
