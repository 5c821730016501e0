"""Products of two matrices in float32 on compiled kernels: chooses among those of numba_matrix.py and packed panels."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.backend import batch, direct, team
from tensorgrad.backend import numba_matrix as code
from tensorgrad.backend.direct import SHARED_PRODUCTS, address, to_lanes
from tensorgrad.backend.memory import aligned
from tensorgrad.backend.numba_simd import lanes
from tensorgrad.backend.numba_tile import tables

Array = np.ndarray[Any, Any]

#: Rows of x up to which the other matrix is what counts: it is read once, where it lies.
SKINNY = 32
#: Rows of both matrices of which a block and a panel stay in the caches together.
DEPTH_AT_ONCE = 256


def product(x: Array, y: Array, bias: Array | None = None) -> Array | None:
    """x (M, K) y (K, N) + bias (N), or None where these kernels are not made for it: a row or column alone, memory of another order."""
    rows, depth = x.shape
    features = y.shape[1]
    if min(rows, depth, features) < 2:
        return None
    if x.strides[0] == 4 and x.strides[1] >= 4 * rows and rows > 1:
        if bias is None and y.strides[0] == 4 and y.strides[1] == 4 * depth and depth > 1:
            y = batch.turned(y.T)
        if bias is None and _has_rows(y):
            return _transposed(x.T, y)
    if x.strides[0] == 4 and x.strides[1] == 4 * rows:
        x = batch.turned(x.T)
    if not _has_rows(x):
        return None
    z = aligned((rows, features), np.float32)
    worthwhile = rows * depth * features >= SHARED_PRODUCTS
    if rows <= SKINNY and y.strides[0] == 4 and y.strides[1] >= 4 * depth:
        words = [address(x), x.strides[0], rows, address(y), y.strides[1], features, depth, address(z), z.strides[0]]
        scratch = aligned((team.threads(), lanes()), np.float32)
        team.run(code.scalars, [*words, address(scratch)], -(-features // 4), worthwhile)
    elif rows <= SKINNY and _has_rows(y) and features % lanes() == 0:
        panels = -(-features // (2 * lanes()))
        at_once = -(-panels // team.threads())  # long runs of y's rows
        words = [
            address(x),
            x.strides[0],
            rows,
            depth,
            address(y),
            y.strides[0],
            features,
            address(z),
            z.strides[0],
            at_once,
        ]
        team.run(code.streamed, [address(tables()), *words], -(-panels // at_once), worthwhile)
    else:
        direct.product(x, y, bias, z)
        return z
    if bias is not None:
        z += bias
    return z


def _has_rows(x: Array) -> bool:
    """Whether each row's numbers lie side by side."""
    return x.strides[1] == 4 and x.strides[0] >= 4 * x.shape[1]


def _transposed(x: Array, y: Array) -> Array:
    """x (K, M)^T y (K, N)."""
    depth, rows = x.shape
    features = y.shape[1]
    whole = to_lanes(features)
    if whole != features:
        filled = aligned((depth, whole), np.float32)
        filled[:, features:] = 0
        filled[:, :features] = y
        y = filled
    z = aligned((rows, whole), np.float32)
    words = [address(x), x.strides[0], rows, depth, address(y), y.strides[0], whole, address(z), z.strides[0]]
    worthwhile = rows * depth * whole >= SHARED_PRODUCTS
    team.run(code.transposed, [address(tables()), *words], -(-rows // code.BLOCK), worthwhile)
    return z if whole == features else np.ascontiguousarray(z[:, :features])


def transposed_by_panels(x: Array, y: Array) -> Array:
    """x (K, M)^T y (K, N), both with contiguous rows, N whole registers: for results of a megabyte and more."""
    depth, rows = x.shape
    features = y.shape[1]
    packed = aligned((depth * features,), np.float32)
    team.run(code.panels, [address(y), y.strides[0], depth, features, address(packed)], depth, y.size >= 1 << 14)
    z = aligned((rows, features), np.float32)
    at_once = -(-depth // -(-depth // DEPTH_AT_ONCE))
    scratch = aligned((team.threads(), at_once * code.BLOCK), np.float32)
    words = [address(x), x.strides[0], rows, depth, address(packed), features, address(z), z.strides[0], at_once]
    worthwhile = rows * depth * features >= SHARED_PRODUCTS
    settings = [address(tables()), *words, address(scratch)]
    team.run(code.transposed_by_panels, settings, -(-rows // code.BLOCK), worthwhile)
    return z
