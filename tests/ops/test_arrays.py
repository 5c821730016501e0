"""Operations that reduce, rearrange, index and sort: values, dtypes, ties, nan, empty Tensors, views and refusals.

What has derivatives is checked in the table of cases; here stands what the table cannot say.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.autograd import grad
from tensorgrad.backend import backend_of
from tensorgrad.errors import GraphError
from tensorgrad.gradcheck import gradcheck
from tensorgrad.tensor import Tensor

inf, nan = math.inf, math.nan


def numbers(device: str, *shape: int) -> Tensor:
    """0, 1, 2, ... as float64."""
    return tg.arange(math.prod(shape), dtype=tg.float64, device=device).reshape(shape)


def values(z: Any) -> Any:
    """Results as lists."""
    return [values(part) for part in z] if isinstance(z, (tuple, list)) else z.tolist()


VALUES = {
    "nansum": (lambda x: tg.nansum(x), [1.0, nan, 2.0], 3.0),
    "nanmean": (lambda x: x.nanmean(0), [[1.0, nan], [3.0, 5.0]], [2.0, 5.0]),
    "aminmax": (lambda x: tg.aminmax(x), [3.0, 1.0, 2.0], [1.0, 3.0]),
    "max of two": (lambda x: tg.max(x, 2 - x), [0.0, 1.0, 3.0], [2.0, 1.0, 3.0]),
    "count_nonzero": (lambda x: x.count_nonzero(1), [[0.0, 1.0], [2.0, 3.0]], [1, 2]),
    "median of an even number is the lower": (lambda x: x.median(), [4.0, 1.0, 3.0, 2.0], 2.0),
    "nanmedian": (lambda x: x.nanmedian(0), [nan, 5.0, 1.0, 3.0], [3.0, 3]),
    "median with nan": (lambda x: x.median(0).indices, [5.0, nan, 1.0], 1),
    "mode takes the smallest of the most frequent": (lambda x: x.mode(), [2.0, 1.0, 2.0, 1.0, 3.0], [1.0, 3]),
    "kthvalue": (lambda x: x.kthvalue(2), [7.0, 5.0, 6.0], [6.0, 2]),
    "topk": (lambda x: x.topk(2), [1.0, 3.0, 2.0], [[3.0, 2.0], [1, 2]]),
    "sort puts nan last": (lambda x: x.sort().indices, [2.0, nan, 1.0], [2, 0, 1]),
    "sort down puts nan first": (lambda x: x.sort(descending=True).indices, [2.0, nan, 1.0], [1, 0, 2]),
    "equal values keep their order": (lambda x: x.sort(descending=True).indices, [1.0, 2.0, 1.0, 2.0], [1, 3, 0, 2]),
    "quantiles": (lambda x: x.quantile(tg.tensor([0.0, 0.25, 1.0], dtype=tg.float64, device=x.device)),
                  [3.0, 1.0, 2.0], [1.0, 1.5, 3.0]),
    "nanquantile": (lambda x: x.nanquantile(0.5), [nan, 1.0, 2.0], 1.5),
    "quantile keeps": (lambda x: x.quantile(0.5, 1, True), [[1.0, 3.0]], [[2.0]]),
    "histc": (lambda x: x.histc(3, 0, 3), [0.0, 1.0, 2.9, 3.0, 4.0], [1.0, 1.0, 2.0]),
    "histc of its own range": (lambda x: x.histc(2), [1.0, 2.0, 3.0], [1.0, 2.0]),
    "unique": (lambda x: x.unique(return_inverse=True, return_counts=True), [3.0, 1.0, 3.0],
               [[1.0, 3.0], [1, 0, 1], [1, 2]]),
    "unique rows": (lambda x: x.unique(dim=0, return_counts=True), [[2.0, 1.0], [1.0, 5.0], [2.0, 1.0]],
                    [[[1.0, 5.0], [2.0, 1.0]], [1, 2]]),
    "unique columns": (lambda x: x.unique(dim=1), [[2.0, 1.0, 2.0]], [[1.0, 2.0]]),
    "unique_consecutive": (lambda x: x.unique_consecutive(return_counts=True), [1.0, 1.0, 2.0, 1.0],
                           [[1.0, 2.0, 1.0], [2, 1, 1]]),
    "searchsorted": (lambda x: tg.searchsorted(x, x), [1.0, 3.0, 3.0], [0, 1, 1]),
    "searchsorted right": (lambda x: tg.searchsorted(x, x, right=True), [1.0, 3.0, 3.0], [1, 3, 3]),
    "searchsorted rows": (lambda x: tg.searchsorted(x, x[:, :1] + 1), [[1.0, 3.0], [0.0, 0.5]], [[1], [2]]),
    "bucketize": (lambda x: tg.bucketize(x, tg.tensor([1.0, 2.0], device=x.device)), [0.0, 1.0, 5.0], [0, 0, 2]),
    "nonzero": (lambda x: x.nonzero(), [[0.0, 1.0], [2.0, 0.0]], [[0, 1], [1, 0]]),
    "nonzero as a tuple": (lambda x: x.nonzero(as_tuple=True), [0.0, 1.0], [[1]]),
    "where of a condition": (lambda x: tg.where(x > 0), [[0.0, 1.0]], [[0], [1]]),
    "cummax takes the last of the tied": (lambda x: x.cummax(0), [1.0, 1.0, 0.0], [[1.0, 1.0, 1.0], [0, 1, 1]]),
    "cummin with nan": (lambda x: x.cummin(0).indices, [1.0, nan, 0.0], [0, 1, 1]),
    "logcumsumexp of nothing": (lambda x: x.logcumsumexp(0), [-inf, -inf, 0.0], [-inf, -inf, 0.0]),
    "norm 0": (lambda x: x.norm(0), [0.0, 2.0, 3.0], 2.0),
    "norm inf": (lambda x: x.norm(inf), [0.0, -2.0], 2.0),
    "norm -inf": (lambda x: x.norm(-inf), [1.0, -2.0], 1.0),
    "norm 3": (lambda x: x.norm(3), [0.0, 2.0], 2.0),
    "norm of columns": (lambda x: x.norm(dim=0), [[3.0, 0.0], [4.0, 0.0]], [5.0, 0.0]),
    "matrix norm 1": (lambda x: tg.linalg.norm(x, 1), [[1.0, -2.0], [3.0, 4.0]], 6.0),
    "matrix norm inf": (lambda x: tg.linalg.norm(x, inf), [[1.0, -2.0], [3.0, 4.0]], 7.0),
    "matrix norm -1": (lambda x: tg.linalg.matrix_norm(x, -1), [[1.0, -2.0], [3.0, 4.0]], 4.0),
    "cdist": (lambda x: tg.cdist(x, x), [[0.0, 0.0], [3.0, 4.0]], [[0.0, 5.0], [5.0, 0.0]]),
    "cov": (lambda x: x.cov(), [[0.0, 2.0], [1.0, 5.0]], [[2.0, 4.0], [4.0, 8.0]]),
    "corrcoef": (lambda x: x.corrcoef(), [[0.0, 2.0], [5.0, 1.0]], [[1.0, -1.0], [-1.0, 1.0]]),
    "var_mean": (lambda x: tg.var_mean(x, 0), [1.0, 3.0], [2.0, 2.0]),
    "std_mean unbiased": (lambda x: tg.std_mean(x, False), [1.0, 3.0], [1.0, 2.0]),
    "var, the older form": (lambda x: x.var(0, False), [1.0, 3.0], 1.0),
    "repeat_interleave": (lambda x: x.repeat_interleave(2), [[1.0], [2.0]], [1.0, 1.0, 2.0, 2.0]),
    "meshgrid": (lambda x: tg.meshgrid(x, x[:1], indexing="xy"), [1.0, 2.0], [[[1.0, 2.0]], [[1.0, 1.0]]]),
    "movedim": (lambda x: x.movedim((0, 1), (1, 0)), [[1.0, 2.0]], [[1.0], [2.0]]),
    "unflatten": (lambda x: x.unflatten(0, (-1, 2)), [1.0, 2.0, 3.0, 4.0], [[1.0, 2.0], [3.0, 4.0]]),
    "cat leaves empty vectors out": (lambda x: tg.cat([x, x[0, :0]]), [[1.0, 2.0]], [[1.0, 2.0]]),
    "fill_diagonal_": (lambda x: x.clone().fill_diagonal_(5), [[1.0, 2.0], [3.0, 4.0]], [[5.0, 2.0], [3.0, 5.0]]),
    "multiply on scatter": (lambda x: x.scatter(0, tg.tensor([1, 1], device=x.device), 3.0, reduce="multiply"),
                            [2.0, 1.0], [2.0, 9.0]),
    "scatter_reduce of whole numbers": (lambda x: x.long().scatter_reduce(
        0, tg.tensor([0, 0], device=x.device), tg.tensor([3, 5], device=x.device), "prod"), [2.0, 4.0], [30, 4]),
}  # fmt: skip


def assert_same(found: Any, expected: Any) -> None:
    """Nested lists of equal lengths and numbers."""
    if isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected)
        for x, y in zip(found, expected):
            assert_same(x, y)
    else:
        assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", VALUES)
def test_values(name, device):
    function, given, expected = VALUES[name]
    assert_same(values(function(tg.tensor(given, dtype=tg.float64, device=device))), expected)


# dtypes


def test_dtypes(device):
    whole = tg.tensor([[1, 2], [3, 4]], dtype=tg.int32, device=device)
    for z in (whole.sum(), whole.prod(), whole.cumsum(0), whole.cumprod(1), (whole > 1).sum(), whole.argmax()):
        assert z.dtype == tg.int64
    for z in (
        whole.sort().values,
        whole.amax(),
        whole.median(),
        whole.flip(0),
        whole.tril(),
        whole.masked_fill(whole > 1, 7),
    ):
        assert z.dtype == tg.int32
    assert whole.all().dtype == tg.bool and whole.to(tg.uint8).any().dtype == tg.uint8
    assert whole.sum(dtype=tg.float32).dtype == tg.float32
    assert tg.tensor([1, 0, 1], device=device).bincount(tg.tensor([0.5, 1.0, 2.0], device=device)).tolist() == [
        1.0,
        2.5,
    ]
    assert tg.searchsorted(tg.tensor([1.0], device=device), 2.0, out_int32=True).dtype == tg.int32


# indexing


PICTURE = np.arange(24).reshape(2, 3, 4)
INDICES: list[tuple[Any, Any]] = [
    # as in PyTorch a number beside an array is no array: the picked dimension stays where it is
    ((0, slice(None), [1, 2]), PICTURE[0][:, [1, 2]]),
    ((slice(None), 0, [1, 2]), PICTURE[:, 0][:, [1, 2]]),
    (([0, 1], slice(None), [1, 2]), np.stack([PICTURE[0, :, 1], PICTURE[1, :, 2]])),
    (True, PICTURE[None]),
    (False, PICTURE[None][:0]),
    ((..., None, [0]), PICTURE[:, :, None, [0]]),
    ((0, None, [1]), PICTURE[0][None, [1]]),
    ((slice(None), [[0], [2]], [1, 3]), PICTURE[:, [[0], [2]], [1, 3]]),
    ((-1, ..., -1), PICTURE[-1, :, -1]),
    (([True, False], slice(1, None)), PICTURE[[0], 1:]),
    ((0, [True, False, True], 2), PICTURE[0, [0, 2], 2]),
    (np.int64(1), PICTURE[1]),
    ((slice(0, 0), [0]), PICTURE[0:0, [0]]),
]


@pytest.mark.parametrize("number", range(len(INDICES)))
def test_reading_and_writing_by_index(number, device):
    index, expected = INDICES[number]
    x = numbers(device, 2, 3, 4)
    assert x[index].tolist() == expected.tolist()
    x.requires_grad = True
    z = x * 2
    z[index] = -1.0
    changed = np.isin(PICTURE, expected)
    assert z.tolist() == np.where(changed, -1, 2 * PICTURE).tolist()
    assert grad(z.sum(), x)[0].tolist() == np.where(changed, 0, 2).tolist()
    y = numbers(device, 2, 3, 4)
    y[index] = y[index] + 100  # not recorded: the values are written where they stand
    assert y.tolist() == np.where(changed, PICTURE + 100, PICTURE).tolist()


def test_a_tensor_without_dimensions_is_a_number_and_gives_a_view(device):
    x = numbers(device, 2, 3)
    x[tg.tensor(1, device=device)].zero_()
    assert x.tolist() == [[0, 1, 2], [0, 0, 0]]


def test_dots_twice_are_refused():
    x = tg.ones(2, 3)
    for index in ((..., ...), (0, ..., 1, ...)):
        with pytest.raises(IndexError, match="twice"):
            x[index]


def test_an_index_changed_after_its_use_does_not_spoil_the_gradient(device):
    x = numbers(device, 3).requires_grad_()
    index = tg.tensor([0, 0], device=device)
    z = x[index].sum() + x.index_select(0, index).sum()
    index.fill_(2)
    assert grad(z, x)[0].tolist() == [4, 0, 0]


# views


VIEWS = {
    "diagonal": lambda x: x.diagonal(),
    "diagonal of others": lambda x: x.diagonal(-1, 1, 0),
    "windows": lambda x: x.unfold(1, 2, 2),
    "split": lambda x: x.split(2, 1)[0],
    "chunk": lambda x: x.chunk(3)[1],
    "tensor_split": lambda x: x.tensor_split(2)[1],
    "narrow": lambda x: x.narrow(0, 1, 2),
    "select": lambda x: x.select(1, -1),
    "movedim": lambda x: x.movedim(0, 1),
    "unflatten": lambda x: x.unflatten(1, (2, 2)),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "mT": lambda x: x.mT,
    "as_strided": lambda x: x.as_strided((3, 2), (4, 1), 1),
    "view_as": lambda x: x.view_as(tg.zeros(4, 3)),
    "diag": lambda x: x.diag(1),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_views(name, device):
    """Written through, seen by the version counter, differentiable through changes on either side."""
    view = VIEWS[name]
    base = numbers(device, 3, 4)
    part = view(base)
    part.fill_(-1.0)
    assert (np.array(base.tolist()) == -1).sum() == part.numel() and part._version == base._version == 1

    def function(x: Tensor) -> Tensor:
        z = x * 1
        before = view(z)
        view(z).mul_(view(z).exp())
        z.mul_(z.clone())
        return z + before.sum()

    assert gradcheck(function, (numbers(device, 3, 4) / 10 + 0.1).requires_grad_())


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (lambda z: z.transpose_(0, 1), lambda z: z.transpose(0, 1)),
        (lambda z: z.t_(), lambda z: z.t()),
        (lambda z: z.unsqueeze_(1), lambda z: z.unsqueeze(1)),
        (lambda z: z.unsqueeze_(0).squeeze_(0).swapaxes_(0, 1), lambda z: z.T),
    ],
)
def test_shapes_changed_in_place(change, same, device):
    """x becomes a view of what it was; earlier views and later changes find each other."""
    x = numbers(device, 2, 3).requires_grad_()
    z = x * 1
    row = z[1]
    assert change(z) is z
    assert z.tolist() == same(x * 1).tolist()
    z.mul_(2.0)
    assert row.tolist() == [6, 8, 10]
    row.mul_(5.0)
    assert z.tolist() == same(tg.tensor([[0.0, 2, 4], [30, 40, 50]])).tolist()
    assert grad((z * z).sum(), x, retain_graph=True)[0].tolist() == [[0, 8, 16], [600, 800, 1000]]
    assert grad(row.sum(), x)[0].tolist() == [[0, 0, 0], [10, 10, 10]]
    with pytest.raises(GraphError, match="leaf Tensor that requires grad cannot be changed in place"):
        change(x)
    y = x * 1
    w = y * y
    change(y)
    with pytest.raises(GraphError, match="changed in place by"):
        w.sum().backward()


IN_PLACE = {
    "cumsum": lambda x: ((1,), {}),
    "cumprod": lambda x: ((0,), {}),
    "tril": lambda x: ((), {}),
    "triu": lambda x: ((1,), {}),
    "masked_fill": lambda x: ((x.detach() > 2, 7.0), {}),
    "masked_scatter": lambda x: ((x.detach() > 2, x.detach().exp().flatten()), {}),
    "index_add": lambda x: ((0, tg.tensor([1, 1], device=x.device), x.detach()), {"alpha": 2}),
    "index_copy": lambda x: ((0, tg.tensor([1], device=x.device), x.detach()[:1]), {}),
    "index_fill": lambda x: ((1, tg.tensor([0, 2], device=x.device), 3.0), {}),
    "index_put": lambda x: (((tg.tensor([0], device=x.device),), x.detach()[1]), {}),
    "scatter": lambda x: ((0, tg.tensor([[1, 0, 1]], device=x.device), x.detach()), {}),
    "scatter_add": lambda x: ((0, tg.tensor([[1, 0, 1]], device=x.device), x.detach()), {}),
    "scatter_reduce": lambda x: ((0, tg.tensor([[1, 0, 1]], device=x.device), x.detach(), "amax"), {}),
    "put": lambda x: ((tg.tensor([0, 5], device=x.device), x.detach()[0, :2]), {}),
    "addmm": lambda x: ((x.detach()[:, :2], x.detach()), {"beta": 0.5}),
}


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place_forms(name, device):
    """Into x's own memory, what the operation gives, with its gradient and a new version."""
    x = (numbers(device, 2, 3) + 1).requires_grad_()
    arguments, settings = IN_PLACE[name](x)
    expected = getattr(x, name)(*arguments, **settings)
    z = x * 1
    array = z.array
    assert getattr(z, f"{name}_")(*arguments, **settings) is z and z.array is array and z._version == 1
    assert z.tolist() == expected.tolist()
    assert grad((z * z).sum(), x)[0].tolist() == grad((expected * expected).sum(), x)[0].tolist()


def test_memory_shown_several_times_is_not_written():
    with pytest.raises(GraphError, match="share one place in memory"):
        tg.zeros(5).unfold(0, 3, 1).fill_(1.0)
    x = tg.zeros(4)
    x.unfold(0, 2, 2).fill_(1.0)
    assert x.tolist() == [1, 1, 1, 1]


def test_view_as_dtype():
    x = tg.ones(2, 2)
    bits = x.view(tg.int32)
    assert bits.tolist() == [[1065353216] * 2] * 2 and x.view(tg.uint8).shape == (2, 8)
    bits.zero_()
    assert x.tolist() == [[0, 0], [0, 0]] and x._version == 1
    with pytest.raises(RuntimeError, match="view: got dtype float64"):
        tg.ones(3).view(tg.float64)


def test_flip_and_repeat_are_copies(device):
    x = numbers(device, 2, 3)
    for z in (x.flip(0), x.repeat(1, 1), x.roll(1), x.tile(1), x.repeat_interleave(1, 0), x.rot90(4)):
        z.zero_()
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]


# gradients at ties and kinks


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (lambda x: x.norm(), [0.0, 0.0], [0, 0]),
        (lambda x: x.norm(1), [0.0, -2.0], [0, -1]),
        (lambda x: x.norm(3), [0.0, 2.0], [0, 1]),
        (lambda x: x.norm(0.5), [0.0, 4.0], [0, 1]),
        (lambda x: x.norm(inf), [2.0, -2.0], [0.5, -0.5]),
        (lambda x: x.norm(0), [2.0, 0.0], [0, 0]),
        (lambda x: tg.cdist(x, x)[0, 0], [[1.0, 2.0]], [[0, 0]]),
        (lambda x: x.prod(), [0.0, 2.0, 3.0], [6, 0, 0]),
        (lambda x: x.prod(), [0.0, 0.0, 3.0], [0, 0, 0]),
        (lambda x: x.cumprod(0).sum(), [2.0, 0.0, 3.0], [1, 8, 0]),
        (lambda x: x.median(), [1.0, 2.0, 2.0], [0, 0.5, 0.5]),
        (lambda x: x.median(0).values, [1.0, 2.0, 2.0], [0, 1, 0]),
        (lambda x: x.logcumsumexp(0).sum(), [-inf, 0.0], [0, 1]),
        (lambda x: x.nansum(), [nan, 1.0], [0, 1]),
        (
            lambda x: x.scatter_reduce(0, tg.tensor([0, 0], device=x.device), tg.tensor([3.0, 3.0], dtype=x.dtype,
            device=x.device), "amax").sum(), [3.0, 1.0], [1 / 3, 1],
        ),
    ],
)  # fmt: skip
def test_gradients_at_ties_and_kinks(function, given, expected, device):
    x = tg.tensor(given, dtype=tg.float64, device=device, requires_grad=True)
    np.testing.assert_allclose(grad(function(x), x)[0].tolist(), expected)


def test_second_order_of_products_with_zeros(device):
    """d^2 (a b c) / da db = c, whatever a and b are."""
    x = tg.tensor([0.0, 0.0, 5.0], dtype=tg.float64, device=device, requires_grad=True)
    for product in (x.prod(), x.cumprod(0)[2]):
        (first,) = grad(product, x, create_graph=True)
        assert first.tolist() == [0, 0, 0]
        assert grad(first[0], x)[0].tolist() == [0, 5, 0]


# the other names of arguments

SPELLINGS: list[Any] = [
    lambda tg, x: x.sum(axis=1, keepdims=True),
    lambda tg, x: tg.mean(input=x, axis=(0, 1)),
    lambda tg, x: tg.argmax(x, axis=0),
    lambda tg, x: tg.cat([x, x], axis=1),
    lambda tg, x: tg.stack((x, x), dim=1),
    lambda tg, x: x.max(axis=1)[0],
    lambda tg, x: tg.permute(x, dims=(1, 0)),
    lambda tg, x: tg.reshape(input=x, shape=(3, 2)),
    lambda tg, x: x.flip(dims=(0, 1)),
    lambda tg, x: tg.squeeze(x[None], axis=0),
    lambda tg, x: tg.softmax(x, axis=1),
    lambda tg, x: tg.tile(x, dims=(2,)),
]


def test_the_other_names_of_arguments():
    x = numbers("cpu", 2, 3)
    assert x.sum(axis=1, keepdims=True).tolist() == [[3], [12]]
    assert tg.argmax(input=x, axis=0).tolist() == [1, 1, 1]
    assert tg.reshape(x, shape=(3, 2)).tolist() == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(TypeError):
        x.sum(axes=1)


def test_results_written_into_out(device):
    x = numbers(device, 2, 3)
    total, empty = tg.zeros(3, dtype=tg.float64, device=device), tg.zeros(0, dtype=tg.float64, device=device)
    assert tg.sum(x, 0, out=total) is total and total.tolist() == [3, 5, 7] and total._version == 1
    assert tg.cat([x, x], out=empty).shape == (4, 3) and empty.shape == (4, 3)
    places = tg.zeros(2, dtype=tg.int64, device=device)
    found = tg.max(x, 1, out=(tg.zeros(2, dtype=tg.float64, device=device), places))
    assert found.indices is places and places.tolist() == [2, 2]
    for wrong in (tg.zeros(3, device=device), tg.zeros(2, dtype=tg.float64, device=device), x[0]):
        with pytest.raises(RuntimeError, match="sum: "):
            tg.sum(x, 0, out=wrong)
    with pytest.raises(GraphError, match="out= cannot be differentiated"):
        tg.sum(x.requires_grad_(), 0, out=total)
    with pytest.raises(TypeError, match="out of type int"):
        tg.sum(x, 0, out=3)


@pytest.mark.oracle
@pytest.mark.parametrize("number", range(len(SPELLINGS)))
def test_the_other_names_as_pytorch(number):
    torch = pytest.importorskip("torch")
    found = SPELLINGS[number](tg, numbers("cpu", 2, 3))
    expected = SPELLINGS[number](torch, torch.arange(6, dtype=torch.float64).reshape(2, 3))
    np.testing.assert_allclose(found.array, expected.numpy(), rtol=1e-12)


# empty Tensors


def test_empty_tensors(device):
    x = tg.zeros(0, 3, device=device)
    assert x.sum(0).tolist() == [0, 0, 0] and x.prod(0).tolist() == [1, 1, 1]
    assert x.all().item() is True and x.any(0).tolist() == [False] * 3
    assert x.sort(0).values.shape == x.cumsum(0).shape == x.flip(0).shape == x.tril().shape == (0, 3)
    assert x.unique().shape == (0,) and x.nonzero().shape == (0, 2) and len(x.chunk(2)) == 2
    assert tg.einsum("ij,jk->ik", x, tg.zeros(3, 2, device=device)).shape == (0, 2)
    assert tg.einsum("ij,jk->ik", x.T, tg.zeros(0, 2, device=device)).tolist() == [[0, 0]] * 3
    assert math.isnan(x.median().item()) and x.norm().item() == 0
    assert x[tg.zeros(0, dtype=tg.int64, device=device)].shape == (0, 3)


# refusals: PyTorch's kinds of exceptions

REFUSED: list[tuple[type[Exception], Any]] = [
    (RuntimeError, lambda x: x.sum((0, 0))),
    (IndexError, lambda x: x.amax(4)),
    (RuntimeError, lambda x: x[:0].amax()),
    (IndexError, lambda x: x[:0].max(0)),
    (IndexError, lambda x: x[:0].argmax()),
    (RuntimeError, lambda x: x.long().mean()),
    (RuntimeError, lambda x: x.topk(9)),
    (RuntimeError, lambda x: x.kthvalue(9)),
    (RuntimeError, lambda x: x.quantile(2.0)),
    (RuntimeError, lambda x: x.histc(0)),
    (RuntimeError, lambda x: x.gather(0, tg.tensor([[9]]))),
    (RuntimeError, lambda x: x.gather(0, tg.tensor([[0.0]]))),
    (RuntimeError, lambda x: x.scatter(0, tg.tensor([[0, 0]]), x.double())),
    (IndexError, lambda x: x.index_select(0, tg.tensor([9]))),
    (IndexError, lambda x: x.take(tg.tensor([99]))),
    (RuntimeError, lambda x: tg.masked_select(x, x)),
    (RuntimeError, lambda x: x.masked_fill(x, 0)),
    (IndexError, lambda x: x[:, tg.tensor([9])]),
    (IndexError, lambda x: x[tg.zeros(5, dtype=tg.bool)]),
    (IndexError, lambda x: x[9]),
    (IndexError, lambda x: x[0, 0, 0]),
    (IndexError, lambda x: x[1.5]),
    (IndexError, lambda x: x[x]),
    (IndexError, lambda x: x.__setitem__((0, 0, 0), 1.0)),
    (IndexError, lambda x: x.__setitem__([9], 1.0)),
    (ValueError, lambda x: tg.cat([])),
    (RuntimeError, lambda x: tg.cat([x, x.T], 0)),
    (TypeError, lambda x: tg.cat([x, 1])),
    (RuntimeError, lambda x: tg.stack([x, x[0]])),
    (RuntimeError, lambda x: x.split(0)),
    (RuntimeError, lambda x: x.split([1, 9])),
    (RuntimeError, lambda x: x.chunk(0)),
    (RuntimeError, lambda x: x.narrow(0, 1, 9)),
    (IndexError, lambda x: x.select(0, 9)),
    (RuntimeError, lambda x: x.unfold(0, 9, 1)),
    (RuntimeError, lambda x: x.unflatten(0, (5, 5))),
    (RuntimeError, lambda x: x.expand(2)),
    (RuntimeError, lambda x: x.permute(0)),
    (RuntimeError, lambda x: x.repeat(2)),
    (TypeError, lambda x: x.repeat()),
    (RuntimeError, lambda x: x.diagonal(0, 1, 1)),
    (NotImplementedError, lambda x: x.T.as_strided((2,), (1,))),
    (RuntimeError, lambda x: x.as_strided((9,), (1,))),
    (RuntimeError, lambda x: tg.mm(x, x)),
    (RuntimeError, lambda x: tg.dot(x, x)),
    (RuntimeError, lambda x: tg.bmm(x, x)),
    (RuntimeError, lambda x: tg.einsum("ij,jk", x, x)),
    (RuntimeError, lambda x: tg.einsum("ij->k", x)),
    (RuntimeError, lambda x: tg.einsum("ijk->i", x)),
    (RuntimeError, lambda x: tg.tensordot(x, x, 1)),
    (RuntimeError, lambda x: tg.cross(x[:, :2], x[:, :2])),
    (NotImplementedError, lambda x: x.norm("nuc")),
    (NotImplementedError, lambda x: tg.linalg.norm(x, 2)),
    (RuntimeError, lambda x: tg.tril(x[0])),
]


@pytest.mark.parametrize("number", range(len(REFUSED)))
def test_refusals(number):
    kind, call = REFUSED[number]
    with pytest.raises(kind) as refusal:
        call(tg.arange(6, dtype=tg.float32).reshape(2, 3))
    assert len(str(refusal.value)) > 20


@pytest.mark.oracle
@pytest.mark.parametrize("number", [n for n, (kind, _) in enumerate(REFUSED) if kind is not NotImplementedError])
def test_pytorch_refuses_too(number):
    torch = pytest.importorskip("torch")
    kind, call = REFUSED[number]
    namespace = {**call.__globals__, "tg": torch}
    theirs = type(call)(call.__code__, namespace)
    with pytest.raises(kind):
        theirs(torch.arange(6, dtype=torch.float32).reshape(2, 3))


@pytest.mark.parametrize("descending", [False, True])
def test_sorting_on_every_backend_is_stable(descending, device):
    random = np.random.default_rng(3)
    x = random.integers(0, 4, (50, 3)).astype(np.float32)
    found = tg.tensor(x, device=device).argsort(0, descending)
    kernel = backend_of(found.array)
    assert kernel.to_host(found.array).tolist() == np.argsort(-x if descending else x, 0, kind="stable").tolist()
