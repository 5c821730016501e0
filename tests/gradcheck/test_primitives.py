"""`tensorgrad check`: every primitive has samples and passes on them, and what is wrong is found and named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tensorgrad import cli
from tensorgrad.errors import ArgumentError
from tensorgrad.gradcheck import primitives, samples
from tensorgrad.gradcheck.primitives import check_primitives, check_sample
from tensorgrad.gradcheck.samples import Sample, all_primitives, decode, encode, load
from tensorgrad.ops.elementwise import Exp
from tensorgrad.ops.indexing import Slice
from tensorgrad.primitive import Primitive

ROOT = Path(__file__).resolve().parents[2]


def test_every_primitive_has_samples():
    missing = sorted(set(all_primitives()) - {sample.primitive for sample in load()})
    assert not missing, (
        f"run `python scripts/record_samples.py` (add rows in tests/ops/rows first) for {', '.join(missing)}"
    )


def test_every_sample_is_of_a_primitive():
    unknown = {sample.primitive for sample in load()} - set(all_primitives())
    assert not unknown, f"run `python scripts/record_samples.py`: {unknown}"


def test_no_two_primitives_have_one_name():
    """The name is the kernel's on the tape, where the second would stand in the place of the first."""
    stack, found = [Primitive], {}
    while stack:
        kind = stack.pop()
        stack.extend(kind.__subclasses__())
        if hasattr(kind, "forward") and kind.__module__.startswith("tensorgrad."):
            assert found.get(kind.name, kind) is kind, f"{kind} and {found[kind.name]} are both {kind.name!r}"
            found[kind.name] = kind


@pytest.mark.parametrize("name", list(all_primitives()))
def test_primitive_is_right_on_its_first_sample(name):
    (row,) = check_primitives([name], order=1)
    assert row.ok, "\n".join([*row.problems, *(str(report) for _, report in row.reports if not report.ok)])


@pytest.mark.slow
def test_all_primitives_on_all_samples(device):
    wrong = [row for row in check_primitives(devices=[device]) if not row.ok]
    assert not wrong, "\n".join(f"{row.primitive}: {row.problems}" for row in wrong)


def test_a_few_on_the_device(device):
    for row in check_primitives(["Exp", "Matmul", "Softmax", "MaxPool2d", "Compare"], devices=[device]):
        assert row.ok and row.device == device, row.problems


class WrongExp(Exp):
    """z = e^x        dz = e^x dx, but the vjp has a factor of 2"""

    __slots__ = ()

    def vjp(self, dz, out):
        return 2 * dz * out


def test_a_wrong_primitive_is_found(monkeypatch, capsys):
    (sample, *_) = load(["Exp"])
    assert check_sample(Exp, sample, "cpu").ok and not check_sample(WrongExp, sample, "cpu").ok
    monkeypatch.setattr(primitives, "all_primitives", lambda: {"Exp": WrongExp})
    assert cli.main(["check", "--only", "Exp"]) == 1
    out = capsys.readouterr().out
    assert "WRONG" in out and "the rule says" in out and "0 of 1 primitives right" in out


def test_a_primitive_without_samples_fails(monkeypatch, capsys):
    monkeypatch.setattr(primitives, "load", lambda names: [])
    assert cli.main(["check", "--only", "Exp"]) == 1
    assert "NO SAMPLE" in capsys.readouterr().out


def test_a_primitive_that_breaks_is_reported(monkeypatch):
    monkeypatch.setattr(primitives, "load", lambda names: [Sample("Exp", "broken", (1, 2, 3), (np.ones(2),))])
    (row,) = check_primitives(["Exp"])
    assert not row.ok and "broken: TypeError" in row.problems[0]


def test_a_constant_that_is_none_is_found():
    class Tracked(Primitive):
        """z = sign(x): no derivative, but it says nothing of it"""

        __slots__ = ()

        def forward(self, x):
            return np.sign(x)

        def jvp(self, dx):
            return 0 * dx

        def vjp(self, dz):
            return 0 * dz

    sample = Sample("Tracked", "one", (), (np.array([1.0, -2.0]),))
    assert primitives._check_constant(Tracked, sample, "cpu") == [
        "a result requires grad, but the primitive says that it has no derivative"
    ]


def test_names_are_checked():
    with pytest.raises(ArgumentError, match="there is no primitive 'Expp'"):
        check_primitives(["Expp"])


# the file


@pytest.mark.parametrize(
    "value",
    [
        (1, -0.5, None, True, "reflect", (2, (3,)), [1, (2,)]),
        (slice(1, None, -2), Ellipsis, None, float("-inf")),
        (np.dtype("float32"), np.dtype("int64")),
    ],
)
def test_settings_survive_the_file(value):
    assert decode(encode(value)) == value


def test_arrays_and_primitives_survive_the_file():
    for x in (np.array([[1.5, -np.inf]]), np.array(3), np.zeros((0, 2)), np.array([True, False])):
        y = decode(encode(x))
        assert y.dtype == x.dtype and y.shape == x.shape and np.array_equal(x, y)
    view = decode(encode(Slice((slice(0, 2), 1))))
    assert isinstance(view, Slice) and view.index == (slice(0, 2), 1)
    with pytest.raises(TypeError, match="no way to write a set down"):
        encode({1})


def test_the_file_is_what_was_saved(tmp_path, monkeypatch):
    some = load(["Conv2d", "Gather"])
    monkeypatch.setattr(samples, "FILE", tmp_path / "samples.json")
    samples.save(some)
    again = load()
    assert [(s.primitive, s.note) for s in again] == [(s.primitive, s.note) for s in some]
    assert all(np.array_equal(a, b) for s, t in zip(some, again) for a, b in zip(s.inputs, t.inputs))


# the command


def run(*arguments, cwd):
    program = [sys.executable, "-m", "tensorgrad.cli", "check", *arguments]
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    return subprocess.run(program, cwd=cwd, capture_output=True, text=True, env=env)


OWN = """
import tensorgrad as tg
from tensorgrad import nn

class Gate(nn.Module):
    def __init__(self, size, power=1):
        super().__init__()
        self.linear = nn.Linear(size, size)
        self.power = power
    def forward(self, x):
        return tg.sigmoid(self.linear(x)) * x ** self.power

class Cut(Gate):
    def forward(self, x):
        return tg.sigmoid(self.linear(x)).detach() * x

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(tg.rand(10, 4))
    def forward(self, i):
        return self.weight[i]

def swish(x):
    return x * x.sigmoid()
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    (folder / "own_layers.py").write_text(OWN)
    return folder


def test_a_layer_of_ones_own_on_the_command_line(own):
    done = run("own_layers:Gate", "--arguments", "3, power=2", "--input", "2,3", "--order", "2", cwd=own)
    assert done.returncode == 0 and "derivatives are right" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["own_layers:Cut", "--arguments", "3", "--input", "2,3"], 1, "has no gradient with respect to linear.weight"),
        (["own_layers:Words", "--input", "2,5:int10"], 0, "derivatives are right"),
        (["own_layers:swish", "--input", "5", "--order", "3", "--fast"], 0, "fast check"),
        (["own_layers:swish"], 2, "say what shape the input has"),
        (["own_layers", "--input", "5"], 2, "it takes MODULE:NAME"),
        (["own_layers:nothing", "--input", "5"], 2, "has no 'nothing'"),
        (["no_such_module:x", "--input", "5"], 2, "start it where `import no_such_module` works"),
        (["own_layers:Gate", "--arguments", "size=open('x')", "--input", "5"], 2, "it takes plain values"),
        (["own_layers:swish", "--input", "5,x"], 2, "it takes a shape"),
        (["--input", "5"], 2, "belong to a target"),
        (["own_layers:swish", "--only", "Exp", "--input", "5"], 2, "leave it or the target out"),
    ],
)
def test_targets(own, monkeypatch, capsys, arguments, status, text):
    monkeypatch.chdir(own)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert cli.main(["check", *arguments]) == status
    captured = capsys.readouterr()
    assert text in captured.out + captured.err
