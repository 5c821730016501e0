"""What can be wrong with a file of weights."""

from __future__ import annotations

import pickle

from tensorgrad.errors import TensorgradError


class CheckpointError(TensorgradError, ValueError):
    """A file that is not a whole, readable checkpoint."""


class ForbiddenError(CheckpointError, pickle.UnpicklingError):
    """A file that holds more than data: a name or an instruction that is not on the list."""
