"""Layers and networks, under PyTorch's names: modules that hold parameters and call the operations.

>>> import tensorgrad, tensorgrad.nn as nn
>>> net = nn.Sequential(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 14 * 14, 10))
>>> net(tensorgrad.zeros(8, 1, 32, 32)).shape
(8, 10)
"""

from tensorgrad.nn import functional, init
from tensorgrad.nn.activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from tensorgrad.nn.containers import ModuleDict, ModuleList, Sequential
from tensorgrad.nn.convolution import Conv2d
from tensorgrad.nn.dropout import Dropout
from tensorgrad.nn.flatten import Flatten, Unflatten
from tensorgrad.nn.linear import Identity, Linear
from tensorgrad.nn.loss import CrossEntropyLoss, MSELoss, NLLLoss
from tensorgrad.nn.module import Module
from tensorgrad.nn.normalization import BatchNorm1d, BatchNorm2d
from tensorgrad.nn.parameter import Parameter
from tensorgrad.nn.pooling import AvgPool2d, MaxPool2d

__all__ = [
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Identity",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "Unflatten",
    "functional",
    "init",
]
