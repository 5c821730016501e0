"""Module: the base of layers and networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
from tensorgrad.nn.parameter import Parameter
from tensorgrad.nn.state import IncompatibleKeys, StateDict
from tensorgrad.tensor import Tensor

_Self = TypeVar("_Self", bound="Module")


class Module:
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
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]
    _forward_pre_hooks: Hooks
    _forward_hooks: Hooks
    _backward_pre_hooks: dict[int, Callable[..., Any]]
    _backward_hooks: dict[int, Callable[..., Any]]

    #: A subclass's computation; reached by calling the module, which also runs its hooks.
    forward: Callable[..., Any]

    def __init__(self) -> None:
        # straight into __dict__: __setattr__ asks these dictionaries
        self.__dict__.update(
            training=True,
            _parameters={},
            _buffers={},
            _modules={},
            _non_persistent_buffers_set=set(),
            _forward_pre_hooks={},
            _forward_hooks={},
            _backward_pre_hooks={},
            _backward_hooks={},
        )

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

    # attributes

    def __getattr__(self, name: str) -> Any:  # only asked for what is no ordinary attribute
        own = self.__dict__
        for kind in ("_parameters", "_buffers", "_modules"):
            found = own.get(kind)
            if found is not None and name in found:
                return found[name]
        hint = "" if "_modules" in own else "; was super().__init__() called in its __init__?"
        if name == "forward":
            hint = "; define it, it is what a call computes"
        raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}'{hint}")

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._table("_parameters", name)
            self._forget(name, but="_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._table("_modules", name)
            self._forget(name, but="_modules")
            self._modules[name] = value
        else:
            self._set_other(name, value)

    def _set_other(self, name: str, value: Any) -> None:
        """An attribute that is neither Parameter nor Module; it must not silently replace one."""
        own = self.__dict__
        if name in own.get("_buffers", ()):
            if value is not None and not isinstance(value, Tensor):
                raise OperandError(
                    f"{type(self).__name__}.{name}: got a {type(value).__name__}; a buffer takes a Tensor or None"
                )
            own["_buffers"][name] = value
            return
        for kind, what in (("_parameters", "a Parameter"), ("_modules", "a Module")):
            if name in own.get(kind, ()):
                if value is not None:
                    raise OperandError(
                        f"{type(self).__name__}.{name}: got a {type(value).__name__}; this attribute takes {what} or "
                        "None (to replace it by something else, `del` it first)"
                    )
                own[kind][name] = None
                return
        object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for kind in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(kind, ()):
                del self.__dict__[kind][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

    def _table(self, kind: str, name: str) -> dict[str, Any]:
        """One of the dictionaries of parameters, buffers and modules; refused before it exists."""
        found: dict[str, Any] | None = self.__dict__.get(kind)
        if found is None:
            raise AttributeError(
                f"{type(self).__name__}.{name}: cannot be assigned before Module.__init__(); call super().__init__() "
                "first"
            )
        return found

    def _forget(self, name: str, but: str) -> None:
        """Take a name away from where else it may be."""
        self.__dict__.pop(name, None)
        for kind in ("_parameters", "_buffers", "_modules"):
            if kind != but:
                self.__dict__[kind].pop(name, None)
        self._non_persistent_buffers_set.discard(name)

    def _check_new_name(self, operation: str, kind: str, name: str) -> dict[str, Any]:
        table = self._table(kind, name)
        if not isinstance(name, str):
            raise OperandError(f"{operation}: the name is a {type(name).__name__}; it must be a str")
        if "." in name or not name:
            raise KeyError(f"{operation}: got the name {name!r}; it must not be empty nor hold a dot")
        if name not in table and hasattr(self, name):
            raise KeyError(f"{operation}: {type(self).__name__} already has an attribute '{name}'")
        return table

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; None keeps the name for none."""
        table = self._check_new_name("register_parameter", "_parameters", name)
        if param is not None and not isinstance(param, Parameter):
            raise OperandError(
                f"register_parameter: '{name}' is a {type(param).__name__}; it must be a Parameter or None"
            )
        if param is not None and param.node is not None:
            raise OperandError(
                f"register_parameter: '{name}' is the result of an operation; a Parameter must be a leaf, wrap its "
                ".detach()"
            )
        table[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a Tensor that belongs to the module but is not trained, as a running mean; saved if `persistent`."""
        table = self._check_new_name("register_buffer", "_buffers", name)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise OperandError(f"register_buffer: '{name}' is a {type(tensor).__name__}; it must be a Tensor or None")
        table[name] = tensor
        if persistent:
            self._non_persistent_buffers_set.discard(name)
        else:
            self._non_persistent_buffers_set.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a module under `name`."""
        table = self._check_new_name("add_module", "_modules", name)
        if module is not None and not isinstance(module, Module):
            raise OperandError(f"add_module: '{name}' is a {_described(module)}; it must be a Module or None")
        table[name] = module

    register_module = add_module

    # what is inside

    def named_modules(
        self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all inside it, with their dotted names; one that appears twice is given once.

        >>> import tensorgrad.nn as nn
        >>> [name for name, _ in nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.ReLU())).named_modules()]
        ['', '0', '1', '1.0']
        """
        seen = set() if memo is None else memo
        if self in seen:
            return
        if remove_duplicate:
            seen.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(seen, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all inside it."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly inside, with their names."""
        seen: set[Module] = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules directly inside."""
        for _, child in self.named_children():
            yield child

    def _named_members(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        if recurse:
            places = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        else:
            places = iter([(prefix, self)])
        seen: set[int] = set()
        for path, module in places:
            for name, value in module.__dict__[kind].items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield f"{path}.{name}" if path else name, value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters with their dotted names; a shared one is given once, under its first name."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, of the modules inside too if `recurse`."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers with their dotted names."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, of the modules inside too if `recurse`."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted name such as 'layer3.2.conv1'; this one for ''."""
        module = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                known = ", ".join(module._modules) or "no modules"
                raise AttributeError(
                    f"get_submodule: {target!r}: {type(module).__name__} has no module '{name}'; it has {known}"
                )
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted name."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        parameter = module._parameters.get(name)
        if parameter is None:
            known = ", ".join(module._parameters) or "no parameters"
            raise AttributeError(
                f"get_parameter: {target!r}: {type(module).__name__} has no parameter '{name}'; it has {known}"
            )
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted name."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        buffer = module._buffers.get(name)
        if buffer is None:
            known = ", ".join(module._buffers) or "no buffers"
            raise AttributeError(
                f"get_buffer: {target!r}: {type(module).__name__} has no buffer '{name}'; it has {known}"
            )
        return buffer

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
                x.array = converted.array
                x.storage.version += 1  # a graph recorded before must not go on with the new values
                x.storage.writer = "Module.to"
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


def _described(value: Any) -> str:
    return (
        f"class ({value.__name__}, give an instance: {value.__name__}(...))"
        if isinstance(value, type)
        else type(value).__name__
    )
