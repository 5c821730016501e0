"""What is drawn, the page, the command, and what is refused."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from inspect_networks import ROOT, data, picture, rectified

import tensorgrad as tg
from tensorgrad import inspect, models, nn
from tensorgrad.cli import main
from tensorgrad.errors import ArgumentError, DimensionError, OperandError, ShapeError
from tensorgrad.inspect.running import batches

sys.path.append(str(ROOT / "tests" / "graph"))
from browser import Browser

# matplotlib and scikit-learn warn of each other's age; nothing of ours
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


def results():
    net, x = rectified(dtype=tg.float32), picture(30, dtype="float32")
    labels = np.arange(30) % 3
    space = inspect.features(net, tg.data.TensorDataset(tg.tensor(x), tg.tensor(labels)), "fc1")
    found = inspect.answers(net, x, labels)
    histograms = inspect.Histograms(net)
    histograms.record(0)
    yield "histograms", histograms, 0
    histograms = inspect.Histograms(net)
    for step in (0, 5):
        net(tg.tensor(x)).sum().backward()
        histograms.record(step)
    net.zero_grad()
    yield "histograms over training", histograms, 8
    yield "filters", inspect.filters(net), 1
    yield "activations", inspect.activations(net, x[0], "conv2"), 1
    yield "units", inspect.activations(net, x[0], "fc1"), 0
    yield "neighbours", inspect.neighbours(net, x[:2], space, k=3), 0
    yield "embedding", inspect.embed(space, "pca"), 0
    yield "occlusion", inspect.occlusion(net, x[0], size=3, stride=2), 2
    yield "strongest", inspect.strongest(net, x, "conv2", 1, k=4), 0
    yield "saliency", inspect.saliency(net, x[0]), 2
    yield "integrated gradients", inspect.integrated_gradients(net, x[0]), 2
    yield "guided", inspect.guided_backprop(net, x[0]), 1
    yield "grad-cam", inspect.grad_cam(net, x[0]), 2
    yield "maximised", inspect.maximise(net, "conv2", 1, (1, 8, 8), steps=3), 0
    yield "confusion", found.confusion(), 1
    yield "mistakes", found.mistakes(), 0


def test_everything_draws_itself(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: the extra `viz`")
    seen = []
    for name, result, bars in results():
        figure = result.figure()
        texts = [axes.get_title() for axes in figure.axes] + [figure.get_suptitle()]
        assert any(len(text) > 8 for text in texts), f"{name}: a figure says what it is"
        labelled = [axes for axes in figure.axes if axes.get_label() == "<colorbar>" and axes.get_ylabel()]
        assert len(labelled) >= bars, f"{name}: every map has a colour bar that says what it means"
        seen.append(name)
    assert len(seen) == 16
    assert result.save(tmp_path / "x.svg").read_text().startswith("<?xml")
    assert result.png()[:4] == b"\x89PNG"


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    found = inspect.filters(rectified())
    with pytest.raises(ImportError, match=r"drawing needs matplotlib: pip install 'tapegrad\[viz\]'"):
        found.figure()
    with pytest.raises(ImportError, match="t-SNE needs scikit-learn"):
        inspect.embed(inspect.Features("x", np.eye(4), None, None))


WRONG = {
    "unknown layer": (lambda n, x: inspect.activations(n, x[0], "conv3"), ArgumentError, "'conv1'.*|'conv2'"),
    "unknown operation": (lambda n, x: inspect.features(n, x, "/gelu"), ArgumentError, "no layer '/gelu'"),
    "uncalled layer": (lambda n, x: inspect.activations(n, x[0], "relus"), ArgumentError, "does not call"),
    "layer is a number": (lambda n, x: inspect.activations(n, x[0], 3), OperandError, "give its name"),
    "channel out of range": (lambda n, x: inspect.strongest(n, x, "conv2", 4), DimensionError, r"\(4, 3, 3\)"),
    "unit out of range": (lambda n, x: inspect.receptive_field(n, x[0], "conv2", (0, 3, 0)), DimensionError, "unit"),
    "unit of a wrong kind": (lambda n, x: inspect.maximise(n, "fc1", 1.5, (1, 8, 8)), OperandError, "channel"),
    "half a unit": (lambda n, x: inspect.strongest(n, x, "conv2", (0, 1)), ShapeError, "conv2"),
    "class out of range": (lambda n, x: inspect.saliency(n, x[0], 3), DimensionError, "3 classes, 0 to 2"),
    "class of a wrong type": (lambda n, x: inspect.grad_cam(n, x[0], "cat"), OperandError, "number of a class"),
    "channels": (lambda n, x: inspect.saliency(n, np.zeros((3, 8, 8))), ShapeError, r"\(3, 8, 8\) do not go through"),
    "size": (lambda n, x: inspect.occlusion(n, np.zeros((1, 9, 9)), size=2), ShapeError, "do not go through Rectified"),
    "dimensions": (lambda n, x: inspect.activations(n, x[0, 0], "conv1"), ShapeError, r"\(C, H, W\)"),
    "several pictures": (lambda n, x: inspect.saliency(n, x), ShapeError, "takes one"),
    "whole numbers": (lambda n, x: inspect.saliency(n, np.zeros((1, 8, 8), int)), OperandError, "floating-point"),
    "no picture": (lambda n, x: inspect.features(n, x[:0], "fc1"), ArgumentError, "at least one"),
    "no data": (lambda n, x: inspect.features(n, 5, "fc1"), OperandError, "int"),
    "mask": (lambda n, x: inspect.occlusion(n, x[0], size=9), ArgumentError, "must fit"),
    "fill": (lambda n, x: inspect.occlusion(n, x[0], size=2, fill=[1, 2]), ShapeError, "fill"),
    "metric": (lambda n, x: inspect.neighbours(n, x[0], x, "fc1", metric="l1"), ArgumentError, "'cosine'"),
    "k": (lambda n, x: inspect.neighbours(n, x[0], x, "fc1", k=99), ArgumentError, "4 pictures"),
    "method": (lambda n, x: inspect.embed(inspect.features(n, x, "fc1"), "umap"), ArgumentError, "'tsne'"),
    "baseline": (lambda n, x: inspect.integrated_gradients(n, x[0], baseline=np.zeros((1, 4, 4))), ShapeError, "agree"),
    "no maps": (lambda n, x: inspect.grad_cam(n, x[0], layer="fc1"), ShapeError, "must give maps"),
    "no convolution": (lambda n, x: inspect.filters(nn.Linear(2, 2)), ArgumentError, "no convolution"),
    "labels": (lambda n, x: inspect.answers(n, x, [0, 1, 2, 3]), ArgumentError, "0 to 2"),
    "no labels": (lambda n, x: inspect.answers(n, x), ArgumentError, "labels="),
    "no module": (lambda n, x: inspect.saliency(lambda x: x, x[0]), OperandError, "nn.Module"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case):
    call, kind, text = WRONG[case]
    net = rectified()
    with pytest.raises(kind, match=text):
        call(net, picture(4))
    assert net.training and all(p.requires_grad for p in net.parameters())


@pytest.mark.parametrize("make", [models.lenet5, models.resnet20])
def test_an_untrained_network_is_warned_of(make):
    tg.manual_seed(0)
    net = make()
    size = (1, 32, 32) if make is models.lenet5 else (3, 32, 32)
    with pytest.warns(inspect.UntrainedWarning, match="looks untrained"):
        inspect.saliency(net, np.random.default_rng(0).standard_normal(size).astype("float32"))


def test_progress(capsys):
    told = []
    net, x = rectified(), picture(10)
    inspect.features(net, x, "fc1", batch_size=4, progress=lambda done, total: told.append((done, total)))
    assert told == [(4, 10), (8, 10), (10, 10)]
    inspect.features(net, x, "fc1", progress=True)
    assert "10 of 10" in capsys.readouterr().err
    assert sum(len(sample.images) for sample in batches("test", x, 3)) == 10


def digits(tmp_path):
    """A checkpoint of a short training on the digits of the library."""
    assert main(["train", "lenet5", "--epochs", "2", "--out", str(tmp_path), "--no-pictures", "--quiet"]) == 0
    return tmp_path / "model.safetensors"


@pytest.mark.slow
def test_the_command_makes_a_page_that_a_browser_shows(tmp_path, capsys):
    for module in ("matplotlib", "sklearn"):
        pytest.importorskip(module, reason="the extra `viz` is not installed")
    page = tmp_path / "report.html"
    assert main(["inspect", str(digits(tmp_path)), "--data", "digits", "--limit", "60", "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)="(?!data:|#)', text), "it needs no other file"
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("the page was made; there is no Chromium to show it")
    with Browser(program, tmp_path / "profile") as browser:
        browser.call("Page.navigate", url=f"file://{page}")
        ready = "document.readyState === 'complete' && [...document.images].every(image => image.complete)"
        for _ in range(200):
            if browser.run(f"location.protocol === 'file:' && {ready}"):
                break
        broken = "[...document.images].filter(image => image.naturalWidth < 300 || !image.alt).length"
        assert browser.run("document.images.length") >= 25
        assert browser.run(broken) == 0
        assert browser.run("document.querySelectorAll('section').length") == 14
        assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
        assert not browser.complaints()
        assert all(address.startswith(("file:", "data:")) for address in browser.requests())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere.pt"], "nowhere.pt"),
        (["weights.npz"], "--model"),
        (["weights.npz", "--model", "resnet20"], "does not fit"),
        (["lenet.npz", "--model", "lenet5", "--data", "pickled.npz"], "pickled.npz is no .npz file with arrays x"),
        (["lenet.npz", "--model", "lenet5", "--data", "bomb.npz"], "a zip bomb"),
        (["lenet.npz", "--model", "lenet5", "--data", "nowhere.npz"], "nowhere.npz"),
    ],
)
def test_the_command_says_what_is_wrong(tmp_path, monkeypatch, capsys, arguments, text):
    pytest.importorskip("matplotlib")
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    np.savez("weights.npz", a=np.zeros(3, "float32"))
    np.savez("lenet.npz", **{name: p.detach().numpy() for name, p in models.get_model("lenet5").state_dict().items()})
    np.savez("pickled.npz", x=np.array([{}], dtype=object), y=np.zeros(1, int))
    np.savez_compressed("bomb.npz", x=np.zeros((1, 1, 5000, 5000), "u1"), y=np.zeros(1, int))
    assert main(["inspect", *arguments]) == 2
    assert text in capsys.readouterr().err


def test_the_library_is_imported_without_it():
    code = "import tensorgrad, sys; assert 'tensorgrad.inspect' not in sys.modules and 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])


def photograph(name):
    pytest.importorskip("PIL", reason="Pillow is not installed: the extra `io`")
    from PIL import Image

    with Image.open(data("photos", name)) as file:
        square = file.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
    pixels = np.asarray(square, "float32")[14:241, 14:241, ::-1]
    return (pixels - np.array([104, 117, 123], "float32")).transpose(2, 0, 1)


@pytest.mark.slow
def test_squeezenet_on_a_photograph():
    """What speaks for the goldfish is where the goldfish is, in every way of asking."""
    net = models.squeezenet1_0(weights=data("weights", "imagenet_squeezenet1_0.npz"))
    x = photograph("001_goldfish.jpg")
    found = inspect.integrated_gradients(net, x, steps=16, max_steps=256, batch_size=8)
    assert found.target == 1
    assert abs(found.gap) <= 1e-3 * abs(found.score - found.baseline)
    cam = inspect.grad_cam(net, x, layer="features.12")
    hidden = inspect.occlusion(net, x, size=57, stride=34, batch_size=12)
    heat, drop = cam.upsampled(), hidden.probability - hidden.per_pixel()
    assert np.corrcoef(heat.ravel(), drop.ravel())[0, 1] > 0.3
    assert inspect.filters(net).weights.shape == (96, 3, 7, 7)


FAMILY = (
    "lenet5 lenet5_original alexnet zfnet vgg11 googlenet inception_v3 resnet18 plain18 preact_resnet18 resnet20 "
    "densenet121 squeezenet1_1 mobilenet_v2"
).split()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::tensorgrad.inspect.UntrainedWarning")
@pytest.mark.parametrize("name", FAMILY)
def test_every_kind_of_network(name):
    """Each way that goes through a layer, on a fresh network of the family: shapes fit, the gradient arrives."""
    from tensorgrad.commands.networks import input_size

    tg.manual_seed(0)
    net = models.get_model(name)
    channels, side, _ = input_size(name)
    side = side if side < 64 or name in ("alexnet", "zfnet", "vgg11") else 96
    x = np.random.default_rng(0).standard_normal((channels, side, side)).astype("float32")
    modes = [m.training for m in net.modules()]
    cam = inspect.grad_cam(net, x, target=1)
    assert cam.map.ndim == 2 and np.isfinite(cam.map).all()
    assert inspect.saliency(net, x, 1).values.any()
    assert np.isfinite(inspect.guided_backprop(net, x, 1).values).all()
    calls = [layer for layer in inspect.layers(net, x) if len(layer.shape) == 3 and min(layer.shape[1:]) > 1]
    middle = calls[len(calls) // 2]
    values = inspect.activations(net, x, middle.full_name).values
    assert values.shape == middle.shape
    box = inspect.receptive_field(net, x, middle.full_name, (0, middle.shape[1] // 2, middle.shape[2] // 2))
    assert 0 <= box.top < box.bottom <= side and 0 <= box.left < box.right <= side
    assert [m.training for m in net.modules()] == modes
