"""Pictures of graphs: drawn by Graphviz, saved by the file's ending, shown in Jupyter."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import graphviz

from tensorgrad.errors import ArgumentError, OperandError, TensorgradError
from tensorgrad.graph.dot import write_dot
from tensorgrad.graph.structure import Graph
from tensorgrad.graph.trace import read_tape, watch
from tensorgrad.graph.view import View
from tensorgrad.io.atomic import replacing
from tensorgrad.tensor import Tensor

PICTURES = ("svg", "png", "pdf")
TEXTS = ("", "dot", "gv")

NO_DOT = (
    "a picture needs Graphviz's program `dot`, which is not on this machine's PATH; install it (Debian and Ubuntu: apt install "
    "graphviz, macOS: brew install graphviz, Windows: winget install graphviz), or save the graph as a .dot file, which needs no "
    "program"
)


class GraphvizError(TensorgradError, RuntimeError):
    """Graphviz's program `dot` is missing, or could not draw."""


class Picture(graphviz.Digraph):
    """A drawn graph: a graphviz.Digraph that saves itself by the file's ending and shows itself in Jupyter.

    `.source` is its DOT text, `.graph` the typed graph that it shows.
    """

    graph: Graph

    def save(self, filename: Any = None, directory: Any = None, *, skip_existing: bool | None = False) -> str:
        """Write it to a file: .svg, .png or .pdf, or .dot (or .gv) for its text; returns the path.

        Raises GraphvizError where a picture needs the program `dot` and there is none, ArgumentError for another ending.
        Nothing is left half-written.
        """
        path = Path(directory or "", self.filename if filename is None else os.fspath(filename))
        ending = _ending(path)
        if ending not in (*PICTURES, *TEXTS):
            known = ", ".join(f".{name}" for name in (*PICTURES, "dot"))
            raise ArgumentError(f"Picture.save: got the ending {path.suffix!r} of {str(path)!r}; it can write {known}")
        if not (skip_existing and path.exists()):
            content = self.rendered(ending) if ending in PICTURES else self.source.encode()
            with replacing(path) as draft:
                draft.write_bytes(content)
        return str(path)

    def rendered(self, ending: str = "svg") -> bytes:
        """The bytes of an SVG, PNG or PDF file."""
        drawing = self.copy()
        if ending == "png":
            drawing.graph_attr["dpi"] = "144"  # sharp on today's screens
        try:
            # in one piece: Digraph.pipe writes line by line, and where dot stops reading it leaves the process behind
            content: bytes = graphviz.pipe(drawing.engine, ending, drawing.source.encode(), quiet=True)
        except graphviz.ExecutableNotFound:
            raise GraphvizError(f"Picture: {NO_DOT}") from None
        except graphviz.CalledProcessError as error:
            said = (error.stderr or b"").decode(errors="replace").strip()
            raise GraphvizError(f"Picture: dot could not draw it as {ending}: {said}") from error
        return content

    def save_picture_if_possible(self, path: Any) -> bool:
        """As save, and True; but False, with nothing written, where `dot` is missing (`NO_DOT` says how to get it)."""
        if _ending(Path(path)) in PICTURES and not dot_is_here():
            return False
        self.save(path)
        return True

    def _repr_mimebundle_(
        self, include: Iterable[str] | None = None, exclude: Iterable[str] | None = None, **_: Any
    ) -> dict[str, str]:
        """For Jupyter: the SVG; without `dot` a text that says how to see it."""
        if not dot_is_here():
            return {"text/plain": f"{self.graph!r}: {NO_DOT}"}
        return {"image/svg+xml": self.rendered("svg").decode(), "text/plain": repr(self.graph)}


def dot_is_here() -> bool:
    """Whether Graphviz's program `dot` is there and works."""
    try:
        graphviz.version()
    except (graphviz.ExecutableNotFound, graphviz.CalledProcessError):
        return False
    return True


def _ending(path: Path) -> str:
    return path.suffix.lower().lstrip(".")


def draw(
    output_or_model: Any,
    *inputs: Any,
    names: Mapping[str, Tensor] | None = None,
    title: str | None = None,
    rankdir: str = "TB",
    show_shapes: bool = True,
    show_parameters: bool = True,
    show_plumbing: bool = False,
    depth: int | None = None,
    max_nodes: int = 3000,
) -> Picture:
    """Draw how a result was computed, or what a model computes.

    output_or_model  a Tensor, or a list of them: what was recorded behind it is drawn, that is, what gradients flow through.
                     A module (or any function of Tensors) with example inputs: it is run once and drawn whole, also what
                     needs no gradient; it is left as it was.
    names            names for Tensors: {"w": w}
    title            above the picture; by default the model's class, and how many parameters took part
    rankdir          which way it runs: "TB" down, "LR" to the right, "BT" up, "RL" to the left
    show_shapes      the shapes of results
    show_parameters  parameters, buffers and constants
    show_plumbing    also what only renames or reorders memory: identities, views of parameters, views that nobody uses
    depth            open modules only so deep: 0 draws the outermost module as one box, 1 the modules in it as boxes, ...
    max_nodes        refuse to draw more boxes than this

    >>> import tensorgrad
    >>> x = tensorgrad.tensor(2.0, requires_grad=True)
    >>> picture = draw(x * x, names={"x": x})
    >>> picture.graph
    Graph(1 operations, 2 values, 0 calls)
    >>> picture.source.startswith("digraph")
    True
    """
    if isinstance(output_or_model, (Tensor, list, tuple)):
        if inputs:
            raise ArgumentError(
                "draw: got a Tensor and inputs; a Tensor's history needs none, a model does: draw(model, x)"
            )
        graph = read_tape(output_or_model, names)
    elif callable(output_or_model):
        graph = watch(output_or_model, *inputs, names=names)
    else:
        raise OperandError(
            f"draw: got a {type(output_or_model).__name__}; give a Tensor, or a module and example inputs"
        )
    return picture_of(
        graph,
        title=title,
        rankdir=rankdir,
        show_shapes=show_shapes,
        show_parameters=show_parameters,
        show_plumbing=show_plumbing,
        depth=depth,
        max_nodes=max_nodes,
    )


def picture_of(
    graph: Graph,
    *,
    title: str | None = None,
    rankdir: str = "TB",
    show_shapes: bool = True,
    show_parameters: bool = True,
    show_plumbing: bool = False,
    depth: int | None = None,
    max_nodes: int = 3000,
) -> Picture:
    """Draw a graph; the arguments are those of `draw`."""
    if rankdir not in ("TB", "BT", "LR", "RL"):
        raise ArgumentError(f"draw: got rankdir {rankdir!r}; it is 'TB', 'BT', 'LR' or 'RL'")
    if depth is not None and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
        raise ArgumentError(f"draw: got depth {depth!r}; it is 0 or more, or None to open every module")
    view = View(graph, parameters=show_parameters, plumbing=show_plumbing, depth=depth)
    if len(view.boxes) > max_nodes:
        raise ArgumentError(
            f"draw: the picture would have {len(view.boxes):,} boxes, more than can be read (max_nodes={max_nodes:,}); close modules "
            "with depth=1, leave parameters out with show_parameters=False, or draw a part"
        )
    if title is None and graph.title:
        title = f"{graph.title}: {graph.number_of_parameters():,} parameters"
    picture = Picture(name=graph.title or "graph")
    picture.graph = graph
    write_dot(picture, view, title or "", rankdir, show_shapes)
    return picture
