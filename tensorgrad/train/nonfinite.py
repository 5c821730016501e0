"""When the loss is not finite: where the first value came from that is not, and the batch that shows it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.errors import TensorgradError
from tensorgrad.io import files
from tensorgrad.mode import layer_path, mode, no_grad
from tensorgrad.primitive import Primitive, observers
from tensorgrad.tensor import Tensor
from tensorgrad.train.randomness import get_states, set_states


class NonFiniteLoss(TensorgradError, ArithmeticError):
    """The loss became infinite or nan; the step that would have followed was not taken.

    epoch, step  where it happened, both counted from 1; step is None where it was in validation
    origin       where the first value that is not finite came from, as a text; '' where it was not looked for
    layer        the path of the layer it came out of, '' outside of all layers
    batch        the file with the batch, the state of the model and of the random numbers; None where none was written
    """

    def __init__(
        self,
        text: str,
        epoch: int = 0,
        step: int | None = None,
        origin: str = "",
        layer: str = "",
        batch: str | None = None,
    ) -> None:
        super().__init__(text)
        self.epoch, self.step, self.origin, self.layer, self.batch = epoch, step, origin, layer, batch


def find_origin(
    model: Any, loss: Callable[..., Any], images: Tensor, labels: Tensor, states: dict[str, Any]
) -> tuple[str, str]:
    """(where the first value that is not finite came from, the path of its layer).

    The parameters and the images are looked at first. Then the forward pass is done once more with the random numbers
    of `states`, and every operation is watched. Buffers are put back as they were.
    """
    named = [(f"the parameter '{name}' was", name, p) for name, p in model.named_parameters()]
    for what, name, values in [*named, ("the images of the batch were", "", images)]:
        if not _finite(values):
            return f"{what} not finite already, before the step", name.rpartition(".")[0]

    found: list[tuple[str, str]] = []
    here = threading.get_ident()

    def watch(primitive: Primitive, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
        if found or threading.get_ident() != here:  # other threads compute their own
            return
        if not all(_finite(z) for z in outputs):
            layer = layer_path(mode.scope)
            found.append(
                (f"{primitive.name} in {f'layer {layer!r}' if layer else 'the loss, outside of all layers'}", layer)
            )

    buffers = {name: backend_of(x.array).copy(x.array) for name, x in model.named_buffers()}
    now = get_states()
    set_states({**states, "generators": []})
    observers.append(watch)
    try:
        with no_grad():
            loss(model(images), labels)
    finally:
        observers.remove(watch)
        set_states(now)
        for name, x in model.named_buffers():
            x.array[...] = buffers[name]
    if found:
        return f"the first value that is not finite came out of {found[0][0]}", found[0][1]
    return "a second forward pass over the same batch stayed finite", ""


def keep_batch(path: str | os.PathLike[str], batch: Mapping[str, Any]) -> str | None:
    """Write what shows the failure; None where it cannot be written, which must not hide the failure itself."""
    try:
        files.save(batch, path)
    except (OSError, TensorgradError):  # or a file cannot hold it
        return None
    return os.fspath(path)


def _finite(x: Any) -> bool:
    if not isinstance(x, Tensor) or x.array.dtype.kind not in "fV":
        return True
    backend = backend_of(x.array)
    return bool(backend.to_host(backend.isfinite(x.array).all()))
