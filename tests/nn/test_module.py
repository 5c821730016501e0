"""Module: what it holds, how it is called, moved, copied and shown, and what it says when something is wrong."""

from __future__ import annotations

import copy
import pickle
import weakref

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
from tensorgrad.errors import OperandError, ShapeError
from tensorgrad.mode import mode


class Block(nn.Module):
    """A linear layer, a shared one, and buffers of both kinds."""

    def __init__(self, shared=None):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = self.first if shared is None else shared
        self.scale = nn.Parameter(tg.ones(3))
        self.register_buffer("mean", tg.zeros(3))
        self.register_buffer("scratch", tg.zeros(2), persistent=False)

    def forward(self, x):
        return self.second(self.first(x)) * self.scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block()
        self.rest = nn.ModuleList([nn.Linear(3, 2), nn.Sequential(nn.ReLU(), nn.Linear(2, 4))])

    def forward(self, x):
        x = self.block(x)
        for layer in self.rest:
            x = layer(x)
        return x


def names(pairs):
    return [name for name, _ in pairs]


# what it holds


def test_parameters_by_name_in_order_each_once():
    net = Net()
    expected = ["block.scale", "block.first.weight", "block.first.bias"]
    expected += ["rest.0.weight", "rest.0.bias", "rest.1.1.weight", "rest.1.1.bias"]
    assert names(net.named_parameters()) == expected
    assert [p.shape for p in net.parameters()] == [(3,), (3, 3), (3,), (2, 3), (2,), (4, 2), (4,)]
    assert names(net.named_parameters(recurse=False)) == []
    assert names(net.block.named_parameters(prefix="b", recurse=False)) == ["b.scale"]


def test_a_shared_module_appears_under_both_names_if_asked():
    net = Net()
    assert "block.second.weight" not in names(net.named_parameters())
    assert "block.second.weight" in names(net.named_parameters(remove_duplicate=False))
    assert "block.second" in names(net.named_modules(remove_duplicate=False))


def test_a_shared_parameter_is_given_once():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight = a.weight
    both = nn.Sequential(a, b)
    assert names(both.named_parameters()) == ["0.weight", "0.bias", "1.bias"]
    assert list(both.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]


def test_modules_children_and_buffers():
    net = Net()
    assert names(net.named_modules()) == [
        "",
        "block",
        "block.first",
        "rest",
        "rest.0",
        "rest.1",
        "rest.1.0",
        "rest.1.1",
    ]
    assert len(list(net.modules())) == 8
    assert names(net.named_children()) == ["block", "rest"]
    assert names(net.block.named_children()) == ["first"]
    assert list(net.children()) == [net.block, net.rest]
    assert names(net.named_buffers()) == ["block.mean", "block.scratch"]
    assert len(list(net.buffers())) == 2
    assert list(net.block.buffers(recurse=False)) == [net.block.mean, net.block.scratch]


def test_by_dotted_name():
    net = Net()
    assert net.get_submodule("rest.1.1") is net.rest[1][1]
    assert net.get_submodule("") is net
    assert net.get_parameter("block.first.bias") is net.block.first.bias
    assert net.get_buffer("block.mean") is net.block.mean
    with pytest.raises(AttributeError, match=r"'rest.7': ModuleList has no module '7'; it has 0, 1"):
        net.get_submodule("rest.7")
    with pytest.raises(AttributeError, match=r"Linear has no parameter 'bia'; it has weight, bias"):
        net.get_parameter("block.first.bia")
    with pytest.raises(AttributeError, match=r"ModuleList has no buffer 'mean'; it has no buffers"):
        net.get_buffer("rest.mean")


# assigning attributes


def test_an_attribute_changes_its_kind():
    layer = nn.Module()
    layer.x = 3
    layer.x = nn.Parameter(tg.ones(1))
    assert names(layer.named_parameters()) == ["x"]
    layer.x = nn.Identity()
    assert names(layer.named_parameters()) == []
    assert names(layer.named_children()) == ["x"]
    layer.x = nn.Parameter(tg.ones(1))
    assert names(layer.named_children()) == []
    layer.x = None
    assert layer.x is None
    assert names(layer.named_parameters()) == []
    del layer.x
    assert not hasattr(layer, "x")


def test_a_plain_value_never_replaces_a_parameter():
    layer = nn.Linear(2, 2)
    message = r"Linear.weight: got a Tensor; this attribute takes a Parameter or None \(to replace it by something else, `del`"
    with pytest.raises(TypeError, match=message):
        layer.weight = tg.ones(2, 2)
    sequence = nn.Sequential(nn.ReLU())
    with pytest.raises(TypeError, match=r"got a int; this attribute takes a Module or None"):
        setattr(sequence, "0", 3)


def test_a_buffer_stays_a_buffer():
    block = Block()
    block.mean = tg.ones(3)
    assert block.state_dict()["mean"].tolist() == [1, 1, 1]
    with pytest.raises(TypeError, match=r"Block.mean: got a float; a buffer takes a Tensor or None"):
        block.mean = 0.5


def test_registering_refuses_what_cannot_be():
    layer = nn.Linear(2, 2)
    with pytest.raises(KeyError, match=r"already has an attribute 'forward'"):
        layer.register_parameter("forward", nn.Parameter(tg.ones(1)))
    with pytest.raises(KeyError, match="must not be empty nor hold a dot"):
        layer.add_module("a.b", nn.Identity())
    with pytest.raises(TypeError, match=r"register_parameter: 'x' is a Tensor; it must be a Parameter or None"):
        layer.register_parameter("x", tg.ones(1))
    with pytest.raises(TypeError, match=r"register_buffer: 'x' is a float; it must be a Tensor or None"):
        layer.register_buffer("x", 1.0)
    with pytest.raises(TypeError, match=r"add_module: 'x' is a class \(ReLU, give an instance: ReLU\(...\)\)"):
        layer.add_module("x", nn.ReLU)
    with pytest.raises(TypeError, match="the name is a int"):
        layer.add_module(3, nn.ReLU())


class Forgetful(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(1, 1)


def test_assigning_before_init_says_what_to_do():
    message = r"Forgetful.layer: cannot be assigned before Module.__init__\(\); call super\(\).__init__\(\) first"
    with pytest.raises(AttributeError, match=message):
        Forgetful()


def test_calling_without_init_says_what_to_do():
    class Lazy(nn.Module):
        def __init__(self):
            self.width = 3

        def forward(self, x):
            return x

    with pytest.raises(AttributeError, match=r"was super\(\).__init__\(\) called in its __init__\?"):
        Lazy()(1)
    assert mode.scope is None


def test_a_missing_attribute_or_forward():
    with pytest.raises(AttributeError, match="'Linear' has no attribute 'wieght'"):
        nn.Linear(1, 1).wieght  # noqa: B018
    with pytest.raises(AttributeError, match="'Module' has no attribute 'forward'; define it"):
        nn.Module()(1)


def test_dir_lists_what_is_inside():
    assert {"first", "scale", "mean", "forward"} <= set(dir(Block()))


# calling


def test_a_call_is_a_scope_and_ends_also_when_it_raises():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            scope = mode.scope
            while scope is not None:
                seen.append(scope.module())
                scope = scope.outer
            if x is None:
                raise ValueError("on purpose")
            return x

    spy = Spy()
    net = nn.Sequential(spy)
    net(1)
    assert seen == [spy, net]
    assert mode.scope is None
    with pytest.raises(ValueError, match="on purpose"):
        net(None)
    assert mode.scope is None


def test_a_node_knows_the_module_it_was_recorded_in():
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh())
    z = net(tg.ones(1, 2))
    assert z.grad_fn.scope.module() is net[1]
    assert z.grad_fn.scope.outer.module() is net
    assert z.grad_fn.parents[0].scope.module() is net[0]


def test_scopes_keep_no_module_alive():
    net = nn.Sequential(nn.Linear(2, 2))
    alive = weakref.ref(net[0])
    z = net(tg.ones(1, 2))
    del net
    assert alive() is None
    assert z.grad_fn.scope.module() is None


# errors say in which layer


def path_of(error):
    return str(error.value).partition("[in ")[2]


def test_an_error_names_the_path_of_its_layer():
    net = nn.Sequential(nn.Linear(3, 3), nn.ModuleDict({"head": Net()})["head"])
    with pytest.raises(ShapeError) as error:
        net(tg.ones(5, 4))
    assert path_of(error) == "layer '0', a Linear]"

    net.append(nn.Linear(3, 3))
    with pytest.raises(ShapeError) as error:
        net(tg.ones(5, 3))
    assert str(error.value) == (
        "linear: got an input of shape (5, 4) and a weight of shape (3, 3); the last size of the input must be 3, the "
        "weight (out_features, in_features) [in layer '2', a Linear]"
    )


def test_an_error_deep_inside_containers_that_are_not_called():
    net = Net()
    net.rest[1][1] = nn.Linear(7, 4)
    with pytest.raises(ShapeError) as error:
        nn.Sequential(net)(tg.ones(5, 3))
    assert path_of(error) == "layer '0.rest.1.1', a Linear]"
    assert error.value.layer == "0.rest.1.1"
    assert error.value.layer_kind == "Linear"


def test_an_error_in_a_layer_by_itself_or_in_a_plain_list():
    with pytest.raises(ShapeError) as error:
        nn.Conv2d(1, 6, 5)(tg.ones(1, 3, 8, 8))
    assert path_of(error) == "the Conv2d]"

    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(3, 3)]

        def forward(self, x):
            return self.layers[0](x)

    with pytest.raises(ShapeError) as error:
        nn.Sequential(Hidden())(tg.ones(1, 4))
    assert path_of(error) == "layer '0.Linear', a Linear]"


def test_an_error_in_the_forward_of_a_network_itself():
    class Wrong(nn.Module):
        def forward(self, x):
            return x.reshape(7)

    with pytest.raises(ShapeError) as error:
        nn.Sequential(nn.Identity(), Wrong())(tg.ones(2, 3))
    assert path_of(error) == "layer '1', a Wrong]"


def test_an_error_outside_of_layers_has_no_path():
    with pytest.raises(ShapeError) as error:
        tg.ones(2, 3).reshape(7)
    assert "[in " not in str(error.value)


def test_an_error_caught_and_raised_again_keeps_the_innermost_path():
    class Wrapper(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, x):
            try:
                return self.inner(x)
            except ShapeError as error:
                raise error

    with pytest.raises(ShapeError) as error:
        nn.Sequential(Wrapper())(tg.ones(3))
    assert path_of(error) == "layer '0.inner', a Linear]"


# modes, gradients, apply


def test_train_and_eval_reach_everything():
    net = Net()
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.rest.train()
    assert net.rest[1][1].training
    assert not net.block.training
    with pytest.raises(TypeError, match="train: mode is a str"):
        net.train("yes")


def test_apply_goes_from_the_inside_out():
    order = []
    net = nn.Sequential(nn.Sequential(nn.ReLU()), nn.Tanh())
    assert net.apply(lambda module: order.append(module)) is net
    assert order == [net[0][0], net[0], net[1], net]


def test_zero_grad_and_requires_grad():
    net = nn.Linear(2, 1)
    net(tg.ones(3, 2)).sum().backward()
    assert net.weight.grad.tolist() == [[3, 3]]
    net.zero_grad(set_to_none=False)
    assert net.weight.grad.tolist() == [[0, 0]]
    net.zero_grad()
    assert net.weight.grad is None
    net.requires_grad_(False)
    assert not net(tg.ones(1, 2)).requires_grad
    net.requires_grad_()
    assert net(tg.ones(1, 2)).requires_grad


# moving and copying


def test_to_a_dtype_keeps_the_parameters_and_leaves_integers():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weight = net[0].weight
    net(tg.ones(3, 2) * tg.arange(3.0).reshape(3, 1)).sum().backward()
    assert net.double() is net
    assert net[0].weight is weight
    assert weight.dtype == tg.float64
    assert weight.grad.dtype == tg.float64
    assert net[1].running_mean.dtype == tg.float64
    assert net[1].num_batches_tracked.dtype == tg.int64
    assert net.half()[0].weight.dtype == tg.float16
    assert net.float()[0].weight.dtype == tg.float32
    assert net.type(tg.float64)[0].weight.dtype == tg.float64
    assert net.to(tg.ones(1))[0].weight.dtype == tg.float32
    assert net.to("cpu", tg.float64)[0].weight.dtype == tg.float64


def test_to_refuses_what_is_no_place():
    with pytest.raises(
        TypeError, match=r"Module.to: got dtype int64; parameters and buffers take floating-point dtypes"
    ):
        nn.Linear(1, 1).to(tg.int64)
    with pytest.raises(TypeError, match=r"Module.to: got 'gpu'; it takes a device, a dtype or a Tensor"):
        nn.Linear(1, 1).to("gpu")


def test_to_another_dtype_invalidates_an_older_graph():
    net = nn.Linear(2, 2)
    z = net(tg.ones(1, 2, requires_grad=True)).sum()
    net.double()
    with pytest.raises(RuntimeError, match=r"changed in place by Module.to"):
        z.backward()


def test_to_a_device_and_back():
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    before = net[0].weight.tolist()
    x = tg.tensor([[1.0, 2.0], [3.0, 5.0]])
    expected = net(x).tolist()
    net.to("standin")
    assert {value.device.type for value in net.state_dict().values()} == {"standin"}
    np.testing.assert_allclose(net(x.to("standin")).tolist(), expected, rtol=1e-6)
    assert str(net.cpu()[1].running_mean.device) == "cpu"
    assert net[0].weight.tolist() == before


def test_mixed_devices_name_the_layer():
    net = nn.Sequential(nn.Linear(2, 2)).to("standin")
    with pytest.raises(RuntimeError, match=r"x on 'cpu', w on 'standin:0'.*\[in layer '0', a Linear\]"):
        net(tg.ones(1, 2))


def test_deepcopy_and_pickle():
    net = Net()
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert repr(twin) == repr(net)
        assert names(twin.named_parameters()) == names(net.named_parameters())
        assert twin.block.second is twin.block.first
        assert type(twin.block.scale) is nn.Parameter
        x = tg.ones(2, 3)
        assert twin(x).tolist() == net(x).tolist()
        with tg.no_grad():
            twin.block.scale.zero_()
        assert twin.block.scale is not net.block.scale
        assert net.block.scale.tolist() == [1, 1, 1]


def test_a_deep_copy_keeps_ties_between_parameters():
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    b.weight = a.weight
    twin = copy.deepcopy(nn.Sequential(a, b))
    assert twin[0].weight is twin[1].weight


# repr


def test_repr_indents_and_collapses():
    assert (
        repr(Net())
        == """\
Net(
  (block): Block(
    (first): Linear(in_features=3, out_features=3, bias=True)
    (second): Linear(in_features=3, out_features=3, bias=True)
  )
  (rest): ModuleList(
    (0): Linear(in_features=3, out_features=2, bias=True)
    (1): Sequential(
      (0): ReLU()
      (1): Linear(in_features=2, out_features=4, bias=True)
    )
  )
)"""
    )
    assert repr(nn.ModuleList(nn.ReLU() for _ in range(3))) == "ModuleList(\n  (0-2): 3 x ReLU()\n)"
    assert repr(nn.Parameter(tg.zeros(2))) == "Parameter containing:\ntensor([0., 0.], requires_grad=True)"


def test_a_parameter_shares_the_memory_it_is_given():
    x = tg.zeros(2)
    p = nn.Parameter(x, requires_grad=False)
    x[0] = 5.0
    assert p.tolist() == [5, 0]
    assert not p.requires_grad
    with pytest.raises(RuntimeError, match="only floating-point Tensors can have gradients"):
        nn.Parameter(tg.tensor([1, 2]))
    with pytest.raises(OperandError):
        nn.Parameter(3.0)
