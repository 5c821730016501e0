"""One page with everything: a network and a data set looked at in all ways, in one file that needs nothing else."""

from __future__ import annotations

import base64
import copy
import functools
import html
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from tensorgrad.errors import ArgumentError
from tensorgrad.inspect.activations import activations
from tensorgrad.inspect.drawing import Result, name_of
from tensorgrad.inspect.embedding import embed
from tensorgrad.inspect.features import features, neighbours
from tensorgrad.inspect.filters import filters
from tensorgrad.inspect.gradcam import grad_cam
from tensorgrad.inspect.gradients import guided_backprop, integrated_gradients, saliency, smooth_grad
from tensorgrad.inspect.histograms import Histograms
from tensorgrad.inspect.layers import layers
from tensorgrad.inspect.maximise import maximise
from tensorgrad.inspect.mistakes import Answers, answers
from tensorgrad.inspect.occlusion import occlusion
from tensorgrad.inspect.running import batches, how_many, on_device, picture_at
from tensorgrad.inspect.strongest import strongest
from tensorgrad.io.atomic import replacing
from tensorgrad.nn.loss import CrossEntropyLoss
from tensorgrad.nn.module import Module
from tensorgrad.tensor import Tensor

_EMBEDDED = 1500  # pictures of t-SNE, whose time grows faster than their number


@dataclass(frozen=True)
class Section:
    """A part of the page: what it is called, what it shows, and the pictures with a line for each."""

    name: str
    text: str
    figures: list[tuple[str, Result]]


@dataclass(frozen=True)
class _Choice:
    """What the page looks at: the layers of maps, the layer whose space is looked at, the pictures."""

    maps: list[str]
    space: str
    pictures: list[int]


def report(
    model: Module,
    data: Any,
    path: str | os.PathLike[str],
    title: str = "",
    classes: Sequence[str] | None = None,
    pictures: Sequence[int] | None = None,
    histograms: Histograms | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write a self-contained HTML page that shows a classifier on a data set of (image, class); returns its path.

    pictures    which pictures of the data are looked at one by one; unless given, the surest right one and the surest mistake
    histograms  of the training, where they were recorded; otherwise those of the weights now and of one batch's gradients
    progress    called with the name of every part before it is made

    Needs the extra `viz`. Raises ArgumentError for data without pictures or without classes.
    """
    tell = progress or (lambda name: None)
    tell("answers")
    found = answers(model, data, classes=classes, progress=False)
    choice = _choose(model, data, found, pictures)
    name = title or type(model).__name__
    parts = []
    for part in _sections(model, data, found, choice, histograms, tell):
        parts.append(_as_html(part))
    text = _PAGE.format(
        title=html.escape(name),
        facts=_facts(model, found, choice),
        contents="".join(f'<li><a href="#part{i}">{html.escape(part[0])}</a></li>' for i, part in enumerate(parts)),
        parts="".join(f'<section id="part{i}">{part[1]}</section>' for i, part in enumerate(parts)),
    )
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return Path(path)


def _choose(model: Module, data: Any, found: Answers, pictures: Sequence[int] | None) -> _Choice:
    image = picture_at(data, 0)
    inner = [p for p, m in model.named_modules() if not any(m.children())]
    calls = [layer for layer in layers(model, image) if layer.name in inner and layer.name]
    maps = [layer.name for layer in calls if len(layer.shape) == 3 and min(layer.shape[1:]) > 1]
    if not calls or not maps:
        raise ArgumentError(
            f"report: {type(model).__name__} has no layers that give maps; it must be a network for pictures"
        )
    classes = found.probabilities.shape[1]
    space = next((layer.name for layer in reversed(calls) if numpy.prod(layer.shape) != classes), maps[-1])
    chosen = list(dict.fromkeys([maps[0], maps[len(maps) // 2], maps[-1]]))
    if pictures is None:
        sure = found.probabilities.max(1)
        right = found.predicted == found.labels
        pictures = []
        for kind in (right, ~right):
            if kind.any():
                pictures.append(int(numpy.where(kind, sure, -1).argmax()))
    wrong = [i for i in pictures if not 0 <= i < len(found.labels)]
    if wrong:
        raise ArgumentError(
            f"report: got picture {wrong[0]}; the data has {len(found.labels)}, 0 to {len(found.labels) - 1}"
        )
    return _Choice(chosen, space, list(pictures))


def _sections(
    model: Module,
    data: Any,
    found: Answers,
    choice: _Choice,
    histograms: Histograms | None,
    tell: Callable[[str], None],
) -> Iterator[Section]:
    classes = found.classes
    images = {i: picture_at(data, i) for i in choice.pictures}
    names = {i: f"picture {i}, {name_of(int(found.labels[i]), classes)}" for i in images}

    def each(make: Callable[..., Result]) -> list[tuple[str, Result]]:
        return [(names[i], make(model, image, classes=classes)) for i, image in images.items()]

    tell("mistakes")
    yield Section(
        "What it gets right and wrong",
        "How often which class was taken for which, and the mistakes of which the network was surest.",
        [("confusion matrix", found.confusion()), ("the surest mistakes", found.mistakes())],
    )
    tell("filters")
    yield Section(
        "The first layer's filters",
        "The weights that are laid on the pixels, as pictures.",
        [("filters", filters(model))],
    )
    tell("activations")
    yield Section(
        "Activation maps",
        "What the layers make of one picture: near the input it can still be recognised, later maps say what is there.",
        [
            (f"{names[i]}, {layer}", activations(model, image, layer))
            for i, image in images.items()
            for layer in choice.maps
        ],
    )
    tell("neighbours")
    space = features(model, data, choice.space, progress=False)
    queries = numpy.stack(list(images.values()))
    near = neighbours(model, queries, space, k=min(9, len(space)), classes=classes)
    yield Section(
        "Nearest neighbours",
        f"The pictures of the data that are nearest to the first of each row in the space of layer '{choice.space}'. "
        "A picture of the data is nearest to itself.",
        [("nearest neighbours", near)],
    )
    tell("two dimensions")
    some = type(space)(
        space.layer, space.values[:_EMBEDDED], None if space.labels is None else space.labels[:_EMBEDDED], data
    )
    yield Section(
        "The space of the last layer",
        f"Layer '{choice.space}' brought to two dimensions. Classes that form islands are told apart there.",
        [(name, embed(some, method, classes=classes)) for method, name in (("tsne", "t-SNE"), ("pca", "PCA"))],
    )
    tell("occlusion")
    side = min(next(iter(images.values())).shape[-2:])
    size = max(side // 5, 1)
    covered = each(functools.partial(occlusion, size=size, stride=max(size // 4, 1), progress=False))
    yield Section("Occlusion", "How probable the class is while a grey mask covers a part of the picture.", covered)
    tell("strongest patches")
    yield Section(
        "What units answer to",
        "The pictures that a channel answers to most strongly; the frame is exactly what the unit sees.",
        [
            (f"{layer}, channel {channel}", strongest(model, data, layer, channel, classes=classes, progress=False))
            for layer in choice.maps[:2]
            for channel in range(2)
        ],
    )
    for name, text, make in _ATTRIBUTIONS:
        tell(name)
        yield Section(name, text, each(make))
    tell("maximising")
    shape: Any = queries.shape[1:]
    bounds = (float(queries.min()), float(queries.max()))
    made = [(choice.maps[-1], 0), (choice.maps[-1], 1), ("", 0), ("", 1)]
    yield Section(
        "Pictures made for a unit",
        "Gradient ascent on the pixels, held back by decay, smoothness and blur. The last two are for classes.",
        [
            (f"{layer or 'score'}, {unit}", maximise(model, layer, unit, shape, bounds=bounds, progress=False))
            for layer, unit in made
        ],
    )
    tell("histograms")
    yield Section(
        "Weights and gradients",
        "How the values of each layer are spread, and the gradients that training would see.",
        [("weights and gradients", histograms or _histograms_now(model, data))],
    )


_ATTRIBUTIONS: tuple[tuple[str, str, Callable[..., Result]], ...] = (
    ("Saliency", "The size of the gradient of the class's score, pixel by pixel.", saliency),
    (
        "SmoothGrad",
        "The same, averaged over noisy copies of the picture.",
        functools.partial(smooth_grad, progress=False),
    ),
    (
        "Integrated gradients",
        "How much each pixel adds to the score, from a picture of zeros on; the numbers add up to the difference of scores.",
        functools.partial(integrated_gradients, progress=False),
    ),
    ("Guided backpropagation", "Only what speaks for the class is let through on the way back.", guided_backprop),
    ("Grad-CAM", "Where the last maps speak for the class.", grad_cam),
)


def _histograms_now(model: Module, data: Any) -> Histograms:
    """The weights as they are, and the gradients of the cross entropy of one batch, of a copy."""
    twin = copy.deepcopy(model).eval()
    sample = next(batches("report", data, 64))
    scores = twin(on_device(sample.images, twin))
    while isinstance(scores, (tuple, list)):
        scores = scores[0]
    labels = Tensor(numpy.asarray(sample.labels, numpy.int64)).to(scores.device)
    twin.zero_grad()
    CrossEntropyLoss()(scores, labels).backward()
    histograms = Histograms(twin)
    histograms.record(0)
    return histograms


def _facts(model: Module, found: Answers, choice: _Choice) -> str:
    rows = (
        ("network", type(model).__name__),
        ("parameters", f"{sum(p.numel() for p in model.parameters()):,}"),
        ("pictures", f"{how_many(found.data) or len(found.labels):,}"),
        ("right", f"{100 * found.accuracy:.2f} %"),
        ("layers of maps looked at", ", ".join(choice.maps)),
        ("layer whose space is looked at", choice.space),
    )
    return "".join(f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)


def _as_html(section: Section) -> tuple[str, str]:
    figures = []
    for name, result in section.figures:
        code = base64.b64encode(result.png()).decode()
        text = html.escape(f"{section.name}: {name}")
        figures.append(
            f'<figure><img alt="{text}" src="data:image/png;base64,{code}"><figcaption>{html.escape(name)}</figcaption></figure>'
        )
    heading = f"<h2>{html.escape(section.name)}</h2><p>{html.escape(section.text)}</p>"
    return section.name, heading + "".join(figures)


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: looking inside</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 0 auto; padding: 1rem 1.5rem 4rem; }}
h1 {{ font-size: 1.7rem; margin: .5rem 0; }}
h2 {{ font-size: 1.25rem; margin: 2.2rem 0 .2rem; border-top: 1px solid #ccc; padding-top: 1rem; }}
p {{ margin: .2rem 0 .8rem; max-width: 48rem; }}
table {{ border-collapse: collapse; margin: .5rem 0; }} th {{ text-align: left; font-weight: 600; padding: .1rem 1.2rem .1rem 0; }}
nav ul {{ columns: 3 14rem; padding-left: 1.2rem; }} a {{ color: #0072B2; }}
figure {{ margin: 0 0 1.2rem; }} img {{ max-width: 100%; height: auto; }} figcaption {{ color: #555; font-size: .85rem; }}
</style></head><body>
<h1>{title}: looking inside</h1>
<table>{facts}</table>
<nav><ul>{contents}</ul></nav>
{parts}
</body></html>
"""
