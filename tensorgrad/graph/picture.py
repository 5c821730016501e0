"""Pictures of graphs, laid out by Graphviz.

An operation is a box with its settings and the shape of its result; parameters, inputs, constants and results have other
outlines and colours (Okabe and Ito's, which colour-blind people tell apart; the outlines alone tell them apart in print).
A call of a module is a frame around what happened in it.
"""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import graphviz

from tensorgrad.errors import ArgumentError, OperandError, TensorgradError
from tensorgrad.graph.structure import Call, Graph, Node, Shape
from tensorgrad.graph.trace import read_tape, watch
from tensorgrad.graph.view import VALUES, Arrow, Box, View
from tensorgrad.tensor import Tensor

FONT = "Helvetica,Arial,sans-serif"
INK, GREY, LINE, FRAME = "#1A1A1A", "#595959", "#404040", "#8C8C8C"

# Dark outlines on light tints, black text: legible in grey too, where the outline tells what a box is.
LOOKS: dict[str, dict[str, str]] = {
    "operation": {"shape": "box", "style": "filled", "color": "#0072B2", "fillcolor": "#EAF4FB"},
    "module": {"shape": "box", "style": "filled", "color": "#0072B2", "fillcolor": "#D6EAF7", "penwidth": "2"},
    "input": {"shape": "box", "style": "filled,rounded", "color": "#009E73", "fillcolor": "#DDF3EB", "penwidth": "2"},
    "output": {"shape": "box", "style": "filled,rounded", "color": "#D55E00", "fillcolor": "#FBE6D9", "penwidth": "2"},
    "parameter": {"shape": "ellipse", "style": "filled", "color": "#E69F00", "fillcolor": "#FDF3DC", "margin": "0.02"},
    "buffer": {
        "shape": "ellipse",
        "style": "filled,dashed",
        "color": "#CC79A7",
        "fillcolor": "#FAEEF4",
        "margin": "0.02",
    },
    "constant": {
        "shape": "ellipse",
        "style": "filled,dotted",
        "color": "#595959",
        "fillcolor": "#F5F5F5",
        "margin": "0.02",
    },
}

PICTURES = ("svg", "png", "pdf")
TEXTS = ("", "dot", "gv")

# settings at which an operation does nothing special, and that a box need not say
USUAL = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "value": 0, "count_include_pad": True}
COMMUTATIVE = ("add", "multiply", "maximum", "minimum", "logical")

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
            _write(path, self.rendered(ending) if ending in PICTURES else self.source.encode())
        return str(path)

    def rendered(self, ending: str = "svg") -> bytes:
        """The bytes of an SVG, PNG or PDF file."""
        drawing = self.copy()
        if ending == "png":
            drawing.graph_attr["dpi"] = "144"  # sharp on today's screens
        try:
            content: bytes = drawing.pipe(format=ending)
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
    """Whether Graphviz's program `dot` can be started."""
    try:
        graphviz.version()
    except graphviz.ExecutableNotFound:
        return False
    return True


def _ending(path: Path) -> str:
    return path.suffix.lower().lstrip(".")


def _write(path: Path, content: bytes) -> None:
    """The file, whole or not at all."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(part, 0o666 & ~umask)  # as open() would have made it
        os.replace(part, path)
    except BaseException:
        os.unlink(part)
        raise


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
    title            above the picture; the model's class and number of parameters by default
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
    return _drawn(view, title or "", rankdir, show_shapes)


def _drawn(view: View, title: str, rankdir: str, shapes: bool) -> Picture:
    """The DOT text of a view."""
    picture = Picture(
        name=view.graph.title or "graph",
        graph_attr={
            "rankdir": rankdir,
            "bgcolor": "white",
            "fontname": FONT,
            "fontcolor": INK,
            "nodesep": "0.3",
            "ranksep": "0.35",
            "pad": "0.2",
        },
        node_attr={"fontname": FONT, "fontsize": "12", "fontcolor": INK, "height": "0.3", "margin": "0.12,0.06"},
        edge_attr={"fontname": FONT, "fontsize": "9", "fontcolor": GREY, "color": LINE, "arrowsize": "0.7"},
    )
    picture.graph = view.graph
    if title:
        picture.graph_attr.update(label=_html(_bold(title)), labelloc="t", fontsize="14")
    frames: dict[int | None, Any] = {None: picture}
    for call in view.frames:
        frames[call.number] = graphviz.Digraph(name=f"cluster_{call.number}", graph_attr=_frame_look(call, rankdir))
    for key, box in view.boxes.items():
        lines = _box_lines(view.graph, box, shapes)
        frames.get(box.frame, picture).node(
            _name(key), _html(*lines), tooltip=html.escape(_tooltip(box)), **LOOKS[box.kind]
        )
    for call in reversed(
        view.frames
    ):  # inner frames come after outer ones; a frame is put in its place when it is full
        frames.get(call.outer, picture).subgraph(frames[call.number])
    operands = _operands(view)
    for arrow in view.arrows:
        picture.edge(_name(arrow.tail), _name(arrow.head), **_arrow_look(view, arrow, operands, shapes))
    return picture


def _side_by_side(view: View) -> list[list[int]]:
    """The operations with the parameters that stand beside them instead of above: those used nowhere before, in one frame."""
    groups: dict[int, list[int]] = {}
    placed: set[int] = set()
    for arrow in view.arrows:
        tail, head = view.boxes[arrow.tail], view.boxes[arrow.head]
        if tail.kind in VALUES and arrow.tail not in placed:
            placed.add(arrow.tail)
            if tail.frame == head.frame:
                groups.setdefault(arrow.head, [arrow.head]).append(arrow.tail)
    return list(groups.values())


def _name(key: int) -> str:
    return f"n{key}" if key >= 0 else f"m{-1 - key}"


# texts, in Graphviz's HTML: everything that comes from outside goes through html.escape


def _html(*lines: str) -> str:
    return f"<{'<BR/>'.join(line for line in lines if line)}>"


def _bold(text: str) -> str:
    return f"<B>{html.escape(text)}</B>" if text else ""


def _small(text: str) -> str:
    return f'<FONT POINT-SIZE="10" COLOR="{GREY}">{html.escape(text)}</FONT>' if text else ""


def _plain(text: str) -> str:
    return f'<FONT POINT-SIZE="10">{html.escape(text)}</FONT>' if text else ""


def shape_text(shape: Shape | None) -> str:
    """A shape as Python writes it, (1, 6, 28, 28), but 'scalar' for (); nothing for an unknown one."""
    if shape is None:
        return ""
    return str(shape) if shape else "scalar"


def call_text(call: Call) -> str:
    """A call as its frame is labelled: conv1 (Conv2d)."""
    text = f"{call.name} ({call.kind})" if call.name and call.name != call.kind else call.kind
    return text if call.repeat == 1 else f"{text}, call {call.repeat}"


def settings_text(node: Node) -> str:
    """What a reader wants to know of an operation's settings: 5×5, stride 2, pad 1."""
    said = []
    for name, value in sorted(node.settings.items(), key=lambda item: item[0] != "kernel_size"):
        if name == "dim" and node.shape == ():
            continue  # over all there is
        text = _setting(name, value)
        if text:
            said.append(text)
    return ", ".join(said)


def _setting(name: str, value: Any) -> str:
    if isinstance(value, tuple) and name in ("kernel_size", "stride", "padding", "dilation"):
        if name == "kernel_size":
            return "×".join(map(str, value))
        value = value[0] if len(set(value)) == 1 else value
    if value is None or value is False or (name in USUAL and USUAL[name] == value) or name in ("shape", "input_size"):
        return ""  # switched off, or what the result's shape says
    if name in ("relation", "connective"):
        return str(value).replace("_", " ")
    if name == "index":
        return f"[{', '.join(map(_word, value if isinstance(value, tuple) else (value,)))}]"
    label = {"padding": "pad", "keepdim": "", "dims": ""}.get(name, name.replace("_", " "))
    if value is True:
        return label
    if len(name) == 1:
        return f"{name} = {_word(value)}"
    text = ", ".join(map(_word, value)) if isinstance(value, tuple) else _word(value)
    return f"{label} {text}".strip()


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _box_lines(graph: Graph, box: Box, shapes: bool) -> list[str]:
    node = box.nodes[0]
    if box.kind == "module":
        assert box.call is not None
        settings = {settings_text(inner) for inner in box.nodes if inner.kind == "operation"} - {""}
        size = sum(_size(inner.shape) for inner in box.nodes if inner.kind == "parameter")
        said = [settings.pop()] if len(settings) == 1 else []
        said += [f"{size:,} parameters"] if size else []
        return [
            _bold(call_text(box.call)),
            _small(", ".join(said)),
            _plain(", ".join(dict.fromkeys(shape_text(shape) for shape in box.leaving)) if shapes else ""),
        ]
    if box.kind == "operation":
        several = len(node.shapes) > 1  # the arrows say which is which
        return [
            _small(call_text(box.call) if box.call else ""),
            _bold(node.name),
            _small(settings_text(node)),
            _plain(shape_text(node.shape) if shapes and not several else ""),
        ]
    name = node.name or node.kind
    if node.path is not None and box.frame is not None and name.startswith(f"{node.path}."):
        name = name[len(node.path) + 1 :]  # the frame says the rest
    text = _plain(shape_text(node.shape) if shapes else "")
    if box.kind in VALUES:  # on one line: an oval around two is large
        return [f"{html.escape(name)} {text}".strip()]
    return [_bold(name), text]


def _size(shape: Shape | None) -> int:
    size = 1
    for n in shape or ():
        size *= n
    return size


def _tooltip(box: Box) -> str:
    """What an SVG shows under the mouse: the whole path and the dtype."""
    node = box.nodes[0]
    path = box.call.path if box.call is not None else node.path
    words = [path] if path and not node.name.startswith(f"{path}.") else []
    words += [node.name or node.kind] if box.kind != "module" else []
    words += [node.dtype] if node.dtype and box.kind != "module" else []
    return " ".join(words) or box.kind


def _frame_look(call: Call, rankdir: str) -> dict[str, str]:
    text = call_text(call)
    # An empty cell as wide as the text keeps the middle of a narrow frame, where the arrow comes in, clear of the text.
    room = f'<TD WIDTH="{7 * len(text)}"></TD>' if rankdir in ("TB", "BT") else ""
    label = f'<FONT POINT-SIZE="11">{html.escape(text)}</FONT>'
    return {
        "label": f'<<TABLE BORDER="0" CELLPADDING="0" CELLSPACING="0"><TR><TD>{label}</TD>{room}</TR></TABLE>>',
        "labeljust": "l",
        "style": "rounded",
        "color": FRAME,
        "fontcolor": GREY,
        "tooltip": html.escape(call.path or call.kind),
        "margin": "10",
    }


def _operands(view: View) -> dict[int, int]:
    """How many arrows that are no parameters end in each operation."""
    counts: dict[int, int] = {}
    for arrow in view.arrows:
        if view.graph.nodes[arrow.source].kind not in VALUES:
            counts[arrow.head] = counts.get(arrow.head, 0) + 1
    return counts


def _arrow_look(view: View, arrow: Arrow, operands: dict[int, int], shapes: bool) -> dict[str, str]:
    """Thin for parameters; labelled where a node has several results, or where it matters which operand is which."""
    source, target = view.graph.nodes[arrow.source], view.graph.nodes[arrow.target]
    look = {"weight": "1"} if source.kind in VALUES else {"weight": "10"}  # what flows runs straight
    if source.kind in VALUES:
        look.update(color=FRAME, arrowsize="0.5")
    if len(source.shapes) > 1 and view.boxes[arrow.tail].kind == "operation":
        shape = shape_text(source.shapes[arrow.result]) if shapes else ""
        look["label"] = f" [{arrow.result}] {shape} "
    ordered = target.kind == "operation" and target.name not in COMMUTATIVE
    if ordered and operands.get(arrow.head, 0) > 1 and view.boxes[arrow.head].kind == "operation" and arrow.argument:
        look.update(headlabel=f" {arrow.argument} ", labeldistance="1.6")
    return look
