"""torch.utils' names: checkpoint (recomputation instead of memory) and data."""

from tensorgrad.utils import checkpoint

__all__ = ["checkpoint", "data"]


def __getattr__(name: str) -> object:
    """Data loading is imported when it is first asked for."""
    if name == "data":
        import importlib

        return importlib.import_module("tensorgrad.utils.data")
    raise AttributeError(f"module 'tensorgrad.utils' has no attribute {name!r}")
