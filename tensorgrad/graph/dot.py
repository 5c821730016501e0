"""What a picture looks like: the DOT text of a view.

An operation is a box with its settings; arrows carry the shapes of what flows. Parameters, inputs, constants and results have
other outlines and colours (tensorgrad.graph.looks). A call of a module is a frame around what happened in it. What flows runs
straight; parameters stand beside their operation.
"""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Any

import graphviz

from tensorgrad.graph.arrange import (
    box_name,
    count_operands,
    find_chains,
    find_sides,
    first_boxes,
    keep_label_clear,
    make_row,
    nest,
)
from tensorgrad.graph.looks import FONT, SCALE, SCALE_INK, THEMES, Theme, gradient_step, legend_rows, step_of
from tensorgrad.graph.structure import GROUP, VALUES, Call, Node
from tensorgrad.graph.texts import (
    bytes_text,
    call_text,
    cost_lines,
    count_text,
    seconds_text,
    settings_text,
    shape_text,
    statistics_line,
    tooltip,
)
from tensorgrad.graph.view import Arrow, Box, View

COMMUTATIVE = ("add", "multiply", "maximum", "minimum", "logical")
_BYTES = ("activation", "kept")


@dataclass(frozen=True)
class Style:
    """How a view is drawn; see `tensorgrad.graph.draw` for what each means."""

    rankdir: str = "TB"
    shapes: str = "edges"  # or 'boxes', or ''
    theme: Theme = THEMES["light"]
    costs: bool = False
    color_by: str | None = None
    size_by: str | None = None
    statistics: bool = False
    legend: bool = False


def write_dot(picture: Any, view: View, title: str, style: Style) -> None:
    """Fill a graphviz.Digraph with what a view shows."""
    theme = style.theme
    picture.graph_attr.update(rankdir=style.rankdir, bgcolor=theme.paper, fontname=FONT, fontcolor=theme.ink)
    picture.graph_attr.update(nodesep="0.3", ranksep="0.35", pad="0.2")
    picture.node_attr.update(fontname=FONT, fontsize="12", fontcolor=theme.ink, height="0.3", margin="0.12,0.06")
    picture.edge_attr.update(fontname=FONT, fontsize="9", fontcolor=theme.grey, color=theme.line, arrowsize="0.7")
    writer = _Writer(view, style)
    head = writer.head(title)
    if head:
        picture.graph_attr.update(label=head, labelloc="t", fontsize="14")
    frames: dict[int | None, Any] = {None: picture}
    for call in view.frames:
        frames[call.number] = graphviz.Digraph(name=f"cluster_{call.number}", graph_attr=writer.frame_look(call))
    chains, steps = find_chains(view)
    for key, box in view.boxes.items():
        look = writer.box_look(box)
        if key in chains:
            look["group"] = f"chain{chains[key]}"
        frames.get(box.frame, picture).node(box_name(key), _html(*writer.box_lines(box)), **look)
    # dot 2.43 ends with a failed assertion where boxes of a frame share a row and saved values link that frame to another
    sides = {} if writer.both else find_sides(view)
    for key, around in sides.items():
        frames.get(view.boxes[key].frame, picture).subgraph(make_row([box_name(k) for k in [key, *around]]))
    if style.rankdir in ("TB", "BT") and not writer.both:
        first = first_boxes(view)
        for call in view.frames:
            entry = first.get(call.number)
            if entry is not None and entry not in sides and view.boxes[entry].frame == call.number:
                keep_label_clear(call, frames[call.number], entry)
    nest(view.frames, frames)
    operands = count_operands(view)
    for arrow in view.arrows:
        look = writer.arrow_look(arrow, operands, steps)
        turned = writer.both and not arrow.saved and view.boxes[arrow.head].kind in ("backward", "gradient", "module")
        turned = turned and writer.is_backward(
            arrow.tail
        )  # backward runs up beside forward, each rule by its operation
        if turned or sides.get(arrow.head, [])[1:] == [arrow.tail]:  # the latter to the right of its head
            picture.edge(box_name(arrow.head), box_name(arrow.tail), dir="back", **look)
        else:
            picture.edge(box_name(arrow.tail), box_name(arrow.head), **look)


# texts, in Graphviz's HTML; whatever comes from outside goes through _text


def _text(text: str) -> str:
    """Plain text that neither HTML nor DOT's backslashes nor an unprintable character can turn into something else."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    return html.escape(printable).replace("\\", "\\\\")


def _html(*lines: str) -> str:
    return f"<{'<BR/>'.join(line for line in lines if line)}>"


def _bold(text: str) -> str:
    return f"<B>{_text(text)}</B>" if text else ""


def _plain(text: str) -> str:
    return f'<FONT POINT-SIZE="10">{_text(text)}</FONT>' if text else ""


class _Writer:
    """What the boxes, frames and arrows of a view say, and how they look."""

    def __init__(self, view: View, style: Style) -> None:
        self.view = view
        self.style = style
        self.theme = style.theme
        self.both = any(arrow.saved for arrow in view.arrows)
        self.uses: dict[tuple[int, int], list[Arrow]] = {}  # of a value: the arrows that carry it
        for arrow in view.arrows:
            if not arrow.saved:
                self.uses.setdefault((arrow.source, arrow.result), []).append(arrow)
        self.largest: dict[str, float] = {}
        for what in (style.color_by, style.size_by):
            if what not in (None, "gradient"):
                self.largest[what] = max((getattr(box.cost, what) for box in view.boxes.values()), default=0)  # type: ignore[index, arg-type]

    def head(self, title: str) -> str:
        """The title, and below it the legend."""
        if not self.style.legend:
            return _html(_bold(title)) if title else ""
        kinds = [self._kind(box) for box in self.view.boxes.values()]
        by = self.style.color_by
        largest = self._amount(by, self.largest[by]) if by in self.largest else ""
        saved = any(arrow.saved for arrow in self.view.arrows)
        rows = legend_rows(kinds, self.theme, saved=saved, color_by=by, largest=largest)
        lines = [f'<TR><TD COLSPAN="60">{_bold(title)}</TD></TR>'] if title else []
        for row in rows:
            width = 60 // len(row)
            cells = "".join(
                f'<TD COLSPAN="{width}" BGCOLOR="{fill}" BORDER="1" COLOR="{self.theme.frame}"><FONT POINT-SIZE="10" '
                f'COLOR="{ink}">{_text(text)}</FONT></TD>'
                for text, fill, ink in row
            )
            lines.append(f"<TR>{cells}</TR>")
        return f'<<TABLE BORDER="0" CELLSPACING="3" CELLPADDING="3">{"".join(lines)}</TABLE>>'

    def is_backward(self, key: int) -> bool:
        """Whether a box belongs to a backward pass."""
        box = self.view.boxes[key]
        return box.kind == "gradient" or self._kind(box) == "backward"

    def _amount(self, what: str | None, value: float) -> str:
        if what in _BYTES:
            return bytes_text(value)
        return seconds_text(value) if what == "seconds" else count_text(value)

    def _kind(self, box: Box) -> str:
        if any(node.failed for node in box.nodes):
            return "failed"
        if box.kind == "module" and box.call is not None and box.call.of is not None:
            return "backward"
        return box.kind

    def box_look(self, box: Box) -> dict[str, str]:
        """Outline, colours and size of a box."""
        kind = self._kind(box)
        look = {**self.theme.look(kind), "tooltip": _text(tooltip(box))}
        if box.kind == "module" and kind == "backward":
            look["penwidth"] = "2"
        if kind == "failed":
            return look
        by = self.style.color_by
        if by is not None:
            step = self._step(box, by)
            if step is not None:
                look.update(fillcolor=SCALE[step], fontcolor=SCALE_INK[step])
        if self.style.size_by is not None and self.largest[self.style.size_by] > 0:
            share = getattr(box.cost, self.style.size_by) / self.largest[self.style.size_by]
            look.update(width=f"{0.75 + 2.25 * math.sqrt(share):.2f}", height=f"{0.3 + 0.9 * math.sqrt(share):.2f}")
        return look

    def _step(self, box: Box, by: str) -> int | None:
        if by == "gradient":
            found = [node.gradient for node in box.nodes if node.gradient is not None]
            return gradient_step(found[-1]) if found else None
        return (
            step_of(getattr(box.cost, by), self.largest[by])
            if box.kind in ("operation", "module", "backward")
            else None
        )

    def _small(self, text: str, box: Box) -> str:
        step = None if self.style.color_by is None else self._step(box, self.style.color_by)
        color = self.theme.grey if step is None else SCALE_INK[step]
        return f'<FONT POINT-SIZE="10" COLOR="{color}">{_text(text)}</FONT>' if text else ""

    def box_lines(self, box: Box) -> list[str]:
        """The lines of a box."""
        node = box.nodes[0]
        shapes = self.style.shapes == "boxes"
        extra = [self._small(line, box) for line in self._figures(box)]
        if box.kind == "module":
            assert box.call is not None
            settings = {settings_text(inner) for inner in box.nodes if inner.kind == "operation"} - {""}
            said = [settings.pop()] if len(settings) == 1 else []
            said += [f"{box.cost.parameters:,} parameters"] if box.cost.parameters and not self.style.costs else []
            leaving = ", ".join(dict.fromkeys(shape_text(shape) for shape in box.leaving)) if shapes else ""
            head = [_bold(call_text(box.call)), self._small(", ".join(said), box), _plain(leaving)]
            for inner in box.nodes:
                if inner.failed:
                    head = [head[0], *self._failure(inner)]
            return [*head, *extra]
        if box.kind in ("operation", "backward"):
            several = len(node.shapes) > 1  # the arrows say which is which
            if node.failed:
                return [self._small(call_text(box.call) if box.call else "", box), *self._failure(node)]
            name = node.name.removesuffix(" backward") if box.call is not None and box.kind == "backward" else node.name
            return [
                self._small(call_text(box.call) if box.call else "", box),
                _bold(name),
                self._small(settings_text(node), box),
                _plain(shape_text(node.shape) if shapes and not several else ""),
                *extra,
            ]
        name = node.name or node.kind
        if node.path is not None and box.frame is not None and name.startswith(f"{node.path}."):
            name = name[len(node.path) + 1 :]  # the frame says the rest
        # values that stand beside their operation say their shapes themselves
        text = _plain(shape_text(node.shape)) if self.style.shapes and (shapes or box.kind != "output") else ""
        if box.kind in (*VALUES, "gradient"):  # on one line: an oval around two is large
            return [f"{_text(name)} {text}".strip(), *extra]
        return [_bold(name), text, *extra]

    def _failure(self, node: Node) -> list[str]:
        """What failed, on what, and why."""
        operands = [f"{name} {shape}" for name, shape in node.settings.items()]
        return [_bold(f"{node.name} failed"), *map(_plain, operands), *map(_plain, _wrapped(node.failed))]

    def _figures(self, box: Box) -> list[str]:
        lines = []
        if self.style.costs and box.kind in ("operation", "module", "backward"):
            lines += cost_lines(box.cost)
        if self.style.statistics:
            node = next((n for n in reversed(box.nodes) if n.kind == "operation"), box.nodes[0])
            lines += [statistics_line("", node.statistics).strip(), statistics_line("grad", node.gradient)]
        return [line for line in lines if line]

    def frame_look(self, call: Call) -> dict[str, str]:
        """A frame around a call; a heavy one around what is repeated."""
        look = {
            "label": _html(f'<FONT POINT-SIZE="11">{_text(call_text(call))}</FONT>'),
            "labeljust": "l",
            "style": "rounded",
            "color": self.theme.frame,
            "fontcolor": self.theme.grey,
            "tooltip": _text(call.path or call.kind),
            "margin": "10",
            "penwidth": "1",  # said, for an inner frame takes the outer one's
        }
        if call.times > 1 or call.kind == GROUP:
            look.update(penwidth="3")
        return look

    def arrow_look(self, arrow: Arrow, operands: dict[int, int], steps: set[tuple[int, int]]) -> dict[str, str]:
        """Thin for parameters, dashed for what is saved; with the shape, which of several results, and which operand it is."""
        view, shapes = self.view, self.style.shapes
        source, target = view.graph.nodes[arrow.source], view.graph.nodes[arrow.target]
        if arrow.saved:
            back = {"style": "dashed", "color": "#D55E00", "arrowsize": "0.5", "constraint": "false"}
            return {**back, "tooltip": _text(f"{arrow.argument} of {source.name} is saved for backward")}
        if source.kind in VALUES:
            return {"color": self.theme.frame, "arrowsize": "0.5"}
        if target.kind == "gradient" and source.kind == "backward":
            return {"arrowsize": "0.5"}
        words = []
        shape = shape_text(view.graph.nodes[arrow.source].shapes[arrow.result]) if source.shapes else ""
        if len(source.shapes) > 1 and view.boxes[arrow.tail].kind == "operation":
            words += [f"[{arrow.result}]", shape if shapes else ""]
        elif shapes == "edges" and source.kind != "input":
            uses = self.uses[arrow.source, arrow.result]
            words.append(shape if len(uses) < 3 or uses[0] is arrow else "")  # once, where it goes many ways
        if view.boxes[arrow.head].kind == "operation" and target.name not in COMMUTATIVE and operands[arrow.head] > 1:
            named = arrow.argument and not arrow.argument.isdigit()
            words += ["as" if any(words) else "", arrow.argument] if named else []
        straight = (arrow.tail, arrow.head) in steps
        label = " ".join(word for word in words if word)
        return {**({"label": f" {label} "} if label else {}), **({"weight": "10"} if straight else {})}


def _wrapped(text: str, width: int = 60) -> list[str]:
    """A long text in lines."""
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines if text else []
