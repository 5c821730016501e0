"""`draw`: from a result or a model to a picture, by way of the graph and what the reader wants to see of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from tensorgrad.errors import ArgumentError, OperandError
from tensorgrad.graph.backward import backward_only, with_backward
from tensorgrad.graph.costs import Cost
from tensorgrad.graph.dot import Style, write_dot
from tensorgrad.graph.looks import THEMES
from tensorgrad.graph.picture import Picture
from tensorgrad.graph.repeats import fold as fold_repeats
from tensorgrad.graph.select import around as graph_around
from tensorgrad.graph.select import gradient_path
from tensorgrad.graph.structure import Graph
from tensorgrad.graph.tape import read_tape
from tensorgrad.graph.texts import count_text
from tensorgrad.graph.trace import watch
from tensorgrad.graph.view import View
from tensorgrad.tensor import Tensor

Depth = int | Literal["layers"] | None

#: What a box can be coloured or sized by.
COSTS = tuple(part.name for part in fields(Cost))


def draw(
    output_or_model: Any,
    *inputs: Any,
    keywords: Mapping[str, Any] | None = None,
    names: Mapping[str, Tensor] | None = None,
    loss: Callable[[Any], Tensor] | None = None,
    statistics: bool = False,
    repeats: int = 0,
    failure: str = "raise",
    **options: Any,
) -> Picture:
    """Draw how a result was computed, or what a model computes.

    output_or_model  a Tensor, or a list of them: what was recorded behind it is drawn, that is, what gradients flow through.
                     A module (or any function of Tensors) with example inputs: it is run once and drawn whole, also what
                     needs no gradient; it is left as it was.
    keywords         arguments by name for the model
    names            names for Tensors: {"w": w}
    loss             a function applied to what the model returns: then the graph is that of a training step
    statistics       figures about every value, and about its gradient: mean, std, zeros, nan (of a run only)
    repeats          measure the time of every operation, the fastest of so many repetitions (of a run only)
    failure          'raise' passes on an error of the run, with the graph up to there as its attribute `graph`; 'draw' draws
                     that graph, with the operation that failed in red
    options          how it is drawn: those of `picture_of`

    >>> import tensorgrad
    >>> x = tensorgrad.tensor(2.0, requires_grad=True)
    >>> picture = draw(x * x, names={"x": x})
    >>> picture.graph
    Graph(1 operations, 2 values, 0 calls)
    >>> picture.source.startswith("digraph")
    True
    """
    if failure not in ("raise", "draw"):
        raise ArgumentError(f"draw: got failure {failure!r}; it is 'raise' or 'draw'")
    if isinstance(output_or_model, (Tensor, list, tuple)):
        if inputs or keywords:
            raise ArgumentError(
                "draw: got a Tensor and inputs; a Tensor's history needs none, a model does: draw(model, x)"
            )
        if statistics or repeats or loss is not None:
            raise ArgumentError(
                "draw: statistics, repeats and loss are for runs, which draw(model, x) makes; a recorded history holds no results"
            )
        return picture_of(read_tape(output_or_model, names), **options)
    if not callable(output_or_model):
        raise OperandError(
            f"draw: got a {type(output_or_model).__name__}; give a Tensor, or a module and example inputs"
        )
    try:
        graph = watch(
            output_or_model, *inputs, keywords=keywords, names=names, loss=loss, statistics=statistics, repeats=repeats
        )
    except Exception as error:
        seen: Graph | None = getattr(error, "graph", None)
        if failure == "raise" or seen is None:
            raise
        graph = seen
    picture = picture_of(graph, statistics=statistics, **options)
    picture.export = _exporter(output_or_model, inputs, keywords)
    return picture


def _exporter(function: Any, inputs: tuple[Any, ...], keywords: Mapping[str, Any] | None) -> Callable[[Path], None]:
    def export(path: Path) -> None:
        from tensorgrad.graph.onnx_file import export_onnx

        export_onnx(function, *inputs, path=path, keywords=keywords)

    return export


def picture_of(
    graph: Graph,
    *,
    title: str | None = None,
    rankdir: str = "TB",
    show_shapes: bool | str = True,
    show_parameters: bool = True,
    show_plumbing: bool = False,
    depth: Depth = None,
    close_layers: bool = False,
    passes: str = "forward",
    around: str | None = None,
    steps: int = 1,
    fold: bool = False,
    costs: bool = False,
    color_by: str | None = None,
    size_by: str | None = None,
    statistics: bool = False,
    theme: str = "light",
    legend: bool | None = None,
    max_nodes: int = 3000,
) -> Picture:
    """Draw a graph.

    title            above the picture; by default the model's class, and how many parameters took part
    rankdir          which way it runs: "TB" down, "LR" to the right, "BT" up, "RL" to the left
    show_shapes      the shapes of what flows: True or 'edges' on the arrows, 'boxes' in the boxes, False nowhere
    show_parameters  parameters, buffers and constants
    show_plumbing    also what only renames or reorders memory: identities, views of parameters, views that nobody uses
    depth            open modules only so deep: 0 draws the outermost module as one box, 1 the modules in it as boxes, ...;
                     'layers' closes the innermost modules only
    close_layers     close the innermost modules, whatever their level
    passes           'forward', 'backward', 'both' with what is saved linking them, or 'gradients': of forward only that
                     through which gradients flow
    around, steps    only what bears this name, and what is at most so many arrows away
    fold             draw blocks that repeat once, with how often
    costs            parameters, MACs, memory and time in every box
    color_by, size_by  colour or size of a box by one of its costs ('macs', 'parameters', 'kept', ...); colour also by
                     'gradient', the size of the gradients in a graph with statistics
    statistics       figures about values and gradients in every box
    theme            'light' or 'dark'
    legend           what the boxes mean, below the title; by default where there is more than forward to explain
    max_nodes        refuse to draw more boxes than this
    """
    _check_options(rankdir, depth, passes, color_by, size_by, theme)
    _check_shapes(show_shapes)
    shown = graph
    if passes == "gradients":
        shown = gradient_path(shown)
    if fold:
        shown = fold_repeats(shown)
    if passes in ("backward", "both"):
        shown = backward_only(shown) if passes == "backward" else with_backward(shown)
    if around is not None:
        shown = graph_around(shown, around, steps)
    view = View(shown, parameters=show_parameters, plumbing=show_plumbing, depth=depth, close_layers=close_layers)
    if len(view.boxes) > max_nodes:
        raise ArgumentError(
            f"draw: the picture would have {len(view.boxes):,} boxes, more than can be read (max_nodes={max_nodes:,}); close modules "
            "with depth=1, fold repeats with fold=True, leave parameters out with show_parameters=False, or draw a part"
        )
    if legend is None:
        legend = passes in ("backward", "both") or color_by is not None or graph.failure() is not None
    style = Style(
        rankdir=rankdir,
        shapes="edges" if show_shapes is True else show_shapes or "",
        theme=THEMES[theme],
        costs=costs,
        color_by=color_by,
        size_by=size_by,
        statistics=statistics,
        legend=legend,
    )
    picture = Picture(name=graph.title or "graph")
    picture.graph, picture.dark = shown, theme == "dark"
    picture.whole = with_backward(graph) if passes in ("backward", "both") else graph
    write_dot(picture, view, _title(graph, costs) if title is None else title, style)
    return picture


def _title(graph: Graph, costs: bool) -> str:
    if not graph.title:
        return ""
    title = f"{graph.title}: {graph.number_of_parameters():,} parameters"
    macs = sum(node.cost.macs for node in graph.nodes if node.cost is not None)
    return f"{title}, {count_text(macs)} MACs" if costs and macs else title


def _check_options(
    rankdir: str, depth: Depth, passes: str, color_by: str | None, size_by: str | None, theme: str
) -> None:
    if rankdir not in ("TB", "BT", "LR", "RL"):
        raise ArgumentError(f"draw: got rankdir {rankdir!r}; it is 'TB', 'BT', 'LR' or 'RL'")
    number = isinstance(depth, int) and not isinstance(depth, bool) and depth >= 0
    if depth is not None and depth != "layers" and not number:
        raise ArgumentError(f"draw: got depth {depth!r}; it is 0 or more, 'layers', or None to open every module")
    if passes not in ("forward", "backward", "both", "gradients"):
        raise ArgumentError(f"draw: got passes {passes!r}; it is 'forward', 'backward', 'both' or 'gradients'")
    if theme not in THEMES:
        raise ArgumentError(f"draw: got theme {theme!r}; it is 'light' or 'dark'")
    for option, what, more in (("color_by", color_by, ("gradient",)), ("size_by", size_by, ())):
        if what is not None and what not in (*COSTS, *more):
            raise ArgumentError(f"draw: got {option} {what!r}; there are {', '.join((*COSTS, *more))}")


def _check_shapes(show_shapes: bool | str) -> None:
    if show_shapes not in (True, False, "edges", "boxes"):
        raise ArgumentError(f"draw: got show_shapes {show_shapes!r}; it is True, False, 'edges' or 'boxes'")
