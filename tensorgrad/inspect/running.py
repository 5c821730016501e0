"""What every way of looking inside shares: pictures in, a model at rest, NumPy arrays out."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.data.collate import default_collate
from tensorgrad.data.dataset import fetch_samples
from tensorgrad.data.loader import DataLoader
from tensorgrad.errors import ArgumentError, OperandError, ShapeError, TensorgradError
from tensorgrad.graph.trace import unchanged
from tensorgrad.mode import enable_grad, no_grad
from tensorgrad.nn.module import Module
from tensorgrad.tensor import Tensor

#: Of the entropy that guessing has: scores above this share say nothing about the picture.
_GUESSING = 0.98


class UntrainedWarning(UserWarning):
    """The network looks as if it had not been trained: what is seen inside means little."""


class Sample(NamedTuple):
    """A batch: pictures (N, C, H, W) on the host, and their classes (N,) where the data has some."""

    images: numpy.ndarray
    labels: numpy.ndarray | None


@contextmanager
def at_rest(model: Any, gradients: bool = False) -> Iterator[None]:
    """Eval mode, no gradients for the parameters; afterwards the model is as it was, whatever happens inside.

    gradients  whether operations on the picture are recorded
    """
    if not isinstance(model, Module):
        raise OperandError(f"inspect: the model is a {type(model).__name__}; give an nn.Module")
    learning = [p for p in model.parameters() if p.requires_grad]
    with unchanged(model):
        model.eval()
        for p in learning:
            p.requires_grad_(False)
        try:
            with enable_grad() if gradients else no_grad():
                yield
        finally:
            for p in learning:
                p.requires_grad_(True)


def to_host(x: Any) -> numpy.ndarray:
    """The values of a Tensor or array as a NumPy array; half precision as float32."""
    array = x.array if isinstance(x, Tensor) else x
    host: numpy.ndarray = numpy.array(backend_of(array).to_host(array))
    return host.astype(numpy.float32) if host.dtype.itemsize < 4 and host.dtype.kind not in "iub" else host


def on_device(images: Any, model: Module) -> Tensor:
    """Pictures as a Tensor where the model is, in the dtype of its parameters."""
    x = images if isinstance(images, Tensor) else Tensor(numpy.ascontiguousarray(images))
    weight = next(iter(model.parameters()), None)
    if weight is None:
        return x.detach()
    return x.detach().to(weight.device).to(weight.dtype)


def pictures(operation: str, images: Any) -> numpy.ndarray:
    """(C, H, W) or (N, C, H, W), Tensor or array -> (N, C, H, W) of floating-point numbers on the host."""
    if not isinstance(images, (Tensor, numpy.ndarray)):
        raise OperandError(f"{operation}: the picture is a {type(images).__name__}; give a Tensor or an array")
    host = to_host(images)
    if host.ndim not in (3, 4):
        raise ShapeError(
            f"{operation}: got a picture of shape {host.shape}; it must be (C, H, W), or (N, C, H, W) for several"
        )
    if host.dtype.kind not in "f":
        raise OperandError(
            f"{operation}: the picture has dtype {host.dtype}; give what the network is given, floating-point numbers"
        )
    return host if host.ndim == 4 else host[None]


def one_picture(operation: str, image: Any) -> numpy.ndarray:
    """As `pictures`, of exactly one: (1, C, H, W)."""
    found = pictures(operation, image)
    if len(found) != 1:
        raise ShapeError(f"{operation}: got {len(found)} pictures; it takes one, of shape (C, H, W)")
    return found


def batches(operation: str, data: Any, batch_size: int) -> Iterator[Sample]:
    """Pictures in batches, from a Tensor or array (N, C, H, W), a dataset of (image, class), or a DataLoader."""
    if batch_size < 1:
        raise ArgumentError(f"{operation}: got batch_size {batch_size}; it must be 1 or more")
    if isinstance(data, (Tensor, numpy.ndarray)):
        images = pictures(operation, data)
        for begin in range(0, len(images), batch_size):
            yield Sample(images[begin : begin + batch_size], None)
        return
    if not isinstance(data, DataLoader):
        if not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
            raise OperandError(
                f"{operation}: data is a {type(data).__name__}; give a Tensor of pictures, a dataset or a DataLoader"
            )
        dataset = data
        data = (_collated(dataset, begin, batch_size) for begin in range(0, len(dataset), batch_size))
    for batch in data:
        several = isinstance(batch, (tuple, list))
        labels = to_host(batch[1]) if several and len(batch) > 1 else None
        yield Sample(pictures(operation, batch[0] if several else batch), labels)


def _collated(dataset: Any, begin: int, count: int) -> Any:
    """Samples of a dataset as a batch, without a DataLoader, which would draw from the library's random numbers."""
    indices = list(range(begin, min(begin + count, len(dataset))))
    return default_collate(fetch_samples(dataset, indices))


def how_many(data: Any) -> int | None:
    """The number of pictures, where the data tells."""
    if isinstance(data, (Tensor, numpy.ndarray)):
        return int(data.shape[0]) if data.ndim == 4 else 1
    dataset = data.dataset if isinstance(data, DataLoader) else data
    return len(dataset) if hasattr(dataset, "__len__") else None


def picture_at(data: Any, index: int) -> numpy.ndarray:
    """Picture number `index` of data as `batches` gives it: (C, H, W)."""
    if isinstance(data, (Tensor, numpy.ndarray)):
        return pictures("inspect", data)[index]
    dataset = data.dataset if isinstance(data, DataLoader) else data
    sample = fetch_samples(dataset, [index])[0]
    image = sample[0] if isinstance(sample, (tuple, list)) else sample
    return to_host(image if isinstance(image, Tensor) else numpy.asarray(image))


def scores_of(operation: str, model: Module, x: Tensor) -> Tensor:
    """model(x) as scores (N, classes); of a network that gives several results, the first."""
    z = through(operation, model, x)
    while isinstance(z, (tuple, list)) and z:
        z = z[0]
    if not isinstance(z, Tensor) or z.ndim != 2:
        got = f"shape {z.shape}" if isinstance(z, Tensor) else type(z).__name__
        raise ShapeError(f"{operation}: {type(model).__name__} gives {got}; it must give scores of shape (N, classes)")
    return z


def through(operation: str, model: Module, x: Tensor) -> Any:
    """model(x), with an error that says what kind of picture did not go through."""
    try:
        return model(x)
    except TensorgradError as error:
        raise ShapeError(
            f"{operation}: pictures of shape {tuple(x.shape[1:])} do not go through {type(model).__name__}: {error}"
        ) from error


def softmax(scores: numpy.ndarray) -> numpy.ndarray:
    """Probabilities (N, classes) of scores."""
    powers = numpy.exp(scores - scores.max(1, keepdims=True))
    found: numpy.ndarray = powers / powers.sum(1, keepdims=True)
    return found


def checked_class(operation: str, target: Any, classes: int) -> int:
    """A class number, in its range."""
    if isinstance(target, bool) or not isinstance(target, (int, numpy.integer)):
        raise OperandError(f"{operation}: target is a {type(target).__name__}; give the number of a class")
    if not 0 <= target < classes:
        from tensorgrad.errors import DimensionError

        raise DimensionError(f"{operation}: got target {target}; there are {classes} classes, 0 to {classes - 1}")
    return int(target)


def warn_if_untrained(model: Module, scores: Any = None) -> None:
    """Warn of a network that no training step seems to have touched.

    Its batch norms have statistics of mean 0 and variance 1, or its scores for a picture are those of guessing.
    """
    why = ""
    running = [m for m in model.modules() if getattr(m, "running_mean", None) is not None]
    if running and all(_fresh(m) for m in running):
        why = "its batch norms have never seen a picture (mean 0, variance 1)"
    elif scores is not None and isinstance(scores, Tensor) and scores.ndim == 2 and scores.shape[1] > 4:
        p = softmax(to_host(scores).astype(numpy.float64))
        entropy = -(p * numpy.log(p + 1e-300)).sum(1).mean() / numpy.log(p.shape[1])
        if entropy > _GUESSING:
            why = f"its probabilities are those of guessing ({100 * p.max(1).mean():.1f} % for the likeliest class)"
    if why:
        warnings.warn(f"{type(model).__name__} looks untrained: {why}", UntrainedWarning, stacklevel=4)


def _fresh(norm: Any) -> bool:
    return not to_host(norm.running_mean).any() and bool((to_host(norm.running_var) == 1).all())


class Bar:
    """How far long work is, one live line on stderr; `progress` True, False, None (on a terminal only) or a function
    called with (done, total)."""

    def __init__(self, label: str, total: int, progress: bool | Callable[[int, int], None] | None) -> None:
        self.label, self.total, self.done = label, max(total, 1), 0
        self.tell = progress if callable(progress) else None
        shown = sys.stderr.isatty() if progress is None else progress is True
        self.shown = shown and self.tell is None and threading.current_thread() is threading.main_thread()

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done = min(self.done + count, self.total)
        if self.tell is not None:
            self.tell(self.done, self.total)
        if self.shown:
            full = round(30 * self.done / self.total)
            text = f"\r{self.label} [{'#' * full}{'.' * (30 - full)}] {self.done:,} of {self.total:,}"
            sys.stderr.write(text + ("\r" + " " * len(text) + "\r" if self.done == self.total else ""))
            sys.stderr.flush()
