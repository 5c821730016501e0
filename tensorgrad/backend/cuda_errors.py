"""What can be missing or run out on the way to a GPU, each in one sentence with its remedy."""

from __future__ import annotations

from typing import Any

from tensorgrad.errors import DeviceError, OutOfMemoryError

EXTRAS = "the extra gpu12 or gpu13 (for CUDA 12 or 13): pip install 'tapegrad[gpu12]'"


def cupy_with_a_gpu() -> Any:
    """CuPy, with a GPU that it can use, whose memory says clearly when it is full.

    Raises DeviceError where CuPy is not installed, is for another CUDA, the driver is too old, or there is no GPU.
    """
    try:
        import cupy
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "cupy":
            raise DeviceError(
                f"device 'cuda': CuPy needs {error.name!r}, which is not installed; install {EXTRAS}"
            ) from error
        raise DeviceError(f"device 'cuda': CuPy is not installed; install {EXTRAS}") from error
    except ImportError as error:
        raise DeviceError(
            f"device 'cuda': CuPy is installed, but for another CUDA than this machine has ({_line(error)}); uninstall it, and "
            f"install {EXTRAS}"
        ) from error
    try:
        found = bool(cupy.cuda.is_available())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise driver_error(error) from error
    if not found:
        raise DeviceError(
            "device 'cuda': CuPy finds no NVIDIA GPU on this machine (nvidia-smi lists those that the driver sees); "
            "use device='cpu'"
        )
    try:
        cupy.cuda.nvrtc.getVersion()
    except (RuntimeError, OSError) as error:  # also ImportError's kind of CuPy 14, which is a RuntimeError
        raise compiler_error(error) from error
    watch_memory(cupy)
    return cupy


def driver_error(error: Exception) -> DeviceError:
    """What a failing start of CUDA means."""
    text = _line(error)
    if "InsufficientDriver" in text:
        return DeviceError(
            f"device 'cuda': the NVIDIA driver is too old for CuPy's CUDA ({text}); update the driver, or install the extra for "
            "an older CUDA: pip install 'tapegrad[gpu12]'"
        )
    return DeviceError(f"device 'cuda': CUDA does not start ({text}); nvidia-smi shows what the driver says")


def watch_memory(cupy: Any) -> None:
    """Let CuPy's allocator, whichever it is now, raise our OutOfMemoryError, which says what to do."""
    allocate = cupy.cuda.get_allocator()
    full = cupy.cuda.memory.OutOfMemoryError

    def allocate_or_explain(size: int) -> Any:
        try:
            return allocate(size)
        except full as error:
            raise OutOfMemoryError(
                f"device 'cuda:{cupy.cuda.Device().id}': no memory for {size / 2**20:,.1f} MiB more ({_line(error)}); use a smaller "
                "batch, record less (no_grad), recompute (utils.checkpoint), or free what is kept (cuda.empty_cache)"
            ) from error

    cupy.cuda.set_allocator(allocate_or_explain)


def compiler_error(error: Exception) -> DeviceError:
    """CuPy cannot compile a kernel: its compiler, or what that needs, is not there."""
    return DeviceError(
        f"device 'cuda': CuPy cannot compile a kernel ({_line(error)}); its compiler NVRTC comes with "
        "pip install 'cupy-cuda12x[ctk]' (or 13x), or with the CUDA toolkit"
    )


def _line(error: Exception) -> str:
    """The first line that says something."""
    for line in str(error).splitlines():
        if line.strip(" =-"):
            return line.strip()
    return type(error).__name__
