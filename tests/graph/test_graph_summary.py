"""The table of a network: the lectures' figures, columns, sorting, depth, and every way to write it."""

import csv
import io
import xml.etree.ElementTree as ElementTree

import pytest
from graph_networks import SmallNet

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.errors import ArgumentError
from tensorgrad.graph.summary import COLUMNS, summary
from tensorgrad.models import lenet5

# (values, weights) of each layer as the lectures print them
VGG16 = [
    (150_528, 0),
    (3_211_264, 1_728),
    (3_211_264, 36_864),
    (802_816, 0),
    (1_605_632, 73_728),
    (1_605_632, 147_456),
    (401_408, 0),
    (802_816, 294_912),
    (802_816, 589_824),
    (802_816, 589_824),
    (200_704, 0),
    (401_408, 1_179_648),
    (401_408, 2_359_296),
    (401_408, 2_359_296),
    (100_352, 0),
    (100_352, 2_359_296),
    (100_352, 2_359_296),
    (100_352, 2_359_296),
    (25_088, 0),
    (4_096, 102_760_448),
    (4_096, 16_777_216),
    (1_000, 4_096_000),
]


def table(**options):
    return summary(lenet5(), tg.zeros(1, 1, 32, 32), **options)


@pytest.mark.slow
def test_the_table_of_the_lectures(capsys):
    from tensorgrad import cli

    assert cli.main(["summary", "vgg16", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(int(row["values"]), int(row["weights"])) for row in rows[:-1]] == VGG16
    total = rows[-1]
    assert int(total["values"]) == 15_237_608
    assert int(total["weights"]) + int(total["biases"]) == 138_357_544
    assert int(total["weights"]) == 138_344_128


def test_lenet5():
    rows = {row.layer: row.cost for row in table().rows}
    assert list(rows) == [
        "x",
        "features.0",
        "features.2",
        "features.3",
        "features.5",
        "classifier.1",
        "classifier.3",
        "classifier.5",
    ]
    assert [cost.parameters for cost in rows.values()] == [0, 156, 0, 2_416, 0, 48_120, 10_164, 850]
    assert [cost.values for cost in rows.values()] == [1024, 4704, 1176, 1600, 400, 120, 84, 10]
    assert table().left_out == 5
    assert len(table(all_rows=True).rows) == 13


def test_functional_calls_and_reuse_are_rows_too():
    rows = {row.layer: row for row in summary(SmallNet(1), tg.zeros(1, 3, 8, 8), all_rows=True).rows}
    assert "stage.0: add" in rows and "inception: concatenate" in rows
    assert "stage.0.relu, call 2" in rows
    shared = nn.Linear(4, 4)
    twice = summary(nn.Sequential(shared, nn.Tanh(), shared), tg.ones(1, 4))
    assert [(row.layer, row.cost.parameters, row.cost.macs) for row in twice.rows] == [
        ("input", 0, 0),
        ("0", 20, 16),
        ("0, call 2", 0, 16),
    ]


def test_parameters_of_no_layer_go_where_they_are_used():
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(tg.ones(3))

        def forward(self, x):
            return x * self.factor + 1.0

    result = summary(Scale(), tg.ones(2, 3))
    assert result.total.parameters == sum(row.cost.parameters for row in result.rows) == 3


@pytest.mark.parametrize("depth", [0, 1, 2, "layers"])
def test_every_depth_has_the_same_totals(depth):
    result = table(depth=depth, all_rows=True)
    assert result.total == table().total
    assert len(result.rows) == {0: 2, 1: 3, 2: 13, "layers": 13}[depth]


def test_columns_and_sorting():
    result = table(columns=("layer", "macs", "field"), sort="macs")
    assert result.headings() == ["layer", "MACs", "receptive field"]
    amounts = [row[1] for row in result.cells()]
    assert amounts == sorted(amounts, reverse=True) and amounts[0] == 240_000
    assert [row.layer for row in table(sort="layer").rows] == sorted(row.layer for row in table().rows)
    assert len(table(columns=tuple(COLUMNS)).csv().splitlines()) == 10
    with pytest.raises(ArgumentError, match="got the column 'taste'; there are layer"):
        table(columns=("taste",))
    with pytest.raises(ArgumentError, match="got depth -1"):
        table(depth=-1)


def test_macs_and_flops_are_always_told_apart():
    for text in (str(table()), table().markdown(), table().html()):
        assert "416,520 MACs (multiply-accumulates" in text and "FLOPs in all (2 a MAC" in text


def test_plain_text():
    lines = str(table()).splitlines()
    assert lines[0] == "LeNet5 on (1, 1, 32, 32)"
    assert lines[5].split() == [
        "features.0",
        "Conv2d",
        "5×5",
        "(1,",
        "6,",
        "28,",
        "28)",
        "4,704",
        "150",
        "6",
        "117,600",
    ]
    assert any(line.split() == ["total", "9,118", "61,470", "236", "416,520"] for line in lines)
    numbers = [line for line in lines if line.startswith(("features", "total"))]
    assert len({len(line) for line in numbers}) == 1, "numbers stand under one another"


def test_rich_text():
    pytest.importorskip("rich", reason="the package rich is not installed: the extra viz")
    text = table().text(rich=True)
    assert "117,600" in text and "416,520" in text and "─" in text
    assert table().text() == text
    assert max(map(len, table().text(rich=True, width=60).splitlines())) <= 60


def test_without_rich_it_is_plain(monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "rich" else find(name, *rest))
    assert table().text() == str(table())


def test_csv_markdown_and_html(tmp_path):
    rows = list(csv.reader(io.StringIO(table().csv())))
    assert rows[0] == ["layer", "kind", "output", "values", "weights", "biases", "macs"]
    assert rows[2] == ["features.0", "Conv2d 5×5", "(1, 6, 28, 28)", "4704", "150", "6", "117600"]
    markdown = table().markdown().splitlines()
    assert markdown[3] == "| --- | --- | --- | ---: | ---: | ---: | ---: |"
    assert all(line.count("|") == 8 for line in markdown[2:13])
    page = ElementTree.fromstring(table().html().split("\n", 1)[1].replace('<meta charset="utf-8">', ""))
    assert len(page.findall(".//tbody/tr")) == 8
    for ending, start in ((".csv", "layer,"), (".md", "**LeNet5"), (".html", "<!DOCTYPE"), (".txt", "LeNet5")):
        assert table().save(tmp_path / f"t{ending}") == str(tmp_path / f"t{ending}")
        assert (tmp_path / f"t{ending}").read_text(encoding="utf-8").startswith(start)
    with pytest.raises(ArgumentError, match=r"'\.xls'; it can write \.csv"):
        table().save(tmp_path / "t.xls")


def test_odd_names_are_escaped():
    class Odd(nn.Module):
        def forward(self, x):
            return x * 2.0

    Odd.__name__ = "<b>&|"
    model = nn.Sequential(Odd())
    result = summary(model, tg.ones(1, 2), depth=1, all_rows=True)
    assert "<b>&" not in result.html()
    assert "&|" not in result.markdown().replace("\\|", "")


def test_notes_say_what_is_frozen_and_unused_and_how_long_it_took():
    model = nn.Sequential(nn.Linear(4, 4).requires_grad_(False), nn.Linear(4, 2))
    model.other = nn.Linear(10, 10)
    model.forward = lambda x: model[1](model[0](x))
    notes = "\n".join(summary(model, tg.ones(1, 4), repeats=1).notes())
    assert "20 of them frozen" in notes
    assert "110 more took no part" in notes
    assert "time: forward" in notes
