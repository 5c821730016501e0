"""A trained network's layers for other ends: as features, frozen, with a new last layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad import nn
from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.handles import RemovableHandle
from tensorgrad.nn.arguments import at_least
from tensorgrad.nn.module import Module
from tensorgrad.nn.normalization import NormBase

__all__ = ["FeatureExtractor", "features", "freeze", "replace_head", "unfreeze"]


class _Reached(Exception):
    """Carries a layer's output out of a network whose later layers need not run."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


class FeatureExtractor(nn.Module):
    """A network up to and with the layer `at`: it gives that layer's output, and what comes later is not computed.

    model  the network, which stays as it is
    at     the layer's dotted name, as in named_modules(): 'layer4.1', 'classifier.4'; of a layer that is called several
           times ('layer4.1.relu') it is the first call that counts

    Raises AttributeError for a layer that is not there, ArgumentError for one that the network does not call,
    OperandError where model is no Module or at no name.

    >>> import tensorgrad
    >>> from tensorgrad.models import resnet20
    >>> FeatureExtractor(resnet20(), at="layer2")(tensorgrad.zeros(1, 3, 32, 32)).shape
    (1, 32, 16, 16)
    """

    def __init__(self, model: Module, at: str) -> None:
        super().__init__()
        if not isinstance(model, Module) or not isinstance(at, str) or not at:
            raise OperandError(
                f"FeatureExtractor: got a {type(model).__name__} and at={at!r}; it takes a Module and the dotted name of one "
                "of its layers, as in named_modules()"
            )
        model.get_submodule(at)
        self.model = model
        self.at = at

    def forward(self, *inputs: Any) -> Any:
        def stop(layer: Module, args: Any, output: Any) -> None:
            raise _Reached(output)

        with self.model.get_submodule(self.at).register_forward_hook(stop):
            try:
                self.model(*inputs)
            except _Reached as reached:
                return reached.output
        raise ArgumentError(
            f"FeatureExtractor: {type(self.model).__name__} does not call its layer {self.at!r}; choose another"
        )

    def extra_repr(self) -> str:
        return f"at={self.at!r}"


def features(model: Module, x: Any, at: str) -> Any:
    """The output of the layer `at` of a network for the input x; see FeatureExtractor.

    >>> import tensorgrad
    >>> from tensorgrad.models import resnet20
    >>> features(resnet20().eval(), tensorgrad.zeros(2, 3, 32, 32), at="avgpool").shape
    (2, 64, 1, 1)
    """
    return FeatureExtractor(model, at)(x)


def freeze(model: Module, *names: str) -> list[RemovableHandle]:
    """Let layers be as they are: no gradients for their parameters, no new statistics in their norms.

    names  dotted names of the layers, with all that is inside them; without any, the whole network

    Norms inside that have running statistics use them and keep them, also after model.train(). Give the handles that come
    back to `unfreeze`.

    >>> from tensorgrad.models import resnet20
    >>> model = resnet20()
    >>> handles = freeze(model, "conv1", "bn1", "layer1", "layer2")
    >>> sorted({name.partition(".")[0] for name, p in model.named_parameters() if p.requires_grad})
    ['fc', 'layer3']
    """
    handles = []
    for layer in _layers(model, names):
        layer.requires_grad_(False)
        for inner in layer.modules():
            if isinstance(inner, NormBase):
                inner.eval()
                handles.append(inner.register_forward_pre_hook(_evaluate))
    return handles


def unfreeze(model: Module, *names: str, handles: list[RemovableHandle] | None = None) -> None:
    """Let layers learn again; `handles` are those that `freeze` gave. Call model.train() before training goes on."""
    for layer in _layers(model, names):
        layer.requires_grad_(True)
    for handle in handles or ():
        handle.remove()


def _layers(model: Module, names: tuple[str, ...]) -> list[Module]:
    return [model.get_submodule(name) for name in names] if names else [model]


def _evaluate(layer: Module, args: Any) -> None:
    layer.training = False


def replace_head(model: Module, num_classes: int) -> Module:
    """Put a fresh last layer for `num_classes` classes in the place of a network's; returns the new layer.

    The last linear layer gives way, or the last convolution where there is no linear one; auxiliary heads stay.

    >>> from tensorgrad.models import resnet20
    >>> model = resnet20()
    >>> replace_head(model, 3)
    Linear(in_features=64, out_features=3, bias=True)
    """
    at_least("replace_head", "num_classes", num_classes, 1)
    named = list(model.named_modules())
    makers: tuple[tuple[Any, Callable[[Any], Module]], ...] = (
        (nn.Linear, lambda old: nn.Linear(old.in_features, num_classes, bias=old.bias is not None)),
        (nn.Conv2d, lambda old: _same_conv(old, num_classes)),
    )
    for kind, make in makers:
        found = [(name, layer) for name, layer in named if isinstance(layer, kind) and name]
        if found:
            name, old = found[-1]
            new = make(old).to(old.weight.device, old.weight.dtype)
            path, _, last = name.rpartition(".")
            model.get_submodule(path)._modules[last] = new
            return new
    raise OperandError(f"replace_head: {type(model).__name__} has neither a linear layer nor a convolution inside")


def _same_conv(old: Any, out_channels: int) -> Module:
    settings = {"stride": old.stride, "padding": old.padding, "dilation": old.dilation}
    return nn.Conv2d(old.in_channels, out_channels, old.kernel_size, bias=old.bias is not None, **settings)
