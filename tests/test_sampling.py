"""Random Tensors: what they are distributed like, what seeds them, what they refuse."""

from __future__ import annotations

import math

import numpy as np
import pytest

import tensorgrad as tg

COUNT = 20_000


@pytest.fixture(autouse=True)
def seeded():
    tg.manual_seed(20260101)


#: in place -> (mean, variance, least, greatest); a mean of so many values is off by 5 standard errors never
IN_PLACE = [
    (lambda x: x.uniform_(-1, 3), 1, 16 / 12, -1, 3),
    (lambda x: x.normal_(2, 3), 2, 9, -np.inf, np.inf),
    (lambda x: x.bernoulli_(0.3), 0.3, 0.21, 0, 1),
    (lambda x: x.random_(10), 4.5, 99 / 12, 0, 9),
    (lambda x: x.random_(-3, 3), -0.5, 35 / 12, -3, 2),
    (lambda x: x.exponential_(2), 0.5, 0.25, 0, np.inf),
    (lambda x: x.geometric_(0.5), 2, 2, 1, np.inf),
    (lambda x: x.log_normal_(0, 0.5), np.exp(0.125), (np.exp(0.25) - 1) * np.exp(0.25), 0, np.inf),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("fill", "mean", "variance", "least", "greatest"), IN_PLACE)
def test_in_place(fill, mean, variance, least, greatest, dtype, device):
    x = tg.empty(COUNT, dtype=np.dtype(dtype), device=device)
    assert fill(x) is x and x.dtype == np.dtype(dtype)
    values = np.asarray(x.tolist())
    assert abs(values.mean() - mean) < 5 * (variance / COUNT) ** 0.5
    assert abs(values.var() - variance) < 0.2 * variance
    assert values.min() >= least and values.max() <= greatest
    tg.manual_seed(7)
    first = fill(x).tolist()
    tg.manual_seed(7)
    assert fill(tg.empty_like(x)).tolist() == first


def test_many_normal_numbers_are_normal():
    """A large float32 Tensor is drawn in its own way: its distribution function, its tail, its neighbours and halves."""
    count = (1 << 21) + 12_345  # pieces, and a last part of an odd length
    x = tg.randn(count).numpy()
    for bound in (-4.5, -3.0, -1.0, -0.1, 0.0, 0.5, 2.0, 4.0):
        expected = (1 + math.erf(bound / 2**0.5)) / 2
        assert abs((x < bound).mean() - expected) < 5 * (expected * (1 - expected) / count) ** 0.5
    assert 4.8 < abs(x).max() < 5.8
    for distance in (1, 2, 1 << 14, 1 << 15, 1 << 20):
        for power in (1, 2):  # of a length and an angle that go together the squares would be correlated
            assert abs(np.corrcoef(x[:-distance] ** power, x[distance:] ** power)[0, 1]) < 5 / count**0.5


def test_cauchy_has_its_median_and_its_quartiles():
    values = tg.empty(COUNT).cauchy_(1, 2).numpy()
    np.testing.assert_allclose(np.quantile(values, [0.25, 0.5, 0.75]), [-1, 1, 3], atol=0.15)


def test_random_of_whole_numbers_fills_the_dtype():
    values = tg.empty(COUNT, dtype=tg.int8).random_().numpy()
    assert values.min() == 0 and values.max() == 127
    assert set(tg.empty(100, dtype=tg.bool).random_().tolist()) == {False, True}
    assert (tg.empty(100).random_() == tg.empty(100).random_().round()).shape == (100,)


def test_a_generator_of_its_own_is_drawn_from():
    draws = [
        lambda g: tg.rand(3, generator=g),
        lambda g: tg.randn_like(tg.ones(3), generator=g),
        lambda g: tg.randint(10, (3,), generator=g),
        lambda g: tg.randint_like(tg.ones(3), 10, generator=g),
        lambda g: tg.randperm(5, generator=g),
        lambda g: tg.normal(0.0, 1.0, (3,), generator=g),
        lambda g: tg.normal(tg.zeros(3), tg.ones(3), generator=g),
        lambda g: tg.bernoulli(tg.full((9,), 0.5), generator=g),
        lambda g: tg.poisson(tg.full((9,), 3.0), generator=g),
        lambda g: tg.multinomial(tg.ones(9), 4, generator=g),
        lambda g: tg.empty(3).uniform_(generator=g),
        lambda g: tg.empty(3).normal_(generator=g),
        lambda g: tg.empty(9).bernoulli_(generator=g),
        lambda g: tg.empty(9).random_(generator=g),
    ]
    for draw in draws:
        before = tg.get_rng_state()
        first = draw(tg.Generator(3))
        assert first.tolist() == draw(tg.Generator(3)).tolist()
        assert tg.get_rng_state() == before


def test_writing_is_seen_by_the_tape():
    x = tg.ones(3, requires_grad=True)
    y = x * 2
    z = y * y
    y.normal_()
    with pytest.raises(RuntimeError, match="changed in place by normal_"):
        z.sum().backward()
    with pytest.raises(RuntimeError, match="a leaf Tensor that requires grad"):
        x.uniform_()


def test_bernoulli(device):
    chances = tg.tensor([0.0, 1.0, 0.25], device=device)
    draws = tg.stack([tg.bernoulli(chances) for _ in range(2000)])
    assert draws.dtype == tg.float32 and draws.device == chances.device
    np.testing.assert_allclose(draws.mean(0).tolist(), [0, 1, 0.25], atol=0.06)
    assert tg.bernoulli(tg.ones(2, 3), 0.0).tolist() == [[0] * 3] * 2
    assert tg.empty(2).bernoulli_(tg.tensor([0.0, 1.0])).tolist() == [0, 1]


def test_poisson():
    draws = tg.poisson(tg.full((COUNT,), 4.0)).numpy()
    assert abs(draws.mean() - 4) < 0.1 and abs(draws.var() - 4) < 0.3


def test_multinomial(device):
    weights = tg.tensor([[1.0, 0.0, 3.0], [0.0, 5.0, 0.0]], device=device)
    draws = tg.multinomial(weights, 4000, replacement=True)
    assert draws.shape == (2, 4000) and draws.dtype == tg.int64 and draws.device == weights.device
    values = np.asarray(draws.tolist())
    assert set(values[0]) == {0, 2} and abs((values[0] == 2).mean() - 0.75) < 0.05 and set(values[1]) == {1}
    first = [sorted(tg.multinomial(tg.tensor([1.0, 1.0, 0.0, 1.0]), 3).tolist()) for _ in range(20)]
    assert first == [[0, 1, 3]] * 20
    heads = [tg.multinomial(tg.tensor([9.0, 1.0]), 2).tolist()[0] for _ in range(400)]
    assert abs(heads.count(0) / 400 - 0.9) < 0.08


def test_normal():
    assert tg.normal(5.0, 0.0, (2,)).tolist() == [5, 5]
    assert tg.normal(tg.tensor([1.0, 2.0]), tg.zeros(3, 2)).tolist() == [[1, 2]] * 3
    assert tg.normal(tg.tensor([1.0, 2.0]), 0.0).tolist() == [1, 2] and tg.normal(0.0, tg.zeros(2)).tolist() == [0, 0]
    assert not tg.normal(tg.ones(2, requires_grad=True), 1.0).requires_grad


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: tg.ones(2).uniform_(3, -1),
        lambda: tg.ones(2).normal_(0, -1),
        lambda: tg.ones(2).int().normal_(),
        lambda: tg.ones(2).bernoulli_(1.5),
        lambda: tg.ones(2).random_(3, 3),
        lambda: tg.ones(2).exponential_(0),
        lambda: tg.ones(2).geometric_(0),
        lambda: tg.ones(2).log_normal_(0, 0),
        lambda: tg.bernoulli(tg.tensor([2.0])),
        lambda: tg.poisson(tg.tensor([-1.0])),
        lambda: tg.normal(0.0, -1.0, (2,)),
        lambda: tg.normal(0.0, tg.tensor([-1.0])),
        lambda: tg.multinomial(tg.ones(3), 4),
        lambda: tg.multinomial(tg.ones(3), 0),
        lambda: tg.multinomial(tg.zeros(3), 1),
        lambda: tg.multinomial(tg.tensor([1.0, -1.0]), 1),
        lambda: tg.multinomial(tg.tensor([1.0, float("nan")]), 1),
        lambda: tg.multinomial(tg.ones(2, 2, 2), 1),
        lambda: tg.multinomial(tg.tensor([1, 2]), 1),
        lambda: tg.randint(3, 3, (2,)),
        lambda: tg.randperm(-1),
        lambda: tg.rand(2, dtype=tg.int64),
    ],
)
def test_refusals(wrong):
    with pytest.raises(RuntimeError):
        wrong()
