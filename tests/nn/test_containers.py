"""Sequential, ModuleList, ModuleDict."""

from __future__ import annotations

import pytest

import tensorgrad as tg
import tensorgrad.nn as nn


def test_sequential_calls_one_after_the_other():
    net = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    x = tg.randn(4, 3)
    assert net(x).tolist() == net[0](x).relu().tolist()


def test_sequential_by_name():
    net = nn.Sequential({"conv": nn.Conv2d(1, 2, 3), "act": nn.ReLU()})
    assert list(net.state_dict()) == ["conv.weight", "conv.bias"]
    assert net.act is net[1]
    part = net[1:]
    assert [name for name, _ in part.named_children()] == ["act"]


def test_sequential_as_a_list():
    a, b, c = nn.ReLU(), nn.Tanh(), nn.Sigmoid()
    net = nn.Sequential(a, b)
    assert net.append(c) is net
    assert len(net) == 3
    assert list(net) == [a, b, c]
    assert net[-1] is c
    assert list(net[:2]) == [a, b]
    assert isinstance(net[1:], nn.Sequential)
    assert net.pop(0) is a
    assert [name for name, _ in net.named_children()] == ["0", "1"]
    net.insert(0, a)
    assert list(net) == [a, b, c]
    net[1] = nn.Identity()
    assert repr(net[1]) == "Identity()"
    del net[1:]
    assert list(net) == [a]
    net.extend([b, c])
    assert list(net) == [a, b, c]


def test_the_same_module_twice_is_two_places():
    layer = nn.Linear(2, 2)
    net = nn.Sequential(layer, layer)
    assert len(net) == 2
    assert len(list(net.parameters())) == 2
    x = tg.randn(1, 2)
    assert net(x).tolist() == layer(layer(x)).tolist()


def test_what_cannot_be_in_a_container():
    with pytest.raises(TypeError, match=r"add_module: '1' is a class \(ReLU, give an instance: ReLU\(...\)\)"):
        nn.Sequential(nn.Linear(1, 1), nn.ReLU)
    net = nn.Sequential(nn.ReLU())
    with pytest.raises(IndexError, match="Sequential: got index 3; it holds 1 modules"):
        net[3]
    with pytest.raises(TypeError, match="Sequential: got a int; it holds Modules"):
        net[0] = 3
    with pytest.raises(TypeError, match=r"Sequential.insert: got a str"):
        net.insert(0, "relu")


def test_module_list():
    layers = nn.ModuleList([nn.Linear(1, 1)])
    layers += [nn.Linear(1, 1)]
    assert len(layers) == 2
    assert isinstance(layers[:1], nn.ModuleList)
    assert [name for name, _ in layers.named_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    with pytest.raises(AttributeError, match="'ModuleList' has no attribute 'forward'"):
        layers(1)


def test_module_dict():
    a, b = nn.ReLU(), nn.Tanh()
    layers = nn.ModuleDict({"a": a})
    layers["b"] = b
    assert list(layers) == list(layers.keys()) == ["a", "b"]
    assert list(layers.values()) == [a, b]
    assert list(layers.items()) == [("a", a), ("b", b)]
    assert "a" in layers
    assert len(layers) == 2
    layers.update([("a", b)])
    assert layers["a"] is b
    assert layers.pop("a") is b
    with pytest.raises(KeyError, match="ModuleDict: no module 'a'; it holds b"):
        layers["a"]
    del layers["b"]
    assert len(layers) == 0
    layers.update({"c": a})
    layers.clear()
    assert list(layers) == []
    with pytest.raises(ValueError, match="give a dict, or pairs"):
        layers.update(["ab"])
