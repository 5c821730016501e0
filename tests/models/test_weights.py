"""Weights from files: other programs' names, downloads from a server on this machine, and public weights on real pictures."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import models
from tensorgrad.data.download import DownloadError
from tensorgrad.errors import ArgumentError, StateError
from tensorgrad.models.weights import fetch, fitted, load_weights, state_in
from tensorgrad.models.weights_table import PUBLIC, SETTINGS, PublicFile

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("TENSORGRAD_DATA") or ROOT / ".." / "shared" / "data")


def data(*parts):
    path = DATA.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{'/'.join(parts)} is not in {DATA}; name its folder by TENSORGRAD_DATA")
    return path


def equal(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_array_equal(a[name].numpy(), b[name].numpy(), err_msg=name)


@pytest.fixture(scope="module")
def trained():
    """A model whose every value is another than a fresh one's."""
    tg.manual_seed(5)
    model = models.resnet20()
    model(tg.randn(4, 3, 32, 32))
    return model


# files and names


def test_from_a_file_and_from_a_state(tmp_path, trained):
    tg.save(trained.state_dict(), tmp_path / "a.safetensors")
    for weights in (tmp_path / "a.safetensors", str(tmp_path / "a.safetensors"), trained.state_dict()):
        equal(models.resnet20(weights=weights).state_dict(), trained.state_dict())


@pytest.mark.parametrize("key", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_wrapped_states(trained, prefix, key):
    state = {prefix + name: value for name, value in trained.state_dict().items()}
    fresh = models.resnet20()
    load_weights(fresh, state if key is None else {key: state, "epoch": 3})
    equal(fresh.state_dict(), trained.state_dict())


def test_other_names_of_resnet20(trained):
    state = trained.state_dict()
    state["linear.weight"], state["linear.bias"] = state.pop("fc.weight"), state.pop("fc.bias")
    equal(models.resnet20(weights=state).state_dict(), trained.state_dict())


def test_old_names_of_densenet():
    tg.manual_seed(0)
    model = models.densenet121(num_classes=3)
    old = {}
    for name, value in model.state_dict().items():
        for part in ("norm1", "norm2", "conv1", "conv2"):
            name = name.replace(f".{part}.", f".{part[:4]}.{part[4]}.")
        old[name] = value
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    equal(models.densenet121(num_classes=3, weights=old).state_dict(), model.state_dict())


def test_states_without_counters(trained):
    """PyTorch before 0.4.1 did not save num_batches_tracked."""
    state = {name: x for name, x in trained.state_dict().items() if not name.endswith("num_batches_tracked")}
    found = models.resnet20(weights=state).state_dict()
    assert found["bn1.num_batches_tracked"].item() == 0
    np.testing.assert_array_equal(found["bn1.running_mean"].numpy(), trained.bn1.running_mean.numpy())


def test_heads_that_are_not_wanted():
    tg.manual_seed(0)
    model = models.googlenet(num_classes=4)
    without = models.googlenet(num_classes=4, aux_logits=False, weights=model.state_dict())
    np.testing.assert_array_equal(without.fc.weight.detach().numpy(), model.fc.weight.detach().numpy())


def test_what_does_not_fit_is_refused_by_name(trained):
    state = trained.state_dict()
    del state["layer1.0.conv1.weight"]
    with pytest.raises(StateError, match=r"missing: 'layer1\.0\.conv1\.weight'"):
        models.resnet20(weights=state)
    with pytest.raises(StateError, match=r"wrong shape: 'fc\.weight' has \(10, 64\); it must have \(7, 64\)"):
        models.resnet20(weights=trained.state_dict(), num_classes=7)
    with pytest.raises(StateError, match="two names of the file become"):
        fitted(trained, {**state, "linear.weight": 1, "fc.weight": 2}, "resnet20")
    with pytest.raises(StateError, match="holds a list; it must be a state dict"):
        state_in([1], "the value")


@pytest.mark.parametrize(
    "weights, error, text",
    [
        ("nowhere.pth", ArgumentError, r"'nowhere\.pth', which is no file; give a file, or one of 'auto', 'CIFAR10'"),
        (7, ArgumentError, "weights is a int; give a path, a state dict or 'auto'"),
        ("IMAGENET1K_V1", ArgumentError, "which is no file"),
    ],
)
def test_weights_that_are_nothing(weights, error, text):
    with pytest.raises(error, match=text):
        models.resnet20(weights=weights)


def test_networks_without_public_weights():
    with pytest.raises(
        ArgumentError, match="which is no file; give a file, or no name, for this network has no public"
    ):
        models.plain20(weights="auto2")
    with pytest.raises(ArgumentError, match="'plain20' has no public weights; there are some for alexnet"):
        fetch("plain20")
    with pytest.raises(ArgumentError, match="'perceptron' has no public weights"):
        models.perceptron(weights="auto")


def test_nothing_is_drawn_where_weights_are_loaded(trained):
    """The stream of random numbers stands where it stood; and for VGG it would be 138 million of them."""
    state = trained.state_dict()
    tg.manual_seed(1)
    before = tg.get_rng_state()
    models.resnet20(weights=state)
    assert tg.get_rng_state() == before


# downloads


CONTENT = b"x" * 100_000


@pytest.fixture
def server():
    """Serves CONTENT under every name, 'broken' half of it, 'missing' nothing."""

    class Handler(http.server.BaseHTTPRequestHandler):
        asked = 0

        def do_GET(self):
            Handler.asked += 1
            if "missing" in self.path:
                self.send_error(404)
                return
            body = self.content[: len(self.content) // 2] if "broken" in self.path else self.content
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.content)))
            self.end_headers()
            self.wfile.write(body)

        content = CONTENT

        def log_message(self, *arguments):
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as one:
        thread = threading.Thread(target=one.serve_forever, daemon=True)
        thread.start()
        one.handler = Handler
        one.address = f"http://127.0.0.1:{one.server_port}"
        yield one
        one.shutdown()
        thread.join()


def public(server, name="net-1.pth", content=CONTENT, digits=8):
    digest = hashlib.sha256(content).hexdigest()[:digits]
    return {"net": (PublicFile("V1", f"{server.address}/{name}", digest),)}


@pytest.mark.parametrize("digits", [8, 64])
def test_a_file_is_fetched_once(tmp_path, server, digits):
    path = fetch("net", "auto", tmp_path, public(server, digits=digits))
    assert path == tmp_path / "net-1.pth"
    assert path.read_bytes() == CONTENT
    assert fetch("net", "V1", tmp_path, public(server)) == path
    assert server.handler.asked == 1


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize("stream, progress", [(Terminal, True), (Terminal, False), (io.StringIO, True)])
def test_a_terminal_shows_how_much_has_come(tmp_path, server, monkeypatch, stream, progress):
    monkeypatch.setattr("sys.stderr", stream())
    fetch("net", "auto", tmp_path, public(server), progress=progress)
    shown = sys.stderr.getvalue()
    if stream is Terminal and progress:
        assert shown.endswith("\rnet-1.pth: 0.1 of 0.1 MB\n")
    else:
        assert shown == ""


def test_a_builder_hands_progress_on(monkeypatch, tmp_path, trained):
    tg.save(trained.state_dict(), tmp_path / "state")
    asked = []
    monkeypatch.setattr(
        "tensorgrad.models.weights.fetch", lambda *_, progress: asked.append(progress) or tmp_path / "state"
    )
    for progress in (True, False):
        models.resnet20(weights="auto", progress=progress)
    assert asked == [True, False]


@pytest.mark.parametrize(
    "name, content, text",
    [
        ("net.pth", b"other", r"its SHA-256 is [0-9a-f]{64}; it must begin with [0-9a-f]{8}"),
        ("broken.pth", CONTENT, "ended after 50000 of 100000 bytes|IncompleteRead"),
        ("missing.pth", CONTENT, "the server answered 404"),
    ],
)
def test_a_file_that_is_not_the_right_one(tmp_path, server, name, content, text):
    with pytest.raises(DownloadError, match=text) as caught:
        fetch("net", "auto", tmp_path, public(server, name, content))
    assert f"put {name} into {tmp_path}, or name a file: weights='file'" in str(caught.value)
    assert not (tmp_path / name).exists()


def test_unknown_labels(tmp_path, server):
    with pytest.raises(ArgumentError, match="got 'V2' for net; there are 'auto', 'V1'"):
        fetch("net", "V2", tmp_path, public(server))


def test_from_the_server_into_the_model(tmp_path, server, trained, monkeypatch):
    """weights='auto', all the way: fetched into TENSORGRAD_DATA, checked, read, and in the model."""
    tg.save(trained.state_dict(), tmp_path / "source")
    content = (tmp_path / "source").read_bytes()
    server.handler.content = content
    monkeypatch.setenv("TENSORGRAD_DATA", str(tmp_path))
    monkeypatch.setitem(PUBLIC, "resnet20", public(server, "resnet20.safetensors", content)["net"])
    for weights in ("auto", "DEFAULT", "V1"):
        equal(models.resnet20(weights=weights).state_dict(), trained.state_dict())
    assert (tmp_path / "weights" / "resnet20.safetensors").read_bytes() == content
    assert server.handler.asked == 1


def test_what_cannot_fit_is_told_before_anything_is_fetched(tmp_path, server, monkeypatch):
    monkeypatch.setenv("TENSORGRAD_DATA", str(tmp_path))
    monkeypatch.setitem(PUBLIC, "resnet18", public(server)["net"])
    with pytest.raises(
        ValueError, match=r"resnet18: num_classes is 10, .* for 1000; .* models\.replace_head\(model, 10\)"
    ):
        models.resnet18(weights="auto", num_classes=10)
    with pytest.raises(TypeError, match="unexpected keyword argument 'clases'"):
        models.resnet18(weights="auto", clases=10)
    assert server.handler.asked == 0


def test_googlenets_public_weights_bring_their_settings(tmp_path, server, monkeypatch):
    tg.manual_seed(0)
    model = models.googlenet(num_classes=1000)
    tg.save(model.state_dict(), tmp_path / "source")
    server.handler.content = (tmp_path / "source").read_bytes()
    monkeypatch.setenv("TENSORGRAD_DATA", str(tmp_path))
    monkeypatch.setitem(PUBLIC, "googlenet", public(server, "g", server.handler.content)["net"])
    found = models.googlenet(weights="auto")
    assert (found.transform_input, found.aux_logits, found.aux1) == (True, False, None)
    assert models.googlenet(weights="auto", transform_input=False).transform_input is False


def test_the_table():
    names = set(models.list_models())
    assert set(PUBLIC) <= names
    assert set(SETTINGS) <= set(PUBLIC)
    for files in PUBLIC.values():
        for file in files:
            assert file.url.startswith("https://")
            assert set(file.sha256) <= set("0123456789abcdef")
            assert len(file.sha256) >= 8
            assert file.sha256[:8] in file.url.rpartition("/")[2]


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted(set(PUBLIC) - {"resnet20"}))
def test_addresses_are_torchvisions(name):
    from torchvision_oracle import torchvision_models

    theirs = {entry.name: entry.url for entry in torchvision_models().get_model_weights(name)}
    theirs.pop("IMAGENET1K_FEATURES", None)
    assert {file.label: file.url for file in PUBLIC[name]} == theirs
    assert torchvision_models().get_model_weights(name).DEFAULT.url == PUBLIC[name][-1].url


# real weights, real pictures


def test_resnet20_on_cifar10():
    """akamaster's weights on 199 lossless training pictures: all of them right."""
    model = models.resnet20(weights=data("weights", "cifar10_resnet20-12fca82f.th")).eval()
    with np.load(data("cifar10-sample", "train_199_lossless.npz")) as sample:
        pictures, classes = sample["x"], sample["y"]
    mean, std = (np.array(x, "float32").reshape(3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with tg.no_grad():
        scores = model(tg.tensor((pictures.astype("float32") / 255 - mean) / std))
    assert models.accuracy(scores, tg.tensor(classes), topk=(1,)) == (1.0,)
    assert len(classes) == 199


def test_the_digest_of_resnet20():
    content = data("weights", "cifar10_resnet20-12fca82f.th").read_bytes()
    assert hashlib.sha256(content).hexdigest() == PUBLIC["resnet20"][0].sha256


def caffe_picture(path, side=256, crop=227):
    """As SqueezeNet's authors fed it: squeezed to a square, the middle of it, blue first, the mean colour taken off."""
    from PIL import Image

    with Image.open(path) as picture:
        square = picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    begin = (side - crop) // 2
    pixels = np.asarray(square, "float32")[begin : begin + crop, begin : begin + crop, ::-1]
    return (pixels - np.array([104, 117, 123], "float32")).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def photographs():
    pytest.importorskip("PIL", reason="Pillow is not installed: the extra `io`")
    paths = sorted(data("photos").glob("*.jpg"))
    return np.stack([caffe_picture(path) for path in paths]), np.array([int(path.name[:3]) for path in paths])


def test_squeezenet_on_photographs(photographs):
    """15 of 24 first, 19 among the first five: about the 57.5 % and 80.3 % of the paper's ImageNet pictures."""
    model = models.squeezenet1_0(weights=data("weights", "imagenet_squeezenet1_0.npz"))
    pictures, classes = photographs
    batches = [(pictures[i : i + 8], classes[i : i + 8]) for i in range(0, 24, 8)]
    found = models.evaluate(model, batches)
    assert found["samples"] == 24
    assert found["top1"] >= 15 / 24
    assert found["top5"] >= 19 / 24


def test_photographs_and_their_mirror_images(photographs):
    """The probabilities of both, averaged: 14 of 24 first, 18 among the first five."""
    model = models.squeezenet1_0(weights=data("weights", "imagenet_squeezenet1_0.npz")).eval()
    pictures, classes = photographs
    x = tg.tensor(np.stack([pictures, pictures[..., ::-1]], 1))
    with tg.no_grad():
        scores = models.over_crops(model, x)
    top1, top5 = models.accuracy(scores, tg.tensor(classes))
    assert top1 >= 14 / 24
    assert top5 >= 18 / 24
    np.testing.assert_allclose(scores.numpy().sum(1), 1, rtol=1e-5)
