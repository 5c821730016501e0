"""The training loop does what the same loop written out does, and its figures are what their names say."""

import signal
import threading

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.data import DataLoader, TensorDataset
from tensorgrad.errors import ArgumentError, StateError
from tensorgrad.optim.lr_scheduler import LambdaLR
from tensorgrad.train import NonFiniteLoss, StopOnSignal, Stopped, Trainer, warmup_cosine
from tensorgrad.train.nonfinite import keep_batch


def points(n=25, classes=3, seed=0):
    """Points of the plane around one centre a class: separable, mostly."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = 2 * np.stack([np.cos(2 * np.pi * labels / classes), np.sin(2 * np.pi * labels / classes)], 1)
    return TensorDataset(
        tg.tensor((centres + rng.standard_normal((n, 2))).astype("float32")), tg.tensor(labels.astype("int64"))
    )


def make(seed=0):
    tg.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))
    return model, tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def cross_entropy(scores, labels):
    """With NumPy, slowly: the mean of -log softmax at the true class."""
    scores = scores.astype("float64")
    return np.mean([np.log(np.exp(row).sum()) - row[label] for row, label in zip(scores, labels)])


def test_the_weights_are_those_of_the_loop_written_out():
    data = points()
    model, optimizer = make()
    schedule = LambdaLR(optimizer, warmup_cosine(3 * 7, 0.2))
    history = Trainer(model, nn.CrossEntropyLoss(), optimizer, schedule).fit(DataLoader(data, batch_size=4), epochs=3)

    other, optimizer = make()
    criterion, factor, rates = nn.CrossEntropyLoss(), warmup_cosine(3 * 7, 0.2), []
    for step in range(21):
        batch = range(4 * (step % 7), min(4 * (step % 7) + 4, 25))
        optimizer.param_groups[0]["lr"] = 0.1 * factor(step)
        rates.append(0.1 * factor(step))
        optimizer.zero_grad()
        criterion(other(data.tensors[0][list(batch)]), data.tensors[1][list(batch)]).backward()
        optimizer.step()
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.detach().numpy(), other.state_dict()[name].detach().numpy())
    assert [row.learning_rate for row in history] == pytest.approx([rates[6], rates[13], rates[20]])
    assert [row.epoch for row in history] == [1, 2, 3]


def test_the_figures_are_means_over_the_images_also_with_a_short_last_batch():
    data = points()
    model, _ = make()
    still = tg.optim.SGD(model.parameters(), lr=0.0)
    validation = points(10, seed=1)
    (row,) = Trainer(model, nn.CrossEntropyLoss(), still).fit(
        DataLoader(data, batch_size=4), 1, DataLoader(validation, batch_size=7)
    )
    for loss, accuracy, part in (
        (row.train_loss, row.train_accuracy, data),
        (row.validation_loss, row.validation_accuracy, validation),
    ):
        scores = model(part.tensors[0]).detach().numpy()
        labels = part.tensors[1].numpy()
        assert loss == pytest.approx(cross_entropy(scores, labels), rel=1e-5)
        assert accuracy == np.mean(scores.argmax(1) == labels)
    assert row.seconds > 0
    assert row.images_per_second >= 25 / row.seconds  # validation counts into the seconds only


def test_evaluation_is_in_eval_mode_unrecorded_and_in_order():
    seen = []

    class Spy(nn.Module):
        def forward(self, x):
            seen.append((self.training, tg.is_grad_enabled()))
            return x

    scores = tg.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 2.0]])
    labels = tg.tensor([0, 0, 0])
    model = Spy()
    trainer = Trainer(model, nn.CrossEntropyLoss(), None)
    result = trainer.evaluate(DataLoader(TensorDataset(scores, labels), batch_size=2))
    assert seen == [(False, False)] * 2
    assert model.training
    np.testing.assert_array_equal(result.scores, scores.numpy())
    np.testing.assert_array_equal(result.labels, [0, 0, 0])
    np.testing.assert_array_equal(result.predicted, [0, 1, 0])
    assert (result.correct, result.accuracy) == (2, 2 / 3)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_before_the_step(value):
    model, optimizer = make()
    trained, calls = [], []
    after = []

    def loss(scores, labels):
        calls.append(1)
        if len(calls) == 10:  # the third of the seven steps of epoch 2
            trained.append(model[0].weight.detach().numpy().copy())
            return scores.sum() * value
        return nn.functional.cross_entropy(scores, labels)

    with pytest.raises(NonFiniteLoss, match=rf"became -?{value} in step 3 of 7 of epoch 2, at a learning rate of 0.1"):
        Trainer(model, loss, optimizer).fit(DataLoader(points(), batch_size=4), 5, after_epoch=after.append)
    np.testing.assert_array_equal(model[0].weight.detach().numpy(), trained[0])
    assert [row.epoch for row in after] == [1]


def test_it_says_where_the_first_value_came_from_that_is_not_finite(tmp_path):
    class Root(nn.Module):
        def forward(self, x):
            return (x - 1.0).sqrt()  # nan below 1

    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Sequential(nn.Dropout(0.5), Root()), nn.Linear(8, 3))
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, failure=tmp_path / "batch.safetensors")
    with pytest.raises(NonFiniteLoss, match=r"came out of sqrt in layer '2\.1'.*the batch is kept in") as caught:
        trainer.fit(DataLoader(points(), batch_size=5, shuffle=True), 1)
    error = caught.value
    assert (error.epoch, error.step, error.layer) == (1, 1, "2.1")
    assert int(model[1].num_batches_tracked.item()) == 1  # looking for it did not count as another batch
    kept = tg.load(error.batch)
    assert (kept["epoch"], kept["step"], kept["layer"]) == (1, 1, "2.1")
    assert kept["images"].shape == (5, 2)
    # what was kept shows the failure again
    model.load_state_dict(kept["model"])
    assert np.isnan(trainer.loss(model(kept["images"]), kept["labels"]).item())


@pytest.mark.parametrize(
    ("spoil", "text", "layer"),
    [
        (lambda model, data: model[2].weight.data.fill_(float("inf")), "the parameter '2.weight' was not finite", "2"),
        (lambda model, data: data.tensors[0][3:4].fill_(float("nan")), "the images of the batch were not finite", ""),
    ],
    ids=["a parameter", "the data"],
)
def test_what_was_not_finite_before_the_step(spoil, text, layer):
    model, optimizer = make()
    data = points()
    spoil(model, data)
    with pytest.raises(NonFiniteLoss, match=text) as caught:
        Trainer(model, nn.CrossEntropyLoss(), optimizer).fit(DataLoader(data, batch_size=25), 1)
    assert caught.value.layer == layer
    assert caught.value.batch is None


def test_a_batch_that_cannot_be_kept_hides_nothing(tmp_path):
    model, optimizer = make()
    trainer = Trainer(
        model, lambda *_: tg.tensor(float("nan")), optimizer, failure=tmp_path / "missing" / "batch.safetensors"
    )
    with pytest.raises(NonFiniteLoss, match="became nan") as caught:
        trainer.fit(DataLoader(points(), batch_size=25), 1)
    assert caught.value.batch is None


def test_a_batch_that_no_file_holds_hides_nothing(tmp_path):
    assert keep_batch(tmp_path / "batch.safetensors", {"images": tg.ones(2), "labels": object()}) is None
    assert not list(tmp_path.iterdir())


def test_what_another_thread_computes_is_not_where_it_came_from():
    model, optimizer = make()

    def loss(scores, labels):
        other = threading.Thread(target=lambda: tg.zeros(1).log())
        other.start()
        other.join()
        return (scores * 0.0).sqrt().sum() / 0.0

    with pytest.raises(NonFiniteLoss, match="came out of divide in the loss"):
        Trainer(model, loss, optimizer).fit(DataLoader(points(), batch_size=25), 1)


def test_a_parameter_without_a_gradient_is_named():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused, self.frozen = nn.Linear(2, 3), nn.Linear(2, 3), nn.Linear(2, 3)
            self.frozen.requires_grad_(False)

        def forward(self, x):
            return self.used(x)

    model = Net()
    trainer = Trainer(model, nn.CrossEntropyLoss(), tg.optim.SGD(model.parameters(), lr=0.1))
    with pytest.warns(UserWarning, match=r"does not depend on unused\.weight, unused\.bias: no gradient") as told:
        trainer.fit(DataLoader(points(), batch_size=5), 2)
    assert len(told) == 1


class Scaler:
    """A scaler of the loss by hand: doubles after every step."""

    def __init__(self):
        self.factor = 4.0

    def scale(self, loss):
        return loss * self.factor

    def step(self, optimizer):
        for group in optimizer.param_groups:
            for p in group["params"]:
                p.grad = p.grad / self.factor
        optimizer.step()

    def update(self):
        self.factor *= 2

    def state_dict(self):
        return {"factor": self.factor}

    def load_state_dict(self, state):
        self.factor = state["factor"]


def test_a_scaler_scales_and_its_state_is_kept():
    data, weights = points(), []
    for scaler in (None, Scaler()):
        model, optimizer = make()
        trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer, scaler=scaler)
        trainer.fit(DataLoader(data, batch_size=5), 1)
        weights.append(model[0].weight.detach().numpy())
    np.testing.assert_allclose(weights[0], weights[1], rtol=1e-5)
    state = trainer.state()
    assert state["scaler"] == {"factor": 4.0 * 2**5}
    model, optimizer = make()
    other = Trainer(model, nn.CrossEntropyLoss(), optimizer, scaler=Scaler())
    other.load_state(state)
    assert other.scaler.factor == 128.0
    with pytest.raises(StateError, match="the state has one, this training not: scaler"):
        Trainer(model, nn.CrossEntropyLoss(), optimizer).load_state(state)
    with pytest.raises(StateError, match="no state of a training"):
        other.load_state({"version": 2})


def test_a_state_that_makes_no_sense_is_refused_with_a_reason():
    """A checkpoint of another version, or one that somebody edited: never a KeyError from the depths."""
    from tensorgrad.errors import TensorgradError

    def build():
        model, optimizer = make()
        return Trainer(model, nn.CrossEntropyLoss(), optimizer), DataLoader(points(), batch_size=5, shuffle=True)

    trainer, loader = build()
    states = []
    trainer.fit(loader, 1, save=lambda: states.append(trainer.state()), save_every=3)
    for state in (states[0], states[-1]):  # within an epoch, and after one
        position, now = state["position"], state["position"]["now"]
        broken = [{**state, name: "x"} for name in state]
        broken += [{key: x for key, x in state.items() if key != name} for name in state]
        places = [{key: x for key, x in position.items() if key != name} for name in position]
        places += [{**position, "now": {**now, name: "x"}} for name in now] + [{**position, "step": "1"}, None, {}]
        broken += [{**state, "position": place} for place in places]
        for wrong in broken:
            other, loader = build()
            with pytest.raises(TensorgradError, match="state"):
                other.load_state(wrong)
                other.fit(loader, 2)
        other, loader = build()
        other.load_state(state)
        assert len(other.fit(loader, 2)) == 2


def test_fit_again_begins_again():
    model, optimizer = make()
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer)
    batches = DataLoader(points(), batch_size=5)
    assert [len(trainer.fit(batches, epochs)) for epochs in (2, 3)] == [2, 3]
    assert trainer.steps_done == 15


def test_a_loss_that_is_not_finite_in_validation():
    model, optimizer = make()
    after = []

    def loss(scores, labels):
        return nn.functional.cross_entropy(scores, labels) * (1.0 if model.training else float("nan"))

    with pytest.raises(NonFiniteLoss, match="loss on the validation images became nan after epoch 1"):
        batches = DataLoader(points(), batch_size=4)
        Trainer(model, loss, optimizer).fit(batches, 5, batches, after.append)
    assert after == []


def test_a_signal_stops_after_the_step_in_which_it_came():
    model, optimizer = make()
    steps = []

    def loss(scores, labels):
        steps.append(model[0].weight.detach().numpy().copy())
        if len(steps) == 10:
            signal.raise_signal(signal.SIGINT)
        return nn.functional.cross_entropy(scores, labels)

    after = []
    with pytest.raises(Stopped), StopOnSignal() as stop:
        Trainer(model, loss, optimizer, stop=stop).fit(DataLoader(points(), batch_size=4), 5, after_epoch=after.append)
    assert len(steps) == 10
    assert not np.array_equal(model[0].weight.detach().numpy(), steps[-1])  # the tenth step was finished
    assert [row.epoch for row in after] == [1]


def test_a_signal_during_validation_stops_before_the_epoch_counts():
    model, optimizer = make()

    def validation():
        signal.raise_signal(signal.SIGTERM)
        yield from DataLoader(points(), batch_size=4)

    after = []
    with pytest.raises(Stopped, match="SIGTERM"), StopOnSignal() as stop:
        Trainer(model, nn.CrossEntropyLoss(), optimizer, stop=stop).fit(
            DataLoader(points(), batch_size=4), 1, validation(), after.append
        )
    assert after == []
    assert model.training


def test_nothing_to_train_on_or_to_try():
    model, optimizer = make()
    trainer = Trainer(model, nn.CrossEntropyLoss(), optimizer)
    with pytest.raises(ArgumentError, match="training set gives no batch"):
        trainer.fit(DataLoader(points(3), batch_size=4, drop_last=True), 1)
    with pytest.raises(ArgumentError, match="evaluate: there is no batch"):
        trainer.evaluate([])
