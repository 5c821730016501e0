"""tensorgrad.cuda's names: on the stand-in, on a GPU where there is one, refused without; and against CuPy's own names."""

import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest
import standin_cuda

import tensorgrad as tg
from tensorgrad.data import DataLoader
from tensorgrad.errors import DeviceError, OperandError

needs_cupy = pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")

WITHOUT_A_GPU = {
    "current_device": tg.cuda.current_device,
    "current_stream": tg.cuda.current_stream,
    "default_stream": tg.cuda.default_stream,
    "device": lambda: tg.cuda.device(0),
    "empty_cache": tg.cuda.empty_cache,
    "Event": tg.cuda.Event,
    "get_device_capability": tg.cuda.get_device_capability,
    "get_device_name": tg.cuda.get_device_name,
    "get_device_properties": tg.cuda.get_device_properties,
    "CUDAGraph": tg.cuda.CUDAGraph,
    "graph_pool_handle": tg.cuda.graph_pool_handle,
    "max_memory_allocated": tg.cuda.max_memory_allocated,
    "max_memory_reserved": tg.cuda.max_memory_reserved,
    "mem_get_info": tg.cuda.mem_get_info,
    "memory_allocated": tg.cuda.memory_allocated,
    "memory_reserved": tg.cuda.memory_reserved,
    "pin_memory": lambda: tg.ones(2).pin_memory(),
    "reset_peak_memory_stats": tg.cuda.reset_peak_memory_stats,
    "set_device": lambda: tg.cuda.set_device(0),
    "Stream": tg.cuda.Stream,
    "synchronize": tg.cuda.synchronize,
    "to": lambda: tg.ones(2).to("cuda", non_blocking=True),
}


@pytest.mark.parametrize("name", WITHOUT_A_GPU)
def test_without_a_gpu_it_says_what_is_missing(name):
    if tg.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceError, match="CuPy"):
        WITHOUT_A_GPU[name]()


def test_what_works_without_a_gpu():
    if tg.cuda.is_available():
        pytest.skip("there is a GPU here")
    assert (tg.cuda.device_count(), tg.cuda.is_bf16_supported(), tg.ones(2).is_pinned()) == (0, False, False)
    assert not tg.cuda.is_current_stream_capturing()
    tg.cuda.manual_seed_all(3)
    first = tg.rand(2).tolist()
    tg.cuda.manual_seed(3)
    assert tg.rand(2).tolist() == first
    assert tg.cuda.initial_seed() == 3
    tg.cuda.seed()
    assert tg.cuda.initial_seed() != 3
    with tg.cuda.stream(None):
        pass


# which GPU


def test_devices(cuda_stand_in):
    assert (tg.cuda.is_available(), tg.cuda.device_count(), tg.cuda.current_device()) == (True, 2, 0)
    with tg.cuda.device(1):
        assert tg.cuda.current_device() == 1
        with tg.cuda.device("cuda:0"):
            assert tg.cuda.current_device() == 0
        with tg.cuda.device(None):
            assert tg.cuda.current_device() == 1
    tg.cuda.set_device("cuda:1")
    assert tg.cuda.current_device() == 1
    tg.cuda.set_device(0)
    assert (tg.cuda.get_device_name(1), tg.cuda.get_device_capability("cuda:1")) == ("stand-in 1", (9, 1))
    properties = tg.cuda.get_device_properties()
    assert (properties.total_memory, properties.multi_processor_count) == (1 << 34, 3)
    assert tg.cuda.mem_get_info(1) == ((1 << 33) + 1, 1 << 34)
    tg.cuda.synchronize("cuda")


@pytest.mark.parametrize(
    ("device", "error", "text"),
    [
        (2, DeviceError, "2 GPU"),
        (-1, DeviceError, "2 GPU"),
        ("cuda:7", DeviceError, "cuda:7"),
        ("cpu", DeviceError, "cpu"),
        (1.5, OperandError, "float"),
        (True, OperandError, "bool"),
    ],
)
def test_devices_that_are_not_there(cuda_stand_in, device, error, text):
    with pytest.raises(error, match=text):
        tg.cuda.set_device(device)


def test_bfloat16_is_asked_of_the_backend(cuda_stand_in, monkeypatch):
    pytest.importorskip("ml_dtypes")
    from tensorgrad.backend import backend_for
    from tensorgrad.errors import DtypeError

    def refuse(x, dtype):
        raise DtypeError("no")

    monkeypatch.setattr(backend_for("cuda"), "cast", refuse)
    assert not tg.cuda.is_bf16_supported()
    monkeypatch.setattr(backend_for("cuda"), "cast", lambda x, dtype: x)
    assert tg.cuda.is_bf16_supported()


# streams and events


def test_streams(cuda_stand_in):
    default = tg.cuda.default_stream()
    assert tg.cuda.current_stream() == default
    first, second = tg.cuda.Stream(), tg.cuda.Stream(device=0, priority=-1)
    assert first != second
    assert len({first, second, default}) == 3
    with tg.cuda.stream(first):
        assert tg.cuda.current_stream() == first
        with second:
            assert tg.cuda.current_stream() == second
        assert tg.cuda.current_stream() == first
    assert tg.cuda.current_stream() == default
    event = first.record_event()
    second.wait_event(event)
    second.wait_stream(first)
    event.wait()
    assert first.query()
    assert event.query()
    first.synchronize()
    event.synchronize()
    assert f"{first.cuda_stream:#x}" in repr(first)
    tg.cuda.set_stream(None)
    with first:
        tg.cuda.set_stream(second)
        assert tg.cuda.current_stream() == second


def test_time_between_events(cuda_stand_in):
    start, end = tg.cuda.Event(enable_timing=True), tg.cuda.Event(enable_timing=True)
    x = tg.ones(3, device="cuda")
    start.record()
    y = x + x
    y = y * x
    end.record()
    assert start.elapsed_time(end) == 2.0  # the stand-in counts launches
    with pytest.raises(RuntimeError, match="invalid"):
        start.elapsed_time(tg.cuda.Event())


# memory


def test_memory(cuda_stand_in, monkeypatch):
    pool = standin_cuda.default_pool
    monkeypatch.setattr(pool, "used", 100)
    monkeypatch.setattr(pool, "total", 1000)
    assert (tg.cuda.memory_allocated(), tg.cuda.memory_reserved(), tg.cuda.max_memory_reserved()) == (100, 1000, 1000)
    assert tg.cuda.max_memory_allocated(1) == 1000  # nobody has watched
    tg.cuda.empty_cache()
    assert tg.cuda.memory_reserved() == 100


def test_the_peak_since_it_was_reset(cuda_stand_in, monkeypatch):
    pool = standin_cuda.default_pool
    monkeypatch.setattr(pool, "used", 100)

    def allocate(size, device=0):
        pool.used += size
        for hook in standin_cuda.MemoryHook.entered:
            hook.malloc_postprocess(device_id=device, size=size, mem_size=size, mem_ptr=1, pmem_id=1)

    def free(size):
        pool.used -= size
        for hook in standin_cuda.MemoryHook.entered:
            hook.free_postprocess(device_id=0, mem_size=size, mem_ptr=1, pmem_id=1)

    try:
        tg.cuda.reset_peak_memory_stats()
        assert tg.cuda.max_memory_allocated() == 100
        allocate(50)
        allocate(25)
        free(50)
        allocate(10)
        assert (tg.cuda.memory_allocated(), tg.cuda.max_memory_allocated()) == (135, 175)
        allocate(1000, device=1)
        pool.used -= 1000
        assert tg.cuda.max_memory_allocated() == 175
        tg.cuda.reset_peak_memory_stats()
        assert tg.cuda.max_memory_allocated() == 135
        tg.cuda.reset_peak_memory_stats(1)
        assert len(standin_cuda.MemoryHook.entered) == 2
    finally:
        from tensorgrad.cuda import memory

        memory._peaks.watchers.clear()
        standin_cuda.MemoryHook.entered.clear()


# pinned memory and copies


def test_pinned_memory(cuda_stand_in):
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]]).T
    assert not x.is_pinned()
    pinned = x.pin_memory()
    assert pinned.is_pinned()
    assert pinned.tolist() == x.tolist()
    assert pinned.pin_memory() is pinned
    assert tg.tensor([]).pin_memory().shape == (0,)
    with pytest.raises(DeviceError, match="only memory of the CPU"):
        x.to("cuda").pin_memory()


@pytest.mark.parametrize(
    ("pin", "arguments", "waits"),
    [
        (True, {"non_blocking": True}, 0),
        (True, {}, 1),
        (False, {"non_blocking": True}, 0),  # CuPy sets the values aside itself
        (False, {}, 0),
    ],
)
def test_who_waits_for_a_copy(cuda_stand_in, pin, arguments, waits):
    x = tg.ones(3).pin_memory() if pin else tg.ones(3)
    before = cuda_stand_in.counted.waits
    assert x.to("cuda", **arguments).device.type == "cuda"
    assert cuda_stand_in.counted.waits - before == waits
    before = cuda_stand_in.counted.waits
    x.to("cuda", tg.float64, *([arguments["non_blocking"]] if arguments else []))
    x.cuda(**arguments)
    assert cuda_stand_in.counted.waits - before == 2 * waits


def test_a_loader_pins_its_batches(cuda_stand_in):
    (batch,) = DataLoader([(np.arange(3.0), 1), (np.arange(3.0), 0)], batch_size=2, pin_memory=True)
    assert [part.is_pinned() for part in batch] == [True, True]
    assert batch[0].tolist() == [[0.0, 1.0, 2.0]] * 2


# other libraries' arrays


class Foreign:
    """Another library's array on a GPU."""

    def __init__(self, place):
        self.place = place
        self._values = np.arange(3.0)

    def __dlpack_device__(self):
        return self.place

    def __dlpack__(self, **settings):
        raise AssertionError("the backend asks")


@pytest.mark.parametrize(("place", "number"), [((2, 0), 0), ((2, 1), 1), ((13, 1), 1)])
def test_an_array_of_another_library_is_taken_where_it_is(cuda_stand_in, monkeypatch, place, number):
    from tensorgrad.backend import backend_for

    seen = []
    backend = backend_for("cuda")
    take = backend.from_dlpack
    monkeypatch.setattr(backend, "from_dlpack", lambda x: seen.append(tg.cuda.current_device()) or take(x))
    assert tg.from_dlpack(Foreign(place)).tolist() == [0.0, 1.0, 2.0]
    assert (seen, tg.cuda.current_device()) == ([number], 0)


@pytest.mark.parametrize(("place", "text"), [((2, 5), "2 GPU|cuda:5"), ((4, 0), "DLPack's device 4")])
def test_an_array_elsewhere_is_refused(cuda_stand_in, place, text):
    with pytest.raises(DeviceError, match=text):
        tg.from_dlpack(Foreign(place))


def test_a_tensor_on_the_cpu_and_one_on_a_gpu(cuda_stand_in):
    with pytest.raises(DeviceError, match=r"'cpu'.*'cuda:0'.*\.to\(device\)"):
        tg.ones(2) + tg.ones(2, device="cuda")


@pytest.mark.gpu
def test_pytorch_s_arrays_on_a_gpu():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    theirs = torch.arange(4.0, device="cuda")
    ours = tg.from_dlpack(theirs)
    ours.add_(1)
    assert theirs.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert torch.from_dlpack(ours * 2).tolist() == [2.0, 4.0, 6.0, 8.0]


@pytest.mark.gpu
def test_on_a_gpu():
    """Streams, times, memory and pinned copies for real."""
    assert tg.cuda.get_device_capability() >= (5, 0)
    x = tg.ones(256, 256, device="cuda")
    start, end = tg.cuda.Event(enable_timing=True), tg.cuda.Event(enable_timing=True)
    stream = tg.cuda.Stream()
    stream.wait_stream(tg.cuda.current_stream())
    with tg.cuda.stream(stream):
        start.record()
        y = x @ x
        end.record()
    end.synchronize()
    assert start.elapsed_time(end) > 0
    assert y[0, 0].item() == 256.0
    tg.cuda.reset_peak_memory_stats()
    before = tg.cuda.memory_allocated()
    z = tg.ones(1 << 20, device="cuda")
    del z
    assert tg.cuda.max_memory_allocated() >= before + (4 << 20)
    assert tg.cuda.memory_allocated() <= before + 1024
    pinned = tg.arange(1000.0).pin_memory()
    assert pinned.is_pinned()
    assert (pinned.to("cuda", non_blocking=True).cpu() == pinned).all()
    assert not tg.ones(3).is_pinned()


# against CuPy

#: What tensorgrad.cuda asks of cupy.cuda, and of the objects there.
ASKED = {
    "": "Device Event Graph MemoryHook MemoryPool Stream alloc_pinned_memory get_current_stream get_elapsed_time is_available "
    "pinned_memory runtime set_pinned_memory_allocator using_allocator",
    "Device": "id synchronize use",
    "Event": "done record synchronize",
    "Graph": "debug_dot_str launch",
    "MemoryHook": "free_postprocess malloc_postprocess",
    "MemoryPool": "free_all_blocks malloc total_bytes used_bytes",
    "Stream": "begin_capture done end_capture null synchronize use wait_event",
    "pinned_memory": "is_memory_pinned",
    "runtime": "getDeviceCount getDeviceProperties memGetInfo streamCaptureModeRelaxed",
}


def test_the_stand_in_has_what_is_asked():
    for owner, names in ASKED.items():
        place = getattr(standin_cuda.CUDA, owner) if owner else standin_cuda.CUDA
        made = place() if owner in ("Device", "Event", "Stream") else place
        assert not [name for name in names.split() if not hasattr(made, name)]


@needs_cupy
@pytest.mark.parametrize("owner", ASKED)
def test_cupy_has_what_is_asked(owner):
    cupy = pytest.importorskip("cupy")
    place = getattr(cupy.cuda, owner) if owner else cupy.cuda
    assert not [name for name in ASKED[owner].split() if not hasattr(place, name)]


@needs_cupy
def test_cupy_takes_our_arguments():
    cupy = pytest.importorskip("cupy")
    assert {"non_blocking", "priority"} <= set(inspect.signature(cupy.cuda.Stream.__init__).parameters)
    assert {"block", "disable_timing", "interprocess"} <= set(inspect.signature(cupy.cuda.Event.__init__).parameters)
    for method in ("malloc_postprocess", "free_postprocess"):
        documented = getattr(cupy.cuda.MemoryHook, method).__doc__
        assert "device_id" in documented
        assert "mem_size" in documented
    assert callable(cupy.get_default_memory_pool)
    assert callable(cupy.get_default_pinned_memory_pool)


def test_nothing_else_is_asked():
    """The names after `cuda.` in the sources are those above."""
    import re

    folder = Path(inspect.getfile(tg.cuda)).parent
    listed = {name for names in ASKED.values() for name in names.split()}
    for path in [*folder.glob("*.py"), folder.parent / "replay" / "captured.py"]:
        for name in re.findall(r"xp\.cuda\.(?:runtime\.|pinned_memory\.)?(\w+)", path.read_text(encoding="utf-8")):
            assert name in listed, f"{path.name}: {name}"
