"""Rows: triangles, diagonals and strided views."""

from __future__ import annotations

import numpy as np
from ops.rows.table import reseed, row, signed, strided

import tensorgrad as tg

reseed(__name__)

for _note, _shape, _offset in [
    ("main", (3, 3), 0),
    ("above", (3, 4), 1),
    ("below", (4, 3), -2),
    ("corner", (2, 3), 2),
    ("outside", (2, 2), 3),
    ("stack", (2, 3, 3), -1),
]:
    row(
        "Diagonal",
        _note,
        lambda x, k=_offset: x.diagonal(k, -2, -1),
        [signed(*_shape)],
        lambda x, k=_offset: np.diagonal(x, k, -2, -1),
        oracle=lambda torch, x, k=_offset: x.diagonal(k, -2, -1),
    )
row("Diagonal", "strided", lambda x: x.diagonal(), [strided(signed(3, 3))], lambda x: x[[0, 1, 2], [0, 1, 2]])
row("Diagonal", "trace", tg.trace, [signed(3, 2)], lambda x: x[0, 0] + x[1, 1])
row("Diagonal", "diag", lambda x: x.diag(1), [signed(2, 3)], lambda x: np.diag(x, 1))
for _note, _offset in [("main", 0), ("above", 2), ("below", -1)]:
    row("Where", f"diag-{_note}", lambda x, k=_offset: x.diag(k), [signed(3)], lambda x, k=_offset: np.diag(x, k))
    row("Where", f"tril-{_note}", lambda x, k=_offset: x.tril(k), [signed(3, 4)], lambda x, k=_offset: np.tril(x, k))
    row("Where", f"triu-{_note}", lambda x, k=_offset: x.triu(k), [signed(4, 3)], lambda x, k=_offset: np.triu(x, k))
row(
    "Where",
    "diag_embed",
    lambda x: x.diag_embed(0, 0, 2),
    [signed(2, 3)],
    lambda x: np.array([np.diag(r) for r in x]).transpose(1, 0, 2),
    oracle=lambda torch, x: x.diag_embed(0, 0, 2),
)
for _note, _dim, _size, _step in [("overlap", 0, 3, 1), ("apart", 1, 2, 2), ("gaps", 0, 1, 3), ("whole", 1, 5, 1)]:
    row(
        "Windows",
        f"unfold-{_note}",
        lambda x, s=(_dim, _size, _step): x.unfold(*s),
        [signed(6, 5)],
        lambda x, s=(_dim, _size, _step): np.lib.stride_tricks.sliding_window_view(x, s[1], s[0])[
            (slice(None),) * s[0] + (slice(None, None, s[2]),)
        ],
        oracle=lambda torch, x, s=(_dim, _size, _step): x.unfold(*s),
    )
row(
    "Windows",
    "unfold-strided",
    lambda x: x.unfold(0, 2, 1),
    [strided(signed(3, 2))],
    lambda x: np.stack([x[:-1], x[1:]], 2),
)
for _note, _size, _stride, _offset in [
    ("columns", (2, 2), (1, 3), 1),
    ("repeated", (3, 2), (0, 1), 0),
    ("overlap", (3, 2), (1, 1), 2),
]:
    row(
        "AsStrided",
        _note,
        lambda x, s=(_size, _stride, _offset): x.as_strided(*s),
        [signed(2, 3)],
        lambda x, s=(_size, _stride, _offset): np.array(
            [[x.ravel()[s[2] + i * s[1][0] + j * s[1][1]] for j in range(s[0][1])] for i in range(s[0][0])]
        ),
        oracle=lambda torch, x, s=(_size, _stride, _offset): x.as_strided(*s),
    )
