"""A training that is killed and goes on: a small network with all that has a state, a checkpoint after every step.

    python tiny_job.py FOLDER [--die-at N] [--epochs N]

With --die-at the process kills itself, as SIGKILL would, at the Nth of the moments of saving: before and after every
opening, flushing, renaming and removing of a file. The last line printed is a digest of the weights and of the history.
"""

import hashlib
import os
import signal
import sys
from pathlib import Path

import numpy as np

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.data import DataLoader, TensorDataset
from tensorgrad.optim.lr_scheduler import LambdaLR
from tensorgrad.random import Generator
from tensorgrad.train import Checkpoints, StopOnSignal, Trainer, warmup_cosine

EPOCHS = 4


def build(generator, epochs=EPOCHS):
    """A trainer with dropout, batch norm, momentum and a schedule, and its loader, shuffled by its own generator."""
    random = np.random.default_rng(7)
    data = TensorDataset(
        tg.tensor(random.standard_normal((30, 4)).astype("float32")), tg.tensor(random.integers(0, 3, 30))
    )
    tg.manual_seed(5)
    model = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 3))
    loader = DataLoader(data, batch_size=5, shuffle=True, generator=generator)
    optimizer = tg.optim.AdamW(model.parameters(), lr=0.01)
    schedule = LambdaLR(optimizer, warmup_cosine(epochs * len(loader), 0.2))
    return Trainer(model, nn.CrossEntropyLoss(), optimizer, schedule), loader, DataLoader(data, batch_size=30)


def digest(trainer):
    """One text for all weights, buffers and figures, exact to the bit."""
    found = hashlib.sha256()
    for name, x in trainer.model.state_dict().items():
        found.update(name.encode() + x.detach().numpy().tobytes())
    for row in trainer.history:
        figures = (row.train_loss, row.train_accuracy, row.validation_loss, row.validation_accuracy, row.learning_rate)
        found.update(repr(figures).encode())
    return found.hexdigest()


def run(folder, epochs=EPOCHS):
    """Train from the newest checkpoint in the folder, or from the beginning; returns the trainer."""
    trainer, loader, check = build(Generator(11), epochs)
    checkpoints = Checkpoints(folder)
    state = checkpoints.load()
    if state is not None:
        trainer.load_state(state)
    with StopOnSignal() as trainer.stop:
        trainer.fit(loader, epochs, check, None, lambda: checkpoints.save(trainer.state(), trainer.steps_done), 1)
    return trainer


def die_at(moment):
    """Let every call that touches a file count, and the process end itself at call number `moment`."""
    counted = 0

    def wrapped(call):
        def counting(*arguments, **named):
            nonlocal counted
            result = None
            for part in ("before", "after"):
                counted += 1
                if counted == moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                if part == "before":
                    result = call(*arguments, **named)
            return result

        return counting

    os.fsync, os.replace, os.unlink = wrapped(os.fsync), wrapped(os.replace), wrapped(os.unlink)
    Path.open = wrapped(Path.open)


def number_after(option, default):
    """What follows an option of the command."""
    return int(sys.argv[sys.argv.index(option) + 1]) if option in sys.argv else default


if __name__ == "__main__":
    if "--die-at" in sys.argv:
        die_at(number_after("--die-at", 0))
    print("ready", flush=True)
    print(digest(run(sys.argv[1], number_after("--epochs", EPOCHS))), flush=True)
