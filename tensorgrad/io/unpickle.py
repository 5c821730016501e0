"""Reading pickles without running them.

A pickle is a program for a small stack machine. Python's own machine can call anything; this one knows the opcodes that
data needs, and may name only what the reader lists. A listed name stands for one of the reader's own values or functions,
so that nothing of the file's choosing is ever imported or called.
"""

from __future__ import annotations

import pickletools
import sys
from collections.abc import Callable, Mapping
from typing import IO, Any

from tensorgrad.io.errors import CheckpointError, ForbiddenError

#: Keys and members of sets; anything else could be made to hash for ever.
_PLAIN = (str, bytes, int, float, type(None))

#: Whole numbers from here on share their hashes with smaller ones: a dict of some hundred thousand that were chosen so
#: would take hours to fill.
_MODULUS = sys.hash_info.modulus


#: Tuples of numbers can be chosen so as well. So many different ones with one hash come about by no accident.
_MOST_OF_ONE_HASH = 16


def is_safe_key(key: Any) -> bool:
    """Whether a key of a file's choosing, no tuple, can go into a dict without having been made to collide."""
    return isinstance(key, _PLAIN) and (not isinstance(key, int) or abs(key) < _MODULUS)


class Keys:
    """Looks at the keys, and the members of sets, that a file wants, tuples of plain ones among them."""

    def __init__(self) -> None:
        self._tuples: dict[int, set[tuple[Any, ...]]] = {}

    def is_safe(self, key: Any) -> bool:
        """Whether it can go into a dict without having been made to collide with others."""
        if not isinstance(key, tuple):
            return is_safe_key(key)
        if not all(is_safe_key(part) for part in key):
            return False
        alike = self._tuples.setdefault(hash(key), set())
        alike.add(key)
        return len(alike) <= _MOST_OF_ONE_HASH


def brief(value: Any, depth: int = 1) -> str:
    """A text for an error about a value of a file's choosing. `repr` of a tuple that holds another one twice, which does so
    in turn, and so on, would never end."""
    if isinstance(value, (str, bytes)):
        return repr(value[:60])
    if isinstance(value, int) and abs(value) >= 1 << 64:
        return f"a whole number of {value.bit_length()} bits"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, (tuple, list)) and depth:
        parts = ", ".join(brief(part, depth - 1) for part in value[:8])
        return f"({parts}, ...)" if len(value) > 8 else f"({parts})"
    return f"a {type(value).__name__}"


class Built:
    """What a listed name stands for, if it may be called: with a tuple of arguments, or changed by BUILD.

    call   called with the arguments; its result goes onto the stack
    """

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name = name
        self.call = call


class Unfinished:
    """A value that BUILD completes; `finish` gets the state and returns the value."""

    def __init__(self) -> None:
        self.places: list[int] = []  # in the memo

    def finish(self, state: Any) -> Any:
        raise NotImplementedError


class _Mark:
    """Where the items of a tuple, list or dict begin on the stack."""


_MARK = _Mark()


#: About how many bytes what an opcode makes takes, where that is far more than its own length: a set of one byte has 216.
_ROOM_OF = {
    **dict.fromkeys(("EMPTY_SET", "FROZENSET"), 224),
    **dict.fromkeys(("EMPTY_LIST", "EMPTY_DICT", "LIST", "DICT"), 72),
    **dict.fromkeys(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"), 64),
    **dict.fromkeys(("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"), 120),
    **dict.fromkeys(("REDUCE", "NEWOBJ"), 1000),
}
_ROOM = 64 << 20  # bytes that what any pickle makes may take
_MOST_ROOM = 32  # and beyond that, how many times its size


class Bounded:
    """A file of which no more can be asked than is there: a length that a hostile pickle claims costs no memory."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        here = file.tell()
        self._end = file.seek(0, 2)
        file.seek(here)

    def left(self) -> int:
        """Bytes from here to the end."""
        return self._end - self.file.tell()

    def tell(self) -> int:
        """Bytes before here."""
        return self.file.tell()

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer at the end."""
        left = self.left()
        return self.file.read(left if size < 0 else min(size, left))

    def readline(self, size: int = -1) -> bytes:
        """Up to the next line's end."""
        return self.file.readline(self.left() if size < 0 else size)


def read_pickle(
    file: Bounded,
    names: Mapping[str, Any],
    persistent: Callable[[Any], Any] | None = None,
    origin: str = "the file",
) -> Any:
    """The value of the pickle that begins at the file's position; the file stands behind it afterwards.

    names       what a global name ('collections OrderedDict') stands for: a Built, or a value
    persistent  gives the value of a persistent id, as PyTorch's storages are
    origin      what errors call the file

    Raises ForbiddenError for a name that is not listed or an opcode that data does not need; CheckpointError where the
    pickle is cut off or makes no sense.

    >>> import io, pickle
    >>> read_pickle(Bounded(io.BytesIO(pickle.dumps({"epoch": 3, "lr": (0.1, None)}))), {})
    {'epoch': 3, 'lr': (0.1, None)}
    """
    machine = _Machine(names, persistent, origin)
    room = _ROOM + _MOST_ROOM * file.left()
    try:
        for opcode, argument, _ in pickletools.genops(file):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                return machine.result()
            room -= _ROOM_OF.get(opcode.name, 0)
            if room < 0:
                raise CheckpointError(
                    f"load: the pickle in {origin} makes so many small things that they would take more than {_MOST_ROOM} times "
                    "its size"
                )
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, KeyError, OverflowError, Warning) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"load: the pickle in {origin} is damaged or cut off ({error})") from error
    raise CheckpointError(f"load: the pickle in {origin} has no end")


# opcodes that put their argument, or a fixed value, onto the stack
_ARGUMENTS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING", "STRING"),
}
_VALUES: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = {"PROTO", "FRAME"}


class _Machine:
    """The stack and the memo. A handler is a method named as its opcode in small letters."""

    def __init__(self, names: Mapping[str, Any], persistent: Callable[[Any], Any] | None, origin: str) -> None:
        self.names = names
        self.persistent = persistent
        self.origin = origin
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.keys = Keys()

    def step(self, name: str, argument: Any) -> None:
        if name in _NOTHING:
            return
        if name in _ARGUMENTS:
            self.stack.append(argument)
        elif name in _VALUES:
            self.stack.append(_VALUES[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            items = [self.pop() for _ in range(count)]
            self.stack.append(tuple(reversed(items)))
        else:
            handler = getattr(self, f"op_{name.lower()}", None)
            if handler is None:
                raise ForbiddenError(f"load: the pickle in {self.origin} uses {name}, which no saved Tensors need")
            handler(argument)

    def result(self) -> Any:
        value = self.pop()
        if self.stack:
            raise CheckpointError(f"load: the pickle in {self.origin} leaves values behind; it is damaged")
        if isinstance(value, (Built, Unfinished)):
            raise CheckpointError(f"load: {self.origin} holds no data, only a name")
        return value

    # the stack

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise CheckpointError(f"load: the pickle in {self.origin} takes a value that is not there; it is damaged")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        for position in range(len(self.stack) - 1, -1, -1):
            if self.stack[position] is _MARK:
                items = self.stack[position + 1 :]
                del self.stack[position:]
                return items
        raise CheckpointError(f"load: the pickle in {self.origin} ends something that has not begun; it is damaged")

    def top(self, kind: type) -> Any:
        if not self.stack or not isinstance(self.stack[-1], kind):
            raise CheckpointError(f"load: the pickle in {self.origin} fills no {kind.__name__}; it is damaged")
        return self.stack[-1]

    def op_mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def op_pop(self, _: Any) -> None:
        if not self.stack:
            raise CheckpointError(f"load: the pickle in {self.origin} takes a value that is not there; it is damaged")
        self.stack.pop()

    def op_pop_mark(self, _: Any) -> None:
        self.pop_to_mark()

    def op_dup(self, _: Any) -> None:
        self.stack.append(self.top(object))

    # the memo

    def op_binput(self, place: int) -> None:
        if not is_safe_key(place):
            raise ForbiddenError(f"load: the pickle in {self.origin} numbers its values in a way that no program does")
        value = self.top(object)
        self.memo[place] = value
        if isinstance(value, Unfinished):
            value.places.append(place)

    op_long_binput = op_put = op_binput

    def op_memoize(self, _: Any) -> None:
        self.op_binput(len(self.memo))

    def op_binget(self, place: int) -> None:
        self.stack.append(self.memo[place])

    op_long_binget = op_get = op_binget

    # containers

    def op_tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def op_list(self, _: Any) -> None:
        self.stack.append(self.pop_to_mark())

    def op_append(self, _: Any) -> None:
        value = self.pop()
        self.top(list).append(value)

    def op_appends(self, _: Any) -> None:
        values = self.pop_to_mark()
        self.top(list).extend(values)

    def op_dict(self, _: Any) -> None:
        values = self.pop_to_mark()
        self.stack.append({})
        self.set_items(values)

    def op_setitem(self, _: Any) -> None:
        value = self.pop()
        self.set_items([self.pop(), value])

    def op_setitems(self, _: Any) -> None:
        self.set_items(self.pop_to_mark())

    def set_items(self, values: list[Any]) -> None:
        if len(values) % 2:
            raise CheckpointError(f"load: the pickle in {self.origin} has a key without a value; it is damaged")
        target = self.top(dict)
        for key, value in zip(values[::2], values[1::2]):
            target[self.plain(key)] = value

    def op_additems(self, _: Any) -> None:
        values = self.pop_to_mark()
        self.top(set).update(self.plain(value) for value in values)

    def op_frozenset(self, _: Any) -> None:
        self.stack.append(frozenset(self.plain(value) for value in self.pop_to_mark()))

    def plain(self, key: Any) -> Any:
        if not self.keys.is_safe(key):
            raise ForbiddenError(
                f"load: {self.origin} has a key of type {type(key).__name__}; keys may be texts, numbers below 2^61 and "
                "tuples of them, not chosen to collide"
            )
        return key

    # names, and what they are applied to

    def op_global(self, name: str) -> None:
        if name not in self.names:
            raise ForbiddenError(
                f"load: {self.origin} asks for '{name.replace(' ', '.', 1)}', which is not on the list of what a file of "
                "Tensors may hold; save a state_dict() (names and Tensors), not whole objects"
            )
        self.stack.append(self.names[name])

    def op_stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise CheckpointError(f"load: the pickle in {self.origin} has a name that is no text; it is damaged")
        self.op_global(f"{module} {name}")

    def op_reduce(self, _: Any) -> None:
        arguments = self.pop()
        target = self.pop()
        if not isinstance(target, Built) or not isinstance(arguments, tuple):
            raise ForbiddenError(f"load: the pickle in {self.origin} calls a {type(target).__name__}; it is damaged")
        try:
            self.stack.append(target.call(*arguments))
        except TypeError as error:
            raise CheckpointError(f"load: {self.origin}: {target.name} got wrong arguments ({error})") from error

    op_newobj = op_reduce

    def op_build(self, _: Any) -> None:
        state = self.pop()
        value = self.top(object)
        if isinstance(value, Unfinished):
            self.stack[-1] = finished = value.finish(state)
            for place in value.places:
                self.memo[place] = finished
        elif not isinstance(value, dict):  # attributes of an OrderedDict, as a state_dict's _metadata, say nothing here
            raise ForbiddenError(f"load: the pickle in {self.origin} sets attributes of a {type(value).__name__}")

    def op_binpersid(self, _: Any) -> None:
        key = self.pop()
        if self.persistent is None:
            raise ForbiddenError(f"load: the pickle in {self.origin} refers to something outside of it")
        self.stack.append(self.persistent(key))
