"""What stands beside what in a picture: lines along which values flow, parameters beside their operation, frames in frames."""

from __future__ import annotations

from typing import Any

import graphviz

from tensorgrad.graph.structure import VALUES, Call
from tensorgrad.graph.texts import call_text
from tensorgrad.graph.view import Arrow, View


def nest(calls: list[Call], frames: dict[int | None, Any]) -> None:
    """Put every frame into the one around it, from the inside out, so that it is full by then."""
    inner: dict[int | None, list[Call]] = {}
    for call in calls:
        inner.setdefault(call.outer if call.outer in frames else None, []).append(call)
    for around in [*(call.number for call in reversed(calls)), None]:
        for call in inner.get(around, ()):
            frames[around].subgraph(frames[call.number])


def find_chains(view: View) -> tuple[dict[int, int], set[tuple[int, int]]]:
    """Which boxes stand in one line, by the first of them, and the steps along these lines.

    A box stands under the newest value that it takes, if it is the first to take it.
    """
    newest: dict[int, Arrow] = {}
    operands = count_operands(view)

    def near(arrow: Arrow) -> tuple[bool, int]:
        """What comes from the same frame is nearer than what comes out of an inner one, as a shortcut does."""
        return view.boxes[arrow.tail].frame == view.boxes[arrow.head].frame, arrow.source

    ways: dict[int, int] = {}  # that lead away from a box
    for arrow in view.arrows:
        ways[arrow.tail] = ways.get(arrow.tail, 0) + (not arrow.saved)
    for arrow in view.arrows:
        if view.boxes[arrow.tail].kind in VALUES or arrow.saved:
            continue
        if operands[arrow.head] < 3 and ways[arrow.tail] < 3:  # where more ways part or meet, the middle is the place
            before = newest.get(arrow.head)
            if before is None or near(arrow) > near(before):
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


def find_sides(view: View) -> dict[int, list[int]]:
    """The boxes with the parameters that stand at their left and right, one each, so that what flows runs straight down.

    Such a parameter is first used here, and in the same frame. Where nothing flows in, one value stays above.
    """
    used: set[int] = set()
    values: dict[int, list[int]] = {}
    flowing = set()
    for arrow in view.arrows:
        tail, head = view.boxes[arrow.tail], view.boxes[arrow.head]
        if arrow.saved:
            continue
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


def make_row(names: list[str]) -> Any:
    """Boxes that stand side by side."""
    row = graphviz.Digraph()
    row.attr(rank="same")
    for name in names:
        row.node(name)
    return row


def first_boxes(view: View) -> dict[int, int]:
    """The first box in every frame, inner frames included."""
    first: dict[int, int] = {}
    for key, box in view.boxes.items():
        at = box.frame
        while at is not None and at not in first and box.kind not in VALUES:
            first[at] = key
            at = view.graph.calls[at].outer
    return first


def keep_label_clear(call: Call, frame: Any, first: int) -> None:
    """Room at the left of the first box in a frame, so that the arrow into that box misses the frame's label.

    A label's letter is about 0.08 inches wide; the gap and half of a box, 0.7 inches, are there anyway.
    """
    width = 0.08 * len(call_text(call)) - 0.7
    if width > 0:
        room = f"room{call.number}"
        frame.node(room, label="", style="invis", shape="box", width=f"{width:.2f}", height="0")
        frame.subgraph(make_row([box_name(first), room]))
        frame.edge(room, box_name(first), style="invis", weight="0")


def box_name(key: int) -> str:
    return f"n{key}" if key >= 0 else f"m{-1 - key}"


def count_operands(view: View) -> dict[int, int]:
    """How many arrows that are no parameters end in each operation."""
    counts: dict[int, int] = {}
    for arrow in view.arrows:
        if view.graph.nodes[arrow.source].kind not in VALUES and not arrow.saved:
            counts[arrow.head] = counts.get(arrow.head, 0) + 1
    return counts
