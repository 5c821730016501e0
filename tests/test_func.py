"""torch.func's names and torch.autograd.functional's, beside PyTorch itself."""

import numpy as np
import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
from tensorgrad import func
from tensorgrad.autograd import functional


def vector(*values, **settings):
    return tg.tensor(values, dtype=tg.float64, **settings)


def curve(x, y):
    return x.sin() * y + y * y * x


A, B = [0.3, -1.2, 2.0], [1.5, 0.5, -0.7]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # PyTorch's own
@pytest.mark.parametrize("argnums", [0, 1, (0, 1), (1, 0), -1])
@pytest.mark.parametrize("name", ["grad", "jacrev", "jacfwd", "hessian"])
def test_the_same_as_pytorch(name, argnums):
    torch = pytest.importorskip("torch")
    scalar = name in ("grad", "hessian")

    def f(x, y):
        z = curve(x, y)
        return z.sum() if scalar else z

    ours = getattr(func, name)(f, argnums)(vector(*A), vector(*B))
    counted = (
        1 if argnums == -1 else argnums
    )  # PyTorch's forward mode gives zeros for the last argument counted from behind
    theirs = getattr(torch.func, name)(f, counted)(
        torch.tensor(A, dtype=torch.float64), torch.tensor(B, dtype=torch.float64)
    )
    same(ours, theirs)


def same(ours, theirs):
    if isinstance(theirs, (tuple, list)):
        assert isinstance(ours, (tuple, list)) and len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            same(a, b)
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            same(ours[key], theirs[key])
    else:
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["jacobian", "hessian", "vjp", "jvp", "vhp", "hvp"])
@pytest.mark.parametrize("several", [False, True])
def test_functional_is_the_same_as_pytorch(name, several):
    torch = pytest.importorskip("torch")
    scalar = name in ("hessian", "vhp", "hvp")

    def f(x, y=None):
        z = x.sin() * x if y is None else curve(x, y)
        return z.sum() if scalar else z

    def inputs(make):
        xs = tuple(make(v) for v in ((A, B) if several else (A,)))
        return xs if several else xs[0]

    def theirs_of(v):
        return torch.tensor(v, dtype=torch.float64)

    def ours_of(v):
        return vector(*v)

    def directions(make):
        if name == "vjp":
            return (make([1.0, 2.0, -1.0]),)
        vs = tuple(make(v) for v in (([1.0, 2.0, -1.0], [0.5, 0.0, 3.0]) if several else ([1.0, 2.0, -1.0],)))
        return (vs if several else vs[0],)

    more = [] if name in ("jacobian", "hessian") else [directions(ours_of), directions(theirs_of)]
    ours = getattr(functional, name)(f, inputs(ours_of), *(more[0] if more else ()))
    theirs = getattr(torch.autograd.functional, name)(f, inputs(theirs_of), *(more[1] if more else ()))
    same(ours, theirs)
    if name == "jacobian":
        same(functional.jacobian(f, inputs(ours_of), strategy="forward-mode"), theirs)


def test_trees_and_other_results():
    def loss(params, x):
        z = params["w"] * x + params["b"]
        return (z * z).sum(), {"z": z}

    params = {"w": vector(2.0, 3.0), "b": vector(1.0, -1.0)}
    x = vector(0.5, 1.0)
    grads, other = func.grad(loss, has_aux=True)(params, x)
    z = params["w"].array * x.array + params["b"].array
    np.testing.assert_allclose(grads["w"], 2 * z * x.array)
    np.testing.assert_allclose(grads["b"], 2 * z)
    np.testing.assert_allclose(other["z"], z)
    assert not other["z"].requires_grad
    (value, _), again = func.value_and_grad(loss, has_aux=True)(params, x)
    np.testing.assert_allclose(value, (z * z).sum())
    np.testing.assert_allclose(again["w"], grads["w"])
    _, pullback, aux = func.vjp(lambda x: (x * 2, "note"), x, has_aux=True)
    assert aux == "note"
    np.testing.assert_allclose(pullback(vector(1.0, 1.0))[0], [2.0, 2.0])


def test_nesting_mixes_modes():
    x = vector(0.4)
    f = lambda x: (x**4).sum()  # noqa: E731
    third = func.grad(lambda x: func.grad(lambda x: func.grad(f)(x).sum())(x).sum())(x)
    np.testing.assert_allclose(third, 24 * x.array)
    np.testing.assert_allclose(func.jacfwd(func.jacfwd(func.jacrev(f)))(x).reshape(()), 24 * x.array[0])
    np.testing.assert_allclose(func.jacrev(func.jacrev(func.jacfwd(f)))(x).reshape(()), 24 * x.array[0])
    _, hv = func.hvp(f, x, vector(2.0))
    np.testing.assert_allclose(hv, 24 * x.array**2)
    outer = vector(0.4, requires_grad=True)
    func.grad(f)(outer).sum().backward()  # the result of func.grad is part of the graph around it
    np.testing.assert_allclose(outer.grad, 12 * outer.array**2)


def test_linearize_runs_the_function_once():
    calls = []

    def f(x, y):
        calls.append(1)
        return curve(x, y), x * 2

    x, y = vector(*A), vector(*B)
    (first, _), push = func.linearize(f, x, y)
    dx, dy = vector(1.0, 0.0, 2.0), vector(0.0, 1.0, -1.0)
    for _ in range(2):
        got = push(dx, dy)
        same_as = func.jvp(curve, (x, y), (dx, dy))[1]
        np.testing.assert_allclose(got[0], same_as)
        np.testing.assert_allclose(got[1], 2 * dx.array)
    assert len(calls) == 1
    np.testing.assert_allclose(first, curve(x, y))
    np.testing.assert_allclose(func.linearize(lambda x: tg.ones(2, dtype=tg.float64), x)[1](dx), [0, 0])


def test_functional_call():
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    params = {name: p.detach() * 2 for name, p in net.named_parameters()}
    before = dict(net.named_parameters())
    x = tg.ones(4, 2, dtype=tg.float64)
    z = func.functional_call(net, params, x)
    assert all(p is before[name] for name, p in net.named_parameters())
    other = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    other.load_state_dict(params)
    np.testing.assert_allclose(z.detach(), other(x).detach())
    grads = func.grad(lambda params: func.functional_call(net, params, (x,)).sum())(params)
    other(x).sum().backward()
    for name, p in other.named_parameters():
        np.testing.assert_allclose(grads[name], p.grad)
    with pytest.raises(KeyError, match=r"no parameter or buffer '3\.weight'"):
        func.functional_call(net, {"3.weight": x}, x)
    with pytest.raises(KeyError, match=r"'2\.bias' is missing"):
        func.functional_call(net, {k: v for k, v in params.items() if k != "2.bias"}, x, strict=True)


def test_tied_weights():
    net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    net[1].weight = net[0].weight
    x = tg.ones(1, 2)
    both = func.functional_call(net, {"0.weight": tg.zeros(2, 2)}, x)
    assert both.tolist() == [[0.0, 0.0]]
    one = func.functional_call(net, {"1.weight": tg.eye(2)}, x, tie_weights=False)
    np.testing.assert_allclose(one.detach(), net[0](x).detach())


def test_vmap():
    x = tg.randn(4, 3, 2)
    w = tg.randn(2, 5)
    out = func.vmap(lambda row, w: row @ w, in_dims=(1, None), out_dims=1)(x, w)
    np.testing.assert_allclose(out, x.numpy() @ w.numpy(), rtol=1e-5, atol=1e-6)
    per_sample = func.vmap(func.grad(lambda w, row: (row @ w).square().sum()), in_dims=(None, 0))(w, x)
    assert per_sample.shape == (4, 2, 5)
    parts = func.vmap(lambda d: {"twice": d["a"] * 2, "sum": d["a"].sum()})({"a": x})
    assert parts["twice"].shape == (4, 3, 2) and parts["sum"].shape == (4,)
    with pytest.raises(RuntimeError, match="randomness"):
        func.vmap(lambda row: row + tg.rand(()))(x)
    different = func.vmap(lambda row: tg.rand(2) + 0 * row.sum(), randomness="different")(x)
    assert different[0].tolist() != different[1].tolist()
    alike = func.vmap(lambda row: tg.rand(2) + 0 * row.sum(), randomness="same")(x)
    assert alike[0].tolist() == alike[1].tolist()


def test_an_ensemble():
    nets = [nn.Linear(2, 1) for _ in range(3)]
    params, buffers = func.stack_module_state(nets)
    x = tg.ones(5, 2)
    out = func.vmap(lambda p, b, x: func.functional_call(nets[0], (p, b), (x,)), in_dims=(0, 0, None))(
        params, buffers, x
    )
    for z, net in zip(out.unbind(0), nets):
        np.testing.assert_allclose(z.detach(), net(x).detach(), rtol=1e-6)


def test_duals_by_hand():
    from tensorgrad.autograd import forward_ad as fw

    x = vector(3.0)
    with fw.dual_level():
        z = fw.make_dual(x, vector(1.0)) ** 2
        with fw.dual_level():
            y = fw.make_dual(z, vector(1.0)) ** 2
            np.testing.assert_allclose(fw.unpack_dual(y).tangent.detach(), 2 * 9.0)
        assert fw.unpack_dual(z).tangent.tolist() == [6.0]
    assert fw.unpack_dual(z).tangent is None
    with pytest.raises(RuntimeError, match="dual_level"):
        fw.make_dual(x, vector(1.0))
    with fw.dual_level(), pytest.raises(RuntimeError, match="tangent has shape"):
        fw.make_dual(x, vector(1.0, 2.0))


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda x: func.grad(lambda x: x * 2)(x), RuntimeError, "scalar"),
        (lambda x: func.grad(lambda x: x.sum(), argnums=1)(x), ValueError, "argnums"),
        (lambda x: func.grad(lambda x, y: x.sum(), argnums=(0, 0))(x, x), ValueError, "twice"),
        (lambda x: func.jvp(lambda x: x, x, x), TypeError, "tuples"),
        (lambda x: func.jvp(lambda x: x, (x,), (x[:1],)), RuntimeError, "tangent 0 has shape"),
        (lambda x: func.grad(lambda x: x.sum(), has_aux=True)(x), TypeError, "pair"),
        (lambda x: func.vmap(lambda x: x, in_dims=None)(x), ValueError, "no argument"),
        (lambda x: func.vmap(lambda x, y: x)(x, x[:1]), ValueError, "sizes"),
        (lambda x: func.vmap(lambda x: x, randomness="perhaps")(x), ValueError, "randomness"),
        (lambda x: func.vjp(lambda x: 3, x), TypeError, "holds a int"),
        (lambda x: func.linearize(lambda x: x * 2, x)[1](x[:1]), RuntimeError, "tangent has shape"),
        (lambda x: functional.jacobian(lambda x: x, x, strategy="sideways"), ValueError, "strategy"),
        (lambda x: functional.vjp(lambda x: x, x), RuntimeError, "v can only be left out"),
        (lambda x: functional.jvp(lambda x: x, x, x[:1]), RuntimeError, "v has shapes"),
        (lambda x: functional.hessian(lambda x: x, x), RuntimeError, "scalar"),
        (lambda x: functional.jacobian(lambda x: tg.ones(1), x, strict=True), RuntimeError, "does not depend"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call(vector(1.0, 2.0))
