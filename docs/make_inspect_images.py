"""Draw what docs/inspect.md shows:

    python docs/make_inspect_images.py LENET.safetensors RESNET20.th CIFAR.npz

LENET is a checkpoint of `tensorgrad train lenet5 --data mnist` (MNIST is looked for where TENSORGRAD_DATA says), RESNET20 the
public weights for CIFAR-10, CIFAR a file with pictures x (N, 3, 32, 32) of uint8 and classes y, of which none is shown:
only what was computed from them. Writes docs/images/inspect/*.png. Needs the extra `viz`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy

from tensorgrad import inspect
from tensorgrad.data import MNIST
from tensorgrad.data.dataset import ImageDataset, TensorDataset
from tensorgrad.io import load_model
from tensorgrad.models import resnet20
from tensorgrad.tensor import Tensor
from tensorgrad.train.job import build_model
from tensorgrad.train.recipes import find_recipe
from tensorgrad.train.splits import _transforms

IMAGES = Path(__file__).resolve().parent / "images" / "inspect"
CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()
MEAN, STD = (numpy.array(v, "float32").reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def keep(name: str, result: Any) -> None:
    """Write a figure, and say so."""
    path = IMAGES / f"{name}.png"
    path.write_bytes(result.png(resolution=80))
    print(f"{path.name}: {path.stat().st_size:,} bytes", flush=True)


def lenet(checkpoint: str) -> None:
    """LeNet-5 on the first 2,000 test pictures of MNIST."""
    recipe = find_recipe("lenet5", "mnist")
    model = build_model(recipe)
    load_model(checkpoint, model)
    test = MNIST(train=False)
    data = ImageDataset(test.data[:2000], test.targets[:2000], _transforms(recipe)[0])
    found = inspect.answers(model, data)
    image = data[0][0]
    keep("mnist-filters", inspect.filters(model))
    keep("mnist-activations", inspect.activations(model, image, "features.3"))
    space = inspect.features(model, data, "classifier.4")
    keep("mnist-neighbours", inspect.neighbours(model, numpy.stack([data[i][0] for i in (0, 2, 18)]), space, k=9))
    some = inspect.Features(space.layer, space.values[:1000], space.labels[:1000], data)  # type: ignore[index]
    keep("mnist-tsne", inspect.embed(some))
    keep("mnist-occlusion", inspect.occlusion(model, image, size=6, stride=1))
    keep("mnist-strongest", inspect.strongest(model, data, "features.3", 3))
    keep("mnist-integrated", inspect.integrated_gradients(model, image, baseline=float(image.min())))
    keep("mnist-smooth", inspect.smooth_grad(model, image))
    keep("mnist-guided", inspect.guided_backprop(model, image))
    keep("mnist-grad-cam", inspect.grad_cam(model, image))
    keep("mnist-confusion", found.confusion())
    keep("mnist-mistakes", found.mistakes(10))
    low, high = float(image.min()), float(image.max())
    keep("mnist-maximised", inspect.maximise(model, "", 3, (1, 32, 32), bounds=(low, high)))


def resnet(weights: str, pictures: str) -> None:
    """ResNet-20 on CIFAR-10."""
    model = resnet20(weights=weights)
    with numpy.load(pictures) as stored:
        x = (stored["x"].astype("float32") / 255 - MEAN) / STD
        data = TensorDataset(Tensor(x), Tensor(stored["y"].astype("int64")))
    keep("cifar-filters", inspect.filters(model))
    space = inspect.features(model, data, "avgpool")
    keep("cifar-tsne", inspect.Embedding(**{**vars(inspect.embed(space, classes=CIFAR)), "thumbnails": 0}))
    keep("cifar-confusion", inspect.answers(model, data, classes=CIFAR).confusion())
    for number in (1, 7):
        made = inspect.maximise(model, "", number, (3, 32, 32), steps=192, bounds=(-2.0, 2.2))
        keep(f"cifar-maximised-{CIFAR[number]}", made)


def main(arguments: list[str]) -> None:
    if len(arguments) != 3:
        sys.exit(__doc__)
    IMAGES.mkdir(parents=True, exist_ok=True)
    lenet(arguments[0])
    resnet(*arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
