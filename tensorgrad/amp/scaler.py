"""The scale of the loss, which keeps small gradients of float16 from becoming 0."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

from tensorgrad.backend import backend_for, backend_of, without_warnings
from tensorgrad.device import Device, as_device
from tensorgrad.dtypes import float16, float32, int32
from tensorgrad.errors import ArgumentError, DeviceError, GraphError, OperandError, StateError
from tensorgrad.mode import mode
from tensorgrad.tensor import Tensor

_READY, _UNSCALED, _STEPPED = "ready", "unscaled", "stepped"


class _Seen:
    """What became of one optimiser's gradients since the last update."""

    def __init__(self) -> None:
        self.stage = _READY
        self.finite: list[Any] = []  # arrays without dimensions, one a device: whether all gradients there are finite


class GradScaler:
    """Multiplies the loss by a scale, divides the gradients by it, and skips the steps whose gradients are not finite.

    device           'cuda' or 'cpu': where the outputs to be scaled are
    init_scale       what it begins with
    growth_factor    what the scale is multiplied with after `growth_interval` steps without an infinite or nan gradient
    backoff_factor   what it is multiplied with after a step that was skipped
    enabled          False: everything passes through as if there were no scale

    Works with every optimiser: whether to skip is read once a step on the host, as in PyTorch. Micikevicius et al. 2018,
    "Mixed precision training", section 3.2.

    >>> import tensorgrad
    >>> w = tensorgrad.ones(2, requires_grad=True)
    >>> optimizer = tensorgrad.optim.SGD([w], lr=0.5)
    >>> scaler = GradScaler("cpu", init_scale=1024.0)
    >>> for factor in (1.0, float("inf")):
    ...     optimizer.zero_grad()
    ...     scaler.scale((w * factor).sum()).backward()
    ...     _ = scaler.step(optimizer)
    ...     scaler.update()
    >>> w.tolist(), scaler.get_scale()
    ([0.5, 0.5], 512.0)
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = as_device(device)
        self._enabled = bool(enabled)
        if self._enabled:
            try:
                backend_for(self._device)
            except DeviceError as error:
                warnings.warn(f"GradScaler is off: {error}", stacklevel=2)
                self._enabled = False
        if growth_factor <= 1.0:
            raise ArgumentError(f"GradScaler: growth_factor is {growth_factor}; it must be above 1")
        if backoff_factor >= 1.0:
            raise ArgumentError(f"GradScaler: backoff_factor is {backoff_factor}; it must be below 1")
        self._init_scale = float(init_scale)
        self._init_growth_tracker = 0
        self._growth_factor = float(growth_factor)
        self._backoff_factor = float(backoff_factor)
        self._growth_interval = int(growth_interval)
        self._scale: Tensor | None = None  # on the device, from the first call of `scale` on
        self._growth_tracker: Tensor | None = None  # steps since the scale changed
        self._seen: dict[int, _Seen] = {}  # by id of the optimiser

    # a step, in the order in which it goes

    def scale(self, outputs: Any) -> Any:
        """outputs times the scale: a Tensor, or Tensors in lists and tuples."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            with without_warnings():
                return outputs * self._scale_on(outputs.device)
        if isinstance(outputs, Iterable) and not isinstance(outputs, (str, bytes, dict)):
            scaled = [self.scale(x) for x in outputs]
            return scaled if isinstance(outputs, list) else tuple(scaled)
        raise ArgumentError(f"GradScaler.scale: got a {type(outputs).__name__}; give a Tensor, or Tensors in a list")

    def _scale_on(self, device: Device) -> Tensor:
        if self._scale is None:
            backend = backend_for(device)
            with backend.on(device):
                self._scale = Tensor(backend.full((), self._init_scale, float32))
                self._growth_tracker = Tensor(backend.full((), self._init_growth_tracker, int32))
        return self._scale.to(device)

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimiser's parameters by the scale: to clip them between backward and step.

        Raises StateError where this was done already since the last update, or `scale` was never called; ArgumentError for
        gradients in float16 (keep the parameters in float32, and cast by autocast).
        """
        if not self._enabled:
            return
        seen = self._seen_of(optimizer)
        if seen.stage == _UNSCALED:
            raise StateError(
                "unscale_: it has been called for this optimiser since the last update(); call it once a step"
            )
        if seen.stage == _STEPPED:
            raise StateError("unscale_: it comes after step(); call it before step(), and update() after")
        self._unscale(optimizer, seen)
        seen.stage = _UNSCALED

    def _unscale(self, optimizer: Any, seen: _Seen) -> None:
        self._check_used("unscale_")
        by_device: dict[Device, list[Tensor]] = {}
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p._grad is None:
                    continue
                if p._grad.dtype == float16:
                    raise ArgumentError(
                        "GradScaler: a gradient is in float16; keep parameters in float32 and let autocast cast them"
                    )
                by_device.setdefault(p._grad.device, []).append(p._grad)
        for device, gradients in by_device.items():
            scale = self._scale_on(device).array
            for g in gradients:
                g.storage.written("GradScaler.unscale_")
            with without_warnings():
                seen.finite.append(backend_of(scale).unscale([g.array for g in gradients], scale))

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(), after unscale_ where that was not called; skipped (None) where a gradient is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if mode.capturing is not None:
            raise GraphError(
                "GradScaler.step: whether to skip a step is read on the host, which a CUDA graph cannot do; leave it out of the "
                "captured part, or use tensorgrad.compile, which does it at every replay"
            )
        if "closure" in kwargs or args:
            raise StateError("GradScaler.step: an optimiser that takes a closure cannot be scaled; use enabled=False")
        seen = self._seen_of(optimizer)
        if seen.stage == _STEPPED:
            raise StateError("GradScaler.step: it has been called for this optimiser since the last update()")
        if seen.stage == _READY:
            self._unscale(optimizer, seen)
        if not seen.finite:
            raise StateError(
                "GradScaler.step: no parameter of the optimiser has a gradient; call scale(loss).backward() first"
            )
        found = all(bool(backend_of(one).to_host(one)) for one in seen.finite)
        seen.stage = _STEPPED
        return optimizer.step(*args, **kwargs) if found else None

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Make the scale larger or smaller by what the steps since the last update met, or set it to `new_scale`."""
        if not self._enabled:
            return
        self._check_used("update")
        assert self._scale is not None and self._growth_tracker is not None
        if new_scale is not None:
            if isinstance(new_scale, Tensor) and (new_scale.numel() != 1 or new_scale.requires_grad):
                raise ArgumentError(
                    "GradScaler.update: new_scale must be a number, or a Tensor of one without a gradient"
                )
            self._scale.fill_(new_scale)
        else:
            found = [finite for seen in self._seen.values() for finite in seen.finite]
            if not found:
                raise StateError("GradScaler.update: no step was made since the last update()")
            scale, tracker = self._scale.array, self._growth_tracker.array
            backend = backend_of(scale)
            finite = Tensor(found[0]).to(self._scale.device).array
            for other in found[1:]:
                finite = backend.logical_and(finite, Tensor(other).to(self._scale.device).array)
            self._move(backend, scale, tracker, finite)
        self._seen.clear()

    def _move(self, backend: Any, scale: Any, tracker: Any, finite: Any) -> None:
        """The rule, without a look at the values: a GPU need not be waited for."""
        with without_warnings():
            due = tracker + 1 == self._growth_interval
            grown = scale * self._growth_factor
            grown = backend.where(due & backend.isfinite(grown), grown, scale)
            scale[...] = backend.where(finite, grown, scale * self._backoff_factor)
            tracker[...] = backend.where(finite, backend.where(due, 0, tracker + 1), 0)

    def _seen_of(self, optimizer: Any) -> _Seen:
        return self._seen.setdefault(id(optimizer), _Seen())

    def _check_used(self, operation: str) -> None:
        if self._scale is None:
            raise StateError(f"GradScaler.{operation}: nothing was scaled yet; use scale(loss).backward()")

    # its settings and its state

    def is_enabled(self) -> bool:
        """Whether there is a scale at all."""
        return self._enabled

    def get_scale(self) -> float:
        """The scale now, read on the host; 1.0 where it is off."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else float(self._scale.item())

    def get_growth_factor(self) -> float:
        """What the scale grows by."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set what the scale grows by."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is made smaller by."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set what the scale is made smaller by."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many good steps the scale grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set after how many good steps the scale grows."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        return self._init_growth_tracker if self._growth_tracker is None else int(self._growth_tracker.item())

    def state_dict(self) -> dict[str, Any]:
        """Scale, settings and the good steps so far; empty where it is off. To be taken after `update`."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state of `state_dict`; nothing where this scaler is off. Raises StateError for one that was off."""
        if not self._enabled:
            return
        if not isinstance(state_dict, dict):
            raise OperandError(f"GradScaler.load_state_dict: got a {type(state_dict).__name__}; it takes a dict")
        missing = sorted(set(self.state_dict()) - set(state_dict))
        if missing:
            raise StateError(
                f"GradScaler.load_state_dict: the state has no {', '.join(missing)}; was it of a scaler that was off?"
            )
        self._init_scale = float(state_dict["scale"])
        self._init_growth_tracker = int(state_dict["_growth_tracker"])
        self._growth_factor = float(state_dict["growth_factor"])
        self._backoff_factor = float(state_dict["backoff_factor"])
        self._growth_interval = int(state_dict["growth_interval"])
        if self._scale is not None and self._growth_tracker is not None:
            self._scale.fill_(self._init_scale)
            self._growth_tracker.fill_(self._init_growth_tracker)
