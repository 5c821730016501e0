"""Files: checkpoints, and writing that leaves a whole file or the old one."""

from tensorgrad.io.atomic import replacing
from tensorgrad.io.checkpoint import Checkpoint, CheckpointError, load, load_model, save, save_model

__all__ = ["Checkpoint", "CheckpointError", "load", "load_model", "replacing", "save", "save_model"]
