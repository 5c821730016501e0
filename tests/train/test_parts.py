"""The parts of the training command: schedule, signals, progress, metrics, recipes, splits, folder, pictures."""

import dataclasses
import io
import json
import math
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from tensorgrad.data import Digits
from tensorgrad.errors import ArgumentError
from tensorgrad.train import (
    RECIPES,
    EpochMetrics,
    Progress,
    StopOnSignal,
    Stopped,
    find_recipe,
    read_metrics,
    warmup_cosine,
    write_metrics,
)
from tensorgrad.train.board import Board
from tensorgrad.train.folder import CURVES, FILES, MODEL, RunFolder
from tensorgrad.train.job import build_model
from tensorgrad.train.schedule import warmup_steps
from tensorgrad.train.splits import load_splits

# schedule


def test_the_schedule_by_hand():
    factor = warmup_cosine(steps=6, warmup=1 / 3)
    # two steps up; then half a cosine of four steps: cos of 0, 45, 90 and 135 degrees
    by_hand = [1 / 2, 1, 1, (1 + math.sqrt(0.5)) / 2, 1 / 2, (1 - math.sqrt(0.5)) / 2, 0, 0]
    assert [factor(step) for step in range(8)] == pytest.approx(by_hand)


@pytest.mark.parametrize("warmup", [0.0, 0.5, 0.9])
def test_a_schedule_of_one_step_is_the_full_rate(warmup):
    assert warmup_cosine(1, warmup)(0) == 1


@pytest.mark.parametrize(("steps", "warmup"), [(0, 0.0), (5, 1.0), (5, -0.1)])
def test_impossible_schedules(steps, warmup):
    with pytest.raises(ArgumentError, match="warmup_cosine"):
        warmup_cosine(steps, warmup)


# signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_handlers_come_back(number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopOnSignal() as stop:
        stop.check()
        signal.raise_signal(number)
        with pytest.raises(Stopped) as caught:
            stop.check()
        assert caught.value.number == number
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_handlers_come_back_without_a_signal_too():
    before = signal.getsignal(signal.SIGINT)
    with StopOnSignal():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_the_second_ctrl_c_does_not_wait():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with StopOnSignal():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopOnSignal() as stop:
            signal.raise_signal(signal.SIGINT)
            stop.check()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_may_train_too():
    failures = []

    def work():
        try:
            with StopOnSignal() as stop:
                stop.check()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []


# progress


class Screen(io.StringIO):
    """A stream that remembers what a terminal of 80 columns would show."""

    def __init__(self, tty, encoding="utf-8"):
        super().__init__()
        self.tty = tty
        self._encoding = encoding

    @property
    def encoding(self):
        return self._encoding

    def isatty(self):
        return self.tty

    def rows(self):
        """What is to be seen: a carriage return goes back to the start of the line, letters replace what was there."""
        rows = []
        for line in self.getvalue().split("\n"):
            row = ""
            for part in line.split("\r"):
                row = part + row[len(part) :]
            rows.append(row.rstrip())
        return rows


@pytest.fixture
def clock(monkeypatch):
    """time.monotonic under the test's control."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")


def test_a_terminal_sees_one_live_line_below_those_that_stay(clock, terminal):
    screen = Screen(tty=True)
    progress = Progress(screen)
    assert progress.live
    progress.start()
    clock[0] += 10
    progress.update("epoch 1/4", 0.25, "loss 1.5")
    assert screen.rows() == ["epoch 1/4  ━━━━━━━━──────────────────────  loss 1.5  0:30 left"]
    progress.say("epoch 1/4 done")
    clock[0] += 10
    progress.update("epoch 2/4", 0.5, "loss 1")
    assert screen.rows() == ["epoch 1/4 done", "epoch 2/4  ━━━━━━━━━━━━━━━───────────────  loss 1  0:20 left"]
    progress.close()
    assert screen.rows() == ["epoch 1/4 done", ""]


def test_a_terminal_is_drawn_on_ten_times_a_second_at_most(clock, terminal):
    screen = Screen(tty=True)
    progress = Progress(screen)
    for step in range(1, 101):
        clock[0] += 0.01
        progress.update("", step / 100, f"{step}")
    assert 9 <= screen.getvalue().count("\r") <= 11


def test_a_narrow_terminal_gets_a_line_that_fits(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    screen = Screen(tty=True)
    progress = Progress(screen)
    progress.update("epoch 1/4", 0.25, "loss 1.2345  accuracy 97.12 %  12,345 images/s")
    (row,) = screen.rows()
    assert row == "epoch 1/4  loss 1.2345  accuracy 97.12"  # and a space: 39 characters


def test_a_terminal_that_does_not_know_its_width_counts_as_80_wide(clock, terminal, monkeypatch):
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((0, 0)))
    screen = Screen(tty=True)
    Progress(screen).update("epoch 1/4", 0.5, "loss 1")
    assert screen.rows() == ["epoch 1/4  ━━━━━━━━━━━━━━━───────────────  loss 1  0:00 left"]


def test_a_terminal_without_unicode_gets_a_bar_too(clock, terminal):
    screen = Screen(tty=True, encoding="ascii")
    Progress(screen).update("epoch 1/4", 0.5, "loss 1")
    assert "###############..............." in screen.getvalue()


def test_a_pipe_gets_plain_lines_and_one_in_thirty_seconds_of_silence(clock):
    screen = Screen(tty=False)
    progress = Progress(screen)
    progress.say("start")
    for step in range(1, 101):
        clock[0] += 1
        progress.update("epoch 1/4", step / 400, f"step {step}")
    assert screen.getvalue().splitlines() == [
        "start",
        "epoch 1/4    8 %  step 30  6:10 left",
        "epoch 1/4   15 %  step 60  5:40 left",
        "epoch 1/4   22 %  step 90  5:10 left",
    ]


def test_a_dumb_terminal_counts_as_a_pipe(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    assert not Progress(Screen(tty=True)).live


def test_quiet_is_quiet(clock):
    screen = Screen(tty=True)
    progress = Progress(screen, quiet=True)
    progress.say("x")
    clock[0] += 100
    progress.update("", 0.5, "x")
    progress.close()
    assert screen.getvalue() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00 left"), (59.4, "0:59 left"), (61, "1:01 left"), (3661, "1:01:01 left")]
)
def test_time_left(clock, seconds, text):
    progress = Progress(Screen(tty=False))
    clock[0] += seconds
    assert progress.left(0.5) == text


# metrics


def row(epoch, **changes):
    return dataclasses.replace(EpochMetrics(epoch, 1.5, 0.5, 1.25, 0.75, 0.001, 2.5, 1000.0), **changes)


def test_metrics_as_a_file(tmp_path):
    rows = [row(1, validation_loss=None, validation_accuracy=None), row(2, train_loss=1 / 3)]
    write_metrics(tmp_path / "metrics.csv", rows)
    assert (tmp_path / "metrics.csv").read_text() == (
        "epoch,train_loss,train_accuracy,validation_loss,validation_accuracy,learning_rate,seconds,images_per_second\n"
        "1,1.5,0.5,,,0.001,2.5,1000\n"
        "2,0.333333,0.5,1.25,0.75,0.001,2.5,1000\n"
    )
    again = read_metrics(tmp_path / "metrics.csv")
    assert again == [rows[0], dataclasses.replace(rows[1], train_loss=0.333333)]


# recipes and data


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: f"{recipe.model}-{recipe.data}-{recipe.name}")
def test_every_recipe_can_be_built_and_said_in_json(recipe):
    assert find_recipe(recipe.model, recipe.data, recipe.name) is recipe
    assert recipe.keep == "last" or recipe.validation > 0
    sizes = {
        "lenet5": 61_706,
        "lenet5_original": 60_000,
        "small_cnn": 164_154,
        "20": 269_722,
        "32": 464_154,
        "44": 658_586,
        "56": 853_018,
    }
    kind = recipe.model if recipe.model in sizes else recipe.model[-2:]
    expected = 1_727_962 if recipe.model == "resnet110" else sizes[kind]
    assert sum(parameter.numel() for parameter in build_model(recipe).parameters()) == expected
    assert json.loads(json.dumps(dataclasses.asdict(recipe)))["epochs"] == recipe.epochs


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(
        ArgumentError,
        match=r"no recipe for 'lenet6' on 'digits'; there are some for lenet5, lenet5_original, small_cnn, resnet20",
    ):
        find_recipe("lenet6", "digits")


def test_a_recipe_of_a_name_that_there_is_not():
    with pytest.raises(
        ArgumentError, match=r"'lenet5' on 'mnist' of the name 'paper'; there are lenet5 on digits \(standard\), "
    ):
        find_recipe("lenet5", "mnist", "paper")
    with pytest.raises(ArgumentError, match="no recipe for 'lenet5' of the name 'short'; there are lenet5 on digits"):
        find_recipe("lenet5", name="short")
    assert find_recipe("resnet20").name == "paper"


def test_the_papers_schedule_for_cifar():
    """He et al., 2015, section 4.2: 64,000 steps, the rate divided by ten at 32,000 and 48,000."""
    recipe = find_recipe("resnet20", "cifar10", "paper")
    steps = recipe.epochs * ((50_000 - recipe.validation) // recipe.batch_size)
    assert steps == pytest.approx(64_000, rel=0.003)
    factor = warmup_steps(64_000, recipe.milestones, recipe.warmup)
    rates = {step: factor(step) for step in (0, 31_999, 32_000, 47_999, 48_000, 63_999)}
    assert list(rates.values()) == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert warmup_steps(10, (), 0.2)(0) == 0.5


@pytest.mark.parametrize(
    ("steps", "milestones", "warmup"), [(0, (), 0), (5, (), 1.0), (5, (0.0,), 0), (5, (0.5, 1), 0)]
)
def test_impossible_steps(steps, milestones, warmup):
    with pytest.raises(ArgumentError, match="warmup_steps"):
        warmup_steps(steps, milestones, warmup)


def test_part_of_the_training_images():
    recipe = dataclasses.replace(find_recipe("lenet5", "digits"), images=100)
    part, whole = load_splits(recipe), load_splits(find_recipe("lenet5", "digits"))
    assert len(part.train) == 100
    np.testing.assert_array_equal(part.validation.data, whole.validation.data)
    assert {image.tobytes() for image in part.train.data} <= {image.tobytes() for image in whole.train.data}
    with pytest.raises(ArgumentError, match="images=1301: digits has 1300 training images that are not held out"):
        load_splits(dataclasses.replace(recipe, images=1301))


@pytest.fixture
def cifar_pictures(tmp_path):
    """A folder of pictures, two of each of three classes to train on and one to test on, as red as the class is high."""
    image = pytest.importorskip("PIL.Image")
    for part, count in (("train", 2), ("test", 1)):
        for number, name in enumerate(("airplane", "bird", "cat")):
            folder = tmp_path / "cifar10-jpeg" / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                image.new("RGB", (32, 32), (100 * number, 10, i)).save(folder / f"{i}.png")
    return tmp_path


def test_cifar_as_pictures(cifar_pictures):
    recipe = dataclasses.replace(find_recipe("resnet20", "cifar10-jpeg", "short"), validation=2, crop=0, flip=False)
    splits = load_splits(recipe, cifar_pictures)
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (4, 2, 3)
    assert splits.classes == ("airplane", "bird", "cat")
    image, label = splits.test[2]
    assert label == 2
    assert image[:, 0, 0] == pytest.approx(
        [(200 / 255 - 0.4914) / 0.2470, (10 / 255 - 0.4822) / 0.2435, -0.4465 / 0.2616]
    )


def test_crops_are_of_the_normalised_image(cifar_pictures):
    """Around the picture are zeros, and inside of it the numbers that it has without."""
    recipe = dataclasses.replace(find_recipe("resnet20", "cifar10-jpeg", "paper"), validation=0)
    for image, label in load_splits(recipe, cifar_pictures).train:
        red = (100 * label / 255 - 0.4914) / 0.2470
        values = np.unique(image[0])
        assert all(value == 0 or value == pytest.approx(red, abs=1e-5) for value in values)
        assert (image[0] == 0).sum() <= 32 * 32 - 28 * 28


def test_no_pictures_of_cifar(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a folder cifar10-jpeg nor an archive"):
        load_splits(find_recipe("resnet20", "cifar10-jpeg"), tmp_path)


# TensorBoard


def test_figures_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (tmp_path / "events.out.tfevents.0.earlier").touch()
    board = Board(tmp_path)
    board.add(EpochMetrics(1, 1.5, 0.5, None, None, 0.001, 2.5, 1000.0))
    board.add(EpochMetrics(2, 0.5, 0.75, 1.25, 0.5, 0.001, 2.5, 1000.0))
    board.close()
    (file,) = tmp_path.iterdir()
    read = [event for event in EventFileLoader(str(file)).Load() if event.HasField("summary")]
    found = [(event.step, value.tag, value.tensor.float_val[0]) for event in read for value in event.summary.value]
    assert [(step, tag, value) for step, tag, value in found if tag.startswith(("loss", "accuracy"))] == [
        (1, "loss/train", 1.5),
        (1, "accuracy/train", 0.5),
        (2, "loss/train", 0.5),
        (2, "accuracy/train", 0.75),
        (2, "loss/validation", 1.25),
        (2, "accuracy/validation", 0.5),
    ]


def test_splits_of_the_digits_are_apart_and_complete():
    splits = load_splits(find_recipe("lenet5", "digits"))
    held_out = find_recipe("lenet5", "digits").validation
    assert (len(splits.train), len(splits.validation), len(splits.test)) == (1437 - held_out, held_out, 360)
    whole = sorted(image.tobytes() for image in Digits(train=True).data)
    parts = sorted(image.tobytes() for part in (splits.train, splits.validation) for image in part.data)
    assert parts == whole
    np.testing.assert_array_equal(splits.test.data, Digits(train=False).data)
    again = load_splits(find_recipe("lenet5", "digits"))
    np.testing.assert_array_equal(again.validation.data, splits.validation.data)


def test_only_training_images_are_changed_at_random():
    splits = load_splits(find_recipe("lenet5", "digits"))
    for part, changes in ((splits.train, True), (splits.validation, False), (splits.test, False)):
        first, second = part[0][0], part[0][0]
        assert first.shape == (1, 32, 32)
        assert first.dtype == np.float32
        assert np.array_equal(first, second) is not changes


def test_recipes_know_mean_and_deviation_of_their_training_pixels(mnist_folder):
    of_1998 = RECIPES["lenet5_original", "mnist", "standard"]  # the paper's: paper at -0.1, ink at 1.175
    assert (-of_1998.mean / of_1998.std, (1 - of_1998.mean) / of_1998.std) == pytest.approx((-0.1, 1.175))
    for recipe in (row for row in RECIPES.values() if "cifar10" not in row.data and row is not of_1998):
        images = load_splits(dataclasses.replace(recipe, validation=0), mnist_folder).train.data
        if recipe.data == "digits":
            pixels = images / 16
        else:
            pixels = np.pad(images[:5000], ((0, 0), (2, 2), (2, 2))) / 255
        assert pixels.mean() == pytest.approx(recipe.mean, abs=0.003)
        assert pixels.std() == pytest.approx(recipe.std, abs=0.003)


@pytest.fixture
def mnist_folder():
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("TENSORGRAD_DATA") or root.parent / "shared" / "data")
    if not (folder / "mnist").is_dir() or not (folder / "fashion-mnist").is_dir():
        pytest.skip("MNIST and Fashion-MNIST are not here; name their folder by TENSORGRAD_DATA")
    return folder


def test_more_held_out_than_there_is():
    recipe = dataclasses.replace(find_recipe("lenet5", "digits"), validation=1437)
    with pytest.raises(ArgumentError, match="validation=1437: digits has 1437 training images"):
        load_splits(recipe)


# the folder of a run


def test_leftovers_go_but_nothing_else(tmp_path):
    for name in (*FILES, "notes.txt"):
        (tmp_path / name).write_text("old")
    folder = RunFolder(tmp_path)
    assert folder.holds_a_run()
    folder.prepare()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*FILES, "notes.txt"])
    folder.remove_leftovers()
    assert sorted(path.name for path in tmp_path.iterdir()) == [MODEL, "notes.txt"]


def test_a_new_folder_is_made_and_stays_empty(tmp_path):
    folder = RunFolder(tmp_path / "runs" / "new")
    folder.make()
    (folder / ".model.0123abcd.replacing.safetensors").write_text("of a run that was killed")
    folder.prepare()
    assert list(folder.path.iterdir()) == []
    assert not folder.holds_a_run()


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(OSError, match="cannot make the folder of the run") as caught:
            RunFolder(path).make()
        assert caught.value.filename == str(path)


# pictures


@pytest.fixture
def figures(monkeypatch):
    """The figures that were drawn, before they became pixels."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: pip install 'tapegrad[viz]'")
    from tensorgrad.train import pictures

    drawn = []
    save = pictures._save
    monkeypatch.setattr(pictures, "_save", lambda figure, path: (drawn.append(figure), save(figure, path)))
    return drawn


def png_size(path):
    content = Path(path).read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


def lines_of(axes):
    return {line.get_label(): list(map(tuple, line.get_xydata())) for line in axes.lines}


def test_curves_show_the_figures(tmp_path, figures):
    from tensorgrad.train.pictures import draw_curves

    history = [row(1, train_loss=2.0), row(2, validation_accuracy=0.5), row(3)]
    draw_curves(tmp_path / CURVES, history, "lenet5 on digits", kept=2, training="training (augmented)", least_loss=0.5)
    assert png_size(tmp_path / CURVES) == (1152, 528)
    (figure,) = figures
    losses, accuracies = figure.axes
    found = lines_of(losses)
    assert found["training (augmented)"] == [(1, 2.0), (2, 1.5), (3, 1.5)]
    assert found["validation"] == [(1, 1.25), (2, 1.25), (3, 1.25)]
    assert "the model kept (epoch 2)" in found
    assert "least loss that label smoothing allows" in found
    assert lines_of(accuracies)["validation"] == [(1, 75), (2, 50), (3, 75)]
    for axes in (losses, accuracies):
        assert axes.get_xlabel() and axes.get_ylabel() and axes.get_title()
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert len(figure.legends) == 1


def test_curves_without_validation_and_of_one_epoch(tmp_path, figures):
    from tensorgrad.train.pictures import draw_curves

    history = [row(1, validation_loss=None, validation_accuracy=None)]
    draw_curves(tmp_path / CURVES, history, "t", kept=1)
    assert set(lines_of(figures[0].axes[0])) == {"training"}
    assert [tick for tick in figures[0].axes[0].get_xticks() if 0.5 <= tick <= 1.5] == [1]


def test_the_sheet_shows_the_wrong_ones_surest_first(tmp_path, figures):
    from tensorgrad.train.pictures import draw_misclassified

    images = np.arange(4 * 8 * 8).reshape(4, 8, 8)
    probabilities = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.7, 0.1], [0.1, 0.0001, 0.9]])
    labels = np.array([1, 0, 1, 0])  # the third is right
    draw_misclassified(tmp_path / "m.png", images, labels, np.log(probabilities), ("zero", "one", "two"), "lenet5")
    (figure,) = figures
    assert [axes.get_title() for axes in figure.axes] == ["true: zero", "true: zero", "true: one"]
    assert [axes.get_xlabel() for axes in figure.axes] == [
        "taken for: two\n(90 % sure)",
        "taken for: one\n(80 % sure)",
        "taken for: zero\n(60 % sure)",
    ]
    for axes, index in zip(figure.axes, (3, 1, 0)):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[index])
    assert figure.get_suptitle() == "lenet5\n3 of 4 test images were classified wrongly"
    width, height = png_size(tmp_path / "m.png")
    assert width > 500 and height > 200


def test_the_sheet_of_many_and_of_none(tmp_path, figures):
    from tensorgrad.train.pictures import WRONG_SHOWN, draw_misclassified

    images, labels = np.zeros((2000, 8, 8)), np.zeros(2000, dtype=int)
    classes = ("zero", "one")
    draw_misclassified(tmp_path / "a.png", images, labels, np.tile([0.0, 1.0], (2000, 1)), classes, "t")
    draw_misclassified(tmp_path / "b.png", images, labels, np.tile([1.0, 0.0], (2000, 1)), classes, "t")
    assert len(figures[0].axes) == WRONG_SHOWN
    assert figures[0].get_suptitle() == (
        "t\n2,000 of 2,000 test images were classified wrongly; the 50 surest mistakes are shown"
    )
    assert figures[1].get_suptitle() == "t\nall 2,000 test images were classified rightly"
    assert figures[1].axes == []
