"""cuDNN's graphs of convolutions: described, planned and run, one for every combination of shapes and settings.

cuDNN is driven through its Python front end (nvidia-cudnn-frontend). A `Problem` is all that a plan depends on, so plans are found
again by it. What cuDNN declines is remembered with its reason, and computed by kernels of our own instead.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from tensorgrad.backend.windows import Padding, Pair
from tensorgrad.backends import cudnn as switches
from tensorgrad.mode import mode

Array = Any
Shape = tuple[int, ...]

#: dtype -> cuDNN's names for it, and for what its sums are computed in.
DATA_TYPES = {"float16": ("HALF", "FLOAT"), "float32": ("FLOAT", "FLOAT"), "float64": ("DOUBLE", "DOUBLE")}
#: Plans that are timed where backends.cudnn.benchmark is set, and how often each.
MOST_TIMED, ROUNDS = 10, 3


class Problem(NamedTuple):
    """A convolution, or one of its gradients: z = x * w (+ bias, and max(z, 0)), dx of dz and w, dw of x and dz."""

    result: str  # "z", "dx" or "dw"
    dtype: str
    x: Shape
    w: Shape
    z: Shape
    stride: Pair
    padding: Padding
    dilation: Pair
    bias: bool
    channels_last: bool
    tf32: bool
    deterministic: bool
    benchmark: bool
    device: int
    relu: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the arrays it is given, in order."""
        return {"z": ("x", "w", "bias")[: 2 + self.bias], "dx": ("dz", "w"), "dw": ("dz", "x")}[self.result]

    def shape(self, name: str) -> Shape:
        """Of the array of that name; groups show in w alone."""
        if name == "bias":
            return (1, self.w[0], 1, 1)
        return {"x": self.x, "dx": self.x, "w": self.w, "dw": self.w, "z": self.z, "dz": self.z}[name]


def strides(shape: Shape, channels_last: bool) -> Shape:
    """Steps in elements, of (N, C, H, W) in its own order or with the channels last.

    >>> strides((2, 3, 4, 5), False), strides((2, 3, 4, 5), True)
    ((60, 20, 5, 1), (60, 1, 15, 3))
    """
    _, c, h, w = shape
    return (c * h * w, 1, w * c, c) if channels_last else (c * h * w, h * w, w, 1)


def described(cudnn: Any, problem: Problem, **where: Any) -> tuple[Any, list[Any]]:
    """cuDNN's graph of a problem, and its tensors: the inputs in order, then the result.

    `where` is the handle of a device or, where there is none, `device_property`, a description of one.
    """
    kept, computed = (getattr(cudnn.data_type, name) for name in DATA_TYPES[problem.dtype])
    graph = cudnn.pygraph(io_data_type=kept, intermediate_data_type=computed, compute_data_type=computed, **where)
    given = {}
    for name in problem.inputs:
        shape = problem.shape(name)
        steps = strides(shape, problem.channels_last)
        given[name] = graph.tensor(name=name, dim=list(shape), stride=list(steps), data_type=kept)
    top, bottom, left, right = problem.padding
    window = {
        "pre_padding": [top, left],
        "post_padding": [bottom, right],
        "stride": list(problem.stride),
        "dilation": list(problem.dilation),
    }
    if problem.result == "z":
        result = graph.conv_fprop(image=given["x"], weight=given["w"], **window)
        if problem.bias:
            result = graph.add(a=result, b=given["bias"])
        if problem.relu:
            result = graph.relu(input=result)
    elif problem.result == "dx":
        result = graph.conv_dgrad(loss=given["dz"], filter=given["w"], **window)
    else:
        result = graph.conv_wgrad(image=given["x"], loss=given["dz"], **window)
    shape = problem.shape(problem.result)
    result.set_output(True).set_data_type(kept)
    result.set_dim(list(shape)).set_stride(list(strides(shape, problem.channels_last)))
    return graph, [*given.values(), result]


def planned(cudnn: Any, graph: Any, problem: Problem) -> None:
    """Let cuDNN find ways to compute a graph that the problem's settings allow, and build the first, or with `benchmark` all.

    Raises cuDNN's own errors where there is none.
    """
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    notes = cudnn.numerical_note
    refused = [notes.DOWN_CONVERT_INPUTS]
    if problem.dtype == "float32" and not problem.tf32:
        refused.append(notes.TENSOR_CORE)
    if problem.deterministic:
        refused.append(notes.NONDETERMINISTIC)
    graph.deselect_numeric_notes(refused)
    graph.check_support()
    policy = cudnn.build_plan_policy
    graph.build_plans(policy.ALL if problem.benchmark else policy.HEURISTICS_CHOICE)


class Plan:
    """A graph that is ready to run."""

    def __init__(self, graph: Any, tensors: list[Any]) -> None:
        self.graph = graph
        self.tensors = tensors
        self.index: int | None = None  # of the fastest plan, where they were timed
        self.workspace = int(graph.get_workspace_size())

    def run(self, arrays: list[Array], handle: Any, xp: Any) -> None:
        workspace = xp.empty((max(1, self.workspace),), xp.uint8)  # from CuPy's pool
        # addresses: of arrays the front end may ask by DLPack, for which CuPy ties streams together, and no capture allows that
        pack = {tensor: int(array.data.ptr) for tensor, array in zip(self.tensors, arrays)}
        if self.index is None:
            self.graph.execute(pack, int(workspace.data.ptr), handle=handle)
        else:
            self.graph.execute_plan_at_index(pack, int(workspace.data.ptr), index=self.index, handle=handle)

    def choose_fastest(self, arrays: list[Array], handle: Any, xp: Any, errors: tuple[type[Exception], ...]) -> None:
        """Time the plans on these arrays; one that cannot run is passed over."""
        best = None
        for index in range(min(MOST_TIMED, self.graph.get_execution_plan_count())):
            try:
                trial = Plan.__new__(Plan)
                trial.graph, trial.tensors, trial.index = self.graph, self.tensors, index
                trial.workspace = int(self.graph.get_workspace_size_plan_at_index(index))
                trial.run(arrays, handle, xp)  # the first time is not the rule
                start, stop = xp.cuda.Event(), xp.cuda.Event()
                start.record()
                for _ in range(ROUNDS):
                    trial.run(arrays, handle, xp)
                stop.record()
                stop.synchronize()
            except errors:
                continue
            time = xp.cuda.get_elapsed_time(start, stop)
            if best is None or time < best:
                best, self.index, self.workspace = time, index, trial.workspace


class _Handles(threading.local):
    """cuDNN's handles of a thread, by device: one must not be used by two threads."""

    def __init__(self) -> None:
        self.by_device: dict[int, Any] = {}


class Cudnn:
    """cuDNN for one array module (CuPy); `cudnn` is its front end, None where it cannot be used, for the reason `why_not`."""

    def __init__(self, xp: Any, cudnn: Any, why_not: str | None = None) -> None:
        self.xp = xp
        self.cudnn = cudnn
        self.why_not = why_not
        self.plans: dict[Problem, Plan | None] = {}
        #: What cuDNN said about problems that it does not take.
        self.declined: dict[Problem, str] = {}
        self._handles = _Handles()
        refusal = getattr(cudnn, "cudnnGraphNotSupportedError", RuntimeError)
        self.errors: tuple[type[Exception], ...] = (refusal, RuntimeError, NotImplementedError)

    @property
    def usable(self) -> bool:
        return self.cudnn is not None and switches.enabled

    def compute(self, problem: Problem, *arrays: Array) -> Array | None:
        """The result for these inputs, which lie in memory as the problem says; None where cuDNN declines."""
        xp = self.xp
        with arrays[0].device:
            handle = self._handle(problem.device)
            plan = self._plan(problem, handle)
            if plan is None:
                return None
            result = _empty(xp, problem.shape(problem.result), arrays[0].dtype, problem.channels_last)
            given = [*arrays, result]
            if problem.benchmark and plan.index is None and mode.capturing is None:  # a capture cannot wait for events
                plan.choose_fastest(given, handle, xp, self.errors)
            plan.run(given, handle, xp)
        return result

    def _plan(self, problem: Problem, handle: Any) -> Plan | None:
        if problem not in self.plans:
            try:
                graph, tensors = described(self.cudnn, problem, handle=handle)
                planned(self.cudnn, graph, problem)
                self.plans[problem] = Plan(graph, tensors)
            except self.errors as error:  # kernels of our own take it
                self.plans[problem] = None
                self.declined[problem] = str(error)
        return self.plans[problem]

    def _handle(self, device: int) -> Any:
        """The thread's handle for the present device, on the present stream."""
        handle = self._handles.by_device.get(device)
        if handle is None:
            handle = self._handles.by_device[device] = self.cudnn.create_handle()
        self.cudnn.set_stream(handle=handle, stream=self.xp.cuda.get_current_stream().ptr)
        return handle


def _empty(xp: Any, shape: Shape, dtype: Any, channels_last: bool) -> Array:
    if not channels_last:
        return xp.empty(shape, dtype)
    n, c, h, w = shape
    return xp.empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def load(xp: Any) -> Cudnn:
    """cuDNN where its front end and its library are installed."""
    try:
        import cudnn

        cudnn.backend_version()
    except ImportError:
        return Cudnn(
            xp,
            None,
            "cuDNN's front end is not installed; install the extra cudnn12 or cudnn13: pip install 'tapegrad[cudnn12]'",
        )
    except (
        Exception
    ) as error:  # the library that the front end loads is missing or of another CUDA; its kinds of errors differ
        return Cudnn(
            xp,
            None,
            f"cuDNN's front end is installed, but finds no cuDNN ({error}); install the extra cudnn12 or cudnn13",
        )
    return Cudnn(xp, cudnn)
