"""Datasets, loaders and image transforms."""

from tensorgrad.data import collate, dataset, datasets, distributed, sampler, transforms
from tensorgrad.data.cifar import CIFAR10, CIFAR100, CifarError
from tensorgrad.data.collate import default_collate, default_convert
from tensorgrad.data.dataset import (
    Batch,
    ChainDataset,
    ConcatDataset,
    Dataset,
    ImageDataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from tensorgrad.data.digits import Digits
from tensorgrad.data.distributed import DistributedSampler
from tensorgrad.data.download import DownloadError
from tensorgrad.data.engine import current_generator
from tensorgrad.data.fake import FakeData
from tensorgrad.data.folder import DatasetFolder, ImageFolder
from tensorgrad.data.idx import IdxError, read_idx
from tensorgrad.data.loader import DataLoader
from tensorgrad.data.mnist import KMNIST, MNIST, FashionMNIST
from tensorgrad.data.pictures import PictureError, read_picture
from tensorgrad.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from tensorgrad.data.workers import WorkerInfo, get_worker_info

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "KMNIST",
    "MNIST",
    "Batch",
    "BatchSampler",
    "ChainDataset",
    "CifarError",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DatasetFolder",
    "Digits",
    "DistributedSampler",
    "DownloadError",
    "FakeData",
    "FashionMNIST",
    "IdxError",
    "ImageDataset",
    "ImageFolder",
    "IterableDataset",
    "PictureError",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "WorkerInfo",
    "collate",
    "current_generator",
    "dataset",
    "datasets",
    "default_collate",
    "default_convert",
    "distributed",
    "get_worker_info",
    "random_split",
    "read_idx",
    "read_picture",
    "sampler",
    "transforms",
]
