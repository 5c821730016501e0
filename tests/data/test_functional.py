"""transforms.functional beside torchvision: on Tensors and arrays by our own kernels, on Pillow images by Pillow's."""

import importlib

import numpy as np
import pytest
from torchvision_oracle import torchvision_models

import tensorgrad
from tensorgrad.data.transforms import functional as F

pytestmark = pytest.mark.oracle

PIL_MODES = ("RGB", "L")


@pytest.fixture(scope="module")
def theirs():
    torchvision_models()  # knows how to import torchvision where its compiled part does not fit
    return importlib.import_module("torchvision.transforms.functional")


def pixels(channels=3, height=13, width=18, seed=0):
    """Smooth enough that a place half a pixel off changes little, and with edges."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (channels, height, width)).astype(np.uint8)
    image[:, 3:6] = image[:, 4:5]
    return image


# name -> arguments, and whether interpolation is an argument that has to be torchvision's own
CASES = [
    ("crop", (2, 3, 5, 7)),
    ("crop", (-2, -3, 30, 40)),
    ("crop", (8, 10, 10, 12)),
    ("center_crop", (6,)),
    ("center_crop", ([7, 4],)),
    ("center_crop", ([20, 9],)),
    ("center_crop", ([21, 30],)),
    ("pad", (2,)),
    ("pad", ([1, 2], 7)),
    ("pad", ([1, 2, 3, 0], 9)),
    ("pad", (3, 0, "reflect")),
    ("pad", ([1, 2], 0, "edge")),
    ("pad", ([1, 2, 2, 1], 0, "symmetric")),
    ("hflip", ()),
    ("vflip", ()),
    ("five_crop", (5,)),
    ("ten_crop", ([4, 6],)),
    ("ten_crop", ([4, 6], True)),
    ("adjust_brightness", (0.3,)),
    ("adjust_brightness", (1.7,)),
    ("adjust_contrast", (0.0,)),
    ("adjust_contrast", (0.4,)),
    ("adjust_contrast", (1.9,)),
    ("adjust_saturation", (0.2,)),
    ("adjust_saturation", (2.1,)),
    ("adjust_hue", (0.3,)),
    ("adjust_hue", (-0.5,)),
    ("rgb_to_grayscale", (3,)),
    ("rgb_to_grayscale", (1,)),
]

SIZES = [7, [9], [13, 18], [30, 5], 40]
MODES = ["nearest", "nearest-exact", "bilinear", "bicubic"]
ANGLES = [0, 17.5, 90, -133]


def compare(ours, expected, tolerance=0.0):
    if isinstance(expected, tuple):
        assert isinstance(ours, tuple) and len(ours) == len(expected)
        for a, b in zip(ours, expected, strict=True):
            compare(a, b, tolerance)
        return
    a, b = np.asarray(ours), np.asarray(expected)
    assert a.shape == b.shape and a.dtype == b.dtype
    np.testing.assert_allclose(a.astype(np.float64), b.astype(np.float64), atol=tolerance)


@pytest.mark.parametrize("name, arguments", CASES, ids=lambda v: str(v).replace(" ", ""))
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_tensors(theirs, name, arguments, dtype):
    import torch

    image = pixels() if dtype is np.uint8 else pixels().astype(np.float32) / 255
    expected = getattr(theirs, name)(torch.from_numpy(image), *arguments)
    ours = getattr(F, name)(tensorgrad.tensor(image), *arguments)
    # numbers that come close to a whole one from above or below are cut off to two neighbours
    colour = name.startswith(("adjust", "rgb"))
    compare(ours, expected, tolerance=(1 if dtype is np.uint8 else 3e-6) if colour else 0)
    of_array = getattr(F, name)(image, *arguments)
    compare(of_array, ours)
    batch = getattr(F, name)(np.stack([image, image]), *arguments)
    compare(
        batch[0][1] if isinstance(batch, tuple) else batch[1], of_array[0] if isinstance(batch, tuple) else of_array
    )


@pytest.mark.parametrize("name, arguments", CASES, ids=lambda v: str(v).replace(" ", ""))
@pytest.mark.parametrize("mode", PIL_MODES)
def test_pillow_images(theirs, name, arguments, mode):
    from PIL import Image

    image = Image.fromarray(pixels().transpose(1, 2, 0)).convert(mode)
    compare(getattr(F, name)(image, *arguments), getattr(theirs, name)(image, *arguments))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("antialias", [True, False])
def test_resize(theirs, size, mode, antialias):
    import torch
    from PIL import Image

    modes = theirs.InterpolationMode
    for image, tolerance in ((pixels(), 1), (pixels().astype(np.float32) / 255, 1e-5)):
        expected = theirs.resize(torch.from_numpy(image), size, modes(mode), antialias=antialias)
        ours = F.resize(tensorgrad.tensor(image), size, mode, antialias=antialias)
        compare(ours, expected, tolerance if "nearest" not in mode else 0)
    picture = Image.fromarray(pixels().transpose(1, 2, 0))
    compare(F.resize(picture, size, mode), theirs.resize(picture, size, modes(mode)))


@pytest.mark.parametrize("size, max_size", [(5, 6), (10, 100), (10, 12), ([10], 11)])
def test_resize_with_a_longest_side(theirs, size, max_size):
    import torch

    for shape in ((3, 13, 18), (3, 18, 13), (3, 9, 9)):
        x = np.zeros(shape, np.float32)
        assert F.resize(x, size, max_size=max_size).shape == tuple(
            theirs.resize(torch.from_numpy(x), size, max_size=max_size).shape
        )


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("expand, center", [(False, None), (True, None), (False, [4, 10])], ids=str)
def test_rotate(theirs, angle, mode, expand, center):
    import torch
    from PIL import Image

    modes = theirs.InterpolationMode
    image = pixels(width=17).astype(np.float32) / 255
    expected = theirs.rotate(torch.from_numpy(image), angle, modes(mode), expand, center).numpy()
    ours = F.rotate(image, angle, mode, expand, center)
    assert ours.shape == expected.shape
    close = np.isclose(ours, expected, atol=2e-5)
    # half-way between two pixels, or just outside, one bit of the place decides
    assert close.mean() > (0.98 if mode == "nearest" else 0.999)
    picture = Image.fromarray(pixels(width=17).transpose(1, 2, 0))
    compare(
        F.rotate(picture, angle, mode, expand, center, 7), theirs.rotate(picture, angle, modes(mode), expand, center, 7)
    )


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("shear", [0.0, [10.0, 0.0], [-20.0, 8.0]], ids=str)
@pytest.mark.parametrize(
    "angle, translate, scale, center", [(0, [0, 0], 1, None), (33, [2, -1], 0.8, None), (-70, [0, 3], 1.3, [3, 9])]
)
def test_affine(theirs, mode, shear, angle, translate, scale, center):
    import torch
    from PIL import Image

    modes = theirs.InterpolationMode
    image = pixels().astype(np.float32) / 255
    settings = (angle, translate, scale, shear)
    expected = theirs.affine(torch.from_numpy(image), *settings, modes(mode), center=center).numpy()
    ours = F.affine(image, *settings, mode, center=center)
    assert np.isclose(ours, expected, atol=5e-5).mean() > (0.98 if mode == "nearest" else 0.999)
    picture = Image.fromarray(pixels().transpose(1, 2, 0))
    got = np.asarray(F.affine(picture, *settings, mode, center=center)).astype(int)
    want = np.asarray(theirs.affine(picture, *settings, modes(mode), center=center)).astype(int)
    assert (np.abs(got - want) <= 1).mean() > 0.99


def modes_of_pillow():
    rng = np.random.default_rng(1)
    byte = rng.integers(0, 256, (5, 6, 4)).astype(np.uint8)
    return {
        "1": byte[:, :, 0] > 128,
        "L": byte[:, :, 0],
        "LA": byte[:, :, :2],
        "RGB": byte[:, :, :3],
        "RGBA": byte,
        "I": rng.integers(-1000, 1 << 20, (5, 6)).astype(np.int32),
        "F": rng.random((5, 6)).astype(np.float32),
    }


@pytest.mark.parametrize("mode", modes_of_pillow())
def test_from_and_to_pillow(theirs, mode):
    import torch
    from PIL import Image

    picture = Image.fromarray(modes_of_pillow()[mode])
    assert picture.mode == mode
    ours, expected = F.to_tensor(picture), theirs.to_tensor(picture)
    compare(ours, expected.numpy())
    if mode != "1":
        compare(F.pil_to_tensor(picture), theirs.pil_to_tensor(picture).numpy())
        back = F.to_pil_image(F.pil_to_tensor(picture), "F" if mode == "F" else None)
        assert back.mode == mode and np.array_equal(np.asarray(back), np.asarray(picture))
    if mode not in ("1", "I"):
        expected = theirs.to_pil_image(torch.from_numpy(ours.numpy()), "F" if mode == "F" else None)
        compare(F.to_pil_image(ours, "F" if mode == "F" else None), expected)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (5, 7, 3), (9, 8, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64, np.int32])
def test_to_tensor_of_arrays(theirs, shape, dtype):
    array = (np.random.default_rng(0).random(shape) * 255).astype(dtype)
    expected = theirs.to_tensor(array).numpy()
    compare(F.to_tensor(array), expected)
    if array.ndim == 3:
        compare(F.to_tensor(array.transpose(2, 0, 1)), expected)  # as this library's datasets give it


@pytest.mark.parametrize("old", [np.uint8, np.int16, np.float32, np.float64])
@pytest.mark.parametrize("new", [np.uint8, np.int16, np.int32, np.float32, np.float64])
def test_convert_image_dtype(theirs, old, new):
    import torch

    top = 1 if np.dtype(old).kind == "f" else np.iinfo(old).max
    image = (np.random.default_rng(0).random((3, 4, 5)) * top).astype(old)
    theirs_dtype = getattr(torch, np.dtype(new).name)
    try:
        expected = theirs.convert_image_dtype(torch.from_numpy(image), theirs_dtype).numpy()
    except RuntimeError:
        with pytest.raises(RuntimeError):
            F.convert_image_dtype(image, new)
        return
    compare(F.convert_image_dtype(image, new), expected, 1e-6 if np.dtype(new).kind == "f" else 0)


REFUSED = [
    ("crop", ("picture", 0, 0, 1, 1)),
    ("pad", (None, [1, 2, 3])),
    ("pad", (None, 1, 0, "wrap")),
    ("resize", (None, [1, 2, 3])),
    ("resize", (None, [5, 5], None)),
    ("adjust_brightness", (None, -1)),
    ("adjust_contrast", (None, -0.1)),
    ("adjust_hue", (None, 0.6)),
    ("five_crop", (None, 100)),
    ("to_tensor", ("text",)),
    ("to_tensor", (np.zeros(3),)),
    ("to_pil_image", ("text",)),
    ("to_pil_image", (np.zeros((2, 2, 2, 2), np.uint8),)),
    ("to_pil_image", (np.zeros((9, 5, 7), np.uint8),)),
]


@pytest.mark.parametrize("name, arguments", REFUSED, ids=lambda v: str(v)[:30])
def test_refused_alike(theirs, name, arguments):
    import torch

    image = pixels()
    with pytest.raises((TypeError, ValueError)) as expected:
        getattr(theirs, name)(
            *(torch.from_numpy(image) if a is None and i == 0 else a for i, a in enumerate(arguments))
        )
    with pytest.raises(expected.type):
        getattr(F, name)(*(image if a is None and i == 0 else a for i, a in enumerate(arguments)))
