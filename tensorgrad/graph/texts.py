"""The words of pictures: shapes, settings, costs and figures as a reader says them."""

from __future__ import annotations

from typing import Any

from tensorgrad.graph.costs import Cost
from tensorgrad.graph.structure import GROUP, Call, Node, Shape
from tensorgrad.graph.view import Box

# settings at which an operation does nothing special, and that a box need not say
USUAL = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "value": 0, "count_include_pad": True}


def shape_text(shape: Shape | None) -> str:
    """A shape as Python writes it, (1, 6, 28, 28), but 'scalar' for (); nothing for an unknown one."""
    if shape is None:
        return ""
    return str(shape) if shape else "scalar"


def call_text(call: Call) -> str:
    """A call as its frame is labelled: conv1 (Conv2d)."""
    text = f"{call.name} ({call.kind})" if call.name and call.name != call.kind else call.kind
    if call.kind == GROUP:
        text = call.name
    if call.repeat > 1:
        text = f"{text}, call {call.repeat}"
    if call.times > 1:
        text = f"{text} × {call.times}"
    return text if call.of is None else f"{text} backward"


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
    if (
        value is None
        or value is False
        or (name in USUAL and USUAL[name] == value)
        or name in ("shape", "input_size", "table")
    ):
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


def count_text(number: float) -> str:
    """A large number, short: 1.81 G, 61.7 k.

    >>> count_text(1814073344), count_text(61706), count_text(12)
    ('1.81 G', '61.7 k', '12')
    """
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor:
            return f"{number / factor:.3g} {unit}"
    return f"{number:g}"


def bytes_text(number: float) -> str:
    """Bytes, short: 61.0 MB (a megabyte has 1,000,000 bytes)."""
    return f"{count_text(number)}B" if number >= 1000 else f"{number:g} B"


def seconds_text(seconds: float) -> str:
    """A time, short: 1.2 ms."""
    return f"{seconds * 1e3:.3g} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.3g} µs"


def cost_lines(cost: Cost) -> list[str]:
    """The costs of a box: parameters, MACs (or FLOPs where nothing is multiplied), memory, time."""
    lines = []
    if cost.parameters:
        lines.append(f"{cost.parameters:,} parameters")
    if cost.macs:
        lines.append(f"{count_text(cost.macs)} MACs")
    elif cost.flops:
        lines.append(f"{count_text(cost.flops)} FLOPs")
    memory = [f"{bytes_text(cost.activation)} taken"] if cost.activation else []
    memory += [f"{bytes_text(cost.kept)} kept"] if cost.kept else []
    if memory:
        lines.append(", ".join(memory))
    if cost.seconds:
        back = f", backward {seconds_text(cost.backward_seconds)}" if cost.backward_seconds else ""
        lines.append(f"{seconds_text(cost.seconds)}{back}")
    return lines


def statistics_line(what: str, figures: dict[str, float] | None) -> str:
    """Mean and standard deviation; zeros, nan and inf where there are any."""
    if figures is None:
        return ""
    text = f"{what} {figures['mean']:.2g} ± {figures['std']:.2g}"
    if figures["zeros"]:
        text += f", {100 * figures['zeros']:.0f} % zeros"
    for name in ("nan", "inf"):
        if figures[name]:
            text += f", {figures[name]:.0f} {name}"
    return text


def tooltip(box: Box) -> str:
    """What an SVG shows under the mouse: the whole path and the dtype."""
    node = box.nodes[0]
    path = box.call.path if box.call is not None else node.path
    words = [path] if path and not node.name.startswith(f"{path}.") else []
    words += [node.name or node.kind] if box.kind != "module" else []
    words += [node.dtype] if node.dtype and box.kind != "module" else []
    return " ".join(words) or box.kind
