#!/usr/bin/env python3
"""Set up tensorgrad in an environment of its own and run it; nothing else than Python 3.10 or later is needed.

usage:
  python3 run.py [--verbose] [OPTIONS]              train LeNet-5 on the 1,797 real handwritten digits in the package
  python3 run.py [--verbose] test [PYTEST OPTIONS]  run the test suite
  python3 run.py [--verbose] setup [EXTRA ...]      only install, with these extras of setup.cfg too: dev, oracle, ...
  python3 run.py --help                             show this text

OPTIONS are those of `tensorgrad train lenet5`, PYTEST OPTIONS those of pytest:
  python3 run.py --epochs 3                         three epochs only
  python3 run.py --data mnist                       train on MNIST instead, downloaded at the first use
  python3 run.py --epochs 3 --help                  every option of the training
  python3 run.py test tests/test_house.py -x        one file, stopping at the first failure

The first start makes the folder .venv beside this file and installs the project and what it needs into it with pip;
nothing outside that folder is touched. Later starts install again only after setup.cfg, pyproject.toml or the
version of Python has changed. --verbose shows what pip says. pip's own settings (PIP_INDEX_URL, PIP_PROXY, ...) hold.
To start afresh, delete .venv.
"""

# This file must stay readable by Python 3.6, so that an old Python can say that it is too old.
import hashlib
import json
import os
import shutil
import subprocess
import sys

OLDEST = (3, 10)


def advice_on_old_python(version, executable, which=shutil.which):
    """What to tell someone whose Python is too old: name a newer one that is installed, or say where to get one."""
    advice = "tensorgrad needs Python {}.{} or later, but {} is Python {}.{}.".format(*OLDEST, executable, *version[:2])
    for minor in range(19, OLDEST[1] - 1, -1):
        name = f"python3.{minor}"
        if which(name):
            return advice + f"\nThis machine has a newer one: run `{name} run.py` instead."
    return advice + "\nInstall a newer one, from your system's packages or python.org, and run this file with it."


if sys.version_info < OLDEST:
    sys.exit(advice_on_old_python(tuple(sys.version_info), sys.executable))

import configparser  # noqa: E402
import contextlib  # noqa: E402
from collections.abc import Iterable, Iterator, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, NamedTuple  # noqa: E402

ROOT = Path(__file__).resolve().parent
TRAIN_EXTRAS = ("fast", "viz")
TEST_EXTRAS = ("fast", "viz", "test")
IN_PARALLEL = (
    "-n",
    "auto",
    "--maxprocesses",
    "8",
)  # a process for each core; an option -n of the user's own comes later and wins
OLDEST_PIP = (21, 3)  # the first that installs a project without setup.py in editable form

# Inside an environment sys.executable is that environment's link, which may be the very one to rebuild.
HOST_PYTHON = getattr(sys, "_base_executable", None) or sys.executable

# Where pip installs is for this file to say; every other setting of pip's is the user's.
PIP_PLACES = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_PYTHON")

# What pip prints when it finds nobody at the other end of the line.
SIGNS_OF_NO_INDEX = (
    "Temporary failure in name resolution",
    "Name or service not known",
    "nodename nor servname provided",
    "getaddrinfo failed",
    "Failed to establish a new connection",
    "NewConnectionError",
    "NameResolutionError",
    "Network is unreachable",
    "Connection refused",
    "Connection aborted",
    "Connection reset",
    "ConnectTimeoutError",
    "ConnectionError",
    "ReadTimeoutError",
    "Cannot connect to proxy",
    "Max retries exceeded",
)


class SetupError(Exception):
    """The environment cannot be set up; the message says why and what to do about it."""


class Request(NamedTuple):
    """What the command line asks for: `command` is what the environment's Python is to be given, if anything."""

    help: bool
    verbose: bool
    extras: tuple[str, ...]
    command: list[str]
    folder: Path


class Answer(NamedTuple):
    """How a program that was run ended, and all that it printed."""

    ok: bool
    text: str


def parse(arguments: Sequence[str]) -> Request:
    """Read the command line. Options of run.py itself come first; all the rest belongs to the program it starts.

    >>> parse(["--epochs", "3"]).command
    ['-m', 'tensorgrad.cli', 'train', 'lenet5', '--data', 'digits', '--epochs', '3']
    >>> parse(["test", "-x"]).command
    ['-m', 'pytest', '-n', 'auto', '--maxprocesses', '8', '-x']
    """
    rest = list(arguments)
    wants_help = verbose = False
    while rest and rest[0] in ("-h", "--help", "--verbose"):
        if rest.pop(0) == "--verbose":
            verbose = True
        else:
            wants_help = True
    if rest and rest[0] == "setup":
        return Request(wants_help, verbose, (*TEST_EXTRAS, *rest[1:]), [], ROOT)
    if rest and rest[0] == "test":
        return Request(wants_help, verbose, TEST_EXTRAS, ["-m", "pytest", *IN_PARALLEL, *rest[1:]], ROOT)
    training = ["-m", "tensorgrad.cli", "train", "lenet5", "--data", "digits", *rest]
    # paths among the options mean what they mean where the user stands
    return Request(wants_help, verbose, TRAIN_EXTRAS, training, Path.cwd())


def say(text: str) -> None:
    """Print a line about the set-up; to stderr, so that the output proper stays that of the program started."""
    print("run.py: " + text, file=sys.stderr, flush=True)


def run(command: Sequence[str | Path], show: bool = False) -> Answer:
    """Run a program in the root folder to its end; `show` passes its lines on as they come."""
    environment = {name: value for name, value in os.environ.items() if name not in PIP_PLACES}
    # both would only keep pip from installing into .venv
    environment.update(PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0")
    lines = []
    try:
        with subprocess.Popen(
            [str(part) for part in command],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as program:
            assert program.stdout is not None
            try:
                for line in program.stdout:
                    lines.append(line)
                    if show:
                        sys.stderr.write(line)
            except KeyboardInterrupt:
                program.terminate()
                raise
    except OSError as error:  # it is not there, or no program
        return Answer(False, str(error))
    return Answer(program.returncode == 0, "".join(lines))


def index_is_unreachable(pip_output: str) -> bool:
    """Whether pip failed because it could not reach its package index."""
    return any(sign in pip_output for sign in SIGNS_OF_NO_INDEX)


def fingerprint(root: Path, version: Sequence[int] = sys.version_info[:2]) -> str:
    """A digest of all that an installation depends on: when it changes, the installation is out of date."""
    digest = hashlib.sha256(b"Python %d.%d" % (version[0], version[1]))
    for name in ("setup.cfg", "pyproject.toml"):
        content = (root / name).read_bytes()
        digest.update(b"\n%s %d\n" % (name.encode(), len(content)))
        digest.update(content)
    return digest.hexdigest()


def setup_cfg(root: Path) -> configparser.RawConfigParser:
    """The project's description, read."""
    config = configparser.RawConfigParser()
    config.read_string((root / "setup.cfg").read_text(encoding="utf-8"))
    return config


def requirements(root: Path, extras: Iterable[str]) -> list[str]:
    """The requirements that setup.cfg lists for the project and these extras."""
    config = setup_cfg(root)
    lists = [config["options"]["install_requires"]]
    lists += [config["options.extras_require"][extra] for extra in extras]
    return [line for text in lists for line in text.split("\n") if line.strip()]


class Environment:
    """The virtual environment in `folder`, with a stamp in it that says what is installed.

    The stamp is a small JSON file: `state` is "installing" or "ready", `root` the project's folder, `fingerprint`
    what was current then, `extras` those asked for (`fast` also where it could not be had). As it says "installing"
    from before pip starts until pip has succeeded or failed, an interrupted installation is known as one.
    """

    def __init__(self, folder: Path, windows: bool = os.name == "nt") -> None:
        self.folder = folder
        self.python = folder / "Scripts" / "python.exe" if windows else folder / "bin" / "python"
        self.stamp = folder / "tensorgrad-installed.json"

    def read_stamp(self) -> dict[str, Any]:
        """What the stamp says; an empty dictionary if there is none that can be read."""
        try:
            stamp = json.loads(self.stamp.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stamp if isinstance(stamp, dict) else {}

    def write_stamp(self, stamp: dict[str, Any]) -> None:
        """Replace the stamp in one step, so that it is never read half-written; an empty one is removed."""
        if not stamp:
            self.stamp.unlink(missing_ok=True)
            return
        draft = self.stamp.with_suffix(".draft")
        draft.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
        os.replace(draft, self.stamp)

    def is_ready(self, digest: str, extras: Iterable[str]) -> bool:
        """Whether nothing needs to be installed: the quick look at each start, which runs no program."""
        stamp = self.read_stamp()
        return (
            stamp.get("state") == "ready"
            and stamp.get("root") == str(ROOT)
            and stamp.get("fingerprint") == digest
            and set(extras).issubset(stamp.get("extras", []))
            and self.python.exists()
        )

    def why_rebuild(self) -> str | None:
        """Why the environment that is there cannot be used, or None if it can."""
        stamp = self.read_stamp()
        if stamp.get("state") == "installing":
            return "its installation was interrupted"
        if stamp.get("root", str(ROOT)) != str(ROOT):
            return "the project has moved since"
        made_by = run([self.python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        if not made_by.ok:
            return "its Python does not run"
        if made_by.text.strip() != "{}.{}".format(*sys.version_info[:2]):
            return "it was made by Python {}, this is Python {}.{}".format(made_by.text.strip(), *sys.version_info[:2])
        return None

    def make(self) -> None:
        """Make the environment, without pip, unless it is there and works."""
        if os.path.lexists(self.folder):
            reason = self.why_rebuild()
            if reason is None:
                return
            say(f"making {self.folder.name} anew: {reason}")
            if self.folder.is_dir() and not self.folder.is_symlink():
                shutil.rmtree(self.folder)
            else:
                self.folder.unlink()
        else:
            say("making {} with Python {}.{}.{}".format(self.folder.name, *sys.version_info[:3]))
        # pip comes later: with it, this step fails where the system lacks ensurepip
        made = run([HOST_PYTHON, "-m", "venv", "--without-pip", self.folder])
        if not made.ok:
            advice = "\n" + how_to_get_pip() if "No module named" in made.text else ""
            raise SetupError(f"cannot make {self.folder}:\n{made.text.strip()}{advice}")

    def pip_version(self) -> tuple[int, ...]:
        """The version of the environment's pip, (0,) if it has none."""
        answer = run([self.python, "-c", "import pip; print(pip.__version__)"])
        if not answer.ok:
            return (0,)
        return tuple(int(part) for part in answer.text.split(".")[:2] if part.isdigit())

    def provide_pip(self, show: bool) -> None:
        """Give the environment a pip: Python's bundled one, or one fetched by the pip of the system's Python."""
        if self.pip_version() == (0,):
            run([self.python, "-m", "ensurepip", "--default-pip"], show)
        version = self.pip_version()
        if version >= OLDEST_PIP:
            return
        if version != (0,):
            fetched = run([self.python, "-m", "pip", "install", "--upgrade", "pip"], show)
        elif not run([HOST_PYTHON, "-m", "pip", "--version"]).ok:
            raise SetupError(f"{HOST_PYTHON} has neither ensurepip nor pip to install with.\n{how_to_get_pip()}")
        else:
            # --target is older than --python, and allowed where pip guards the system's own folders
            place = run([self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]).text.strip()
            fetched = run([HOST_PYTHON, "-m", "pip", "install", "--upgrade", "--target", place, "pip"], show)
        if not fetched.ok:
            raise failure("install pip", fetched, show)

    def pip_install(self, arguments: Sequence[str], show: bool) -> Answer:
        return run([self.python, "-m", "pip", "install", "--disable-pip-version-check", *arguments], show)

    def install(self, extras: Sequence[str], show: bool) -> bool:
        """Install the project, editable, with these extras, and without `fast` where that one cannot be had.

        Returns whether the matter is settled; it is not when something is missing that another start may get.
        """
        without_fast = tuple(extra for extra in extras if extra != "fast")
        # compiling LLVM for want of a wheel would take an hour
        wheels_only = ("--only-binary", "numba,llvmlite")
        answer = self.pip_install([*wheels_only, "--editable", project_with(extras)], show)
        if answer.ok:
            return True

        if index_is_unreachable(answer.text):
            for wanted in (tuple(extras), without_fast):
                if self.has_already(wanted):
                    say("the package index cannot be reached, but all that is needed is here already: going on")
                    return wanted == tuple(extras)
        elif self.pip_install(["--editable", project_with(without_fast)], show).ok:
            say("Numba (the extra `fast`) cannot be installed here: going on with NumPy's kernels, which are slower")
            return True
        raise failure("install the project", answer, show)

    def has_already(self, extras: Sequence[str]) -> bool:
        """Whether the project and all it requires can be had without the package index."""
        # isolated (-I), or the project's own folder would count as an installation
        look = "import importlib.metadata; importlib.metadata.distribution('tapegrad')"
        return (
            run([self.python, "-I", "-c", look]).ok
            and self.pip_install(["--no-index", *requirements(ROOT, extras)], show=False).ok
        )

    def prepare(self, extras: Sequence[str], show: bool = False) -> None:
        """Bring the environment to where it has the project with these extras; do nothing if it has."""
        known = setup_cfg(ROOT)["options.extras_require"]
        for extra in extras:
            if extra not in known:
                raise SetupError(f"setup.cfg has no extra {extra!r}; it has {', '.join(known)}.")
        digest = fingerprint(ROOT)
        if self.is_ready(digest, extras):
            return
        with one_at_a_time(self.folder.parent):
            if not self.is_ready(digest, extras):  # the one that was waited for may have done it
                self._prepare(digest, extras, show)

    def _prepare(self, digest: str, extras: Sequence[str], show: bool) -> None:
        self.make()
        before = self.read_stamp()
        self.write_stamp({**before, "state": "installing", "root": str(ROOT)})
        try:
            self.provide_pip(show)
            say(f"installing the project with {', '.join(extras)} (a minute or two the first time)")
            settled = self.install(extras, show)
        except SetupError:
            self.write_stamp(before)  # pip leaves things as they were when it fails
            raise
        had = before["extras"] if before.get("fingerprint") == digest else []
        ready = {"state": "ready", "root": str(ROOT), "fingerprint": digest, "extras": sorted({*had, *extras})}
        self.write_stamp(ready if settled else before)


@contextlib.contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other run.py installs there; the system ends its turn however it ends. Without locks: go ahead."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(str(folder), os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run.py is installing there; waiting until it is done")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def failure(what: str, answer: Answer, shown: bool) -> SetupError:
    """The error for pip's failing to do `what`; pip's own words are part of it unless they were shown before."""
    if index_is_unreachable(answer.text):
        return SetupError(
            f"pip could not {what}: its package index cannot be reached.\n"
            "See to the network connection and start again. pip's own settings hold: a proxy can be given as\n"
            "PIP_PROXY, another index as PIP_INDEX_URL." + ("" if shown else " --verbose shows what pip says.")
        )
    return SetupError(f"pip could not {what}: " + ("see above." if shown else "it said\n\n" + answer.text.strip()))


def project_with(extras: Iterable[str]) -> str:
    """The project in the current folder with these extras, as pip writes it."""
    return ".[{}]".format(",".join(extras))


def how_to_get_pip(which: Any = shutil.which, version: Sequence[int] = sys.version_info[:2]) -> str:
    """The command that installs what a Python without venv or pip lacks, by the system's own package manager."""
    commands = {
        "apt-get": "sudo apt-get install python{}.{}-venv".format(*version[:2]),
        "dnf": "sudo dnf install python3-pip",
        "zypper": "sudo zypper install python3-pip",
        "pacman": "sudo pacman -S python-pip",
        "apk": "sudo apk add py3-pip",
    }
    for manager, command in commands.items():
        if which(manager):
            return f"Run `{command}`, then start again."
    return "Install a complete Python, from python.org say, and start again with that."


def hand_over(python: Path, command: Sequence[str], folder: Path) -> int:
    """Go on as the environment's Python with this command, in `folder`; its exit status is ours."""
    line = [str(python), *command]
    if os.name != "nt":
        # the same process: signals, terminal and status need no forwarding
        os.chdir(folder)
        os.execv(line[0], line)
    program = subprocess.Popen(line, cwd=folder)
    while True:
        try:
            return program.wait()
        except KeyboardInterrupt:
            continue  # the console gives Ctrl-C to the program too, which ends in its own way


def main(arguments: Sequence[str]) -> int:
    """Prepare .venv and start in it what the command line asks for."""
    request = parse(arguments)
    if request.help:
        print(__doc__.strip())
        return 0
    environment = Environment(ROOT / ".venv")
    try:
        environment.prepare(request.extras, request.verbose)
        if not request.command:
            say(f"{environment.folder.name} is ready, with {', '.join(request.extras)}")
            return 0
        return hand_over(environment.python, request.command, request.folder)
    except (SetupError, OSError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; start again and the set-up is completed")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
