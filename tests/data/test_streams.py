"""IterableDatasets in a DataLoader: whose samples come, in which order, and how it ends."""

import gc
import multiprocessing
import sys
import threading

import numpy as np
import pytest

import tensorgrad
from tensorgrad.data import ChainDataset, DataLoader, IterableDataset, current_generator, get_worker_info

WAYS = {
    "here": {},
    "1 thread": {"num_workers": 1},
    "3 threads": {"num_workers": 3},
    "2 forked": {"num_workers": 2, "multiprocessing_context": "fork"},
}
if sys.platform == "win32":
    del WAYS["2 forked"]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture(autouse=True)
def nobody_is_left():
    """No test may leave a worker behind."""
    yield
    if [thread for thread in threading.enumerate() if thread.name.startswith("DataLoader")]:
        gc.collect()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("DataLoader")]
    assert not multiprocessing.active_children()


class Count(IterableDataset):
    """0, 1, ..., length - 1, shared out among the workers."""

    def __init__(self, length, item=lambda index: index):
        self.length, self.item = length, item

    def __iter__(self):
        info = get_worker_info()
        start, step = (0, 1) if info is None else (info.id, info.num_workers)
        for index in range(start, self.length, step):
            yield self.item(index)

    def __len__(self):
        return self.length


def flat(batches):
    return [index for batch in batches for index in batch]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("length", [0, 1, 7, 12])
def test_every_sample_once(way, length):
    loader = DataLoader(Count(length), batch_size=2, **WAYS[way])
    for _ in range(2):
        batches = [batch.tolist() for batch in loader]
        assert sorted(flat(batches)) == list(range(length))
        assert all(1 <= len(batch) <= 2 for batch in batches)


def test_batches_come_from_each_worker_in_turn():
    batches = [batch.tolist() for batch in DataLoader(Count(11), 2, num_workers=2)]
    # worker 0 has 0 2 4 6 8 10, worker 1 has 1 3 5 7 9
    assert batches == [[0, 2], [1, 3], [4, 6], [5, 7], [8, 10], [9]]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(
    "workers, length, batch_size, drop_last",
    [
        *((0, length, size, False) for length in (0, 1, 5, 13) for size in (1, 3, None)),
        (0, 13, 3, True),
        *((workers, 13, 3, drop_last) for workers in (2, 3) for drop_last in (False, True)),  # processes take time
    ],
)
def test_order_as_pytorch(workers, length, batch_size, drop_last):
    torch_data = pytest.importorskip("torch.utils.data")

    class Theirs(torch_data.IterableDataset):
        def __iter__(self):
            info = torch_data.get_worker_info()
            return iter(range(0 if info is None else info.id, length, 1 if info is None else info.num_workers))

    settings = {"batch_size": batch_size, "num_workers": workers, "drop_last": drop_last}
    context = "fork" if workers else None
    loader = torch_data.DataLoader(Theirs(), multiprocessing_context=context, **settings)
    expected = [np.asarray(batch).tolist() for batch in loader]
    got = [np.asarray(batch).tolist() for batch in DataLoader(Count(length), **settings)]
    assert got == expected


@pytest.mark.parametrize("way", ["here", "3 threads"])
def test_single_samples_and_dropped_rests(way):
    assert sorted(DataLoader(Count(5), None, **WAYS[way])) == [0, 1, 2, 3, 4]
    dropping = DataLoader(Count(20), 3, drop_last=True, **WAYS[way])
    assert all(len(batch) == 3 for batch in dropping)
    assert (len(DataLoader(Count(20), 3)), len(dropping), len(DataLoader(Count(20), None))) == (7, 6, 20)


@pytest.mark.parametrize("way", WAYS)
def test_seeded(way):
    def run():
        tensorgrad.manual_seed(3)
        data = Count(12, lambda index: (index, float(current_generator().random())))
        return [[column.tolist() for column in batch] for batch in DataLoader(data, 2, **WAYS[way])]

    first = run()
    assert run() == first
    assert len({value for batch in first for value in batch[1]}) == 12


@pytest.mark.parametrize("way", ["3 threads", "2 forked"])
def test_persistent_workers_begin_every_epoch_anew(way):
    if way not in WAYS:
        pytest.skip("no fork")
    loader = DataLoader(Count(10), 2, persistent_workers=True, **WAYS[way])
    reference = [batch.tolist() for batch in DataLoader(Count(10), 2, **WAYS[way])]
    iterator = iter(loader)
    next(iterator)
    del iterator  # left early
    for a, b, expected in zip(loader, loader, reference, strict=True):  # two epochs at once
        assert a.tolist() == b.tolist() == expected


@pytest.mark.parametrize("way", WAYS)
def test_errors_come_back(way):
    def item(index):
        if index == 5:
            raise ValueError("bad record")
        return index

    with pytest.raises(ValueError, match="bad record") as caught:
        list(DataLoader(Count(12, item), 2, **WAYS[way]))
    if way != "here":
        assert "raised by the dataset's iterator" in str(caught.value) and "in item" in str(caught.value)


def test_what_makes_no_sense_is_refused():
    for name, value in (("shuffle", True), ("sampler", [0]), ("batch_sampler", [[0]])):
        with pytest.raises(ValueError, match=f"{name} with an IterableDataset"):
            DataLoader(Count(3), **{name: value})
    assert len(list(DataLoader(Count(3), shuffle=False))) == 3
    with pytest.raises(ValueError, match="batch_size=0"):
        DataLoader(Count(3), 0)


def test_chained_streams_in_workers():
    data = ChainDataset([Count(3), Count(4)])
    batches = [batch.tolist() for batch in DataLoader(data, 4, num_workers=2)]
    assert sorted(flat(batches)) == [0, 0, 1, 1, 2, 2, 3]


@pytest.mark.parametrize("way", WAYS)
def test_from_a_batch_on_a_stream_is_read_and_dropped(way):
    """Its samples have no numbers: what comes later depends on what was read before."""
    loader = DataLoader(Count(23), batch_size=3, **WAYS[way])
    whole = [batch.tolist() for batch in loader]
    for start in (0, 2, len(whole), len(whole) + 3):
        assert [batch.tolist() for batch in loader.iter_from(start)] == whole[start:]
