"""Record what the tests' table of cases applies, for `tensorgrad check`:  python scripts/record_samples.py

Writes tensorgrad/gradcheck/samples.json: for every row of tests/ops/rows the class, settings and inputs of the application
that the row is about. Run it after adding rows; a test fails while a primitive has no sample.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import standin  # noqa: E402, F401  (registers the device that some rows name)
from ops.cases import CASES, Case  # noqa: E402

from tensorgrad.gradcheck.samples import FILE, Sample, all_primitives, save  # noqa: E402
from tensorgrad.primitive import observers  # noqa: E402
from tensorgrad.tensor import Tensor  # noqa: E402

#: So many rows of a primitive, of so many numbers, go to the user; the tests have all.
ROWS, NUMBERS = 6, 120


def record(case: Case) -> Sample | None:
    """The first application of the row's primitive, if it is on NumPy arrays and has something to differentiate."""
    found: list[Sample] = []

    def observe(primitive: Any, inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
        arrays = [x.array if isinstance(x, Tensor) else x for x in inputs]
        ours = all(isinstance(x, np.ndarray) for x, y in zip(arrays, inputs) if isinstance(y, Tensor))
        if type(primitive).__name__ == case.primitive and ours and not found:
            settings = tuple(getattr(primitive, name) for name in primitive.settings)
            found.append(Sample(case.primitive, case.note, settings, tuple(short(x) for x in arrays)))

    observers.append(observe)
    try:
        case.function(*[Tensor(x.copy(), requires_grad=x.dtype.kind == "f") for x in case.inputs])
    finally:
        observers.remove(observe)
    if not found:
        return None
    floats = any(isinstance(x, np.ndarray) and x.dtype == np.float64 for x in found[0].inputs)
    return found[0] if floats or not all_primitives()[case.primitive].differentiable else None


def numbers(sample: Sample) -> int:
    return sum(np.size(x) for x in sample.inputs)


def chosen(samples: list[Sample]) -> list[Sample]:
    """The first rows that are not large; if all are, the smallest."""
    small = [sample for sample in samples if numbers(sample) <= NUMBERS]
    return small[:ROWS] or sorted(samples, key=numbers)[:1]


def short(x: Any) -> Any:
    """Values with four decimals, if that leaves those apart that were apart."""
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f" or not (np.abs(x) < 1e6).all():
        return x
    rounded = np.asarray(np.round(x, 4))
    same = np.unique(rounded).size == np.unique(x).size and not ((rounded == 0) & (x != 0)).any()
    return rounded if same else x


def main() -> int:
    known = all_primitives()
    recorded: dict[str, list[Sample]] = {name: [] for name in known}
    for case in CASES:
        sample = record(case) if case.primitive in known else None
        if sample is not None:
            recorded[case.primitive].append(sample)
    samples = [sample for rows in recorded.values() for sample in chosen(rows)]
    save(samples)
    missing = sorted(name for name, rows in recorded.items() if not rows)
    print(f"{FILE.relative_to(ROOT)}: {len(samples)} samples, {FILE.stat().st_size:,} bytes")
    if missing:
        print(f"no row applies {', '.join(missing)}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
