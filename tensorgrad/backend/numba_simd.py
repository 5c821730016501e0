"""Vector registers for Numba, and how kernels written with them become machine code.

LLVM turns a simple loop into vector instructions, but gives up on loops over several arrays, which it cannot prove to
be apart. Here a register is a value: `ld(address)` fills one, `fma(x, y, z)` computes with it, `st(address, z)` stores
it. A register holds LANES numbers of float32: 16 with AVX-512, 8 with AVX2, 4 elsewhere (NEON).

A *kernel* is a function of five whole numbers, (a, start, stop, thread, part), called from machine code by team.py. At
address a lie its arguments, addresses and sizes, read by `arg(a, i)`. start .. stop is its share of the work, thread
the number of the thread that does it (for scratch memory), part the number of the share (for sums of its own). It is
compiled when it is first asked for, and kept on disk under a name with LANES and a digest of the files it is made of
(its own, this one, and the other numba_*.py that it imports from), so that nothing stale is ever found.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorgrad.locks import lock

numba: Any
try:
    numba = importlib.import_module("numba")
except ImportError:  # the files that use it can still be imported: tools that read every module do
    numba = None
# Any on purpose: a type checker sees the same with and without Numba
ir: Any
types: Any

#: How often LLVM may see a sum in another order, a * b + c be one rounding, and -0 be 0.
FREEDOM = frozenset(("contract", "reassoc", "nsz", "arcp"))


@functools.cache
def lanes() -> int:
    """Numbers of float32 in a vector register; TENSORGRAD_LANES in the environment overrides what the processor says."""
    chosen = os.environ.get("TENSORGRAD_LANES")
    if chosen:
        if chosen not in ("4", "8", "16"):
            raise ValueError(f"TENSORGRAD_LANES is {chosen!r}; it can be 4, 8 or 16")
        return int(chosen)
    features = importlib.import_module("llvmlite.binding").get_host_cpu_features()
    if features.get("avx512f"):
        return 16
    return 8 if features.get("avx2") and features.get("fma") else 4


@functools.cache
def _digest(file: str) -> str:
    """Of all files that the machine code of a file is made of: those it imports from, and those they import from."""
    texts: dict[str, str] = {}
    names = [file, "numba_simd.py"]
    while names:
        name = names.pop()
        if name not in texts:
            texts[name] = (Path(__file__).parent / name).read_text(encoding="utf-8")
            names += [f"{other}.py" for other in re.findall(r"(?:import |backend\.)(numba_\w+)", texts[name])]
    found = hashlib.sha256("".join(texts[name] for name in sorted(texts)).encode())
    return f"{found.hexdigest()[:12]}_{lanes()}"


class Kernel:
    """A function that becomes machine code when its address is first asked for."""

    def __init__(self, function: Callable[..., None], arguments: int, freedom: frozenset[str] = FREEDOM) -> None:
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        self.function = function
        self.arguments = arguments
        self.freedom = set(freedom)
        self._address = 0
        self._code: Any = None  # holds the machine code
        self._call: Any = None
        kernels.append(self)

    @property
    def compiled(self) -> bool:
        """Whether its machine code is there."""
        return self._address != 0

    @property
    def address(self) -> int:
        """Where its machine code begins."""
        return self._address or self._compile()

    @property
    def run(self) -> Callable[..., None]:
        """Runs it in this thread on whole numbers, without the interpreter's lock."""
        return self._call or self._make_call()

    def _make_call(self) -> Callable[..., None]:
        # ctypes takes a number as a pointer, which has as many bits, in half the time
        kind = ctypes.c_void_p if ctypes.sizeof(ctypes.c_void_p) == 8 else ctypes.c_int64
        self._call = ctypes.CFUNCTYPE(None, *[kind] * self.arguments)(self.address)
        return self._call  # type: ignore[no-any-return]

    def _compile(self) -> int:
        with _compiling:
            if not self._address:
                function = self.function
                function.__qualname__ = f"{function.__name__}_{_digest(Path(function.__code__.co_filename).name)}"
                signature = types.void(*[types.int64] * self.arguments)
                options: dict[str, Any] = {"fastmath": self.freedom, "error_model": "numpy", "boundscheck": False}
                try:
                    self._code = numba.cfunc(signature, cache=True, **options)(function)
                except RuntimeError as error:
                    if "cannot cache" not in str(error):
                        raise
                    self._code = numba.cfunc(signature, **options)(function)
                self._address = self._code.address
        return self._address


_compiling = lock(reentrant=True)
#: All kernels of the modules imported so far.
kernels: list[Kernel] = []


def kernel(function: Callable[..., None]) -> Kernel:
    """The function as a kernel."""
    return Kernel(function, 5)


def ordered_kernel(function: Callable[..., None]) -> Kernel:
    """The function as a kernel whose sums are taken in the order they are written in: (x - y) - z stays what it is."""
    return Kernel(function, 5, FREEDOM - {"reassoc"})


def inline(function: Callable[..., Any], freedom: frozenset[str] = FREEDOM) -> Any:
    """A function that kernels use, compiled into each of them."""
    if numba is None:
        return function
    return numba.njit(function, fastmath=set(freedom), error_model="numpy", boundscheck=False)


def ordered_inline(function: Callable[..., Any]) -> Any:
    """The same for an `ordered_kernel`."""
    return inline(function, FREEDOM - {"reassoc"})


if numba is not None:
    ir = importlib.import_module("llvmlite.ir")
    types = importlib.import_module("numba.types")
    cgutils: Any = importlib.import_module("numba.core.cgutils")
    extending: Any = importlib.import_module("numba.extending")
    LANES = lanes()
    I8, I32, I64, F32 = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
    VEC = ir.VectorType(F32, LANES)
    IVEC = ir.VectorType(I32, LANES)
    BVEC = ir.VectorType(I8, LANES)

    class _Register(types.Type):
        def __init__(self, name: str) -> None:
            super().__init__(name=f"{name}x{LANES}")

    register, numbers = _Register("f32"), _Register("i32")

    @extending.register_model(_Register)
    class _RegisterModel(extending.models.PrimitiveModel):
        def __init__(self, manager: Any, kind: Any) -> None:
            super().__init__(manager, kind, VEC if kind is register else IVEC)

    def instruction(arguments: list[Any], result: Any, build: Callable[..., Any]) -> Any:
        """A function for kernels whose body is what build(builder, *values) emits."""
        names = [f"v{i}" for i in range(len(arguments))]

        def emit(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            made = build(builder, *values)
            return _context.get_dummy_value() if result is types.void else made

        scope = {"signature": result(*arguments), "emit": emit}
        exec(f"def f(context, {', '.join(names)}): return signature, emit", scope)
        return extending.intrinsic(scope["f"])

    def pointer(builder: Any, address: Any, kind: Any = None) -> Any:
        """An address as a pointer to float32 registers, or to `kind`."""
        return builder.inttoptr(address, (kind or VEC).as_pointer())

    def splat(builder: Any, x: Any, kind: Any = None) -> Any:
        """x in every place of a register."""
        none = ir.Constant(kind or VEC, ir.Undefined)
        first = builder.insert_element(none, x, ir.Constant(I32, 0))
        return builder.shuffle_vector(first, none, ir.Constant(IVEC, [0] * LANES))

    def fused(builder: Any, x: Any, y: Any, z: Any) -> Any:
        """x * y + z with one rounding."""
        kind = ir.FunctionType(VEC, [VEC] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32"), [x, y, z])

    def _square_root(b: Any, x: Any) -> Any:
        kind = ir.FunctionType(VEC, [VEC])
        return b.call(cgutils.get_or_insert_function(b.module, kind, f"llvm.sqrt.v{LANES}f32"), [x])

    def _gather(builder: Any, address: Any, step: Any) -> Any:
        """LANES numbers, `step` bytes apart."""
        wide = ir.VectorType(I64, LANES)
        none = ir.Constant(wide, ir.Undefined)
        many = ir.Constant(IVEC, [0] * LANES)
        each = lambda x: builder.shuffle_vector(builder.insert_element(none, x, ir.Constant(I32, 0)), none, many)  # noqa: E731
        places = builder.add(each(address), builder.mul(each(step), ir.Constant(wide, list(range(LANES)))))
        loaded = ir.Constant(VEC, ir.Undefined)
        for i in range(LANES):
            place = builder.extract_element(places, ir.Constant(I32, i))
            number = builder.load(pointer(builder, place, F32), align=4)
            loaded = builder.insert_element(loaded, number, ir.Constant(I32, i))
        return loaded

    def _turn(b: Any, source: Any, step: Any, target: Any, target_step: Any) -> None:
        """LANES rows of LANES numbers, transposed: exchange halves, quarters, ... of pairs of rows."""
        rows = []
        for _ in range(LANES):
            rows.append(b.load(pointer(b, source), align=4))
            source = b.add(source, step)
        apart = 1
        while apart < LANES:
            places = range(LANES)
            low = ir.Constant(IVEC, [i if not i & apart else LANES + i - apart for i in places])
            high = ir.Constant(IVEC, [i + apart if not i & apart else LANES + i for i in places])
            for i in places:
                if not i & apart:
                    one, other = rows[i], rows[i + apart]
                    rows[i], rows[i + apart] = b.shuffle_vector(one, other, low), b.shuffle_vector(one, other, high)
            apart *= 2
        for row in rows:
            b.store(row, pointer(b, target), align=4)
            target = b.add(target, target_step)

    def _store(kind: Any, align: int) -> Callable[..., Any]:
        return lambda b, address, x: b.store(x, pointer(b, address, kind), align=align)

    def _better(b: Any, x: Any, best: Any) -> Any:
        """Where x is larger than best, or nan."""
        return b.or_(b.fcmp_ordered(">", x, best), b.fcmp_unordered("uno", x, x))

    def _first(builder: Any, count: Any) -> Any:
        """A mask of the first `count` places."""
        places = ir.Constant(IVEC, list(range(LANES)))
        return builder.icmp_signed("<", places, splat(builder, builder.trunc(count, I32), IVEC))

    def _store_first(b: Any, address: Any, x: Any, count: Any) -> None:
        kind = ir.FunctionType(ir.VoidType(), [VEC, VEC.as_pointer(), I32, ir.VectorType(ir.IntType(1), LANES)])
        name = f"llvm.masked.store.v{LANES}f32.p0"
        store = cgutils.get_or_insert_function(b.module, kind, name)
        b.call(store, [x, pointer(b, address), ir.Constant(I32, 4), _first(b, count)])

    def _load_first(b: Any, address: Any, count: Any) -> Any:
        kind = ir.FunctionType(VEC, [VEC.as_pointer(), I32, ir.VectorType(ir.IntType(1), LANES), VEC])
        load = cgutils.get_or_insert_function(b.module, kind, f"llvm.masked.load.v{LANES}f32.p0")
        return b.call(load, [pointer(b, address), ir.Constant(I32, 4), _first(b, count), ZERO])

    ZERO = ir.Constant(VEC, [0.0] * LANES)
    i64, f32 = types.int64, types.float32
    arg = instruction([i64, i64], i64, lambda b, a, i: b.load(pointer(b, b.add(a, b.mul(i, ir.Constant(I64, 8))), I64)))
    get = instruction([i64], f32, lambda b, a: b.load(pointer(b, a, F32), align=4))
    put = instruction([i64, f32], types.void, _store(F32, 4))
    put_byte = instruction([i64, i64], types.void, lambda b, a, x: b.store(b.trunc(x, I8), pointer(b, a, I8)))
    get_byte = instruction([i64], i64, lambda b, a: b.zext(b.load(pointer(b, a, I8)), I64))
    get_double = instruction([i64], types.float64, lambda b, a: b.load(pointer(b, a, ir.DoubleType())))
    put_double = instruction(
        [i64, types.float64], types.void, lambda b, a, x: b.store(x, pointer(b, a, ir.DoubleType()))
    )
    # a word's 64 bits as a number
    as_double = instruction([i64], types.float64, lambda b, a: b.bitcast(a, ir.DoubleType()))
    ld = instruction([i64], register, lambda b, a: b.load(pointer(b, a), align=4))
    st = instruction([i64, register], types.void, _store(VEC, 4))
    # the first places of a register, from or to memory that ends after them; zeros in the others
    ld_first = instruction([i64, i64], register, _load_first)
    st_first = instruction([i64, register, i64], types.void, _store_first)
    gather = instruction([i64, i64], register, _gather)
    turn = instruction([i64] * 4, types.void, _turn)
    bc = instruction([f32], register, lambda b, x: splat(b, x))
    fma = instruction([register] * 3, register, fused)
    add = instruction([register] * 2, register, lambda b, x, y: b.fadd(x, y))
    sub = instruction([register] * 2, register, lambda b, x, y: b.fsub(x, y))
    mul = instruction([register] * 2, register, lambda b, x, y: b.fmul(x, y))
    div = instruction([register] * 2, register, lambda b, x, y: b.fdiv(x, y))
    vsqrt = instruction([register], register, _square_root)
    # max(x, 0), keeping nan as NumPy does
    relu = instruction([register], register, lambda b, x: b.select(b.fcmp_ordered("<=", x, ZERO), ZERO, x))
    # d where y > 0, else 0
    where_positive = instruction(
        [register] * 2, register, lambda b, y, d: b.select(b.fcmp_ordered(">", y, ZERO), d, ZERO)
    )
    ints = instruction([i64], numbers, lambda b, x: splat(b, b.trunc(x, I32), IVEC))
    better = instruction([register] * 2, register, lambda b, x, best: b.select(_better(b, x, best), x, best))
    better_number = instruction(
        [register, register, numbers, numbers], numbers, lambda b, x, best, i, j: b.select(_better(b, x, best), i, j)
    )
    st_bytes = instruction(
        [i64, numbers], types.void, lambda b, a, x: b.store(b.trunc(x, BVEC), pointer(b, a, BVEC), align=1)
    )
    ld_bytes = instruction([i64], numbers, lambda b, a: b.zext(b.load(pointer(b, a, BVEC), align=1), IVEC))
    # d where i == j, else 0
    where_equal = instruction(
        [numbers, numbers, register], register, lambda b, i, j, d: b.select(b.icmp_signed("==", i, j), d, ZERO)
    )

    @inline
    def ld_up_to(address, left):  # type: ignore[no-untyped-def]
        """A register, or the `left` numbers up to a line's end and zeros."""
        return ld(address) if left >= LANES else ld_first(address, left)

    @inline
    def st_up_to(address, x, left):  # type: ignore[no-untyped-def]
        """A register to memory, or its first `left` places where a line ends."""
        if left >= LANES:
            st(address, x)
        else:
            st_first(address, x, left)

    def _operator(function: Any, name: str) -> None:
        import operator

        @extending.overload(getattr(operator, name))
        def _of_registers(x, y):  # type: ignore[no-untyped-def]
            if x is register and y is register:
                return lambda x, y: function(x, y)
            return None

    _operator(add, "add")
    _operator(sub, "sub")
    _operator(mul, "mul")
