"""Hooks around forward."""

from __future__ import annotations

import copy

import pytest

import tensorgrad as tg
import tensorgrad.nn as nn


class Double(nn.Module):
    def forward(self, x, *, times=2):
        if x is None:
            raise ValueError("nothing to double")
        return x * times


def test_hooks_see_arguments_and_output_in_order():
    layer, seen = Double(), []
    layer.register_forward_pre_hook(lambda module, args: seen.append(("pre", module is layer, args)))
    layer.register_forward_hook(lambda module, args, output: seen.append(("post", args, output)))
    layer.register_forward_hook(lambda module, args, output: seen.append("first of all"), prepend=True)
    assert layer(3) == 6
    assert seen == [("pre", True, (3,)), "first of all", ("post", (3,), 6)]


def test_hooks_replace_arguments_and_output():
    layer = Double()
    layer.register_forward_pre_hook(lambda module, args: args[0] + 1)
    layer.register_forward_pre_hook(lambda module, args: (args[0] * 10,))
    layer.register_forward_hook(lambda module, args, output: output + args[0])
    assert layer(1) == 60


def test_hooks_with_keyword_arguments():
    layer, seen = Double(), []
    layer.register_forward_pre_hook(
        lambda module, args, kwargs: (args, {"times": kwargs["times"] + 1}), with_kwargs=True
    )
    layer.register_forward_hook(lambda module, args, kwargs, output: seen.append(kwargs), with_kwargs=True)
    assert layer(1, times=4) == 5
    assert seen == [{"times": 5}]


def test_a_pre_hook_with_keywords_must_return_the_pair():
    layer = Double()
    layer.register_forward_pre_hook(lambda module, args, kwargs: args, with_kwargs=True)
    with pytest.raises(
        RuntimeError, match=r"forward pre-hook of Double: it returned \(1,\).* the pair \(args, kwargs\)"
    ):
        layer(1)


def test_always_called_hooks_run_when_forward_raises():
    layer, seen = Double(), []
    layer.register_forward_hook(lambda module, args, output: seen.append("only on success"))
    layer.register_forward_hook(lambda module, args, output: seen.append(output), always_call=True)
    with pytest.raises(ValueError, match="nothing to double"):
        layer(None)
    assert seen == [None]
    layer(1)
    assert seen == [None, "only on success", 2]


def test_removing_hooks():
    layer, seen = Double(), []
    handle = layer.register_forward_hook(lambda module, args, output: seen.append("kept"))
    with layer.register_forward_hook(lambda module, args, output: seen.append("block")):
        layer(1)
    layer(1)
    handle.remove()
    handle.remove()
    layer(1)
    assert seen == ["kept", "block", "kept"]


def test_a_hook_may_remove_itself():
    layer, seen = Double(), []

    def once(module, args, output):
        seen.append(output)
        handle.remove()

    handle = layer.register_forward_hook(once)
    layer(1)
    layer(1)
    assert seen == [2]


def test_a_hook_changes_what_is_recorded():
    layer = nn.Linear(2, 2, bias=False)
    layer.register_forward_hook(lambda module, args, output: output * 0)
    x = tg.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.tolist() == [[0, 0]]


def test_a_copy_has_hooks_of_its_own():
    layer, seen = Double(), []
    handle = layer.register_forward_hook(lambda module, args, output: seen.append(1))
    twin = copy.deepcopy(layer)
    handle.remove()
    twin(1)
    assert seen == [1]
