"""What a picture looks like: the DOT text of a view.

An operation is a box with its settings and the shape of its result; parameters, inputs, constants and results have other
outlines and colours (Okabe and Ito's, which colour-blind people tell apart; the outlines alone tell them apart in print).
A call of a module is a frame around what happened in it. What flows runs straight; parameters stand beside their operation.
"""

from __future__ import annotations

import html
from typing import Any

import graphviz

from tensorgrad.graph.structure import Call, Node, Shape
from tensorgrad.graph.view import VALUES, Arrow, Box, View

FONT = "Helvetica,Arial,sans-serif"
INK, GREY, LINE, FRAME = "#1A1A1A", "#595959", "#404040", "#8C8C8C"

# Dark outlines on light tints, black text: legible in grey too, where the outline tells what a box is.
LOOKS: dict[str, dict[str, str]] = {
    "operation": {"shape": "box", "style": "filled", "color": "#0072B2", "fillcolor": "#EAF4FB"},
    "module": {"shape": "box", "style": "filled", "color": "#0072B2", "fillcolor": "#D6EAF7", "penwidth": "2"},
    "input": {"shape": "box", "style": "filled,rounded", "color": "#009E73", "fillcolor": "#DDF3EB", "penwidth": "2"},
    "output": {
        "shape": "box",
        "style": "filled,rounded",
        "color": "#D55E00",
        "fillcolor": "#FBE6D9",
        "peripheries": "2",
    },
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

# settings at which an operation does nothing special, and that a box need not say
USUAL = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "value": 0, "count_include_pad": True}
COMMUTATIVE = ("add", "multiply", "maximum", "minimum", "logical")


def write_dot(picture: Any, view: View, title: str, rankdir: str, shapes: bool) -> None:
    """Fill a graphviz.Digraph with what a view shows."""
    picture.graph_attr.update(rankdir=rankdir, bgcolor="white", fontname=FONT, fontcolor=INK)
    picture.graph_attr.update(nodesep="0.3", ranksep="0.35", pad="0.2")
    picture.node_attr.update(fontname=FONT, fontsize="12", fontcolor=INK, height="0.3", margin="0.12,0.06")
    picture.edge_attr.update(fontname=FONT, fontsize="9", fontcolor=GREY, color=LINE, arrowsize="0.7")
    if title:
        picture.graph_attr.update(label=_html(_bold(title)), labelloc="t", fontsize="14")
    frames: dict[int | None, Any] = {None: picture}
    for call in view.frames:
        frames[call.number] = graphviz.Digraph(name=f"cluster_{call.number}", graph_attr=_frame_look(call))
    chains, steps = _chains(view)
    for key, box in view.boxes.items():
        look = {**LOOKS[box.kind], "tooltip": _text(_tooltip(box))}
        if key in chains:
            look["group"] = f"chain{chains[key]}"
        frames.get(box.frame, picture).node(_name(key), _html(*_box_lines(box, shapes)), **look)
    sides = _sides(view)
    for key, around in sides.items():
        frames.get(view.boxes[key].frame, picture).subgraph(_row([_name(k) for k in [key, *around]]))
    if rankdir in ("TB", "BT"):
        first = _first_boxes(view)
        for call in view.frames:
            entry = first.get(call.number)
            if entry is not None and entry not in sides and view.boxes[entry].frame == call.number:
                _keep_label_clear(call, frames[call.number], entry)
    _nest(view.frames, frames)
    operands = _operands(view)
    for arrow in view.arrows:
        look = _arrow_look(view, arrow, operands, steps, shapes)
        if sides.get(arrow.head, [])[1:] == [arrow.tail]:  # to the right of what it points at: dot takes that backwards
            picture.edge(_name(arrow.head), _name(arrow.tail), dir="back", **look)
        else:
            picture.edge(_name(arrow.tail), _name(arrow.head), **look)


def _nest(calls: list[Call], frames: dict[int | None, Any]) -> None:
    """Put every frame into the one around it, from the inside out, so that it is full by then."""
    inner: dict[int | None, list[Call]] = {}
    for call in calls:
        inner.setdefault(call.outer if call.outer in frames else None, []).append(call)
    for around in [*(call.number for call in reversed(calls)), None]:
        for call in inner.get(around, ()):
            frames[around].subgraph(frames[call.number])


def _chains(view: View) -> tuple[dict[int, int], set[tuple[int, int]]]:
    """Which boxes stand in one line, by the first of them, and the steps along these lines.

    A box stands under the newest value that it takes, if it is the first to take it.
    """
    newest: dict[int, Arrow] = {}
    for arrow in view.arrows:
        if view.boxes[arrow.tail].kind not in VALUES:
            before = newest.get(arrow.head)
            if before is None or arrow.source > before.source:
                newest[arrow.head] = arrow
    chains: dict[int, int] = {}
    steps: set[tuple[int, int]] = set()
    followed: set[int] = set()
    for head, arrow in newest.items():
        chains.setdefault(arrow.tail, arrow.tail)
        if arrow.tail not in followed:
            chains[head] = chains[arrow.tail]
            steps.add((arrow.tail, head))
            followed.add(arrow.tail)
    return chains, steps


def _sides(view: View) -> dict[int, list[int]]:
    """The boxes with the parameters that stand at their left and right, one each, so that what flows runs straight down.

    Such a parameter is first used here, and in the same frame. Where nothing flows in, one value stays above.
    """
    used: set[int] = set()
    values: dict[int, list[int]] = {}
    flowing = set()
    for arrow in view.arrows:
        tail, head = view.boxes[arrow.tail], view.boxes[arrow.head]
        if tail.kind not in VALUES:
            flowing.add(arrow.head)
        elif arrow.tail not in used and tail.frame == head.frame:
            values.setdefault(arrow.head, []).append(arrow.tail)
        used.add(arrow.tail)
    sides = {}
    for key, around in values.items():
        if key not in flowing:
            constants = [value for value in around if view.boxes[value].kind == "constant"]
            around.remove((constants or around)[0])
        if around:
            sides[key] = around[:2]
    return sides


def _row(names: list[str]) -> Any:
    """Boxes that stand side by side."""
    row = graphviz.Digraph()
    row.attr(rank="same")
    for name in names:
        row.node(name)
    return row


def _first_boxes(view: View) -> dict[int, int]:
    """The first box in every frame, inner frames included."""
    first: dict[int, int] = {}
    for key, box in view.boxes.items():
        at = box.frame
        while at is not None and at not in first and box.kind not in VALUES:
            first[at] = key
            at = view.graph.calls[at].outer
    return first


def _keep_label_clear(call: Call, frame: Any, first: int) -> None:
    """Room at the left of the first box in a frame, so that the arrow into that box misses the frame's label.

    A label's letter is about 0.08 inches wide; the gap and half of a box, 0.7 inches, are there anyway.
    """
    width = 0.08 * len(call_text(call)) - 0.7
    if width > 0:
        room = f"room{call.number}"
        frame.node(room, label="", style="invis", shape="box", width=f"{width:.2f}", height="0")
        frame.subgraph(_row([_name(first), room]))
        frame.edge(room, _name(first), style="invis", weight="0")


def _name(key: int) -> str:
    return f"n{key}" if key >= 0 else f"m{-1 - key}"


# texts, in Graphviz's HTML; whatever comes from outside goes through _text


def _text(text: str) -> str:
    """Plain text that neither HTML nor DOT's backslashes nor an unprintable character can turn into something else."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return html.escape(printable).replace("\\", "\\\\")


def _html(*lines: str) -> str:
    return f"<{'<BR/>'.join(line for line in lines if line)}>"


def _bold(text: str) -> str:
    return f"<B>{_text(text)}</B>" if text else ""


def _small(text: str) -> str:
    return f'<FONT POINT-SIZE="10" COLOR="{GREY}">{_text(text)}</FONT>' if text else ""


def _plain(text: str) -> str:
    return f'<FONT POINT-SIZE="10">{_text(text)}</FONT>' if text else ""


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
    if name == "view":
        return f"into a {value}"
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


def _box_lines(box: Box, shapes: bool) -> list[str]:
    node = box.nodes[0]
    if box.kind == "module":
        assert box.call is not None
        settings = {settings_text(inner) for inner in box.nodes if inner.kind == "operation"} - {""}
        said = [settings.pop()] if len(settings) == 1 else []
        said += [f"{box.parameters:,} parameters"] if box.parameters else []
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
        return [f"{_text(name)} {text}".strip()]
    return [_bold(name), text]


def _tooltip(box: Box) -> str:
    """What an SVG shows under the mouse: the whole path and the dtype."""
    node = box.nodes[0]
    path = box.call.path if box.call is not None else node.path
    words = [path] if path and not node.name.startswith(f"{path}.") else []
    words += [node.name or node.kind] if box.kind != "module" else []
    words += [node.dtype] if node.dtype and box.kind != "module" else []
    return " ".join(words) or box.kind


def _frame_look(call: Call) -> dict[str, str]:
    return {
        "label": _html(f'<FONT POINT-SIZE="11">{_text(call_text(call))}</FONT>'),
        "labeljust": "l",
        "style": "rounded",
        "color": FRAME,
        "fontcolor": GREY,
        "tooltip": _text(call.path or call.kind),
        "margin": "10",
    }


def _operands(view: View) -> dict[int, int]:
    """How many arrows that are no parameters end in each operation."""
    counts: dict[int, int] = {}
    for arrow in view.arrows:
        if view.graph.nodes[arrow.source].kind not in VALUES:
            counts[arrow.head] = counts.get(arrow.head, 0) + 1
    return counts


def _arrow_look(
    view: View, arrow: Arrow, operands: dict[int, int], steps: set[tuple[int, int]], shapes: bool
) -> dict[str, str]:
    """Thin for parameters; labelled where a node has several results, or where it matters which operand is which."""
    source, target = view.graph.nodes[arrow.source], view.graph.nodes[arrow.target]
    if source.kind in VALUES:
        return {"color": FRAME, "arrowsize": "0.5"}
    words = []
    if len(source.shapes) > 1 and view.boxes[arrow.tail].kind == "operation":
        words += [f"[{arrow.result}]", shape_text(source.shapes[arrow.result]) if shapes else ""]
    if view.boxes[arrow.head].kind == "operation" and target.name not in COMMUTATIVE and operands[arrow.head] > 1:
        named = arrow.argument and not arrow.argument.isdigit()
        words += ["as" if words else "", arrow.argument] if named else []
    straight = (arrow.tail, arrow.head) in steps
    label = " ".join(word for word in words if word)
    return {**({"label": f" {label} "} if label else {}), **({"weight": "10"} if straight else {})}
