"""The checker is checked: it finds every wrong derivative we know how to make, and passes every right one that is awkward."""

from __future__ import annotations

import pytest
from gradcheck.right import RIGHT
from gradcheck.subjects import Subject, tensors
from gradcheck.wrong import WRONG

import tensorgrad as tg
from tensorgrad.gradcheck import GradcheckError, Report, examine, gradcheck


def examined(subject: Subject) -> Report:
    function, arrays = subject.make(tg)
    return examine(function, tensors(tg, arrays), fast_mode=subject.fast, order=subject.order)


def test_there_are_forty_of_each():
    assert len(WRONG) >= 40 and len(RIGHT) >= 40
    for rows in (WRONG, RIGHT):
        assert len({row.name for row in rows}) == len(rows)


@pytest.mark.parametrize("subject", WRONG, ids=str)
def test_wrong_is_found(subject: Subject):
    report = examined(subject)
    assert not report.ok, str(report)
    named = {finding.kind for finding in report.findings} | {entry.rule for entry in report.wrong}
    named |= {"kink" for kink in report.kinks if not kink.passed}
    assert not subject.finds or subject.finds in named, str(report)
    function, arrays = subject.make(tg)
    with pytest.raises(GradcheckError, match="gradcheck: "):
        gradcheck(function, tensors(tg, arrays), fast_mode=subject.fast, order=subject.order)


@pytest.mark.parametrize("subject", RIGHT, ids=str)
def test_right_passes(subject: Subject):
    report = examined(subject)
    assert report.ok, str(report)
    kinds = {kink.kind for kink in report.kinks}
    assert not subject.finds or subject.finds in kinds, str(report)
    if subject.finds == "" and "kink at" not in subject.name:
        assert kinds <= {"near"}, str(report)
