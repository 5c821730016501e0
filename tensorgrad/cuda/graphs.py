"""CUDA graphs: what is launched on a GPU, recorded once and launched again as a whole.

A launch costs the host some microseconds, and a small network's step has hundreds of them; a graph is one. While a stream
captures nothing is computed. So values cannot be read on the host then, and whatever Python does happens once, while
capturing. A graph works on the memory it was captured with: inputs are copied into it, results are overwritten by the next
replay.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any

from tensorgrad.backend import backend_for
from tensorgrad.cuda.streams import Stream
from tensorgrad.errors import ArgumentError, GraphError
from tensorgrad.mode import mode

#: What CUDA and CuPy say where something cannot be captured.
_SIGNS = ("captur", "cudaErrorStreamCapture", "CUBLAS_STATUS_NOT_INITIALIZED")


class Capture:
    """A stream that writes down what is launched in this thread. For use in a `with` block; then `graph` is there.

    xp    the array library
    pool  where memory comes from meanwhile: it belongs to the graph, which must keep the pool

    `cut` ends a graph and begins the next one.
    """

    def __init__(self, xp: Any, pool: Any, stream: Any = None) -> None:
        self.xp = xp
        self.pool = pool
        self.stream = xp.cuda.Stream(non_blocking=True) if stream is None else stream
        self.graph: Any = None
        self.kept: list[Any] = []  # what its launches read, and somebody else may let go of
        self.workspace: Any = None  # memory for cuBLAS, of which one product after the other makes use
        self._open = ExitStack()

    def __enter__(self) -> Capture:
        if mode.capturing is not None:
            raise GraphError("cuda.graph: this thread captures a graph already; captures do not nest")
        with ExitStack() as entered:  # left again, if the capture does not begin
            entered.enter_context(self.stream)
            entered.enter_context(self.xp.cuda.using_allocator(self.pool.malloc))
            entered.enter_context(_no_copies_from_the_host(self.xp))
            self._begin()
            self._open = entered.pop_all()
        mode.capturing = self
        return self

    def _begin(self) -> None:
        # relaxed: the pool may ask the driver for memory meanwhile
        self.stream.begin_capture(self.xp.cuda.runtime.streamCaptureModeRelaxed)

    def keep(self, array: Any) -> None:
        """Told by the backend of arrays that its launches read."""
        self.kept.append(array)

    def cut(self) -> Any:
        """The graph so far; what follows goes into another one."""
        done = self.stream.end_capture()
        self._begin()
        return done

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        mode.capturing = None
        failed: BaseException | None = error
        try:
            self.graph = self.stream.end_capture()
        except Exception as broken:
            failed = error or broken  # a capture that was broken off cannot be ended well; the first error tells more
        finally:
            self._open.close()
        if failed is not None and (failed is not error or is_refusal(failed)):
            raise not_capturable(failed) from failed


def is_refusal(error: BaseException) -> bool:
    """Whether an error says that something cannot be captured."""
    text = f"{type(error).__name__}: {error}"
    return not isinstance(error, GraphError) and any(sign in text for sign in _SIGNS)


def not_capturable(error: BaseException) -> GraphError:
    """What such an error means."""
    if "cuBLAS" in str(error):
        return GraphError(
            f"cuda.graph: a matrix product cannot be captured: CuPy refuses it ({error}), and the library cuBLAS was not found "
            "by its name, to be called without CuPy: put the folder of libcublas.so into LD_LIBRARY_PATH (it works on Linux only)"
        )
    return GraphError(
        f"cuda.graph: this cannot be captured ({error}); nothing may read values on the host (.item(), print, `if x > 0`) or "
        "wait for the GPU: do that outside of the captured part"
    )


@contextmanager
def _no_copies_from_the_host(xp: Any) -> Iterator[None]:
    """Inside, in this thread, no array can be made of the host's values: a graph would copy from memory long gone.

    CuPy sends every such copy through pinned memory, so that is where it is refused.
    """
    thread = threading.get_ident()
    pool = xp.get_default_pinned_memory_pool()

    def allocate(size: int) -> Any:
        if threading.get_ident() == thread:
            raise GraphError(
                "cuda.graph: values of the host are copied to the GPU while a graph is captured; make that Tensor before, "
                "outside of the captured part"
            )
        return pool.malloc(size)

    xp.cuda.set_pinned_memory_allocator(allocate)
    try:
        yield
    finally:
        xp.cuda.set_pinned_memory_allocator(pool.malloc)


class CUDAGraph:
    """A captured graph, under torch.cuda's names; `graph` fills it, `replay` launches it again.

    It has a memory pool of its own, which lives as long as it does.
    """

    def __init__(self, keep_graph: bool = False) -> None:
        self._xp = backend_for("cuda").xp
        self._pool: Any = None
        self._graph: Any = None
        self._kept: list[Any] = []
        self._capture: Capture | None = None

    def capture_begin(
        self, pool: Any = None, capture_error_mode: str = "global", *, stream: Stream | None = None
    ) -> None:
        """Begin to capture what this thread launches; `graph` does this and its end."""
        if self._graph is not None or self._capture is not None:
            raise GraphError("CUDAGraph: it holds a graph already; use another CUDAGraph, or reset() it")
        self._pool = self._xp.cuda.MemoryPool() if pool is None else pool
        self._capture = Capture(self._xp, self._pool, None if stream is None else stream.inner)
        self._capture.__enter__()

    def capture_end(self) -> None:
        """End it; from now on it can be replayed."""
        if self._capture is None:
            raise GraphError("CUDAGraph.capture_end: nothing is captured; call capture_begin first")
        capture, self._capture = self._capture, None
        capture.__exit__(None, None, None)
        self._graph, self._kept = capture.graph, capture.kept

    def replay(self) -> None:
        """Launch everything again, on the stream that is current now, on the same memory."""
        if self._graph is None:
            raise GraphError("CUDAGraph.replay: nothing was captured; use `with tensorgrad.cuda.graph(g):` first")
        self._graph.launch()

    def reset(self) -> None:
        """Let go of the graph and its memory."""
        self._graph = self._pool = None
        self._kept = []

    def pool(self) -> Any:
        """Where its memory comes from, for another graph that is never replayed at the same time."""
        return self._pool

    def debug_dump(self, debug_path: str | os.PathLike[str]) -> None:
        """Write the graph as a text for Graphviz."""
        if self._graph is None:
            raise GraphError("CUDAGraph.debug_dump: nothing was captured")
        with open(debug_path, "w", encoding="utf-8") as file:
            file.write(self._graph.debug_dot_str())


class graph:
    """Captures what its `with` block launches into a CUDAGraph; nothing is computed before `replay`.

    cuda_graph  an empty CUDAGraph
    pool        of another graph, to share its memory: then the two are not to be replayed at the same time
    stream      to capture on; a fresh one unless given
    capture_error_mode  taken for PyTorch's sake

    Run the same code a few times before, so that kernels are compiled and gradients, momenta and the like exist. Raises
    GraphError where the block reads values on the host, copies from there, draws random numbers, or makes a step with an
    optimiser that counts its steps in Python (all but SGD): `tensorgrad.compile` captures around those.

        g = tensorgrad.cuda.CUDAGraph()
        with tensorgrad.cuda.graph(g):
            z = model(x)
        x.copy_(next_batch)
        g.replay()  # z holds the scores of the next batch
    """

    def __init__(
        self, cuda_graph: CUDAGraph, pool: Any = None, stream: Stream | None = None, capture_error_mode: str = "global"
    ) -> None:
        if not isinstance(cuda_graph, CUDAGraph):
            raise ArgumentError(f"cuda.graph: got a {type(cuda_graph).__name__}; give a CUDAGraph")
        self._cuda_graph = cuda_graph
        self._pool = pool
        self._stream = stream

    def __enter__(self) -> None:
        backend_for("cuda").xp.cuda.Device().synchronize()  # what came before is done
        self._cuda_graph.capture_begin(self._pool, stream=self._stream)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._cuda_graph.capture_end()
            return
        capture, self._cuda_graph._capture = self._cuda_graph._capture, None
        if capture is not None:
            capture.__exit__(kind, error, trace)


def graph_pool_handle() -> Any:
    """A pool of memory that several graphs can share."""
    return backend_for("cuda").xp.cuda.MemoryPool()


def is_current_stream_capturing() -> bool:
    """Whether this thread captures a graph."""
    return mode.capturing is not None
