"""Pictures of graphs: drawn by Graphviz, saved by the file's ending, shown in Jupyter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import graphviz

from tensorgrad.errors import ArgumentError, TensorgradError
from tensorgrad.graph.json_file import to_json
from tensorgrad.graph.structure import Graph
from tensorgrad.io.atomic import replacing

PICTURES = ("svg", "png", "pdf")
TEXTS = ("", "dot", "gv")
OTHERS = ("json", "html", "onnx")

NO_DOT = (
    "a picture needs Graphviz's program `dot`, which is not on this machine's PATH; install it (Debian and Ubuntu: apt install "
    "graphviz, macOS: brew install graphviz, Windows: winget install graphviz), or save the graph as a .html or .dot file, which "
    "need no program"
)


class GraphvizError(TensorgradError, RuntimeError):
    """Graphviz's program `dot` is missing, or could not draw."""


class Picture(graphviz.Digraph):
    """A drawn graph: a graphviz.Digraph that saves itself by the file's ending and shows itself in Jupyter.

    `.source` is its DOT text, `.graph` the typed graph that it shows, `.whole` the graph from which that was taken.
    """

    graph: Graph
    whole: Graph
    dark: bool = False
    export: Callable[[Any], None] | None = None  # writes an ONNX model, where a model is what was drawn

    def save(self, filename: Any = None, directory: Any = None, *, skip_existing: bool | None = False) -> str:
        """Write it to a file by its ending; returns the path.

            .svg .png .pdf   a picture, drawn by the program `dot`
            .dot .gv         the text that `dot` reads
            .html            a page to look around in: zoom, search, open and close modules; needs nothing else
            .json            the typed graph
            .onnx            the model itself, for other programs; where a model was drawn

        Raises GraphvizError where a picture needs the program `dot` and there is none, ArgumentError for another ending.
        Nothing is left half-written.
        """
        path = Path(directory or "", self.filename if filename is None else os.fspath(filename))
        ending = _ending(path)
        if ending not in (*PICTURES, *TEXTS, *OTHERS):
            known = ", ".join(f".{name}" for name in (*PICTURES, "dot", *OTHERS))
            raise ArgumentError(f"Picture.save: got the ending {path.suffix!r} of {str(path)!r}; it can write {known}")
        if skip_existing and path.exists():
            return str(path)
        if ending == "onnx":
            if self.export is None:
                raise ArgumentError(
                    "Picture.save: ONNX is for models; draw the model and its inputs, model.graph(x), not a result"
                )
            self.export(path)
            return str(path)
        content = self._content(ending)
        with replacing(path) as draft:
            draft.write_bytes(content)
        return str(path)

    def _content(self, ending: str) -> bytes:
        if ending in PICTURES:
            return self.rendered(ending)
        if ending == "json":
            return (to_json(self.whole, indent=1) + "\n").encode()
        if ending == "html":
            from tensorgrad.graph.page import page_of

            return page_of(self.whole, dark=self.dark).encode()
        return str(self.source).encode()

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

    def _repr_svg_(self) -> str | None:
        """For whoever asks for the SVG by itself; None without `dot`."""
        return self.rendered("svg").decode() if dot_is_here() else None


def dot_is_here() -> bool:
    """Whether Graphviz's program `dot` is there and works."""
    try:
        graphviz.version()
    except (graphviz.ExecutableNotFound, graphviz.CalledProcessError):
        return False
    return True


def _ending(path: Path) -> str:
    return path.suffix.lower().lstrip(".")
