"""Datasets, samplers and collating."""

import collections

import numpy as np
import pytest

import tensorgrad
from tensorgrad import Tensor, tensor
from tensorgrad.data import (
    Batch,
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    Dataset,
    DistributedSampler,
    FakeData,
    ImageDataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    StackDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    random_split,
)
from tensorgrad.data.dataset import fetch_samples
from tensorgrad.data.transforms import ToDtype


class Squares(Dataset):
    def __init__(self, length):
        self.length = length

    def __getitem__(self, index):
        return index, index**2

    def __len__(self):
        return self.length


# --- datasets -----------------------------------------------------------------------------------------------------


def test_tensor_dataset():
    x, y = tensor(np.arange(12.0).reshape(4, 3)), tensor(np.array([3, 2, 1, 0]))
    data = TensorDataset(x, y)
    assert len(data) == 4
    first, second = data[1]
    assert isinstance(first, Tensor) and first.tolist() == [3, 4, 5] and second.item() == 2
    batch = data.__getitems__([2, 0])
    assert [column.tolist() for column in batch.columns] == [[[6, 7, 8], [0, 1, 2]], [1, 3]]
    with pytest.raises(RuntimeError, match=r"\(4, 3\), \(3,\)"):
        TensorDataset(x, y[:3])
    with pytest.raises(TypeError, match=r"tensors\[1\] is a list"):
        TensorDataset(x, [1, 2, 3, 4])
    with pytest.raises(RuntimeError, match="no dimension"):
        TensorDataset(tensor(1.0))
    with pytest.raises(ValueError, match="at least one"):
        TensorDataset()


def test_subset_of_a_subset():
    data = Subset(Subset(Squares(10), [7, 5, 3, 1]), [3, 0])
    assert len(data) == 2
    assert [data[0], data[1]] == [(1, 1), (7, 49)]
    assert data.__getitems__([1, 1, 0]) == [(7, 49), (7, 49), (1, 1)]


def test_subset_hands_batches_down():
    images = ImageDataset(np.arange(8, dtype=np.uint8).reshape(8, 1, 1), np.arange(8))
    batch = Subset(images, [6, 4, 2]).__getitems__([2, 0])
    assert isinstance(batch, Batch)
    assert batch.columns[0].ravel().tolist() == [2, 6] and batch.columns[1].tolist() == [2, 6]


def test_concat_dataset():
    data = Squares(2) + Squares(3)
    assert isinstance(data, ConcatDataset)
    assert [data[i][0] for i in range(5)] == [0, 1, 0, 1, 2]
    assert [data[i][0] for i in range(-5, 0)] == [0, 1, 0, 1, 2]
    assert ConcatDataset([Squares(0), Squares(1), Squares(0), Squares(1)])[1] == (0, 0)
    with pytest.raises(IndexError, match="index 5; there are 5"):
        data[5]
    with pytest.raises(ValueError, match="index -6; there are 5"):
        data[-6]
    with pytest.raises(ValueError, match="empty"):
        ConcatDataset([])
    with pytest.raises(TypeError, match=r"datasets\[1\]"):
        ConcatDataset([[1], iter([2])])


class Letters(IterableDataset):
    def __init__(self, text):
        self.text = text

    def __iter__(self):
        return iter(self.text)

    def __len__(self):
        return len(self.text)


def test_chain_dataset():
    joined = Letters("ab") + Letters("") + Letters("c")
    assert isinstance(joined, ChainDataset) and list(joined) == list(joined) == ["a", "b", "c"] and len(joined) == 3
    with pytest.raises(TypeError, match=r"datasets\[1\] is a list; use IterableDatasets"):
        list(ChainDataset([Letters("a"), ["b"]]))
    with pytest.raises(TypeError, match="use ChainDataset"):
        ConcatDataset([Letters("a")])
    with pytest.raises(NotImplementedError, match="no sample number 0"):
        Letters("a")[0]
    with pytest.raises(NotImplementedError, match="must write __iter__"):
        iter(IterableDataset())


def test_stack_dataset():
    data = StackDataset(Squares(4), [7, 6, 5, 4])
    assert len(data) == 4 and data[2] == ((2, 4), 5)
    assert data.__getitems__([3, 0]) == [((3, 9), 4), ((0, 0), 7)]
    named = StackDataset(x=TensorDataset(tensor([1.0, 2.0])), y=["a", "b"])
    assert named[1]["x"][0].item() == 2 and [sample["y"] for sample in named.__getitems__([1, 0])] == ["b", "a"]
    for wrong in ({"args": []}, {"args": [[1]], "x": [1]}, {"args": [[1], [1, 2]]}):
        with pytest.raises(ValueError, match="StackDataset"):
            StackDataset(*wrong.pop("args"), **wrong)


def test_fake_data_depends_on_the_index_alone():
    data = FakeData(4, (1, 2, 3), num_classes=3, transform=ToDtype(np.float32), target_transform=str)
    image, label = data[2]
    np.testing.assert_array_equal(data[2][0], image)
    assert image.shape == (1, 2, 3) and image.dtype == np.float32 and label in ("0", "1", "2") and len(list(data)) == 4
    assert not np.array_equal(FakeData(4, (1, 2, 3), random_offset=-1)[2][0], image)
    with pytest.raises(IndexError, match="index 4; there are 4"):
        data[4]
    with pytest.raises(ValueError, match="num_classes=0"):
        FakeData(num_classes=0)


def test_a_dataset_without_getitem_says_so():
    class Nothing(Dataset):
        pass

    with pytest.raises(NotImplementedError, match="Nothing must write __getitem__"):
        Nothing()[0]


def test_batch_is_a_sequence_of_samples():
    batch = Batch(np.arange(6).reshape(3, 2), np.array([7, 8, 9]))
    assert len(batch) == 3
    assert [(x.tolist(), y) for x, y in batch] == [([0, 1], 7), ([2, 3], 8), ([4, 5], 9)]
    assert batch[-1][1] == 9 and len(batch[1:]) == 2
    with pytest.raises(IndexError):
        batch[3]
    with pytest.raises(RuntimeError, match=r"\[3, 2\]"):
        Batch(np.zeros(3), np.zeros(2))


def test_image_dataset_whole_batches_and_single_images_agree():
    pixels = np.random.default_rng(0).integers(0, 256, (10, 5, 4)).astype(np.uint8)
    data = ImageDataset(pixels, np.arange(10), transform=ToDtype(np.float32, scale=True))
    batch = data.__getitems__([4, 9, 4])
    assert isinstance(batch, Batch) and batch.columns[0].shape == (3, 1, 5, 4)
    for (image, label), index in zip(batch, [4, 9, 4], strict=True):
        np.testing.assert_array_equal(image, data[index][0])
        assert label == data[index][1] == index
    assert data[-1][1] == 9
    for index in (10, -11):
        with pytest.raises(IndexError, match=f"index {index}; there are 10 images"):
            data[index]
    plain = ImageDataset(pixels, np.arange(10), transform=lambda image: image[:, ::-1], target_transform=str)
    samples = plain.__getitems__([1, 2])
    assert isinstance(samples, list) and samples[1][1] == "2"
    np.testing.assert_array_equal(samples[0][0], pixels[1][None, ::-1])
    with pytest.raises(RuntimeError, match="targets has shape"):
        ImageDataset(pixels, np.arange(9))


def test_getitems_of_the_wrong_length_is_refused():
    class Wrong(Squares):
        def __getitems__(self, indices):
            return [self[0]]

    with pytest.raises(RuntimeError, match=r"Wrong.__getitems__ gave 1 samples for 2 indices"):
        fetch_samples(Wrong(5), [1, 2])


# --- random_split -------------------------------------------------------------------------------------------------


def test_random_split_is_a_partition_and_seeded():
    tensorgrad.manual_seed(5)
    first, second = random_split(Squares(10), [7, 3])
    assert sorted([*first.indices, *second.indices]) == list(range(10))
    assert first.indices != sorted(first.indices)
    again, _ = random_split(Squares(10), [7, 3], generator=tensorgrad.Generator(5))
    assert again.indices == first.indices


@pytest.mark.parametrize(
    "total, lengths, sizes",
    [(10, [0.7, 0.3], [7, 3]), (11, [0.5, 0.5], [6, 5]), (10, [1 / 3] * 3, [4, 3, 3]), (5, [5, 0], [5, 0])],
)
def test_random_split_sizes(total, lengths, sizes):
    assert [len(part) for part in random_split(Squares(total), lengths)] == sizes


def test_random_split_refuses_and_warns():
    with pytest.raises(ValueError, match="add up to 9; the dataset has 10"):
        random_split(Squares(10), [5, 4])
    with pytest.raises(ValueError, match="whole numbers"):
        random_split(Squares(10), [0.5, 0.6])
    with pytest.raises(ValueError, match="fractions"):
        random_split(Squares(10), [1.5, -0.5])
    with pytest.warns(UserWarning, match="subset 1 is empty"):
        random_split(Squares(1), [0.9, 0.1])


@pytest.mark.oracle
@pytest.mark.parametrize("total", [1, 7, 10, 100, 1797])
@pytest.mark.parametrize("lengths", [[0.8, 0.2], [0.3, 0.3, 0.4], [0.25] * 4])
@pytest.mark.filterwarnings("ignore:random_split", "ignore:Length of split")
def test_random_split_sizes_as_pytorch(total, lengths):
    torch_data = pytest.importorskip("torch.utils.data")
    expected = [len(part) for part in torch_data.random_split(range(total), lengths)]
    assert [len(part) for part in random_split(range(total), lengths)] == expected


# --- samplers -----------------------------------------------------------------------------------------------------


def test_samplers():
    assert list(SequentialSampler("abc")) == [0, 1, 2]
    sampler = RandomSampler(range(100))
    order = list(sampler)
    assert sorted(order) == list(range(100)) and order != list(range(100)) and list(sampler) != order
    many = list(RandomSampler(range(4), num_samples=10))
    assert len(many) == 10 and sorted(many[:4]) == sorted(many[4:8]) == [0, 1, 2, 3]
    drawn = list(RandomSampler(range(4), replacement=True, num_samples=1000))
    assert len(drawn) == 1000 and min(collections.Counter(drawn).values()) > 180  # 250 expected, deviation 13.7
    assert sorted(SubsetRandomSampler([5, 7, 9])) == [5, 7, 9]
    assert len(SubsetRandomSampler([5, 7, 9])) == 3
    assert list(RandomSampler([])) == []
    for bad in (0, -1, 2.5):
        with pytest.raises(ValueError, match="num_samples"):
            RandomSampler(range(4), num_samples=bad)


def test_weighted_random_sampler():
    drawn = collections.Counter(WeightedRandomSampler([1, 0, 3], 4000, generator=tensorgrad.Generator(0)))
    assert drawn[1] == 0 and abs(drawn[2] - 3000) < 120  # standard deviation 27
    assert sorted(WeightedRandomSampler(tensor([1.0, 2.0, 0.5]), 3, replacement=False)) == [0, 1, 2]
    assert len(WeightedRandomSampler([1.0], 7)) == 7
    for arguments, text in (
        (([1], 0), "num_samples=0"),
        (([1], True), "num_samples=True"),
        (([1], 1, 1), "replacement=1"),
        (([[1]], 1), "one dimension"),
        (([1, -1], 1), "0 or more"),
        (([0, 0], 1), "not all 0"),
        (([1, float("nan")], 1), "0 or more"),
        (([1, 0], 2, False), "only 1 weights"),
    ):
        with pytest.raises(ValueError, match=text):
            WeightedRandomSampler(*arguments)


@pytest.mark.oracle
@pytest.mark.parametrize("size", [1, 2, 5, 10, 11])
@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
@pytest.mark.parametrize("drop_last", [False, True])
def test_distributed_sampler_as_pytorch(size, replicas, drop_last):
    theirs = pytest.importorskip("torch.utils.data.distributed").DistributedSampler
    for rank in range(replicas):
        arguments = {"num_replicas": replicas, "rank": rank, "shuffle": False, "drop_last": drop_last}
        if drop_last and size < replicas:
            assert list(DistributedSampler(range(size), **arguments)) == []
            continue
        expected = theirs(range(size), **arguments)
        ours = DistributedSampler(range(size), **arguments)
        assert list(ours) == list(expected) and len(ours) == len(expected)


def test_distributed_sampler_shares_one_order_an_epoch():
    shares = [DistributedSampler(range(12), 3, rank, seed=4) for rank in range(3)]
    first = [list(share) for share in shares]
    assert (
        sorted(index for share in first for index in share) == list(range(12))
        and [list(share) for share in shares] == first
    )
    for share in shares:
        share.set_epoch(1)
    second = [list(share) for share in shares]
    assert sorted(index for share in second for index in share) == list(range(12)) and second != first
    with pytest.raises(NotImplementedError, match="give num_replicas"):
        DistributedSampler(range(3))
    with pytest.raises(ValueError, match="rank=3"):
        DistributedSampler(range(3), 3, 3)


def test_one_seed_decides_every_order():
    tensorgrad.manual_seed(3)
    first = [list(RandomSampler(range(20))), list(SubsetRandomSampler(range(20)))]
    tensorgrad.manual_seed(3)
    assert [list(RandomSampler(range(20))), list(SubsetRandomSampler(range(20)))] == first


def test_sampler_draws_when_iteration_begins():
    generator = tensorgrad.Generator(0)
    batches = BatchSampler(RandomSampler(range(6), generator=generator), 2, False)
    iterator = iter(batches)
    drawn = generator.get_state()
    list(iterator)
    assert generator.get_state() == drawn


def test_batch_sampler():
    assert list(BatchSampler(range(7), 3, False)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(BatchSampler(range(7), 3, True)) == [[0, 1, 2], [3, 4, 5]]
    assert [len(BatchSampler(range(7), 3, drop)) for drop in (False, True)] == [3, 2]
    for bad in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match="batch_size"):
            BatchSampler(range(7), bad, False)


# --- collate ------------------------------------------------------------------------------------------------------

Point = collections.namedtuple("Point", "x y")

FORMS = {
    "arrays": [np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0], np.float32)],
    "float": [1.5, 2.5],
    "int": [1, 2],
    "bool": [True, False],
    "numpy float32": [np.float32(1), np.float32(2)],
    "numpy float64": [np.float64(1), np.float64(2)],
    "numpy uint8": [np.uint8(1), np.uint8(2)],
    "0-d arrays": [np.array(1), np.array(2)],
    "tuples": [(np.zeros(2), 0, "a"), (np.ones(2), 1, "b")],
    "lists": [[1, 2.0], [3, 4.0]],
    "dict": [{"x": np.zeros(3, np.float32), "y": 1}, {"x": np.ones(3, np.float32), "y": 2}],
    "ordered dict": [collections.OrderedDict(a=1), collections.OrderedDict(a=2)],
    "named tuple": [Point(1, 2.0), Point(3, 4.0)],
    "nested": [({"a": [1, (2.0, "s")]}, b"x"), ({"a": [3, (4.0, "t")]}, b"y")],
}


def same_form(ours, theirs, tensor_type):
    if isinstance(ours, Tensor):
        assert isinstance(theirs, tensor_type)
        assert str(ours.dtype) == str(theirs.dtype).replace("torch.", "")
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    elif isinstance(ours, dict):
        assert type(ours) is type(theirs) and list(ours) == list(theirs)
        for key in ours:
            same_form(ours[key], theirs[key], tensor_type)
    elif isinstance(ours, (list, tuple)):
        assert type(ours) is type(theirs) and len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            same_form(a, b, tensor_type)
    else:
        assert ours == theirs


@pytest.mark.oracle
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["default_collate", "default_convert"])
def test_collate_and_convert_as_pytorch(form, name):
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.utils.data, name)
    ours = {"default_collate": default_collate, "default_convert": default_convert}[name]
    given = FORMS[form] if name == "default_collate" else FORMS[form][0]
    same_form(ours(given), theirs(given), torch.Tensor)


def test_collate_by_hand():
    (x, y), extra = default_collate([((np.array([1, 2]), 0.5), {"k": 1}), ((np.array([3, 4]), 1.5), {"k": 2})])
    assert x.tolist() == [[1, 2], [3, 4]] and x.dtype == np.int64
    assert y.tolist() == [0.5, 1.5] and y.dtype == np.float64
    assert extra["k"].tolist() == [1, 2] and extra["k"].dtype == np.int64
    assert default_collate([tensor([1.0]), tensor([2.0])]).tolist() == [[1], [2]]
    columns = default_collate(Batch(np.zeros((2, 3), np.float32), np.array([1, 2])))
    assert columns[0].shape == (2, 3) and columns[1].tolist() == [1, 2]


@pytest.mark.parametrize(
    "samples, kind, text",
    [
        ([np.zeros(2), np.zeros(3)], RuntimeError, r"sample 0 has \(2,\), sample 1 has \(3,\)"),
        ([[1, 2], [1]], RuntimeError, "same length"),
        ([object(), object()], TypeError, "holds a object"),
        ([None, None], TypeError, "holds a NoneType"),
        ([np.array(["a"]), np.array(["b"])], TypeError, "dtype <U1"),
    ],
)
def test_collate_refuses(samples, kind, text):
    with pytest.raises(kind, match=text):
        default_collate(samples)


def test_collated_tensors_carry_no_gradient_history():
    batch = default_collate([tensor([1.0], requires_grad=True) * 2, tensor([2.0])])
    assert not batch.requires_grad
