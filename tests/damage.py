"""What the fuzz tests share: files damaged by hypothesis, read within bounds of time and memory."""

import os
import sys
import time
import tracemalloc
import warnings

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MOST = 64 << 20  # bytes that any of the small files may make a reader ask for
NUMBERS = [b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", bytes(8), b"\xff" * 8, b"\0\0\0\0\0\0\0\x40", b"9" * 12, b"-1"]


@st.composite
def damaged(draw, content):
    """The file after one to four changes."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(0, 16))
        kind = draw(st.sampled_from(["bit", "byte", "cut", "end", "double", "insert", "number"]))
        if kind == "bit" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "byte" and data:
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at : at + length]
        elif kind == "end":
            del data[at:]
        elif kind == "double":
            data[at:at] = data[at : at + length]
        elif kind == "insert":
            data[at:at] = draw(st.binary(max_size=16))
        else:
            number = draw(st.sampled_from(NUMBERS))
            data[at : at + len(number)] = number
    return bytes(data)


def fuzz(read, content, examples, size_of, most_of=lambda data: 100 * len(data)):
    """Let `read` have many damaged files; returns how many.

    read     bytes -> a value, or None where the reader refused; every other error goes through
    content  a whole file
    size_of  a value -> how many bytes of numbers it holds, of which there may be `most_of` the file's bytes

    In memory counted: all of Python and NumPy, and on Linux what other libraries take too.
    """
    tried = 0

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=os.environ.get("TENSORGRAD_FUZZ_SEED") is None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(damaged(content), st.binary(max_size=200).map(lambda end: content[:16] + end)))
    def one(data):
        nonlocal tried
        tried += 1
        begun = time.process_time()  # of this process: the machine may be busy with others
        before = forget_peak()
        tracemalloc.start()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # Pillow's, of strange fields
                found = read(data)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < MOST, "asked for too much memory"
        assert peak_of_process() - before < MOST + (32 << 20), "asked for too much memory outside of Python"
        assert time.process_time() - begun < 5, "took too long"
        assert found is None or size_of(found) <= most_of(data)

    one()
    return tried


def forget_peak():
    """The memory of this process now, from which on its peak is counted anew; 0 where the system has no such counter."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return peak_of_process()


def peak_of_process():
    """The most memory this process had since `forget_peak`; 0 where the system has no such counter."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/status") as file:
        (line,) = (line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) << 10
