"""The pytest plugin, run on small test files of its own; and what it costs a test run that does not use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tensorgrad.gradcheck import GradcheckError, Report
from tensorgrad.gradcheck.testing import check, gradchecked

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]

LAYERS = """
import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.autograd import Function

class Gate(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.linear = nn.Linear(size, size)
        self.norm = nn.BatchNorm1d(size)
    def forward(self, x):
        return tg.sigmoid(self.linear(x)) * self.norm(x)

class WrongCube(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x
    @staticmethod
    def backward(ctx, dz):
        (x,) = ctx.saved_tensors
        return 2 * x * x * dz

class Wrong(nn.Module):
    def forward(self, x):
        return WrongCube.apply(x)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder with some layers, and our plugin at hand."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(layers=LAYERS)
    return pytester


def run(project: pytest.Pytester, test: str, *arguments: str) -> pytest.RunResult:
    """In a process of its own, with warnings as errors and no marker unknown."""
    project.makepyfile(test_it=test)
    return project.runpytest_subprocess(
        "-p", "pytest_tensorgrad", "-W", "error", "--strict-markers", "-p", "no:cacheprovider", *arguments
    )


def test_a_mark_is_a_whole_test(project):
    result = run(
        project,
        """
        import pytest
        from layers import Gate, Wrong

        @pytest.mark.gradcheck(shapes=[(4, 3)], module=Gate(3), order=2)
        def test_gate(): ...

        @pytest.mark.gradcheck(shapes=[(4, 3)], module=lambda: Gate(3))
        def test_gate_made_when_needed(): ...

        @pytest.mark.gradcheck(shapes=[(2, 3), (3,)], function=lambda x, w: x * w.exp())
        def test_function(): ...

        @pytest.mark.gradcheck(shapes=[(3,)], module=Wrong())
        def test_wrong(): ...

        @pytest.mark.gradcheck(shapes=[(3,)], function=lambda x: x.exp())
        @pytest.mark.parametrize("number", [1, 2])
        def test_the_body_runs_after_the_check(number):
            assert number == 1
        """,
    )
    result.assert_outcomes(passed=4, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*gradcheck: Wrong: the vjp of output 0 to input 0 is wrong in *",
            "*order, rule*with respect to*the rule says*differences say*rel. error*",
            "*1 vjp*input 0[[]*[]]*output 0[[]*[]]*",
            "repeat: pytest 'test_it.py::test_wrong' --gradcheck-seed=0",
        ]
    )
    assert "analytic.py" not in result.stdout.str()  # the table, not the way through the checker


def test_the_fixture_also_with_hypothesis(project):
    result = run(
        project,
        """
        import pytest
        import tensorgrad as tg
        from hypothesis import given, settings, strategies as st
        from layers import Gate, Wrong

        def test_right(gradcheck):
            report = gradcheck(lambda x, w: (x @ w).tanh(), shapes=[(2, 3), (3, 2)], order=2)
            assert report.ok and not report.kinks
            gradcheck(Gate(3), shapes=[(4, 3)])
            gradcheck(lambda x: x.relu(), tg.ones(2, dtype=tg.float64, requires_grad=True))

        def test_wrong(gradcheck):
            gradcheck(Wrong(), shapes=[(3,)])

        @settings(max_examples=10, deadline=None)
        @given(rows=st.integers(1, 4), columns=st.integers(1, 4))
        def test_any_shape(gradcheck, rows, columns):
            gradcheck(lambda x, y: x * y, shapes=[(rows, columns), (columns,)])

        @settings(max_examples=10, deadline=None)
        @given(factor=st.floats(0.5, 3.0))
        def test_wrong_for_some(gradcheck, factor):
            gradcheck(lambda x: x * factor + (x.detach() if factor > 2 else 0), shapes=[(3,)])
        """,
        "--gradcheck-seed=17",
    )
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["gradcheck seed: 17", "*seed=17", "repeat: pytest *--gradcheck-seed=17"])
    result.stdout.fnmatch_lines(["*gradcheck: *", "*repeat: pytest*test_wrong_for_some*"])


def test_with_xdist_all_workers_have_one_seed(project):
    test = """
        import pytest

        @pytest.mark.parametrize("number", range(6))
        def test_seed(gradcheck, number, pytestconfig):
            assert gradcheck(lambda x: x.sin(), shapes=[(2,)]).seed == int(pytestconfig.getoption("gradcheck_seed"))
            with open(f"seed{number}", "w") as file:
                file.write(pytestconfig.getoption("gradcheck_seed"))
        """
    run(project, test, "-n", "2", "--gradcheck-seed=random").assert_outcomes(passed=6)
    seeds = {(project.path / f"seed{number}").read_text() for number in range(6)}
    assert len(seeds) == 1


def test_a_bad_seed_is_refused(project):
    result = run(project, "def test(): ...", "--gradcheck-seed=soon")
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*--gradcheck-seed: got 'soon'; it takes a whole number or 'random'*"])


def test_other_test_runs_pay_nothing(project, monkeypatch):
    """The plugin alone loads neither tensorgrad nor NumPy; other plugins, of which some load NumPy, are left out."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = run(
        project,
        """
        import sys

        def test_nothing_is_loaded():
            assert not {"tensorgrad", "numpy"} & set(sys.modules)
        """,
    )
    result.assert_outcomes(passed=1)


def test_the_plugin_imports_quickly():
    program = (
        "import pytest, sys; before = set(sys.modules); import pytest_tensorgrad; print(len(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 2


# the same without pytest


def test_the_decorator():
    seen = []

    @gradchecked(shapes=[(2, 3), (3,)], order=2)
    def scaled(x, w):
        """Scale."""
        seen.append(x.shape)
        return x * w.exp()

    scaled()
    assert seen and set(seen) == {(2, 3)} and scaled.__name__ == "scaled" and scaled.__doc__ == "Scale."

    @gradchecked(shapes=[(3,)])
    def wrong(x):
        return x * x.detach()

    with pytest.raises(GradcheckError, match="wrong: the vjp"):
        wrong()


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((), {"shapes": [(2,)]}, "got 0 things to check"),
        ((abs,), {"shapes": [(2,)], "module": abs}, "got 2 things to check"),
        ((abs,), {}, "give the inputs, or shapes="),
    ],
)
def test_what_it_refuses(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        check(*arguments, **settings)


def test_large_jacobians_are_checked_fast():
    def fast(*shape):
        report = check(lambda x: x.exp(), shapes=[shape])
        assert isinstance(report, Report)
        return report.fast

    assert not fast(5, 5) and fast(100, 100)
    assert not check(lambda x: x.exp(), shapes=[(30, 30)], fast=False).fast
