"""The rows whose primitives have CUDA kernels, on those kernels, run by the processor (tests/simulated.py)."""

from __future__ import annotations

from typing import Any

import pytest
import simulated
import standin
from cases import CASES
from test_cases import DIFFERENTIABLE, Row, assert_close, listed

pytestmark = pytest.mark.skipif(simulated.why_not() is not None, reason=str(simulated.why_not()))

#: What the names of such primitives begin with.
WITH_KERNELS = (
    *("Conv", "MaxPool", "AvgPool", "BatchNorm", "Normalize", "Softmax", "LogSoftmax", "Logsumexp", "CrossEntropy"),
    *("GetItem", "Gather", "Scatter", "TakeAlong", "PutAlong", "MaxUnpool"),
)
ROWS = [case for case in CASES if case.primitive.startswith(WITH_KERNELS)]


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_the_table(case: Any, monkeypatch: pytest.MonkeyPatch):
    """Values and all derivatives of first and second order are NumPy's."""
    monkeypatch.setattr(standin.BACKEND, "compiled", simulated.compiled())
    here, there = Row(case), Row(case, "standin")
    assert_close(there.values(there.xs), listed(case.expected(*case.inputs)), case.rtol, "output")
    if case not in DIFFERENTIABLE:
        return
    rtol = max(1e-9, case.rtol / 10)
    assert_close(there.tangents(there.xs, there.vs), here.tangents(here.xs, here.vs), rtol, "tangent")
    assert_close(there.cotangents(there.xs, there.us), here.cotangents(here.xs, here.us), rtol, "cotangent")
    for order in ("forward_over_forward", "forward_over_reverse", "reverse_over_forward", "reverse_over_reverse"):
        assert_close(getattr(there, order)(), getattr(here, order)(), rtol, order)
