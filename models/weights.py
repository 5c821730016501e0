"""Weights for networks: from a file in any format that `tensorgrad.load` knows, or fetched by name; and other programs'
names for the layers."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tensorgrad.data.download import download
from tensorgrad.data.mnist import data_folder
from tensorgrad.errors import ArgumentError, StateError
from tensorgrad.io.files import load
from tensorgrad.models.weights_table import PUBLIC, PublicFile
from tensorgrad.nn.module import Module
from tensorgrad.nn.state import IncompatibleKeys

__all__ = ["fetch", "find_weights", "fitted", "load_weights", "renamed"]

_MAX_BYTES = 1 << 31
_REDRAW = 0.1  # seconds
#: Labels that stand for a network's usual public file.
USUAL = ("auto", "DEFAULT")

#: Where files of checkpoints keep the state, by custom.
_INSIDE = ("state_dict", "model_state_dict", "model", "net")
#: What wrappers put in front of every name.
_PREFIXES = ("module.", "_orig_mod.", "model.")

Rename = tuple[str, str]

# Names in Caffe's layout, of the SqueezeNet 1.0 of its authors, and where they are in ours.
_CAFFE_FIRE = {"conv1x1_1": "squeeze", "conv1x1_2": "expand1x1", "conv3x3_2": "expand3x3"}
_CAFFE_FIRE_PLACES = {2: 3, 3: 4, 4: 5, 5: 7, 6: 8, 7: 9, 8: 10, 9: 12}
_CAFFE_SQUEEZENET: tuple[Rename, ...] = (
    (r"^conv1\.", "features.0."),
    (r"^conv_final\.", "classifier.1."),
    *(
        (rf"^fire{fire}/{theirs}\.", f"features.{place}.{ours}.")
        for fire, place in _CAFFE_FIRE_PLACES.items()
        for theirs, ours in _CAFFE_FIRE.items()
    ),
    (r"\.w$", ".weight"),
    (r"\.b$", ".bias"),
)

#: Other names for the layers: (pattern, replacement) in turn, for networks whose name begins so.
RENAMES: dict[str, tuple[Rename, ...]] = {
    # DenseNet's public files were written when a layer's parts were named norm.1, conv.1, ...
    "densenet": ((r"(\.denselayer\d+\.(?:norm|relu|conv))\.([12])\.", r"\1\2."),),
    # the CIFAR networks of akamaster/pytorch_resnet_cifar10
    "resnet": ((r"^linear\.", "fc."),),
    "squeezenet1_0": _CAFFE_SQUEEZENET,
}


def find_weights(name: str, weights: str | os.PathLike[str], progress: bool = True) -> dict[str, Any]:
    """The state in a file, or in the public file of that label ('auto' or 'DEFAULT': the usual one); see `fetch`."""
    if isinstance(weights, str) and (weights in USUAL or any(weights == file.label for file in PUBLIC.get(name, ()))):
        return state_in(load(fetch(name, weights, progress=progress)), f"the public weights of {name}")
    if not isinstance(weights, (str, os.PathLike)):
        raise ArgumentError(f"{name}: weights is a {type(weights).__name__}; give a path, a state dict or 'auto'")
    if not Path(weights).is_file():
        labels = ", ".join(repr(file.label) for file in PUBLIC.get(name, ()))
        known = f"one of 'auto', {labels}" if labels else "no name, for this network has no public weights"
        raise ArgumentError(f"{name}: weights is {os.fspath(weights)!r}, which is no file; give a file, or {known}")
    return state_in(load(weights), os.fspath(weights))


def state_in(value: Any, origin: str) -> dict[str, Any]:
    """The state dict that a file's value is, or that it holds under one of the usual names."""
    for key in _INSIDE:
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
            break
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise StateError(
            f"weights: {origin} holds a {type(value).__name__}; it must be a state dict, names and Tensors"
        )
    return dict(value)


def renamed(state: Mapping[str, Any], rules: Iterable[Rename]) -> dict[str, Any]:
    """The state under other names: every rule (pattern, replacement) in turn, on every name.

    >>> renamed({"linear.weight": 1, "conv1.weight": 2}, [(r"^linear[.]", "fc.")])
    {'fc.weight': 1, 'conv1.weight': 2}
    """
    found: dict[str, Any] = {}
    rules = list(rules)
    for name, value in state.items():
        new = name
        for pattern, replacement in rules:
            new = re.sub(pattern, replacement, new)
        if new in found:
            raise StateError(f"weights: two names of the file become '{new}', the second of them '{name}'")
        found[new] = value
    return found


def fitted(model: Module, state: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    """The state by the model's names, as far as custom tells.

    Wrappers' prefixes come off ('module.'), the network's other names are replaced (RENAMES), auxiliary heads that the
    model does not have are left out, and num_batches_tracked, which PyTorch before 0.4.1 did not save, stays the model's.
    """
    own = model.state_dict()
    found = dict(state)
    for prefix in _PREFIXES:
        if found and all(key.startswith(prefix) for key in found):
            found = {key[len(prefix) :]: value for key, value in found.items()}
    for begin, rules in RENAMES.items():
        if name.startswith(begin) and not found.keys() <= own.keys():
            found = renamed(found, rules)
    heads = [head for head in ("aux1.", "aux2.", "AuxLogits.") if not any(key.startswith(head) for key in own)]
    found = {key: value for key, value in found.items() if not key.startswith(tuple(heads))} if heads else found
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    if not counters.keys() & found.keys():
        found |= counters
    return found


def load_weights(
    model: Module, weights: str | os.PathLike[str] | Mapping[str, Any], name: str = "", strict: bool = True
) -> IncompatibleKeys:
    """Put weights into a model: a file's or a state dict's, by its own names or other programs'; see `fitted`.

    name    the network's, for its other names and its public weights ('auto')
    strict  refuse missing and superfluous names

    Raises StateError where the weights do not fit; then nothing has been changed.

    >>> from tensorgrad.models import resnet20
    >>> trained, fresh = resnet20(), resnet20()
    >>> wrapped = {f"module.{key}": value for key, value in trained.state_dict().items()}
    >>> load_weights(fresh, {"epoch": 3, "state_dict": wrapped})
    <All keys matched successfully>
    """
    state = state_in(weights, "the value") if isinstance(weights, Mapping) else find_weights(name, weights)
    return model.load_state_dict(fitted(model, state, name), strict=strict)


def fetch(
    name: str,
    label: str = "auto",
    folder: str | os.PathLike[str] | None = None,
    public: Mapping[str, tuple[PublicFile, ...]] = PUBLIC,
    progress: bool = True,
) -> Path:
    """The path of a network's public file, which is downloaded unless it is there already.

    label   which of the network's files, 'auto' or 'DEFAULT' for the usual one
    folder  where it is kept: the subfolder 'weights' of the data folder (TENSORGRAD_DATA) by default
    progress  show how much has come, on standard error, if that is a terminal

    Raises ArgumentError for an unknown name or label, DownloadError where no whole file comes, one whose digest is not
    the table's included.
    """
    files = public.get(name)
    if not files:
        raise ArgumentError(f"weights: {name!r} has no public weights; there are some for {', '.join(sorted(public))}")
    chosen = [files[-1]] if label in USUAL else [file for file in files if file.label == label]
    if not chosen:
        labels = ", ".join(repr(file.label) for file in files)
        raise ArgumentError(f"weights: got {label!r} for {name}; there are 'auto', {labels}")
    file = chosen[0]
    base = data_folder() / "weights" if folder is None else Path(folder).expanduser()
    path = base / file.url.rpartition("/")[2]
    if not path.is_file():
        download(
            [file.url],
            path,
            verify=_checking(file.sha256),
            max_bytes=_MAX_BYTES,
            hint=f"Without a connection, put {path.name} into {base}, or name a file: weights='file'.",
            watch=_showing(path.name) if progress and sys.stderr.isatty() else None,
        )
    return path


def _showing(name: str) -> Callable[[int, int | None], None]:
    """Draws how much of a file is there into one line, not more often than anybody sees."""
    drawn = 0.0

    def show(have: int, expected: int | None) -> None:
        nonlocal drawn
        whole = have == expected
        if not whole and time.monotonic() - drawn < _REDRAW:
            return
        drawn = time.monotonic()
        of = "" if expected is None else f" of {expected / 1e6:.1f}"
        sys.stderr.write(f"\r{name}: {have / 1e6:.1f}{of} MB" + ("\n" if whole else ""))
        sys.stderr.flush()

    return show


def _checking(beginning: str) -> Callable[[Path], None]:
    def verify(path: Path) -> None:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        if not digest.hexdigest().startswith(beginning):
            raise ValueError(f"its SHA-256 is {digest.hexdigest()}; it must begin with {beginning}")

    return verify
