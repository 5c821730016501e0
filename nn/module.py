"""Module: the base of layers and networks: a tree of values (tree.py) that computes when it is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy

from tensorgrad import dtypes
from tensorgrad.backend import backend_of, is_device_name
from tensorgrad.device import Device, as_device
from tensorgrad.dtypes import float16, float32, float64, is_floating
from tensorgrad.errors import OperandError, TensorgradError
from tensorgrad.handles import RemovableHandle, register
from tensorgrad.mode import Scope, layer_path, mode, no_grad
from tensorgrad.nn import state as _state
from tensorgrad.nn.hooks import Hook, Hooks, call_with_hooks
from tensorgrad.nn.state import IncompatibleKeys, StateDict
from tensorgrad.nn.tree import Tree
from tensorgrad.tensor import Tensor

_Self = TypeVar("_Self", bound="Module")


class Module(Tree):
    """A layer or a network: it holds parameters, buffers and other modules, and computes `forward` when called.

    A subclass calls `super().__init__()` first, assigns parameters and modules to attributes, and defines `forward`.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(4, 3)
    ...         self.out = nn.Linear(3, 2)
    ...     def forward(self, x):
    ...         return self.out(self.hidden(x).relu())
    >>> net = Net()
    >>> net(tensorgrad.ones(5, 4)).shape
    (5, 2)
    >>> [name for name, _ in net.named_parameters()]
    ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    """

    training: bool
    _forward_pre_hooks: Hooks
    _forward_hooks: Hooks
    _backward_pre_hooks: dict[int, Callable[..., Any]]
    _backward_hooks: dict[int, Callable[..., Any]]

    #: A subclass's computation; reached by calling the module, which also runs its hooks.
    forward: Callable[..., Any]

    def __init__(self) -> None:
        super().__init__()
        own = self.__dict__
        own["training"] = True
        own["_forward_pre_hooks"] = {}
        own["_forward_hooks"] = {}
        own["_backward_pre_hooks"] = {}
        own["_backward_hooks"] = {}

    # calling it

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        outer = mode.scope
        mode.scope = Scope(outer, self)
        try:
            if self._forward_pre_hooks or self._forward_hooks or self._backward_hooks or self._backward_pre_hooks:
                return call_with_hooks(self, args, kwargs)
            return self.forward(*args, **kwargs)
        except TensorgradError as error:
            if not error.layer_kind:  # the innermost module it passes: the whole path is known here
                error.layer_kind = type(self).__name__
                error.layer = layer_path(mode.scope)
            raise
        finally:
            mode.scope = outer

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call hook(module, args) before every forward; what it returns, unless None, replaces args.

        With `with_kwargs` it is called as hook(module, args, kwargs) and returns None or the pair.
        """
        return register(self._forward_pre_hooks, Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call hook(module, args, output) after every forward; what it returns, unless None, replaces the output.

        With `with_kwargs` it is called as hook(module, args, kwargs, output); with `always_call` also when forward
        raises.
        """
        return register(self._forward_hooks, Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_input, grad_output) whenever the gradients of a call's inputs have been computed.

        grad_input has an entry for each positional argument (None where there is no gradient), grad_output for each
        result; a tuple that the hook returns takes the place of grad_input.

        >>> import tensorgrad, tensorgrad.nn as nn
        >>> layer = nn.Tanh()
        >>> handle = layer.register_full_backward_hook(lambda module, grad_input, grad_output: print(grad_output))
        >>> layer(tensorgrad.zeros(2, requires_grad=True)).sum().backward()
        (tensor([1., 1.]),)
        """
        return register(self._backward_hooks, hook, prepend)

    def register_full_backward_pre_hook(self, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
        """Call hook(module, grad_output) before a call's gradients are computed; what it returns replaces grad_output."""
        return register(self._backward_pre_hooks, hook, prepend)

    def graph(self, *inputs: Any, **options: Any) -> Any:
        """A picture of what it computes on these inputs: tensorgrad.graph.draw(self, *inputs, **options).

        >>> import tensorgrad, tensorgrad.nn as nn
        >>> nn.Linear(3, 2).graph(tensorgrad.ones(1, 3)).graph
        Graph('Linear', 1 operations, 4 values, 1 calls)
        """
        from tensorgrad.graph import draw

        return draw(self, *inputs, **options)

    # saving and loading

    def state_dict(
        self, *, destination: StateDict | None = None, prefix: str = "", keep_vars: bool = False
    ) -> StateDict:
        """The parameters and persistent buffers by dotted name, as detached Tensors on the module's own memory.

        destination  a dict to fill; by default a new one
        keep_vars    give the Parameters themselves
        """
        return _state.state_dict(self, destination, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the values of a state into this module's parameters and buffers, in their dtypes and on their devices.

        strict  refuse a state with missing or unexpected names; shapes must fit in any case
        assign  take the given Tensors themselves instead of copying, with their dtype and device

        Raises StateError with one report of everything that does not fit; then nothing has been written.
        """
        return _state.load_state_dict(self, state_dict, strict, assign)

    # changing it as a whole

    def train(self: _Self, mode: bool = True) -> _Self:
        """Set training mode (dropout drops, batch norm uses the batch), for the modules inside too."""
        if not isinstance(mode, bool):
            raise OperandError(f"train: mode is a {type(mode).__name__}; it must be True or False")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: _Self) -> _Self:
        """Set evaluation mode; the same as train(False)."""
        return self.train(False)

    def apply(self: _Self, fn: Callable[[Module], Any]) -> _Self:
        """Call fn on every module inside and then on this one, to initialise for instance."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def requires_grad_(self: _Self, requires_grad: bool = True) -> _Self:
        """Let every parameter collect gradients, or none."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for parameter in self.parameters():
            clear_grad(parameter, set_to_none)

    def to(self: _Self, *args: Any, dtype: Any = None, device: Any = None) -> _Self:
        """Move the parameters and buffers to a device, or give the floating-point ones another dtype; returns self.

        to(device), to(dtype), to(device, dtype) or to(tensor). The Parameters stay the same objects.
        """
        for argument in args:
            if isinstance(argument, Tensor):
                dtype, device = argument.dtype, argument.device
            elif isinstance(argument, Device) or (isinstance(argument, str) and is_device_name(argument)):
                device = argument
            elif argument is not None and not isinstance(argument, bool):
                dtype = argument
        chosen = None if dtype is None else _floating_dtype(dtype)
        place = None if device is None else as_device(device)
        return self._convert(lambda x: _converted(x, place, chosen))

    def _convert(self: _Self, convert: Callable[[Any], Any]) -> _Self:
        """Put convert(x) in the place of every parameter, gradient and buffer; all at once, or none on an error."""
        ready: list[tuple[Tensor, Any]] = []
        for kind in ("_parameters", "_buffers"):
            for _, value in self._named_members(kind, "", True, True):
                held = [value] if value._grad is None else [value, value._grad]
                ready.extend((x, convert(x)) for x in held)
        for x, converted in ready:
            if converted.array is not x.array:
                x.storage.written("Module.to")  # a graph recorded before must not go on with the new values
                x.array = converted.array
        return self

    def float(self: _Self) -> _Self:
        """The floating-point parameters and buffers as float32."""
        return self.to(dtype=float32)

    def double(self: _Self) -> _Self:
        """The floating-point parameters and buffers as float64."""
        return self.to(dtype=float64)

    def bfloat16(self: _Self) -> _Self:
        """The floating-point parameters and buffers as bfloat16."""
        return self.to(dtypes.bfloat16)

    def half(self: _Self) -> _Self:
        """The floating-point parameters and buffers as float16."""
        return self.to(dtype=float16)

    def type(self: _Self, dst_type: Any) -> _Self:
        """The floating-point parameters and buffers in another dtype."""
        return self.to(dtype=dst_type)

    def cpu(self: _Self) -> _Self:
        """Parameters and buffers in the host's memory."""
        return self.to(device="cpu")

    def cuda(self: _Self, device: int | str | Device | None = None) -> _Self:
        """Parameters and buffers on a GPU, the first one unless named."""
        return self.to(device=f"cuda:{device}" if isinstance(device, int) else device or "cuda")

    # showing it

    def extra_repr(self) -> str:
        """The settings that repr shows; for subclasses."""
        return ""

    def _get_name(self) -> str:
        return self.__class__.__name__

    def _child_lines(self) -> list[str]:
        """A line (or an indented block) for every module inside."""
        return [f"({name}): {child!r}" for name, child in self._modules.items()]

    def __repr__(self) -> str:
        settings = self.extra_repr()
        children = self._child_lines()
        if not children and "\n" not in settings:
            return f"{self._get_name()}({settings})"
        blocks = settings.split("\n") + children if settings else children
        lines = [line for block in blocks for line in block.split("\n")]
        return "\n".join([f"{self._get_name()}(", *(f"  {line}" for line in lines), ")"])


def clear_grad(parameter: Tensor, set_to_none: bool) -> None:
    """Forget a gradient, or fill it with zeros."""
    if set_to_none or parameter._grad is None:
        parameter._grad = None
    else:
        with no_grad():
            parameter._grad = parameter._grad.detach().zero_()


def _floating_dtype(dtype: Any) -> Any:
    try:
        chosen = numpy.dtype(dtype)
    except TypeError:
        raise OperandError(f"Module.to: got {dtype!r}; it takes a device, a dtype or a Tensor") from None
    if not is_floating(chosen):
        raise OperandError(f"Module.to: got dtype {chosen}; parameters and buffers take floating-point dtypes")
    return chosen


def _converted(x: Tensor, device: Device | None, dtype: Any) -> Tensor:
    """x on the device and, where it is floating point, in the dtype; outside of the tape."""
    z = Tensor(x.array)
    if device is not None:
        z = z.to(device)
    if dtype is not None and is_floating(z.array.dtype) and z.array.dtype != dtype:
        z = Tensor(backend_of(z.array).cast(z.array, dtype))
    return z
