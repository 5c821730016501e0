"""The exceptions tensorgrad raises: PyTorch's kinds, each able to say in which layer it happened.

A message names the operation, the argument, what it got, what it needs, and the remedy. While an error travels out
through `nn.Module.__call__`, every module puts its name for the failing child in front, so that the text ends with
``[in layer 'layer3.2.conv1', a Conv2d]``.
"""

from __future__ import annotations


class TensorgradError(Exception):
    """Base of all of them; `layer` is the path of the failing layer in the model, '' outside of one."""

    layer: str = ""
    layer_kind: str = ""

    def __str__(self) -> str:
        message = super().__str__()
        if not self.layer_kind:
            return message
        where = f"layer '{self.layer}', a {self.layer_kind}" if self.layer else f"the {self.layer_kind}"
        return f"{message} [in {where}]"


class ShapeError(TensorgradError, RuntimeError):
    """Shapes that do not fit together."""


class ArgumentError(TensorgradError, ValueError):
    """A setting out of its range."""


class RangeError(TensorgradError, RuntimeError):
    """A setting out of its range, where PyTorch's own error is a RuntimeError."""


class OperandError(TensorgradError, TypeError):
    """A value of a type the operation cannot take."""


class DtypeError(TensorgradError, RuntimeError):
    """A dtype the operation cannot take."""


class DeviceError(TensorgradError, RuntimeError):
    """Values on different devices, or a device that is not there."""


class OutOfMemoryError(TensorgradError, RuntimeError):
    """A GPU's memory is used up; PyTorch has it as torch.OutOfMemoryError."""


class GraphError(TensorgradError, RuntimeError):
    """A use of the tape that cannot be right: a second backward, a saved value changed in place, ..."""


class DimensionError(TensorgradError, IndexError):
    """A dimension or an index out of range."""


class StateError(TensorgradError, RuntimeError):
    """A saved state that does not fit what it is loaded into."""


class UnsupportedError(TensorgradError, NotImplementedError):
    """What is not done here; the message says what to use instead."""
