"""Transforms against numbers worked by hand, slow plain versions, and PyTorch."""

import math

import numpy as np
import pytest

from tensorgrad import Generator, manual_seed, tensor
from tensorgrad.data.transforms import (
    Compose,
    Normalize,
    Pad,
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
    Resize,
    ToDtype,
    Transform,
    resize_matrix,
    warp_affine,
)


def rng(seed=0):
    return np.random.default_rng(seed)


# --- forms of input -----------------------------------------------------------------------------------------------

FIXED = [ToDtype(np.float32, scale=True), Normalize(0.5, 0.25), Pad((1, 2)), Resize((7, 5))]


@pytest.mark.parametrize("transform", FIXED, ids=lambda t: type(t).__name__)
def test_one_image_a_batch_and_a_tensor_give_the_same(transform):
    batch = rng().integers(0, 256, (4, 3, 6, 8)).astype(np.uint8)
    whole = transform(batch)
    for image, expected in zip(batch, whole, strict=True):
        np.testing.assert_array_equal(transform(image), expected)
        np.testing.assert_array_equal(transform(image[0]), expected[0])
    np.testing.assert_array_equal(transform(tensor(batch)).numpy(), whole)


@pytest.mark.parametrize(
    "transform",
    [
        RandomAffine(20, (0.1, 0.2), (0.8, 1.2), 10, "bilinear"),
        RandomAffine(20, (0.1, 0.2), (0.8, 1.2), 10, center=(1, 2), fill=3),
        RandomHorizontalFlip(0.5),
        RandomVerticalFlip(0.5),
        RandomCrop((4, 5), padding=1),
        RandomResizedCrop((5, 4)),
        RandomRotation(30, "bilinear"),
        RandomErasing(0.5, value="random"),
    ],
    ids=lambda t: type(t).__name__,
)
def test_a_random_transform_of_a_batch_draws_as_for_its_images_one_by_one(transform):
    batch = rng().random((50, 1, 6, 8))
    one_by_one = rng(3)
    whole = transform(batch, rng(3))
    np.testing.assert_allclose(whole, [transform(image, one_by_one) for image in batch], atol=1e-12)
    assert not np.array_equal(whole, transform(batch, rng(4)))


@pytest.mark.parametrize(
    "value, kind", [([[1, 2]], TypeError), (np.zeros(3), RuntimeError), (np.zeros((1,) * 5), RuntimeError)]
)
def test_other_forms_are_refused(value, kind):
    with pytest.raises(kind, match="Pad: images"):
        Pad(1)(value)


# --- deterministic ------------------------------------------------------------------------------------------------


def test_to_dtype():
    image = np.array([[0, 51, 255]], dtype=np.uint8)
    np.testing.assert_allclose(ToDtype(np.float32, scale=True)(image), [[0, 0.2, 1]], rtol=1e-6)
    np.testing.assert_allclose(ToDtype(np.float64, scale=51)(image), [[0, 1, 5]])
    np.testing.assert_array_equal(ToDtype(np.float32)(image), [[0, 51, 255]])
    assert ToDtype(np.float32, scale=True)(image).dtype == np.float32
    halves = np.array([[0.5]])
    np.testing.assert_array_equal(ToDtype(np.float32, scale=True)(halves), [[0.5]])  # in [0, 1] already
    with pytest.raises(ValueError, match="floating-point"):
        ToDtype(np.uint8, scale=True)
    with pytest.raises(ValueError, match="above 0"):
        ToDtype(np.float32, scale=-1)


def test_normalize_by_channel():
    image = np.array([[[1.0, 3.0]], [[10.0, 20.0]]])  # (2, 1, 2)
    result = Normalize(mean=[1, 10], std=[2, 5])(image)
    np.testing.assert_allclose(result, [[[0, 1]], [[0, 2]]])
    assert Normalize(0, 1)(np.zeros((2, 2), np.uint8)).dtype == np.float32
    assert Normalize(0, 1)(np.zeros((2, 2), np.float32)).dtype == np.float32
    with pytest.raises(RuntimeError, match="mean has 3 values, the images have 2 channels"):
        Normalize([0, 0, 0], [1, 1])(image)
    with pytest.raises(ValueError, match="std"):
        Normalize(0, 0)


def test_pad_sides_and_modes():
    image = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(Pad((1, 0, 2, 1), fill=9)(image), [[9, 1, 2, 9, 9], [9, 3, 4, 9, 9], [9, 9, 9, 9, 9]])
    np.testing.assert_array_equal(Pad((1, 0), padding_mode="edge")(image), [[1, 1, 2, 2], [3, 3, 4, 4]])
    np.testing.assert_array_equal(Pad((1, 0), padding_mode="reflect")(image), [[2, 1, 2, 1], [4, 3, 4, 3]])
    np.testing.assert_array_equal(Pad((1, 0), padding_mode="symmetric")(image), [[1, 1, 2, 2], [3, 3, 4, 4]])
    for bad in (-1, (1, 2, 3), (1, -2)):
        with pytest.raises(ValueError, match="padding="):
            Pad(bad)
    with pytest.raises(ValueError, match="padding_mode"):
        Pad(1, padding_mode="wrap")


def test_resize_by_hand():
    # 2 -> 4: centres at -0.25, 0.25, 0.75, 1.25 of the input's pixels
    np.testing.assert_allclose(resize_matrix(2, 4, True), [[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    # 4 -> 2 with a triangle of reach 2, centres at 0.5 and 2.5: distances 0.5, 0.5, 1.5 weigh 0.75, 0.75, 0.25
    np.testing.assert_allclose(resize_matrix(4, 2, True)[0], np.array([0.75, 0.75, 0.25, 0]) / 1.75)
    np.testing.assert_allclose(resize_matrix(4, 2, False), [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    with pytest.raises(ValueError, match="size"):
        Resize(0)


@pytest.mark.oracle
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(32, 32), (8, 8), (3, 20), (1, 1), (50, 7)])
def test_resize_as_pytorch(size, antialias):
    torch = pytest.importorskip("torch")
    images = rng().random((3, 2, 8, 11)).astype(np.float32)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images), size, mode="bilinear", align_corners=False, antialias=antialias
    )
    np.testing.assert_allclose(Resize(size, antialias=antialias)(images), expected.numpy(), atol=2e-6)


# --- warping ------------------------------------------------------------------------------------------------------


def slow_warp(image, matrix, fill):
    """One pixel at a time, straight from the definition."""
    height, width = image.shape

    def pixel(x, y):
        return image[y, x] if 0 <= x < width and 0 <= y < height else fill

    result = np.empty_like(image)
    for row in range(height):
        for column in range(width):
            x, y = matrix @ [column, row, 1]
            x0, y0 = math.floor(x), math.floor(y)
            fx, fy = x - x0, y - y0
            top = (1 - fx) * pixel(x0, y0) + fx * pixel(x0 + 1, y0)
            bottom = (1 - fx) * pixel(x0, y0 + 1) + fx * pixel(x0 + 1, y0 + 1)
            result[row, column] = (1 - fy) * top + fy * bottom
    return result


@pytest.mark.parametrize("fill", [0.0, -2.5])
def test_warp_as_the_definition_says(fill):
    images = rng().random((5, 3, 6, 9))
    matrices = np.array([[[1, 0, 0], [0, 1, 0]]]) + rng(1).normal(0, 1, (5, 2, 3)) * [0.3, 0.3, 4]
    result = warp_affine(images, matrices, fill)
    for image, matrix, got in zip(images, matrices, result, strict=True):
        for channel in range(3):
            np.testing.assert_allclose(got[channel], slow_warp(image[channel], matrix, fill), atol=1e-12)


def test_warp_far_outside_is_all_fill_and_identity_changes_nothing():
    images = rng().random((2, 1, 5, 4))
    away = np.array([[[1, 0, 1e9], [0, 1, 0]], [[1, 0, 0], [0, 1, -1e9]]])
    np.testing.assert_array_equal(warp_affine(images, away, 7.0), np.full((2, 1, 5, 4), 7.0))
    identity = np.tile(np.array([[[1.0, 0, 0], [0, 1, 0]]]), (2, 1, 1))
    np.testing.assert_array_equal(warp_affine(images, identity), images)


def test_warp_of_a_large_batch_is_cut_into_parts_without_a_seam():
    images = rng().random((37, 1, 32, 32)).astype(np.float32)  # 16 images a part
    matrices = RandomAffine(30, (0.2, 0.2)).matrices(37, 32, 32, rng())
    whole = warp_affine(images, matrices)
    for i in range(37):
        np.testing.assert_array_equal(whole[i : i + 1], warp_affine(images[i : i + 1], matrices[i : i + 1]))


@pytest.mark.oracle
@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 2e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize("size", [(32, 32), (17, 23)])
def test_warp_as_pytorch(size, dtype, tolerance):
    torch = pytest.importorskip("torch")
    height, width = size
    images = rng().random((6, 2, height, width)).astype(dtype)
    matrices = RandomAffine(40, (0.2, 0.1), (0.7, 1.3), (-20, 20, -10, 10)).matrices(6, height, width, rng(2))
    # affine_grid wants the map between coordinates in which the image spans -1 to 1
    to_pixels = np.array([[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]])
    full = np.concatenate([matrices, np.tile([[[0, 0, 1]]], (6, 1, 1))], axis=1)
    theta = (np.linalg.inv(to_pixels) @ full @ to_pixels)[:, :2].astype(dtype)
    grid = torch.nn.functional.affine_grid(torch.from_numpy(theta), list(images.shape), align_corners=False)
    expected = torch.nn.functional.grid_sample(torch.from_numpy(images), grid, align_corners=False)
    np.testing.assert_allclose(warp_affine(images, matrices), expected.numpy(), atol=tolerance)


# --- random affine ------------------------------------------------------------------------------------------------


def test_affine_matrices_are_the_inverse_of_the_product_in_the_docstring():
    height, width, n = 10, 14, 20
    affine = RandomAffine((-40, 60), (0.3, 0.2), (0.5, 1.5), (-25, 25, -15, 5))
    got = affine.matrices(n, height, width, rng(5))
    u = rng(5).random((n, 6))
    for i in range(n):
        angle, shear_x, shear_y = (
            math.radians(-40 + 100 * u[i, 0]),
            math.radians(-25 + 50 * u[i, 1]),
            math.radians(-15 + 20 * u[i, 2]),
        )
        scale = 0.5 + u[i, 3]
        tx, ty = 0.3 * width * (2 * u[i, 4] - 1), 0.2 * height * (2 * u[i, 5] - 1)
        centre = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
        shift = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
        turn = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
        sy = np.array([[1, 0, 0], [-math.tan(shear_y), 1, 0], [0, 0, 1]])
        sx = np.array([[1, -math.tan(shear_x), 0], [0, 1, 0], [0, 0, 1]])
        forward = shift @ centre @ np.diag([scale, scale, 1]) @ turn @ sy @ sx @ np.linalg.inv(centre)
        np.testing.assert_allclose(got[i], np.linalg.inv(forward)[:2], atol=1e-12)


def test_affine_by_a_quarter_turn_clockwise():
    image = rng().random((7, 7))
    turned = RandomAffine((90, 90))(image, rng())
    np.testing.assert_allclose(turned, np.rot90(image, -1), atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.uint8, np.int16])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_affine_and_resize_keep_the_dtype(dtype, interpolation):
    image = np.full((4, 4), 100, dtype)
    for result in (RandomAffine(5, interpolation=interpolation)(image, rng()), Resize(7, interpolation)(image)):
        assert result.dtype == dtype and result[2, 2] == 100


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"degrees": -1}, "degrees"),
        ({"degrees": (3, 1)}, "degrees"),
        ({"degrees": 0, "translate": (0.1, 1.1)}, "translate"),
        ({"degrees": 0, "translate": (0.1,)}, "translate"),
        ({"degrees": 0, "scale": (0, 1)}, "scale"),
        ({"degrees": 0, "shear": (1, 2, 3)}, "shear"),
    ],
)
def test_affine_refuses(arguments, text):
    with pytest.raises(ValueError, match=text):
        RandomAffine(**arguments)


# --- flip, compose and whose random numbers -----------------------------------------------------------------------


def test_flip():
    batch = rng().random((400, 1, 2, 3))
    np.testing.assert_array_equal(RandomHorizontalFlip(1.0)(batch, rng()), batch[..., ::-1])
    np.testing.assert_array_equal(RandomHorizontalFlip(0.0)(batch, rng()), batch)
    flipped = (RandomHorizontalFlip(0.25)(batch, rng()) != batch).any(axis=(1, 2, 3)).sum()
    assert 70 < flipped < 130  # 100 expected, standard deviation 8.7
    with pytest.raises(ValueError, match="p="):
        RandomHorizontalFlip(1.5)


def test_compose_knows_whether_it_can_take_batches():
    assert Compose([Pad(1), Compose([Resize(4)])]).batched
    assert not Compose([Pad(1), np.negative]).batched
    result = Compose([Pad(1), np.negative, RandomAffine(10)])(np.ones((3, 3), np.float32), rng())
    np.testing.assert_array_equal(result, RandomAffine(10)(-Pad(1)(np.ones((3, 3), np.float32)), rng()))
    with pytest.raises(TypeError, match=r"transforms\[1\]"):
        Compose([Pad(1), "resize"])


def test_random_numbers_come_from_the_generator_given_or_the_library_s():
    image = rng().random((5, 5))
    affine = RandomAffine(30)
    expected = affine(image, rng(11))
    np.testing.assert_array_equal(affine(image, Generator(11)), expected)
    manual_seed(11)
    np.testing.assert_array_equal(affine(image), expected)
    assert not np.array_equal(affine(image), expected)  # the stream went on
    with pytest.raises(TypeError, match="generator is a str"):
        affine(image, "11")


def test_a_transform_without_apply_says_so():
    class Nothing(Transform):
        pass

    with pytest.raises(NotImplementedError, match="Nothing must write apply"):
        Nothing()(np.zeros((2, 2)))


def test_repr_shows_settings():
    assert repr(Compose([Resize(32)])) == (
        "Compose([Resize(size=32, interpolation='bilinear', max_size=None, antialias=True)])"
    )
    assert "degrees=(-10.0, 10.0)" in repr(RandomAffine(10))
    assert repr(ToDtype(np.float32, scale=16)) == "ToDtype(float32, scale=16)"
