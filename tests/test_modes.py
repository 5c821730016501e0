"""no_grad, enable_grad, set_grad_enabled and inference_mode: blocks, decorators, nesting, threads."""

from __future__ import annotations

import threading

import pytest

import tensorgrad as tg
from tensorgrad.errors import GraphError


def recorded() -> bool:
    return (tg.ones(1, requires_grad=True) * 2).requires_grad


def test_blocks_nest():
    assert recorded() and tg.is_grad_enabled()
    with tg.no_grad():
        assert not recorded() and not tg.is_grad_enabled()
        with tg.enable_grad():
            assert recorded()
            with tg.inference_mode():
                assert not recorded()
            assert recorded()
        assert not recorded()
    assert recorded()


def test_a_block_object_can_be_entered_again_inside_itself():
    block = tg.no_grad()
    with block:
        with block:
            assert not recorded()
        assert not recorded()
    assert recorded()


def test_modes_come_back_after_an_exception():
    for block in (tg.no_grad, tg.inference_mode, lambda: tg.set_grad_enabled(False)):
        with pytest.raises(KeyError), block():
            raise KeyError
        assert recorded()


def test_decorators():
    @tg.no_grad()
    def quiet(x: int) -> tuple[int, bool]:
        """Documented."""
        return x, recorded()

    assert quiet(3) == (3, False) and quiet.__doc__ == "Documented." and recorded()

    @tg.no_grad()
    def countdown(n: int) -> list[bool]:
        return [recorded(), *(countdown(n - 1) if n else [])]

    assert countdown(2) == [False] * 3 and recorded()


def test_set_grad_enabled_as_a_decorator():
    @tg.set_grad_enabled(False)
    def quiet() -> bool:
        return recorded()

    assert recorded(), "decorating alone switches nothing"
    assert not quiet() and recorded()


def test_decorators_without_parentheses():
    @tg.no_grad
    def quiet(x: int) -> tuple[int, bool]:
        return x, recorded()

    assert quiet(2) == (2, False) and recorded()


def test_set_grad_enabled_as_a_statement_and_a_block():
    try:
        tg.set_grad_enabled(False)
        assert not recorded()
        with tg.set_grad_enabled(True):
            assert recorded()
        assert not recorded()
    finally:
        tg.set_grad_enabled(True)
    assert recorded()


def test_backward_under_no_grad_and_create_graph():
    x = tg.tensor([2.0], requires_grad=True)
    z = (x**3).sum()
    with tg.no_grad():
        (g,) = tg.autograd.grad(z, x, create_graph=True)
    assert g.requires_grad and tg.autograd.grad(g, x)[0].tolist() == [12]
    assert recorded()


def test_a_backward_that_fails_leaves_recording_on():
    x = tg.ones(2, requires_grad=True)
    z = (x * x).sum()
    z.backward()
    with pytest.raises(GraphError):
        z.backward()
    assert recorded()


def test_requires_grad_within_no_grad():
    with tg.no_grad():
        x = tg.ones(2, requires_grad=True)
        y = x.detach().requires_grad_()
    assert x.requires_grad and y.requires_grad and (x * y).requires_grad


def test_inference_mode_marks_what_it_makes():
    x = tg.ones(2, requires_grad=True)
    with tg.inference_mode():
        y = x * 2
        z = y + 1
        parts = y.unbind()
    assert not y.requires_grad and z.tolist() == [3, 3]
    for made in (y, z, parts[0]):
        with pytest.raises(GraphError, match=r"made under inference_mode.*\.clone\(\)"):
            _ = made * x
        with pytest.raises(GraphError, match="made under inference_mode"):
            made.requires_grad_()
    assert (y.clone() * x).requires_grad
    assert (y * 2).tolist() == [4, 4], "without recording it may be used"
    with tg.no_grad():
        assert (y * x).tolist() == [2, 2]


def test_a_mode_belongs_to_its_thread():
    seen: dict[str, bool] = {}
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        seen["new thread"] = recorded()
        with tg.no_grad():
            seen["in its block"] = recorded()
            entered.set()
            assert leave.wait(10)
        seen["after its block"] = recorded()

    with tg.no_grad():
        thread = threading.Thread(target=other)
        thread.start()
        assert entered.wait(10)
    seen["here"] = recorded()
    leave.set()
    thread.join(10)
    assert seen == {"new thread": True, "in its block": False, "after its block": True, "here": True}


# generators

BLOCKS = {
    "no_grad": tg.no_grad,
    "no_grad()": lambda function: tg.no_grad()(function),
    "inference_mode": lambda function: tg.inference_mode()(function),
    "set_grad_enabled": lambda function: tg.set_grad_enabled(False)(function),
}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_decorated_generator_is_inside_whenever_it_goes_on(block):
    seen = []

    @BLOCKS[block]
    def generate(count):
        try:
            for number in range(count):
                seen.append(recorded())
                answer = yield number
                seen.append((answer, recorded()))
        except KeyError:
            seen.append(recorded())
            yield -1
        finally:
            seen.append(("end", recorded()))
        return "done"

    def through():
        return (yield from generate(2))

    generator = through()
    assert next(generator) == 0 and recorded()
    assert generator.send("a") == 1 and recorded()
    with pytest.raises(StopIteration) as end:
        generator.send("b")
    assert end.value.value == "done" and recorded()
    assert seen == [False, ("a", False), False, ("b", False), ("end", False)]
    del seen[:]
    generator = generate(2)
    next(generator)
    assert generator.throw(KeyError) == -1 and recorded()
    with pytest.raises(StopIteration):
        next(generator)
    generator = generate(2)
    next(generator)
    generator.close()
    assert recorded() and seen == [False, False, ("end", False), False, ("end", False)]


def test_blocks_that_are_left_out_of_turn():
    """A generator inside of a block, closed inside of another: each takes away its own, and in the end nothing is left."""

    def within(block):
        with block:
            yield recorded()

    generator = within(tg.no_grad())
    assert not next(generator)
    with tg.inference_mode():
        generator.close()
        assert not recorded()
        assert (tg.ones(1) + 1).extra.inference
    assert recorded()
    first, second, third = (within(block) for block in (tg.no_grad(), tg.enable_grad(), tg.no_grad()))
    assert [next(first), next(second), next(third)] == [False, True, False]
    second.close()
    assert not recorded()
    third.close()
    assert not recorded()  # of the first
    first.close()
    assert recorded()


def test_a_block_whose_end_was_cut_off_is_left_with_the_one_around_it():
    """Ctrl-C that comes when a block ends keeps it from ending."""
    for block in (tg.no_grad, tg.enable_grad):
        with pytest.raises(KeyboardInterrupt), block():
            tg.inference_mode().__enter__()
            raise KeyboardInterrupt
        assert recorded()


def test_one_block_for_several_threads():
    """Each thread gets back what was on in it."""
    block, turns, found = tg.no_grad(), threading.Barrier(2), {}

    def work(recording):
        tg.set_grad_enabled(recording)
        turns.wait(10)
        with block:
            turns.wait(10)
        found[recording] = tg.is_grad_enabled()

    threads = [threading.Thread(target=work, args=(recording,)) for recording in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert found == {True: True, False: False}


def test_a_generator_that_is_closed_in_another_thread_changes_nothing_there():
    def within():
        with tg.no_grad():
            yield

    generator = within()
    thread = threading.Thread(target=lambda: next(generator))
    thread.start()
    thread.join(20)
    with tg.enable_grad():
        generator.close()
        assert recorded()
    assert recorded()
