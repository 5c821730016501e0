"""A table as text, CSV, Markdown and HTML."""

from __future__ import annotations

import csv
import html
import importlib.util
import io
from typing import Any

Cells = list[list[Any]]


def cell_text(value: Any) -> str:
    """A number as it is read: 3,211,264; a time in seconds with three digits."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_text(
    title: str,
    headings: list[str],
    cells: Cells,
    totals: list[Any],
    notes: list[str],
    rich: bool | None,
    width: int | None,
) -> str:
    """A table for a terminal: by rich where it is wanted or there, else plain."""
    if rich is None:
        rich = importlib.util.find_spec("rich") is not None
    write = _by_rich if rich else _plain
    return write(title, headings, cells, totals, notes, width)


def _numbers(cells: Cells, column: int) -> bool:
    return any(isinstance(row[column], (int, float)) for row in cells)


def _plain(
    title: str, headings: list[str], cells: Cells, totals: list[Any], notes: list[str], width: int | None
) -> str:
    rows = [[cell_text(value) for value in row] for row in [*cells, totals]]
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]

    def line(row: list[str]) -> str:
        parts = [text.rjust(widths[i]) if _numbers(cells, i) else text.ljust(widths[i]) for i, text in enumerate(row)]
        return "  ".join(parts).rstrip()

    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [title, rule, line(headings), rule, *map(line, rows[:-1]), rule, line(rows[-1]), rule, *notes]
    return "\n".join(lines) + "\n"


def _by_rich(
    title: str, headings: list[str], cells: Cells, totals: list[Any], notes: list[str], width: int | None
) -> str:
    import rich.box
    import rich.console
    import rich.table
    import rich.text

    table = rich.table.Table(title=rich.text.Text(title), box=rich.box.SIMPLE_HEAD, show_footer=True)
    for i, heading in enumerate(headings):
        right = _numbers(cells, i)
        table.add_column(
            rich.text.Text(heading),
            rich.text.Text(cell_text(totals[i])),
            justify="right" if right else "left",
            no_wrap=right,
            overflow="fold",
        )
    for row in cells:
        table.add_row(*[rich.text.Text(cell_text(value)) for value in row])
    needed = max(len(note) for note in notes + [title])
    screen = io.StringIO()
    console = rich.console.Console(file=screen, width=width or max(needed, 200), color_system=None)
    console.print(table)
    for note in notes:
        console.print(rich.text.Text(note))
    return "\n".join(text.rstrip() for text in screen.getvalue().splitlines()) + "\n"


def write_csv(headings: list[str], rows: Cells) -> str:
    """Comma-separated values; numbers as Python writes them."""
    screen = io.StringIO()
    writer = csv.writer(screen, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows(rows)
    return screen.getvalue()


def write_markdown(title: str, headings: list[str], cells: Cells, totals: list[Any], notes: list[str]) -> str:
    """A table of Markdown, numbers at the right."""
    rules = ["---:" if _numbers(cells, i) else "---" for i in range(len(headings))]
    bold = [f"**{cell_text(value)}**" if value != "" else "" for value in totals]
    rows = [[cell_text(value).replace("|", "\\|") for value in row] for row in cells]
    lines = [f"| {' | '.join(row)} |" for row in [headings, rules, *rows, bold]]
    return "\n".join([f"**{title}**", "", *lines, "", *[f"- {note}" for note in notes], ""])


_STYLE = (
    "body{font:14px sans-serif;margin:2em;color:#1a1a1a;background:#fff}table{border-collapse:collapse}"
    "th,td{padding:.25em .8em;border-bottom:1px solid #ccc;text-align:left}.n{text-align:right;font-variant-numeric:tabular-nums}"
    "tfoot td,th{border-bottom:2px solid #595959;font-weight:bold}"
    "@media(prefers-color-scheme:dark){body{color:#f2f2f2;background:#16181d}}"
)


def write_html(title: str, headings: list[str], cells: Cells, totals: list[Any], notes: list[str]) -> str:
    """A page with the table, by itself."""
    right = [' class="n"' if _numbers(cells, i) else "" for i in range(len(headings))]

    def line(row: list[Any], tag: str) -> str:
        said = [f"<{tag}{right[i]}>{html.escape(cell_text(value))}</{tag}>" for i, value in enumerate(row)]
        return f"<tr>{''.join(said)}</tr>"

    body = "\n".join(line(row, "td") for row in cells)
    said = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{html.escape(title)}</h1>\n<table><thead>{line(headings, 'th')}</thead>\n"
        f"<tbody>{body}</tbody>\n<tfoot>{line(totals, 'td')}</tfoot></table>\n<ul>{said}</ul></body></html>\n"
    )
