"""torch.utils.data's names; they live in tensorgrad.data."""

from tensorgrad.data import *  # noqa: F403 - the list is there
from tensorgrad.data import loader as dataloader  # noqa: F401 - torch.utils.data.dataloader
