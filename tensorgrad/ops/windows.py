"""Sliding windows along some dimensions, and the sum over them: unfold and fold in any number of dimensions."""

from __future__ import annotations

from typing import Any

from tensorgrad.backend import backend_of
from tensorgrad.primitive import Linear, View

Sizes = tuple[int, ...]


class Windows(View):
    """z[..., o, ..., k] = x[..., o stride + k dilation, ...] along each of dims        dz likewise of dx"""

    __slots__ = ("dilation", "dims", "kernel", "lengths", "stride")

    def __init__(self, dims: Sizes, kernel: Sizes, stride: Sizes, dilation: Sizes) -> None:
        self.dims = dims
        self.kernel = kernel
        self.stride = stride
        self.dilation = dilation

    def forward(self, x: Any) -> Any:
        self.lengths = tuple(x.shape[dim] for dim in self.dims)
        return backend_of(x).windows(x, self.dims, self.kernel, self.stride, self.dilation)

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).windows_sum(dz, self.dims, self.lengths, self.stride, self.dilation)


class WindowsSum(Linear):
    """z[..., i, ...] = sum of x[..., o, ..., k] over o stride + k dilation = i        dz likewise of dx"""

    __slots__ = ("dilation", "dims", "kernel", "lengths", "stride")

    def __init__(self, dims: Sizes, lengths: Sizes, stride: Sizes, dilation: Sizes) -> None:
        self.dims = dims
        self.lengths = lengths
        self.stride = stride
        self.dilation = dilation

    def forward(self, x: Any) -> Any:
        self.kernel = tuple(x.shape[x.ndim - len(self.dims) :])
        return backend_of(x).windows_sum(x, self.dims, self.lengths, self.stride, self.dilation)

    def vjp(self, dz: Any) -> Any:
        return backend_of(dz).windows(dz, self.dims, self.kernel, self.stride, self.dilation)
