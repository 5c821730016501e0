"""Images in folders and zip archives, and what of hostile files is believed."""

import copy
import io
import os
import struct
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchvision_oracle import torchvision_models

import tensorgrad
from tensorgrad.data import (
    DataLoader,
    DatasetFolder,
    ImageDataset,
    ImageFolder,
    PictureError,
    pictures,
    read_picture,
    transforms,
)

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: the extra io")


def picture(number, size=(6, 5)):
    return np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


# class -> files in it, and what is not to be found
FILES = {
    "cat/2.png": 0,
    "cat/10.PNG": 1,
    "cat/deep/er/3.png": 2,
    "dog/1.bmp": 3,
    "dog/notes.txt": None,
    "readme.txt": None,
}


@pytest.fixture(params=["folder", "zip", "zip/inside"])
def root(request, tmp_path):
    """The same pictures in a folder, in a zip archive, and deeper inside of one."""
    contents = {
        name: b"text" if number is None else encoded(picture(number), "BMP" if name.endswith("bmp") else "PNG")
        for name, number in FILES.items()
    }
    if request.param == "folder":
        for name, content in contents.items():
            path = tmp_path / "pictures" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "pictures"
    inside = "train/" if request.param == "zip/inside" else ""
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        for name, content in contents.items():
            archive.writestr(inside + name, content)
        if inside:
            archive.writestr("test/bird/1.png", contents["cat/2.png"])
    return tmp_path / "pictures.zip" / inside


def test_classes_and_pictures(root):
    data = ImageFolder(root)
    assert data.classes == ["cat", "dog"] and data.class_to_idx == {"cat": 0, "dog": 1}
    assert data.targets == [0, 0, 0, 1] and len(data) == 4 and data.imgs is data.samples
    for i, number in enumerate([1, 0, 2, 3]):  # "10.PNG" before "2.png"
        image, target = data[i]
        assert image.mode == "RGB" and target == data.targets[i]
        np.testing.assert_array_equal(np.asarray(image), picture(number))
    assert data[-1][1] == 1 and "4 samples of 2 classes" in repr(data)
    with pytest.raises(IndexError, match="index 4; there are 4"):
        data[4]


@pytest.mark.parametrize("context", [None, "fork", "spawn"])
def test_in_a_loader(root, context):
    if context == "fork" and sys.platform == "win32":
        pytest.skip("no fork")
    prepare = transforms.Compose([transforms.RandomCrop(4), transforms.RandomHorizontalFlip(), transforms.ToTensor()])
    data = ImageFolder(root, transform=prepare)

    def run(**settings):
        tensorgrad.manual_seed(0)
        with_workers = DataLoader(data, 3, shuffle=True, **settings)
        return [(x.numpy(), y.tolist()) for x, y in with_workers]

    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
        got = run(num_workers=2, multiprocessing_context=context)
    for (x, y), (expected_x, expected_y) in zip(got, run(), strict=True):
        np.testing.assert_array_equal(x, expected_x)
        assert x.shape[1:] == (3, 4, 4) and x.dtype == np.float32 and y == expected_y


def test_in_memory(root):
    data = ImageFolder(root).in_memory(transforms.ToTensor())
    assert isinstance(data, ImageDataset) and data.classes == ("cat", "dog") and data.data.shape == (4, 3, 5, 6)
    np.testing.assert_array_equal(data.data[3], picture(3).transpose(2, 0, 1))
    (batch, labels) = next(iter(DataLoader(data, 4)))
    assert labels.tolist() == [0, 0, 0, 1]
    np.testing.assert_array_equal(batch.numpy(), data.data / np.float32(255))


def test_in_memory_needs_one_size(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(encoded(picture(1)))
    (tmp_path / "a" / "2.png").write_bytes(encoded(picture(1, (7, 5))))
    with pytest.raises(PictureError, match=r"2.png: is \(3, 5, 7\)"):
        ImageFolder(tmp_path).in_memory()


def test_arguments(tmp_path):
    for name in ("a/1.txt", "a/2.dat", "b/3.txt", "c/4.dat"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    read = lambda path: Path(path).read_text()  # noqa: E731 - a loader
    with pytest.raises(FileNotFoundError, match=r"no files ending in .*txt.* for c in"):
        DatasetFolder(tmp_path, read, (".txt",))
    data = DatasetFolder(tmp_path, read, ".txt", str.upper, lambda number: -number, allow_empty=True)
    assert list(data) == [("A/1.TXT", 0), ("B/3.TXT", -1)] and data.classes == ["a", "b", "c"]
    chosen = DatasetFolder(tmp_path, read, is_valid_file=lambda path: path.endswith(("1.txt", "3.txt", "4.dat")))
    assert [sample for sample, _ in chosen] == ["a/1.txt", "b/3.txt", "c/4.dat"]
    for wrong in ({}, {"extensions": ".txt", "is_valid_file": bool}):
        with pytest.raises(ValueError, match="either extensions or is_valid_file"):
            DatasetFolder(tmp_path, read, **wrong)
    with pytest.raises(FileNotFoundError):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="no subfolders"):
        ImageFolder(tmp_path / "a")


@pytest.mark.oracle
def test_the_same_samples_as_torchvision(root):
    if root.suffix == ".zip" or root.parent.suffix == ".zip":
        pytest.skip("torchvision reads folders")
    torchvision_models()
    from torchvision.datasets import ImageFolder as Theirs

    ours, theirs = ImageFolder(root), Theirs(str(root))
    assert ours.samples == theirs.samples and ours.class_to_idx == theirs.class_to_idx
    for (a, _), (b, _) in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(np.asarray(a), np.asarray(b))


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
def test_a_link_is_followed_but_not_in_a_circle(tmp_path):
    (tmp_path / "root" / "a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.png").write_bytes(encoded(picture(1)))
    os.symlink(tmp_path / "elsewhere", tmp_path / "root" / "a" / "link")
    os.symlink(tmp_path / "root" / "a", tmp_path / "root" / "a" / "round")
    assert len(ImageFolder(tmp_path / "root")) == 1


def test_threads_do_not_share_an_archive_s_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a/1.png", encoded(picture(1)))
    data = ImageFolder(tmp_path / "x.zip")
    twin = copy.copy(data)
    assert twin.archive is not data.archive and twin[0][0].size == data[0][0].size
    twin.archive.close()
    assert data[0][1] == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_workers_do_not_share_the_place_in_an_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for i in range(200):
            archive.writestr(f"a/{i:03}.png", encoded(picture(i, (40, 40))))
    data = ImageFolder(tmp_path / "x.zip", transform=transforms.PILToTensor())
    assert data[3][1] == 0  # the archive is open
    batches = [images.numpy() for images, _ in DataLoader(data, 5, num_workers=4, multiprocessing_context="fork")]
    for i, image in enumerate(np.concatenate(batches)):
        np.testing.assert_array_equal(image, picture(i, (40, 40)).transpose(2, 0, 1))


# --- hostile files --------------------------------------------------------------------------------------------------


def claims(width, height):
    """A PNG whose header declares this size and which holds ten bytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")
    )


HOSTILE = {
    "empty": b"",
    "text": b"this is no picture",
    "a pickle": b"cos\nsystem\n(S'touch owned'\ntR.",
    "cut off": encoded(picture(1, (50, 40)), "JPEG")[:400],
    "half of a PNG": encoded(picture(1, (50, 40)))[:3000],
    "100,000 x 100,000 pixels": claims(100_000, 100_000),
    "2^31 - 1 pixels wide": claims(2**31 - 1, 1),
    "no pixels": claims(0, 0),
    "fewer pixels than declared": claims(100, 100),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(x) print quit\n",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pictures(tmp_path, case):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(HOSTILE[case])
    with pytest.raises(PictureError, match=r"1\.png: cannot be read as an image"):
        ImageFolder(tmp_path)[0]
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../../a/1.png", HOSTILE[case])
        archive.writestr("/a/2.png", HOSTILE[case])
    data = ImageFolder(tmp_path / "x.zip", allow_empty=True)
    with pytest.raises(PictureError, match=r"x\.zip: .*\.png: cannot be read"):
        data[0]
    assert sorted(os.listdir(tmp_path)) == ["a", "x.zip"]


def test_a_bomb_in_an_archive(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 1 << 16)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", bytes(1 << 20))
    with pytest.raises(PictureError, match="more than 65536 bytes"):
        ImageFolder(tmp_path / "x.zip")[0]


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\x03\x04" + bytes(100), b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_archive(tmp_path, content):
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises((PictureError, FileNotFoundError), match=r"x\.zip"):
        ImageFolder(tmp_path / "x.zip")


WHOLE = {kind: encoded(picture(3, (20, 16)), kind) for kind in ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP")}


@settings(max_examples=200, deadline=None)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of strange fields
def test_fuzzed_pictures_are_read_or_refused(data):
    content = bytearray(WHOLE[data.draw(st.sampled_from(sorted(WHOLE)))])
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 6))):
        if content:
            content[data.draw(st.integers(0, min(len(content) - 1, 120)))] = data.draw(st.integers(0, 255))
    try:
        assert read_picture(io.BytesIO(bytes(content)), name="fuzz").mode == "RGB"
    except PictureError as error:
        assert str(error).startswith("fuzz: cannot be read as an image (")


def archive_bytes():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", encoded(picture(1)))
        archive.writestr("b/2.png", encoded(picture(2)))
    return buffer.getvalue()


ARCHIVE = archive_bytes()


@pytest.mark.parametrize("place, change", [(-6, 1000), (-6, -40), (-10, 7), (-12, 99)])
def test_an_archive_whose_directory_lies(tmp_path, place, change):
    """About where it begins (which made files lie before the archive's own beginning), how long it is, how many files."""
    (number,) = struct.unpack_from("<H", ARCHIVE, len(ARCHIVE) + place)
    content = bytearray(ARCHIVE)
    struct.pack_into("<H", content, len(content) + place, number + change)
    (tmp_path / "x.zip").write_bytes(content)
    try:
        pixels = [np.asarray(image) for image, _ in ImageFolder(tmp_path / "x.zip")]
    except PictureError as error:
        assert "x.zip" in str(error)
    else:  # zipfile saw through it
        np.testing.assert_array_equal(pixels, [picture(1), picture(2)])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_fuzzed_archives_are_read_or_refused(tmp_path, data):
    content = bytearray(ARCHIVE)
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 4))):
        if content:
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "x.zip").write_bytes(content)
    try:
        for image, _ in ImageFolder(tmp_path / "x.zip", allow_empty=True):
            assert image.mode == "RGB"
    except (PictureError, FileNotFoundError) as error:
        assert "x.zip" in str(error)


# --- real ones ------------------------------------------------------------------------------------------------------


def real_data():
    named = os.environ.get("TENSORGRAD_DATA")
    return Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"


def test_the_jpegs_of_cifar10():
    path = real_data() / "cifar10-jpeg.zip"
    if not path.is_file():
        pytest.skip(f"no {path.name} in {path.parent}; name a folder that has it by TENSORGRAD_DATA")
    data = ImageFolder(path / "test")
    assert tuple(data.classes) == tensorgrad.data.CIFAR10.classes and len(data) == 10_000
    prepare = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.ToTensor()])
    data = ImageFolder(path / "test", transform=prepare, is_valid_file=lambda name: name.endswith("7.jpg"))
    images, labels = next(iter(DataLoader(data, 256, shuffle=True, num_workers=2)))
    assert (
        images.shape == (256, 3, 32, 32) and 0.3 < float(images.mean().item()) < 0.6 and len(set(labels.tolist())) == 10
    )


def test_the_photographs():
    folder = real_data() / "photos"
    if not folder.is_dir():
        pytest.skip(f"no photos in {folder.parent}; name a folder that has them by TENSORGRAD_DATA")
    prepare = transforms.Compose(
        [
            transforms.Resize(64),
            transforms.CenterCrop(56),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    paths = sorted(folder.glob("*.jpg"))
    batch = np.stack([prepare(read_picture(path)).numpy() for path in paths])
    assert batch.shape == (len(paths), 3, 56, 56) and batch.dtype == np.float32
    assert np.abs(batch).max() < 3 and 0.5 < batch.std() < 2
