"""Tree: parameters, buffers and modules under their names, set as attributes and walked through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tensorgrad.errors import OperandError
from tensorgrad.nn.parameter import Parameter
from tensorgrad.tensor import Tensor

if TYPE_CHECKING:
    from tensorgrad.nn.module import Module


class Tree:
    """What a Module holds: the values of its own, and the Modules inside of it, which are Trees in turn.

    Three tables, `_parameters`, `_buffers` and `_modules`, keep what is assigned to attributes, in the order of assignment.
    """

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _modules: dict[str, Module | None]
    _non_persistent_buffers_set: set[str]

    def __init__(self) -> None:
        own = self.__dict__  # not by assignment: __setattr__ asks these tables
        own["_parameters"] = {}
        own["_buffers"] = {}
        own["_modules"] = {}
        own["_non_persistent_buffers_set"] = set()

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
        elif isinstance(value, Tree):
            self._table("_modules", name)
            self._forget(name, but="_modules")
            self._modules[name] = value  # type: ignore[assignment]
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
        if module is not None and not isinstance(module, Tree):
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
        itself: Any = self  # a Module: nothing else is a Tree
        if itself in seen:
            return
        if remove_duplicate:
            seen.add(itself)
        yield prefix, itself
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
            places = iter([(prefix, self)])  # type: ignore[list-item]
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
        module: Any = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                known = ", ".join(module._modules) or "no modules"
                raise AttributeError(
                    f"get_submodule: {target!r}: {type(module).__name__} has no module '{name}'; it has {known}"
                )
            module = child
        return module  # type: ignore[no-any-return]

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


def _described(value: Any) -> str:
    return (
        f"class ({value.__name__}, give an instance: {value.__name__}(...))"
        if isinstance(value, type)
        else type(value).__name__
    )
