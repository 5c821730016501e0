"""Names and arguments are those of torch.utils.data and torchvision.transforms."""

import importlib
import inspect

import pytest

import tensorgrad
from tensorgrad import data
from tensorgrad.data import transforms
from tensorgrad.utils import data as utils_data

# torch.utils.data's names of a style of loading that it has given up itself
GIVEN_UP = {"IterDataPipe", "MapDataPipe", "DFIterDataPipe", "DataChunk"}


def settings(function):
    """[(name, default, kind), ...]; a default that is an object of the library is left out."""
    plain = (int, float, str, bool, tuple, type(None), type)
    return [
        (p.name, p.default if isinstance(p.default, plain) else "object", p.kind)
        for p in inspect.signature(function).parameters.values()
        if p.kind not in (p.VAR_KEYWORD,)
    ]


def test_torch_utils_data_is_there():
    assert tensorgrad.utils.data.DataLoader is data.DataLoader
    assert utils_data.sampler.SubsetRandomSampler is data.SubsetRandomSampler
    assert utils_data.dataloader.DataLoader is data.DataLoader
    assert utils_data.distributed.DistributedSampler is data.DistributedSampler
    assert utils_data.dataset.TensorDataset is data.TensorDataset
    assert set(data.datasets.__all__) <= set(data.__all__)


@pytest.mark.oracle
def test_every_name_of_torch_utils_data():
    theirs = pytest.importorskip("torch.utils.data")
    names = {name for name in theirs.__all__ if name[0].isupper() or name in ("default_collate", "random_split")}
    assert not [name for name in names - GIVEN_UP if not hasattr(utils_data, name)]
    for name in ("DataLoader", "RandomSampler", "WeightedRandomSampler", "SubsetRandomSampler", "BatchSampler"):
        assert settings(getattr(data, name)) == settings(getattr(theirs, name)), name
    for name in ("Subset", "ConcatDataset", "ChainDataset", "DistributedSampler", "TensorDataset", "StackDataset"):
        assert settings(getattr(data, name)) == settings(getattr(theirs, name)), name


@pytest.mark.oracle
def test_the_transforms_arguments():
    from torchvision_oracle import torchvision_models

    torchvision_models()
    theirs = importlib.import_module("torchvision.transforms")
    compared = 0
    for name in transforms.__all__:
        cls = getattr(transforms, name)
        if inspect.isclass(cls) and hasattr(theirs, name) and "__init__" in cls.__dict__:
            assert settings(cls) == settings(getattr(theirs, name)), name
            compared += 1
    assert compared > 20
