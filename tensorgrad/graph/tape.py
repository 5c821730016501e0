"""The graph of what was recorded: the tape behind some results is read, nothing is run.

The tape knows what gradients flow through, and nothing of the rest. After backward the saved values are gone, and with them
the constants among the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensorgrad.errors import GraphError, OperandError
from tensorgrad.graph.builder import Builder, Place, argument_name, checked_names, number_of
from tensorgrad.graph.structure import Graph, Node
from tensorgrad.primitive import Freed, Output, Primitive
from tensorgrad.tensor import Tensor


def read_tape(outputs: Tensor | Sequence[Tensor], names: Mapping[str, Tensor] | None = None) -> Graph:
    """The graph of what was recorded behind some results.

    outputs  a Tensor or several, computed from Tensors that require grad
    names    names for leaves and outputs: {"w": w, "x": x}; a leaf that requires grad is drawn as a parameter, another
             one as an input if it is named here, else as a constant

    Raises GraphError for a Tensor without a history.

    >>> import tensorgrad
    >>> w = tensorgrad.tensor([1.0, 2.0], requires_grad=True)
    >>> graph = read_tape((w * 3.0).sum(), names={"w": w})
    >>> [(node.kind, node.name, node.shape) for node in graph.nodes]
    [('parameter', 'w', (2,)), ('operation', 'multiply', (2,)), ('operation', 'sum', ()), ('output', 'output', ())]
    """
    roots: list[Any] = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    names = checked_names(names)
    for root in roots:
        if not isinstance(root, Tensor):
            raise OperandError(f"draw: an output is a {type(root).__name__}; give Tensors, or a module and its inputs")
        if root.node is None:
            raise GraphError(
                f"draw: the Tensor of shape {root.shape} has no recorded history; compute it from Tensors with requires_grad=True "
                "outside of no_grad, before any .detach(), or draw the module and its inputs: draw(model, x)"
            )
    return _TapeReader(names).read(roots)


class _TapeReader(Builder):
    def read(self, roots: list[Tensor]) -> Graph:
        primitives = self._primitives_behind(roots)
        for primitive in primitives:  # the calls first: they know the names of the parameters
            self.call_of(primitive.scope)
        numbers: dict[int, int] = {}  # Primitive, or array of a leaf -> number of its node
        for primitive in primitives:
            call = self.call_of(primitive.scope)
            places = [
                self._place_of(parent, saved, call, numbers)
                for parent, saved in zip(primitive.parents, _saved_inputs(primitive))
            ]
            node = self.add_operation(primitive, call)
            node.tracked = True
            _describe_results(node, primitive)
            self.note_what_is_kept(node, primitive)
            numbers[id(primitive)] = node.number
            for position, (parent, place) in enumerate(zip(primitive.parents, places)):
                if isinstance(place, tuple):
                    self.connect(place, node, argument_name(primitive, position), tracked=parent is not None)
                elif place is not None:
                    node.settings[argument_name(primitive, position)] = place
        for position, root in enumerate(roots):
            name = self.given.get(id(root.array), "output" if len(roots) == 1 else f"output[{position}]")
            place = self._place_of(root.node, None, None, numbers)
            assert isinstance(place, tuple)
            self.add_output(place, name)
        return self.finish()

    def _primitives_behind(self, roots: list[Tensor]) -> list[Primitive]:
        """All applications behind the roots, oldest first."""
        stack = [primitive_at(root.node) for root in roots]
        seen: set[Primitive] = set()
        while stack:
            node = stack.pop()
            if node is not None and node not in seen:
                seen.add(node)
                stack.extend(primitive_at(parent) for parent in node.parents)
        return sorted(seen, key=lambda node: -node.order)

    def _place_of(self, parent: Any, saved: Any, call: int | None, numbers: dict[int, int]) -> Place | Any:
        """Where an input comes from; for one without a gradient the number that it is, None where the tape has forgotten."""
        if isinstance(parent, Output):
            return numbers[id(parent.node)], parent.position
        if isinstance(parent, Primitive):
            return numbers[id(parent)], 0
        leaf = parent if isinstance(parent, Tensor) else _base(saved)
        if parent is None and not self.is_named(leaf) and number_of(leaf) is not None:
            return number_of(leaf)  # written into the operation that uses it
        if not isinstance(leaf, Tensor):
            return None
        if id(leaf.array) not in numbers:
            numbers[id(leaf.array)] = self.add_leaf(leaf, call).number
        return numbers[id(leaf.array)], 0


def primitive_at(place: Any) -> Primitive | None:
    """The application at a place on the tape; None for a leaf."""
    return place.node if isinstance(place, Output) else place if isinstance(place, Primitive) else None


def _describe_results(node: Node, primitive: Primitive) -> None:
    several = isinstance(primitive.out_shape, list)
    shapes = primitive.out_shape if several else [primitive.out_shape]
    dtypes = primitive.out_dtype if several else [primitive.out_dtype]
    node.shapes, node.dtypes = [tuple(shape) for shape in shapes], [str(dtype) for dtype in dtypes]


def _base(saved: Any) -> Any:
    """What an unrecorded view looks at: a constant vector, where matmul saved it as a column."""
    while isinstance(saved, Tensor) and saved.node is None and saved.extra is not None and saved.extra.view is not None:
        saved = saved.extra.view[0]
    return saved


def _saved_inputs(node: Primitive) -> list[Any]:
    """What a node still holds of each of its inputs, None for the rest."""
    found: list[Any] = [None] * len(node.parents)
    if not isinstance(node.saved, Freed):
        for position, value in zip(node.keeps, node.saved):
            if position >= 0:
                found[position] = value
    return found
