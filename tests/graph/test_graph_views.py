"""What is shown of a graph: repeats folded, backward, gradients' path, a part around a name, costs, looks, failures, files."""

import json
import os
import re

import numpy
import pytest
from graph_networks import Residual, SmallNet, needs_dot

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.errors import ArgumentError, GraphError, ShapeError
from tensorgrad.graph import (
    around,
    backward_only,
    draw,
    fold,
    from_json,
    gradient_path,
    picture_of,
    read_tape,
    to_json,
    watch,
    with_backward,
)
from tensorgrad.graph.repeats import find_repeats


def names(graph, *kinds):
    return [n.name for n in graph.nodes if n.kind in (kinds or ("operation",))]


def times(graph):
    return [(call.name, call.times) for call in graph.calls if call.times > 1]


# --- folding


def test_equal_blocks_in_a_chain_are_one(small_net, image):
    graph = watch(small_net, image)
    folded = fold(graph)
    assert times(folded) == [("0 … 4", 5)]
    assert len(names(graph)) - len(names(folded)) == 4 * 7
    (add,) = [n for n in folded.nodes if n.name == "add" and n.path == "stage.0"]
    # the block takes what the stem gives, and gives to all four branches of what follows
    assert sorted(folded.nodes[e.source].path for e in folded.edges_into(add)) == ["stage.0.bn2", "stem"]
    last = next(n for n in folded.nodes if n.name == "relu" and n.number > add.number)
    takers = [folded.nodes[e.target] for e in folded.edges_from(last)]
    assert [n.path for n in takers] == ["inception.one", "inception.three", "inception.five", "inception.pool.0"]


def test_several_layers_that_are_repeated_together():
    layers = [layer for _ in range(4) for layer in (nn.Linear(6, 6), nn.Tanh())]
    folded = fold(watch(nn.Sequential(nn.Linear(3, 6), *layers, nn.Linear(6, 2)), tg.ones(1, 3)))
    assert times(folded) == [("1 … 8", 4)]
    assert [c.kind for c in folded.calls] == ["Sequential", "Linear", "repeated", "Linear", "Tanh", "Linear"]
    assert folded.levels() == [0, 1, 0, 1, 1, 1]


def test_a_cell_that_is_called_again_and_again_is_one():
    class Unrolled(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.Sequential(nn.Linear(4, 4), nn.Tanh())

        def forward(self, x):
            for _ in range(7):
                x = self.cell(x)
            return x

    folded = fold(watch(Unrolled(), tg.ones(1, 4)))
    assert times(folded) == [("cell", 7)]
    assert sum(n.kind == "parameter" for n in folded.nodes) == 2


@pytest.mark.parametrize(
    ("change", "copies"),
    [
        (lambda blocks: blocks[2].conv1.register_parameter("bias", nn.Parameter(tg.zeros(4))), [2, 2]),
        (lambda blocks: blocks[0].conv2.requires_grad_(False), [4]),
    ],
    ids=["another parameter", "one frozen"],
)
def test_blocks_that_differ_are_not_folded_together(change, copies):
    blocks = [Residual(4) for _ in range(5)]
    change(blocks)
    repeats = find_repeats(watch(nn.Sequential(*blocks), tg.ones(2, 4, 4, 4)))
    assert [repeat.times for repeat in repeats if len(repeat.copies[0]) == 1 and repeat.times > 1][
        : len(copies)
    ] == copies


def test_blocks_whose_results_are_used_elsewhere_are_not_folded():
    class Taps(nn.Module):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(4)])

        def forward(self, x):
            seen = []
            for block in self.blocks:
                x = block(x)
                seen.append(x)
            return tg.cat(seen, 1)

    graph = watch(Taps(), tg.ones(1, 4))
    assert find_repeats(graph) == []
    assert fold(graph) == graph


def test_what_is_folded_costs_as_often_as_it_stands_for(small_net, image):
    from tensorgrad.graph.view import View

    graph = watch(small_net, image)
    whole = View(graph, depth=1)
    folded = View(fold(graph), depth=1)
    stage = [next(b for b in v.boxes.values() if b.call and b.call.path == "stage") for v in (whole, folded)]
    assert stage[0].cost.macs == stage[1].cost.macs > 0
    assert stage[0].cost.parameters == stage[1].cost.parameters == 5 * (2 * 8 * 8 * 9 + 4 * 8)


# --- backward


def test_backward_of_a_neuron():
    w, x = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0])
    graph = with_backward(read_tape((w * x).sum().tanh(), {"w": w, "x": x}))
    assert names(graph, "backward", "gradient") == [
        "grad of output",
        "tanh backward",
        "sum backward",
        "multiply backward",
        "w.grad",
    ]
    flow = [(graph.nodes[e.source].name, graph.nodes[e.target].name) for e in graph.edges if not e.saved]
    assert flow[-4:] == [
        ("grad of output", "tanh backward"),
        ("tanh backward", "sum backward"),
        ("sum backward", "multiply backward"),
        ("multiply backward", "w.grad"),
    ]
    saved = [(graph.nodes[e.source].name, graph.nodes[e.target].name, e.argument) for e in graph.edges if e.saved]
    assert saved == [("tanh", "tanh backward", "out"), ("x", "multiply backward", "y")]


def test_cotangents_that_add_up_meet_at_the_operation():
    x = tg.ones(3, requires_grad=True)
    graph = with_backward(watch(lambda x: (lambda y: y * y + y)(x.exp()), x))
    exp = next(n for n in graph.nodes if n.name == "exp backward")
    arriving = [(graph.nodes[e.source].name, e.result) for e in graph.edges_into(exp) if not e.saved]
    assert sorted(arriving) == [("add backward", 1), ("multiply backward", 0), ("multiply backward", 1)]
    assert [graph.nodes[e.source].name for e in graph.edges_into(exp) if e.saved] == ["exp"]


def test_backward_has_one_operation_for_each_that_the_tape_has(small_net, image):
    graph = backward_only(watch(small_net, image))
    tape = read_tape(small_net(image))
    assert sorted(n.name for n in graph.nodes if n.kind == "backward") == sorted(f"{n} backward" for n in names(tape))
    gradients = {n.name.removesuffix(".grad") for n in graph.nodes if n.kind == "gradient"}
    assert gradients == {name for name, _ in small_net.named_parameters()} | {"grad of output"}


def test_the_path_of_gradients_leaves_the_rest_out():
    frozen, free = nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 3)
    graph = gradient_path(watch(nn.Sequential(frozen, free), tg.ones(1, 3)))
    assert names(graph) == ["inner_product_bias"]
    assert sorted(n.name for n in graph.nodes if n.kind == "parameter") == ["1.bias", "1.weight"]
    with pytest.raises(GraphError, match="no gradient flows"):
        gradient_path(watch(frozen, tg.ones(1, 3)))
    with tg.no_grad(), pytest.raises(GraphError, match="no gradient flows"):
        draw(free, tg.ones(1, 3), passes="both")


def test_the_surroundings_of_a_name(small_net, image):
    graph = watch(small_net, image)
    near = around(graph, "stage.2", 1)
    paths = {n.path for n in near.nodes if n.kind == "operation"}
    assert {"stage.2", "stage.2.conv1", "stage.1.relu"} <= paths
    assert not any(path.startswith(("stage.0", "inception")) for path in paths)
    assert set(names(around(graph, "conv2d", 0))) == {"conv2d"}
    with pytest.raises(ArgumentError, match=r"nothing .* called 'stage\.9'; it has stage"):
        around(graph, "stage.9")


# --- how it looks


def test_costs_colours_and_sizes(small_net, image):
    source = draw(small_net, image, depth="layers", costs=True, color_by="macs", size_by="macs").source
    assert "1,152 parameters" not in source and "576 parameters" in source
    assert re.search(r"[\d.]+ k MACs", source)
    assert "from 70 % of" in source and "MACs below 2 %" in source
    assert 'fillcolor="#993404"' in source and 'fontcolor="#FFFFFF"' in source
    assert len(set(re.findall(r"width=(\d\.\d\d)", source))) > 2


def test_shapes_on_arrows_in_boxes_or_nowhere():
    model, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), tg.ones(5, 3)
    on_arrows, in_boxes, nowhere = (draw(model, x, show_shapes=s).source for s in (True, "boxes", False))
    assert 'label=" (5, 4) "' in on_arrows
    assert "(5, 4)" in in_boxes and 'label=" (5, 4) "' not in in_boxes
    assert "(5, 4)" not in nowhere


def test_light_and_dark_and_which_way():
    model, x = nn.Linear(3, 4), tg.ones(5, 3)
    light, dark = draw(model, x).source, draw(model, x, theme="dark", rankdir="LR").source
    assert 'bgcolor="#FFFFFF"' in light and 'bgcolor="#16181D"' in dark
    assert "rankdir=LR" in dark
    assert re.sub("#[0-9A-F]{6}|rankdir=..", "", light).count("[") == re.sub("#[0-9A-F]{6}", "", dark).count("[")


def luminance(colour):
    """WCAG's relative luminance."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_all_texts_can_be_read_and_costs_differ_in_lightness():
    """WCAG AA asks for 4.5; a scale that is read by lightness does not need colours to be told apart."""
    from tensorgrad.graph.looks import OUTLINES, SCALE, SCALE_INK, THEMES

    for theme in THEMES.values():
        for kind in OUTLINES:
            assert contrast(theme.look(kind)["fillcolor"], theme.ink) > 4.5
        assert contrast(theme.paper, theme.grey) > 4.5
    assert all(contrast(fill, ink) > 4.5 for fill, ink in zip(SCALE, SCALE_INK))
    lights = [luminance(colour) for colour in SCALE]
    assert all(a > 1.2 * b for a, b in zip(lights, lights[1:]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"passes": "sideways"}, "got passes 'sideways'"),
        ({"theme": "pink"}, "got theme 'pink'"),
        ({"color_by": "taste"}, "got color_by 'taste'; there are parameters"),
        ({"size_by": "gradient"}, "got size_by 'gradient'"),
        ({"depth": "deep"}, "got depth 'deep'"),
        ({"show_shapes": "top"}, "got show_shapes 'top'"),
        ({"failure": "hide"}, "got failure 'hide'"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        draw(nn.Linear(2, 2), tg.ones(1, 2), **options)


def test_options_of_runs_are_refused_for_the_tape():
    y = tg.ones(2, requires_grad=True) * 2.0
    with pytest.raises(ArgumentError, match="are for runs"):
        draw(y, statistics=True)


def test_methods_draw_too():
    model, x = nn.Linear(2, 2), tg.ones(1, 2)
    assert model.graph(x).source == draw(model, x).source
    y = model(x).sum()
    assert y.graph(passes="backward").source == draw(y, passes="backward").source


# --- statistics


def test_statistics_of_values_and_gradients():
    x = tg.tensor([[-1.0, 0.0, 3.0]], requires_grad=True)
    graph = watch(lambda x: (x.relu() * 2.0).sum(), x, statistics=True)
    known = {n.name: n for n in graph.nodes}
    assert known["relu"].statistics["zeros"] == pytest.approx(2 / 3)
    assert known["relu"].statistics["mean"] == pytest.approx(1.0)
    assert known["relu"].statistics["std"] == pytest.approx(numpy.std([0, 0, 3]))
    assert known["relu"].gradient["mean"] == 2.0
    assert known["x"].gradient["mean"] == pytest.approx(2 / 3)  # where relu let it through
    assert x.grad is None


def test_a_loss_makes_it_a_training_step_and_leaves_the_model_alone():
    model, x = nn.Linear(3, 2), tg.randn(4, 3)
    graph = watch(model, x, loss=lambda y: (y * y).mean(), statistics=True)
    weight = next(n for n in graph.nodes if n.name == "weight")
    (model(x) ** 2).mean().backward()
    assert weight.gradient["mean"] == pytest.approx(float(model.weight.grad.array.mean()), rel=1e-4)
    assert names(graph)[-1] == "mean"


def test_vanishing_gradients_and_nans_are_seen():
    layers = [layer for _ in range(30) for layer in (nn.Linear(8, 8), nn.Sigmoid())]
    picture = draw(nn.Sequential(*layers), tg.randn(2, 8), statistics=True, color_by="gradient", depth="layers")
    assert 'fillcolor="#FFFFE5"' in picture.source and 'fillcolor="#993404"' in picture.source
    x = tg.tensor([1.0, float("nan"), float("inf")])
    source = draw(lambda x: x * 1.0, x, statistics=True).source
    assert "1 nan, 1 inf" in source


# --- failures


class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
        self.head = nn.Linear(10, 2)

    def forward(self, x):
        return self.head(self.body(x))


def test_the_graph_up_to_a_failure():
    with pytest.raises(ShapeError) as caught:
        watch(Broken(), tg.ones(2, 3, 8, 8))
    graph = caught.value.graph
    failed = graph.failure()
    assert (failed.name, failed.path) == ("linear", "head")
    assert failed.settings["input"] == "float32 (2, 144)"
    assert "(10, 2)" not in failed.failed and "(2, 10)" in failed.failed
    (edge,) = [e for e in graph.edges_into(failed) if e.argument == "input"]
    assert graph.nodes[edge.source].name == "reshape"
    assert failed.source.startswith("test_graph_views.py:") or "test_graph_views.py:" in failed.source


@pytest.mark.parametrize("depth", [None, "layers", 1])
def test_the_failing_operation_is_drawn_in_red(depth):
    picture = draw(Broken(), tg.ones(2, 3, 8, 8), failure="draw", depth=depth)
    (line,) = [line for line in picture.source.splitlines() if "octagon" in line]
    assert 'color="#C00000"' in line and "linear failed" in line and "(2, 144)" in line
    assert "head" in picture.source


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: x + tg.ones(7), "add"),
        (lambda x: x @ tg.ones(7, 2), "matmul"),
        (lambda x: tg.cat([x, tg.ones(1, 1, 1)], 0), "cat"),
    ],
)
def test_failures_outside_of_modules(function, name):
    with pytest.raises(RuntimeError) as caught:
        watch(function, tg.ones(2, 3))
    failed = caught.value.graph.failure()
    assert failed.name == name
    assert failed.path is None


def test_an_error_of_the_users_own_is_passed_on_with_the_graph():
    def function(x):
        x.exp()
        raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        watch(function, tg.ones(2))
    assert names(caught.value.graph) == ["exp", "KeyError"]


# --- JSON


def test_json_is_the_graph(small_net, image):
    for graph in (
        watch(small_net, image, statistics=True, repeats=1),
        with_backward(fold(watch(small_net, image))),
        watch(lambda x: x[1:, ..., None].sum(), tg.tensor([1.0, float("nan")])),
    ):
        text = to_json(graph)
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
        again = from_json(text)
        assert to_json(again) == text
        assert [n.settings for n in again.nodes] == [n.settings for n in graph.nodes]
        assert (again.edges, again.calls, again.memory) == (graph.edges, graph.calls, graph.memory)
        assert picture_of(again).source == picture_of(graph).source


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no JSON"),
        ("[]", "no graph"),
        ('{"format": "tensorgrad graph", "version": 99}', "version 99"),
        ('{"format": "tensorgrad graph", "version": 1, "nodes": 3}', "damaged"),
    ],
)
def test_what_is_no_graph_is_refused(text, message):
    with pytest.raises(ArgumentError, match=message):
        from_json(text)


def test_the_same_network_gives_the_same_json_and_page(tmp_path):
    texts = set()
    for name in ("a", "b"):
        picture = draw(SmallNet(2), tg.zeros(1, 3, 8, 8))
        texts.add((tmp_path / picture.save(tmp_path / f"{name}.json")).read_text())
    assert len(texts) == 1
    assert from_json(texts.pop()) == picture.whole


# --- files


def test_text_data_and_page_need_no_program(tmp_path, monkeypatch, small_net, image):
    monkeypatch.setenv("PATH", str(tmp_path))
    picture = draw(small_net, image)
    for ending in ("dot", "json", "html"):
        picture.save(tmp_path / f"x.{ending}")
    assert sorted(os.listdir(tmp_path)) == ["x.dot", "x.html", "x.json"]
    assert picture._repr_svg_() is None


@pytest.mark.parametrize("ending", ["json", "html", "dot"])
def test_an_unwritable_path_is_a_clear_error_and_leaves_nothing(tmp_path, ending):
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(OSError, match=r"folder|Not a directory"):
        draw(nn.Linear(2, 2), tg.ones(1, 2)).save(tmp_path / "folder" / f"x.{ending}")
    assert os.listdir(tmp_path) == ["folder"]


def test_onnx_of_a_result_is_refused(tmp_path):
    y = tg.ones(2, requires_grad=True) * 2.0
    with pytest.raises(ArgumentError, match="ONNX is for models"):
        y.graph().save(tmp_path / "x.onnx")
    assert os.listdir(tmp_path) == []


def test_a_model_that_needs_more_arguments_says_so():
    with pytest.raises(TypeError, match="forward"):
        draw(nn.Bilinear(2, 2, 2) if hasattr(nn, "Bilinear") else nn.Linear(2, 2))


@needs_dot
def test_jupyter_asks_for_the_svg():
    assert "<svg" in draw(nn.Linear(2, 2), tg.ones(1, 2))._repr_svg_()


@needs_dot
@pytest.mark.parametrize("passes", ["forward", "backward", "both", "gradients"])
def test_dot_draws_every_view(small_net, image, passes):
    for options in ({"fold": True}, {"depth": "layers", "rankdir": "LR"}, {"depth": 1, "costs": True}):
        assert b"</svg>" in draw(small_net, image, passes=passes, **options).rendered("svg")


# --- the largest of the family


def resnet(name):
    from tensorgrad.models import get_model

    return watch(get_model(name, init_weights=False).eval(), tg.zeros(1, 3, 64, 64))


def test_resnet152_folded_is_one_page_and_unfolded_is_quick():
    import time

    graph = resnet("resnet152")
    folded = fold(graph)
    assert times(folded)[0][1] == 2
    assert [t for _, t in times(folded)] == [2, 7, 35, 2]
    page = picture_of(graph, fold=True, depth=2, close_layers=True)
    boxes = [line for line in page.source.splitlines() if re.match(r"\s*[nm]\d+ \[", line)]
    assert len(boxes) < 25
    begun = time.process_time()
    picture_of(graph, passes="both")
    assert time.process_time() - begun < 10
