"""PyTorch's own sample inputs: every operation in scope gives the same results, gradients and refusals, but for what known.py
says."""

import warnings
import zlib

import pytest
from samples.known import KNOWN
from samples.scope import why_out_of_scope

pytestmark = pytest.mark.oracle
SHARES = 32


@pytest.mark.parametrize("share", range(SHARES))
def test_operations(share):
    pytest.importorskip("torch")
    pytest.importorskip("expecttest")  # which PyTorch's samples import
    from samples.checks import KINDS, Report, check, full_name, operations

    problems = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for op in operations():
            name = full_name(op)
            if zlib.crc32(name.encode()) % SHARES != share or why_out_of_scope(name):
                continue
            report = check(op, Report(name))
            if report.missing:
                problems.append(f"{name}: there is no such operation")
                continue
            allowed = {kind: count for kind, count, _ in KNOWN.get(name, [])}
            for kind in KINDS:
                failed = report.tried[kind] - report.passed[kind]
                if failed != allowed.get(kind, 0):
                    text = "\n    ".join(line for line in report.failures if line.startswith(kind))
                    problems.append(f"{name}: {kind}: {failed} fail, known are {allowed.get(kind, 0)}\n    {text}")
    assert not problems, "\n".join(problems)
