"""Several threads: sums into one leaf are exact, graphs do not mix, derivatives of each thread are its own."""

from __future__ import annotations

import threading
from collections.abc import Callable

import tensorgrad as tg
from tensorgrad.autograd import grad, jvp
from tensorgrad.autograd.graph import saved_tensors_hooks
from tensorgrad.utils.checkpoint import checkpoint


def together(work: Callable[[int], None], count: int = 4) -> None:
    """Run work(0) ... work(count - 1) at once; the first exception comes out here."""
    failures: list[BaseException] = []
    start = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            start.wait(10)
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    if failures:
        raise failures[0]


def test_backward_into_one_leaf_adds_up_exactly():
    w = tg.zeros(50, requires_grad=True)
    rounds = 100

    def work(number: int) -> None:
        for _ in range(rounds):
            (w * float(number + 1)).sum().backward()

    together(work)
    assert w.grad.tolist() == [rounds * (1 + 2 + 3 + 4)] * 50


def test_first_gradients_of_a_leaf():
    """Who comes first sets .grad, the others add to it: nothing is lost between the look and the write."""
    for _ in range(30):
        w = tg.zeros(3, requires_grad=True)
        together(lambda _, w=w: (w * 1.0).sum().backward(), 3)  # type: ignore[misc]
        assert w.grad.tolist() == [3, 3, 3]


def test_graphs_of_threads_share_a_trunk():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    trunk = x * x
    found: dict[int, list[float]] = {}

    def work(number: int) -> None:
        for _ in range(20):
            (g,) = grad((trunk * float(number)).sum(), x, retain_graph=True)
            found[number] = g.tolist()

    together(work)
    assert found == {n: [2.0 * n, 4.0 * n] for n in range(4)}


def test_forward_mode_of_threads():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    found: dict[int, list[float]] = {}

    def work(number: int) -> None:
        direction = tg.tensor([float(number), 1.0])
        for _ in range(20):
            slope = jvp(lambda y: jvp(lambda z: z**3, y, direction)[1], x, direction)[1]
            found[number] = slope.tolist()

    together(work)
    assert found == {n: [6.0 * n * n, 12.0] for n in range(4)}


def test_one_thread_records_while_another_does_not():
    x = tg.ones(10, requires_grad=True)

    def work(number: int) -> None:
        for _ in range(50):
            if number % 2:
                with tg.no_grad():
                    assert not (x * 2).requires_grad
            else:
                assert (x * 2).requires_grad

    together(work)


def test_recomputed_parts_and_hooks_are_of_their_thread():
    """Every second thread packs what is saved, and recomputes a part; the others do not, and see nothing of it."""
    packed: dict[int, list[float]] = {number: [] for number in range(4)}

    def work(number: int) -> None:
        def pack(x: tg.Tensor) -> tg.Tensor:
            packed[number].append(float(x.max()))
            return x

        for _ in range(20):
            x = tg.tensor([float(number), 1.0], requires_grad=True)
            if number % 2:
                with saved_tensors_hooks(pack, lambda x: x):
                    z = checkpoint(lambda x: x * x * x, x).sum() + x.exp().sum()
            else:
                z = (x * x * x).sum() + x.exp().sum()
            assert grad(z, x)[0].tolist() == (3 * x * x + x.exp()).tolist()

    together(work)
    assert [len(packed[number]) for number in (0, 2)] == [0, 0]
    assert all(packed[number] for number in (1, 3))
