"""Which pixels matter, against networks worked out by hand in NumPy, loops, and what the methods promise."""

import copy
import warnings

import numpy as np
import pytest
from inspect_networks import WAYS, picture, rectified

import tensorgrad as tg
from tensorgrad import inspect, nn
from tensorgrad.primitive import observers


def conv(x, w, b, stride, border):
    """(C, H, W) by loops, and the table that says which input is behind which output."""
    x = np.pad(x, ((0, 0), (border, border), (border, border)))
    size = (x.shape[1] - 3) // stride + 1
    z = np.zeros((len(w), size, size))
    for i in range(size):
        for j in range(size):
            part = x[:, i * stride : i * stride + 3, j * stride : j * stride + 3]
            z[:, i, j] = (w * part).sum((1, 2, 3)) + b
    return z


def conv_back(dz, w, size, stride, border):
    dx = np.zeros((w.shape[1], size + 2 * border, size + 2 * border))
    for i in range(dz.shape[1]):
        for j in range(dz.shape[2]):
            dx[:, i * stride : i * stride + 3, j * stride : j * stride + 3] += np.tensordot(dz[:, i, j], w, 1)
    return dx[:, border : border + size, border : border + size]


def by_hand(net, x, target, guided):
    """The gradient of a score of the network of inspect_networks, plain or guided, without the library."""
    w = {name: value.numpy() for name, value in net.state_dict().items()}
    a = conv(x, w["conv1.weight"], w["conv1.bias"], 1, 1)
    scale = w["norm.weight"] / np.sqrt(w["norm.running_var"] + 1e-5)
    a = (a - w["norm.running_mean"][:, None, None]) * scale[:, None, None] + w["norm.bias"][:, None, None]
    b = conv(np.maximum(a, 0), w["conv2.weight"], w["conv2.bias"], 2, 0)
    c = w["fc1.weight"] @ np.maximum(b, 0).reshape(-1) + w["fc1.bias"]
    clip = (lambda d: np.maximum(d, 0)) if guided else (lambda d: d)
    dc = clip(w["fc2.weight"][target]) * (c > 0)
    db = clip(dc @ w["fc1.weight"]).reshape(b.shape) * (b > 0)
    da = clip(conv_back(db, w["conv2.weight"], 8, 2, 0)) * (a > 0)
    return conv_back(da * scale[:, None, None], w["conv1.weight"], 8, 1, 1)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("target", [0, 2])
def test_saliency_and_guided_backpropagation_by_hand(way, target):
    net, x = rectified(way), picture()
    found = inspect.saliency(net, x, target)
    np.testing.assert_allclose(found.values, by_hand(net, x, target, False), rtol=1e-9, atol=1e-12)
    found = inspect.guided_backprop(net, x, target)
    np.testing.assert_allclose(found.values, by_hand(net, x, target, True), rtol=1e-9, atol=1e-12)
    plain = inspect.saliency(net, x, target).values
    assert not np.allclose(found.values, plain), "guiding is over when it is over"


@pytest.mark.parametrize("rectifier", ["ReLU6", "Threshold", "maximum", "clamp_min"])
def test_other_rectifiers_are_guided(rectifier):
    apply = {
        "ReLU6": nn.ReLU6(),
        "Threshold": nn.Threshold(0.0, 0.0),
        "maximum": lambda x: tg.maximum(x, tg.zeros_like(x)),
        "clamp_min": lambda x: x.clamp_min(0),
    }[rectifier]

    class Net(nn.Module):
        def forward(self, x):
            return apply(x.flatten(1)) * tg.tensor([1.0, -1.0, 2.0, -2.0], dtype=tg.float64)

    x = np.array([[[0.5, 0.5], [-1.0, 1.0]]])
    assert [inspect.guided_backprop(Net(), x, i).values.reshape(-1)[i] for i in range(4)] == [1, 0, 0, 0]


def test_leaky_rectifiers_and_tanh_are_left_alone():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.LeakyReLU(), nn.Tanh(), nn.Flatten(), nn.Linear(72, 2)).double()
    x = picture()
    np.testing.assert_array_equal(inspect.guided_backprop(net, x).values, inspect.saliency(net, x).values)


@pytest.mark.parametrize("way", ["module", "function in place", "one module"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_integrated_gradients_add_up(way, dtype):
    net = rectified(way, tg.float32 if dtype == "float32" else tg.float64).eval()
    x = picture(dtype=dtype)
    for baseline in (0.0, picture(seed=5, dtype=dtype)):
        found = inspect.integrated_gradients(net, x, target=1, baseline=baseline)
        start = np.full_like(x, baseline) if isinstance(baseline, float) else baseline
        with tg.no_grad():
            difference = float(net(tg.tensor(x[None]))[0, 1] - net(tg.tensor(start[None]))[0, 1])
        assert abs(found.values.sum() - difference) <= 1e-3 * abs(difference)
        np.testing.assert_allclose(found.score - found.baseline, difference, rtol=1e-4)


def test_integrated_gradients_of_a_linear_map_and_where_it_cannot_add_up():
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double()
    x = picture()
    found = inspect.integrated_gradients(net, x, 0, steps=1)
    np.testing.assert_allclose(found.values.reshape(-1), net[1].weight[0].detach().numpy() * x.reshape(-1), rtol=1e-9)
    with pytest.warns(UserWarning, match="raise max_steps"):
        inspect.integrated_gradients(rectified(), 9 * x, steps=1, max_steps=1, tolerance=1e-9)


def test_smooth_grad_is_the_mean_over_noise():
    net, x = rectified(), picture()
    found = inspect.smooth_grad(net, x, 1, samples=5, noise=0.2, seed=7, batch_size=2)
    random = np.random.default_rng(7)
    deviation = 0.2 * (x.max() - x.min())
    each = [by_hand(net, x + deviation * random.standard_normal(x.shape), 1, False) for _ in range(5)]
    np.testing.assert_allclose(found.values, np.mean(each, 0), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
def test_grad_cam_by_loops(way):
    """At conv2, whose memory a rectifier in place takes over."""
    net, x = rectified(way), picture()
    found = inspect.grad_cam(net, x, target=2, layer="conv2")
    w = {name: value.numpy() for name, value in net.state_dict().items()}
    maps = inspect.activations(net, x, "conv2").values

    def score(b):
        c = w["fc1.weight"] @ np.maximum(b, 0).reshape(-1) + w["fc1.bias"]
        return w["fc2.weight"][2] @ np.maximum(c, 0) + w["fc2.bias"][2]

    heat = np.zeros(maps.shape[1:])
    for k in range(len(maps)):
        weight = 0.0
        for place in np.ndindex(maps.shape[1:]):
            up, down = maps.copy(), maps.copy()
            up[(k, *place)] += 1e-6
            down[(k, *place)] -= 1e-6
            weight += (score(up) - score(down)) / 2e-6 / heat.size
        np.testing.assert_allclose(found.weights[k], weight, atol=1e-7)
        heat += weight * maps[k]
    np.testing.assert_allclose(found.map, np.maximum(heat, 0), atol=1e-6)
    assert found.upsampled().shape == (8, 8)
    usual = inspect.grad_cam(net, x).layer
    assert usual == {"module": "relus.1", "module in place": "relus.1"}.get(
        way, "conv2" if way != "one module" else "relu"
    )


def test_maximising_raises_the_unit_and_regularisers_smooth():
    net = rectified(dtype=tg.float32)
    plain = inspect.maximise(net, "conv2", 1, (1, 8, 8), steps=40, decay=0, variation=0, blur=0, jitter=0)
    assert plain.values[-1] > plain.values[0] + 1
    value = inspect.activations(net, plain.image, "conv2").values[1].mean()
    np.testing.assert_allclose(plain.values[-1], value, rtol=1e-5)
    smooth = inspect.maximise(net, "conv2", 1, (1, 8, 8), steps=40, decay=0.01, variation=0.05, jitter=0)
    rough = [np.square(np.diff(x / x.std(), axis=2)).mean() for x in (plain.image, smooth.image)]
    assert rough[1] < 0.8 * rough[0]
    assert smooth.values[-1] > smooth.values[0] + 1
    held = inspect.maximise(net, "", 0, (1, 8, 8), steps=10, rate=1.0, bounds=(-0.5, 0.5))
    assert held.image.min() >= -0.5 and held.image.max() <= 0.5


def test_confusion_and_mistakes_by_hand():
    z = np.array([[4, 0, 0], [0, 3, 0], [0, 9, 0], [0, 0, 2], [1, 0, 0]], float).reshape(5, 1, 1, 3)
    found = inspect.answers(nn.Sequential(nn.Flatten()), z, np.array([0, 1, 2, 2, 1]), batch_size=2)
    assert found.confusion().counts.tolist() == [[1, 0, 0], [1, 1, 0], [0, 1, 1]]
    wrong = found.mistakes()
    assert wrong.indices.tolist() == [2, 4] and wrong.labels.tolist() == [2, 1] and wrong.predicted.tolist() == [1, 0]
    assert found.mistakes(1).indices.tolist() == [2] and found.mistakes(1).wrong == 2
    assert found.accuracy == 0.6


def test_histograms_over_training():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    histograms = inspect.Histograms(net, bins=10)
    for step in range(0, 30, 10):
        net.zero_grad()
        net(tg.ones(4, 2)).sum().backward()
        histograms.record(step)
        with tg.no_grad():
            net[0].weight += 1
    rows = histograms.weights["0.weight"]
    assert [row.step for row in rows] == [0, 10, 20]
    np.testing.assert_allclose(np.diff([row.mean for row in rows]), 1, rtol=1e-5)
    assert all(row.counts.sum() == 6 for row in rows)
    assert histograms.gradients["2.bias"][0].mean == 4
    strange = inspect.histograms.spread_of(np.array([1.0, np.nan, np.inf]), 0)
    assert strange.strange == 2 and strange.counts.sum() == 1


CALLS = {
    "filters": lambda net, x: inspect.filters(net),
    "activations": lambda net, x: inspect.activations(net, x[0], "conv2"),
    "features": lambda net, x: inspect.features(net, x, "fc1"),
    "neighbours": lambda net, x: inspect.neighbours(net, x[:1], x, "fc1", k=2),
    "occlusion": lambda net, x: inspect.occlusion(net, x[0], size=4, stride=4),
    "strongest": lambda net, x: inspect.strongest(net, x, "conv2", 0, k=2),
    "saliency": lambda net, x: inspect.saliency(net, x[0]),
    "smooth_grad": lambda net, x: inspect.smooth_grad(net, x[0], samples=2),
    "integrated_gradients": lambda net, x: inspect.integrated_gradients(net, x[0], steps=8),
    "guided_backprop": lambda net, x: inspect.guided_backprop(net, x[0]),
    "grad_cam": lambda net, x: inspect.grad_cam(net, x[0]),
    "maximise": lambda net, x: inspect.maximise(net, "conv2", 0, (1, 8, 8), steps=2),
    "answers": lambda net, x: inspect.answers(net, x, np.zeros(len(x), int)),
}


@pytest.mark.parametrize("call", CALLS)
def test_the_model_is_left_as_it_was(call):
    net, x = rectified("one module", tg.float32), picture(6, dtype="float32")
    net.conv1.eval()
    net.fc2.weight.requires_grad_(False)
    net.conv2.weight.grad = tg.ones_like(net.conv2.weight)
    before = copy.deepcopy(net.state_dict())
    modes = [m.training for m in net.modules()]
    random, hooks = tg.get_rng_state(), [len(m._forward_hooks) for m in net.modules()]
    CALLS[call](net, x)
    assert [m.training for m in net.modules()] == modes
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name].numpy(), err_msg=name)
    assert [n for n, p in net.named_parameters() if not p.requires_grad] == ["fc2.weight"]
    assert [n for n, p in net.named_parameters() if p.grad is not None] == ["conv2.weight"]
    assert (net.conv2.weight.grad.numpy() == 1).all()
    assert [len(m._forward_hooks) for m in net.modules()] == hooks
    assert (np.asarray(tg.get_rng_state()) == np.asarray(random)).all()
    assert not observers


@pytest.mark.parametrize("call", CALLS)
def test_on_every_device(call, device):
    """The same arrays, on the host, wherever the model is."""
    x = picture(6, dtype="float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        here = CALLS[call](rectified("method in place", tg.float32), x)
        there = CALLS[call](rectified("method in place", tg.float32).to(device), x)
    for name, value in vars(here).items():
        if isinstance(value, np.ndarray):
            assert type(getattr(there, name)) is np.ndarray
            np.testing.assert_allclose(getattr(there, name), value, rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.mark.oracle
def test_guided_backpropagation_against_pytorch():
    torch = pytest.importorskip("torch")
    net, x = rectified("module"), picture()
    twin = (
        torch.nn.Sequential(
            torch.nn.Conv2d(1, 3, 3, padding=1),
            torch.nn.BatchNorm2d(3),
            torch.nn.ReLU(),
            torch.nn.Conv2d(3, 4, 3, stride=2),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(36, 6),
            torch.nn.ReLU(),
            torch.nn.Linear(6, 3),
        )
        .double()
        .eval()
    )
    state = [torch.tensor(v.numpy()) for v in net.state_dict().values()]
    twin.load_state_dict(dict(zip(twin.state_dict(), state)))
    for layer in twin:
        if isinstance(layer, torch.nn.ReLU):
            layer.register_full_backward_hook(lambda module, dx, dz: (dx[0] * (dz[0] > 0),))
    z = torch.tensor(x[None], requires_grad=True)
    twin(z)[0, 1].backward()
    np.testing.assert_allclose(inspect.guided_backprop(net, x, 1).values, z.grad[0].numpy(), rtol=1e-9, atol=1e-12)
