"""Costs: against numbers worked by hand, the figures of the papers, and memory that was really taken."""

import gc
import math
import tracemalloc

import numpy
import pytest
from graph_networks import SmallNet

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.graph import costs_of_calls, receptive_fields, step_memory, total_cost, watch
from tensorgrad.graph.costs import PRODUCTS, has_entry
from tensorgrad.graph.memory import path_of_gradients
from tensorgrad.models import get_model
from tensorgrad.nn import functional as F
from tensorgrad.ops import *  # noqa: F403  # so that every primitive is defined
from tensorgrad.primitive import Bilinear, Primitive, View


def total(function, *inputs):
    return total_cost(watch(function, *inputs))


def primitives(base=Primitive):
    for kind in base.__subclasses__():
        yield kind
        yield from primitives(kind)


OURS = sorted(
    {p for p in primitives() if p.__module__.startswith("tensorgrad.ops") and hasattr(p, "forward")},
    key=lambda kind: kind.__qualname__,
)

# --- MACs and FLOPs


@pytest.mark.parametrize(
    ("make", "size", "macs"),
    [
        (lambda: nn.Conv2d(3, 6, 5), (1, 3, 32, 32), 28 * 28 * 6 * 75),
        (lambda: nn.Conv2d(3, 6, 5, stride=2, padding=2, bias=False), (2, 3, 32, 32), 2 * 16 * 16 * 6 * 75),
        (lambda: nn.Conv2d(8, 8, 3, groups=4), (1, 8, 5, 5), 9 * 8 * 2 * 9),
        (lambda: nn.Conv2d(4, 8, 3, dilation=2), (1, 4, 9, 9), 25 * 8 * 36),
        (lambda: nn.Linear(400, 120), (3, 400), 3 * 400 * 120),
        (lambda: nn.Linear(4, 5), (2, 3, 4), 6 * 20),
        (lambda: nn.ReLU(), (2, 3), 0),
    ],
)
def test_macs_of_layers(make, size, macs):
    assert total(make(), tg.zeros(*size)).macs == macs


def test_flops_are_two_a_mac_and_one_a_number_elsewhere():
    x = tg.ones(4, 5)
    assert total(lambda x: x @ tg.ones(5, 3), x).flops == 2 * 4 * 5 * 3
    assert total(lambda x: (x + 1.0).exp(), x).flops == 20 + 20
    assert total(lambda x: x.sum(), x).flops == 20
    assert total(lambda x: x.reshape(20)[3:], x).flops == 0
    assert total(nn.MaxPool2d(3), tg.ones(1, 1, 9, 9)).flops == 9 * 9


def test_inception_example_of_the_lectures():
    """28x28x256 into 1x1x128, 3x3x192, 5x5x96 and pooling: 854,196,224 MACs; with bottlenecks of 64, 271,351,808."""
    x = tg.zeros(1, 256, 28, 28)
    naive = [nn.Conv2d(256, 128, 1), nn.Conv2d(256, 192, 3, padding=1), nn.Conv2d(256, 96, 5, padding=2)]
    assert total(lambda x: [layer(x) for layer in naive], x).macs == 854_196_224
    reduced = [
        nn.Conv2d(256, 128, 1),
        nn.Sequential(nn.Conv2d(256, 64, 1), nn.Conv2d(64, 192, 3, padding=1)),
        nn.Sequential(nn.Conv2d(256, 64, 1), nn.Conv2d(64, 96, 5, padding=2)),
        nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), nn.Conv2d(256, 64, 1)),
    ]
    assert total(lambda x: [layer(x) for layer in reduced], x).macs == 271_351_808


def test_backward_of_a_product_costs_one_product_for_each_factor_that_wants_it():
    layer, x = nn.Linear(4, 3, bias=False), tg.ones(2, 4)
    assert total(layer, x).backward_flops == 2 * 24  # the weight's
    assert total(layer, x.clone().requires_grad_()).backward_flops == 2 * 48
    assert total(layer.requires_grad_(False), x).backward_flops == 0


def test_parameters_count_once_and_frozen_ones_are_told_apart():
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(4, 2).requires_grad_(False))
    cost = total(model, tg.ones(1, 4))
    assert (cost.parameters, cost.trainable, cost.weights, cost.biases) == (30, 20, 24, 6)


def test_costs_of_calls_add_up():
    graph = watch(SmallNet(2), tg.zeros(1, 3, 8, 8))
    calls = costs_of_calls(graph)
    assert calls[0].macs == total_cost(graph).macs
    named = {call.path: cost for call, cost in zip(graph.calls, calls)}
    assert named["stage"].macs == named["stage.0"].macs + named["stage.1"].macs == 4 * 16 * 8 * 8 * 9
    assert named["stage.0"].parameters == 2 * (8 * 8 * 9 + 16)


def test_what_a_model_has_and_does_not_use():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.other = nn.Linear(2, 2), nn.Linear(10, 10)

        def forward(self, x):
            return self.used(x)

    graph = watch(Net(), tg.ones(1, 2))
    assert (graph.number_of_parameters(), graph.unused) == (6, 110)


# --- the table


#: Primitives that are meant to have none: what they cost depends on more than shapes.
WITHOUT_ENTRY = {"resample", "resample_argmax", "grid_sample"}


def test_which_primitives_have_no_entry():
    """They count one FLOP for each number of their largest operand or result: wrong for a product, so it is said here."""
    without = {p.name.strip("_") for p in OURS if not has_entry(p.name.strip("_")) and not issubclass(p, View)}
    assert without <= WITHOUT_ENTRY, (
        f"give {', '.join(sorted(without - WITHOUT_ENTRY))} a row in tensorgrad/graph/costs.py: in PRODUCTS what multiplies and "
        "adds up, in ELEMENTWISE or REDUCTIONS what counts once for each number, in MOVES what computes nothing"
    )


def test_every_bilinear_primitive_but_multiplication_itself_is_a_product():
    bilinear = {p.name for p in OURS if issubclass(p, Bilinear)}
    assert bilinear - set(PRODUCTS) == {"multiply"}


def test_a_primitive_without_an_entry_costs_its_largest_operand():
    class Unheard(Primitive):
        """z = first row of x"""

        __slots__ = ()
        differentiable = False

        def forward(self, x):
            return x[0]

    graph = watch(lambda x: Unheard()(x), tg.ones(3, 7))
    assert not has_entry("unheard")
    assert total_cost(graph).flops == 21


# --- memory


def test_memory_of_a_step_worked_by_hand():
    """x (1000 floats) -> exp -> square -> sum: exp keeps its result, square its input, which is the same memory."""
    x = tg.ones(1000, requires_grad=True)
    graph = watch(lambda x: (x.exp() * 3.0).tanh().sum(), x)
    step = step_memory(graph)
    assert step.fixed == 4000
    assert step.gradients == 4000
    assert step.kept == 4000 + 4000  # results of exp and tanh
    # backward of multiply: x, exp's result, its cotangent and the new one
    assert step.peak >= 16_000


def test_views_take_no_memory_and_shared_memory_is_kept_once():
    x = tg.ones(10, 10, requires_grad=True)
    graph = watch(lambda x: x.exp().reshape(100).reshape(10, 10).t() * 2.0, x)
    exp = next(n for n in graph.nodes if n.name == "exp")
    assert exp.cost.activation == 400
    assert all(n.cost.activation == 0 for n in graph.nodes if n.view)
    y = tg.ones(100, requires_grad=True)
    kept = total(lambda y: y.exp() * y.exp().detach(), y)
    assert kept.kept == 800  # two results of exp; multiply keeps what is kept already
    once = total(lambda y: (lambda z: z * z)(y.exp()), y)
    assert once.kept == 400


@pytest.mark.parametrize("depth", [4, 12])
def test_the_peak_of_a_real_step(depth):
    """A multilayer perceptron: no kernel needs working space to speak of, so what NumPy takes is what is foretold."""
    model = nn.Sequential(*[layer for _ in range(depth) for layer in (nn.Linear(256, 256), nn.Tanh())])
    x = tg.randn(512, 256)
    step = step_memory(watch(model, x))

    def run():
        model(x).sum().backward()

    run()  # whatever is made at a first use
    for p in model.parameters():
        p.grad = None
    gc.collect()
    tracemalloc.start()
    try:
        run()
        taken = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    foretold = step.peak - step.fixed
    assert foretold * 0.9 < taken < foretold * 1.15


def test_only_what_leads_to_the_outputs_is_on_the_path():
    w = tg.ones(3, requires_grad=True)
    graph = watch(lambda x: ((w.exp() * 2.0).detach() + x, w * x)[1], tg.ones(3))
    names = {graph.nodes[number].name for number in path_of_gradients(graph)}
    assert "exp" not in names and "multiply" in names


# --- time


def test_time_is_measured_when_asked():
    x = tg.randn(64, 64, requires_grad=True)
    graph = watch(lambda x: (x @ x).exp(), x, repeats=2)
    operations = [n for n in graph.nodes if n.kind == "operation"]
    assert all(n.seconds > 0 and n.backward_seconds > 0 for n in operations)
    assert watch(lambda x: x.exp(), x).nodes[1].seconds is None
    with pytest.raises(tg.errors.ArgumentError, match="repeats"):
        watch(lambda x: x, x, repeats=-1)


# --- receptive fields


def seen(model, x):
    """The rows and columns of the input that the middle unit of the result really depends on: where the gradient is not 0."""
    for p in model.parameters():
        p.array[...] = numpy.abs(p.array) + 0.1
    x = x.clone().requires_grad_()
    z = model(x)
    middle = [n // 2 for n in z.shape[2:]]
    z[0, 0, middle[0], middle[1]].backward()
    rows = numpy.nonzero(x.grad.array[0].sum((0, 2)))[0]
    columns = numpy.nonzero(x.grad.array[0].sum((0, 1)))[0]
    return middle, (rows[0], rows[-1]), (columns[0], columns[-1])


class Branches(nn.Module):
    """An Inception-like module: each branch sees another part; the output sees what any of them sees."""

    def __init__(self):
        super().__init__()
        self.small = nn.Conv2d(2, 2, 1, stride=2)
        self.large = nn.Conv2d(2, 2, (7, 3), stride=2, padding=(3, 1))
        self.after = nn.Conv2d(4, 2, 3)

    def forward(self, x):
        return self.after(tg.cat([self.small(x), self.large(x)], 1))


class Shortcut(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(2, 2, 3, stride=2, padding=1), nn.Conv2d(2, 2, 3, padding=2, dilation=2))
        self.shortcut = nn.Conv2d(2, 2, 1, stride=2)

    def forward(self, x):
        return self.body(x) + self.shortcut(x)


@pytest.mark.parametrize(
    "model",
    [
        nn.Conv2d(2, 2, 5),
        nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.AvgPool2d(2), nn.Conv2d(2, 2, (3, 5), dilation=(2, 1))),
        Branches(),
        nn.Sequential(Shortcut(), nn.AvgPool2d(3, 2, padding=1), Shortcut()),
    ],
    ids=["convolution", "chain", "inception", "residual"],
)
def test_the_receptive_field_is_what_a_unit_really_sees(model):
    x = tg.randn(1, 2, 80, 80)
    graph = watch(model, x)
    fields = receptive_fields(graph)[-1]
    middle, *ranges = seen(model, x)
    for at, field, (first, last) in zip(middle, fields, ranges):
        assert (first, last) == (field.low + at * field.stride, field.high + at * field.stride)
        assert field.size == last - first + 1
        assert field.centre + at * field.stride == (first + last) / 2


def test_a_linear_layer_sees_everything_and_strides_that_do_not_fit_have_no_field():
    graph = watch(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(), nn.Linear(36, 2)), tg.ones(1, 1, 6, 6))
    assert receptive_fields(graph)[-1][0].size == 8  # six places, and one beyond either border
    other = watch(lambda x: x[:, :, ::2, ::2] + F.avg_pool2d(x, 2), tg.ones(1, 1, 6, 6))
    assert receptive_fields(other)[-1] is None
    assert receptive_fields(watch(lambda x: x * 2.0, tg.ones(3)))[-1] is None


# --- the family's figures, from the papers and torchvision's documentation

FACTS = [
    ("lenet5", (1, 1, 32, 32), 61_706, 416_520, None),
    ("alexnet", (1, 3, 224, 224), 61_100_840, 714_188_480, 195),
    ("resnet18", (1, 3, 224, 224), 11_689_512, 1_814_073_344, 435),
    ("googlenet", (1, 3, 224, 224), 6_624_904, 1_498_376_192, None),
]
SLOW_FACTS = [
    ("vgg16", (1, 3, 224, 224), 138_357_544, 15_470_264_320, 212),
    ("vgg19", (1, 3, 224, 224), 143_667_240, 19_632_062_464, 268),
    ("resnet34", (1, 3, 224, 224), 21_797_672, 3_663_761_408, 899),
    ("resnet50", (1, 3, 224, 224), 25_557_032, 4_089_184_256, 427),
    ("resnet101", (1, 3, 224, 224), 44_549_160, 7_801_405_440, 971),
    ("resnet152", (1, 3, 224, 224), 60_192_808, 11_513_626_624, 1451),
    ("resnet50_v1", (1, 3, 224, 224), 25_557_032, 3_857_973_248, 483),
    ("zfnet", (1, 3, 224, 224), 62_357_608, 1_168_032_896, None),
]


@pytest.mark.parametrize(
    ("name", "size", "parameters", "macs", "field"),
    [*FACTS, *[pytest.param(*row, marks=pytest.mark.slow) for row in SLOW_FACTS]],
)
def test_figures_of_the_family(name, size, parameters, macs, field):
    settings = {} if name == "lenet5" else {"init_weights": False}
    graph = watch(get_model(name, **settings).eval(), tg.zeros(*size))
    cost = total_cost(graph)
    assert (cost.parameters, cost.macs) == (parameters, macs)
    if field is not None:
        fields = receptive_fields(graph)
        last = [f for f, n in zip(fields, graph.nodes) if f and n.shape and len(n.shape) == 4 and f[0].stride][-1]
        assert (last[0].size, last[1].size) == (field, field)
    assert math.isfinite(cost.intensity)
