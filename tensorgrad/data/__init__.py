"""Datasets, loaders and image transforms."""

from tensorgrad.data import transforms
from tensorgrad.data.collate import default_collate, default_convert
from tensorgrad.data.dataset import Batch, ConcatDataset, Dataset, ImageDataset, Subset, TensorDataset, random_split
from tensorgrad.data.digits import Digits
from tensorgrad.data.download import DownloadError
from tensorgrad.data.engine import current_generator
from tensorgrad.data.idx import IdxError, read_idx
from tensorgrad.data.loader import DataLoader
from tensorgrad.data.mnist import MNIST, FashionMNIST
from tensorgrad.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, SubsetRandomSampler
from tensorgrad.data.workers import WorkerInfo, get_worker_info

__all__ = [
    "MNIST",
    "Batch",
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "Digits",
    "DownloadError",
    "FashionMNIST",
    "IdxError",
    "ImageDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WorkerInfo",
    "current_generator",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
    "read_idx",
    "transforms",
]
