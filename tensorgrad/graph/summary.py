"""The table of a network: a row for every layer, with shapes, parameters, values, MACs, memory, receptive field, time.

row      a call of a module in which no other module is called, or an operation outside of such a call; with depth=n
         the calls of level n as a whole. A module that is called twice has two rows, its parameters in the first.
totals   over all rows, the left-out ones included
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tensorgrad.errors import ArgumentError
from tensorgrad.graph.costs import Cost
from tensorgrad.graph.memory import step_memory
from tensorgrad.graph.receptive import Fields, receptive_fields
from tensorgrad.graph.structure import VALUES, Graph
from tensorgrad.graph.tables import write_csv, write_html, write_markdown, write_text
from tensorgrad.graph.texts import bytes_text, call_text, count_text, seconds_text, settings_text, shape_text
from tensorgrad.graph.trace import watch
from tensorgrad.graph.view import Box, View
from tensorgrad.io.atomic import replacing


@dataclass
class Row:
    """One layer: its name and what it is, the shape of its result, what it costs, what its units see of the input."""

    layer: str
    kind: str
    output: str
    cost: Cost
    field: Fields | None

    def counts(self) -> bool:
        """Whether it adds values, parameters or MACs; what does not changes values in place or only looks at them."""
        return bool(self.cost.values or self.cost.parameters or self.cost.macs)


def _of_field(read: Callable[[Any], float]) -> Callable[[Row], Any]:
    def read_both(row: Row) -> Any:
        if row.field is None:
            return ""
        rows, columns = (read(field) for field in row.field)
        return f"{rows:g}" if rows == columns else f"{rows:g}×{columns:g}"

    return read_both


#: column -> (heading, what it is of a row, whether its sum makes sense)
COLUMNS: dict[str, tuple[str, Callable[[Row], Any], bool]] = {
    "layer": ("layer", lambda row: row.layer, False),
    "kind": ("kind", lambda row: row.kind, False),
    "output": ("output", lambda row: row.output, False),
    "values": ("values", lambda row: row.cost.values, True),
    "weights": ("weights", lambda row: row.cost.weights, True),
    "biases": ("biases", lambda row: row.cost.biases, True),
    "parameters": ("parameters", lambda row: row.cost.parameters, True),
    "trainable": ("trainable", lambda row: row.cost.trainable, True),
    "macs": ("MACs", lambda row: row.cost.macs, True),
    "flops": ("FLOPs", lambda row: row.cost.flops, True),
    "backward_flops": ("FLOPs backward", lambda row: row.cost.backward_flops, True),
    "activation": ("activation bytes", lambda row: row.cost.activation, True),
    "kept": ("bytes kept", lambda row: row.cost.kept, True),
    "moved": ("bytes moved", lambda row: row.cost.moved, True),
    "intensity": ("FLOPs/byte", lambda row: round(row.cost.intensity, 2), False),
    "field": ("receptive field", _of_field(lambda field: field.size), False),
    "stride": ("its stride", _of_field(lambda field: field.stride), False),
    "centre": ("its centre", _of_field(lambda field: field.centre), False),
    "seconds": ("seconds", lambda row: row.cost.seconds, True),
    "backward_seconds": ("seconds backward", lambda row: row.cost.backward_seconds, True),
}

USUAL = ("layer", "kind", "output", "values", "weights", "biases", "macs")


class Summary:
    """The table of a network. `print` it, or take `.csv()`, `.markdown()`, `.html()`, or `.save(path)` by the file's ending.

    rows    the rows that are shown
    total   the costs of all
    graph   the graph that it was read from
    """

    def __init__(
        self,
        graph: Graph,
        depth: int | Literal["layers"] = "layers",
        columns: Sequence[str] = USUAL,
        sort: str | None = None,
        all_rows: bool = False,
    ) -> None:
        unknown = [name for name in (*columns, *([sort] if sort else [])) if name not in COLUMNS]
        if unknown:
            raise ArgumentError(f"summary: got the column {unknown[0]!r}; there are {', '.join(COLUMNS)}")
        if depth != "layers" and (isinstance(depth, bool) or not isinstance(depth, int) or depth < 0):
            raise ArgumentError(f"summary: got depth {depth!r}; it is 0 or more, or 'layers'")
        self.graph = graph
        self.columns = tuple(columns)
        everything = _rows(graph, depth)
        self.total = Cost()
        for row in everything:
            self.total += row.cost
        self.rows = everything if all_rows else [row for row in everything if row.counts()]
        self.left_out = len(everything) - len(self.rows)
        if sort is not None:
            read = COLUMNS[sort][1]
            self.rows.sort(key=lambda row: _sort_key(read(row)), reverse=COLUMNS[sort][2])

    def headings(self) -> list[str]:
        """The columns' headings."""
        return [COLUMNS[name][0] for name in self.columns]

    def cells(self) -> list[list[Any]]:
        """The rows as texts and numbers."""
        return [[COLUMNS[name][1](row) for name in self.columns] for row in self.rows]

    def totals(self) -> list[Any]:
        """The row of sums, '' where a sum makes no sense."""
        whole = Row("total", "", "", self.total, None)
        return [COLUMNS[name][1](whole) if COLUMNS[name][2] or name == "layer" else "" for name in self.columns]

    def notes(self) -> list[str]:
        """The totals in words, with their units."""
        cost, step = self.total, step_memory(self.graph)
        frozen = cost.parameters - cost.trainable
        notes = [
            f"{cost.parameters:,} parameters ({cost.weights:,} weights, {cost.biases:,} biases and factors)"
            + (f", {frozen:,} of them frozen" if frozen else "")
            + (f"; {self.graph.unused:,} more took no part" if self.graph.unused else ""),
            f"{cost.values:,} values, the input's included",
            f"{cost.macs:,} MACs (multiply-accumulates of convolutions and matrix products), {cost.flops:,} FLOPs in all "
            f"(2 a MAC; {count_text(cost.intensity)} FLOPs for each byte moved)",
            f"memory: {bytes_text(step.fixed)} parameters, buffers and input, {bytes_text(cost.activation)} activations",
        ]
        if step.gradients:
            notes.append(
                f"a training step: {bytes_text(step.kept)} kept for backward, {bytes_text(step.gradients)} gradients, "
                f"{bytes_text(step.peak)} at the peak, in {step.peak_at}, without the kernels' own working space"
            )
        if cost.seconds:
            notes.append(f"time: forward {seconds_text(cost.seconds)}, backward {seconds_text(cost.backward_seconds)}")
        if self.left_out:
            notes.append(
                f"{self.left_out} rows without values, parameters and MACs (activations, views, ...) are left out; all_rows shows them"
            )
        return notes

    @property
    def title(self) -> str:
        """The network and its input."""
        shapes = [shape_text(node.shape) for node in self.graph.nodes if node.kind == "input"]
        return f"{self.graph.title or 'a function'} on {', '.join(shapes) or 'nothing'}"

    def text(self, rich: bool | None = None, width: int | None = None) -> str:
        """A table for a terminal, by the package rich if it is there (the extra viz), else a plain one.

        rich   True or False decides
        width  of the terminal; by default what the table needs
        """
        return write_text(self.title, self.headings(), self.cells(), self.totals(), self.notes(), rich, width)

    def csv(self) -> str:
        """Comma-separated values, numbers without separators, the last row the totals."""
        return write_csv(list(self.columns), [*self.cells(), self.totals()])

    def markdown(self) -> str:
        """A Markdown table, with the notes below."""
        return write_markdown(self.title, self.headings(), self.cells(), self.totals(), self.notes())

    def html(self) -> str:
        """A page by itself."""
        return write_html(self.title, self.headings(), self.cells(), self.totals(), self.notes())

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write it to a file: .csv, .md, .html or .txt; returns the path. Nothing is left half-written."""
        writers = {
            ".csv": self.csv,
            ".md": self.markdown,
            ".html": self.html,
            ".txt": lambda: self.text(rich=False),
        }
        ending = Path(path).suffix.lower()
        if ending not in writers:
            raise ArgumentError(f"Summary.save: got the ending {ending!r}; it can write {', '.join(writers)}")
        content = writers[ending]()
        with replacing(path) as draft:
            draft.write_text(content, encoding="utf-8", newline="")
        return os.fspath(path)

    def __str__(self) -> str:
        return self.text(rich=False)

    def _repr_html_(self) -> str:
        return self.html()


def summary(
    model: Any,
    *inputs: Any,
    depth: int | Literal["layers"] = "layers",
    columns: Sequence[str] = USUAL,
    sort: str | None = None,
    all_rows: bool = False,
    repeats: int = 0,
) -> Summary:
    """The table of what a model computes on these inputs.

    depth     'layers': a row for every innermost module; a number: for every module of that level, 1 those in the model
    columns   which, and in which order; all of them are in `tensorgrad.graph.summary.COLUMNS`
    sort      by this column: numbers from the largest, texts from A
    all_rows  also what adds neither values nor parameters nor MACs
    repeats   measure times, the fastest of so many repetitions

    >>> import tensorgrad
    >>> from tensorgrad.models import lenet5
    >>> table = summary(lenet5(), tensorgrad.zeros(1, 1, 32, 32))
    >>> table.total.parameters, table.total.macs
    (61706, 416520)
    >>> print(summary(lenet5(), tensorgrad.zeros(1, 1, 32, 32), depth=1, columns=("layer", "parameters")).csv(), end="")
    layer,parameters
    x,0
    features,2572
    classifier,59134
    total,61706
    """
    return Summary(watch(model, *inputs, repeats=repeats), depth, columns, sort, all_rows)


def _rows(graph: Graph, depth: int | Literal["layers"]) -> list[Row]:
    view = View(graph, depth=depth, plumbing=True)
    first_use: dict[int, int] = {}
    for arrow in view.arrows:
        if view.boxes[arrow.tail].kind in VALUES:
            first_use.setdefault(arrow.tail, arrow.head)
    for key, box in view.boxes.items():  # parameters to the first that uses them
        user = first_use.get(key)
        while user is not None and view.boxes[user].kind in VALUES:
            user = first_use.get(user)
        if box.kind in VALUES and user is not None:
            view.boxes[user].cost += box.cost
    fields = receptive_fields(graph)
    leaving = {arrow.tail: arrow.source for arrow in view.arrows}
    rows = []
    for key, box in view.boxes.items():
        if box.kind in ("input", "operation", "module"):
            last = leaving.get(key, box.nodes[-1].number)
            rows.append(Row(*_names(graph, box, last), box.cost, fields[last]))
    return rows


def _names(graph: Graph, box: Box, last: int) -> tuple[str, str, str]:
    node = box.nodes[0]
    output = shape_text(graph.nodes[last].shape)
    if box.call is not None:
        settings = [settings_text(inner) for inner in box.nodes if inner.kind == "operation"]
        said = next((text for text in settings if text), "") if len({*settings} - {""}) == 1 else ""
        repeat = f", call {box.call.repeat}" if box.call.repeat > 1 else ""
        return (box.call.path or call_text(box.call)) + repeat, f"{box.call.kind} {said}".strip(), output
    if box.kind == "input":
        return node.name, "input", output
    path = f"{node.path}: " if node.path else ""
    return path + node.name, settings_text(node) or "operation", output


def _sort_key(value: Any) -> Any:
    return (isinstance(value, str), value)
