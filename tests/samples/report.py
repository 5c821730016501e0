"""A table of how tensorgrad answers PyTorch's sample inputs:

    PYTHONPATH=.:tests python -m samples.report [-v] [NAME ...]

NAME is a pattern of names (`nn.functional.*`); all operations in scope without one. -v prints the failures.
"""

from __future__ import annotations

import fnmatch
import sys
import warnings
from collections import Counter

from samples.checks import KINDS, Report, check, full_name, operations
from samples.scope import why_out_of_scope


def main(arguments: list[str]) -> int:
    verbose = "-v" in arguments
    patterns = [a for a in arguments if a != "-v"]
    warnings.simplefilter("ignore")
    reports = []
    out_of_scope = 0
    for op in operations():
        name = full_name(op)
        if why_out_of_scope(name):
            out_of_scope += 1
            continue
        if patterns and not any(fnmatch.fnmatch(name, pattern) for pattern in patterns):
            continue
        report = check(op, Report(name))
        reports.append(report)
        print_row(report, verbose)
    summary(reports, out_of_scope)
    return 0 if all(report.ok() for report in reports) else 1


def print_row(report: Report, verbose: bool) -> None:
    cells = [f"{report.passed[kind]}/{report.tried[kind]}" if report.tried[kind] else "-" for kind in KINDS]
    verdict = "MISSING" if report.missing else "ok" if report.ok() else "FAILS"
    print(f"{report.name:50s}", *(f"{cell:>9s}" for cell in cells), f" {verdict}", flush=True)
    if report.failures:
        for failure in report.failures if verbose else report.failures[:1]:
            print("     ", failure)


def summary(reports: list[Report], out_of_scope: int) -> None:
    tried: Counter[str] = Counter()
    passed: Counter[str] = Counter()
    for report in reports:
        tried.update(report.tried)
        passed.update(report.passed)
    print(f"{len(reports)} operations in scope ({out_of_scope} are not)")
    print(f"  all samples pass   {sum(report.ok() for report in reports)}")
    print(f"  missing            {', '.join(report.name for report in reports if report.missing) or 'none'}")
    for kind in KINDS:
        print(f"  {kind:18s} {passed[kind]} of {tried[kind]}")
    for report in reports:
        for reason, count in report.refused.items():
            print(f"  refused            {count} samples of {report.name}: {reason}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
