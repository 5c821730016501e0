"""Optimisers and learning-rate schedules, under PyTorch's names."""

from tensorgrad.optim import lr_scheduler
from tensorgrad.optim.adam import Adam, AdamW
from tensorgrad.optim.adam_family import Adamax, NAdam, RAdam
from tensorgrad.optim.adaptive import Adadelta, Adagrad, RMSprop
from tensorgrad.optim.lbfgs import LBFGS
from tensorgrad.optim.optimizer import Optimizer
from tensorgrad.optim.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
]
