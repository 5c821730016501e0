"""The functions behind the layers, under the names of torch.nn.functional; each lives beside its layer."""

from tensorgrad.nn.activation import log_softmax, relu, sigmoid, softmax, tanh
from tensorgrad.nn.convolution import conv2d, pad
from tensorgrad.nn.dropout import dropout
from tensorgrad.nn.linear import linear
from tensorgrad.nn.loss import cross_entropy, mse_loss, nll_loss, one_hot
from tensorgrad.nn.normalization import batch_norm
from tensorgrad.nn.pooling import avg_pool2d, max_pool2d

__all__ = [
    "avg_pool2d",
    "batch_norm",
    "conv2d",
    "cross_entropy",
    "dropout",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "pad",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]
