"""The exporter that walks through a run and writes down ONNX nodes; what each primitive becomes is in onnx_operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy

from tensorgrad.backend import backend_of
from tensorgrad.errors import ArgumentError
from tensorgrad.tensor import Tensor

#: (exporter, primitive, names of operands, results) -> ONNX names of the results
Rule = Callable[["Exporter", Any, list[str], tuple[Tensor, ...]], "str | Sequence[str]"]
RULES: dict[str, Rule] = {}


class Exporter:
    """The ONNX nodes of a run, in order; values are told apart by their arrays."""

    def __init__(self, names_of_state: dict[int, str], dynamic_batch: bool) -> None:
        self.names_of_state = names_of_state
        self.dynamic_batch = dynamic_batch
        self.batch: int | None = None
        self.inputs: list[tuple[str, Tensor]] = []
        self.outputs: list[tuple[str, Tensor]] = []
        self.nodes: list[Any] = []
        self.constants: dict[str, numpy.ndarray] = {}
        self.names: dict[int, str] = {}  # array -> its name
        self.held: list[Any] = []  # arrays, so that ids stay theirs
        self.taken: set[str] = set()
        self.stale: set[int] = set()  # arrays whose memory was changed through another view

    # names

    def fresh(self, wanted: str) -> str:
        """A name that nothing bears yet."""
        name, number = wanted, 1
        while name in self.taken:
            number += 1
            name = f"{wanted}_{number}"
        self.taken.add(name)
        return name

    def bind(self, x: Tensor, name: str) -> None:
        """From now on this array is called so."""
        self.names[id(x.array)] = name
        self.held.append(x.array)

    def name_of(self, x: Any, like: Any = None) -> str:
        """The name of an operand; a constant where nothing has made it."""
        if not isinstance(x, Tensor):
            return self.constant(numpy.asarray(x, getattr(like, "dtype", None)))
        if id(x.array) in self.stale:
            raise ArgumentError(
                "export_onnx: a part of a Tensor was changed in place and then read through another view, which ONNX cannot say; "
                "use a .clone() and an out-of-place operation"
            )
        if id(x.array) not in self.names:
            name = self.fresh(self.names_of_state.get(id(x.array), "constant"))
            self.constants[name] = host_values(x)
            self.bind(x, name)
        return self.names[id(x.array)]

    def constant(self, values: Any, name: str = "constant") -> str:
        """A new initialiser."""
        name = self.fresh(name)
        self.constants[name] = numpy.asarray(values)
        return name

    def integers(self, *values: int) -> str:
        """A new initialiser of whole numbers, as shapes and axes are given."""
        return self.constant(numpy.asarray(values, numpy.int64))

    def add_input(self, name: str, x: Tensor) -> None:
        """A value that the model is given."""
        name = self.fresh(name)
        self.bind(x, name)
        self.inputs.append((name, x))
        if self.batch is None and x.shape:
            self.batch = x.shape[0]

    def node(self, kind: str, operands: Sequence[str], **attributes: Any) -> str:
        """A new ONNX node with one result, whose name is returned."""
        return self.node_of_several(kind, operands, 1, **attributes)[0]

    def node_of_several(self, kind: str, operands: Sequence[str], results: int, **attributes: Any) -> list[str]:
        """A new ONNX node; the names of its results."""
        from onnx import helper

        names = [self.fresh(kind.lower()) for _ in range(results)]
        self.nodes.append(helper.make_node(kind, list(operands), names, name=self.fresh(f"{kind}_node"), **attributes))
        return names

    # a run

    def apply(self, primitive: Any, operands: tuple[Any, ...], results: tuple[Tensor, ...]) -> None:
        """Called for every application of a primitive."""
        like = next((x for x in operands if isinstance(x, Tensor)), None)
        names = ["" if x is None else self.name_of(x, like) for x in operands]
        given = [name for name in names if name]
        if given and all(name in self.constants for name in given):
            for z in results:
                name = self.fresh(primitive.name)
                self.constants[name] = host_values(z)
                self.bind(z, name)
            return
        rule = RULES.get(primitive.name)
        if rule is None:
            raise ArgumentError(
                f"export_onnx: the operation {primitive.name!r} has no ONNX form here; there are forms for "
                f"{', '.join(sorted(RULES))}"
            )
        made = rule(self, primitive, names, results)
        for z, name in zip(results, [made] if isinstance(made, str) else made):
            self.bind(z, name)

    def write(self, x: Tensor, z: Tensor, operation: str) -> None:
        """Called when the values of z were written into x: x is then what z is, and whoever else looks there is out of date."""
        name = self.name_of(z, x)
        base = x
        while base.extra is not None and base.extra.view is not None:
            base = base.extra.view[0]
        seen = [base, *(view for ref in base.storage.views if (view := ref()) is not None)]
        self.stale |= {id(other.array) for other in seen if other.array is not x.array}
        self.held += [other.array for other in seen]
        self.bind(x, name)
        self.stale.discard(id(x.array))

    def add_outputs(self, results: list[Tensor]) -> None:
        """The values that the model gives, called output (output_2, ...) whatever made them."""
        for z in results:
            name = self.fresh("output")
            from onnx import helper

            self.nodes.append(helper.make_node("Identity", [self.name_of(z)], [name], name=self.fresh("Identity_node")))
            self.outputs.append((name, z))

    def used_nodes(self) -> list[Any]:
        """The nodes that the outputs need, in order."""
        needed = {name for name, _ in self.outputs}
        used = []
        for node in reversed(self.nodes):
            if needed & set(node.output):
                needed |= set(node.input)
                used.append(node)
        return used[::-1]

    def constants_used(self, nodes: list[Any]) -> dict[str, numpy.ndarray]:
        """The initialisers that these nodes read."""
        read = {name for node in nodes for name in node.input}
        return {name: values for name, values in self.constants.items() if name in read}

    def target(self, x_shape: tuple[int, ...], shape: tuple[int, ...]) -> str:
        """The shape of a result as an operand of Reshape; 0 stands for the batch where that is left open."""
        if self.dynamic_batch and shape and x_shape and shape[0] == x_shape[0] == self.batch:
            shape = (0, *shape[1:])
        elif self.dynamic_batch and self.batch is not None and self.batch in x_shape[:1]:
            raise ArgumentError(
                f"export_onnx: a reshape from {x_shape} to {shape} computes with the batch size; use dynamic_batch=False"
            )
        return self.integers(*shape)


def host_values(x: Any) -> numpy.ndarray:
    """The values of a Tensor on the host, in memory of their own."""
    return numpy.array(backend_of(x.array).to_host(x.array))
