"""The command `tensorgrad` from end to end: what it prints, what it leaves, how it stops, how it complains."""

import csv
import dataclasses
import errno
import gzip
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import cli
from tensorgrad.data import Digits
from tensorgrad.data import transforms as T
from tensorgrad.io import load, load_model
from tensorgrad.train.job import Job, build_model
from tensorgrad.train.progress import Progress
from tensorgrad.train.recipes import find_recipe
from tensorgrad.train.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
LAST_LINE = re.compile(r"test accuracy: (\d+\.\d\d) % \((\d+) of (\d+)\)")
TRAIN = ("train", "lenet5", "--batch-size", "128")
ALL_FILES = [
    "checkpoints",
    "curves.png",
    "graph.dot",
    "graph.svg",
    "metrics.csv",
    "misclassified.png",
    "model.safetensors",
]


def start(*arguments, path=None, program=("-m", "tensorgrad"), **options):
    """The command as a process of its own, with Ctrl-C working, which a shell in the background may have switched off."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "OPENBLAS_NUM_THREADS": "1"}
    if path is not None:
        environment["PATH"] = path
    if os.name == "posix":
        options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen(
        [sys.executable, *program, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=options.pop("stdout", subprocess.PIPE),
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=environment,
        **options,
    )


def run(*arguments, **options):
    """Run the command to its end; returns status, stdout and stderr."""
    with start(*arguments, **options) as process:
        out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def names(folder):
    """What is in the folder of a run, but for the figures that are there only where TensorBoard is installed."""
    return sorted(path.name for path in folder.iterdir() if path.name != "tensorboard")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two epochs on the digits: (what was printed, the folder of the run)."""
    folder = tmp_path_factory.mktemp("runs") / "a"
    status, out, err = run(*TRAIN, "--epochs", 2, "--out", folder)
    assert (status, err) == (0, "")
    return out, folder


# a whole run


def test_a_pipe_gets_plain_lines_with_the_result_last(trained):
    out, folder = trained
    lines = out.splitlines()
    assert "\r" not in out and "\x1b" not in out
    assert lines[0].startswith(
        "lenet5 (61,706 parameters) on digits: 1,300 images to train on, 137 to validate, 360 to test"
    )
    epochs = [line for line in lines if line.startswith("epoch ")]
    pattern = r"epoch [12]/2  loss \d\.\d{4}  accuracy [ \d]\d\.\d\d %  validation [ \d]\d\.\d\d %  [\d,]+ images/s  \d:\d\d left"
    assert len(epochs) == 2
    assert all(re.fullmatch(pattern, line) for line in epochs)
    percent, correct, total = LAST_LINE.fullmatch(lines[-1]).groups()
    assert total == "360"
    assert percent == f"{100 * int(correct) / 360:.2f}"
    told = [line.split()[0] for line in lines if line.startswith("  ")]
    assert str(folder) in out
    assert sorted(set(told) - {"tensorboard"}) == [name for name in ALL_FILES if (folder / name).exists()]


def test_the_run_leaves_its_files(trained):
    _, folder = trained
    expected = set(ALL_FILES)
    if shutil.which("dot") is None:
        expected.remove("graph.svg")
    if importlib.util.find_spec("matplotlib") is None:
        expected -= {"curves.png", "misclassified.png"}
    assert set(names(folder)) == expected
    for name in expected - {"checkpoints"}:
        assert (folder / name).stat().st_size > 500 or name == "metrics.csv"
    assert names(folder / "checkpoints") == ["001-000000010.safetensors", "001-000000020.safetensors"]
    for name in expected & {"curves.png", "misclassified.png"}:
        content = (folder / name).read_bytes()
        assert content.startswith(b"\x89PNG") and content.endswith(b"IEND\xaeB`\x82")
    assert "conv2d" in (folder / "graph.dot").read_text()


def test_figures_for_tensorboard_are_there_where_it_is_installed(trained):
    out, folder = trained
    there = importlib.util.find_spec("tensorboard") is not None
    assert ("the same figures for TensorBoard" in out) is there
    assert len(list(folder.glob("tensorboard/events.out.tfevents.*"))) == there


def test_the_metrics_are_those_printed(trained):
    out, folder = trained
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row in rows:
        line = f"epoch {row['epoch']}/2  loss {float(row['train_loss']):.4f}  accuracy {100 * float(row['train_accuracy']):5.2f} %"
        assert f"{line}  validation {100 * float(row['validation_accuracy']):5.2f} %" in out
    assert float(rows[1]["train_loss"]) < float(rows[0]["train_loss"]) < 2.5
    assert float(rows[1]["learning_rate"]) < 0.003


def test_the_checkpoint_gives_the_accuracy_that_was_printed(trained):
    out, folder = trained
    recipe = find_recipe("lenet5", "digits")
    model = build_model(recipe)
    metadata = load_model(folder / "model.safetensors", model)
    data = Digits(train=False)
    prepare = T.Compose([T.ToDtype(np.float32, scale=16), T.Resize(32), T.Normalize(recipe.mean, recipe.std)])
    model.eval()
    with tg.no_grad():
        scores = model(tg.tensor(prepare(data.data[:, None])))
    correct = int((scores.argmax(1).numpy() == data.targets).sum())
    assert out.endswith(f"({correct} of 360)\n")
    assert 100 < correct < 360
    assert metadata["test"] == {"correct": correct, "images": 360}
    assert (metadata["epoch"], metadata["seed"], metadata["recipe"]["batch_size"]) == (2, 0, 128)
    assert metadata["versions"]["tensorgrad"] == tg.__version__


def test_the_same_seed_gives_the_same_model_and_another_one_another(trained, tmp_path, capsys):
    _, folder = trained
    first = load(folder / "model.safetensors").tensors
    for seed, same in ((0, True), (1, False)):
        arguments = [*TRAIN, "--epochs", "2", "--seed", str(seed), "--no-pictures", "--workers", "1"]
        assert cli.main([*arguments, "--out", str(tmp_path / "b")]) == 0
        again = load(tmp_path / "b" / "model.safetensors").tensors
        assert all(np.allclose(first[name], again[name], atol=1e-5) for name in first) is same
    assert names(tmp_path / "b") == ["checkpoints", "metrics.csv", "model.safetensors"]


def test_quiet_prints_the_result_only(tmp_path, capsys):
    assert cli.main([*TRAIN, "--epochs", "1", "--quiet", "--no-pictures", "--out", str(tmp_path)]) == 0
    captured = capsys.readouterr()
    assert LAST_LINE.fullmatch(captured.out.rstrip("\n"))
    assert captured.err == ""


def test_a_recipe_that_keeps_the_best_epoch(tmp_path, monkeypatch, capsys):
    recipe = dataclasses.replace(find_recipe("lenet5", "digits"), epochs=4, batch_size=128, keep="best")
    accuracies = iter([0.5, 0.7, 0.7, 0.6])
    evaluate = Trainer.evaluate

    def told(self, batches):
        """The accuracies that the test wants, on the validation images only."""
        result = evaluate(self, batches)
        if len(result.labels) != 137:
            return result
        wrong = round(137 * (1 - next(accuracies)))
        labels = result.predicted.copy()
        labels[:wrong] = (labels[:wrong] + 1) % 10
        return dataclasses.replace(result, labels=labels)

    monkeypatch.setattr(Trainer, "evaluate", told)
    job = Job(recipe, tmp_path, pictures=False)
    result = job.run()
    assert job.kept == 3  # of equals the later one
    best, last = load(tmp_path / "model.safetensors"), load(tmp_path / "last.safetensors")
    assert (best.metadata["epoch"], last.metadata["epoch"]) == (3, 4)
    name = "classifier.1.weight"
    assert not np.array_equal(best.tensors[name], last.tensors[name])
    assert best.metadata["test"]["correct"] == result.correct


# where something is missing


def test_without_dot_the_run_succeeds_and_says_how_to_get_the_picture(tmp_path):
    empty = tmp_path / "bin"
    empty.mkdir()
    status, out, err = run(*TRAIN, "--epochs", 1, "--out", tmp_path / "run", path=str(empty))
    assert (status, err) == (0, "")
    assert "graph.svg was not drawn, but graph.dot is there" in out
    assert "apt install graphviz" in out
    assert LAST_LINE.fullmatch(out.splitlines()[-1])
    assert "graph.dot" in names(tmp_path / "run")
    assert "graph.svg" not in names(tmp_path / "run")


def test_without_matplotlib_the_run_succeeds_and_says_what_to_install(tmp_path):
    hide = "import sys; sys.modules['matplotlib'] = None; from tensorgrad.cli import main; sys.exit(main())"
    status, out, err = run(*TRAIN, "--epochs", 1, "--out", tmp_path, program=("-c", hide))
    assert (status, err) == (0, "")
    for name in ("curves.png", "misclassified.png"):
        assert re.search(rf"^{name} was not drawn .*pip install 'tapegrad\[viz\]'", out, re.MULTILINE)
        assert name not in names(tmp_path)
    assert "graph.dot" in names(tmp_path)
    assert LAST_LINE.fullmatch(out.splitlines()[-1])


# a terminal


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are POSIX")
def test_a_terminal_gets_a_live_bar(tmp_path, monkeypatch):
    import pty

    ours, theirs = pty.openpty()
    received = []

    def read():
        try:
            while chunk := os.read(ours, 4096):
                received.append(chunk)
        except OSError:  # Linux's way to say that nobody writes any more
            pass

    monkeypatch.setenv("TERM", "xterm")
    try:
        with start(*TRAIN, "--epochs", 2, "--no-pictures", "--out", tmp_path, stdout=theirs) as process:
            os.close(theirs)
            reader = threading.Thread(target=read)
            reader.start()
            assert process.wait(timeout=120) == 0
            reader.join(timeout=10)
    finally:
        os.close(ours)
    text = b"".join(received).decode()
    live = [part for part in re.split(r"[\r\n]+", text) if "━" in part or "─" in part]
    assert live
    assert all(
        re.search(r"epoch [12]/2 .*loss \d\.\d+  accuracy .* %  [\d,]+ images/s  \d:\d\d left", part) for part in live
    )
    assert LAST_LINE.fullmatch(text.rstrip().splitlines()[-1].strip())


# stopping


def stopped_by(number, folder, *more):
    """Start a long training, send it the signal in its third epoch; returns status, stdout and stderr."""
    with start(*TRAIN, "--epochs", 1000, "--out", folder, *more) as process:
        for line in process.stdout:
            if line.startswith("epoch    2/1000"):
                break
        else:
            pytest.fail(f"it never came to the second epoch: {process.stderr.read()}")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.skipif(os.name != "posix", reason="signals to other processes are POSIX")
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_stops_cleanly_and_keeps_the_last_epoch(tmp_path, name, status):
    got, out, err = stopped_by(getattr(signal, name), tmp_path)
    assert got == status
    with open(tmp_path / "metrics.csv", newline="") as file:
        epochs = [int(row["epoch"]) for row in csv.DictReader(file)]
    kept = epochs[-1]
    assert epochs == list(range(1, kept + 1)) and kept >= 2
    model = tmp_path / "model.safetensors"
    assert re.fullmatch(
        rf"tensorgrad: stopped by {name} in epoch {kept + 1} of 1000; {re.escape(str(model))} holds the model of epoch "
        rf"{kept}; --resume goes on after step \d+\n",
        err,
    )
    assert "test accuracy" not in out
    assert names(tmp_path) == ["checkpoints", "metrics.csv", "model.safetensors"]  # nothing half-written
    metadata = load_model(model, build_model(find_recipe("lenet5", "digits")))
    assert metadata["epoch"] == kept
    assert metadata["metrics"]["epoch"] == kept


def test_stopped_before_the_first_epoch_is_complete_leaves_an_earlier_run_alone(tmp_path, monkeypatch, capsys):
    for name in ("model.safetensors", "curves.png", "metrics.csv"):
        (tmp_path / name).write_text("of an earlier run")
    monkeypatch.setattr(Progress, "update", lambda *_: signal.raise_signal(signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.main([*TRAIN, "--out", str(tmp_path)]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    captured = capsys.readouterr()
    assert f"{tmp_path} holds an earlier run, which gives way when the first epoch is complete" in captured.out
    assert captured.err.endswith(
        f"in epoch 1 of 60; no epoch was complete, and what was in {tmp_path} is unchanged; --resume goes on after step 1\n"
    )
    assert {path.read_text() for path in tmp_path.iterdir() if path.is_file()} == {"of an earlier run"}
    assert names(tmp_path / "checkpoints") == ["001-000000001.safetensors"]


def test_stopped_after_the_last_epoch_there_is_no_traceback_either(tmp_path, monkeypatch, capsys):
    """The signal comes while the last epoch is saved, when nobody asks for it any more."""
    save = Job._save
    monkeypatch.setattr(Job, "_save", lambda *given: (save(*given), signal.raise_signal(signal.SIGINT)))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.main([*TRAIN, "--epochs", "1", "--out", str(tmp_path)]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    model = tmp_path / "model.safetensors"
    assert capsys.readouterr().err == (
        f"tensorgrad: stopped by SIGINT after epoch 1, the last one; {model} holds the model of epoch 1; "
        "--resume goes on after step 10\n"
    )
    assert names(tmp_path) == ["checkpoints", "metrics.csv", "model.safetensors"]


def test_a_disk_that_fills_up_leaves_the_model_of_the_epoch_before(tmp_path, monkeypatch, capsys):
    fsync, calls = os.fsync, []

    def filling_up(handle):
        calls.append(handle)
        if len(calls) > 8:  # a file and its folder for each of: the trial, the model, the metrics, the checkpoint
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", filling_up)
        text = complaint(capsys, *TRAIN, "--epochs", "3", "--out", tmp_path)
    model = tmp_path / "model.safetensors"
    assert text == (
        f"tensorgrad: {model}: cannot write the file: No space left on device; the file that was there is unchanged; "
        "free some space or choose another folder\n"
    )
    assert load(model).metadata["epoch"] == 1
    assert names(tmp_path) == ["checkpoints", "metrics.csv", "model.safetensors"]


def test_pictures_of_an_earlier_run_go_when_its_model_goes(tmp_path, capsys):
    for name in ("model.safetensors", "last.safetensors", "curves.png", "metrics.csv", "notes.txt"):
        (tmp_path / name).write_text("of an earlier run")
    assert cli.main([*TRAIN, "--epochs", "1", "--no-pictures", "--out", str(tmp_path)]) == 0
    assert names(tmp_path) == ["checkpoints", "metrics.csv", "model.safetensors", "notes.txt"]
    assert load(tmp_path / "model.safetensors").metadata["epoch"] == 1


@pytest.mark.skipif(os.name != "posix", reason="the other end of a pipe goes away otherwise on Windows")
def test_a_reader_that_leaves_is_no_error_of_ours(tmp_path):
    with start(*TRAIN, "--epochs", 3, "--out", tmp_path) as process:
        process.stdout.readline()
        process.stdout.close()
        error = process.stderr.read()
        assert process.wait(timeout=60) == 141
    assert error == ""


# help


def test_help_teaches():
    status, out, _ = run("--help")
    assert status == 0
    for text in ("train", "graph", "--version", "tensorgrad train lenet5 --data mnist"):
        assert text in out
    status, out, _ = run("train", "--help")
    assert status == 0
    for text in ("--data", "--epochs", "--device", "--out", "model.safetensors", "Ctrl-C", "test accuracy: 99.17 %"):
        assert text in out


def test_every_example_of_the_help_is_a_command_that_is_understood(capsys):
    parser = cli.parser()
    examples = re.findall(
        r"^  tensorgrad (.+?)(?:   .*)?$",
        cli.OVERVIEW + cli.TRAINING + cli.graph_command.EPILOG + cli.summary_command.EPILOG + cli.warmup_command.EPILOG,
        re.MULTILINE,
    )
    assert len(examples) >= 8
    for example in examples:
        parser.parse_args(example.split("|")[0].split())


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="Numba is not installed: `run.py setup fast`")
@pytest.mark.parametrize("quiet", [True, False])
def test_warmup_shows_what_it_does(quiet, capsys, monkeypatch):
    """Everything is compiled, and a line says so, with others before it that say how far it is; a second time it is quick."""
    from tensorgrad.backend import compiled

    monkeypatch.setattr(compiled, "numba_works", lambda: True)  # whatever TENSORGRAD_FAST says
    assert cli.main(["warmup", "--quiet"] if quiet else ["warmup"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    count = len(compiled.kernels_of_all())
    assert re.fullmatch(rf"{count} kernels ready after \d+\.\d s", last)
    assert all(kernel.compiled for kernel in compiled.kernels_of_all())
    assert len(lines) == (0 if quiet else 10)
    assert quiet or (lines[-1].startswith(f"{count}/{count} numba_") and re.match(rf"\d+/{count} numba_", lines[0]))
    assert compiled.warmup() < 0.5


def test_warmup_on_a_terminal_moves_a_bar(capsys):
    from tensorgrad.commands import warmup

    for done in (1, 2, 4):
        warmup._on_terminal(done, 4, "numba_rows.total")
    *moves, last = capsys.readouterr().out.split("\r")
    assert moves[1].startswith("[#######.......................] 1/4 numba_rows.total") and not moves[1].endswith("\n")
    assert last.startswith(f"[{'#' * 30}] 4/4") and last.endswith("\n")


def test_warmup_without_compiled_kernels_says_why(capsys, monkeypatch):
    from tensorgrad.backend import compiled

    monkeypatch.setattr(compiled, "numba_works", lambda: False)
    monkeypatch.setattr(compiled, "why_not", lambda: "TENSORGRAD_FAST is 0")
    assert cli.main(["warmup"]) == 2
    assert "nothing to compile: TENSORGRAD_FAST is 0" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"tensorgrad {tg.__version__}\n"


def test_without_a_command(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert caught.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


# bad input: one line, status 2, nothing written


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["train", "lenet6"], "invalid choice: 'lenet6'"),
        (["train", "lenet5", "--data", "letters"], "invalid choice: 'letters'"),
        (["train", "lenet5", "--epochs", "-3"], "--epochs: got '-3'; it takes a whole number above 0"),
        (["train", "lenet5", "--epochs", "0"], "--epochs: got '0'; it takes a whole number above 0"),
        (["train", "lenet5", "--batch-size", "many"], "--batch-size: got 'many'; it takes a whole number above 0"),
        (["train", "lenet5", "--lr", "nan"], "--lr: got 'nan'; it takes a number above 0"),
        (["train", "lenet5", "--lr", "inf"], "--lr: got 'inf'; it takes a number above 0"),
        (["train", "lenet5", "--seed", "-1"], "--seed: got '-1'; it takes a whole number, 0 or more"),
        (["train", "resnet20", "--recipe", "mine"], "invalid choice: 'mine'"),
        (["graph", "lenet6"], "invalid choice: 'lenet6'"),
        (["dance"], "invalid choice: 'dance'"),
    ],
)
def test_arguments_that_cannot_be(arguments, text, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert text in capsys.readouterr().err


def complaint(capsys, *arguments):
    """Run, expect status 2 and one line of complaint; returns it."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("tensorgrad: ")
    assert "Traceback" not in captured.err
    assert "test accuracy" not in captured.out
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["lenet5", "--recipe", "paper"],
            "no recipe for 'lenet5' of the name 'paper'; there are lenet5 on digits (standard)",
        ),
        (["lenet5", "--data", "cifar10"], "no recipe for 'lenet5' on 'cifar10'; there are lenet5 on digits"),
        (["resnet110", "--data", "cifar10", "--recipe", "short"], "there are resnet110 on cifar10 (paper)"),
    ],
)
def test_recipes_that_are_not_there(arguments, text, tmp_path, capsys):
    assert text in complaint(capsys, "train", *arguments, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_options_choose_a_recipe_and_change_it():
    def chosen(*arguments):
        return cli._recipe(cli.parser().parse_args(["train", "resnet20", *arguments]))

    assert chosen() == find_recipe("resnet20", "cifar10", "paper")
    assert chosen("--data", "cifar10-jpeg", "--recipe", "short") == find_recipe("resnet20", "cifar10-jpeg", "short")
    changed = chosen(
        "--recipe", "short", "--epochs", "3", "--batch-size", "64", "--lr", "0.05", "--precision", "bfloat16"
    )
    assert (changed.epochs, changed.batch_size, changed.precision) == (3, 64, "bfloat16")
    assert changed.optimizer_arguments == {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}


def test_a_device_that_is_not_there(tmp_path, capsys):
    text = complaint(capsys, *TRAIN, "--device", "tpu", "--out", tmp_path / "run")
    assert "device: got 'tpu'" in text
    assert not (tmp_path / "run").exists()


def test_cuda_without_a_gpu(tmp_path, capsys):
    if importlib.util.find_spec("cupy") is not None:
        import cupy

        if cupy.cuda.is_available():
            pytest.skip("there is a GPU here")
    text = complaint(capsys, *TRAIN, "--device", "cuda", "--out", tmp_path / "run")
    assert "device 'cuda'" in text
    assert text.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    text = complaint(capsys, *TRAIN, "--out", tmp_path / "file")
    assert f"{tmp_path / 'file'}: cannot make the folder of the run: File exists; choose another" in text


def test_a_folder_that_may_not_be_written_to(tmp_path, capsys, monkeypatch):
    """Rights do not bind the administrator, as whom the suite may run, so the refusal is put on."""
    real = Path.touch

    def refused(self, *arguments, **options):
        if self.parent == tmp_path:
            raise PermissionError(13, "Permission denied", str(self))
        real(self, *arguments, **options)

    monkeypatch.setattr(Path, "touch", refused)
    text = complaint(capsys, *TRAIN, "--out", tmp_path)
    assert "cannot write the file: Permission denied; choose a folder that you may write to" in text
    assert names(tmp_path) == []


def test_damaged_data(tmp_path, capsys):
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(1000)))
    text = complaint(capsys, *TRAIN, "--data", "mnist", "--data-dir", tmp_path / "data", "--out", tmp_path / "run")
    assert "train-images-idx3-ubyte.gz" in text
    assert text.count("\n") == 1
    assert names(tmp_path / "run") == []


def test_a_loss_that_is_not_finite(tmp_path):
    status, _, err = run(*TRAIN, "--lr", "1e30", "--out", tmp_path)
    assert status == 2
    assert re.fullmatch(
        r"tensorgrad: the loss became (nan|-?inf) in step \d+ of \d+ of epoch 1, at a learning rate of \S+: "
        rf"(.*); a lower rate may help; the batch is kept in {re.escape(str(tmp_path))}/not-finite.safetensors; "
        rf"no epoch was complete, and what was in {re.escape(str(tmp_path))} is unchanged\n",
        err,
    )
    assert names(tmp_path) == ["not-finite.safetensors"]


def test_developers_may_see_the_traceback(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot make the folder"):
        cli.main([*TRAIN, "--traceback", "--out", str(tmp_path / "file")])


def test_our_own_mistakes_are_not_hidden(tmp_path, monkeypatch):
    def broken(self):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Job, "run", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main([*TRAIN, "--out", str(tmp_path)])


# graphs


def test_graph_as_text(tmp_path, capsys):
    assert cli.main(["graph", "lenet5", "-o", str(tmp_path / "x.dot")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'x.dot'}\n"
    text = (tmp_path / "x.dot").read_text()
    assert text.startswith("digraph")
    for operation in ("conv2d", "relu", "max_pool2d"):
        assert operation in text


def test_graph_with_an_unknown_ending(tmp_path, capsys):
    text = complaint(capsys, "graph", "lenet5", "-o", tmp_path / "x.gif")
    assert ".gif" in text and ".svg" in text
    assert names(tmp_path) == []


def test_graph_without_dot_says_how_to_get_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    text = complaint(capsys, "graph", "lenet5", "-o", tmp_path / "x.svg")
    assert "apt install graphviz" in text
    assert names(tmp_path) == []


def test_graph_as_a_picture(tmp_path, capsys):
    if shutil.which("dot") is None:
        pytest.skip("Graphviz's program `dot` is not installed")
    assert cli.main(["graph", "lenet5", "-o", str(tmp_path / "x.svg")]) == 0
    assert "<svg" in (tmp_path / "x.svg").read_text()
