"""What the builders share: initialisation once and by one rule, weights by path or by name, a builder from a table's row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from tensorgrad.errors import ArgumentError
from tensorgrad.models.weights import USUAL, find_weights, load_weights
from tensorgrad.models.weights_table import PUBLIC, SETTINGS
from tensorgrad.nn import init
from tensorgrad.nn.convolution import Conv2d
from tensorgrad.nn.linear import Linear
from tensorgrad.nn.module import Module

#: Every network's builder by name.
BUILDERS: dict[str, Callable[..., Any]] = {}

#: Initialises one layer, named as in named_modules(), and says whether it did; if not, the layer gets its own default.
Rule = Callable[[str, Module], bool]


def initialise(model: Module, init_weights: Any, usual: Rule, paper: Rule | None = None) -> None:
    """Draw the parameters of every layer of a network, each once.

    init_weights  None, True: by the rule `usual`, as torchvision does; 'paper': as the paper says; False: by each
                  layer's own default
    Draws nothing inside of `init.postponed()`, where a file's numbers follow.
    """
    if init_weights == "paper" and paper is not None:
        rule = paper
    elif init_weights is None or init_weights is True:
        rule = usual
    elif init_weights is False:
        rule = layers_decide
    else:
        choices = "None, True, False" + (" or 'paper'" if paper is not None else "")
        raise ArgumentError(f"{type(model).__name__}: init_weights is {init_weights!r}; it must be {choices}")
    if init.is_postponed():
        return
    for name, layer in model.named_modules():
        if layer._parameters and not rule(name, layer) and hasattr(layer, "reset_parameters"):
            layer.reset_parameters()


def layers_decide(name: str, layer: Module) -> bool:
    """The rule that leaves every layer to its own default, PyTorch's."""
    return False


def he_normal(mode: str, linear_std: float | None = None) -> Rule:
    """Convolutions by He's normal rule, their biases 0; linear layers from a normal distribution, if a std is given."""

    def rule(name: str, layer: Module) -> bool:
        if isinstance(layer, Conv2d):
            init.kaiming_normal_(layer.weight, mode=mode, nonlinearity="relu")
        elif isinstance(layer, Linear) and linear_std is not None:
            init.normal_(layer.weight, 0.0, linear_std)
        else:
            return False
        if layer.bias is not None:
            init.zeros_(layer.bias)
        return True

    return rule


def he_everywhere(name: str, layer: Module) -> bool:
    """Weights of convolutions and linear layers normal with variance 2 / fan_in, biases 0. He et al., 2015 (MSRA)."""
    if not isinstance(layer, (Conv2d, Linear)):
        return False
    init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
    if layer.bias is not None:
        init.zeros_(layer.bias)
    return True


def gaussian(std: float) -> Rule:
    """Weights of convolutions and linear layers normal with deviation `std`, biases 0."""

    def rule(name: str, layer: Module) -> bool:
        if not isinstance(layer, (Conv2d, Linear)):
            return False
        init.normal_(layer.weight, 0.0, std)
        if layer.bias is not None:
            init.zeros_(layer.bias)
        return True

    return rule


def xavier_everywhere(name: str, layer: Module) -> bool:
    """Weights of convolutions and linear layers by Glorot's uniform rule, biases 0. Glorot & Bengio, 2010."""
    if not isinstance(layer, (Conv2d, Linear)):
        return False
    init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        init.zeros_(layer.bias)
    return True


def builder(name: str, network: Callable[..., Module], summary: str, **row: Any) -> Callable[..., Any]:
    """The function that builds `network` with a row of its table's settings, known as `name` to get_model.

    It takes `weights` and `progress` (see tensorgrad.models.weights) and the settings of `network`, which come before the
    row's.
    """

    def build(*, weights: Any = None, progress: bool = True, **settings: Any) -> Module:
        return with_weights(name, network, weights, {**row, **settings}, progress)

    build.__name__ = build.__qualname__ = name
    build.__module__ = network.__module__
    build.__doc__ = (
        f"{summary}\n\n    weights   None to draw them, a file, a state dict, or 'auto' for the public ones\n"
        "    progress  whether a terminal shows how much of the public ones has come\n"
        f"    settings  those of {network.__name__}\n    "
    )
    parameters = [p for p in inspect.signature(network).parameters.values() if p.name not in row]
    keywords = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters]
    own = [p for p in inspect.signature(build).parameters.values() if p.kind is p.KEYWORD_ONLY]
    BUILDERS[name] = build
    build.__signature__ = inspect.Signature(own + keywords)  # type: ignore[attr-defined]
    return build


def with_weights(
    name: str, make: Callable[..., Module], weights: Any, settings: Mapping[str, Any], progress: bool = True
) -> Any:
    """make(**settings), holding `weights`: nothing is drawn that a file's numbers would replace.

    weights  None, a file, a state dict, or the name of public weights, with which the network gets the settings that
             they were trained with, unless the caller chose others
    """
    if weights is None:
        return make(**settings)
    public = isinstance(weights, str) and (weights in USUAL or any(weights == f.label for f in PUBLIC.get(name, ())))
    chosen = {**SETTINGS.get(name, {}), **settings} if public else dict(settings)
    with init.postponed():
        model = make(**chosen)  # before anything is fetched: a wrong setting is told at once
    if public and name in PUBLIC:
        _check_classes(name, make, settings)
    state = weights if isinstance(weights, Mapping) else find_weights(name, weights, progress)
    load_weights(model, state, name)
    return model


def _check_classes(name: str, make: Callable[..., Module], settings: Mapping[str, Any]) -> None:
    """Public weights are for as many classes as the network has by default."""
    usual = inspect.signature(make).parameters["num_classes"].default
    wanted = settings.get("num_classes", usual)
    if wanted != usual:
        raise ArgumentError(
            f"{name}: num_classes is {wanted}, and the public weights are for {usual}; load them without it, then call "
            f"models.replace_head(model, {wanted})"
        )
