"""The pictures in docs/images are those that docs/make_images.py draws today."""

import html
import importlib.util
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def images():
    spec = importlib.util.spec_from_file_location("make_images", DOCS / "make_images.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.PICTURES


PICTURES = images()


SVG = "{http://www.w3.org/2000/svg}"


def boxes_in_the_svg(svg):
    """The texts of every box by its identifier."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        if group.get("class") == "node" and (name := group.find(f"{SVG}title").text)[0] in "nm":
            found[name] = "".join("".join(text.itertext()) for text in group.iter(f"{SVG}text"))
    return {name: "".join(text.split()) for name, text in found.items()}


def boxes_in_the_source(source):
    found = {}
    for name, label in re.findall(r"^\s*([nm]\d+) \[label=<(.*?)> [a-z]+=", source, re.MULTILINE):
        found[name] = "".join(html.unescape(re.sub(r"<[^>]*>", "", label)).split())
    return found


@pytest.mark.parametrize("name", PICTURES)
def test_an_image_says_what_the_graph_says(name):
    svg = (DOCS / "images" / f"{name}.svg").read_bytes()
    assert len(svg) < 40_000, "small enough for a README"
    drawn = boxes_in_the_svg(svg)
    assert len(drawn) > 3
    assert drawn == boxes_in_the_source(PICTURES[name]().source), "run: python docs/make_images.py"


def test_every_image_is_made_by_the_script():
    assert {path.stem for path in (DOCS / "images").glob("*.svg")} >= set(PICTURES)
