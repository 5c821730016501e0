"""Every example runs with --quick, prints its number last, and the number is good."""

import functools
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# example -> what the last line says, the least that the number in it may be, and the most where there is one
NUMBERS = {
    "train_lenet.py": (r"test accuracy: (\d+\.\d\d) % \(\d+ of 360\)", 95.0),
    "mnist.py": (r"both together: test accuracy (\d+\.\d\d) %", 93.0),
    "fashion_mnist.py": (r"test accuracy: (\d+\.\d\d) %", 90.0),
    "cifar10.py": (r"test accuracy: (\d+\.\d\d) %", 85.0),
    "perceptron.py": (r"test accuracy of the worse: (\d+\.\d\d) %", 90.0),
    "tcn.py": (r"test accuracy: (\d+\.\d\d) % \(\d+ of 360\)", 80.0),
    "gcn.py": (r"right: (\d+) of 32 members whose side was not told", 30.0),
    "fine_tune.py": (r"5 to 9, fine-tuned: test accuracy (\d+\.\d\d) %", 78.0),
    "kernels.py": (r"pixels where edge strength tells outline from inside: (\d+\.\d\d) %", 99.5),
    # half, by counting; one of 20,000 draws lies outside of 50 +- 1.5 less often than once in ten thousand
    "pooling_invariance.py": (r"after a shift .* of the max-pooled outputs: (\d+\.\d\d) %", 48.5, 51.5),
    "identity_blocks.py": (r"largest difference: (\S+)", 0.0, 1e-5),  # plain: the kernels' rounding; residual: none
    "degradation.py": (r"the deeper network's .*: plain \S+, residual ([+-]\d+\.\d\d)", -30.0, 30.0),
    "chart.py": (r"the most accurate of 4: mobilenet_v2 with (\d+\.\d+) %", 71.878, 71.878),
    # AlexNet's ablation of four layers, GoogLeNet's size (two), VGG-16's memory (two), the bottlenecked Inception module
    "lectures.py": (r"52 numbers; of these differ from the notes: (\d+)", 6.0, 6.0),
}


def test_every_example_is_tried():
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == set(NUMBERS)


@functools.cache
def run(example, *options):
    """What a quick run of an example prints; an example is run once, however many tests read it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(ROOT / "examples" / example), "--quick", *options],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,  # of what hangs; where many programs run and no kernel is compiled yet, minutes pass
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert os.listdir(folder) == []
    return done.stdout


@pytest.mark.parametrize("example", NUMBERS)
def test_example(example):
    printed = run(example)
    pattern, least, *most = NUMBERS[example]
    found = re.fullmatch(pattern, printed.splitlines()[-1])
    assert found, printed
    assert float(found[1]) >= least
    assert not most or float(found[1]) <= most[0]


def test_the_lectures_numbers_that_differ():
    """Those that the notes have wrong or round, and no other."""
    differing = re.findall(r"^  (\S.*?)  +\S+   the notes say (\S+): \S+$", run("lectures.py"), re.MULTILINE)
    assert dict(differing) == {
        "AlexNet without conv3, conv4, FC6, FC7, millions fewer": "50",
        "GoogLeNet, without its heads": "5,000,000",
        "GoogLeNet has fewer than AlexNet, times": "12",
        "VGG-16, values of one picture in millions": "24",
        "VGG-16, megabytes of one picture": "96",
        "with bottlenecks of 64: operations": "353,000,000",
    }


def test_fine_tuning_beats_starting_from_nothing():
    """What examples/README.md says of it, by the lines that the example prints."""
    done = run("fine_tune.py")
    found = dict(
        re.findall(r"^5 to 9, (?:5 pictures of each, )?(.*?): (?:test accuracy )?(\S+) %$", done, re.MULTILINE)
    )
    tuned = re.search(r"fine-tuned: test accuracy (\S+) %", done)[1]
    assert float(tuned) > float(found["from nothing"])


def test_the_degradation_experiment_trains_every_network():
    lines = run("degradation.py").splitlines()
    errors = {line.split()[0]: line for line in lines if "error on training pictures" in line}
    assert list(errors) == ["plain-8", "plain-14", "resnet-8", "resnet-14"]
    # better than guessing among ten
    assert all(float(re.search(r"test pictures +(\S+) %", line)[1]) < 85 for line in errors.values())


def test_what_the_examples_on_real_data_print_besides():
    """Each network by itself, every class, and the mirror images, which do digits no good, but are far from guessing."""
    assert re.findall(r"^(\w+): test accuracy", run("mnist.py"), re.MULTILINE) == ["lenet5", "small_cnn"]
    shares = [float(share) for share in re.findall(r"^\d +(\S+) % right", run("fashion_mnist.py"), re.MULTILINE)]
    assert len(shares) == 10 and min(shares) > 50
    mirrored = re.search(r"pictures and mirror images, averaged: (\S+) %", run("cifar10.py"))
    assert float(mirrored[1]) > 60


def test_residual_identity_blocks_change_nothing_at_all():
    assert "resnet20 with identity blocks, 32 layers: largest difference of a score 0.0\n" in run("identity_blocks.py")


def test_the_chart_has_the_counts_of_the_docs():
    text = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+ \| [\d,]+) \|", text, re.MULTILINE))
    rows = re.findall(r"^(\w+) +[\d.]+ +([\d,]+) +([\d,]+) +[\d.]+$", run("chart.py"), re.MULTILINE)
    assert len(rows) == 4
    for name, parameters, work in rows:
        assert documented[name] == f"{parameters} | {work}", name


def test_kernels_draws_a_sheet(tmp_path):
    pytest.importorskip("matplotlib")
    run("kernels.py", "--out", str(tmp_path / "kernels.png"))
    assert (tmp_path / "kernels.png").read_bytes().startswith(b"\x89PNG")


def test_the_training_loop_has_under_forty_lines_of_code():
    source = (ROOT / "examples" / "train_lenet.py").read_text()
    code = source.split('"""', 2)[2]
    lines = [line for line in code.splitlines() if line.strip() and not line.strip().startswith("#")]
    assert len(lines) < 40
