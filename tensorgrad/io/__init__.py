"""Files: checkpoints, and writing that leaves a whole file or the old one."""

from tensorgrad.io.atomic import replacing
from tensorgrad.io.checkpoint import Checkpoint, load, load_model, save, save_model
from tensorgrad.io.errors import CheckpointError, ForbiddenError

__all__ = ["Checkpoint", "CheckpointError", "ForbiddenError", "load", "load_model", "replacing", "save", "save_model"]
