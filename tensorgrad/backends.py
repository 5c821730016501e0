"""torch.backends' names, for scripts that ask or set them: cudnn's switches and whether there is an Apple GPU.

The backend chooses its own kernels, so `cudnn.benchmark = True` is taken and changes nothing.
"""

from __future__ import annotations

from types import SimpleNamespace

cudnn = SimpleNamespace(enabled=True, benchmark=False, deterministic=False, allow_tf32=False)
mps = SimpleNamespace(is_available=lambda: False, is_built=lambda: False)

__all__ = ["cudnn", "mps"]
