"""The pytest plugin of tensorgrad: gradient checks as tests.

    @pytest.mark.gradcheck(shapes=[(2, 3, 8, 8)], module=MyLayer(3))     # a whole test; its body may be empty
    def test_my_layer(): ...

    def test_more(gradcheck):                                            # or the fixture
        gradcheck(my_function, shapes=[(2, 3), (3,)], order=2)

It stands outside of the package and imports tensorgrad only when a check runs, for pytest loads it in every test run on the
machine. It works in the workers of pytest-xdist and under hypothesis's @given (the fixture is of
session scope).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any

import pytest

MARKER = (
    "gradcheck(module=..., function=..., shapes=[...], inputs=[...], **settings): check the derivatives of a module or function of "
    "tensorgrad against differences; settings as in tensorgrad.autograd.gradcheck"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tensorgrad")
    group.addoption(
        "--gradcheck-seed",
        default="0",
        metavar="N",
        help="seed of the values and directions of gradient checks, or 'random' for a new one (default: 0)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    if hasattr(config, "workerinput"):  # a worker of xdist: it reads the command line again, but takes our seed
        config.option.gradcheck_seed = config.workerinput["gradcheck_seed"]
    seed = config.option.gradcheck_seed
    if seed == "random":
        import random

        config.option.gradcheck_seed = str(random.SystemRandom().randrange(2**31))
    elif not str(seed).isdigit():
        raise pytest.UsageError(f"--gradcheck-seed: got {seed!r}; it takes a whole number or 'random'")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called by xdist for each worker it starts: all have one seed."""
    node.workerinput["gradcheck_seed"] = node.config.option.gradcheck_seed


def pytest_report_header(config: pytest.Config) -> str | None:
    seed = config.option.gradcheck_seed
    return f"gradcheck seed: {seed}" if seed != "0" else None


def _seed(config: pytest.Config) -> int:
    return int(config.option.gradcheck_seed)


@pytest.fixture(scope="session")
def gradcheck(pytestconfig: pytest.Config) -> Callable[..., Any]:
    """gradcheck(func, *inputs, **settings) or gradcheck(func, shapes=[...], **settings): fails with a table; returns the report."""
    from tensorgrad.gradcheck.testing import check

    def run(*arguments: Any, **settings: Any) -> Any:
        __tracebackhide__ = True
        return check(*arguments, **{"seed": _seed(pytestconfig), **settings})

    return run


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run what the test's marks ask for, then the test."""
    for mark in reversed(list(pyfuncitem.iter_markers("gradcheck"))):
        from tensorgrad.gradcheck.testing import check

        settings = {"seed": _seed(pyfuncitem.config), **mark.kwargs}
        inputs = settings.pop("inputs", ())
        check(*mark.args, *inputs, **settings)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show a failed check as its table, with the command that repeats it, instead of a traceback through the checker."""
    report = yield
    error = None if call.excinfo is None else call.excinfo.value
    module = sys.modules.get("tensorgrad.gradcheck.report")
    if module is not None and isinstance(error, module.GradcheckError) and error.report is not None:
        place = ""
        for entry in call.excinfo.traceback:  # type: ignore[union-attr]
            if str(entry.path) == str(item.path):
                place = f"{item.path.name}:{entry.lineno + 1}: "
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        repeat = f"repeat: pytest '{item.nodeid}' --gradcheck-seed={error.report.seed}"
        report.longrepr = f"{place}{error}\n{notes}\n{repeat}"
    return report
