"""The typed graph, against graphs worked by hand: from the tape behind a result, and from watching a run."""

import gc
import threading
import weakref

import numpy
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.errors import GraphError, OperandError
from tensorgrad.graph import read_tape, watch
from tensorgrad.primitive import observers


def nodes(graph, *kinds):
    """(kind, name, shape) of every node, or of those of some kinds."""
    return [(n.kind, n.name, n.shape) for n in graph.nodes if not kinds or n.kind in kinds]


def operations(graph):
    return [n.name for n in graph.nodes if n.kind == "operation"]


def edges(graph):
    """The edges by the names of their ends; operations that appear twice are numbered by their place."""
    names = []
    for n in graph.nodes:
        repeated = sum(m.name == n.name for m in graph.nodes) > 1
        names.append(f"{n.name}#{n.number}" if repeated else n.name)
    return [(names[e.source], names[e.target], e.argument) for e in graph.edges]


def paths(graph):
    return {n.name: n.path for n in graph.nodes if n.kind == "operation"}


def pair():
    """w and b that are learned, x that is not."""
    w = tg.tensor([0.5, -1.0, 2.0], requires_grad=True)
    return w, tg.tensor(0.25, requires_grad=True), tg.tensor([1.0, 2.0, 3.0])


# --- the tape


def test_the_tape_of_one_neuron():
    w, b, x = pair()
    y = ((w * x).sum() + b).tanh()
    graph = read_tape(y, {"w": w, "b": b, "x": x, "y": y})
    assert nodes(graph) == [
        ("parameter", "w", (3,)),
        ("input", "x", (3,)),
        ("operation", "multiply", (3,)),
        ("operation", "sum", ()),
        ("parameter", "b", ()),
        ("operation", "add", ()),
        ("operation", "tanh", ()),
        ("output", "y", ()),
    ]
    assert edges(graph) == [
        ("w", "multiply", "x"),
        ("x", "multiply", "y"),
        ("multiply", "sum", "x"),
        ("sum", "add", "x"),
        ("b", "add", "y"),
        ("add", "tanh", "x"),
        ("tanh", "y", ""),
    ]
    assert graph.number_of_parameters() == 4
    assert graph.calls == []


def test_without_names_a_leaf_is_a_parameter_and_the_rest_a_constant():
    w, _, x = pair()
    assert nodes(read_tape((w * x).sum()), "parameter", "constant", "input") == [
        ("parameter", "", (3,)),
        ("constant", "", (3,)),
    ]


def test_a_vector_that_matmul_saved_as_a_column_is_the_users_vector():
    w, _, x = pair()
    graph = read_tape(w.reshape(1, 3) @ x, {"w": w, "x": x})
    assert ("input", "x", (3,)) in nodes(graph)
    assert [n.shape for n in graph.nodes if n.name == "matmul"] == [(1, 1)]


def test_a_value_used_twice_is_one_node_with_two_edges():
    x = tg.tensor([2.0, 3.0], requires_grad=True)
    y = x.exp()
    graph = read_tape(y * y + y, {"x": x})
    assert operations(graph) == ["exp", "multiply", "add"]
    assert edges(graph) == [
        ("x", "exp", "x"),
        ("exp", "multiply", "x"),
        ("exp", "multiply", "y"),
        ("multiply", "add", "x"),
        ("exp", "add", "y"),
        ("add", "output", ""),
    ]


def test_numbers_are_settings_of_the_operation():
    x = tg.tensor([2.0, 3.0], requires_grad=True)
    graph = read_tape((x * 3.0).reshape(2, 1).sum(dim=1))
    multiply, reshape, total = (n for n in graph.nodes if n.kind == "operation")
    assert multiply.settings == {"y": 3.0}
    assert reshape.settings == {"shape": (2, 1)}
    assert total.settings == {"dim": (1,), "keepdim": False}
    assert reshape.view and not multiply.view


def test_several_results_of_one_operation_and_several_outputs():
    x = tg.ones(3, 2, requires_grad=True)
    first, _, third = x.tanh().unbind(0)
    graph = read_tape([third.exp(), first])
    unbind = next(n for n in graph.nodes if n.name == "unbind")
    assert unbind.shapes == [(2,), (2,), (2,)]
    assert [(graph.nodes[e.target].name, e.result) for e in graph.edges_from(unbind)] == [("exp", 2), ("output[1]", 0)]
    assert nodes(graph, "output") == [("output", "output[0]", (2,)), ("output", "output[1]", (2,))]


def test_writing_into_a_view_overwrites_its_base():
    x = tg.ones(3, 4, requires_grad=True)
    y = x * 2.0
    y[0].mul_(3.0)
    graph = read_tape(y, {"x": x})
    assert nodes(graph) == [
        ("parameter", "x", (3, 4)),
        ("operation", "multiply", (3, 4)),
        ("operation", "slice", (4,)),
        ("operation", "multiply", (4,)),
        ("operation", "written_in_place", (3, 4)),
        ("output", "output", (3, 4)),
    ]
    assert [(e.source, e.target) for e in graph.edges] == [(0, 1), (1, 2), (2, 3), (1, 4), (3, 4), (4, 5)]
    assert graph.nodes[4].settings == {"view": "slice"}


def test_shapes_that_the_tape_does_not_hold_follow_from_what_it_holds():
    x = tg.ones(2, 3, 4, requires_grad=True)
    column = tg.ones(4, 1, requires_grad=True)
    z = (-(x.permute(2, 0, 1)[1:] * 2.0)).flatten(0, 1) @ tg.ones(3, 5)
    assert [n.shape for n in read_tape(z).nodes if n.kind == "operation"] == [
        (4, 2, 3),  # transpose
        (3, 2, 3),  # slice
        (3, 2, 3),  # multiply by a number
        (3, 2, 3),  # negative, which reshape looked at
        (6, 3),
        (6, 5),
    ]
    total = column + tg.ones(3, requires_grad=True)  # broadcast, and nothing saved
    assert next(n.shape for n in read_tape(total.sin().sum()).nodes if n.name == "add") == (4, 3)


def test_the_tape_can_be_read_after_backward():
    w, b, x = pair()
    y = ((w * x).sum() + b).tanh()
    y.backward()
    graph = read_tape(y)
    assert operations(graph) == ["multiply", "sum", "add", "tanh"]
    assert [n.shape for n in graph.nodes if n.kind == "operation"] == [(3,), (), (), ()], "shapes outlive saved values"


@pytest.mark.parametrize(
    ("write", "expected"),
    [
        (lambda y, z: y.copy_(z), [("x", "multiply", "x"), ("z", "exp", "x"), ("exp", "output", "")]),
        (lambda y, z: y.zero_(), [("x", "multiply", "x"), ("z", "exp", "x"), ("broadcast_to", "output", "")]),
    ],
)
def test_an_unrecorded_copy_leads_to_where_its_values_came_from(write, expected):
    def function(x, z):
        y = x * 2.0
        write(y, z.exp())
        return y

    assert edges(watch(function, tg.ones(2), tg.ones(2))) == expected


def test_an_unrecorded_write_into_a_part_joins_the_rest_and_the_source():
    def function(x, z):
        y = x * 2.0
        y[1] = z
        return y[1] + y[0]

    graph = watch(function, tg.ones(2, 3), tg.ones(3))
    written = next(n for n in graph.nodes if n.name == "x[index] = value")
    assert [graph.nodes[e.source].name for e in graph.edges_into(written)] == ["multiply", "z"]
    last = next(n for n in graph.nodes if n.name == "add")
    assert all(
        graph.nodes[graph.edges_into(graph.nodes[e.source])[0].source] is written for e in graph.edges_into(last)
    )


def test_a_deep_tape_does_not_recurse():
    x = tg.ones(1, requires_grad=True)
    y = x
    for _ in range(20_000):
        y = y * 1.0
    graph = read_tape(y)
    assert len(graph.nodes) == 20_002
    assert len(graph.edges) == 20_001


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: tg.ones(2), GraphError, "no recorded history"),
        (lambda: tg.ones(2, requires_grad=True), GraphError, "no recorded history"),
        (lambda: (tg.ones(2, requires_grad=True) * 2).detach(), GraphError, "no recorded history"),
        (lambda: [3.0], OperandError, "an output is a float"),
    ],
)
def test_what_has_no_history_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        read_tape(make())


def test_names_must_be_names_of_tensors():
    x = tg.ones(2, requires_grad=True)
    with pytest.raises(OperandError, match=r"names\['x'\] is a list"):
        read_tape(x * 2, {"x": [1.0]})


# --- modules on the tape


class Block(nn.Module):
    """A residual block: conv2 takes part twice, relu too."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(self.conv(self.relu(self.conv(x))) + x)


def test_module_paths_on_the_tape_of_a_loss():
    model, loss = nn.Sequential(nn.Linear(4, 3), nn.Tanh()), nn.CrossEntropyLoss()
    graph = read_tape(loss(model(tg.ones(2, 4)), tg.tensor([0, 2])))
    assert [(c.path, c.kind, c.outer) for c in graph.calls] == [
        ("", "Sequential", None),
        ("0", "Linear", 0),
        ("1", "Tanh", 0),
        ("CrossEntropyLoss", "CrossEntropyLoss", None),
    ]
    assert nodes(graph, "parameter") == [("parameter", "0.weight", (3, 4)), ("parameter", "0.bias", (3,))]
    assert paths(graph)["inner_product_bias"] == "0"
    assert paths(graph)["tanh"] == "1"
    assert paths(graph)["cross_entropy"] == "CrossEntropyLoss"


def test_a_module_called_twice_is_two_calls_but_its_parameters_are_there_once():
    block = Block()
    graph = read_tape(block(tg.ones(1, 2, 4, 4)))
    assert [(c.name, c.repeat) for c in graph.calls] == [("", 1), ("conv", 1), ("relu", 1), ("conv", 2), ("relu", 2)]
    assert nodes(graph, "parameter") == [("parameter", "conv.weight", (2, 2, 3, 3)), ("parameter", "conv.bias", (2,))]
    assert graph.number_of_parameters() == 2 * 2 * 9 + 2
    weight = next(n for n in graph.nodes if n.name == "conv.weight")
    assert [graph.nodes[e.target].call for e in graph.edges_from(weight)] == [1, 3]
    assert (weight.path, weight.call) == ("conv", 1)


def test_modules_in_lists_have_the_whole_way_to_them():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

        def forward(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    net = Net()
    graph = read_tape(net(tg.ones(1, 2)))
    assert [(c.name, c.path) for c in graph.calls] == [("", ""), ("blocks.0", "blocks.0"), ("blocks.1", "blocks.1")]
    assert [name for _, name, _ in nodes(graph, "parameter")][:2] == ["blocks.0.weight", "blocks.0.bias"]


def test_a_tape_outlives_its_model():
    out = Block()(tg.ones(1, 2, 4, 4))
    gc.collect()
    assert operations(read_tape(out)).count("conv2d_bias") == 2


# --- a run that is watched


def test_a_run_without_gradients_is_seen_whole():
    def function(x, y):
        with tg.no_grad():
            larger = x > y
        return tg.where(larger, x, y), larger

    graph = watch(function, tg.ones(2, 3), tg.zeros(3))
    assert nodes(graph) == [
        ("input", "x", (2, 3)),
        ("input", "y", (3,)),
        ("operation", "compare", (2, 3)),
        ("operation", "where", (2, 3)),
        ("output", "output[0]", (2, 3)),
        ("output", "output[1]", (2, 3)),
    ]
    assert edges(graph) == [
        ("x", "compare", "x"),
        ("y", "compare", "y"),
        ("compare", "where", "condition"),
        ("x", "where", "x"),
        ("y", "where", "y"),
        ("where", "output[0]", ""),
        ("compare", "output[1]", ""),
    ]
    assert [n.dtype for n in graph.nodes] == ["float32", "float32", "bool", "float32", "float32", "bool"]
    assert not any(n.tracked for n in graph.nodes)


@pytest.mark.parametrize("grad", [True, False])
def test_a_run_of_a_module(grad):
    model = nn.Sequential(nn.Conv2d(1, 2, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(18, 4))
    with tg.set_grad_enabled(grad):
        graph = watch(model, tg.ones(5, 1, 8, 8))
    assert graph.title == "Sequential"
    assert [(n.name, n.path, n.shape) for n in graph.nodes if n.kind in ("operation", "parameter")] == [
        ("0.weight", "0", (2, 1, 3, 3)),
        ("0.bias", "0", (2,)),
        ("conv2d_bias", "0", (5, 2, 3, 3)),
        ("relu", "1", (5, 2, 3, 3)),
        ("reshape", "2", (5, 18)),
        ("3.weight", "3", (4, 18)),
        ("3.bias", "3", (4,)),
        ("inner_product_bias", "3", (5, 4)),
    ]
    conv = next(n for n in graph.nodes if n.name == "conv2d_bias")
    assert (conv.settings["kernel_size"], conv.settings["stride"], conv.tracked) == ((3, 3), (2, 2), grad)


def test_both_ways_see_the_same_residual_block():
    block, x = Block(), tg.ones(1, 2, 4, 4)
    watched, read = watch(block, x), read_tape(block(x))
    assert operations(watched) == operations(read)
    assert [c.path for c in watched.calls] == [c.path for c in read.calls]
    sum_of_both = next(n for n in watched.nodes if n.name == "add" and n.path == "")
    assert [watched.nodes[e.source].name for e in watched.edges_into(sum_of_both)] == ["conv2d_bias", "x"]
    assert [n.shape for n in watched.nodes if n.kind == "operation"] == [
        n.shape for n in read.nodes if n.kind == "operation"
    ]


def test_keywords_nested_inputs_and_results_are_named():
    def function(x, parts, *rest, scale):
        return {"sum": x + parts["a"] + rest[0], "scaled": [parts["b"][0] * scale]}

    values = {"a": tg.ones(2), "b": [tg.ones(3)]}
    graph = watch(function, tg.ones(2), values, tg.ones(1), keywords={"scale": tg.ones(3)})
    assert [n.name for n in graph.nodes if n.kind == "input"] == [
        "x",
        "parts['a']",
        "parts['b'][0]",
        "rest[0]",
        "scale",
    ]
    assert [n.name for n in graph.nodes if n.kind == "output"] == ["output['sum']", "output['scaled'][0]"]


def test_buffers_and_what_a_frozen_network_does():
    norm = nn.BatchNorm2d(3).eval().requires_grad_(False)
    graph = watch(norm, tg.ones(2, 3, 4, 4))
    assert sorted(nodes(graph, "buffer")) == [("buffer", "running_mean", (3,)), ("buffer", "running_var", (3,))]
    assert {name for _, name, _ in nodes(graph, "parameter")} == {"weight", "bias"}


def test_a_detached_value_is_the_same_value():
    x = tg.ones(2, requires_grad=True)
    graph = watch(lambda x: x.exp().detach() * 2.0, x)
    assert edges(graph) == [("x", "exp", "x"), ("exp", "multiply", "x"), ("multiply", "output", "")]


@pytest.mark.parametrize("requires_grad", [True, False])
def test_in_place_operations_of_a_run_take_the_place_of_what_they_change(requires_grad):
    def function(x):
        y = x * 2.0
        y.relu_()
        y.add_(1.0)
        return y.exp()

    graph = watch(function, tg.ones(2, requires_grad=requires_grad))
    assert edges(graph) == [
        ("x", "multiply", "x"),
        ("multiply", "relu", "x"),
        ("relu", "add", "x"),
        ("add", "exp", "x"),
        ("exp", "output", ""),
    ]


def test_an_in_place_change_of_a_part_without_gradients_is_an_operation_of_its_own():
    def function(x):
        y = x * 2.0
        y[0].mul_(3.0)
        return y.exp()

    graph = watch(function, tg.ones(3, 4))
    assert edges(graph) == [
        ("x", "multiply#1", "x"),
        ("multiply#1", "slice", "x"),
        ("slice", "multiply#3", "x"),
        ("multiply#1", "mul_", "x"),
        ("multiply#3", "mul_", "y"),
        ("mul_", "exp", "x"),
        ("exp", "output", ""),
    ]


def test_the_graph_of_a_gradient_is_seen_too():
    def slope(x):
        (g,) = tg.autograd.grad((x * x).sum(), x, create_graph=True)
        return g

    graph = watch(slope, tg.ones(2, requires_grad=True))
    assert operations(graph)[:2] == ["multiply", "sum"]
    assert len(operations(graph)) > 2


def test_a_module_is_left_as_it_was():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Flatten(), nn.Linear(32, 2))
    model[3].eval()
    x = tg.randn(4, 1, 6, 6, requires_grad=True)
    model(x).sum().backward()
    before = {name: value.array.copy() for name, value in model.state_dict().items()}
    gradients = {name: (p.grad, p.grad.array.copy()) for name, p in model.named_parameters()}
    versions = {name: b._version for name, b in model.named_buffers()}
    training = [module.training for module in model.modules()]
    random = tg.get_rng_state()
    recorded = model(x).sum()  # a graph recorded before must still be good for backward
    after_run = {name: b.array.copy() for name, b in model.named_buffers()}
    tg.set_rng_state(random)

    watch(model, x)

    assert [module.training for module in model.modules()] == training
    assert str(tg.get_rng_state()) == str(random)
    for name, value in model.named_buffers():
        numpy.testing.assert_array_equal(value.array, after_run[name])
    assert any((before[name] != after_run[name]).any() for name in after_run), "training moves the statistics"
    for name, p in model.named_parameters():
        assert p.grad is gradients[name][0]
        numpy.testing.assert_array_equal(p.grad.array, gradients[name][1])
    assert {name: b._version for name, b in model.named_buffers()} == {name: v + 1 for name, v in versions.items()}
    recorded.backward()
    assert observers == []


def test_a_parameter_stands_in_the_module_that_owns_it_not_where_it_is_used():
    class Times(nn.Module):
        def forward(self, x, w):
            return x * w

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.times = nn.Parameter(tg.ones(3)), Times()

        def forward(self, x):
            return self.times(x, self.scale)

    graph = watch(Net(), tg.ones(3))
    scale = next(n for n in graph.nodes if n.kind == "parameter")
    multiply = next(n for n in graph.nodes if n.kind == "operation")
    assert (scale.name, scale.path, scale.call) == ("scale", "", 0)
    assert (multiply.path, multiply.call) == ("times", 1)


def test_a_model_that_changes_its_mode_is_put_back():
    class Fickle(nn.Linear):
        def forward(self, x):
            self.eval()
            return super().forward(x)

    model = nn.Sequential(Fickle(2, 2))
    watch(model, tg.ones(1, 2))
    assert [module.training for module in model.modules()] == [True, True]


def test_a_module_that_fails_is_left_as_it_was_too():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(4, 2))
    with pytest.raises(tg.errors.ShapeError, match="linear"):
        watch(model, tg.randn(5, 3))
    assert model[0].running_mean.tolist() == [0.0, 0.0, 0.0]
    assert model[0].num_batches_tracked.item() == 0
    assert observers == []


def test_a_model_that_calls_backward_does_not_add_to_the_users_gradients():
    class Greedy(nn.Linear):
        def forward(self, x):
            super().forward(x).sum().backward()
            return super().forward(x)

    model = Greedy(2, 1)
    watch(model, tg.ones(1, 2))
    assert model.weight.grad is None
    model(tg.ones(1, 2))
    mine = model.weight.grad
    watch(model, tg.ones(1, 2))
    assert model.weight.grad is mine
    assert mine.tolist() == [[1.0, 1.0]]


def test_what_other_threads_do_is_not_in_the_graph():
    def function(x):
        thread = threading.Thread(target=lambda: tg.ones(2).exp())
        thread.start()
        thread.join()
        return x * 2.0

    assert operations(watch(function, tg.ones(2))) == ["multiply"]


def test_a_graph_keeps_nothing_alive():
    model, x = nn.Sequential(nn.Linear(3, 2), nn.Tanh()), tg.ones(1, 3)
    out = model(x)
    refs = [weakref.ref(thing) for thing in (model, model[0].weight, x, out)]
    graphs = watch(model, x), read_tape(out)
    del model, x, out
    gc.collect()
    assert [ref() for ref in refs] == [None] * 4
    assert all(operations(graph) == ["inner_product_bias", "tanh"] for graph in graphs)


def test_a_run_without_tensors_is_refused():
    with pytest.raises(OperandError, match="returned a float without a Tensor"):
        watch(lambda x: 3.0, tg.ones(2))


def test_a_run_on_any_device(device):
    model = nn.Linear(3, 2, device=device)
    graph = watch(model, tg.ones(4, 3, device=device))
    assert operations(graph) == ["inner_product_bias"]
    assert nodes(graph, "output") == [("output", "output", (4, 2))]
    assert operations(read_tape(model(tg.ones(4, 3, device=device)).sum())) == ["inner_product_bias", "sum"]
