"""DataLoader: order, seeds, errors and endings, with threads and with processes."""

import gc
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import tensorgrad
from tensorgrad import Tensor, tensor
from tensorgrad.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    Digits,
    ImageDataset,
    Subset,
    TensorDataset,
    current_generator,
    get_worker_info,
    workers,
)
from tensorgrad.data.transforms import Compose, RandomAffine, Resize, ToDtype

PREPARE = Compose([ToDtype(np.float32, scale=16), Resize(16), RandomAffine(10, (0.1, 0.1))])
# How to load: no worker, threads, processes. Processes get only what lives in the package, so that they can find it.
WAYS = {
    "here": {},
    "1 thread": {"num_workers": 1},
    "3 threads": {"num_workers": 3},
    "2 processes": {"num_workers": 2, "multiprocessing_context": "spawn"},
}
THREADS = {"here": {}, "threads": {"num_workers": 2}}


def worker_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("DataLoader")]


@pytest.fixture(autouse=True)
def nobody_is_left():
    """No test may leave a worker behind."""
    yield
    if worker_threads():
        gc.collect()
    assert not worker_threads()
    assert not multiprocessing.active_children()


def values(loader):
    return [[column.numpy().copy() for column in batch] for batch in loader]


def assert_same(a, b):
    assert len(a) == len(b)
    for batch_a, batch_b in zip(a, b, strict=True):
        for x, y in zip(batch_a, batch_b, strict=True):
            np.testing.assert_array_equal(x, y)


class Items(Dataset):
    """Items made in Python, one by one; `item` may misbehave."""

    def __init__(self, length, item=lambda index: index):
        self.length, self.item = length, item

    def __getitem__(self, index):
        return self.item(index)

    def __len__(self):
        return self.length


# --- order and randomness -----------------------------------------------------------------------------------------


def test_in_order_every_sample_once():
    data = TensorDataset(tensor(np.arange(10.0)), tensor(np.arange(10) * 2))
    loader = DataLoader(data, batch_size=4)
    assert len(loader) == 3
    batches = list(loader)
    assert all(isinstance(column, Tensor) for batch in batches for column in batch)
    assert [batch[0].tolist() for batch in batches] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert [batch[1].tolist() for batch in batches] == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]
    dropping = DataLoader(data, batch_size=4, drop_last=True)
    assert len(dropping) == len(list(dropping)) == 2


@pytest.mark.parametrize("way", WAYS)
def test_one_seed_gives_the_same_batches_in_the_same_order_however_they_are_loaded(way):
    data = Subset(Digits(transform=PREPARE), range(100))
    tensorgrad.manual_seed(7)
    reference = values(DataLoader(data, batch_size=16, shuffle=True))
    tensorgrad.manual_seed(7)
    loader = DataLoader(data, batch_size=16, shuffle=True, **WAYS[way])
    first = values(loader)
    assert_same(first, reference)
    second = values(loader)
    assert sorted(np.concatenate([y for _, y in first])) == sorted(np.concatenate([y for _, y in second]))
    assert not np.array_equal(first[0][0], second[0][0])  # the next epoch has its own order and augmentation


@pytest.mark.parametrize("draw", [lambda: current_generator().random(3), lambda: tensorgrad.rand(3)])
@pytest.mark.parametrize("way", THREADS)
def test_single_items_draw_from_their_batch_too(way, draw):
    data = Items(20, lambda index: draw())
    tensorgrad.manual_seed(1)
    reference = [batch.numpy() for batch in DataLoader(data, batch_size=4)]
    tensorgrad.manual_seed(1)
    again = [batch.numpy() for batch in DataLoader(data, batch_size=4, **THREADS[way])]
    np.testing.assert_array_equal(again, reference)
    assert len(np.unique(np.stack(reference))) == 60  # no number twice


def test_a_generator_s_state_repeats_the_epoch():
    generator = tensorgrad.Generator(3)
    loader = DataLoader(Digits(train=False, transform=PREPARE), 50, shuffle=True, generator=generator)
    list(loader)
    state = generator.get_state()
    epoch = values(loader)
    generator.set_state(state)
    assert_same(values(loader), epoch)
    tensorgrad.manual_seed(0)
    expected = tensorgrad.get_rng_state()
    list(loader)
    assert tensorgrad.get_rng_state() == expected  # a generator of its own leaves the library's alone


@pytest.mark.parametrize(
    "way, start",
    [
        (way, start) for way in WAYS for start in (0, 1, 5, 7, 9) if start == 5 or way != "2 processes"
    ],  # they begin slowly
)
def test_an_epoch_from_a_batch_on_is_the_rest_of_the_epoch(way, start):
    data = Subset(Digits(transform=PREPARE), range(100))
    loader = DataLoader(data, batch_size=16, shuffle=True, **WAYS[way])
    for _ in range(2):  # and leaves the next epoch as it would have been
        state = tensorgrad.get_rng_state()
        whole = values(loader)
        after = tensorgrad.get_rng_state()
        tensorgrad.set_rng_state(state)
        assert_same(values(loader.iter_from(start)), whole[start:])
        assert tensorgrad.get_rng_state() == after


@pytest.mark.parametrize("way", THREADS)
def test_what_is_passed_over_is_not_loaded(way):
    asked = []
    data = Items(20, lambda index: asked.append(index) or index)
    found = [batch.tolist() for batch in DataLoader(data, batch_size=4, **THREADS[way]).iter_from(3)]
    assert found == [[12, 13, 14, 15], [16, 17, 18, 19]] and sorted(asked) == list(range(12, 20))
    asked.clear()
    assert list(DataLoader(data, batch_size=None, **THREADS[way]).iter_from(18)) == [18, 19]
    assert sorted(asked) == [18, 19]
    with pytest.raises(ValueError, match=r"iter_from\(-1\)"):
        DataLoader(data).iter_from(-1)


def test_a_sampler_that_draws_as_it_goes_is_counted_off_at_once():
    """What it drew for the batches passed over must not be drawn between those that come."""

    class Drawing:
        def __iter__(self):
            return (int(tensorgrad.randint(0, 20, (1,)).item()) for _ in range(12))

        def __len__(self):
            return 12

    loader = DataLoader(Items(20), batch_size=3, sampler=Drawing())
    tensorgrad.manual_seed(4)
    whole, states = [], []
    for batch in loader:
        whole.append(batch.tolist())
        states.append(tensorgrad.get_rng_state())
    tensorgrad.manual_seed(4)
    rest = loader.iter_from(2)
    assert tensorgrad.get_rng_state() == states[1]
    assert [batch.tolist() for batch in rest] == whole[2:]


@pytest.mark.parametrize("way", THREADS)
def test_training_between_batches_does_not_change_them(way):
    data = TensorDataset(tensor(np.arange(12)))
    tensorgrad.manual_seed(2)
    undisturbed = values(DataLoader(data, 2, shuffle=True))
    tensorgrad.manual_seed(2)
    disturbed = []
    for batch in DataLoader(data, 2, shuffle=True, **THREADS[way]):
        disturbed.append([batch[0].numpy()])
        tensorgrad.rand(5)  # dropout, say
    assert_same(disturbed, undisturbed)


@pytest.mark.parametrize("way", THREADS)
def test_slow_batches_do_not_change_the_order(way):
    data = Items(12, lambda index: (time.sleep(0.02 if index % 4 == 0 else 0), index)[1])
    assert [batch.tolist() for batch in DataLoader(data, 2, **THREADS[way])] == [[i, i + 1] for i in range(0, 12, 2)]


# --- what the arguments mean --------------------------------------------------------------------------------------


def test_samplers_and_batch_samplers():
    data = list(range(10))
    assert [b.tolist() for b in DataLoader(data, 2, sampler=[9, 1, 5])] == [[9, 1], [5]]
    loader = DataLoader(data, batch_sampler=[[1, 2, 3], [4]])
    assert [b.tolist() for b in loader] == [[1, 2, 3], [4]] and len(loader) == 2
    assert loader.batch_size is None
    assert len(DataLoader(data, batch_sampler=BatchSampler(range(10), 4, True))) == 2


@pytest.mark.parametrize("way", THREADS)
def test_without_batches(way):
    loader = DataLoader([(np.ones(2), "a", 3), (np.zeros(2), "b", 4)], batch_size=None, **THREADS[way])
    first, second = list(loader)
    assert len(loader) == 2
    assert isinstance(first[0], Tensor) and first[0].tolist() == [1, 1] and first[1:] == ["a", 3]
    assert second[1] == "b"


@pytest.mark.parametrize("way", THREADS)
def test_collate_fn_gets_a_sequence_of_samples_whatever_the_dataset_gives(way):
    images = ImageDataset(np.arange(4, dtype=np.uint8).reshape(4, 1, 1), np.arange(4))

    def collate(samples):
        return [(int(image[0, 0, 0]), int(label)) for image, label in samples], len(samples)

    loader = DataLoader(images, 3, collate_fn=collate, **THREADS[way])
    assert list(loader) == [([(0, 0), (1, 1), (2, 2)], 3), ([(3, 3)], 1)]


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
        ({"shuffle": True, "sampler": [0]}, "sampler and shuffle"),
        ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler excludes"),
        ({"batch_sampler": [[0]], "shuffle": True}, "batch_sampler excludes"),
        ({"batch_size": None, "drop_last": True}, "drop_last=True needs"),
        ({"num_workers": -1}, "num_workers=-1"),
        ({"num_workers": 1.5}, "num_workers=1.5"),
        ({"num_workers": 1, "prefetch_factor": 0}, "prefetch_factor=0"),
        ({"prefetch_factor": 2}, "prefetch_factor needs workers"),
        ({"persistent_workers": True}, "persistent_workers needs workers"),
        ({"multiprocessing_context": "spawn"}, "multiprocessing_context needs workers"),
        ({"num_workers": 1, "multiprocessing_context": "teleport"}, "'teleport'; use {METHODS}, or None"),
        ({"timeout": -1}, "timeout=-1"),
        ({"timeout": 1}, "timeout needs workers"),
        ({"pin_memory_device": "xla"}, "pin_memory_device='xla'"),
    ],
)
def test_refuses(arguments, text):
    methods = ", ".join(map(repr, multiprocessing.get_all_start_methods()))  # in the order of this system and Python
    with pytest.raises(ValueError, match=text.replace("{METHODS}", methods)):
        DataLoader([1, 2], **arguments)


def test_refuses_a_dataset_without_items():
    with pytest.raises(TypeError, match="has no __getitem__"):
        DataLoader(iter([1]))


@pytest.mark.parametrize(
    "name", ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"]
)
def test_what_it_was_made_from_stays(name):
    loader = DataLoader([1, 2])
    with pytest.raises(ValueError, match=f"{name} cannot be changed"):
        setattr(loader, name, 1)
    loader.worker_init_fn = print  # other settings may


def test_pinning_without_a_gpu_is_a_warning(monkeypatch):
    from tensorgrad.data import engine

    monkeypatch.setattr(engine, "why_not_pinned", lambda: "no GPU today")
    with pytest.warns(UserWarning, match="no effect: no GPU today"):
        batches = list(DataLoader([1, 2], pin_memory=True))
    assert [batch.tolist() for batch in batches] == [[1], [2]]


def test_pinning_reaches_every_tensor(monkeypatch):
    from tensorgrad.data import engine

    pinned = []
    monkeypatch.setattr(engine, "why_not_pinned", lambda: None)
    monkeypatch.setattr(engine, "pinned", lambda tensor: pinned.append(tensor) or tensor)
    data = [{"x": np.ones(2), "name": "a", "more": (1, 2.0)}] * 4
    for count in (0, 2):
        batches = list(DataLoader(data, 2, pin_memory=True, num_workers=count))
        assert len(batches) == 2 and len(pinned) == 6 and batches[0]["name"] == ["a", "a"]
        pinned.clear()


@pytest.mark.gpu
def test_pinned_memory_is_cupy_s():
    import cupy

    (batch,) = DataLoader([np.arange(3.0)], pin_memory=True)
    assert batch.tolist() == [[0, 1, 2]]
    attributes = cupy.cuda.runtime.pointerGetAttributes(batch.array.ctypes.data)
    assert attributes.type == 1  # memory of the host that CUDA knows
    assert batch.to("cuda").tolist() == [[0, 1, 2]]


def test_batches_as_they_get_ready():
    first = threading.Event()

    def item(index):
        if index == 0:
            first.wait(20)
        return index

    iterator = iter(DataLoader(Items(3, item), num_workers=2, in_order=False))
    seen = [next(iterator).item(), next(iterator).item()]
    assert sorted(seen) == [1, 2]  # while batch 0 is being made
    first.set()
    assert [batch.item() for batch in iterator] == [0]


def test_empty():
    assert list(DataLoader([])) == [] and len(DataLoader([], shuffle=True)) == 0
    assert list(DataLoader([], shuffle=True, num_workers=2)) == []


# --- workers ------------------------------------------------------------------------------------------------------


def test_worker_info_and_init_fn():
    assert get_worker_info() is None
    started = []

    def item(index):
        info = get_worker_info()
        time.sleep(0.01)  # so that one thread cannot take everything
        return info.id, info.num_workers, info.seed

    loader = DataLoader(Items(40, item), num_workers=3, worker_init_fn=started.append)
    seen = {tuple(int(v) for v in batch) for batch in loader}
    assert sorted(started) == [0, 1, 2]
    assert {(worker, count) for worker, count, _ in seen} <= {(0, 3), (1, 3), (2, 3)}
    assert len({seed for _, _, seed in seen}) == len(seen) > 1  # each worker its own seed
    assert get_worker_info() is None


def test_each_thread_has_its_own_copy_of_a_dataset():
    class Opens(Items):
        handle = None

        def __getitem__(self, index):
            if self.handle is None:
                self.handle = threading.get_ident()
            time.sleep(0.005)
            assert self.handle == threading.get_ident(), "a file handle would be shared"
            return index

    for data in (Opens(20), Subset(Opens(20), range(20)), ConcatDataset([Opens(10), Opens(10)])):
        assert len(list(DataLoader(data, 2, num_workers=3))) == 10


@pytest.mark.parametrize("way", ["1 thread", "3 threads", "2 processes"])
def test_workers_persist_if_asked_to(way):
    tensorgrad.manual_seed(0)
    loader = DataLoader(Digits(train=False), 90, persistent_workers=True, **WAYS[way])
    reference = values(DataLoader(Digits(train=False), 90))
    assert_same(values(loader), reference)
    alive = [thread.ident for thread in threading.enumerate() if thread.name.startswith("DataLoader")]
    iterator = iter(loader)
    next(iterator)  # left early: what is still under way must not turn up in the next epoch
    del iterator
    assert_same(values(loader), reference)
    interleaved = zip(values(loader), loader, loader, strict=True)
    for expected, a, b in interleaved:
        np.testing.assert_array_equal(a[0].numpy(), expected[0])
        np.testing.assert_array_equal(b[0].numpy(), expected[0])
    assert alive == [thread.ident for thread in threading.enumerate() if thread.name.startswith("DataLoader")]
    assert len(alive) == WAYS[way]["num_workers"]


def test_prefetch_reads_ahead_but_not_further():
    asked = []

    class Order:
        def __iter__(self):
            for i in range(100):
                asked.append(i)
                yield i

        def __len__(self):
            return 100

    iterator = iter(DataLoader(range(100), sampler=Order(), num_workers=2, prefetch_factor=3))
    next(iterator)
    assert len(asked) == 2 * 3 + 1
    next(iterator)
    assert len(asked) == 2 * 3 + 2
    iterator.close()


def test_threads_work_at_the_same_time():
    meeting = threading.Barrier(4)  # lets go of four at once, and of fewer never
    loader = DataLoader(Items(16, lambda index: meeting.wait(timeout=20)), num_workers=4)
    assert len(list(loader)) == 16


# --- errors -------------------------------------------------------------------------------------------------------


class OwnError(Exception):
    def __init__(self, one, two):
        super().__init__(f"{one} and {two}")


def fail_at_5(error):
    def item(index):
        if index == 5:
            raise error
        return index

    return item


@pytest.mark.parametrize(
    "error, kind",
    [
        (ValueError("bad picture"), ValueError),
        (KeyError("bad picture"), KeyError),
        (OwnError("bad", "picture"), RuntimeError),  # cannot be made from one text
        (StopIteration("bad picture"), RuntimeError),
        (SystemExit("bad picture"), RuntimeError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_error_in_a_thread_comes_back_with_index_and_traceback(error, kind):
    loader = DataLoader(Items(20, fail_at_5(error)), batch_size=2, num_workers=2)
    seen = []
    with pytest.raises(kind) as caught:
        for batch in loader:
            seen.append(batch.tolist())
    assert seen == [[0, 1], [2, 3]]  # all that comes before it, in order
    text = str(caught.value)
    assert "in DataLoader worker" in text and "\n" in text
    assert type(error).__name__ in text and "in item" in text and "raise error" in text
    if isinstance(error, Exception):
        assert "dataset[5] for batch 2" in text


def test_an_error_without_workers_is_the_error_itself():
    error = ValueError("bad picture")
    with pytest.raises(ValueError) as caught:
        list(DataLoader(Items(20, fail_at_5(error)), batch_size=2))
    assert caught.value is error
    assert any("dataset[5] for batch 2" in note for note in error.__notes__)


@pytest.mark.parametrize("way", ["3 threads", "2 processes"])
def test_an_index_out_of_range(way):
    data = Subset(Digits(train=False), [0, 1, 2, 400])
    with pytest.raises(IndexError, match=r"(?s)batch 1.*\[2, 3\].*Traceback.*__getitems__"):
        list(DataLoader(data, batch_size=2, **WAYS[way]))


@pytest.mark.parametrize("way", THREADS)
def test_an_error_in_collating(way):
    data = [np.zeros(2), np.zeros(2), np.zeros(2), np.zeros(3)]
    with pytest.raises(RuntimeError, match=r"sample 1 has \(3,\)") as caught:
        list(DataLoader(data, batch_size=2, **THREADS[way]))
    notes = "".join(getattr(caught.value, "__notes__", [])) + str(caught.value)
    assert "collate_fn for batch 1, indices [2, 3]" in notes


@pytest.mark.parametrize("way", ["3 threads", "2 processes"])
def test_an_error_in_worker_init_fn(way):
    # float.fromhex(0) is a TypeError; it can be sent to a process
    with pytest.raises(TypeError, match="raised by worker_init_fn"):
        list(DataLoader([1, 2, 3], worker_init_fn=float.fromhex, **WAYS[way]))


def test_timeout(monkeypatch):
    monkeypatch.setattr(workers, "GRACE_SECONDS", 0.1)
    release = threading.Event()
    loader = DataLoader(Items(4, lambda index: release.wait(20)), num_workers=1, timeout=0.2)
    with pytest.raises(RuntimeError, match=r"timed out after 0.2 seconds waiting for batch 0"):
        next(iter(loader))  # closing does not wait for the item that hangs
    (thread,) = [thread for thread in threading.enumerate() if thread.name.startswith("DataLoader")]
    release.set()
    thread.join(20)  # and its thread ends as soon as it is done


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP")
def test_timeout_of_a_process(monkeypatch):
    monkeypatch.setattr(workers, "GRACE_SECONDS", 0.5)
    loader = DataLoader(range(100), num_workers=1, multiprocessing_context="spawn", timeout=0.5, prefetch_factor=1)
    iterator = iter(loader)
    with pytest.raises(RuntimeError, match="timed out"):
        for _ in iterator:
            (process,) = multiprocessing.active_children()
            os.kill(process.pid, signal.SIGSTOP)  # it hangs from now on, and does not hear a friendly signal either
    # the fixture finds it gone


# --- processes ----------------------------------------------------------------------------------------------------


def leave(number):
    """At once. A function of our own: what measures coverage replaces os._exit by one that cannot be sent."""
    os._exit(number)


def test_a_process_that_dies_is_reported():
    loader = DataLoader([1, 2, 3], num_workers=2, multiprocessing_context="spawn", worker_init_fn=leave)
    with pytest.raises(RuntimeError, match=r"ended unexpectedly, exit code \d.*batch 0"):
        list(loader)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    "misbehave, kind, text",
    [
        (
            lambda index: os._exit(3),
            RuntimeError,
            r"process \d+ ended unexpectedly, exit code 3, at batch 2, indices \[2\]",
        ),
        (lambda index: os.kill(os.getpid(), signal.SIGKILL), RuntimeError, "exit code -9, at batch 2"),
        (lambda index: os.kill(os.getpid(), signal.SIGTERM), RuntimeError, "exit code -15, at batch 2"),
        (lambda index: 1 // 0, ZeroDivisionError, r"(?s)dataset\[2\] for batch 2.*Traceback.*in <lambda>"),
        (lambda index: sys.exit("away"), RuntimeError, "(?s)SystemExit in DataLoader worker.*away"),
        (lambda index: threading.Lock(), TypeError, "a sample holds a lock"),
        (lambda index: time.sleep(600), RuntimeError, "timed out after 2.0 seconds waiting for batch 2"),
        (lambda index: {}[index], KeyError, "KeyError in DataLoader worker"),
    ],
    ids=["exits", "killed", "terminated", "raises", "sys.exit", "garbage", "hangs", "KeyError"],
)
def test_a_forked_worker_that_misbehaves_is_reported_and_gone(misbehave, kind, text, monkeypatch):
    timeout = 60.0
    if "timed out" in text:  # only this one is waited for; on a busy machine the others may take their time
        timeout = 2.0
        monkeypatch.setattr(workers, "GRACE_SECONDS", 0.2)
    data = Items(20, lambda index: misbehave(index) if index == 2 else index)
    loader = DataLoader(data, num_workers=2, multiprocessing_context="fork", timeout=timeout)
    seen = []
    with pytest.raises(kind, match=text):
        for batch in loader:
            seen.append(batch.item())
    assert seen == [0, 1]
    # the fixture finds nobody


def writes_where_it_should_not(index):
    """Into the pipe to the loader, of which it should know nothing."""
    for pipe in gc.get_objects():
        if isinstance(pipe, multiprocessing.connection.Connection) and not pipe.closed and pipe.writable:
            pipe.send_bytes(b"abcd")


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    "misbehave, text",
    [
        (writes_where_it_should_not, r"sent something that is no answer, at batch 2, indices \[2\]"),
        (lambda index: os.closerange(3, 256), "ended unexpectedly, exit code 0, at batch 2"),
    ],
    ids=["garbage", "closes the pipe"],
)
def test_what_a_worker_writes_into_pipes_is_not_taken_for_batches(misbehave, text, monkeypatch):
    monkeypatch.setattr(workers, "GRACE_SECONDS", 0.5)
    data = Items(20, lambda index: misbehave(index) if index == 2 else index)
    loader = DataLoader(data, num_workers=1, multiprocessing_context="fork", timeout=10.0, persistent_workers=True)
    for at in ("batch 2", "batch 0"):  # and its process is not asked again
        seen = []
        with pytest.raises(RuntimeError, match=text if at == "batch 2" else "ended unexpectedly.*at batch 0"):
            for batch in loader:
                seen.append(batch.item())
        assert seen == ([0, 1] if at == "batch 2" else [])


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_worker_that_dies_is_noticed_though_its_child_holds_the_pipe(tmp_path):
    def misbehave(index):
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        (tmp_path / "child").write_text(str(child))
        os.kill(os.getpid(), signal.SIGKILL)

    data = Items(20, lambda index: misbehave(index) if index == 2 else index)
    try:
        with pytest.raises(RuntimeError, match="exit code -9, at batch 2"):
            list(DataLoader(data, num_workers=1, multiprocessing_context="fork"))
        os.kill(int((tmp_path / "child").read_text()), 0)  # it lives: nobody has waited for its end
    finally:
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


class Unloadable:
    """Goes into a pickle, and raises when it comes out."""

    def __reduce__(self):
        return (int, ("no number",))


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_batch_that_cannot_be_unpickled_is_an_error_and_the_worker_goes_on():
    data = Items(4, lambda index: Unloadable() if index == 1 else index)
    settings = {"num_workers": 1, "multiprocessing_context": "fork", "collate_fn": list, "persistent_workers": True}
    loader = DataLoader(data, **settings)
    with pytest.raises(ValueError, match=r"(?s)DataLoader worker 0.*no number"):
        list(loader)
    data.item = None  # the worker has its own
    with pytest.raises(ValueError, match="no number"):
        list(loader)


def test_what_cannot_be_pickled_is_refused_before_anything_starts():
    with pytest.raises(TypeError, match=r"must be picklable.*threads"):
        list(DataLoader(Items(3, lambda index: index), num_workers=2, multiprocessing_context="spawn"))


def test_a_batch_that_cannot_be_pickled_is_an_error_not_a_hang():
    loader = DataLoader([b"ab"], None, num_workers=1, multiprocessing_context="spawn", collate_fn=memoryview)
    with pytest.raises(TypeError, match="raised on sending batch 0"):
        list(loader)


def test_processes_seed_python_and_numpy_too():
    """random.random ignores the workers: with init and batches seeded, two runs agree."""
    script = """
        import random
        import numpy as np
        import tensorgrad
        from tensorgrad.data import DataLoader, Dataset

        class Draws(Dataset):
            def __len__(self):
                return 12
            def __getitem__(self, index):
                return random.random(), np.random.random(), tensorgrad.rand(1).item()

        def run(workers):
            tensorgrad.manual_seed(4)
            loader = DataLoader(Draws(), 3, num_workers=workers, multiprocessing_context="spawn")
            return [[column.tolist() for column in batch] for batch in loader]

        if __name__ == "__main__":
            one, two = run(1), run(2)
            assert one == two, (one, two)
            flat = [value for batch in one for column in batch for value in column]
            assert len(set(flat)) == 36, flat
            print("agreed")
    """
    assert run_script(script) == "agreed"


def run_script(source, **arguments):
    """Run a program as a user would, from a file; a hang fails after a minute."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "program.py")
        with open(path, "w") as file:
            file.write(textwrap.dedent(source))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        done = subprocess.run(
            [sys.executable, path], capture_output=True, text=True, timeout=60, env=environment, **arguments
        )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout.strip()


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_killed_program_leaves_no_process_behind(method):
    script = f"""
        import multiprocessing, os, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside BLAS threads
        from tensorgrad.data import DataLoader

        if __name__ == "__main__":
            iterator = iter(DataLoader(range(100), num_workers=2, multiprocessing_context="{method}"))
            next(iterator)
            print(*(child.pid for child in multiprocessing.active_children()), flush=True)
            os._exit(0)  # as if killed: nothing of Python's own cleaning up
    """
    pids = [int(pid) for pid in run_script(script).split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if alive(pid)]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        pass
    if os.path.isdir("/proc/self"):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- leaving early ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_leaving_the_loop_early_leaves_nobody_behind(way):
    for _ in DataLoader(Digits(train=False), 10, **WAYS[way]):
        break
    with pytest.raises(ZeroDivisionError):
        for _ in DataLoader(Digits(train=False), 10, **WAYS[way]):
            raise ZeroDivisionError
    iter(DataLoader(Digits(train=False), 10, **WAYS[way]))  # never begun
    iterator = iter(DataLoader(Digits(train=False), 10, **WAYS[way]))
    next(iterator)
    iterator.close()
    # the fixture counts threads and processes


def test_a_program_that_ends_in_the_middle_ends():
    script = """
        from tensorgrad.data import DataLoader
        iterator = iter(DataLoader(range(100), num_workers=2))
        next(iterator)
        loader = DataLoader(range(100), num_workers=2, persistent_workers=True)
        kept = iter(loader)
        next(kept)
        print("end")
    """
    assert run_script(script) == "end"


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
@pytest.mark.parametrize("context", [None, "spawn"])
def test_ctrl_c_stops_it(context):
    script = f"""
        import os, signal, threading, time
        from tensorgrad.data import DataLoader, Dataset

        class Slow(Dataset):
            def __len__(self):
                return 1000
            def __getitem__(self, index):
                time.sleep(0.1)
                return index

        if __name__ == "__main__":
            interrupt = lambda: os.killpg(os.getpgid(0), signal.SIGINT)  # as a terminal does: to all of them
            try:
                for i, batch in enumerate(DataLoader(Slow(), num_workers=2, multiprocessing_context={context!r})):
                    if i == 1:
                        threading.Timer(0.05, interrupt).start()
            except KeyboardInterrupt:
                print("interrupted")
    """
    assert run_script(script, start_new_session=True) == "interrupted"


def test_batches_are_freed_as_they_are_used():
    data = Items(50, lambda index: np.zeros(1 << 17))  # 1 MiB each
    import tracemalloc

    tracemalloc.start()
    try:
        for batch in DataLoader(data, num_workers=2):
            del batch
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20  # 2 workers x 2 ahead, in samples and in batches; not 50


@pytest.mark.parametrize("workers", [{}, {"num_workers": 1}])
def test_batches_of_bfloat16(workers):
    data = TensorDataset(tensorgrad.ones(4, 2).to(tensorgrad.bfloat16), tensorgrad.arange(4))
    batches = list(DataLoader(data, batch_size=2, **workers))
    assert [(x.dtype, x.shape, y.tolist()) for x, y in batches] == [
        (tensorgrad.bfloat16, (2, 2), [0, 1]),
        (tensorgrad.bfloat16, (2, 2), [2, 3]),
    ]
