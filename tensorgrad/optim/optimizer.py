"""The base of the optimisers: parameters in groups, each group with its settings, and a state for every parameter."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError, GraphError, OperandError, StateError
from tensorgrad.mode import enable_grad, mode
from tensorgrad.tensor import Tensor

Group = dict[str, Any]


class Optimizer:
    """Changes parameters along their gradients. A subclass gives `_update(parameter, gradient, group, state)`.

    params    Tensors that are leaves, pairs (name, Tensor), or dicts of 'params' and settings of their own (groups)
    defaults  the settings of a group that says nothing else

    param_groups is the list of groups, dicts that may be changed between steps (group["lr"] = ...); state holds what
    is kept for each parameter.
    """

    #: Whether a step can be part of a CUDA graph as it is, with the settings of when it was captured.
    capturable = False

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor):
            raise OperandError(f"{name}: params is one Tensor; give a list of them, as model.parameters() does")
        if isinstance(params, (set, frozenset)):
            raise OperandError(f"{name}: params is a set, whose order changes from run to run; give a list")
        if not isinstance(params, Iterable) or isinstance(params, (str, Mapping)):
            hint = ", as model.parameters() does" if callable(params) else ""
            raise OperandError(f"{name}: params is a {type(params).__name__}; give a list of Tensors or of dicts{hint}")
        self.defaults = defaults
        self.state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[Group] = []
        groups = list(params)
        if not groups:
            raise ArgumentError(f"{name}: got no parameters; was the model's list already used up?")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters with settings of their own: a dict with 'params' and any of the settings."""
        name = type(self).__name__
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise OperandError(f"{name}: a group is {param_group!r:.60}; it must be a dict with 'params'")
        given = param_group["params"]
        if isinstance(given, (set, frozenset)):
            raise OperandError(
                f"{name}: the params of a group are a set, whose order changes from run to run; give a list"
            )
        parameters = [given] if isinstance(given, Tensor) else list(given)
        names = {}
        if parameters and all(isinstance(p, tuple) and len(p) == 2 for p in parameters):
            names["param_names"] = [label for label, _ in parameters]
            parameters = [p for _, p in parameters]
        taken = {id(p) for group in self.param_groups for p in group["params"]}
        for position, p in enumerate(parameters):
            if not isinstance(p, Tensor):
                raise OperandError(f"{name}: parameter {position} is a {type(p).__name__}; it must be a Tensor")
            if not p.is_leaf:
                raise ArgumentError(
                    f"{name}: parameter {position}, of shape {p.shape}, is the result of {type(p.grad_fn).__name__}; "
                    "only leaves (made by the user) can be optimised, use its .detach().requires_grad_()"
                )
            if id(p) in taken:
                raise ArgumentError(f"{name}: parameter {position}, of shape {p.shape}, is given more than once")
            taken.add(id(p))
        group = {**self.defaults, **param_group, "params": parameters, **names}
        self.check(group)
        self.param_groups.append(group)

    def check(self, group: Group) -> None:
        """Refuse settings out of range; for subclasses."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set them to zero."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p._grad is None:
                    p._grad = None
                else:
                    p._grad = Tensor(backend_of(p._grad.array).zeros_like(p._grad.array))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient; a closure is called first, and what it returns is returned."""
        if mode.capturing is not None and not self.capturable:
            raise GraphError(
                f"{type(self).__name__}.step: it counts its steps in Python, and a CUDA graph would repeat one of them; leave "
                "it out of the captured part, or use tensorgrad.compile, which makes it at every replay"
            )
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        first = next((p for group in self.param_groups for p in group["params"] if p._grad is not None), None)
        if first is None:
            return loss
        with backend_of(first.array).gathering():  # on a GPU the updates are made together
            for group in self.param_groups:
                for p in group["params"]:
                    if p._grad is not None:
                        p.storage.written(f"{type(self).__name__}.step")
                        self._update(p.array, p._grad.array, group, self.state[p])
        return loss

    def _update(self, w: Any, dw: Any, group: Group, state: dict[str, Any]) -> None:
        """Change the array w in place along its gradient dw, which must stay as it is."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """The state and the settings; parameters are numbered in the order in which they were given."""
        number = {id(p): i for i, p in enumerate(self._parameters())}
        groups = []
        for group in self.param_groups:
            groups.append({**group, "params": [number[id(p)] for p in group["params"]]})
        state = {number[id(p)]: dict(values) for p, values in self.state.items() if id(p) in number}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a state of `state_dict`; its groups and shapes must be those of this optimiser.

        Raises StateError where they are not; then nothing has been changed.
        """
        name = type(self).__name__
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            raise StateError(
                f"{name}.load_state_dict: got {type(state_dict).__name__}; it needs 'state' and 'param_groups'"
            )
        saved_groups = state_dict["param_groups"]
        mine, saved = ([len(group["params"]) for group in groups] for groups in (self.param_groups, saved_groups))
        if mine != saved:
            raise StateError(
                f"{name}.load_state_dict: the state has groups of {saved} parameters; this optimiser has groups of "
                f"{mine}"
            )
        numbers = [number for group in saved_groups for number in group["params"]]
        parameter = dict(zip(numbers, self._parameters()))
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for number, values in state_dict["state"].items():
            if number not in parameter:
                raise StateError(
                    f"{name}.load_state_dict: the state holds a parameter {number!r} that is in none of its groups"
                )
            p = parameter[number]
            state[p] = {key: self._fitted(number, key, value, p) for key, value in values.items()}
        for group, saved_group in zip(self.param_groups, saved_groups):
            group.update({key: copy.copy(value) for key, value in saved_group.items() if key != "params"})
        self.state = state

    def _fitted(self, number: Any, key: str, value: Any, p: Tensor) -> Any:
        """A copy of a saved value in the parameter's dtype and on its device; numbers stay as they are."""
        if not isinstance(value, Tensor) or (not value.array.ndim and p.array.ndim):
            return copy.deepcopy(value)
        if value.shape != p.shape:
            raise StateError(
                f"{type(self).__name__}.load_state_dict: {key!r} of parameter {number} has shape {value.shape}; the "
                f"parameter has {p.shape}"
            )
        return value.detach().to(p.device, p.dtype, copy=True)

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for position, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {position}")
            lines.extend(f"    {key}: {group[key]}" for key in sorted(group) if key != "params")
        return "\n".join([*lines, ")"])


def check_settings(name: str, group: Group, *, positive: tuple[str, ...]) -> None:
    """Refuse settings that are negative or no numbers."""
    for key in positive:
        value = group[key]
        if isinstance(value, bool) or not hasattr(value, "__float__"):
            raise OperandError(f"{name}: {key} is {value!r}; it must be a number")
        if not float(value) >= 0.0:
            raise ArgumentError(f"{name}: {key} is {value}; it must be at least 0")
