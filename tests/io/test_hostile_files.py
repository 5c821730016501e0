"""Files made to do harm: nothing runs, nothing large is asked for, and the error says what the file wanted."""

from __future__ import annotations

import io
import pickle

import pytest
from torch_bytes import called, name, old, tensor, value, whole, zipped

import tensorgrad as tg
from tensorgrad.io.errors import CheckpointError, ForbiddenError

FORMATS = pytest.mark.parametrize("pack", [zipped, old], ids=["zipped", "old"])


def load(content):
    return tg.load(io.BytesIO(content))


ran = []


def note(text):
    """What a hostile file would like to call."""
    ran.append(text)


class Hostile:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


CALLS = {
    "a function": Hostile(note, "ran"),
    "eval": Hostile(eval, "1 + 1"),
    "exec": Hostile(exec, "ran.append(1)"),
    "getattr": Hostile(getattr, "text", "upper"),
    "__import__": Hostile(__import__, "os"),
    "a listed name's neighbour": Hostile(io.open, "/dev/null"),
}


@FORMATS
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("call", CALLS)
def test_nothing_runs(pack, protocol, call):
    pickled = pickle.dumps({"w": CALLS[call]}, protocol)
    body = pickled[2:-1] if protocol >= 2 else pickled[:-1]
    ran.clear()
    with pytest.raises(ForbiddenError, match=r"asks for|uses INST") as caught:
        load(pack(body))
    assert not ran
    assert isinstance(caught.value, pickle.UnpicklingError)
    assert isinstance(caught.value, ValueError)


HOSTILE = {
    # name: (opcodes, what the error says)
    "os.system": (called(name("os", "system"), value("echo ran")), r"asks for 'os\.system'"),
    "posix.system": (called(name("posix", "system"), value("echo ran")), r"asks for 'posix\.system'"),
    "a module's attribute": (name("torch._utils", "os.system"), r"asks for 'torch\._utils\.os\.system'"),
    "instances the old way": (b"(" + value("x") + b"iposix\nsystem\n", "uses INST"),
    "objects the old way": (b"(" + name("collections", "OrderedDict") + b"o", "uses OBJ"),
    "an extension": (b"\x82\x01", "uses EXT1"),
    "a named reference": (b"Pname\n", "uses PERSID"),
    "calling a number": (value(7) + value(()) + b"R", "calls a int"),
    "calling a Tensor": (tensor() + value(()) + b"R", "calls a Tensor"),
    "attributes of a Tensor": (tensor() + value({"array": 7}) + b"b", "sets attributes of a Tensor"),
    "attributes of a list": (value([1]) + value({"x": 7}) + b"b", "sets attributes of a list"),
    "a key that hashes for ever": (b"}" + tensor() + value(1) + b"s", "a key of type Tensor"),
    "a tuple of tuples as key": (b"}" + value(((1, 2), 3)) + value(1) + b"s", "a key of type tuple"),
    "a set of lists": (called(name("__builtin__", "set"), value([[1]])), "a set holds something other"),
    "objects in an array": (called(name("numpy", "dtype"), value("O8"), value(0), value(1)), "must be numbers"),
    "a whole model": (name("__main__", "Net") + b")\x81", r"asks for '__main__\.Net'.*save a state_dict"),
}


@FORMATS
@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files(pack, case, capfd):
    body, text = HOSTILE[case]
    with pytest.raises(ForbiddenError, match=text):
        load(pack(body))
    assert "ran" not in capfd.readouterr().out


def test_tuples_that_double_do_not_grow():
    """A hundred tuples, each twice the one before it: small in the file and in memory, never walked through."""
    body = value(()) + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(100))
    assert len(load(zipped(body, {}))) == 2


def test_a_pickle_of_another_kind():
    with pytest.raises(CheckpointError, match="it is none of safetensors"):
        load(pickle.dumps({"w": 1}))
    with pytest.raises(CheckpointError, match="it is none of safetensors"):
        load(whole(value(5)))
