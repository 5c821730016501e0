"""torchvision.datasets' names."""

from tensorgrad.data.cifar import CIFAR10, CIFAR100
from tensorgrad.data.digits import Digits
from tensorgrad.data.fake import FakeData
from tensorgrad.data.folder import DatasetFolder, ImageFolder
from tensorgrad.data.mnist import KMNIST, MNIST, FashionMNIST

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "KMNIST",
    "MNIST",
    "DatasetFolder",
    "Digits",
    "FakeData",
    "FashionMNIST",
    "ImageFolder",
]
