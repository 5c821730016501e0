"""Random transforms: what they may do, how often, on Pillow images as on arrays; and what goes in and out."""

import collections
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tensorgrad
from tensorgrad import Tensor, tensor
from tensorgrad.data import CIFAR10, DataLoader, ImageDataset, transforms
from tensorgrad.data.transforms import functional as F

T = transforms


def rng(seed=0):
    return np.random.default_rng(seed)


def pixels(channels=3, height=12, width=10, seed=0):
    return rng(seed).integers(0, 256, (channels, height, width)).astype(np.uint8)


def pillow(image):
    image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed: the extra io")
    return image_module.fromarray(image.transpose(1, 2, 0))


# every transform of one image that gives an image, with settings under which it does something
IMAGES = [
    T.Pad(2),
    T.Resize((5, 6)),
    T.CenterCrop(6),
    T.RandomCrop(6),
    T.RandomCrop(14, pad_if_needed=True, padding_mode="reflect"),
    T.RandomHorizontalFlip(1.0),
    T.RandomVerticalFlip(1.0),
    T.RandomResizedCrop(7),
    T.RandomRotation(30),
    T.RandomRotation((80, 90), expand=True),
    T.RandomAffine(20, (0.1, 0.1), (0.8, 1.2), 5, "bilinear"),
    T.ColorJitter(0.5, 0.5, 0.5, 0.2),
    T.Grayscale(3),
    T.RandomGrayscale(1.0),
    T.PCALighting(1.0),
    T.RandomApply([T.RandomRotation((90, 90)), T.Pad(1)], p=1.0),
    T.RandomChoice([T.Pad(1), T.Pad(3)]),
    T.RandomOrder([T.Pad(1), T.CenterCrop(5)]),
    T.Compose([T.Resize(20), T.RandomCrop(9)]),
]


@pytest.mark.parametrize("transform", IMAGES, ids=repr)
def test_pillow_images_arrays_and_tensors(transform):
    """The same size comes out, of the same kind, and the seed decides it all."""
    image = pixels()
    of_array = transform(image, rng(5))
    np.testing.assert_array_equal(transform(image, rng(5)), of_array)
    np.testing.assert_array_equal(transform(tensor(image), rng(5)).numpy(), of_array)
    assert of_array.dtype == np.uint8 and not np.array_equal(of_array, image)
    picture = pillow(image)
    of_picture = transform(picture, rng(5))
    assert of_picture.size == of_array.shape[:0:-1] and of_picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(transform(picture, rng(5))), np.asarray(of_picture))
    np.testing.assert_array_equal(np.asarray(picture), image.transpose(1, 2, 0))  # the given one stays
    # Pillow resizes and turns in its own arithmetic; elsewhere the values are the same, rounded or cut off
    exact = not any(word in repr(transform) for word in ("Resiz", "Rotation", "Affine"))
    if exact:
        difference = np.abs(np.asarray(of_picture).transpose(2, 0, 1).astype(int) - of_array)
        assert difference.max() <= (8 if "Jitter" in repr(transform) else 1)


@pytest.mark.parametrize("transform", IMAGES, ids=repr)
def test_manual_seed_and_workers(transform):
    data = ImageDataset(np.stack([pixels(seed=i) for i in range(8)]), np.arange(8), transform)
    one_by_one = ImageDataset(data.data, data.targets, T.Compose([T.Lambda(lambda image: image), transform]))

    def run(dataset, **settings):
        tensorgrad.manual_seed(2)
        try:
            return [images.numpy() for images, _ in DataLoader(dataset, 2, **settings)]
        except RuntimeError as error:
            assert "same shape" in str(error)  # the random size of RandomChoice or expand
            return []

    for dataset in (data, one_by_one):
        for got, expected in zip(run(dataset, num_workers=2), run(dataset), strict=True):
            np.testing.assert_array_equal(got, expected)


# --- what it may do, and how often ---------------------------------------------------------------------------------


def test_random_crop_reaches_every_place_alike():
    ramp = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4).repeat(4500, axis=0)
    crops = T.RandomCrop(2)(ramp, rng())
    counts = collections.Counter(crops[:, 0, 0, 0].tolist())
    assert sorted(counts) == [0, 1, 2, 4, 5, 6, 8, 9, 10] and all(abs(n - 500) < 110 for n in counts.values())
    for crop in crops[:20, 0]:
        np.testing.assert_array_equal(crop - crop[0, 0], [[0, 1], [4, 5]])


def test_random_crop_pads_and_refuses():
    image = pixels(3, 4, 4)
    assert T.RandomCrop(6, padding=1)(image, rng()).shape == (3, 6, 6)
    np.testing.assert_array_equal(T.RandomCrop(6, padding=1)(image, rng()), F.pad(image, 1))
    assert T.RandomCrop((9, 3), pad_if_needed=True)(image, rng()).shape == (3, 9, 3)
    with pytest.raises(ValueError, match=r"size=\(5, 5\) is larger than the image, \(4, 4\)"):
        T.RandomCrop(5)(image)
    with pytest.raises(ValueError, match="size=0"):
        T.RandomCrop(0)


def test_whole_batches_are_cropped_and_flipped_as_by_hand():
    batch = np.stack([pixels(seed=i) for i in range(5)])
    got = T.RandomCrop(10, padding=2)(batch, rng(1))
    places = rng(1).integers(0, (7, 5), (5, 2))
    padded = np.pad(batch, ((0, 0), (0, 0), (2, 2), (2, 2)))
    for image, crop, (top, left) in zip(padded, got, places, strict=True):
        np.testing.assert_array_equal(crop, image[:, top : top + 10, left : left + 10])


def test_random_resized_crop_keeps_its_ranges():
    crop = T.RandomResizedCrop(5, scale=(0.2, 0.5), ratio=(0.5, 2.0))
    source = rng()
    for _ in range(300):
        top, left, height, width = crop.part(100, 80, source)
        assert 0 <= top <= 100 - height and 0 <= left <= 80 - width
        assert 0.19 < height * width / 8000 < 0.51 and 0.49 < width / height < 2.05
    # nothing fits: the largest middle part whose ratio is in the range
    assert T.RandomResizedCrop(5, scale=(0.9, 1.0), ratio=(1, 1)).part(20, 100, rng()) == (0, 40, 20, 20)
    assert T.RandomResizedCrop(5, scale=(0.9, 1.0), ratio=(1, 1)).part(100, 20, rng()) == (40, 0, 20, 20)
    for bad in ({"scale": (0.5, 0.2)}, {"ratio": (0, 1)}, {"scale": (1,)}):
        with pytest.raises(ValueError, match="use a range"):
            T.RandomResizedCrop(5, **bad)
    with pytest.raises(TypeError, match="use a range"):
        T.RandomResizedCrop(5, scale=0.5)


def test_random_erasing():
    images = np.ones((400, 3, 20, 30), np.float32)
    erased = T.RandomErasing(0.5, scale=(0.1, 0.2), ratio=(0.5, 2), value=[0, 2, 3])(images, rng())
    holes = erased[:, 0] == 0
    hit = holes.any(axis=(1, 2))
    assert 160 < hit.sum() < 240
    for image, hole in zip(erased[hit], holes[hit], strict=True):
        height, width = hole.any(axis=1).sum(), hole.any(axis=0).sum()
        assert hole.sum() == height * width  # a rectangle
        assert 0.07 < hole.mean() < 0.23 and 0.4 < height / width < 2.4
        assert (image[1][hole] == 2).all() and (image[2][hole] == 3).all() and (image[:, ~hole] == 1).all()
    noise = T.RandomErasing(1.0, scale=(0.3, 0.3), value="random")(np.full((50, 1, 20, 20), 9.0), rng())
    drawn = noise[noise != 9]
    assert abs(drawn.mean()) < 0.05 and abs(drawn.std() - 1) < 0.05
    assert (images == 1).all()
    for bad in ({"p": 2}, {"value": "noise"}, {"scale": (0.5, 1.5)}, {"inplace": True}):
        with pytest.raises(ValueError, match="RandomErasing"):
            T.RandomErasing(**bad)
    with pytest.raises(TypeError, match=r"put ToTensor\(\) before it"):
        T.RandomErasing()(pillow(pixels()))


def test_color_jitter_draws_from_its_ranges_in_any_order():
    grey = np.full((1, 2, 2), 0.25)
    seen = [T.ColorJitter(brightness=(0.5, 2.0))(grey, rng(i))[0, 0, 0] / 0.25 for i in range(200)]
    assert 0.5 <= min(seen) < 0.55 and 1.95 < max(seen) <= 2.0
    assert T.ColorJitter(0.4).brightness == (0.6, 1.4) and T.ColorJitter(2).brightness == (0.0, 3.0)
    assert T.ColorJitter().brightness is None and T.ColorJitter(hue=0.1).hue == (-0.1, 0.1)
    np.testing.assert_array_equal(T.ColorJitter()(pixels()), pixels())
    orders = {T.ColorJitter((0.5, 0.5), (0.5, 0.5))(pixels(), rng(i)).tobytes() for i in range(20)}
    assert len(orders) == 2  # brightness then contrast, and the other way round
    for bad in ({"brightness": -1}, {"contrast": (2, 1)}, {"saturation": (1, 2, 3)}, {"hue": 0.6}):
        with pytest.raises(ValueError, match="ColorJitter"):
            T.ColorJitter(**bad)


def test_pca_lighting_by_its_formula():
    image = np.full((3, 2, 2), 0.5)
    light = T.PCALighting(0.1)
    alpha = rng(3).standard_normal((1, 3)) * 0.1
    expected = np.array(T.color.IMAGENET_EIGENVECTORS) @ (alpha[0] * T.color.IMAGENET_EIGENVALUES)
    np.testing.assert_allclose(light(image, rng(3)), image + expected[:, None, None])
    bytes_ = light(np.full((3, 2, 2), 128, np.uint8), rng(3))
    np.testing.assert_array_equal(bytes_[:, 0, 0], np.rint(128 + 255 * expected))
    # the directions stand at right angles, as published to four digits
    vectors = np.array(T.color.IMAGENET_EIGENVECTORS)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-3)
    with pytest.raises(RuntimeError, match="1 channels"):
        light(np.zeros((1, 2, 2)))
    with pytest.raises(RuntimeError, match=r"\(2,\)"):
        T.PCALighting(eigval=[1, 2])


def test_pca_of_other_images():
    """Colours spread along a known direction by 0.2, and by 0.05 across."""
    along, across = np.array([1, 1, 0]) / np.sqrt(2), np.array([0, 0, 1.0])
    amounts = rng().standard_normal((2, 10_000)) * [[0.2], [0.05]]
    images = (0.5 + along[:, None] * amounts[0] + across[:, None] * amounts[1]).reshape(1, 3, 100, 100)
    light = T.PCALighting.of(images)
    np.testing.assert_allclose(light.eigval, [0.2, 0.05, 0], atol=0.005)
    np.testing.assert_allclose(np.abs(light.eigvec[:, 0]), along, atol=0.01)


@pytest.mark.parametrize(
    "transform, often",
    [
        (T.RandomApply([T.Lambda(lambda x: x + 1)], p=0.25), {0: 0.75, 1: 0.25}),
        (T.RandomChoice([T.Lambda(lambda x: x + 1), T.Lambda(lambda x: x + 2)]), {1: 0.5, 2: 0.5}),
        (T.RandomChoice([T.Lambda(lambda x: x + 1), T.Lambda(lambda x: x + 2)], p=[3, 1]), {1: 0.75, 2: 0.25}),
        (T.RandomOrder([T.Lambda(lambda x: x + 1), T.Lambda(lambda x: x * 2)]), {1: 0.5, 2: 0.5}),
    ],
    ids=["apply", "choice", "weights", "order"],
)
def test_how_often(transform, often):
    source = rng()
    counts = collections.Counter(transform(0, source) for _ in range(2000))
    assert set(counts) == set(often)
    for value, share in often.items():
        assert abs(counts[value] / 2000 - share) < 0.05  # standard deviation 0.011


def test_parts_are_checked():
    for make, kind in (
        (lambda: T.RandomApply("text"), TypeError),
        (lambda: T.RandomApply([1]), TypeError),
        (lambda: T.RandomApply([], p=2), ValueError),
        (lambda: T.RandomChoice([]), ValueError),
        (lambda: T.RandomChoice([abs], p=[1, 2]), ValueError),
        (lambda: T.Lambda(3), TypeError),
        (lambda: T.Grayscale(2), ValueError),
        (lambda: T.Resize(5, interpolation="cubist"), TypeError),
        (lambda: T.Resize(5, True), TypeError),  # antialias where interpolation goes
        (lambda: T.Resize(10, max_size=10)(np.zeros((4, 4))), ValueError),
        (lambda: T.Resize(3, "lanczos")(np.zeros((4, 4))), ValueError),
        (lambda: T.RandomRotation(-3), ValueError),
        (lambda: T.RandomRotation(3, center=(1,)), ValueError),
        (lambda: T.RandomRotation(3, "bicubic")(np.zeros((4, 4))), ValueError),
        (lambda: T.FiveCrop(9)(np.zeros((4, 4))), ValueError),
        (lambda: T.Pad(1, fill=(1, 2))(np.zeros((3, 4, 4))), RuntimeError),
        (lambda: T.Grayscale()(np.zeros((2, 4, 4))), RuntimeError),
        (lambda: T.Normalize(0, 1, inplace=True), ValueError),
    ):
        with pytest.raises(kind):
            make()


# --- what goes in and out -------------------------------------------------------------------------------------------


def test_to_tensor_tells_the_layouts_apart_or_refuses():
    image = pixels(3, 12, 10)
    expected = image / np.float32(255)
    for given in (image, image.transpose(1, 2, 0), pillow(image)):
        result = T.ToTensor()(given)
        assert isinstance(result, Tensor) and result.dtype == np.float32
        np.testing.assert_array_equal(result.numpy(), expected)
    np.testing.assert_array_equal(T.ToTensor()(image[0]).numpy(), expected[:1])
    np.testing.assert_array_equal(T.ToTensor()(image[None]).numpy(), expected[None])
    assert T.ToTensor()(np.array([[0.5]])).dtype == np.float64
    for ambiguous in (np.zeros((3, 7, 3)), np.zeros((7, 7, 7))):
        with pytest.raises(ValueError, match=r"\(H, W, C\) or \(C, H, W\)"):
            T.ToTensor()(ambiguous)
    with pytest.raises(TypeError, match="a Tensor"):
        T.ToTensor()(tensor(image))


def test_the_tensor_does_not_share_the_array_s_memory():
    array = np.zeros((2, 3))
    result = T.ToTensor()(array)
    array[0, 0] = 1
    assert result[0, 0, 0].item() == 0


def test_an_array_with_channels_last_is_refused():
    with pytest.raises(RuntimeError, match=r"looks like \(H, W, C\)"):
        T.RandomHorizontalFlip()(np.zeros((32, 32, 3)))


def test_tensors_with_history_or_elsewhere_are_refused():
    with pytest.raises(RuntimeError, match="requires a gradient"):
        T.Normalize(0, 1)(tensorgrad.ones(2, 2, requires_grad=True))
    with pytest.raises(RuntimeError, match="run on the CPU"):
        T.Normalize(0, 1)(tensorgrad.ones(2, 2, device="standin"))


def test_pillow_to_pillow():
    pytest.importorskip("PIL.Image", reason="Pillow is not installed: the extra io")
    image = pixels()
    picture = T.ToPILImage()(tensor(image))
    np.testing.assert_array_equal(T.PILToTensor()(picture).numpy(), image)
    assert T.ToPILImage("HSV")(tensor(image)).mode == "HSV"
    assert T.ToPILImage()(tensor(image / np.float32(255))).tobytes() == picture.tobytes()
    assert T.ToPILImage()(image[0]).mode == "L"
    with pytest.raises(ValueError, match="mode='CMYK'"):
        T.ToPILImage("CMYK")(image)
    with pytest.raises(TypeError, match="use a Pillow image"):
        T.PILToTensor()(image)


def test_ten_crop_as_it_is_used():
    """torchvision's documentation stacks them by a Lambda; a network then sees (batch * crops, C, H, W)."""
    prepare = T.Compose(
        [T.TenCrop(8), T.Lambda(lambda crops: tensorgrad.stack([T.ToTensor()(crop) for crop in crops]))]
    )
    data = ImageDataset(np.stack([pixels(), pixels()]), np.arange(2), prepare)
    images, _ = next(iter(DataLoader(data, 2)))
    assert images.shape == (2, 10, 3, 8, 8)
    whole = pixels() / np.float32(255)
    np.testing.assert_array_equal(images[0, 0].numpy(), whole[:, :8, :8])
    np.testing.assert_array_equal(images[0, 4].numpy(), whole[:, 2:10, 1:9])
    np.testing.assert_array_equal(images[0, 5].numpy(), whole[:, :8, ::-1][:, :, :8])


def test_the_usual_recipe_for_cifar_takes_whole_batches():
    train = T.Compose(
        [
            T.RandomCrop(32, padding=4),
            T.RandomHorizontalFlip(),
            T.ToTensor(),
            T.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ]
    )
    assert train.batched
    data = ImageDataset(rng().integers(0, 256, (6, 3, 32, 32)).astype(np.uint8), np.arange(6), train)
    images, _ = next(iter(DataLoader(data, 6)))
    assert isinstance(images, Tensor) and images.shape == (6, 3, 32, 32) and images.dtype == np.float32
    alone, _ = data[0]
    assert isinstance(alone, Tensor) and alone.shape == (3, 32, 32)
    assert len(CIFAR10.classes) == 10


def test_without_pillow_arrays_work_and_pictures_say_what_is_missing():
    program = """
import sys
sys.modules["PIL"] = None
import numpy as np
from tensorgrad.data import ImageFolder, read_picture, transforms as T
prepare = T.Compose([T.Resize(6), T.RandomCrop(5), T.ColorJitter(0.1), T.ToTensor(), T.Normalize(0, 1)])
assert prepare(np.zeros((3, 8, 8), np.uint8)).shape == (3, 5, 5)
for need in (lambda: T.ToPILImage()(np.zeros((4, 4), np.uint8)), lambda: read_picture("x.png")):
    try:
        need()
    except ImportError as error:
        assert "tapegrad[io]" in str(error)
    else:
        raise SystemExit("not refused")
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
