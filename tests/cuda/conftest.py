"""`cuda_stand_in`: the stand-in under the name 'cuda', so that what works on `tensorgrad.cuda` runs without a GPU."""

import host_cublas
import pytest
import standin
import standin_cuda

from tensorgrad import backend, cuda
from tensorgrad.backend.cuda import CUDABackend
from tensorgrad.mode import mode


@pytest.fixture
def cuda_stand_in(monkeypatch):
    found = CUDABackend(standin.standin, products=host_cublas.HostCublas(standin.standin))
    monkeypatch.setitem(backend._by_device, "cuda", found)
    monkeypatch.setitem(backend._by_type, standin.StandInArray, found)
    cuda.device_count.cache_clear()
    yield standin_cuda
    cuda.device_count.cache_clear()
    assert mode.capturing is None
    assert standin_cuda.working.capturing is None
    assert standin_cuda.using_allocator.stack == []
    assert standin_cuda.working.streams == []
    assert standin_cuda.CUDA._pinned_allocator == standin_cuda.pinned_pool.malloc
