"""Shapes, pieces and broadcasting: every way to ask for them gives what NumPy gives, and is refused as PyTorch refuses it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.tensor import Tensor

X = np.arange(24.0).reshape(2, 3, 4)
COLUMNS = X[:, :1]


def whole(*numbers: int) -> Tensor:
    return tg.tensor(numbers, dtype=tg.int64)


SAME: dict[str, tuple[Any, Any]] = {
    "reshape_as": (lambda x: x.reshape_as(tg.zeros(4, 6)), X.reshape(4, 6)),
    "view_as": (lambda x: x.view_as(tg.zeros(8, 3)), X.reshape(8, 3)),
    "reshape, a size worked out": (lambda x: x.reshape(3, -1, 2), X.reshape(3, 4, 2)),
    "flatten": (lambda x: x.flatten(), X.reshape(24)),
    "flatten from 1": (lambda x: x.flatten(1), X.reshape(2, 12)),
    "flatten 0 and 1": (lambda x: x.flatten(0, 1), X.reshape(6, 4)),
    "flatten one": (lambda x: x.flatten(1, 1), X),
    "unflatten the first": (lambda x: x.unflatten(0, (2, 1)), X.reshape(2, 1, 3, 4)),
    "unflatten the last": (lambda x: x.unflatten(-1, (-1, 2)), X.reshape(2, 3, 2, 2)),
    "unflatten in the middle": (lambda x: x.unflatten(1, (1, -1)), X.reshape(2, 1, 3, 4)),
    "unflatten nothing": (lambda x: x[:0].unflatten(0, (0, 5)), X[:0].reshape(0, 5, 3, 4)),
    "unsqueeze": (lambda x: x.unsqueeze(1), X[:, None]),
    "squeeze of a longer one": (lambda x: x.squeeze(1), X),
    "squeeze from the end": (lambda x: x[:, :1].squeeze(-2), X[:, 0]),
    "squeeze of two": (lambda x: x[:1, :1].squeeze((0, 2)), X[0, :1]),
    "squeeze of all": (lambda x: x[:1, :, :1].squeeze(), X[0, :, 0]),
    "mT": (lambda x: x.mT, X.swapaxes(1, 2)),
    "t": (lambda x: x[0].t(), X[0].T),
    "t of a vector": (lambda x: x[0, 0].t(), X[0, 0]),
    "contiguous": (lambda x: x.mT.contiguous(), X.swapaxes(1, 2)),
    "expand": (lambda x: x[:, :1].expand(-1, 3, -1), COLUMNS.repeat(3, 1)),
    "expand in front": (lambda x: x[0].expand(5, -1, -1), np.stack([X[0]] * 5)),
    "expand_as": (lambda x: x[:, :1].expand_as(tg.zeros(2, 2, 4)), COLUMNS.repeat(2, 1)),
    "broadcast_to": (lambda x: tg.broadcast_to(x[0, :1], (2, -1, 4)), np.stack([X[0, :1]] * 2)),
    "broadcast_tensors": (lambda x: tg.broadcast_tensors(x, x[0, 0]), [X, X * 0 + X[0, 0]]),
    "broadcast_tensors of one": (lambda x: tg.broadcast_tensors(x), [X]),
    "unbind": (lambda x: x.unbind(1), [X[:, 0], X[:, 1], X[:, 2]]),
    "split": (lambda x: x.split(3, 2), [X[..., :3], X[..., 3:]]),
    "split of all": (lambda x: x.split(9), [X]),
    "split of nothing": (lambda x: x[:0].split(0), [X[:0]]),
    "split_with_sizes": (lambda x: x.split_with_sizes([1, 0, 2], 1), [X[:, :1], X[:, 1:1], X[:, 1:]]),
    "chunk": (lambda x: x.chunk(1, 2), [X]),
    "chunk in fewer": (lambda x: x.chunk(3, 2), [X[..., :2], X[..., 2:]]),
    "tensor_split": (lambda x: x.tensor_split(3, 2), [X[..., :2], X[..., 2:3], X[..., 3:]]),
    "tensor_split in one": (lambda x: x.tensor_split(1), [X]),
    "tensor_split at": (lambda x: x.tensor_split([1, -1], 2), [X[..., :1], X[..., 1:3], X[..., 3:]]),
    "tensor_split at a Tensor": (lambda x: x.tensor_split(whole(1), 1), [X[:, :1], X[:, 1:]]),
    "tensor_split by a Tensor": (lambda x: x.tensor_split(tg.tensor(2), 2), [X[..., :2], X[..., 2:]]),
    "tensor_split with an empty piece": (lambda x: x.tensor_split((2, 2), 1), [X[:, :2], X[:, 2:2], X[:, 2:]]),
    "tensor_split backward": (lambda x: x.tensor_split((3, 1), 2), [X[..., :3], X[..., 3:1], X[..., 1:]]),
    "hsplit": (lambda x: x.hsplit(3), np.hsplit(X, 3)),
    "hsplit of a vector": (lambda x: x[0, 0].hsplit(2), np.hsplit(X[0, 0], 2)),
    "hsplit at": (lambda x: x.hsplit([1]), np.hsplit(X, [1])),
    "vsplit": (lambda x: x.vsplit(2), np.vsplit(X, 2)),
    "vsplit of a matrix": (lambda x: x[0].vsplit(3), np.vsplit(X[0], 3)),
    "vsplit in one": (lambda x: x.vsplit(1), [X]),
    "dsplit": (lambda x: x.dsplit(2), np.dsplit(X, 2)),
    "dsplit at": (lambda x: x.dsplit((1, 3)), np.dsplit(X, [1, 3])),
}  # fmt: skip


@pytest.mark.parametrize("name", SAME)
def test_same_as_numpy(name, device):
    function, expected = SAME[name]
    found = function(tg.tensor(X, device=device))
    parts, wanted = (found, expected) if isinstance(found, tuple) else ([found], [expected])
    assert [(part.shape, part.tolist()) for part in parts] == [(z.shape, z.tolist()) for z in wanted]


def test_what_lies_in_order_is_not_copied():
    x = tg.tensor(X)
    assert x.contiguous() is x
    assert x.mT.contiguous().is_contiguous()


def test_a_layout_that_the_library_chose_is_copied_by_view(device):
    z = tg.tensor(X, device=device).mT * 1  # lies in memory as its factor does
    assert z.view(2, 12).tolist() == X.swapaxes(1, 2).reshape(2, 12).tolist()


def test_broadcast_shapes():
    assert tg.broadcast_shapes((2, 1), 3, (1,)) == (2, 3)


def test_broadcast_tensors_takes_a_list_too():
    x = tg.tensor(X)
    for xs in ([x[:, :1], x], (x[:, :1], x)):
        assert [z.tolist() for z in tg.broadcast_tensors(xs)] == [COLUMNS.repeat(3, 1).tolist(), X.tolist()]


REFUSED: dict[str, tuple[type[Exception], Any, str]] = {
    "reshape below -1": (RuntimeError, lambda x: x.reshape(-2, 12), "got size -2"),
    "reshape, two unknown": (RuntimeError, lambda x: x.reshape(-1, -1), r"\(-1, -1\)"),
    "reshape to other sizes": (RuntimeError, lambda x: x.reshape(5), "24 values"),
    "reshape to no multiple": (RuntimeError, lambda x: x.reshape(-1, 7), "24 values"),
    "reshape of nothing": (RuntimeError, lambda x: x[:0].reshape(-1, 0), "0 values"),
    "reshape to half a size": (TypeError, lambda x: x.reshape(1.5), "reshape: got sizes"),
    "flatten backward": (RuntimeError, lambda x: x.flatten(2, 1), "start_dim 2 comes after end_dim 1"),
    "unflatten, two unknown": (RuntimeError, lambda x: x.unflatten(1, (-1, -1)), "multiply up to 3"),
    "unflatten to nothing": (RuntimeError, lambda x: x.unflatten(1, ()), "got no sizes"),
    "unflatten to a multiple": (RuntimeError, lambda x: x.unflatten(1, (2, -1)), "multiply up to 3"),
    "unflatten by 0": (RuntimeError, lambda x: x.unflatten(1, (0, -1)), "multiply up to 3"),
    "t of three": (RuntimeError, lambda x: x.t(), "t: got shape"),
    "mT of one": (RuntimeError, lambda x: x[0, 0].mT, "mT: got shape"),
    "unsqueeze too far": (IndexError, lambda x: x.unsqueeze(5), "unsqueeze: "),
    "flatten too far": (IndexError, lambda x: x.flatten(3), "flatten: "),
    "flatten to too far": (IndexError, lambda x: x.flatten(0, 3), "flatten: "),
    "unflatten too far": (IndexError, lambda x: x.unflatten(3, (1, 4)), "unflatten: "),
    "squeeze too far": (IndexError, lambda x: x.squeeze(5), "squeeze: "),
    "squeeze just too far": (IndexError, lambda x: x[:1].squeeze(3), "squeeze: "),
    "permute twice": (RuntimeError, lambda x: x.permute(0, 0, 1), "permute: "),
    "permute too far": (IndexError, lambda x: x.permute(0, 1, 3), "permute: "),
    "transpose too far": (IndexError, lambda x: x.transpose(0, 5), "transpose: "),
    "movedim from one twice": (RuntimeError, lambda x: x.movedim((0, 0), (0, 1)), "appears twice"),
    "movedim to one twice": (RuntimeError, lambda x: x.movedim((0, 1), (1, 1)), "appears twice"),
    "movedim of fewer": (RuntimeError, lambda x: x.movedim((0, 1), (1,)), "equally many"),
    "expand to fewer": (RuntimeError, lambda x: x.expand(3, 4), r"got shape \(3, 4\)"),
    "expand to others": (RuntimeError, lambda x: x.expand(2, 3, 5), r"got shape \(2, 3, 5\)"),
    "expand in front to -1": (RuntimeError, lambda x: x.expand(-1, 2, 3, 4), r"got shape \(-1, 2, 3, 4\)"),
    "broadcast_shapes": (RuntimeError, lambda x: tg.broadcast_shapes((2,), 3), r"got \(2,\), \(3,\);"),
    "broadcast_tensors of no common shape": (RuntimeError, lambda x: tg.broadcast_tensors(x[0], x[0].T), r"\(3, 4\), \(4, 3\);"),
    "unbind of a number": (IndexError, lambda x: x[0, 0, 0].unbind(), "unbind: "),
    "split of a number": (RuntimeError, lambda x: x[0, 0, 0].split(1), "split: "),
    "split by 0": (RuntimeError, lambda x: x.split(0), "split: got size 0"),
    "split_with_sizes to fewer": (RuntimeError, lambda x: x.split_with_sizes([1, 1], 1), "add up to 3"),
    "split_with_sizes below 0": (RuntimeError, lambda x: x.split_with_sizes([-1, 4], 1), "add up to 3"),
    "split_with_sizes of a number": (RuntimeError, lambda x: x[0, 0, 0].split_with_sizes([1]), "split_with_sizes: "),
    "chunk in none": (RuntimeError, lambda x: x.chunk(0), "got 0 chunks"),
    "chunk of a number": (RuntimeError, lambda x: x[0, 0, 0].chunk(1), "chunk: "),
    "tensor_split in none": (RuntimeError, lambda x: x.tensor_split(0), "got 0 sections"),
    "tensor_split at floats": (RuntimeError, lambda x: x.tensor_split(tg.ones(1)), "it takes int64"),
    "tensor_split at a matrix": (RuntimeError, lambda x: x.tensor_split(tg.ones(1, 1).long()), "it takes int64"),
    "tensor_split of a number": (RuntimeError, lambda x: x[0, 0, 0].tensor_split(1), "tensor_split: "),
    "hsplit in parts of unequal size": (RuntimeError, lambda x: x.hsplit(2), "hsplit: got 2 sections.* divide 3"),
    "hsplit of a number": (RuntimeError, lambda x: x[0, 0, 0].hsplit(1), "at least 1 dim"),
    "hsplit by half": (TypeError, lambda x: x.hsplit(1.5), "got a float"),
    "hsplit by a word": (TypeError, lambda x: x.hsplit("1"), "got a str"),
    "vsplit of a vector": (RuntimeError, lambda x: x[0, 0].vsplit(1), "vsplit: .* at least 2 dim"),
    "vsplit in none": (RuntimeError, lambda x: x.vsplit(0), "vsplit: got 0 sections"),
    "vsplit in less than none": (RuntimeError, lambda x: x.vsplit(-1), "vsplit: got -1 sections"),
    "dsplit of a matrix": (RuntimeError, lambda x: x[0].dsplit(1), "dsplit: .* at least 3 dim"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    kind, call, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        call(tg.tensor(X))


@pytest.mark.oracle
@pytest.mark.parametrize("name", [*SAME, *REFUSED])
def test_as_pytorch(name):
    """The same calls, of torch."""
    torch = pytest.importorskip("torch")
    call = SAME[name][0] if name in SAME else REFUSED[name][1]

    def whole(*numbers: int) -> Any:
        return torch.tensor(numbers)

    theirs = type(call)(call.__code__, {**call.__globals__, "tg": torch, "whole": whole})
    if name in REFUSED:
        with pytest.raises(REFUSED[name][0]):
            theirs(torch.tensor(X))
        return
    found, expected = theirs(torch.tensor(X)), SAME[name][1]
    parts, wanted = (found, expected) if isinstance(found, (tuple, list)) else ([found], [expected])
    assert [(tuple(part.shape), part.tolist()) for part in parts] == [(z.shape, z.tolist()) for z in wanted]
