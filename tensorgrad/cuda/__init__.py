"""torch.cuda's names: the GPUs that CuPy finds, their memory, streams, events and graphs.

Every function but is_available, device_count, is_bf16_supported and the seeds needs a GPU, and says what is missing without.
"""

from tensorgrad.cuda.devices import (
    DeviceProperties,
    current_device,
    device,
    device_count,
    get_device_capability,
    get_device_name,
    get_device_properties,
    initial_seed,
    is_available,
    is_bf16_supported,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_device,
    synchronize,
)
from tensorgrad.cuda.graphs import CUDAGraph, graph, graph_pool_handle, is_current_stream_capturing
from tensorgrad.cuda.memory import (
    empty_cache,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    reset_peak_memory_stats,
)
from tensorgrad.cuda.streams import Event, Stream, current_stream, default_stream, set_stream, stream
from tensorgrad.errors import OutOfMemoryError

__all__ = [
    "CUDAGraph",
    "DeviceProperties",
    "Event",
    "OutOfMemoryError",
    "Stream",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "graph",
    "graph_pool_handle",
    "initial_seed",
    "is_available",
    "is_bf16_supported",
    "is_current_stream_capturing",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "seed",
    "seed_all",
    "set_device",
    "set_stream",
    "stream",
    "synchronize",
]
