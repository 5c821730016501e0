"""One run of a step, recorded: what it started from, what it left, and how to do the same again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from tensorgrad.primitive import Freed, Output, observers
from tensorgrad.replay.captured import CapturedProgram, Ends, can_capture
from tensorgrad.replay.hosts import steps_of_their_own
from tensorgrad.replay.program import Program
from tensorgrad.replay.reach import PLAIN, Reach
from tensorgrad.replay.recorded import Recorded, raw, recording_into
from tensorgrad.replay.writer import written
from tensorgrad.tensor import Tensor


class _State:
    """A Tensor behind the step's variables, with its gradient, as a recording found and left it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.described = _describe(tensor.array)
        self.tracked = tensor.tracked
        self.before = tensor._version
        self.grad = None if tensor._grad is None else _describe(tensor._grad.array)
        self.number = 0  # of its array
        self.grad_number: int | None = None  # of its gradient's array, None where there is none or no operation uses it
        self.final: int | None = None  # the number of the array it ends with, where that is another
        self.grad_final: Any = "same"  # None, "same" or a number
        self.raises = 0

    def holds(self) -> bool:
        tensor = self.tensor
        if tensor.tracked is not self.tracked or tensor.node is not None or _describe(tensor.array) != self.described:
            return False
        if tensor.extra is not None and _is_special(tensor.extra):
            return False
        return self.grad == (None if tensor._grad is None else _describe(tensor._grad.array))


def _describe(array: Any) -> Any:
    return type(array), array.shape, array.dtype, array.strides


def _is_special(extra: Any) -> bool:
    """Whether a Tensor has what a program knows nothing of: tangents, hooks."""
    return bool(extra.tangents or extra.inference or getattr(extra, "hooks", None) or getattr(extra, "after", None))


class Recording:
    """One run of a step, written down."""

    def __init__(
        self, step: Callable[..., Any], arguments: Any, named: Any, tensors: list[Tensor], captures: bool = False
    ) -> None:
        self._captures = captures
        self.captured: CapturedProgram | None = None
        self.error: BaseException | None = None
        self.result: Any = None
        self.text = ""
        self.program = program = Program()
        before = Reach(step)
        own = {id(x) for x in tensors}
        self.states = [_State(x) for x in before.tensors if id(x) not in own]
        self.given = [_State(x) for x in tensors]
        self.guards = before.guards
        if observers:
            program.spoil("somebody observes the operations")
        if len(own) != len(tensors) or any(id(x) in own for x in before.tensors):
            program.spoil("a Tensor is given twice, or given and reached by the step's variables too")
        arrays = [numpy.empty(0), *(state.tensor.array for state in (*self.states, *self.given))]
        for state in (*self.states, *self.given):
            self._begin(state)
        for module in before.modules:
            if module._forward_hooks or module._forward_pre_hooks:
                program.spoil(f"{type(module).__name__} has hooks")
        try:
            with recording_into(program, arrays), steps_of_their_own(before.hosts, program):
                self.result = step(*arguments, **named)
        except BaseException as error:
            self.error = error
            program.spoil(f"it raised {type(error).__name__}")
        self._end(before, Reach(step))

    @property
    def reason(self) -> str | None:
        return self.program.reason

    def _begin(self, state: _State) -> None:
        """Put a recorded array in place of the Tensor's own, and of its gradient's."""
        x, program = state.tensor, self.program
        if x.node is not None:
            program.spoil("a Tensor with a history is used: detach it")
        if x.extra is not None and _is_special(x.extra):
            program.spoil("a Tensor has hooks, carries a tangent or was made under inference_mode")
        if x._grad is not None and x._grad.node is not None:
            program.spoil("a gradient has a history")
        x.array = value = program.input(x.array)
        state.number = value.number
        if x._grad is not None:
            x._grad.array = value = program.input(x._grad.array)
            state.grad_number = value.number

    def _end(self, before: Reach, after: Reach) -> None:
        program = self.program
        change = before.guards.change()
        if change is not None:
            program.spoil(f"the step changes {change}")
        if [id(x) for x in before.tensors] != [id(x) for x in after.tensors]:
            program.spoil("the step changes which Tensors its variables hold")
        for state in (*self.states, *self.given):
            self._finish(state)
        outputs: list[int] = []
        self.shape = self._returned(self.result, outputs)
        program.open = False
        self.result = _real(self.result, program.reason is not None)
        for x in after.tensors:
            _unwrap_history(x)
        if program.reason is None:
            self._bind(outputs)
        else:
            program.operations.clear()  # the arrays go

    def _finish(self, state: _State) -> None:
        """Note what became of a Tensor, and give it its real arrays back."""
        x, program = state.tensor, self.program
        if x.node is not None:
            program.spoil("a Tensor behind the step's variables gets a history")
        number = _number(x.array, program)
        state.final = None if number == state.number else number
        if x._grad is None:
            state.grad_final = None
        else:
            number = _number(x._grad.array, program)
            state.grad_final = "same" if number == state.grad_number else number
        state.raises = x._version - state.before - program.raised.get(id(x), 0)
        _unwrap(x)

    def _returned(self, value: Any, outputs: list[int]) -> Any:
        """The form of the result: Tensors as places among the outputs; notes what cannot be given again."""
        program = self.program
        if isinstance(value, Tensor):
            for position, state in enumerate((*self.states, *self.given)):
                if state.tensor is value:
                    return _Place(position, True)
            if value.tracked and not _used_up(value):
                program.spoil("it returns a Tensor that can still go backward: return its .detach()")
            if value.extra is not None and value.extra.tangents:
                program.spoil("it returns a Tensor with a tangent")
            outputs.append(_number(value.array, program))
            return _Place(len(outputs) - 1, False)
        if type(value) in (tuple, list):
            return type(value)(self._returned(part, outputs) for part in value)
        if type(value) is dict:
            return {key: self._returned(part, outputs) for key, part in value.items()}
        if not isinstance(value, PLAIN):
            program.spoil(f"it returns a {type(value).__name__}")
        return value

    def _bind(self, outputs: list[int]) -> None:
        """Compile; the states' final arrays and gradients are outputs too."""
        self.results = len(outputs)
        numbers = list(outputs)
        for state in (*self.states, *self.given):
            numbers.extend(n for n in (state.final, state.grad_final) if isinstance(n, int))
        used = self.program.used() | set(numbers)
        for state in (*self.states, *self.given):
            if state.grad_number is not None and state.grad_number not in used:
                self.program.inputs.remove(state.grad_number)
                state.grad_number = None
        program = written(self.program, numbers)
        self.text = program.text
        self.run: Callable[[list[Any]], list[Any]] = program.function
        if self._captures and any(can_capture(state.tensor.array) for state in (*self.states, *self.given)):
            self.run = self.captured = CapturedProgram(program, self._ends())
            if any(state.raises or state.final is not None for state in self.given):
                self.captured.reason = "the step changes an argument"
        self.program.operations.clear()
        self.program.things.clear()

    def _ends(self) -> Ends:
        """Whose the program's inputs and outputs are; in the order in which `replay` goes through the states."""
        given: list[int] = []
        returns: list[tuple[int, int]] = []
        place, output = 0, self.results
        for number, state in enumerate((*self.states, *self.given)):
            at, grad_at = place, place + 1
            place += 1 if state.grad_number is None else 2
            if number >= len(self.states):
                given.extend(range(at, place))
            if state.final is not None:
                returns.append((output, at))
                output += 1
            if isinstance(state.grad_final, int):
                if state.grad_number is not None:
                    returns.append((output, grad_at))
                output += 1
        return Ends(frozenset(given), self.results, tuple(returns))

    # replaying

    def holds(self, tensors: list[Tensor]) -> bool:
        """Whether everything the recording depends on is as it was."""
        for state, x in zip(self.given, tensors):
            state.tensor = x
        if any(x.extra is not None and x.extra.tangents for x in tensors):
            return False
        for state in (*self.states, *self.given):
            if not state.holds():
                return False
        ids = {id(x) for x in tensors}
        return len(ids) == len(tensors) and self.guards.change() is None

    def replay(self, tensors: list[Tensor]) -> Any:
        """Run the program on the arrays that the Tensors have now."""
        states = [*self.states, *self.given]
        inputs = []
        for state in states:
            x = state.tensor
            inputs.append(x.array)
            if state.grad_number is not None and x._grad is not None:
                inputs.append(x._grad.array)
            elif state.grad_final != "same":
                x._grad = None  # a new one comes
        with numpy.errstate(all="ignore"):
            arrays = self.run(inputs)
        position = self.results
        for state in states:
            x = state.tensor
            if state.final is not None:
                x.array = arrays[position]
                position += 1
            if state.grad_final is None:
                x._grad = None
            elif state.grad_final != "same":
                if x._grad is None or x._grad.array is not arrays[position]:
                    x._grad = Tensor(arrays[position])
                position += 1
            if state.raises:
                x.storage.version += state.raises
                x.storage.writer = "a replayed step"
        return _filled(self.shape, arrays, states)


class _Place:
    """Where a returned Tensor comes from: an output of the program, or a Tensor that was there before."""

    def __init__(self, position: int, is_state: bool) -> None:
        self.position = position
        self.is_state = is_state


def _filled(shape: Any, arrays: list[Any], states: list[_State]) -> Any:
    if isinstance(shape, _Place):
        return states[shape.position].tensor if shape.is_state else Tensor(arrays[shape.position])
    if type(shape) in (tuple, list):
        return type(shape)(_filled(part, arrays, states) for part in shape)
    if type(shape) is dict:
        return {key: _filled(part, arrays, states) for key, part in shape.items()}
    return shape


def _number(array: Any, program: Program) -> int:
    """The number of an array in the program."""
    if isinstance(array, Recorded) and array.program is program:
        return array.number
    program.spoil("a Tensor gets an array that was not recorded")
    return 0


def _unwrap(x: Tensor) -> None:
    if isinstance(x.array, Recorded):
        x.array = x.array.array
    if x._grad is not None and isinstance(x._grad.array, Recorded):
        x._grad.array = x._grad.array.array


def _real(value: Any, whole: bool) -> Any:
    """The result of the recorded run with real arrays. As in a replay its Tensors have no history, unless `whole` says that
    the step is left as it is."""
    if isinstance(value, Tensor):
        if whole:
            _unwrap_history(value)
            return value
        _unwrap(value)
        return value if value.node is None else Tensor(value.array)
    if type(value) in (tuple, list):
        return type(value)(_real(part, whole) for part in value)
    if type(value) is dict:
        return {key: _real(part, whole) for key, part in value.items()}
    return value


def _unwrap_history(x: Tensor) -> None:
    """Real arrays in a Tensor and in all that its history keeps."""
    stack: list[Any] = [x]
    seen: set[int] = set()
    while stack:
        place = stack.pop()
        if place is None or id(place) in seen:
            continue
        seen.add(id(place))
        if isinstance(place, Tensor):
            _unwrap(place)
            stack.append(place.node)
        elif type(place) is Output:
            stack.append(place.node)
        else:
            stack.extend(place.parents)
            if type(place.saved) is list:
                place.saved = [raw(value) for value in place.saved]
                stack.extend(value for value in place.saved if isinstance(value, Tensor))
            for kind in type(place).__mro__:
                for name in getattr(kind, "__slots__", ()):
                    if isinstance(getattr(place, name, None), Recorded):
                        setattr(place, name, raw(getattr(place, name)))


def _used_up(x: Tensor) -> bool:
    """Whether backward has been through the history of x, so that nobody can go there again."""
    stack = [x.node]
    seen: set[int] = set()
    while stack:
        place = stack.pop()
        if place is None or isinstance(place, Tensor) or id(place) in seen:
            continue
        seen.add(id(place))
        if type(place) is Output:
            stack.append(place.node)
            continue
        if type(place.saved) is Freed:
            return True
        stack.extend(place.parents)
    return False
