"""Changing the shape of a Tensor in place: x.transpose_(0, 1) makes x itself the view that x.transpose(0, 1) would be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensorgrad.ops import shape
from tensorgrad.ops.inplace import check_writable, take_place
from tensorgrad.tensor import Tensor


def _replace_in_views(x: Tensor, before: Tensor) -> None:
    """`before` stands among the views of its memory where x stood, and is what the views of x look at."""
    former = x.storage.views
    x.storage.views = []
    for ref in former:
        view = ref()
        if view is x:
            x.storage.add_view(before)
        elif view is not None:
            assert view.extra is not None and view.extra.view is not None
            parent, primitive = view.extra.view
            view.extra.view = (before if parent is x else parent, primitive)
            x.storage.add_view(view)


def reshaped_in_place(operation: str, view: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The in-place form of an operation that gives a view.

    What x was lives on as the Tensor that the view looks at; the views of x that there are, are views of that.
    """

    def apply(x: Tensor, *arguments: Any, **settings: Any) -> Tensor:
        check_writable(x, operation)
        storage = x.storage
        before = x.alias(None if x.extra is None else x.extra.tangents)
        extra = x.make_extra()
        before.make_extra().view = extra.view
        z = view(before, *arguments, **settings)
        if z is before:
            return x
        _replace_in_views(x, before)
        x.array = z.array
        take_place(x, z)
        assert z.extra is not None
        extra.view = z.extra.view
        storage.add_view(x)
        storage.version += 1
        storage.writer = operation
        return x

    apply.__name__ = apply.__qualname__ = operation
    apply.__doc__ = f"Make x what `{operation[:-1]}` gives: another view of its memory; returns x."
    return apply


IN_PLACE: dict[str, Callable[..., Tensor]] = {
    f"{name}_": reshaped_in_place(f"{name}_", getattr(shape, name))
    for name in ("squeeze", "unsqueeze", "transpose", "swapaxes", "swapdims", "t")
}
