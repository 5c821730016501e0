"""Products of matrices by all their names: what NumPy gives, and refused as PyTorch refuses them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorgrad as tg

A, B = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4) - 5
U, V = np.array([1.0, -2.0, 3.0]), np.array([4.0, 0.5, 2.0])
STACK, OTHER = np.arange(24.0).reshape(2, 4, 3), np.arange(18.0).reshape(2, 3, 3)

SAME: dict[str, tuple[Any, tuple[Any, ...], Any]] = {
    "mm": (lambda tg, x, y: tg.mm(x, y), (A, B), A @ B),
    "bmm": (lambda tg, x, y: tg.bmm(x, y), (STACK, OTHER), STACK @ OTHER),
    "mv": (lambda tg, x, y: tg.mv(x, y), (A, U), A @ U),
    "dot": (lambda tg, x, y: tg.dot(x, y), (U, V), U @ V),
    "vdot": (lambda tg, x, y: tg.vdot(x, y), (U, V), U @ V),
    "outer": (lambda tg, x, y: tg.outer(x, y), (U, A[0]), np.outer(U, A[0])),
    "ger": (lambda tg, x, y: tg.ger(x, y), (U, V), np.outer(U, V)),
    "inner of vectors": (lambda tg, x, y: tg.inner(x, y), (U, V), np.inner(U, V)),
    "inner of a stack and a matrix": (lambda tg, x, y: tg.inner(x, y), (STACK, A), np.inner(STACK, A)),
    "inner of a matrix and a vector": (lambda tg, x, y: tg.inner(x, y), (A, U), np.inner(A, U)),
    "inner of a number": (lambda tg, x, y: tg.inner(x, y), (np.array(2.0), A), 2 * A),
    "inner with a number": (lambda tg, x, y: tg.inner(x, y), (A, np.array(2.0)), 2 * A),
    "inner of nothing": (lambda tg, x, y: tg.inner(x, y), (A[:, :0], B[:, :0]), np.zeros((2, 3))),
    "linear": (lambda tg, x, w: tg.nn.functional.linear(x, w), (STACK, B.T[:, :3]), STACK @ B),
    "linear with bias": (lambda tg, x, w, b: tg.nn.functional.linear(x, w, b), (STACK, B.T, B[0]), STACK @ B + B[0]),
    "linear of a vector": (lambda tg, x, w, b: tg.nn.functional.linear(x, w, b), (U, B.T, B[0]), U @ B + B[0]),
}


@pytest.mark.parametrize("name", SAME)
def test_same_as_numpy(name, device):
    function, arrays, expected = SAME[name]
    found = function(tg, *(tg.tensor(x, device=device) for x in arrays))
    assert (found.shape, found.tolist()) == (expected.shape, expected.tolist())


REFUSED: dict[str, tuple[Any, tuple[np.ndarray, ...], str]] = {
    "mm of stacks": (lambda tg, x, y: tg.mm(x, y), (STACK, OTHER), "mm: .* it takes 2 and 2"),
    "mm that does not fit": (lambda tg, x, y: tg.mm(x, y), (A, A), "mm: .* do not fit"),
    "bmm of unequal stacks": (lambda tg, x, y: tg.bmm(x, y), (STACK, OTHER[:1]), "bmm: .* do not fit"),
    "bmm of matrices": (lambda tg, x, y: tg.bmm(x, y), (A, B), "bmm: .* it takes 3 and 3"),
    "mv that does not fit": (lambda tg, x, y: tg.mv(x, y), (A, A[:, 0]), "mv: .* do not fit"),
    "mv of two matrices": (lambda tg, x, y: tg.mv(x, y), (A, B), "mv: .* it takes 2 and 1"),
    "dot of unequal vectors": (lambda tg, x, y: tg.dot(x, y), (U, U[:1]), "dot: .* do not fit"),
    "dot of matrices": (lambda tg, x, y: tg.dot(x, y), (A, A), "dot: .* it takes 1 and 1"),
    "vdot of matrices": (lambda tg, x, y: tg.vdot(x, y), (A, A), "vdot: .* it takes 1 and 1"),
    "inner of unequal rows": (lambda tg, x, y: tg.inner(x, y), (A, B), "inner: .* last sizes"),
    "outer of a matrix": (lambda tg, x, y: tg.outer(x, y), (A, U), "outer: .* two vectors"),
    "outer with a matrix": (lambda tg, x, y: tg.outer(x, y), (U, A), "outer: .* two vectors"),
    "matmul of a number": (lambda tg, x, y: tg.matmul(x, y), (np.array(2.0), A), "matmul: .* at least one dimension"),
    "matmul with a number": (lambda tg, x, y: tg.matmul(x, y), (A, np.array(2.0)), "matmul: .* at least one dimension"),
    "matmul that does not fit": (lambda tg, x, y: tg.matmul(x, y), (A, A), r"matmul: .* \(3\) .* \(2\)"),
    "matmul of two dtypes": (lambda tg, x, y: tg.matmul(x, y.float()), (A, B), "matmul: got dtypes float64 and float32"),
    "inner of two dtypes": (lambda tg, x, y: tg.inner(x, y.float()), (A, A), "inner: got dtypes"),
    "mm of two dtypes": (lambda tg, x, y: tg.mm(x, y.float()), (A, B), "mm: got dtypes"),
    "linear of too much": (lambda tg, x, w: tg.nn.functional.linear(x, w), (A, A[:, :2]), "linear: .* must be 2, "),
    "linear of a number": (lambda tg, x, w: tg.nn.functional.linear(x, w), (np.array(2.0), A), "linear: .* must be 3, "),
    "linear, two dtypes": (lambda tg, x, w: tg.nn.functional.linear(x, w.float()), (A, A), "linear: got dtypes"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    call, arrays, message = REFUSED[name]
    with pytest.raises(RuntimeError, match=message):
        call(tg, *(tg.tensor(x) for x in arrays))


@pytest.mark.oracle
@pytest.mark.parametrize("name", [*SAME, *REFUSED])
def test_as_pytorch(name):
    torch = pytest.importorskip("torch")
    call, arrays, expected = SAME[name] if name in SAME else REFUSED[name]
    if name in REFUSED:
        with pytest.raises(RuntimeError):
            call(torch, *(torch.tensor(x) for x in arrays))
        return
    found = call(torch, *(torch.tensor(x) for x in arrays))
    assert (tuple(found.shape), found.tolist()) == (expected.shape, expected.tolist())
