"""Mixed precision under torch.amp's names: regions, the scale of the loss, and functions with a backward of their own.

The lists of what runs in which dtype are in tensorgrad.autocast_table; docs/amp.md tells how it is used.
"""

from tensorgrad.amp.functions import custom_bwd, custom_fwd
from tensorgrad.amp.scaler import GradScaler
from tensorgrad.autocasting import autocast, is_autocast_available

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]
