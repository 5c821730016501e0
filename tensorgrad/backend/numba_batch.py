"""Convolution of thin images in float32, a register of *images* at a time: the memory is (C, H, W, N), batch last.

One channel or six fill a register of sixteen badly, but a batch of 64 fills four of them exactly. With the images side by side
every number of an image is a line of N numbers, so a convolution is made of whole registers whatever C, O and the window
are, and nothing is ever framed, packed or wasted:

    z[o, i, j, :] = bias[o] + sum_{c, k, l} w[o, c, k, l] * x[c, i sh + k dh - top, j sw + l dw - left, :]

for all o at once is the tile of numba_tile.py where it lies: rows of weights times lines of images. The weight gradient
sums along the images, dw[o, c, k, l] = sum_{i, j} dz[o, i, j, :] . x[...], which is the tile made here. N is a multiple of
LANES. A. Krizhevsky's cuda-convnet (2012) kept its images in this order.
"""

from __future__ import annotations

import functools
from typing import Any

from tensorgrad.backend.numba_simd import Kernel, kernel, lanes, numba
from tensorgrad.backend.numba_tile import across

if numba is not None:
    from tensorgrad.backend.numba_simd import I64, LANES, arg, bc, get, instruction, ir, put, st, turn, types

#: Features and taps of a row that a tile of the weight gradient sums at once, by LANES; sums stay in registers.
FEATURES = {16: (6, 4, 2, 1), 8: (4, 2, 1), 4: (6, 4, 2, 1)}
TAPS = {16: (5, 3, 1), 8: (3, 1), 4: (3, 1)}


@kernel
def turned(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """Matrices (rows, columns), `apart` bytes from one to the next and rows `step` bytes, transposed into (columns, rows).

    Items: (matrices, LANES columns).
    """
    source, apart, step, rows, columns = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4)
    line, blocks = rows * 4, (arg(a, 4) + LANES - 1) // LANES
    for item in range(start, stop):
        matrix, block = item // blocks, item % blocks
        x, z = source + matrix * apart, arg(a, 5) + matrix * columns * line
        first, last = block * LANES, min(columns, block * LANES + LANES)
        whole = rows // LANES * LANES if last - first == LANES else 0
        for row in range(0, whole, LANES):
            turn(x + row * step + first * 4, step, z + first * line + row * 4, line)
        for column in range(first, last):
            for row in range(whole, rows):
                put(z + column * line + row * 4, get(x + row * step + column * 4))


@kernel
def convolve(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """z (O, OH, OW, N) = bias (O) + the windows of x (C, H, W, N) times w (O, C, KH, KW). Items: (OH, 2 LANES images).

    Taps that lie outside of the image are left out, so padding costs nothing.
    """
    tables, x, images, channels, height, width = arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5)
    top, left, sh, sw, dh, dw, kh, kw = (
        arg(a, 6), arg(a, 7), arg(a, 8), arg(a, 9), arg(a, 10), arg(a, 11), arg(a, 12), arg(a, 13)
    )  # fmt: skip
    w, bias, z, features, rows, columns = arg(a, 14), arg(a, 15), arg(a, 16), arg(a, 17), arg(a, 18), arg(a, 19)
    point, of_feature = images * 4, channels * kh * kw * 4
    pairs = (images + 2 * LANES - 1) // (2 * LANES)
    for item in range(start, stop):
        i, first_image = item // pairs, item % pairs * 2 * LANES
        vectors = 2 if images - first_image >= 2 * LANES else 1
        row = i * sh - top
        k0 = (max(0, -row) + dh - 1) // dh
        k1 = max(k0, min(kh, (height - row + dh - 1) // dh))
        for j in range(columns):
            column = j * sw - left
            l0 = (max(0, -column) + dw - 1) // dw
            l1 = max(l0, min(kw, (width - column + dw - 1) // dw))
            target = z + (i * columns + j) * point + first_image * 4
            if bias != 0:
                for o in range(features):
                    for v in range(vectors):
                        st(target + o * rows * columns * point + v * LANES * 4, bc(get(bias + o * 4)))
            source = x + ((row + k0 * dh) * width + column + l0 * dw) * point + first_image * 4
            weights = w + (k0 * kw + l0) * 4
            for c in range(channels):
                across(tables, vectors, features, weights + c * kh * kw * 4, source + c * height * width * point, target,
                       k1 - k0, l1 - l0, kw * 4, of_feature, dh * width * point, dw * point, rows * columns * point,
                       1 if c > 0 or bias != 0 else 0)  # fmt: skip


@functools.cache
def dots(features: int, taps: int) -> Kernel:
    """The tile of a weight gradient: out[r, s] = sum over lines, columns, numbers of a[r] * b[s], r < features, s < taps.

    Its arguments, addresses and strides in bytes: a, b, out; lines, columns, registers; a's strides of r, line, column; b's
    of s, line, column; out's of r. What lies in a register is adjacent, and so are registers and the sums of a row.
    """
    build = lambda b, *values: _Dots(b, features, taps, values).build()  # noqa: E731
    emit = instruction([types.int64] * 13, types.void, build)

    def tile(a, b, out, lines, columns, registers, ar, ai, aj, bs, bi, bj, outr):  # type: ignore[no-untyped-def]
        emit(a, b, out, lines, columns, registers, ar, ai, aj, bs, bi, bj, outr)

    tile.__name__ = f"dots_{features}x{taps}"
    return Kernel(tile, 13)


class _Dots:
    """Emits the instructions of one such tile: three loops around features * taps products."""

    def __init__(self, builder: Any, features: int, taps: int, values: tuple[Any, ...]) -> None:
        from tensorgrad.backend import numba_simd as simd

        self.b, self.simd, self.features, self.taps = builder, simd, features, taps
        self.a, self.b_start, self.out, *counts = values[:6]
        self.counts: list[Any] = counts
        self.ar, ai, aj, self.bs, bi, bj, self.outr = values[6:]
        register = self.const(4 * simd.LANES)
        self.steps_of_a, self.steps_of_b = [ai, aj, register], [bi, bj, register]

    def const(self, x: int) -> Any:
        return self.simd.ir.Constant(self.simd.I64, x)

    def build(self) -> None:
        b, simd = self.b, self.simd
        sums = self.loops(0, self.a, self.b_start, [simd.ZERO] * (self.features * self.taps))
        name = f"llvm.vector.reduce.fadd.v{simd.LANES}f32"
        kind = simd.ir.FunctionType(simd.F32, [simd.F32, simd.VEC])
        reduce = simd.cgutils.get_or_insert_function(b.module, kind, name)
        for r in range(self.features):
            row = b.add(self.out, b.mul(self.outr, self.const(r)))
            for s in range(self.taps):
                zero = simd.ir.Constant(simd.F32, 0.0)
                total = b.call(reduce, [zero, sums[r * self.taps + s]], fastmath=("reassoc",))
                b.store(total, simd.pointer(b, b.add(row, self.const(4 * s)), simd.F32), align=4)

    def loops(self, depth: int, a: Any, b_at: Any, sums: list[Any]) -> list[Any]:
        """Add up the products of this loop and those inside it; every loop is gone through at least once."""
        if depth == len(self.counts):
            return self.products(a, b_at, sums)
        b = self.b
        before = b.block
        body, after = b.append_basic_block("body"), b.append_basic_block("after")
        b.branch(body)
        b.position_at_end(body)
        phis = []
        for value in (self.const(0), a, b_at, *sums):
            phi = b.phi(value.type)
            phi.add_incoming(value, before)
            phis.append(phi)
        index, old_a, old_b, *old_sums = phis
        new_sums = self.loops(depth + 1, old_a, old_b, old_sums)
        again = b.add(index, self.const(1))
        forward = [again, b.add(old_a, self.steps_of_a[depth]), b.add(old_b, self.steps_of_b[depth]), *new_sums]
        for phi, value in zip(phis, forward):
            phi.add_incoming(value, b.block)
        b.cbranch(b.icmp_signed("<", again, self.counts[depth]), body, after)
        b.position_at_end(after)
        return new_sums

    def products(self, a: Any, b_at: Any, sums: list[Any]) -> list[Any]:
        b, simd = self.b, self.simd
        places = [b.add(b_at, b.mul(self.bs, self.const(s))) for s in range(self.taps)]
        of_taps = [b.load(simd.pointer(b, place), align=4) for place in places]
        result = []
        for r in range(self.features):
            place = b.add(a, b.mul(self.ar, self.const(r)))
            of_feature = b.load(simd.pointer(b, place), align=4)
            for s in range(self.taps):
                result.append(simd.fused(b, of_feature, of_taps[s], sums[r * self.taps + s]))
        return result


def _call_of_dots() -> Any:
    kind = ir.FunctionType(ir.VoidType(), [I64] * 13)

    def build(b: Any, tile: Any, *values: Any) -> None:
        b.call(b.inttoptr(tile, kind.as_pointer()), values)

    return instruction([types.int64] * 14, types.void, build)


if numba is not None:
    call_dots = _call_of_dots()
    for _features in FEATURES[lanes()]:  # so that a warm-up finds them
        for _taps in TAPS[lanes()]:
            dots(_features, _taps)


@kernel
def gradient(a, start, stop, thread, part):  # type: ignore[no-untyped-def]
    """dw (parts, O, C, KH, KW) of rows of outputs summed in parts. Items: (part, C, KH, block).

    A block is (feature, tap, tile): what it makes begins there. x (C, H, W, N) has its padding in it; dz (O, OH, OW, N).
    """
    blocks, count, x, images, channels, height, width = (
        arg(a, 0), arg(a, 1), arg(a, 2), arg(a, 3), arg(a, 4), arg(a, 5), arg(a, 6)
    )  # fmt: skip
    sh, sw, dh, dw, kh, kw = arg(a, 7), arg(a, 8), arg(a, 9), arg(a, 10), arg(a, 11), arg(a, 12)
    target, dz, features, rows, columns, parts = arg(a, 13), arg(a, 14), arg(a, 15), arg(a, 16), arg(a, 17), arg(a, 18)
    point = images * 4
    # with a stride of 1 a whole row of outputs is one line
    merged = sw == 1
    at_once, registers = (1, columns * images // LANES) if merged else (columns, images // LANES)
    for item in range(start, stop):
        block = blocks + item % count * 24
        o, l, tile = arg(block, 0), arg(block, 1), arg(block, 2)
        k, c, p = item // count % kh, item // count // kh % channels, item // count // kh // channels
        first, last = rows * p // parts, rows * (p + 1) // parts
        of_dz = dz + (o * rows + first) * columns * point
        of_x = x + ((c * height + first * sh + k * dh) * width + l * dw) * point
        out = target + ((((p * features + o) * channels + c) * kh + k) * kw + l) * 4
        call_dots(tile, of_dz, of_x, out, last - first, at_once, registers, rows * columns * point, columns * point, point,
                  dw * point, sh * width * point, sw * point, channels * kh * kw * 4)  # fmt: skip
