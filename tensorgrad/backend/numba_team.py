"""How threads share the parts of one job without the interpreter: the machine code behind team.py.

A job is a kernel, its arguments and a number of parts. Its *ticket* is one 64-bit word: a running number, how many parts there
are, and the next one nobody has taken. A thread takes a part by exchanging the ticket for one with the next part
(compare and swap); who gets it may read the job, which stays as it is until all its parts are done. The caller takes
parts too, then waits for those that others took, so a thread that sleeps or comes late delays nobody.
"""

from __future__ import annotations

from typing import Any

from tensorgrad.backend.numba_simd import Kernel, inline, numba

# The words of a team, each on cache lines of its own: 64-bit numbers, 16 to two lines.
TICKET, DONE, STOP, KERNEL, ARGUMENTS, COUNT, CORE, WORDS = 0, 16, 32, 48, 49, 50, 51, 64
#: Rounds after which a waiting caller gives its core to others once, in case one of them has a part and no core.
PATIENCE = 2000
#: Rounds after which a waiting worker looks whether it is on the caller's core.
LOOK = 256

if numba is not None:
    import os
    import platform
    import sys

    from tensorgrad.backend.numba_simd import I64, arg, cgutils, instruction, ir, pointer, types

    def _word(b: Any, team: Any, word: Any) -> Any:
        return pointer(b, b.add(team, b.mul(word, ir.Constant(I64, 8))), I64)

    def _exchange(b: Any, team: Any, word: Any, old: Any, new: Any) -> Any:
        found = b.cmpxchg(_word(b, team, word), old, new, "acq_rel", "acquire")
        return b.zext(b.extract_value(found, 1), I64)

    def _pause(b: Any) -> None:
        """Tell the processor that this thread waits in a loop."""
        if platform.machine().lower() in ("x86_64", "amd64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            b.call(cgutils.get_or_insert_function(b.module, kind, "llvm.x86.sse2.pause"), [])

    def _give_core(b: Any) -> None:
        if os.name == "posix":
            kind = ir.FunctionType(ir.IntType(32), [])
            b.call(cgutils.get_or_insert_function(b.module, kind, "sched_yield"), [])

    def _core(b: Any) -> Any:
        """The number of the core that this thread is on, -1 where the system does not say."""
        if not sys.platform.startswith("linux"):
            return ir.Constant(I64, -1)
        kind = ir.FunctionType(ir.IntType(32), [])
        return b.sext(b.call(cgutils.get_or_insert_function(b.module, kind, "sched_getcpu"), []), I64)

    def _call(b: Any, kernel: Any, *values: Any) -> None:
        kind = ir.FunctionType(ir.VoidType(), [I64] * 5)
        b.call(b.inttoptr(kernel, kind.as_pointer()), values)

    word = types.int64
    read = instruction([word] * 2, word, lambda b, t, w: b.load_atomic(_word(b, t, w), "acquire", 8))
    write = instruction([word] * 3, types.void, lambda b, t, w, x: b.store_atomic(x, _word(b, t, w), "release", 8))
    count_up = instruction(
        [word] * 2, word, lambda b, t, w: b.atomic_rmw("add", _word(b, t, w), ir.Constant(I64, 1), "acq_rel")
    )
    exchange = instruction([word] * 4, word, _exchange)
    pause = instruction([], types.void, _pause)
    give_core = instruction([], types.void, _give_core)
    core = instruction([], word, _core)
    call_kernel = instruction([word] * 6, types.void, _call)


@inline
def _take_parts(team, thread):  # type: ignore[no-untyped-def]
    """Take and compute parts until none is left; how many they were."""
    taken = 0
    while True:
        ticket = read(team, TICKET)
        parts, part = (ticket >> 16) & 0xFFFF, ticket & 0xFFFF
        if part >= parts:
            return taken
        if exchange(team, TICKET, ticket, ticket + 1):
            count = arg(team, COUNT)
            start, stop = count * part // parts, count * (part + 1) // parts
            call_kernel(arg(team, KERNEL), arg(team, ARGUMENTS), start, stop, thread, part)
            count_up(team, DONE)
            taken += 1


def _work(team, parts):  # type: ignore[no-untyped-def]
    """The caller's side: open the job written into the team, take parts, and wait for the others'."""
    write(team, CORE, core())
    write(team, DONE, 0)
    ticket = read(team, TICKET)
    write(team, TICKET, (((ticket >> 32) + 1) & 0x7FFFFFFF) << 32 | parts << 16)
    _take_parts(team, 0)
    rounds = 0
    while read(team, DONE) < parts:
        pause()
        rounds += 1
        if rounds % PATIENCE == 0:
            give_core()


def _serve(team, thread, rounds):  # type: ignore[no-untyped-def]
    """A worker's side: take parts of one job after the other, until `rounds` of waiting brought none or the team stops.

    It also ends where it finds itself on the caller's core, which it only slows down there.
    """
    waited = 0
    while waited < rounds and not read(team, STOP):
        if _take_parts(team, thread):
            waited = 0
        else:
            pause()
            waited += 1
            if waited % LOOK == 0 and core() == arg(team, CORE) and core() >= 0:
                return


work = Kernel(_work, 2)
serve = Kernel(_serve, 3)
