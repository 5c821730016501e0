"""torch.utils.data's names; they live in tensorgrad.data."""

from tensorgrad.data import *  # noqa: F403 - the list is there
