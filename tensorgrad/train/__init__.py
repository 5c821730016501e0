"""Training classifiers: the loop, its checkpoints, figures and pictures, the recipes, and the whole job of `tensorgrad train`."""

from tensorgrad.train.checkpoints import Checkpoints
from tensorgrad.train.figures import Evaluation
from tensorgrad.train.lock import FolderInUse
from tensorgrad.train.metrics import EpochMetrics, read_metrics, write_metrics
from tensorgrad.train.nonfinite import NonFiniteLoss
from tensorgrad.train.progress import Progress
from tensorgrad.train.recipes import RECIPES, Recipe, find_recipe
from tensorgrad.train.schedule import warmup_cosine
from tensorgrad.train.stop import StopOnSignal, Stopped
from tensorgrad.train.trainer import Trainer

__all__ = [
    "RECIPES",
    "Checkpoints",
    "EpochMetrics",
    "Evaluation",
    "FolderInUse",
    "NonFiniteLoss",
    "Progress",
    "Recipe",
    "StopOnSignal",
    "Stopped",
    "Trainer",
    "find_recipe",
    "read_metrics",
    "warmup_cosine",
    "write_metrics",
]
