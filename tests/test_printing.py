"""How Tensors show themselves, against PyTorch's own text."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.errors import ArgumentError


@pytest.fixture
def options():
    yield
    tg.set_printoptions(profile="default")


def test_options(options):
    x = tg.tensor([0.123456, 2.0])
    tg.set_printoptions(precision=2)
    assert repr(x) == "tensor([0.12, 2.00])"
    tg.set_printoptions(sci_mode=True)
    assert repr(x) == "tensor([1.23e-01, 2.00e+00])"
    tg.set_printoptions(profile="default", threshold=3, edgeitems=1)
    assert repr(tg.arange(5)) == "tensor([0,  ..., 4])"
    tg.set_printoptions(profile="full")
    assert "..." not in repr(tg.arange(5000))
    with pytest.raises(ArgumentError, match="default, short, full"):
        tg.set_printoptions(profile="wide")


def test_a_long_suffix_begins_a_line_of_its_own():
    x = tg.zeros(1, 16, requires_grad=True) * 0.5
    assert repr(x).splitlines()[-1] == "       grad_fn=<Multiply>)"


def flowing(text: str) -> str:
    """Without PyTorch's longer name of the dtype, and so without the line breaks that it needs."""
    return re.sub(r",\s+dtype=", ", dtype=", text.replace("torch.", ""))


SHAPES = [
    (),
    (1,),
    (7,),
    (30,),
    (1001,),
    (2, 3),
    (8, 140),
    (3, 2, 5),
    (2, 2, 2, 30),
    (11, 11, 11),
    (0,),
    (0, 3),
    (2, 0),
]


def floats(random: Any, shape: tuple[int, ...], kind: str) -> Any:
    values = random.standard_normal(shape)
    if kind == "wide":
        values = values * 10.0 ** random.integers(-6, 7, shape)
    if kind == "whole":
        values = np.round(values * 3)
    if kind == "odd":
        values = np.where(random.random(shape) < 0.3, random.choice([np.nan, np.inf, -np.inf, 0.0]), np.round(values))
    return values


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["plain", "wide", "whole", "odd"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int32", "uint8", "bool"])
def test_as_pytorch(kind: str, dtype: str):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(len(kind) + len(dtype))
    for shape in SHAPES:
        with np.errstate(all="ignore"):
            values = np.asarray(
                np.nan_to_num(floats(random, shape, kind)) if dtype[0] != "f" else floats(random, shape, kind)
            )
            values = values.astype(dtype)
        assert flowing(repr(tg.tensor(values))) == flowing(repr(torch.from_numpy(values)))


@pytest.mark.oracle
def test_options_as_pytorch(options):
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).standard_normal((4, 9)) * 100
    for settings in ({"precision": 2}, {"linewidth": 40}, {"sci_mode": True}, {"sci_mode": False}, {"threshold": 10}):
        for library in (tg, torch):
            library.set_printoptions(profile="default")
            library.set_printoptions(**settings)
        try:
            text = flowing(repr(torch.from_numpy(values)))
        finally:
            torch.set_printoptions(profile="default", sci_mode=None)
        assert flowing(repr(tg.tensor(values))) == text, settings


def test_in_a_formatted_string():
    """As in PyTorch a Tensor of one number and no dimensions is that number, any other its text."""
    x = tg.tensor(2.5, requires_grad=True)
    assert f"{x} {x:.2f} {x * 2:5.1f}|" == "2.5 2.50   5.0|"
    assert f"{tg.tensor([2.5])} {tg.tensor(True)}" == "tensor([2.5000]) True"
    assert (
        f"{tg.nn.Parameter(tg.tensor(2.5))}".startswith("Parameter containing") and f"{tg.nn.Parameter(x):.1f}" == "2.5"
    )
    with pytest.raises(TypeError, match="format"):
        f"{tg.tensor([2.5]):.2f}"
