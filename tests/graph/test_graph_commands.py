"""`tensorgrad graph` and `tensorgrad summary`: options, files, failures, exit statuses."""

import csv
import io
import json
import os

import pytest

from tensorgrad import cli
from tensorgrad.commands.networks import input_size
from tensorgrad.models import list_models


def run(capsys, *arguments):
    """Exit status, output, complaints."""
    status = cli.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (["--depth", "1"], ["features (Sequential)", "2,572 parameters"]),
        (["--depth", "layers", "--costs"], ["0 (Conv2d)", "MACs"]),
        (["--backward", "--fold"], ["conv2d_bias backward", "saved for backward", "features.0.weight.grad"]),
        (["--passes", "gradients", "--no-parameters"], ["inner_product"]),
        (["--around", "classifier.1", "--steps", "0"], ["classifier.1.weight"]),
        (["--color-by", "macs", "--size-by", "macs", "--dark"], ["#16181D", "from 70 % of"]),
        (["--statistics"], ["zeros", "grad "]),
        (["--time", "1", "--costs"], ["µs"]),
        (["--horizontal", "--shapes", "none", "--title", "mine"], ["rankdir=LR", "<B>mine</B>"]),
        (["--input", "2x1x32x32", "--train"], ["(2, 1, 32, 32)"]),
    ],
)
def test_graph_options(options, texts, tmp_path, capsys):
    status, out, _ = run(capsys, "graph", "lenet5", "-o", tmp_path / "x.dot", *options)
    assert (status, out) == (0, f"{tmp_path / 'x.dot'}\n")
    source = (tmp_path / "x.dot").read_text(encoding="utf-8")
    for text in texts:
        assert text in source or text.rpartition(".")[2] in source, text


def test_graph_as_data_and_as_a_page(tmp_path, capsys):
    assert run(capsys, "graph", "lenet5", "-o", tmp_path / "x.json")[0] == 0
    assert json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))["title"] == "LeNet5"
    assert run(capsys, "graph", "lenet5", "-o", tmp_path / "x.html")[0] == 0
    assert "<!DOCTYPE html>" in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_graph_as_onnx(tmp_path, capsys):
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed: the extra onnx")
    assert run(capsys, "graph", "lenet5", "-o", tmp_path / "x.onnx")[0] == 0
    onnx.checker.check_model(str(tmp_path / "x.onnx"))
    weights = onnx.numpy_helper.to_array(onnx.load(tmp_path / "x.onnx").graph.initializer[0])
    assert weights.std() > 0, "of a network with its own weights, not of one for sizes alone"


def test_a_network_that_fails_is_drawn_up_to_there(tmp_path, capsys):
    status, out, err = run(capsys, "graph", "lenet5", "-o", tmp_path / "x.dot", "--input", "1x1x30x30")
    assert status == 2
    assert out == f"{tmp_path / 'x.dot'}\n"
    assert "fails on this input, where it is red: linear" in err
    assert "linear failed" in (tmp_path / "x.dot").read_text(encoding="utf-8")
    status, _, err = run(capsys, "graph", "lenet5", "-o", tmp_path / "x.onnx", "--input", "1x1x30x30")
    assert (status, os.listdir(tmp_path)) == (2, ["x.dot"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["graph", "lenet5", "-o", "x.gif"], "'.gif'"),
        (["graph", "lenet5", "-o", "nowhere/x.dot"], "make the folder first"),
        (["graph", "lenet5", "-o", "x.dot", "--color-by", "taste"], "got color_by 'taste'"),
        (["graph", "lenet5", "-o", "x.dot", "--around", "nothing"], "nothing in the graph is called 'nothing'"),
        (["summary", "lenet5", "--sort", "taste"], "got the column 'taste'"),
        (["summary", "lenet5", "-o", "x.doc"], "'.doc'; it can write .csv"),
        (["summary", "lenet5", "--input", "1x1x30x30"], "linear: got an input of shape (1, 256)"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_no_file(arguments, text, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("tensorgrad: ") and text in err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["graph", "lenet6"], "invalid choice: 'lenet6' (choose from"),
        (["summary", "lenet6"], "invalid choice: 'lenet6' (choose from"),
        (["graph", "lenet5", "--depth", "-1"], "whole number"),
        (["graph", "lenet5", "--input", "big"], "sizes such as 1x3x224x224"),
        (["graph", "lenet5", "--backward", "--passes", "both"], "not allowed with"),
    ],
)
def test_wrong_options(arguments, text, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert text in capsys.readouterr().err


def test_a_network_that_needs_arguments_says_so(capsys):
    if "gcn" not in list_models():
        pytest.skip("there is no network that needs arguments")
    status, _, err = run(capsys, "summary", "gcn")
    assert status == 2
    assert "needs arguments" in err and "get_model('gcn', ...)" in err


def test_summary_formats(tmp_path, capsys):
    status, out, _ = run(capsys, "summary", "lenet5")
    assert status == 0
    assert "61,706 parameters" in out and "117,600" in out and "MACs" in out
    rows = list(csv.DictReader(io.StringIO(run(capsys, "summary", "lenet5", "--format", "csv")[1])))
    assert (rows[-1]["layer"], rows[-1]["macs"]) == ("total", "416520")
    assert run(capsys, "summary", "lenet5", "--format", "md")[1].startswith("**LeNet5 on (1, 1, 32, 32)**")
    assert run(capsys, "summary", "lenet5", "--format", "html")[1].startswith("<!DOCTYPE html>")
    assert run(capsys, "summary", "lenet5", "-o", tmp_path / "t.md")[1] == f"{tmp_path / 't.md'}\n"
    assert (tmp_path / "t.md").read_text(encoding="utf-8").startswith("**LeNet5")


def test_summary_options(capsys):
    out = run(
        capsys, "summary", "lenet5", "--depth", "1", "--columns", "layer,macs", "--sort", "macs", "--format", "csv"
    )[1]
    assert out.splitlines() == ["layer,macs", "features,357600", "classifier,58920", "x,0", "total,416520"]
    out = run(capsys, "summary", "lenet5", "--all", "--time", "1", "--format", "csv")[1].splitlines()
    assert len(out) == 15
    assert out[0].endswith("seconds,backward_seconds")


def test_inputs_are_those_the_networks_are_made_for():
    assert {input_size(name) for name in list_models()} >= {(1, 32, 32), (3, 224, 224)}
    assert input_size("resnet50") == (3, 224, 224)
    assert input_size("resnet56") == input_size("plain20") == (3, 32, 32)
    assert input_size("inception_v3") == (3, 299, 299)


def test_help_is_quick_and_names_the_commands(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    said = capsys.readouterr().out
    assert "graph" in said and "summary" in said
