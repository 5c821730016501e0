"""Images in a folder, or in a zip archive of one, with a subfolder for each class."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tensorgrad.data.dataset import Dataset, ImageDataset
from tensorgrad.data.pictures import IMG_EXTENSIONS, Archive, PictureError, picture_in, read_picture
from tensorgrad.data.transforms import pillow
from tensorgrad.errors import ArgumentError, DimensionError


class DatasetFolder(Dataset[tuple[Any, Any]]):
    """root/CLASS/anywhere/below/file: sample i is (loader(path), number of the class); classes in alphabetical order.

    loader: path -> sample. extensions: endings of the files that count, or is_valid_file: path -> whether it counts; one
    of the two. transform, target_transform: applied to sample and class number. allow_empty: classes without files stay.

    classes: their names. class_to_idx: their numbers. samples: list of (path, class number). targets: the class numbers.
    Raises FileNotFoundError where there are no classes, or no files for one.
    """

    def __init__(
        self,
        root: str | Path,
        loader: Callable[[str], Any],
        extensions: str | Sequence[str] | None = None,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        name = type(self).__name__
        if (extensions is None) == (is_valid_file is None):
            raise ArgumentError(f"{name}: give either extensions or is_valid_file, to tell which files count")
        self.root = os.fspath(root)
        self.loader = loader
        self.extensions = extensions
        self.transform = transform
        self.target_transform = target_transform
        self.classes, self.class_to_idx = self.find_classes(self.root)
        self.samples = self._find_samples(is_valid_file or _ends_in(extensions), allow_empty)
        self.targets = [target for _, target in self.samples]

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """The classes' names and numbers; write your own for another arrangement."""
        classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
        if not classes:
            raise FileNotFoundError(f"{type(self).__name__}: {directory} has no subfolders, one for each class")
        return classes, {name: number for number, name in enumerate(classes)}

    def _paths(self, class_name: str) -> list[str]:
        """All files of a class, in alphabetical order; a link to a folder is followed, but not round in a circle."""
        found: list[str] = []
        seen: set[str] = set()
        for folder, subfolders, files in os.walk(os.path.join(self.root, class_name), followlinks=True):
            here = os.path.realpath(folder)
            if here in seen:
                subfolders.clear()
                continue
            seen.add(here)
            found.extend(os.path.join(folder, file) for file in files)
        return sorted(found)

    def _find_samples(self, counts: Callable[[str], bool], allow_empty: bool) -> list[tuple[str, int]]:
        samples: list[tuple[str, int]] = []
        empty: list[str] = []
        for name, number in sorted(self.class_to_idx.items()):
            paths = [path for path in self._paths(name) if counts(path)]
            samples.extend((path, number) for path in paths)
            if not paths:
                empty.append(name)
        if empty and not allow_empty:
            endings = "" if self.extensions is None else f" ending in {self.extensions}"
            raise FileNotFoundError(
                f"{type(self).__name__}: no files{endings} for {', '.join(empty)} in {self.root}; allow_empty=True "
                "lets classes be empty"
            )
        return samples

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not -len(self) <= index < len(self):
            raise DimensionError(f"{type(self).__name__}: index {index}; there are {len(self)} samples")
        path, target = self.samples[index]
        sample = self._load(path)
        if self.transform is not None:
            sample = self.transform(sample)
        return sample, target if self.target_transform is None else self.target_transform(target)

    def _load(self, path: str) -> Any:
        return self.loader(path)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root!r}, {len(self)} samples of {len(self.classes)} classes)"


class ImageFolder(DatasetFolder):
    """Image files, read as Pillow images in colour: root/dog/xxx.png, root/cat/123.jpg, ...

    root: the folder; or a zip archive, or a folder inside of one: 'pictures.zip', 'pictures.zip/train'.
    loader: path -> image, for a folder; `read_picture` unless given. The other arguments are DatasetFolder's.
    Reading needs Pillow, the extra io. Raises PictureError for a file that cannot be read.

    Small pictures of one size fit into memory, and are then a hundred times as fast: see `in_memory`.
    """

    def __init__(
        self,
        root: str | Path,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[[int], Any] | None = None,
        loader: Callable[[str], Any] = read_picture,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        self.archive, self._inside = _archive_in(Path(root))
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, extensions, transform, target_transform, is_valid_file, allow_empty)
        self.imgs = self.samples

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        if self.archive is None:
            return super().find_classes(directory)
        self._by_class: dict[str, list[str]] = {}
        for name in self.archive.names():
            class_name, slash, _ = name[len(self._inside) :].partition("/")
            if name.startswith(self._inside) and slash:
                self._by_class.setdefault(class_name, []).append(name)
        classes = sorted(self._by_class)
        if not classes:
            raise FileNotFoundError(f"ImageFolder: {directory} has no folders inside, one for each class")
        return classes, {name: number for number, name in enumerate(classes)}

    def _paths(self, class_name: str) -> list[str]:
        if self.archive is None:
            return super()._paths(class_name)
        return self._by_class[class_name]

    def _load(self, path: str) -> Any:
        if self.archive is None:
            return self.loader(path)
        return picture_in(self.archive.read(path), f"{self.archive.path}: {path}")

    def __copy__(self) -> ImageFolder:
        """A worker thread reads an archive through a file of its own."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.archive = None if self.archive is None else Archive(self.archive.path)
        return twin

    def in_memory(self, transform: Callable[..., Any] | None = None) -> ImageDataset:
        """All pictures, which must be of one size, as an ImageDataset: whole batches at once, and no more decoding.

        transform: of the new dataset; this one's are not applied.
        """
        if not self.samples:
            raise ArgumentError(f"ImageFolder.in_memory: {self.root} has no pictures")
        first = pillow.to_array(self._load(self.samples[0][0]))
        data = np.empty((len(self), *first.shape), np.uint8)
        for image, (path, _) in zip(data, self.samples, strict=True):
            picture = pillow.to_array(self._load(path))
            if picture.shape != first.shape or picture.dtype != np.uint8:
                raise PictureError(
                    f"{path}: is {picture.shape} of {picture.dtype}, {self.samples[0][0]} is {first.shape}; "
                    "in_memory needs bytes of one size: use the ImageFolder itself with a Resize"
                )
            image[...] = picture
        dataset = ImageDataset(data, np.asarray(self.targets), transform)
        dataset.classes = tuple(self.classes)
        return dataset


def _ends_in(extensions: str | Sequence[str] | None) -> Callable[[str], bool]:
    assert extensions is not None
    endings = (extensions,) if isinstance(extensions, str) else tuple(extensions)
    return lambda path: path.lower().endswith(endings)


def _archive_in(root: Path) -> tuple[Archive | None, str]:
    """The zip archive that root is or leads into, and the folder inside as the names in it begin; else (None, '')."""
    for path in (root, *root.parents):
        if path.suffix.lower() == ".zip" and path.is_file():
            inside = root.relative_to(path).as_posix()
            return Archive(path), "" if inside == "." else f"{inside}/"
    return None, ""
