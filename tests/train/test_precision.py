"""Training in low precision, and losses that are read seldom: the same results, failures and states as step by step."""

import copy
import dataclasses

import numpy as np
import pytest
from standin import StandInBackend

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.amp import GradScaler
from tensorgrad.data import DataLoader, TensorDataset
from tensorgrad.errors import ArgumentError
from tensorgrad.io import load
from tensorgrad.optim.lr_scheduler import LambdaLR
from tensorgrad.random import Generator
from tensorgrad.train import NonFiniteLoss, Trainer, find_recipe, warmup_cosine
from tensorgrad.train.job import Job


def points(n=28, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.stack([np.cos(2.1 * labels), np.sin(2.1 * labels)], 1)
    return TensorDataset(
        tg.tensor((2 * centres + rng.standard_normal((n, 2))).astype("float32")), tg.tensor(labels.astype("int64"))
    )


def trainer_of(place="cpu", precision="float32", loss=nn.functional.cross_entropy, **settings):
    """With dropout, batch norm, Adam and a schedule: everything that has a state."""
    tg.manual_seed(3)
    model = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)).to(place)
    optimizer = tg.optim.Adam(model.parameters(), lr=0.05)
    scaler = GradScaler(place, init_scale=256.0, growth_interval=4) if precision == "float16" else None
    schedule = LambdaLR(optimizer, warmup_cosine(28, 0.2))
    return Trainer(model, loss, optimizer, schedule, place, scaler=scaler, precision=precision, **settings)


def batches(size=4):
    return DataLoader(points(), batch_size=size, shuffle=True, generator=Generator(5))


def all_of(trainer):
    """Weights, buffers and figures, exactly."""
    figures = [
        (row.train_loss, row.train_accuracy, row.validation_loss, row.validation_accuracy, row.learning_rate)
        for row in trainer.history
    ]
    return {name: x.cpu().tolist() for name, x in trainer.model.state_dict().items()}, figures


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_it_learns_in_every_precision(precision):
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    trainer = trainer_of(precision=precision)
    history = trainer.fit(batches(), 4, DataLoader(points(seed=0), batch_size=28))
    assert history[-1].validation_accuracy > 0.8
    assert {p.dtype for p in trainer.model.parameters()} == {tg.float32}
    assert trainer.evaluate(DataLoader(points(), batch_size=7)).scores.dtype == np.float32
    if precision == "float16":
        assert trainer.scaler.get_scale() > 256.0
    scores = trainer.model(points().tensors[0])
    exact = trainer_of()
    exact.model.load_state_dict(trainer.model.state_dict())
    exact.model.eval()
    trainer.model.eval()
    result = trainer.evaluate(DataLoader(points(), batch_size=28))
    np.testing.assert_allclose(result.scores, exact.model(points().tensors[0]).detach().numpy(), atol=0.2)
    rounded = np.array_equal(result.scores, result.scores.astype("float16").astype("float32"))
    assert rounded is (precision == "float16") or precision == "bfloat16"
    assert scores.dtype == tg.float32  # outside of the training there is no region


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_it_learns_on_a_gpu(precision):
    trainer = trainer_of("cuda", precision)
    history = trainer.fit(batches(), 4, DataLoader(points(seed=0), batch_size=28))
    assert history[-1].validation_accuracy > 0.8
    assert {p.dtype for p in trainer.model.parameters()} == {tg.float32}


@pytest.mark.parametrize("place", ["cpu", "standin"])
@pytest.mark.parametrize("every", [2, 3, 10])
def test_losses_read_seldom_change_nothing(place, every):
    found = []
    for read_every in (1, every):
        trainer = trainer_of(place, read_every=read_every)
        trainer.fit(batches(), 3, DataLoader(points(seed=1), batch_size=9))
        found.append(all_of(trainer))
    assert found[0] == found[1]


def test_how_often_a_loss_is_read(monkeypatch):
    """On a device: once in read_every steps, and at the end of an epoch."""
    reads = []
    to_host = StandInBackend.to_host
    monkeypatch.setattr(StandInBackend, "to_host", lambda self, x: reads.append(x.shape) or to_host(self, x))
    trainer = trainer_of("standin")
    assert (trainer.read_every, trainer_of("cpu").read_every) == (10, 1)
    trainer = trainer_of("standin", read_every=3)
    trainer.fit(batches(), 1)  # 7 steps
    assert reads == [(3,), (3,), (3,), (3,), (1,), (1,)]  # losses and counts


@pytest.mark.parametrize("bad", [1, 2, 5, 7, 9])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_loss_that_is_not_finite_is_found_afterwards_as_if_at_once(bad, precision, tmp_path):
    """The steps since the last look are taken back: weights, optimiser, schedule, scaler, random numbers, figures."""
    found = []
    for read_every in (1, 4):
        trainer = trainer_of(precision=precision, read_every=read_every, failure=tmp_path / f"{read_every}.safetensors")
        data = batches()
        order = [[labels.tolist() for _, labels in data] for _ in range(2)]
        wanted = order[(bad - 1) // 7][(bad - 1) % 7]
        epoch = (bad - 1) // 7

        def loss(scores, labels, wanted=wanted, epoch=epoch, trainer=trainer):
            value = nn.functional.cross_entropy(scores, labels)
            now = len(trainer.history) == epoch and labels.tolist() == wanted
            return value * float("nan") if now else value

        trainer.loss = loss
        with pytest.raises(NonFiniteLoss) as caught:
            trainer.fit(batches(), 3)
        error = caught.value
        found.append(
            (error.epoch, error.step, error.origin, error.layer, all_of(trainer), trainer.scheduler.last_epoch)
        )
        if precision == "float16":
            assert trainer.scaler.state_dict()["scale"] > 0
            found[-1] += (trainer.scaler.state_dict(),)
        assert tg.load(error.batch)["labels"].tolist() == wanted
    assert found[0] == found[1]


def test_a_failure_that_does_not_come_again_lets_the_training_go_on():
    """A value that is not finite only once (a fault of the hardware, say): the steps made again are right."""
    calls = []

    def loss(scores, labels):
        calls.append(1)
        value = nn.functional.cross_entropy(scores, labels)
        return value * float("inf") if len(calls) == 3 else value

    trainer = trainer_of(loss=loss, read_every=4)
    trainer.fit(batches(), 2)
    other = trainer_of()
    other.fit(batches(), 2)
    assert len(calls) == 14 + 4
    assert all_of(trainer) == all_of(other)


@pytest.mark.parametrize("read_every", [1, 4])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_training_goes_on_to_the_bit(precision, read_every, tmp_path):
    """From a checkpoint in the middle of an epoch and of the steps that are read together, with the scaler's state."""
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    whole = trainer_of(precision=precision, read_every=read_every)
    whole.fit(batches(), 3)
    saved = []
    first = trainer_of(precision=precision, read_every=read_every)
    first.fit(batches(), 2, save=lambda: saved.append(copy.deepcopy(first.state())), save_every=5)
    tg.save(saved[1], tmp_path / "state.safetensors")  # after step 3 of epoch 2
    assert saved[1]["steps_done"] == 7 or saved[1]["steps_done"] == 10
    for state in (tg.load(tmp_path / "state.safetensors"), saved[0]):
        tg.manual_seed(99)
        second = trainer_of(precision=precision, read_every=read_every)
        second.load_state(state)
        second.fit(batches(), 3)
        assert all_of(second) == all_of(whole)
        if precision == "float16":
            assert second.scaler.state_dict() == whole.scaler.state_dict()


def test_a_job_in_float16_goes_on_to_the_bit(tmp_path):
    """From the checkpoint before the last, as if it had been killed after it: the same model, and the precision is told."""
    recipe = dataclasses.replace(find_recipe("lenet5", "digits"), epochs=2, batch_size=512, precision="float16")
    Job(recipe, tmp_path / "run", pictures=False, save_every=1).run()
    whole = load(tmp_path / "run" / "model.safetensors")
    assert whole.metadata["recipe"]["precision"] == "float16"
    assert {array.dtype for array in whole.tensors.values()} == {np.dtype("float32")}
    last = max((tmp_path / "run" / "checkpoints").iterdir())
    assert tg.load(last)["scaler"]["scale"] == 2.0**16
    last.unlink()
    Job(recipe, tmp_path / "run", pictures=False, save_every=1, resume=True).run()
    again = load(tmp_path / "run" / "model.safetensors")
    for name, array in whole.tensors.items():
        np.testing.assert_array_equal(again.tensors[name], array)
    with pytest.raises(ArgumentError, match="precision='float16' instead of 'float32'"):
        Job(dataclasses.replace(recipe, precision="float32"), tmp_path / "run", pictures=False, resume=True).run()


@pytest.mark.parametrize(
    ("settings", "text"),
    [({"precision": "float64"}, "float64"), ({"read_every": 0}, "read_every is 0")],
)
def test_refused(settings, text):
    with pytest.raises(ArgumentError, match=text):
        trainer_of(**settings)
