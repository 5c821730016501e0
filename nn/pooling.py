"""The layers of pooling: settings kept, functions called."""

from __future__ import annotations

from typing import Any

from tensorgrad.nn import other_pooling
from tensorgrad.nn import pooling_functions as functions
from tensorgrad.nn.arguments import several
from tensorgrad.nn.module import Module
from tensorgrad.tensor import Tensor


class _Pool(Module):
    """What all share whose windows have a size, a stride and a padding; `function` is the pooling they call."""

    function: Any
    shown: tuple[str, ...] = ("kernel_size", "stride", "padding")

    def __init__(self, kernel_size: Any, stride: Any = None, padding: Any = 0) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding

    def forward(self, input: Tensor) -> Tensor:
        z: Tensor = type(self).function(input, self.kernel_size, self.stride, self.padding)
        return z

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)}" for name in self.shown)


class _MaxPool(_Pool):
    shown = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        return type(self).function(
            input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices
        )


class MaxPool1d(_MaxPool):
    """The largest value of every window of (N, C, L); see `tensorgrad.nn.functional.max_pool1d`."""

    function = staticmethod(functions.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest value of every window; see `tensorgrad.nn.functional.max_pool2d`.

    >>> import tensorgrad
    >>> MaxPool2d(2)(tensorgrad.ones(1, 6, 28, 28)).shape
    (1, 6, 14, 14)
    """

    function = staticmethod(functions.max_pool2d)


class MaxPool3d(_MaxPool):
    """The largest value of every window of (N, C, D, H, W); see `tensorgrad.nn.functional.max_pool3d`."""

    function = staticmethod(functions.max_pool3d)


class AvgPool1d(_Pool):
    """The mean of every window of (N, C, L); see `tensorgrad.nn.functional.avg_pool1d`."""

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        kernel = several("AvgPool1d", "kernel_size", kernel_size, 1)
        steps = kernel if stride is None else several("AvgPool1d", "stride", stride, 1)
        super().__init__(kernel, steps, several("AvgPool1d", "padding", padding, 1))
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return functions.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad
        )


class _AvgPool(_Pool):
    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(kernel_size, stride, padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        windows = self.kernel_size, self.stride, self.padding, self.ceil_mode
        z: Tensor = type(self).function(input, *windows, self.count_include_pad, self.divisor_override)
        return z


class AvgPool2d(_AvgPool):
    """The mean of every window; see `tensorgrad.nn.functional.avg_pool2d`.

    >>> import tensorgrad
    >>> AvgPool2d(2)(tensorgrad.ones(1, 6, 28, 28)).shape
    (1, 6, 14, 14)
    """

    function = staticmethod(functions.avg_pool2d)


class AvgPool3d(_AvgPool):
    """The mean of every window of (N, C, D, H, W); see `tensorgrad.nn.functional.avg_pool3d`."""

    function = staticmethod(functions.avg_pool3d)


class _LPPool(Module):
    function: Any

    def __init__(self, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        z: Tensor = type(self).function(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)
        return z

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """The p-norm of every window of (N, C, L); see `tensorgrad.nn.functional.lp_pool1d`."""

    function = staticmethod(other_pooling.lp_pool1d)


class LPPool2d(_LPPool):
    """The p-norm of every window, L2 pooling for p = 2; see `tensorgrad.nn.functional.lp_pool2d`.

    >>> import tensorgrad
    >>> LPPool2d(2, 2)(tensorgrad.ones(1, 6, 28, 28)).shape
    (1, 6, 14, 14)
    """

    function = staticmethod(other_pooling.lp_pool2d)


class LPPool3d(_LPPool):
    """The p-norm of every window of (N, C, D, H, W); see `tensorgrad.nn.functional.lp_pool3d`."""

    function = staticmethod(other_pooling.lp_pool3d)


class SumPool2d(_Pool):
    """The sum of every window; see `tensorgrad.nn.functional.sum_pool2d`."""

    function = staticmethod(other_pooling.sum_pool2d)


class DistancePool2d(_Pool):
    """The mean of every window weighted by distance from its centre; see `tensorgrad.nn.functional.distance_pool2d`."""

    function = staticmethod(other_pooling.distance_pool2d)


class Maxout(Module):
    """The largest of every `pieces` neighbouring channels; see `tensorgrad.nn.functional.maxout`."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, input: Tensor) -> Tensor:
        return other_pooling.maxout(input, self.pieces)

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}"
