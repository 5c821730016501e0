"""Hooks around forward and backward."""

from __future__ import annotations

import copy

import numpy as np
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


# backward hooks


def test_a_backward_hook_sees_and_replaces_gradients():
    layer = nn.Linear(2, 1, bias=False)
    layer.weight.data.copy_(tg.tensor([[2.0, 3.0]]))
    seen = []

    def double(module, grad_input, grad_output):
        seen.append((module, grad_input[0].tolist(), grad_output[0].tolist()))
        return tuple(2 * g for g in grad_input)

    handle = layer.register_full_backward_hook(double)
    x = tg.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    assert seen == [(layer, [[2.0, 3.0]], [[1.0]])]
    assert x.grad.tolist() == [[4.0, 6.0]]
    assert layer.weight.grad.tolist() == [[1.0, 1.0]]
    handle.remove()
    layer(x).sum().backward()
    assert x.grad.tolist() == [[6.0, 9.0]]


def test_a_backward_pre_hook_replaces_the_gradients_of_the_output():
    layer = nn.Linear(2, 1, bias=False)
    layer.register_full_backward_pre_hook(lambda module, grad_output: (grad_output[0] * 10,))
    layer(tg.ones(1, 2)).sum().backward()
    assert layer.weight.grad.tolist() == [[10.0, 10.0]]


def test_a_backward_hook_without_gradients_of_inputs_still_runs():
    layer = nn.Linear(2, 1)
    seen = []
    layer.register_full_backward_hook(
        lambda module, grad_input, grad_output: seen.append((grad_input, len(grad_output)))
    )
    layer(tg.ones(1, 2)).sum().backward()
    assert seen == [((None,), 1)]
    with tg.no_grad():
        layer(tg.ones(1, 2))
    assert len(seen) == 1


def test_backward_hooks_of_several_inputs_and_outputs_and_calls():
    class Both(nn.Module):
        def forward(self, x, factor, y):
            return x * factor, y * factor

    net = Both()
    seen = []
    net.register_full_backward_hook(
        lambda module, gi, go: seen.append([None if g is None else g.item() for g in gi + go])
    )
    x, y = (tg.tensor(v, requires_grad=True) for v in (1.0, 2.0))
    a, b = net(x, 3, y)
    c, _ = net(a, 5, b)
    c.backward()
    assert seen == [[5.0, None, None, 1.0, None], [15.0, None, None, 5.0, None]]


def test_a_change_in_place_behind_a_hooked_module_is_right():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(inplace=True))
    net[0].register_full_backward_hook(lambda module, grad_input, grad_output: None)
    x = tg.randn(3, 2)
    net(x).sum().backward()
    weight = net[0].weight
    expected = (x.numpy() @ weight.detach().numpy().T > 0).astype("float32").T @ x.numpy()
    np.testing.assert_allclose(weight.grad, expected, rtol=1e-5)


def test_wrong_backward_hooks():
    layer = nn.Linear(2, 1)
    layer.register_full_backward_hook(lambda module, grad_input, grad_output: (None, None))
    with pytest.raises(RuntimeError, match="returned 2 gradients instead of 1"):
        layer(tg.ones(1, 2, requires_grad=True)).sum().backward()
