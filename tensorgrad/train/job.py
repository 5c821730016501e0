"""The whole job of `tensorgrad train`: data, model, training, checkpoints, test, pictures."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tensorgrad import nn, optim
from tensorgrad.amp import GradScaler
from tensorgrad.backend import backend_for
from tensorgrad.creation import zeros
from tensorgrad.data.dataset import ImageDataset
from tensorgrad.data.loader import DataLoader
from tensorgrad.device import Device, as_device
from tensorgrad.errors import ArgumentError
from tensorgrad.graph import NO_DOT, GraphvizError, Picture, draw
from tensorgrad.io.checkpoint import load_model, save_model
from tensorgrad.io.errors import CheckpointError
from tensorgrad.models import LeNet5Loss, get_model
from tensorgrad.optim.lr_scheduler import LambdaLR
from tensorgrad.random import manual_seed
from tensorgrad.train import board
from tensorgrad.train.checkpoints import Checkpoints
from tensorgrad.train.figures import Evaluation
from tensorgrad.train.folder import (
    CHECKPOINTS,
    CURVES,
    FAILURE,
    GRAPH,
    GRAPH_SOURCE,
    LAST,
    METRICS,
    MISCLASSIFIED,
    MODEL,
    RunFolder,
)
from tensorgrad.train.lock import locked
from tensorgrad.train.metrics import EpochMetrics, write_metrics
from tensorgrad.train.nonfinite import NonFiniteLoss
from tensorgrad.train.pictures import draw_curves, draw_misclassified, least_smoothed_loss
from tensorgrad.train.progress import Progress
from tensorgrad.train.recipes import Recipe
from tensorgrad.train.schedule import warmup_cosine, warmup_steps
from tensorgrad.train.splits import SIZE, load_splits
from tensorgrad.train.stop import StopOnSignal, Stopped
from tensorgrad.train.trainer import Trainer
from tensorgrad.version import __version__

TEST_BATCH = 500


class Interrupted(Exception):
    """The training was stopped by Ctrl-C or SIGTERM; the text says what was kept, `number` is the signal's."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


class Job:
    """Train by a recipe, and leave everything in a folder.

    out: the folder; see RunFolder and the table in `tensorgrad train --help` for what is left there.
    seed: of initialisation, order and augmentation; the same seed gives the same model on the same machine.
    data_dir: where MNIST or Fashion-MNIST are, or are downloaded to. workers: threads that prepare batches ahead.
    resume: go on from the newest whole checkpoint of the same recipe and seed in the folder; without one, begin.
    save_every: steps between two checkpoints within an epoch; 0 for none, then there is one after every epoch.
    """

    def __init__(
        self,
        recipe: Recipe,
        out: str | os.PathLike[str],
        seed: int = 0,
        device: str | Device = "cpu",
        data_dir: str | Path | None = None,
        workers: int = 0,
        pictures: bool = True,
        progress: Progress | None = None,
        resume: bool = False,
        save_every: int = 0,
    ) -> None:
        self.recipe = recipe
        self.folder = RunFolder(out)
        self.seed = seed
        self.device = device
        self.data_dir = data_dir
        self.workers = workers
        self.pictures = pictures
        self.progress = Progress(quiet=True) if progress is None else progress
        self.resume = resume
        self.save_every = save_every
        self.checkpoints = Checkpoints(self.folder / CHECKPOINTS, warn=self.progress.say)
        self.board = board.Board(self.folder / board.FOLDER) if board.is_installed() else None
        self.history: list[EpochMetrics] = []
        self.kept = 0  # the epoch whose model is in MODEL
        self.best_accuracy = -1.0
        self.saved_at: int | None = None  # after how many steps this run saved its last checkpoint

    def run(self) -> Evaluation:
        """Train, test once, draw; returns what the model says to the test images.

        Raises Interrupted and NonFiniteLoss, whose texts say what is kept; before anything is written DeviceError,
        OSError, FolderInUse, CheckpointError and the errors of the data sets.
        """
        # the matrices of a small network are so small that a second thread of BLAS costs more than it brings
        with threadpool_limits(1, user_api="blas"):
            try:
                backend_for(self.device)  # refuses a device that is not there
                self.folder.make()
                with locked(self.folder.path) as sure:
                    if not sure:
                        self.progress.say(f"{self.folder.path} cannot be locked there; let no other run write to it")
                    return self._run()
            except Stopped as stopped:
                done, planned = len(self.history), self.recipe.epochs
                when = f"in epoch {done + 1} of {planned}" if done < planned else f"after epoch {done}, the last one"
                raise Interrupted(f"stopped by {stopped} {when}; {self._what_is_kept()}", stopped.number) from None
            except NonFiniteLoss as error:
                raise NonFiniteLoss(f"{error}; {self._what_is_kept()}") from error
            finally:
                self.progress.close()
                if self.board is not None:
                    self.board.close()

    def _run(self) -> Evaluation:
        begun = time.perf_counter()
        self.folder.prepare()
        self.checkpoints.prepare()
        state = self._found_state() if self.resume else None
        manual_seed(self.seed)
        splits = load_splits(self.recipe, self.data_dir)
        model = build_model(self.recipe).to(self.device)
        self._announce(splits.train, splits.validation, splits.test, model)

        trainer = self._train(model, splits.train, splits.validation, state)

        load_model(self.folder / MODEL, model)
        result = trainer.evaluate(DataLoader(splits.test, batch_size=TEST_BATCH))
        save_model(self.folder / MODEL, model, self.metadata(self.history[self.kept - 1], result))
        if self.pictures:
            self._draw(model, splits.test, splits.classes, result)
        self._tell_what_is_there(time.perf_counter() - begun)
        return result

    def _found_state(self) -> dict[str, Any] | None:
        """The state to go on from; refuses one of another recipe or seed, which would continue as neither."""
        state: dict[str, Any] | None = self.checkpoints.load()
        if state is None:
            self.progress.say(f"{self.folder.path} holds no checkpoint; the training begins")
            return None
        if not isinstance(state, dict) or not isinstance(state.get("job"), dict):
            raise CheckpointError(f"load: the checkpoint in {self.checkpoints.folder} is not one of a training")
        # a setting that recipes did not have yet when the run began had its default
        defaults = {field.name: field.default for field in dataclasses.fields(Recipe)}
        mine, its = self._identity(), {**defaults, **state["job"]["identity"]}
        differ = [
            f"{name}={its.get(name)!r} instead of {value!r}" for name, value in mine.items() if its.get(name) != value
        ]
        if differ:
            raise ArgumentError(
                f"--resume: the run in {self.folder.path} has {', '.join(differ)}; give the same options as then, choose "
                "another folder, or begin anew without --resume"
            )
        return state

    def _identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on as it was, as JSON says it."""
        said: dict[str, Any] = json.loads(json.dumps({**dataclasses.asdict(self.recipe), "seed": self.seed}))
        return said

    def _train(
        self, model: Any, train: ImageDataset, validation: ImageDataset | None, state: dict[str, Any] | None
    ) -> Trainer:
        recipe = self.recipe
        loader = DataLoader(
            train,
            batch_size=recipe.batch_size,
            shuffle=True,
            drop_last=len(train) >= recipe.batch_size,
            num_workers=self.workers,
            pin_memory=as_device(self.device).type == "cuda",
        )
        check = None if validation is None else DataLoader(validation, batch_size=TEST_BATCH)
        optimizer = getattr(optim, recipe.optimizer)(model.parameters(), **recipe.optimizer_arguments)
        schedule = LambdaLR(optimizer, _schedule(recipe, recipe.epochs * len(loader)))
        losses = {
            "cross entropy": nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing),
            "distances": LeNet5Loss(),
        }
        with StopOnSignal() as stop:
            trainer = Trainer(
                model,
                losses[recipe.loss],
                optimizer,
                schedule,
                self.device,
                self.progress,
                stop,
                scaler=GradScaler(str(self.device)) if recipe.precision == "float16" else None,
                failure=self.folder / FAILURE,
                precision=recipe.precision,
            )
            if state is not None:
                self._continue(trainer, state, len(loader))
            trainer.fit(
                loader,
                recipe.epochs,
                check,
                lambda metrics: self._save(model, metrics),
                lambda: self._save_state(trainer),
                self.save_every,
            )
        return trainer

    def _continue(self, trainer: Trainer, state: dict[str, Any], steps: int) -> None:
        trainer.load_state(state)
        self.history = list(trainer.history)
        self.kept, self.best_accuracy = state["job"]["kept"], state["job"]["best_accuracy"]
        done, step = len(self.history), trainer.steps_done - len(trainer.history) * steps
        place = f"step {step} of {steps} of epoch {done + 1}" if step else f"epoch {done}"
        self.progress.say(f"going on after {place}, from the checkpoint in {self.checkpoints.folder}")

    def _save_state(self, trainer: Trainer) -> None:
        """A checkpoint: all that `--resume` needs."""
        job = {"identity": self._identity(), "kept": self.kept, "best_accuracy": self.best_accuracy}
        self.checkpoints.save({**trainer.state(), "job": job}, trainer.steps_done)
        self.saved_at = trainer.steps_done

    def _save(self, model: Any, metrics: EpochMetrics) -> None:
        """Put what this epoch brought into the folder: the model first, so that what is there always belongs to it."""
        accuracy = metrics.validation_accuracy
        if self.recipe.keep == "last" or accuracy is None or accuracy >= self.best_accuracy:
            save_model(self.folder / MODEL, model, self.metadata(metrics))
            self.best_accuracy = -1.0 if accuracy is None else accuracy
            self.kept = metrics.epoch
        if metrics.epoch == 1:
            self.folder.remove_leftovers()
        if self.recipe.keep == "best":
            save_model(self.folder / LAST, model, self.metadata(metrics))
        self.history.append(metrics)
        write_metrics(self.folder / METRICS, self.history)
        if (figures := self.board) is not None:
            self._try(board.FOLDER, lambda: figures.add(metrics))

    def metadata(self, metrics: EpochMetrics, test: Evaluation | None = None) -> dict[str, Any]:
        """What a checkpoint says about its model."""
        found: dict[str, Any] = {
            "recipe": dataclasses.asdict(self.recipe),
            "seed": self.seed,
            "epoch": metrics.epoch,
            "metrics": dataclasses.asdict(metrics),
            "versions": {
                "tensorgrad": __version__,
                "numpy": numpy.__version__,
                "python": platform.python_version(),
            },
        }
        if test is not None:
            found["test"] = {"correct": test.correct, "images": len(test.labels)}
        return found

    def _draw(self, model: Any, test: ImageDataset, classes: tuple[str, ...], result: Evaluation) -> None:
        """Draw what can be drawn here; a picture that cannot is no reason to lose the result of the training."""
        name = f"{self.recipe.model} on {self.recipe.data}"
        epochs = len(self.history)
        curves = f"{name}: {epochs} epoch{'s' if epochs > 1 else ''}, seed {self.seed}"
        least = least_smoothed_loss(self.recipe.label_smoothing, len(classes))
        training = "training (augmented images)" if self.recipe.changes_images else "training"
        self._try(CURVES, lambda: draw_curves(self.folder / CURVES, self.history, curves, self.kept, training, least))
        wrong = (test.data, result.labels, result.scores, classes, f"{name}, epoch {self.kept}")
        self._try(MISCLASSIFIED, lambda: draw_misclassified(self.folder / MISCLASSIFIED, *wrong))
        self._try(GRAPH, lambda: self._draw_graph(model, test[0][0].shape[0]))

    def _draw_graph(self, model: Any, channels: int) -> None:
        picture = draw_model(model, self.device, channels)
        picture.save(self.folder / GRAPH_SOURCE)
        if not picture.save_picture_if_possible(self.folder / GRAPH):
            self.progress.say(f"{GRAPH} was not drawn, but {GRAPH_SOURCE} is there: {NO_DOT}")

    def _try(self, name: str, draw: Callable[[], Any]) -> None:
        try:
            draw()
        except ImportError as error:
            self.progress.say(f"{name} was not drawn ({error}): pip install 'tapegrad[viz]' brings what it needs")
        except (OSError, GraphvizError, UnicodeError) as error:  # a picture less is no reason to lose the run
            self.progress.say(f"{name} was not drawn: {error}")

    # what it says

    def _announce(self, train: Any, validation: Any, test: Any, model: Any) -> None:
        recipe = self.recipe
        held_out = "" if validation is None else f", {len(validation):,} to validate"
        size = sum(parameter.numel() for parameter in model.parameters())
        self.progress.say(
            f"{recipe.model} ({size:,} parameters) on {recipe.data}: {len(train):,} images to train on{held_out}, "
            f"{len(test):,} to test; {recipe.epochs} epochs on {self.device}, seed {self.seed}"
        )
        if self.folder.holds_a_run() and not self.resume:
            self.progress.say(
                f"{self.folder.path} holds an earlier run, which gives way when the first epoch is complete"
            )

    def _what_is_kept(self) -> str:
        again = "" if self.saved_at is None else f"; --resume goes on after step {self.saved_at}"
        if not self.history:
            return f"no epoch was complete, and what was in {self.folder.path} is unchanged{again}"
        last = f", {self.folder / LAST} that of epoch {len(self.history)}" if self.recipe.keep == "best" else ""
        return f"{self.folder / MODEL} holds the model of epoch {self.kept}{last}{again}"

    def _tell_what_is_there(self, seconds: float) -> None:
        meanings = {
            MODEL: f"the model of epoch {self.kept}",
            LAST: f"the model of the last epoch, {len(self.history)}",
            METRICS: "the figures of every epoch",
            CURVES: "loss and accuracy over the epochs",
            MISCLASSIFIED: "the test images it got wrong",
            GRAPH: "the computation graph",
            GRAPH_SOURCE: "the computation graph as a text for Graphviz",
            CHECKPOINTS: "where --resume goes on",
            board.FOLDER: "the same figures for TensorBoard",
        }
        self.progress.say(f"done in {seconds:.0f} s; in {self.folder.path}{os.sep} there are")
        for name, meaning in meanings.items():
            if (self.folder / name).exists():
                self.progress.say(f"  {name:18} {meaning}")


def build_model(recipe: Recipe) -> Any:
    """The model of a recipe, with fresh weights; a text among its arguments is the name of a layer in tensorgrad.nn."""
    arguments = {
        name: getattr(nn, value) if isinstance(value, str) else value for name, value in recipe.model_arguments.items()
    }
    return get_model(recipe.model, **arguments)


def draw_model(model: Any, device: str | Device = "cpu", channels: int = 1) -> Picture:
    """The computation graph of a model for one image of 32x32 pixels."""
    return draw(model, zeros(1, channels, SIZE, SIZE, device=device))


def _schedule(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """How a recipe's rate changes over all steps."""
    if recipe.schedule == "cosine":
        return warmup_cosine(steps, recipe.warmup)
    return warmup_steps(steps, recipe.milestones, recipe.warmup)
