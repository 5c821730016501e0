"""The batch norms of a whole model folded into the layers before them. Which layer that is shows one run, not the names."""

from __future__ import annotations

import copy
import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeVar

from tensorgrad.errors import ArgumentError
from tensorgrad.mode import mode, no_grad
from tensorgrad.nn import convolution
from tensorgrad.nn.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from tensorgrad.nn.linear import Identity, Linear
from tensorgrad.nn.module import Module
from tensorgrad.nn.normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d, _BatchNorm
from tensorgrad.primitive import Primitive, observers
from tensorgrad.tensor import Tensor

_Model = TypeVar("_Model", bound=Module)

_CONVOLUTIONS = (
    convolution.Conv1d,
    convolution.Conv2d,
    convolution.Conv3d,
    convolution.ConvTranspose1d,
    convolution.ConvTranspose2d,
    convolution.ConvTranspose3d,
)
#: Of exactly these classes: a subclass may compute something else.
_LAYERS = (*_CONVOLUTIONS, Linear)
_NORMS = (BatchNorm1d, BatchNorm2d, BatchNorm3d)


def fuse_batch_norms(model: _Model, *example_inputs: Any, strict: bool = False) -> _Model:
    """A copy of a model for inference, in which convolutions and linear layers do the work of the batch norms behind them.

    model           in eval mode; it stays as it is
    example_inputs  what it is called with once, to see which norm takes the result of which layer
    strict          raise ArgumentError if a norm remains, with the reason for each

    A norm is folded where its input is the result of a Conv1d, 2d, 3d, ConvTranspose1d, 2d, 3d or Linear that nobody else
    uses, keeps or changes, and both are called once. An Identity takes its place, so that all other modules keep their
    paths: of `conv1.weight`, `bn1.weight`, `bn1.bias`, `bn1.running_mean`, ... remain `conv1.weight` and `conv1.bias` (which
    does not require grad where it is new). Norms remain that have no running statistics, that hooks listen to, or whose
    layer's parameters are shared or computed from others.

    The copy is right for inputs that take the way of the example through `forward`, with as many dimensions. What Python
    reads of a result besides the library's operations (`tolist()`, `.array`) is not seen; `numpy()` is.

    Raises ArgumentError for a model in training mode, or without example inputs.

    >>> import tensorgrad, tensorgrad.nn as nn
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()).eval()
    >>> fused = fuse_batch_norms(net, tensorgrad.rand(1, 3, 8, 8))
    >>> fused
    Sequential(
      (0): Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1))
      (1): Identity()
      (2): ReLU()
    )
    >>> list(fused.state_dict())
    ['0.weight', '0.bias']
    """
    _check_evaluated(model)
    if not example_inputs:
        raise ArgumentError(
            "fuse_batch_norms: got no example inputs; give what the model takes, fuse_batch_norms(model, x)"
        )
    fused = copy.deepcopy(model)
    watch = _Watch(fused)
    watch.run(example_inputs)
    norms = {path: norm for path, norm in fused.named_modules() if isinstance(norm, _BatchNorm)}
    obstacles = {path: watch.obstacle(norm) for path, norm in norms.items()}
    remaining = [f"{path}: {why}" for path, why in obstacles.items() if why]
    if strict and remaining:
        raise ArgumentError(
            f"fuse_batch_norms: {len(remaining)} of {len(norms)} batch norms cannot be folded; strict=False leaves them. "
            + "; ".join(remaining)
        )
    for path, norm in norms.items():
        if not obstacles[path]:
            _fold(watch.source(norm).layer, norm)
    return fused


def _check_evaluated(model: Module) -> None:
    for path, module in model.named_modules():
        if module.training and (not path or isinstance(module, (_BatchNorm, convolution._Convolution, Linear))):
            raise ArgumentError(
                f"fuse_batch_norms: {path or type(model).__name__} is in training mode, where a norm depends on the batch; "
                "call model.eval() first"
            )


def _fold(layer: Any, norm: _BatchNorm) -> None:
    """Let the layer do the norm's work, and the norm nothing, wherever it is held."""
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None and var is not None  # else there is an obstacle
    if isinstance(layer, Linear):
        fused = fuse_linear_bn_weights(layer.weight, layer.bias, mean, var, norm.eps, norm.weight, norm.bias)
    else:
        fused = fuse_conv_bn_weights(
            layer.weight, layer.bias, mean, var, norm.eps, norm.weight, norm.bias, layer.transposed
        )
    layer.weight, layer.bias = fused
    # the same object: a plain list or an attribute of another module may hold it besides the one that registered it
    norm.__dict__.clear()
    norm.__class__ = Identity  # type: ignore[assignment]  # it is to become one
    Identity.__init__(norm)  # type: ignore[arg-type]  # for a type checker it is a norm still
    norm.eval()


class _Result:
    """What a layer gave in one call, without keeping it alive, and who took it."""

    __slots__ = ("array", "kept", "layer", "ndim", "storage", "tensor", "users", "version")

    def __init__(self, layer: Module, z: Tensor) -> None:
        self.layer = layer
        self.tensor = weakref.ref(z)
        self.array = weakref.ref(z.array)
        self.ndim = z.array.ndim
        self.storage = z.storage
        self.version = z.storage.version
        self.users: list[Any] = []  # the module in whose forward, for every operation that took it
        self.kept = False


class _Watch:
    """One run of a model: who made the input of every batch norm, and what else became of it."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.results: dict[int, _Result] = {}  # by the id of the array; an id may have been given anew
        self.sources: dict[Module, list[_Result | None]] = {}  # of a norm's inputs, call by call
        self.calls: Counter[Module] = Counter()
        self.owners: dict[int, Module] = {}  # by the ids of the arrays of parameters and buffers
        self.shared: set[Module] = set()  # modules that another one holds too, or uses a parameter of
        self.hooked = {module for module in model.modules() if _is_hooked(module)}
        self._look_for_shared()

    def _look_for_shared(self) -> None:
        held = Counter(
            child for module in self.model.modules() for child in module._modules.values() if child is not None
        )
        self.shared.update(child for child, times in held.items() if times > 1)
        for module in self.model.modules():
            for x in (*module._parameters.values(), *module._buffers.values()):
                if x is not None and self.owners.setdefault(id(x.array), module) is not module:
                    self.shared.update((module, self.owners[id(x.array)]))

    def run(self, inputs: tuple[Any, ...]) -> None:
        """Call the model on the inputs; it is afterwards as it was."""
        from tensorgrad.graph.trace import unchanged

        handles = []
        for module in self.model.modules():
            if isinstance(module, _BatchNorm):
                handles.append(module.register_forward_pre_hook(self._before_norm))
            elif isinstance(module, (convolution._Convolution, Linear)):
                handles.append(module.register_forward_hook(self._after_layer))
        observers.append(self._observe)
        try:
            with no_grad(), unchanged(self.model):
                output = self.model(*inputs)
        finally:
            observers.remove(self._observe)
            for handle in handles:
                handle.remove()
        self._look_for_kept()
        del output  # up to here it held what it holds

    def _look_for_kept(self) -> None:
        taken = [result for results in self.sources.values() for result in results if result is not None]
        if any(result.array() is not None for result in taken):
            gc.collect()  # what only a circle of references held is kept by nobody
        for result in taken:
            result.kept = result.array() is not None or result.storage.lent is not None

    def _result_at(self, x: Any) -> _Result | None:
        result = self.results.get(id(x.array)) if isinstance(x, Tensor) else None
        return result if result is not None and result.array() is x.array else None

    def _after_layer(self, layer: Module, args: Any, output: Any) -> None:
        self.calls[layer] += 1
        if isinstance(output, Tensor):
            self.results[id(output.array)] = _Result(layer, output)

    def _before_norm(self, norm: Module, args: tuple[Any, ...]) -> None:
        self.calls[norm] += 1
        x = args[0] if args else None
        result = self._result_at(x)
        same = result is not None and result.tensor() is x and result.storage.version == result.version
        self.sources.setdefault(norm, []).append(result if same else None)

    def _observe(self, primitive: Primitive, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
        """Called for every application of a primitive."""
        user = None if mode.scope is None else mode.scope.module()
        for x in inputs:
            result = self._result_at(x)
            if result is not None:
                result.users.append(user)
            owner = self.owners.get(id(x.array)) if isinstance(x, Tensor) else None
            if owner is not None and owner is not user:
                self.shared.add(owner)

    def source(self, norm: Module) -> _Result:
        """The result that a norm without obstacle took."""
        (result,) = self.sources[norm]
        assert result is not None
        return result

    def obstacle(self, norm: _BatchNorm) -> str:
        """Why this norm cannot be folded; '' if it can."""
        return next(self._obstacles(norm), "")

    def _obstacles(self, norm: _BatchNorm) -> Iterator[str]:
        yield from self._obstacles_in(norm, _NORMS)
        if norm.running_mean is None or norm.running_var is None:
            yield "it has no running statistics"
        if self.sources[norm] == [None]:
            yield "its input is not the unchanged result of a convolution or linear layer"
        result = self.source(norm)
        layer: Any = result.layer
        before = f"its input comes from a {type(layer).__name__}, but"
        for why in self._obstacles_in(layer, _LAYERS):
            yield f"{before} {why}"
        if any(user is not norm for user in result.users):
            yield f"{before} others use it too"
        if result.kept:
            yield f"{before} something keeps it after forward, or NumPy saw it"
        if result.ndim != layer.weight.array.ndim:
            yield f"{before} the norm's channels are not its features in {result.ndim} dimensions"
        if layer.weight.array.dtype != norm.running_mean.array.dtype:  # type: ignore[union-attr]
            yield f"{before} in {layer.weight.dtype}, not in the norm's dtype"

    def _obstacles_in(self, module: Module, known: tuple[type[Module], ...]) -> Iterator[str]:
        kind = type(module).__name__
        if type(module) not in known or "forward" in module.__dict__:
            yield f"{kind} is a class of its own (parametrized, say), which may compute something else"
        if module in self.hooked or module._parameters.get("weight", module) is module:
            yield f"{kind} has hooks, or its weight is no parameter"
        if self.calls[module] != 1:
            yield f"{kind} is called {self.calls[module]} times"
        if module in self.shared:
            yield f"{kind} or one of its parameters is used in other places too"


def _is_hooked(module: Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
