"""Networks from papers, one file a paper.

>>> import tensorgrad.models as models
>>> model = models.get_model("lenet5", num_classes=10)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.errors import ArgumentError
from tensorgrad.models.lenet import LeNet5, lenet5
from tensorgrad.nn.module import Module

#: Every network by name.
BUILDERS: dict[str, Callable[..., Module]] = {
    "lenet5": lenet5,
}


def list_models() -> list[str]:
    """The names that `get_model` knows."""
    return sorted(BUILDERS)


def get_model(name: str, **settings: Any) -> Module:
    """The network of that name; the settings are its builder's."""
    if name not in BUILDERS:
        raise ArgumentError(f"get_model: got {name!r}; there are {', '.join(list_models())}")
    return BUILDERS[name](**settings)


__all__ = ["BUILDERS", "LeNet5", "get_model", "lenet5", "list_models"]
