"""The one hot loop of convolutions and matrix products: a tile of the result that stays in registers.

    C[r, j] (+)= sum_{h < KH} sum_{k < KL} A[h * ah + k * ak + r * ar] * B[h * bh + k * bk + j]

for `rows` values of r and vectors * LANES values of j. It is emitted as LLVM vector instructions: every step of k loads
`vectors` registers of B, takes one number of A per row into all places of a register, and makes rows * vectors
fused multiplications and additions. Two kinds differ in what is adjacent in A:

    across   ak = 1, rows `ar` apart: rows of outputs times packed weights
    along    ar = 1, steps `ak` apart: A transposed, as the weight gradient has it

The outer sum over h lets a window of an image be read where it lies: KH rows of KW * C adjacent numbers.
K. Goto, R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tensorgrad.backend.numba_simd import Kernel, inline, lanes, numba

if numba is not None:
    from tensorgrad.backend.numba_simd import LANES, arg, bc, get, ld, ld_first, put, st, st_first

#: Rows of tiles, by LANES, kind and vectors: as many as registers hold (32 with AVX-512 and NEON, 16 with AVX2), and few
#: enough smaller ones to make up any number.
ROWS = {
    (16, "across", 2): (14, 8, 7, 6, 4, 2, 1),
    (16, "across", 1): (16, 14, 8, 7, 4, 1),
    (16, "along", 2): (12, 11, 8, 7, 4, 1),
    (16, "along", 1): (12, 8, 5, 4, 1),
    (8, "across", 2): (6, 4, 3, 1),
    (8, "across", 1): (12, 8, 7, 4, 1),
    (8, "along", 2): (6, 4, 3, 1),
    (8, "along", 1): (12, 8, 4, 1),
    (4, "across", 2): (12, 8, 7, 4, 1),
    (4, "across", 1): (16, 14, 8, 7, 4, 1),
    (4, "along", 2): (12, 8, 7, 4, 1),
    (4, "along", 1): (16, 8, 4, 1),
}
#: A table's entries, a pair (rows, address of the tile) for 0 .. LONGEST rows that are left to compute.
LONGEST = 255
#: Rows of two registers that a tile with fewer columns needs as scratch memory.
ROWS_OF_SCRATCH = 56
#: Bytes of one table.
TABLE = (LONGEST + 1) * 16


def tiles() -> list[Kernel]:
    """All tiles of this register's width, compiled or not."""
    return [_tile(kind, n, vectors) for (width, kind, vectors), rows in ROWS.items() if width == lanes() for n in rows]


@functools.cache
def tables() -> np.ndarray[Any, Any]:
    """How to compute any number of rows: (kind, vectors, rows left, (rows of the next tile, its address)), int64.

    The numbers of rows are split so that the sum of what their tiles cost is least: a step costs as long as its
    products take (two a cycle), but at least the four cycles until a sum can be used again, and a bit for the loop.
    """
    found = np.zeros((2, 2, LONGEST + 1, 2), np.int64)
    for (width, kind, vectors), sizes in ROWS.items():
        if width != lanes():
            continue
        addresses = {rows: _tile(kind, rows, vectors).address for rows in sizes}
        best = [0.0]
        for left in range(1, LONGEST + 1):
            costs = [(max(rows * vectors / 2, 4) + 0.6 + best[left - rows], rows) for rows in sizes if rows <= left]
            cost, rows = min(costs)
            best.append(cost)
            found[int(kind == "along"), vectors - 1, left] = rows, addresses[rows]
    return found


@functools.cache
def _tile(kind: str, rows: int, vectors: int) -> Kernel:
    """The tile as a kernel of (A, B, C, KH, KL, ah, a2, bh, bk, c, add): addresses and strides in bytes, a2 the stride of A
    that is not 1, c that of C's rows; C is overwritten, or added to where `add` is not 0."""
    emit = _emitter(kind, rows, vectors)

    def tile(A, B, C, KH, KL, ah, a2, bh, bk, c, add):  # type: ignore[no-untyped-def]
        emit(A, B, C, KH, KL, ah, a2, bh, bk, c, add)

    tile.__name__ = f"tile_{kind}_{rows}x{vectors}"
    return Kernel(tile, 11)


def _emitter(kind: str, rows: int, vectors: int) -> Any:
    from tensorgrad.backend import numba_simd as simd

    def build(b: Any, *values: Any) -> None:
        _Tile(b, kind, rows, vectors).build(*values)

    return simd.instruction([simd.types.int64] * 11, simd.types.void, build)


class _Tile:
    """Emits the instructions of one tile: loops over h and k, the sums in registers carried around them."""

    def __init__(self, builder: Any, kind: str, rows: int, vectors: int) -> None:
        from tensorgrad.backend import numba_simd as simd

        self.b, self.simd = builder, simd
        self.across, self.rows, self.vectors = kind == "across", rows, vectors
        self.steps = 2 if rows * vectors > 24 else 4  # of k in one round of the inner loop
        self.width = 4 * simd.LANES

    def const(self, x: int) -> Any:
        return self.simd.ir.Constant(self.simd.I64, x)

    def at(self, address: Any, offset: int) -> Any:
        return self.b.add(address, self.const(offset)) if offset else address

    def each_of_c(self, C: Any, c: Any) -> list[Any]:
        """The addresses of all registers of C, row by row."""
        places = []
        for _ in range(self.rows):
            places += [self.at(C, v * self.width) for v in range(self.vectors)]
            C = self.b.add(C, c)
        return places

    def build(
        self, A: Any, B: Any, C: Any, KH: Any, KL: Any, ah: Any, a2: Any, bh: Any, bk: Any, c: Any, add: Any
    ) -> None:
        b, simd = self.b, self.simd
        self.a2, self.bk = a2, bk
        places = self.each_of_c(C, c)
        entry = b.block
        load, start, end = (b.append_basic_block(name) for name in ("load", "start", "end"))
        b.cbranch(b.icmp_signed("!=", add, self.const(0)), load, start)
        b.position_at_end(load)
        before = [b.load(simd.pointer(b, place), align=4) for place in places]
        b.branch(start)
        b.position_at_end(start)
        sums = [self.phi(simd.VEC, [(simd.ZERO, entry), (old, load)]) for old in before]
        if self.across:  # five rows are addressed from one base: bases and multiples stay in registers
            self.multiples = [None, a2, b.mul(a2, self.const(2)), b.mul(a2, self.const(3)), b.mul(a2, self.const(4))]
            self.bases = [b.mul(a2, self.const(first)) for first in range(0, self.rows, 5)]
        whole = b.and_(KL, self.const(-self.steps))

        outer = b.append_basic_block("outer")
        b.cbranch(b.icmp_signed(">", KH, self.const(0)), outer, end)
        b.position_at_end(outer)
        h, a_h, b_h = (self.phi(simd.I64, [(x, start)]) for x in (self.const(0), A, B))
        carried = [self.phi(simd.VEC, [(x, start)]) for x in sums]
        a_k = [self.at_base(a_h, i) for i in range(len(self.bases))] if self.across else [a_h]
        a_k, b_k, inner = self.loop(self.const(0), whole, a_k, b_h, carried, self.steps)
        a_k, b_k, inner = self.loop(whole, KL, a_k, b_k, inner, 1)
        last = b.block
        again = b.add(h, self.const(1))
        for phi, value in zip([h, a_h, b_h, *carried], [again, b.add(a_h, ah), b.add(b_h, bh), *inner]):
            phi.add_incoming(value, last)
        b.cbranch(b.icmp_signed("<", again, KH), outer, end)
        b.position_at_end(end)
        final = [self.phi(simd.VEC, [(x, start), (y, last)]) for x, y in zip(sums, inner)]
        for place, value in zip(places, final):
            b.store(value, simd.pointer(b, place), align=4)

    def at_base(self, address: Any, number: int) -> Any:
        return address if number == 0 else self.b.add(address, self.bases[number])

    def phi(self, kind: Any, incoming: list[tuple[Any, Any]]) -> Any:
        made = self.b.phi(kind)
        for value, block in incoming:
            made.add_incoming(value, block)
        return made

    def loop(self, first: Any, stop: Any, a_k: list[Any], b_k: Any, sums: list[Any], steps: int) -> Any:
        """for k in range(first, stop, steps), where `steps` divides it: (A's addresses, B's, sums) afterwards."""
        b, simd = self.b, self.simd
        before = b.block
        body, after = b.append_basic_block("k"), b.append_basic_block("after")
        b.cbranch(b.icmp_signed("<", first, stop), body, after)
        b.position_at_end(body)
        k = self.phi(simd.I64, [(first, before)])
        old_a = [self.phi(simd.I64, [(x, before)]) for x in a_k]
        old_b = self.phi(simd.I64, [(b_k, before)])
        old_sums = [self.phi(simd.VEC, [(x, before)]) for x in sums]
        new_sums = list(old_sums)
        for step in range(steps):
            self.products(old_a, old_b, step, new_sums)
        forward = self.const(4 * steps) if self.across else b.mul(self.a2, self.const(steps))
        new_a = [b.add(x, forward) for x in old_a]
        new_b = b.add(old_b, b.mul(self.bk, self.const(steps)))
        again = b.add(k, self.const(steps))
        last = b.block
        for phi, value in zip([k, *old_a, old_b, *old_sums], [again, *new_a, new_b, *new_sums]):
            phi.add_incoming(value, last)
        b.cbranch(b.icmp_signed("<", again, stop), body, after)
        b.position_at_end(after)
        merged = [self.phi(simd.I64, [(x, before), (y, last)]) for x, y in zip([*a_k, b_k], [*new_a, new_b])]
        results = [self.phi(simd.VEC, [(x, before), (y, last)]) for x, y in zip(sums, new_sums)]
        return merged[:-1], merged[-1], results

    def products(self, a_k: list[Any], b_k: Any, step: int, sums: list[Any]) -> None:
        """sums[r, v] += A[r] * B[v], `step` steps of k further on."""
        b, simd = self.b, self.simd
        row_of_b = b_k if step == 0 else b.add(b_k, b.mul(self.bk, self.const(step)))
        loaded = [b.load(simd.pointer(b, self.at(row_of_b, v * self.width)), align=4) for v in range(self.vectors)]
        start = a_k[0] if self.across or step == 0 else b.add(a_k[0], b.mul(self.a2, self.const(step)))
        for r in range(self.rows):
            if self.across:
                base, multiple = a_k[r // 5], self.multiples[r % 5]
                place = self.at(base if multiple is None else b.add(base, multiple), 4 * step)
            else:
                place = self.at(start, 4 * r)
            number = simd.splat(b, b.load(simd.pointer(b, place, simd.F32), align=4))
            for v in range(self.vectors):
                at = r * self.vectors + v
                sums[at] = simd.fused(b, number, loaded[v], sums[at])


def call_of_tile() -> Any:
    """A function for kernels that calls the tile at an address: (tile, A, B, C, KH, KL, ah, a2, bh, bk, c, add)."""
    from tensorgrad.backend import numba_simd as simd

    kind = simd.ir.FunctionType(simd.ir.VoidType(), [simd.I64] * 11)

    def build(b: Any, tile: Any, *values: Any) -> None:
        b.call(b.inttoptr(tile, kind.as_pointer()), values)

    return simd.instruction([simd.types.int64] * 12, simd.types.void, build)


if numba is not None:
    call_tile = call_of_tile()


@inline
def across(tables, vectors, rows, A, B, C, KH, KL, ah, ar, bh, bk, c, add):  # type: ignore[no-untyped-def]
    """Any number of rows of C, rows of A `ar` bytes apart, with the tiles of `tables`."""
    table = tables + (vectors - 1) * TABLE
    while rows > 0:
        entry = table + min(rows, LONGEST) * 16
        done = arg(entry, 0)
        call_tile(arg(entry, 1), A, B, C, KH, KL, ah, ar, bh, bk, c, add)
        rows -= done
        A += done * ar
        C += done * c


@inline
def along(tables, vectors, rows, A, B, C, KH, KL, ah, ak, bh, bk, c, add):  # type: ignore[no-untyped-def]
    """Any number of rows of C, which are adjacent numbers of A."""
    table = tables + (vectors + 1) * TABLE
    while rows > 0:
        entry = table + min(rows, LONGEST) * 16
        done = arg(entry, 0)
        call_tile(arg(entry, 1), A, B, C, KH, KL, ah, ak, bh, bk, c, add)
        rows -= done
        A += done * 4
        C += done * c


@inline
def with_bias(vectors, rows, bias, C, c):  # type: ignore[no-untyped-def]
    """Rows of C begin as the bias, to be added to."""
    for r in range(rows):
        for v in range(vectors):
            st(C + r * c + v * LANES * 4, ld(bias + v * LANES * 4))


@inline
def panel(tables, width, rows, A, B, C, KH, KL, ah, ar, bh, bias, c, add, scratch):  # type: ignore[no-untyped-def]
    """C (rows, width) = bias + A B for one panel of packed weights; bias is an address, or 0 for none.

    The panel has one register of columns or two. Where C has fewer columns, tiles are made in `scratch`, ROWS_OF_SCRATCH
    rows of two registers.
    """
    vectors = 1 if width <= LANES else 2
    bk = vectors * LANES * 4
    if width == vectors * LANES:
        if bias != 0 and add == 0:
            with_bias(vectors, rows, bias, C, c)
        across(tables, vectors, rows, A, B, C, KH, KL, ah, ar, bh, bk, c, 1 if bias != 0 else add)
        return
    for first in range(0, rows, ROWS_OF_SCRATCH):
        some = min(ROWS_OF_SCRATCH, rows - first)
        target = C + first * c
        if add != 0:
            for r in range(some):
                for o in range(0, width, LANES):
                    st(scratch + r * bk + o * 4, ld_first(target + r * c + o * 4, width - o))
        elif bias != 0:
            with_bias(vectors, some, bias, scratch, bk)
        again = 1 if bias != 0 else add
        across(tables, vectors, some, A + first * ar, B, scratch, KH, KL, ah, ar, bh, bk, bk, again)
        for r in range(some):
            for o in range(0, width, LANES):
                st_first(target + r * c + o * 4, ld(scratch + r * bk + o * 4), width - o)


@inline
def copy(target, source, count):  # type: ignore[no-untyped-def]
    """count numbers of float32 that lie side by side."""
    whole = count - count % LANES
    for i in range(0, whole, LANES):
        st(target + i * 4, ld(source + i * 4))
    for i in range(whole, count):
        put(target + i * 4, get(source + i * 4))


@inline
def clear(target, count):  # type: ignore[no-untyped-def]
    """count zeros of float32."""
    zero = bc(np.float32(0))
    whole = count - count % LANES
    for i in range(0, whole, LANES):
        st(target + i * 4, zero)
    for i in range(whole, count):
        put(target + i * 4, np.float32(0))


@inline
def frame(image, xh, xw, xc, H, W, C, top, left, rows, columns, target):  # type: ignore[no-untyped-def]
    """Rows top .. and columns left .. of an image into compact (rows, columns, C), zero outside of the image.

    The image is (H, W, C) with any strides, in bytes; top and left may be negative, which is what padding is.
    """
    first, last = max(0, -left), max(0, min(columns, W - left))
    if last < first:
        last = first
    for i in range(rows):
        h = top + i
        line = target + i * columns * C * 4
        if h < 0 or h >= H:
            clear(line, columns * C)
            continue
        clear(line, first * C)
        clear(line + last * C * 4, (columns - last) * C)
        source = image + h * xh + (first + left) * xw
        inside = line + first * C * 4
        if xc == 4 and xw == C * 4:
            copy(inside, source, (last - first) * C)
        elif xc == 4:
            for j in range(last - first):
                copy(inside + j * C * 4, source + j * xw, C)
        else:
            for c in range(C):
                for j in range(last - first):
                    put(inside + (j * C + c) * 4, get(source + c * xc + j * xw))
