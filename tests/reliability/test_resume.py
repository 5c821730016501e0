"""A run that is killed, stopped or cut off goes on to the very same weights and figures, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny_job

import tensorgrad as tg
from tensorgrad.random import Generator
from tensorgrad.train import Checkpoints, Stopped

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
posix = pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")


@pytest.fixture(scope="module")
def expected():
    """The digest of the training that nothing interrupted, and without any checkpoint."""
    trainer, loader, check = tiny_job.build(Generator(11))
    trainer.fit(loader, tiny_job.EPOCHS, check)
    return tiny_job.digest(trainer)


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, HERE / "tiny_job.py", folder, *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "TENSORGRAD_FAST": "0"},
    )


@pytest.mark.parametrize("stop_at", [1, 6, 13, 24])
def test_a_run_stopped_after_a_step_goes_on_bit_for_bit(tmp_path, expected, stop_at):
    """In one process: a stop in the middle, at the end of an epoch, before its validation; then another trainer."""
    trainer, loader, check = tiny_job.build(Generator(11))
    checkpoints = Checkpoints(tmp_path / "c")

    class StopAt:
        def check(self):
            if trainer.steps_done == stop_at:
                raise Stopped(signal.SIGTERM)

    trainer.stop = StopAt()
    with pytest.raises(Stopped):
        trainer.fit(loader, tiny_job.EPOCHS, check, None, lambda: checkpoints.save(trainer.state(), trainer.steps_done))
    tg.manual_seed(999)  # whatever happened in between
    assert tiny_job.digest(tiny_job.run(tmp_path / "c")) == expected


@pytest.mark.parametrize("own", [False, True], ids=["passed over", "read and dropped"])
def test_batches_that_were_used_already_are_not_loaded_again(tmp_path, expected, own):
    """But by a loader whose iteration somebody wrote anew, which only that can tell."""

    class Own(type(tiny_job.build(Generator(11))[1])):
        def __iter__(self):
            yield from super().__iter__()

    class Counting:
        def __init__(self, data):
            self.data, self.asked = data, 0

        def __getitem__(self, index):
            self.asked += 1
            return self.data[index]

        def __len__(self):
            return len(self.data)

    def trained(stop_at, state=None):
        trainer, loader, check = tiny_job.build(Generator(11))
        data = Counting(loader.dataset)
        loader = (Own if own else type(loader))(data, batch_size=5, shuffle=True, generator=loader.generator)
        if state is not None:
            trainer.load_state(state)

        class StopAt:
            def check(self):
                if trainer.steps_done == stop_at:
                    raise Stopped(signal.SIGTERM)

        trainer.stop = StopAt()
        kept = []
        try:
            trainer.fit(loader, tiny_job.EPOCHS, check, None, lambda: kept.append(trainer.state()))
        except Stopped:
            pass
        return trainer, data.asked, kept[-1]

    steps, batch = 6, 5  # of an epoch; samples of a step
    _, asked, state = trained(2 * steps + 4)
    assert asked == (2 * steps + 4) * batch
    trainer, asked, _ = trained(None, state)
    assert tiny_job.digest(trainer) == expected
    assert asked == (steps * tiny_job.EPOCHS - 2 * steps - (0 if own else 4)) * batch


def test_a_finished_run_has_nothing_left_to_do(tmp_path, expected):
    assert tiny_job.digest(tiny_job.run(tmp_path / "c")) == expected
    assert tiny_job.digest(tiny_job.run(tmp_path / "c")) == expected


def test_a_damaged_checkpoint_is_passed_over_and_the_one_before_ends_the_same(tmp_path, expected):
    tiny_job.run(tmp_path / "c")
    newest = sorted((tmp_path / "c").iterdir())[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    told = []
    assert Checkpoints(tmp_path / "c", warn=told.append).load()["steps_done"] == 23
    assert len(told) == 1 and newest.name in told[0] and "damaged" in told[0]
    assert tiny_job.digest(tiny_job.run(tmp_path / "c")) == expected


def killed_until_done(folder, moments, expected, epochs=tiny_job.EPOCHS):
    """Kill the run at each of the moments in turn (seconds, or below 0 a call that touches a file), then let it end."""
    for moment in moments:
        process = start(folder, "--epochs", epochs, *(() if moment >= 0 else ("--die-at", -moment)))
        process.stdout.readline()
        if moment >= 0:
            time.sleep(moment)
            process.kill()
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL  # it was at work, and has not ended by itself
    process = start(folder, "--epochs", epochs)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.split()[-1] == expected
    left = [path.name for path in folder.iterdir()]
    assert len(left) == 2 and all(name.startswith("001-0000") for name in left), left


@posix
def test_killed_at_moments_of_saving(tmp_path, expected):
    """Three kills: within the first saving, between a renaming and its flushing, at the removing of an old one."""
    killed_until_done(tmp_path / "c", [-2, -6, -31], expected)


@posix
@pytest.mark.slow
def test_killed_at_twenty_random_moments(tmp_path):
    """Ten by the clock, ten while files are written; the moments are drawn anew every time and shown if it fails.

    The run is so long that it is killed twenty times before it could end, and each kill is seen to have hit.
    """
    epochs = 100
    trainer, loader, check = tiny_job.build(Generator(11), epochs)
    trainer.fit(loader, epochs, check)
    expected = tiny_job.digest(trainer)
    seed = random.SystemRandom().randrange(10**6)
    draw = random.Random(seed)
    moments = [draw.uniform(0, 0.2) for _ in range(10)] + [-draw.randrange(1, 60) for _ in range(10)]
    draw.shuffle(moments)
    print("seed", seed, moments)
    killed_until_done(tmp_path / "c", moments, expected, epochs)
