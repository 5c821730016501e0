"""Derivatives checked by numbers: what the rules say against differences of the values.

gradcheck, gradgradcheck   the checks, with PyTorch's arguments
examine                    the same as a Report, with everything that was found

target.py    what is checked: a function of Tensors made of a function, a primitive, a module
analytic.py  the rules' products J v and J^T u, and what can be wrong with them before numbers are compared
slopes.py    slopes from values: steps, extrapolation, kinks
numeric.py   a target's values around its point
full.py, fast.py   the two ways to compare
"""

from tensorgrad.gradcheck.check import examine, gradcheck, gradgradcheck
from tensorgrad.gradcheck.report import Entry, Finding, GradcheckError, GradcheckUsageError, Kink, Report

__all__ = [
    "Entry",
    "Finding",
    "GradcheckError",
    "GradcheckUsageError",
    "Kink",
    "Report",
    "examine",
    "gradcheck",
    "gradgradcheck",
]
