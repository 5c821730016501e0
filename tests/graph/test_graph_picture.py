"""Pictures: what is drawn and what is left out, texts with odd names, files, and a machine without the program `dot`."""

import os
import re
import xml.etree.ElementTree as ElementTree

import graphviz
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.graph import NO_DOT, GraphvizError, Picture, dot_is_here, draw, watch
from tensorgrad.graph.structure import Call, Node
from tensorgrad.graph.texts import call_text, settings_text, shape_text
from tensorgrad.graph.view import View
from tensorgrad.models import lenet5

needs_dot = pytest.mark.skipif(
    not dot_is_here(), reason="Graphviz's program `dot` is not installed: apt install graphviz"
)


@pytest.fixture
def no_dot(monkeypatch, tmp_path):
    """A machine whose PATH holds no program."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not dot_is_here()


def net():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4))


def image():
    return tg.ones(5, 1, 6, 6)


def shown(view):
    """The names of the boxes, a closed module by its path."""
    return [box.call.path if box.kind == "module" else box.nodes[0].name for box in view.boxes.values()]


def arrows(view):
    names = dict(zip(view.boxes, shown(view)))
    return [(names[a.tail], names[a.head]) for a in view.arrows]


def labels(source):
    """The texts of the boxes, without what makes them bold or small."""
    found = re.findall(r"^\s*[nm]\d+ \[label=<(.*?)> [a-z]+=", source, re.MULTILINE)
    return [re.sub(r"<BR/>", " | ", text).replace("<B>", "").replace("</B>", "") for text in found]


def words(source):
    return [re.sub(r"<[^>]*>", "", text) for text in labels(source)]


# --- what is drawn


def test_a_view_leaves_plumbing_out():
    graph = watch(net(), image())
    view = View(graph)
    assert shown(view) == [
        "input",
        "0.weight",
        "0.bias",
        "conv2d_bias",
        "relu",
        "reshape",
        "3.weight",
        "3.bias",
        "inner_product_bias",
        "output",
    ]
    assert ("0.bias", "conv2d_bias") in arrows(view)
    assert len(View(graph, plumbing=True).boxes) == len(graph.nodes) == 10


def test_a_view_of_a_parameter_is_plumbing():
    b = nn.Parameter(tg.ones(3))
    graph = watch(lambda x: x + b.reshape(3, 1), tg.ones(3, 4))
    assert arrows(View(graph)) == [("x", "add"), ("", "add"), ("add", "output")]
    assert len(View(graph, plumbing=True).boxes) == len(graph.nodes) == 5


def test_identities_and_repeated_reshapes_are_plumbing_too():
    def function(x):
        return tg.zeros(4).detach() + x.exp().reshape(4, 1).reshape(1, 4).reshape(4)

    view = View(watch(function, tg.ones(2, 2)), parameters=False)
    assert arrows(view) == [
        ("x", "exp"),
        ("exp", "reshape"),
        ("reshape", "add"),
        ("add", "output"),
    ]
    assert [box.nodes[0].shape for box in view.boxes.values()] == [(2, 2), (2, 2), (4,), (4,), (4,)]


def test_a_view_that_nobody_uses_is_left_out():
    def function(x):
        _ = x[0][1]
        return x.exp()

    assert shown(View(watch(function, tg.ones(2, 2)))) == ["x", "exp", "output"]


def test_parameters_can_be_left_out():
    assert shown(View(watch(net(), image()), parameters=False)) == [
        "input",
        "conv2d_bias",
        "relu",
        "reshape",
        "inner_product_bias",
        "output",
    ]


@pytest.mark.parametrize(
    ("depth", "boxes", "between", "leaving"),
    [
        (0, ["input", "", "output"], [("input", ""), ("", "output")], [[(5, 2)]]),
        (1, ["input", "0", "1", "output"], [("input", "0"), ("0", "1"), ("1", "output")], [[(5, 4)], [(5, 2)]]),
        (
            2,
            ["input", "0.0", "0.1", "1.weight", "1.bias", "inner_product_bias", "output"],
            [
                ("input", "0.0"),
                ("0.0", "0.1"),
                ("0.1", "inner_product_bias"),
                ("1.weight", "inner_product_bias"),
                ("1.bias", "inner_product_bias"),
                ("inner_product_bias", "output"),
            ],
            [[(5, 4)], [(5, 4)]],
        ),
    ],
)
def test_modules_below_a_depth_are_one_box(depth, boxes, between, leaving):
    model = nn.Sequential(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), nn.Linear(4, 2))
    view = View(watch(model, tg.ones(5, 3)), depth=depth)
    assert shown(view) == boxes
    assert arrows(view) == between
    assert [box.leaving for box in view.boxes.values() if box.kind == "module"] == leaving


def test_what_leaves_a_closed_module_by_two_ways_is_two_arrows():
    class Fork(nn.Module):
        def forward(self, x):
            return x.exp(), x.sum()

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fork = Fork()

        def forward(self, x):
            a, b = self.fork(x)
            return a * b + a

    view = View(watch(Net(), tg.ones(3)), depth=1)
    assert arrows(view) == [
        ("x", "fork"),
        ("fork", "multiply"),
        ("fork", "multiply"),
        ("multiply", "add"),
        ("fork", "add"),
        ("add", "output"),
    ]
    assert next(box for box in view.boxes.values() if box.kind == "module").leaving == [(3,), ()]


def test_a_module_of_one_operation_is_that_box_and_others_are_frames():
    source = draw(net(), image()).source
    assert "1 (ReLU) | relu" in words(source)
    assert re.findall(r"subgraph (cluster_\d+)", source) == ["cluster_1", "cluster_4"]
    assert "0 (Conv2d)" in source
    assert "3 (Linear)" in source


def test_the_outermost_module_has_a_frame_only_beside_something_else():
    model = net()
    assert ">Sequential<" not in draw(model, image()).source
    assert ">Sequential<" in draw((model(image()) * 2.0).sum()).source


def test_the_texts_of_boxes():
    assert words(draw(net(), image(), show_shapes="boxes").source) == [
        "input | (5, 1, 6, 6)",
        "1 (ReLU) | relu | (5, 2, 4, 4)",
        "2 (Flatten) | reshape | (5, 32)",
        "output | (5, 4)",
        "weight (2, 1, 3, 3)",
        "bias (2,)",
        "conv2d_bias | 3×3 | (5, 2, 4, 4)",
        "weight (4, 32)",
        "bias (4,)",
        "inner_product_bias | (5, 4)",
    ]
    closed = words(draw(net(), image(), depth=1, show_shapes="boxes").source)
    assert "0 (Conv2d) | 3×3, 20 parameters | (5, 2, 4, 4)" in closed
    assert closed == words(draw(net(), image(), depth=1, show_parameters=False, show_shapes="boxes").source)
    assert "(5, 4)" not in " ".join(words(draw(net(), image(), show_shapes=False).source))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, ""),
        ({"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "kernel_size": (5, 5)}, "5×5"),
        ({"kernel_size": (3, 5), "stride": (2, 2), "padding": (1, 1), "groups": 4}, "3×5, stride 2, pad 1, groups 4"),
        ({"stride": (2, 1), "padding": (1, 1, 2, 2)}, "stride 2, 1, pad 1, 1, 2, 2"),
        ({"ceil_mode": True, "count_include_pad": True, "divisor_override": None}, "ceil mode"),
        ({"dim": (0, 2), "keepdim": True}, "dim 0, 2"),
        ({"y": 0.5}, "y = 0.5"),
        ({"index": (0, "1:", "...")}, "[0, 1:, ...]"),
        ({"relation": "less_equal"}, "less equal"),
        ({"low": 0.0, "high": None}, "low 0"),
        ({"eps": 1e-05}, "eps 1e-05"),
    ],
)
def test_settings_as_a_reader_says_them(settings, text):
    assert settings_text(Node(0, "operation", "any", settings, shapes=[(2,)])) == text


def test_a_sum_over_everything_need_not_say_so():
    assert settings_text(Node(0, "operation", "sum", {"dim": (0, 1), "keepdim": False}, shapes=[()])) == ""


def test_shapes_and_calls_as_a_reader_says_them():
    assert [shape_text(s) for s in [(1, 6), (3,), (), None]] == ["(1, 6)", "(3,)", "scalar", ""]
    assert call_text(Call(1, "conv1", "a.conv1", "Conv2d", 0)) == "conv1 (Conv2d)"
    assert call_text(Call(1, "relu", "relu", "ReLU", 0, repeat=3)) == "relu (ReLU), call 3"
    assert call_text(Call(0, "", "", "LeNet5", None)) == "LeNet5"


def test_arrows_say_which_result_and_which_operand():
    x = tg.ones(2, 3, requires_grad=True)
    first, second = x.exp().unbind(0)
    source = draw(first / second + first).source
    assert '"[0] (3,) as x"' in re.sub(r'" (.*?) "', r'"\1"', source)
    assert '"[1] (3,) as y"' in re.sub(r'" (.*?) "', r'"\1"', source)
    assert source.count("label=") > source.count(" as ")
    assert " as " not in draw(first + second).source  # a sum is the same either way


def test_kinds_differ_by_outline_and_colour():
    w = tg.ones(3, requires_grad=True)
    x, mask = tg.ones(3), tg.ones(3)
    source = draw((w * x).sum() + (w * mask).sum(), names={"w": w, "x": x}).source
    looks = {}
    for line in source.splitlines():
        if re.match(r"\s*n\d+ \[", line):
            look = dict(re.findall(r' (\w+)="?([^" \]]+)', " " + line.partition("> ")[2]))
            looks[words(line)[0].split(" ")[0]] = look
    kinds = [looks[name] for name in ("w", "x", "constant", "multiply", "output")]
    outlines = {tuple(look.get(part) for part in ("shape", "style", "peripheries")) for look in kinds}
    assert len(outlines) == 5, "told apart without colour"
    assert len({look["color"] for look in kinds}) == 5


def test_the_same_network_gives_the_same_text():
    x = tg.ones(1, 1, 32, 32)
    texts = {draw(lenet5(), x).source for _ in range(2)}
    model = lenet5()
    texts |= {draw(model, x).source for _ in range(2)}
    assert len(texts) == 1
    out = model(x).sum()
    assert draw(out).source == draw(out).source


def test_lenet5():
    picture = draw(lenet5(), tg.ones(1, 1, 32, 32))
    assert "LeNet5: 61,706 parameters" in picture.source
    operations = [n.name for n in picture.graph.nodes if n.kind == "operation"]
    assert [operations.count(name) for name in ("conv2d_bias", "inner_product_bias", "tanh", "avg_pool2d")] == [
        2,
        3,
        4,
        2,
    ]
    assert sum(n.kind == "parameter" for n in picture.graph.nodes) == 10


ODD = ['<b>&"bold"</b>', "back\\slash\\N", "line\nbreak", "naïve 例", "{a|b}", "", "<", 'quote"', "n0 -> n1"]


@needs_dot
@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_drawn_as_they_are(name):
    x = tg.ones(2, requires_grad=True)
    picture = draw(x * 2.0, names={name: x}, title=f"of {name}")
    svg = ElementTree.fromstring(picture.rendered("svg"))
    texts = ["".join(t.itertext()).replace("\u00a0", " ").strip() for t in svg.iter("{http://www.w3.org/2000/svg}text")]
    seen = (name or "parameter").replace("\n", " ")
    assert seen in texts
    assert f"of {name}".replace("\n", " ").strip() in texts
    assert len(picture.graph.nodes) == 3
    assert sum(g.get("class") == "node" for g in svg.iter("{http://www.w3.org/2000/svg}g")) == 3


def test_odd_names_are_escaped_in_the_text():
    x = tg.ones(2, requires_grad=True)
    source = draw(x * 2.0, names={ODD[0]: x}).source
    assert "<b>" not in source
    assert "&lt;b&gt;&amp;&quot;bold&quot;&lt;/b&gt;" in source


# --- files


def test_the_text_needs_no_program(no_dot, tmp_path):
    picture = draw(net(), image())
    for name in ("net.dot", "net.gv"):
        assert picture.save(tmp_path / name) == str(tmp_path / name)
        assert (tmp_path / name).read_text(encoding="utf-8") == picture.source
    assert picture.save_picture_if_possible(tmp_path / "other.dot") is True


@pytest.mark.parametrize("ending", ["svg", "png", "pdf", "SVG"])
def test_a_picture_without_the_program_says_how_to_get_it(no_dot, tmp_path, ending):
    picture, path = draw(net(), image()), tmp_path / f"net.{ending}"
    with pytest.raises(GraphvizError) as error:
        picture.save(path)
    for remedy in ("apt install graphviz", "brew install graphviz", "winget install graphviz", ".dot"):
        assert remedy in str(error.value)
    assert picture.save_picture_if_possible(path) is False
    assert os.listdir(tmp_path) == []


def test_jupyter_without_the_program(no_dot):
    shown = draw(net(), image())._repr_mimebundle_()
    assert list(shown) == ["text/plain"]
    assert NO_DOT in shown["text/plain"]


@needs_dot
def test_jupyter_shows_the_drawing():
    assert "<svg" in draw(net(), image())._repr_mimebundle_()["image/svg+xml"]


@needs_dot
@pytest.mark.parametrize(("ending", "start"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_pictures_are_saved_by_their_ending(tmp_path, ending, start):
    picture, path = draw(net(), image()), tmp_path / f"net.{ending}"
    assert picture.save(path) == str(path)
    assert path.read_bytes().startswith(start)
    assert picture.save_picture_if_possible(str(path)) is True
    assert os.listdir(tmp_path) == [f"net.{ending}"]


@needs_dot
def test_the_drawing_shows_every_box():
    svg = draw(net(), image()).rendered("svg").decode()
    for text in ("conv2d", "3×3", "weight", "(5, 2, 4, 4)", "0 (Conv2d)", "Sequential: 152 parameters"):
        assert text.replace(" ", "") in svg.replace("&#160;", "").replace(" ", "")


@needs_dot
def test_what_dot_cannot_draw_leaves_no_file(tmp_path):
    picture = draw(net(), image())
    picture.body.append("\tn1 -> [")
    with pytest.raises(GraphvizError, match="could not draw"):
        picture.save(tmp_path / "net.svg")
    assert os.listdir(tmp_path) == []


def test_an_unknown_ending_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"'\.jpeg'.*\.svg, \.png, \.pdf, \.dot, \.json, \.html, \.onnx"):
        draw(net(), image()).save(tmp_path / "net.jpeg")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="make the folder first"):
        draw(net(), image()).save(tmp_path / "nowhere" / "net.dot")


def test_it_is_a_digraph():
    picture = draw(net(), image())
    assert isinstance(picture, Picture)
    assert isinstance(picture, graphviz.Digraph)
    assert repr(picture.graph) == "Graph('Sequential', 4 operations, 6 values, 5 calls)"


# --- what is refused


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: draw("model", x), OperandError, "got a str; give a Tensor, or a module"),
        (lambda x: draw(x * 2, x), ArgumentError, "a Tensor's history needs none"),
        (lambda x: draw(x * 2, rankdir="down"), ArgumentError, "got rankdir 'down'"),
        (lambda x: draw(x * 2, depth=-1), ArgumentError, "got depth -1"),
        (lambda x: draw(x * 2, depth=True), ArgumentError, "got depth True"),
        (lambda x: draw(x * 2, max_nodes=2), ArgumentError, "would have 3 boxes"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call(tg.ones(2, requires_grad=True))


def test_a_huge_tape_is_refused_with_a_remedy():
    x = tg.ones(1, requires_grad=True)
    for _ in range(5_000):
        x = x * 1.0
    with pytest.raises(ArgumentError, match=r"5,002 boxes.*max_nodes=3,000.*depth=1"):
        draw(x)


def test_a_dot_that_stops_reading_is_an_error_of_dot(tmp_path, monkeypatch):
    """The text is longer than a pipe holds, so it is still being written when the program ends; nothing is left behind."""
    program = tmp_path / "dot"
    program.write_text("#!/bin/sh\necho out of order >&2\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    picture = draw(nn.Sequential(*[nn.Linear(4, 4) for _ in range(400)]), tg.zeros(1, 4))
    assert len(picture.source) > 1 << 16
    with pytest.raises(GraphvizError, match="out of order"):
        picture.save(tmp_path / "deep.svg")
    assert not (tmp_path / "deep.svg").exists()
