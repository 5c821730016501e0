"""state_dict and load_state_dict: what is saved, and the report of everything that does not fit."""

from __future__ import annotations

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
from tensorgrad.errors import StateError


def net():
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1, bias=False))


NAMES = [
    *("0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"),
    "2.weight",
]


def values(module):
    return {name: value.tolist() for name, value in module.state_dict().items()}


def test_a_state_has_persistent_values_by_name_on_the_modules_memory():
    model = net()
    model[1].register_buffer("scratch", tg.zeros(1), persistent=False)
    state = model.state_dict()
    assert list(state) == NAMES
    assert not any(value.requires_grad for value in state.values())
    with tg.no_grad():
        model[0].bias.fill_(7.0)
    assert state["0.bias"].tolist() == [7, 7, 7]
    assert model.state_dict(keep_vars=True)["0.bias"] is model[0].bias
    given = {}
    assert model[0].state_dict(destination=given, prefix="layer.") is given
    assert list(given) == ["layer.weight", "layer.bias"]


def test_a_buffer_can_stop_being_persistent():
    layer = nn.Module()
    layer.register_buffer("a", tg.zeros(1), persistent=False)
    assert list(layer.state_dict()) == []
    layer.register_buffer("a", tg.zeros(1))
    assert list(layer.state_dict()) == ["a"]


def test_loading_copies_values_into_the_same_parameters():
    source, target = net(), net()
    weight = target[0].weight
    result = target.load_state_dict(source.state_dict())
    assert values(target) == values(source)
    assert target[0].weight is weight
    assert weight.requires_grad
    assert weight.array is not source[0].weight.array
    assert repr(result) == "<All keys matched successfully>"
    assert (result.missing_keys, result.unexpected_keys) == ([], [])


def test_loading_keeps_dtype_and_device_and_takes_arrays():
    source, target = net().double(), net().to("standin")
    target.load_state_dict({name: value.numpy() for name, value in source.state_dict().items()})
    assert target[0].weight.dtype == tg.float32
    assert target[0].weight.device.type == "standin"
    np.testing.assert_allclose(target[0].weight.tolist(), source[0].weight.tolist(), rtol=1e-6)


def test_loading_into_itself_changes_nothing():
    model = net()
    before = values(model)
    model.load_state_dict(model.state_dict())
    assert values(model) == before


def test_assign_takes_the_tensors_themselves():
    source, target = net().double(), net()
    target[0].weight.requires_grad_(False)
    state = source.state_dict()
    target.load_state_dict(state, assign=True)
    assert target[0].weight.array is state["0.weight"].array
    assert target[0].weight.dtype == tg.float64
    assert type(target[0].weight) is nn.Parameter
    assert not target[0].weight.requires_grad
    assert target[0].bias.requires_grad
    assert target[1].running_mean.array is state["1.running_mean"].array


def test_one_report_of_all_that_is_wrong_and_nothing_written():
    model = net()
    before = values(model)
    state = net().state_dict()
    del state["0.bias"], state["2.weight"]
    state["2.wieght"] = tg.zeros(1, 3)
    state["head"] = tg.zeros(1)
    state["0.weight"] = tg.zeros(3, 5)
    state["1.weight"] = [1.0, 2.0, 3.0]
    with pytest.raises(StateError) as error:
        model.load_state_dict(state)
    assert (
        str(error.value)
        == """\
load_state_dict: the state does not fit this Sequential; nothing was changed
  missing: '0.bias', '2.weight'
  unexpected: '2.wieght', 'head'
  wrong shape: '0.weight' has (3, 5); it must have (3, 2)
  wrong type: '1.weight' is a list; it must be a Tensor or an array"""
    )
    assert values(model) == before
    assert isinstance(error.value, RuntimeError)


def test_names_alone_can_be_forgiven():
    model, other = net(), net()
    state = other.state_dict()
    del state["0.bias"]
    state["more"] = tg.zeros(1)
    with pytest.raises(StateError, match="to load the entries that do fit, pass strict=False"):
        model.load_state_dict(state)
    bias = model[0].bias.tolist()
    result = model.load_state_dict(state, strict=False)
    assert (result.missing_keys, result.unexpected_keys) == (["0.bias"], ["more"])
    assert "missing_keys=['0.bias']" in repr(result)
    assert model[0].bias.tolist() == bias
    assert model[2].weight.tolist() == other[2].weight.tolist()


def test_shapes_are_never_forgiven():
    with pytest.raises(StateError, match=r"wrong shape: '0.weight' has \(2, 2\); it must have \(3, 2\)"):
        net().load_state_dict({"0.weight": tg.zeros(2, 2)}, strict=False)
    with pytest.raises(TypeError, match="load_state_dict: got a list"):
        net().load_state_dict([])


def test_a_value_needed_by_a_recorded_graph_is_protected():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    z = model(tg.ones(1, 2)).sum()
    model.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match="changed in place by copy_"):
        z.backward()
