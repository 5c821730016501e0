"""Einstein's summation: products of Tensors written with a letter for each dimension."""

from __future__ import annotations

import functools
import string
from collections.abc import Sequence
from math import prod
from typing import Any

from tensorgrad.autocasting import under_autocast
from tensorgrad.errors import ShapeError
from tensorgrad.ops.broadcasting import broadcast_to
from tensorgrad.ops.diagonals import diagonal
from tensorgrad.ops.matmul import matmul, same_dtype
from tensorgrad.ops.shape import permute, reshape
from tensorgrad.tensor import Tensor

# what tensorgrad offers under these names
__all__ = [
    "einsum",
]

# A dimension is named by its letter, or by a number: those of '...', counted from the last one (-1, -2, ...).
Label = Any  # str | int


@under_autocast
def einsum(equation: Any, *operands: Any) -> Tensor:
    """The sum over all letters that are not in the result, of the products of the operands' values.

    'ij,jk->ik' is the product of two matrices, 'ii->i' a diagonal, 'bij,bjk->bik' a stack of products, '...i->...' a sum. Without
    '->' the result has the letters that occur once, in the order of the alphabet. A dimension of length 1 fits every length.
    The letters may be given as lists of numbers from 0 to 51: einsum(x, [0, 1], y, [1, 2], [0, 2]).

    >>> import tensorgrad
    >>> x, y = tensorgrad.ones(2, 3), tensorgrad.ones(3, 4)
    >>> tensorgrad.einsum("ij,jk->ik", x, y).shape
    (2, 4)
    """
    if not isinstance(equation, str):
        equation, operands = _from_lists((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    if not operands:
        raise ShapeError("einsum: got no operands; it needs at least one")
    xs = same_dtype("einsum", *operands)
    inputs, output = _parsed(equation, tuple([x.array.shape for x in xs]))
    labelled = [_without_repeats(x, list(labels)) for x, labels in zip(xs, inputs)]
    x, labels = labelled[0]
    for place, (y, others) in enumerate(labelled[1:], 1):
        later = {label for _, rest in labelled[place + 1 :] for label in rest}.union(output)
        x, labels = _contracted(x, labels, y, others, later)
    x, labels = _summed(x, labels, set(output))
    return _ordered(x, labels, output)


def _from_lists(arguments: Sequence[Any]) -> tuple[str, tuple[Tensor, ...]]:
    """The form with lists of numbers, as the one with letters."""

    def letters(numbers: Sequence[Any]) -> str:
        for n in numbers:
            if n is not Ellipsis and not 0 <= n < len(string.ascii_letters):
                raise ShapeError(
                    f"einsum: got the subscript {n}; subscripts are from 0 to {len(string.ascii_letters) - 1}"
                )
        return "".join("..." if n is Ellipsis else string.ascii_letters[n] for n in numbers)

    count = len(arguments) // 2
    equation = ",".join(letters(arguments[2 * i + 1]) for i in range(count))
    if len(arguments) % 2:
        equation += "->" + letters(arguments[-1])
    return equation, tuple(arguments[2 * i] for i in range(count))


@functools.lru_cache(maxsize=256)
def _parsed(equation: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[list[list[Label]], list[Label]]:
    """The labels of the dimensions of every operand of these shapes, and of the result's."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ShapeError(f"einsum: '{equation}' names {len(terms)} operands, got {len(shapes)}")
    inputs = [_labels(equation, term, shape) for term, shape in zip(terms, shapes)]
    dots: list[Label] = sorted({label for labels in inputs for label in labels if isinstance(label, int)})
    if not arrow:
        letters = [label for labels in inputs for label in labels if isinstance(label, str)]
        return inputs, [*dots, *sorted(label for label in set(letters) if letters.count(label) == 1)]
    output: list[Label] = []
    for part in _parts(equation, right):
        output += dots if part == "..." else [part]
    for label in output:
        if output.count(label) > 1:
            raise ShapeError(f"einsum: '{equation}' has {label!r} twice in the result")
        if not any(label in labels for labels in inputs):
            raise ShapeError(f"einsum: '{equation}' has {label!r} in the result, but in no operand")
    return inputs, output


def _parts(equation: str, term: str) -> list[str]:
    """Letters, and '...' at most once."""
    before, dots, behind = term.partition("...")
    parts = [*before, *([dots] if dots else []), *behind]
    for part in parts:
        if part != "..." and part not in string.ascii_letters:
            raise ShapeError(f"einsum: '{equation}' has {part!r} in it; dimensions are letters, and '...' once")
    return parts


def _labels(equation: str, term: str, shape: tuple[int, ...]) -> list[Label]:
    parts = _parts(equation, term)
    covered = len(shape) - len([part for part in parts if part != "..."])
    if covered < 0 or (covered and "..." not in parts):
        raise ShapeError(f"einsum: '{term}' in '{equation}' does not fit an operand of shape {shape}")
    labels: list[Label] = []
    for part in parts:
        labels += list(range(-covered, 0)) if part == "..." else [part]
    return labels


def _without_repeats(x: Tensor, labels: list[Label]) -> tuple[Tensor, list[Label]]:
    """A label that comes twice in an operand stands for the diagonal."""
    if len(set(labels)) == len(labels):
        return x, labels
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            if x.array.shape[first] != x.array.shape[second]:
                raise ShapeError(
                    f"einsum: {label!r} stands for sizes {x.shape[first]} and {x.shape[second]} of one operand"
                )
            x = diagonal(x, 0, first, second)
            labels = [name for place, name in enumerate(labels) if place not in (first, second)] + [label]
    return x, labels


def _summed(x: Tensor, labels: list[Label], wanted: set[Label]) -> tuple[Tensor, list[Label]]:
    """x, summed over what is not wanted."""
    gone = [place for place, label in enumerate(labels) if label not in wanted]
    return (x.sum(gone, dtype=x.dtype) if gone else x), [label for label in labels if label in wanted]


def _contracted(
    x: Tensor, labels_x: list[Label], y: Tensor, labels_y: list[Label], later: set[Label]
) -> tuple[Tensor, list[Label]]:
    """The product of two operands, summed over the labels that nobody needs later: one product of stacks of matrices."""
    x, labels_x = _summed(x, labels_x, later.union(labels_y))
    y, labels_y = _summed(y, labels_y, later.union(labels_x))
    shared = [label for label in labels_x if label in labels_y]
    size_x, size_y = dict(zip(labels_x, x.array.shape)), dict(zip(labels_y, y.array.shape))
    for label in shared:
        n, m = size_x[label], size_y[label]
        if n != m and 1 not in (n, m):
            raise ShapeError(f"einsum: {label!r} stands for sizes {n} and {m}; they must be equal, or one of them 1")
        size_x[label] = size_y[label] = m if n == 1 else n
    x = _widened(x, labels_x, size_x)
    y = _widened(y, labels_y, size_y)
    stacked = [label for label in shared if label in later]
    inner = [label for label in shared if label not in later]
    rows = [label for label in labels_x if label not in shared]
    columns = [label for label in labels_y if label not in shared]
    sizes = {**size_x, **size_y}

    def count(names: list[Label]) -> int:
        return prod(sizes[name] for name in names)

    left = _ordered(x, labels_x, [*stacked, *rows, *inner])
    right = _ordered(y, labels_y, [*stacked, *inner, *columns])
    stack = [count(stacked)] if stacked else []
    left = _shaped(left, (*stack, count(rows), count(inner)))
    right = _shaped(right, (*stack, count(inner), count(columns)))
    z = left * right if not inner and not rows and not columns else matmul(left, right)
    labels = [*stacked, *rows, *columns]
    return _shaped(z, tuple([sizes[label] for label in labels])), labels


def _ordered(x: Tensor, labels: list[Label], wanted: list[Label]) -> Tensor:
    """x with its dimensions in the order of `wanted`."""
    return x if labels == wanted else permute(x, *[labels.index(label) for label in wanted])


def _shaped(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    return x if x.array.shape == shape else reshape(x, shape)


def _widened(x: Tensor, labels: list[Label], sizes: dict[Label, int]) -> Tensor:
    shape = tuple(sizes[label] for label in labels)
    return x if shape == x.array.shape else broadcast_to(x, shape)
