"""The special functions where PyTorch has them: torch.special.erf is tensorgrad.special.erf.

>>> import tensorgrad
>>> tensorgrad.special.expit(tensorgrad.tensor([0.0]))
tensor([0.5000])
"""

from __future__ import annotations

from tensorgrad.ops.binary import xlogy
from tensorgrad.ops.elementwise import logit
from tensorgrad.ops.loss import log_softmax, logsumexp, softmax
from tensorgrad.ops.special import entr, erfcx, log_ndtr, ndtr, ndtri, xlog1py
from tensorgrad.ops.unary import erf, erfc, erfinv, exp2, expm1, log1p, round, sinc
from tensorgrad.ops.unary import sigmoid as expit

__all__ = [
    "entr",
    "erf",
    "erfc",
    "erfcx",
    "erfinv",
    "exp2",
    "expit",
    "expm1",
    "log1p",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "ndtr",
    "ndtri",
    "round",
    "sinc",
    "softmax",
    "xlog1py",
    "xlogy",
]
