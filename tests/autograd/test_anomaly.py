"""Anomaly mode names the forward call, and its layer, behind a nan or an error in backward."""

import threading

import pytest

import tensorgrad as tg
import tensorgrad.nn as nn
from tensorgrad.autograd import Function, detect_anomaly, grad, set_detect_anomaly
from tensorgrad.autograd import is_anomaly_enabled as is_on
from tensorgrad.utils.checkpoint import checkpoint


class Root(nn.Module):
    def forward(self, x):
        return (x.sqrt() * 0).sum()  # the line that is at fault


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Identity(), Root())

    def forward(self, x):
        return self.inner(x)


def zero():
    return tg.tensor([0.0, 1.0], requires_grad=True)


def test_nan_is_traced_to_its_call_and_layer():
    with detect_anomaly(), pytest.raises(RuntimeError, match=r"sqrt: the gradient of its input x holds nan") as caught:
        Net()(zero()).backward()
    text = str(caught.value)
    assert "in layer 'inner.1'" in text and "the line that is at fault" in text and __file__ in text
    assert "tensorgrad/primitive" not in text


def test_nan_is_looked_for_unless_told_otherwise():
    with set_detect_anomaly(True), pytest.raises(RuntimeError, match="holds nan"):
        Net()(zero()).backward()


def test_without_it_nothing_is_said():
    x = zero()
    Net()(x).backward()
    assert bool(x.grad.isnan().any())


def test_a_failing_rule_is_explained():
    class Broken(Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, dz):
            raise ValueError("out of order")

    with detect_anomaly(), pytest.raises(RuntimeError, match=r"out of order.*was called here") as caught:
        Broken.apply(zero()).sum().backward()
    assert isinstance(caught.value.__cause__, ValueError)


def test_second_order():
    x = tg.tensor(0.0, requires_grad=True)
    with detect_anomaly():
        (g,) = grad(x**1.5, x, create_graph=True)  # 1.5 sqrt(x) is 0; its slope is not finite
        with pytest.raises(RuntimeError, match="holds nan"):
            grad(g * 0, x)


def test_recomputed_parts_and_threads():
    with detect_anomaly():
        with pytest.raises(RuntimeError, match="the line that is at fault"):
            checkpoint(Net(), zero()).backward()
        raised = []

        def work():
            try:
                Net()(zero()).backward()
            except RuntimeError as error:
                raised.append(str(error))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(raised) == 4 and all("inner.1" in text for text in raised)


def test_nan_from_above_is_told_from_nan_made_here():
    x, w = tg.ones(1, requires_grad=True), tg.tensor([float("nan")])
    with detect_anomaly(), pytest.raises(RuntimeError, match=r"its input x holds nan; multiply was called"):
        (x * w).sum().backward()
    with detect_anomaly(), pytest.raises(RuntimeError, match=r"input y holds nan \(nan had arrived from above\); mul"):
        (tg.ones(1) * x).backward(w)  # the first factor needs no gradient


@pytest.mark.parametrize("what", ["input", "result"])
def test_a_change_behind_its_back_is_found(what):
    """Of an array that nobody gave to NumPy through tensorgrad; without anomaly mode it is not noticed."""
    for on in (False, True):
        x = tg.tensor([1.0, 2.0], requires_grad=True)
        with set_detect_anomaly(on):
            z = x.exp() if what == "result" else x * x
            (z if what == "result" else x).array[0] = 7.0
            if not on:
                z.sum().backward()
                continue
            with pytest.raises(RuntimeError, match="changed behind tensorgrad's back"):
                z.sum().backward()


def test_modules_that_are_not_held_are_named_by_their_class():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = [Root()]

        def forward(self, x):
            return self.hidden[0](x)

    with detect_anomaly(), pytest.raises(RuntimeError, match="in layer 'Root'"):
        Outer()(zero()).backward()


def test_switches():
    assert not is_on()
    set_detect_anomaly(False)
    assert not is_on()
    with detect_anomaly(), detect_anomaly():
        assert is_on()
    assert not is_on()
    with set_detect_anomaly(True):
        assert is_on()
        with set_detect_anomaly(False):
            assert not is_on()
        assert is_on()
    assert not is_on()
    with detect_anomaly(check_nan=False):
        x = zero()
        Net()(x).backward()
        assert bool(x.grad.isnan().any())
    set_detect_anomaly(True)
    assert is_on()
    set_detect_anomaly(False)
    assert not is_on()


def test_a_users_function_that_gives_nan_is_named():
    class Bad(tg.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x + y

        @staticmethod
        def backward(ctx, dz):
            return dz * 1.0, dz * float("nan")

    x, y = tg.ones(2, requires_grad=True), tg.ones(2, requires_grad=True)
    with tg.autograd.detect_anomaly(), pytest.raises(RuntimeError, match=r"the gradient of its input 1 holds nan"):
        Bad.apply(x, y).sum().backward()
