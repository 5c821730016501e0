"""The six ways against the slow, obvious version of each."""

import warnings

import numpy as np
import pytest
from inspect_networks import WAYS, picture, rectified

import tensorgrad as tg
from tensorgrad import inspect, models, nn
from tensorgrad.inspect.embedding import principal


def scores(net, x):
    was = net.training
    net.eval()
    with tg.no_grad():
        z = net(tg.tensor(x)).numpy()
    net.train(was)
    return z


def probabilities(net, x):
    e = np.exp(scores(net, x))
    return e / e.sum(1, keepdims=True)


@pytest.mark.parametrize("layer", [None, "conv2"])
def test_filters(layer):
    net = rectified()
    weights = (net.conv1 if layer is None else net.conv2).weight.detach().numpy()
    np.testing.assert_array_equal(inspect.filters(net, layer).weights, weights)


@pytest.mark.parametrize("way", WAYS)
def test_activations_are_those_at_the_layer(way):
    """What leaves conv1 and the norm before the rectifier, which may overwrite it, gets them."""
    net, x = rectified(way), picture()
    net.eval()
    with tg.no_grad():
        conv1 = net.conv1(tg.tensor(x[None]))
        before = net.norm(conv1).numpy()
        z = net.conv2(tg.tensor(np.maximum(before, 0))).numpy()
    net.train()
    np.testing.assert_allclose(inspect.activations(net, x, "conv1").values, conv1.numpy()[0])
    np.testing.assert_allclose(inspect.activations(net, x, "norm").values, before[0])
    np.testing.assert_allclose(inspect.activations(net, x, "conv2").values, z[0])
    place, times = {"one module": ("relu", 3), "clamp": ("/clamp", 3)}.get(way, ("/relu", 3))
    if way.startswith("module"):
        place, times = "relus.0", 1
    first = inspect.activations(net, x, f"{place}:1").values
    np.testing.assert_allclose(first, np.maximum(before, 0)[0])
    named = [layer for layer in inspect.layers(net, x, operations=True) if layer.name == place]
    assert [layer.time for layer in named] == list(range(1, times + 1))
    if times == 3:
        np.testing.assert_allclose(inspect.activations(net, x, f"{place}:2").values, np.maximum(z, 0)[0])
        assert inspect.activations(net, x, place).values.shape == (6,)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_by_brute_force(metric):
    net, x = rectified(), picture(60)
    found = inspect.neighbours(net, x[:7], x, "fc1", k=9, metric=metric, batch_size=16)
    with tg.no_grad():
        net.eval()
        space = net.fc1(net.relus[1](net.conv2(net.relus[0](net.norm(net.conv1(tg.tensor(x)))))).flatten(1)).numpy()
    for row in range(7):
        far = []
        for other in range(60):
            a, b = space[row], space[other]
            cosine = 1 - (a @ b) / np.sqrt((a @ a) * (b @ b))
            far.append((cosine if metric == "cosine" else np.sqrt(((a - b) ** 2).sum()), other))
        wanted = sorted(far)[:9]
        assert found.indices[row].tolist() == [index for _, index in wanted]
        np.testing.assert_allclose(found.distances[row], [d for d, _ in wanted], atol=1e-12)


def test_features_of_a_dataset_and_of_a_loader():
    net, x = rectified(), picture(10)
    labels = np.arange(10) % 3
    dataset = tg.data.TensorDataset(tg.tensor(x), tg.tensor(labels))
    plain = inspect.features(net, x, "fc1")
    for source in (dataset, tg.data.DataLoader(dataset, batch_size=4)):
        found = inspect.features(net, source, "fc1", batch_size=3)
        np.testing.assert_allclose(found.values, plain.values, rtol=1e-12)
        np.testing.assert_array_equal(found.labels, labels)
    assert plain.labels is None and plain.values.shape == (10, 6)


def test_principal_components_by_singular_values():
    values = np.random.default_rng(0).standard_normal((30, 5)) * [5, 3, 1, 1, 1]
    for table in (values, values[:4]):
        points, shares = principal(table, 2)
        centred = table - table.mean(0)
        u, s, _ = np.linalg.svd(centred, full_matrices=False)
        np.testing.assert_allclose(np.abs(points), np.abs(u[:, :2] * s[:2]), atol=1e-9)
        np.testing.assert_allclose(shares, (s**2 / (s**2).sum())[:2])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_tsne_keeps_islands_apart():
    pytest.importorskip("sklearn", reason="scikit-learn is not installed: the extra `viz`")
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 10)
    space = inspect.Features("fc", 0.1 * random.standard_normal((30, 80)) + 3 * np.eye(80)[labels], labels, None)
    points = inspect.embed(space, "tsne").points
    far = np.linalg.norm(points[:, None] - points, axis=-1) + 1e9 * np.eye(30)
    assert (labels[far.argmin(1)] == labels).all()


@pytest.mark.parametrize(("size", "stride", "fill"), [(3, 2, 0.5), ((2, 4), (2, 3), None), (8, 1, [1.0])])
@pytest.mark.parametrize("way", ["module", "method in place"])
def test_occlusion_by_loops(size, stride, fill, way):
    net, x = rectified(way), picture()
    found = inspect.occlusion(net, x, target=1, size=size, stride=stride, fill=fill, batch_size=4)
    height, width = size if isinstance(size, tuple) else (size, size)
    for row, top in enumerate(found.tops):
        for column, left in enumerate(found.lefts):
            covered = x.copy()
            for i in range(top, top + height):
                for j in range(left, left + width):
                    covered[0, i, j] = x.mean() if fill is None else np.ravel(fill)[0]
            p = probabilities(net, covered[None])[0, 1]
            np.testing.assert_allclose(found.probabilities[row, column], p, rtol=1e-10)
    np.testing.assert_allclose(found.probability, probabilities(net, x[None])[0, 1], rtol=1e-10)
    covered = np.zeros((8, 8), int)
    for top in found.tops:
        for left in found.lefts:
            covered[top : top + height, left : left + width] += 1
    assert covered.all(), "every pixel is covered by some mask"


def test_occlusion_costs_one_picture_a_position():
    net, x = rectified(), picture()
    seen = []
    net.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    found = inspect.occlusion(net, x, size=2, stride=1, batch_size=10)
    assert sum(seen) == found.probabilities.size + 1 == 50
    assert len(seen) == 6


def test_strongest_by_brute_force():
    net, x = rectified(), picture(40)
    net.eval()
    with tg.no_grad():
        maps = net.conv2(net.relus[0](net.norm(net.conv1(tg.tensor(x))))).numpy()
    found = inspect.strongest(net, x, "conv2", 2, k=5, batch_size=16)
    wanted = sorted(range(40), key=lambda i: -maps[i, 2].max())[:5]
    assert found.indices.tolist() == wanted
    for i, (channel, row, column), box in zip(wanted, found.units, found.boxes):
        assert channel == 2 and maps[i, 2, row, column] == maps[i, 2].max()
        # windows of 3 with stride 2, then of 3 with a border of 1
        assert box == (max(2 * row - 1, 0), max(2 * column - 1, 0), min(2 * row + 4, 8), min(2 * column + 4, 8))
    one = inspect.strongest(net, x, "conv2", (2, 1, 0), k=3)
    assert one.indices.tolist() == sorted(range(40), key=lambda i: -maps[i, 2, 1, 0])[:3]


class Branches(nn.Module):
    """Two branches of different windows side by side, a shortcut, adapted windows: what formulas find hard."""

    def __init__(self):
        super().__init__()
        self.small, self.large = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 5, padding=2)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.adapt = nn.AdaptiveAvgPool2d(3)

    def forward(self, x):
        x = self.pool(tg.cat([self.small(x), self.large(x)], 1))
        return self.adapt(x + self.last(x).tanh())


def _cases():
    branches = Branches()
    branches.last.weight.data = branches.last.weight.data * 0.5
    yield "branch of 1x1", branches, (1, 16), "pool", (0, 3, 4)
    yield "branch of 5x5", branches, (1, 16), "pool", (3, 0, 4)
    yield "sum", branches, (1, 16), "/add", (2, 5, 2)
    yield "adapted windows", branches, (1, 16), "adapt", (1, 1, 2)
    lenet = models.lenet5()
    yield "lenet", lenet, (1, 32), "the second pooling", (5, 2, 4)
    yield "resnet", models.resnet20(), (3, 32), "layer2.0", (range(32), 8, 3)
    yield "fire", models.squeezenet1_1(num_classes=4), (3, 48), "features.4", (range(64), 2, 3)
    yield "fire", models.squeezenet1_1(num_classes=4), (3, 48), "features.4", (range(64, 128), 2, 3)


@pytest.mark.parametrize("case", range(8))
def test_a_unit_sees_exactly_its_receptive_field(case):
    """Pixels outside change nothing; the outermost rows and columns inside do."""
    tg.manual_seed(case)
    name, net, (channels, size), layer, unit = list(_cases())[case]
    if name == "lenet":
        layer = [path for path, m in net.named_modules() if type(m).__name__ == "AvgPool2d"][-1]
    net = net.double()
    rng = np.random.default_rng(case)
    x = rng.standard_normal((channels, size, size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", inspect.UntrainedWarning)
        if not isinstance(unit[0], int):  # one that its rectifier does not silence
            here = inspect.activations(net, x, layer).values[:, unit[1], unit[2]]
            unit = (max(unit[0], key=lambda channel: here[channel]), *unit[1:])
        found = inspect.receptive_field(net, x, layer, unit)
        top, left, bottom, right = found
        inside = np.zeros((size, size), bool)
        inside[top:bottom, left:right] = True
        edges = [np.zeros_like(inside) for _ in range(4)]
        edges[0][top, left:right] = edges[1][bottom - 1, left:right] = True
        edges[2][top:bottom, left] = edges[3][top:bottom, right - 1] = True
        base = np.stack([x] * 24)
        outside = np.where(inside, base, 30 * rng.standard_normal(base.shape))
        values = inspect.features(net, outside, layer, progress=False).values.reshape(24, -1)
        shape = inspect.activations(net, x, layer).values.shape
        at = np.ravel_multi_index(unit, shape)
        np.testing.assert_allclose(values[:, at], values[0, at], rtol=1e-12, atol=1e-12)
        for edge in edges:
            changed = np.where(edge, 30 * rng.standard_normal(base.shape), base)
            values = inspect.features(net, changed, layer, progress=False).values.reshape(24, -1)
            assert np.ptp(values[:, at]) > 1e-6, f"{name}: {found} is too large"
