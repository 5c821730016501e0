"""run.py: what it makes of its arguments, when it installs and when it makes the environment anew, and what it says.

Its installing is tried by being used: CI starts with `python3 run.py test`.
"""

import ast
import doctest
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[1]


def load_run_py():
    spec = importlib.util.spec_from_file_location("run_py", ROOT / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run_py = load_run_py()


# --- arguments


def test_without_arguments_it_trains_lenet_on_the_digits():
    request = run_py.parse([])
    assert request.command == ["-m", "tensorgrad.cli", "train", "lenet5", "--data", "digits"]
    assert request.extras == ("fast", "viz")
    assert (request.help, request.verbose) == (False, False)


def test_options_go_to_the_training_and_paths_among_them_start_where_the_user_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = run_py.parse(["--epochs", "3", "--verbose", "--help"])
    assert request.command[-4:] == ["--epochs", "3", "--verbose", "--help"]
    assert (request.help, request.verbose) == (False, False)
    assert request.folder == tmp_path


def test_the_word_test_runs_pytest_in_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = run_py.parse(["--verbose", "test", "-x", "--help"])
    assert request.command == ["-m", "pytest", "-n", "auto", "--maxprocesses", "8", "-x", "--help"]
    assert request.extras == ("fast", "viz", "test")
    assert request.verbose and not request.help
    assert request.folder == ROOT


def test_the_word_setup_only_installs():
    request = run_py.parse(["setup", "dev", "oracle"])
    assert request.command == []
    assert request.extras == ("fast", "viz", "test", "dev", "oracle")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_use(flag, capsys):
    assert run_py.main([flag]) == 0
    text = capsys.readouterr().out
    for use in ("run.py [--verbose] [OPTIONS]", "test [PYTEST OPTIONS]", "setup [EXTRA ...]", ".venv", "--epochs"):
        assert use in text


def test_the_examples_in_its_docstrings_hold():
    outcome = doctest.testmod(run_py)
    assert outcome.failed == 0
    assert outcome.attempted > 0


# --- old Pythons


def test_an_old_python_can_read_the_file():
    ast.parse((ROOT / "run.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_an_old_python_is_told_of_a_newer_one_on_the_machine():
    def which(name):
        return "/usr/bin/" + name if name in ("python3.9", "python3.11") else None

    advice = run_py.advice_on_old_python((3, 8, 18, "final", 0), "/usr/bin/python3", which)
    assert "needs Python 3.10 or later" in advice
    assert "/usr/bin/python3 is Python 3.8." in advice
    assert "`python3.11 run.py`" in advice


def test_an_old_python_that_is_alone_is_told_to_install_one():
    advice = run_py.advice_on_old_python((3, 8, 18, "final", 0), "/usr/bin/python3", lambda name: None)
    assert "Install a newer one" in advice
    assert "run `" not in advice


def test_the_oldest_python_is_that_of_setup_cfg():
    needed = run_py.setup_cfg(ROOT)["options"]["python_requires"]
    assert needed == ">={}.{}".format(*run_py.OLDEST)


# --- when to install


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the two files that an installation depends on; run.py takes it for the project's."""
    (tmp_path / "setup.cfg").write_text(
        "[options]\ninstall_requires =\n    numpy>=1.26\n    graphviz\n"
        "[options.extras_require]\n# quicker\nfast =\n    numba>=0.60\nviz =\n    matplotlib\ntest =\n    pytest\n"
    )
    (tmp_path / "pyproject.toml").write_text("[build-system]\n")
    monkeypatch.setattr(run_py, "ROOT", tmp_path)
    return tmp_path


@pytest.fixture
def environment(project):
    """An environment that looks complete: a Python that runs, and a stamp for `fast` and `viz`."""
    environment = run_py.Environment(project / ".venv", windows=False)
    environment.python.parent.mkdir(parents=True)
    environment.python.symlink_to(sys.executable)
    environment.write_stamp(stamp(project))
    return environment


def stamp(project, **changes):
    ready = {"state": "ready", "root": str(project), "fingerprint": run_py.fingerprint(project)}
    return {**ready, "extras": ["fast", "viz"], **changes}


def test_requirements_are_those_of_the_project_and_the_extras(project):
    assert run_py.requirements(project, []) == ["numpy>=1.26", "graphviz"]
    assert run_py.requirements(project, ["viz", "fast"]) == ["numpy>=1.26", "graphviz", "matplotlib", "numba>=0.60"]


@pytest.mark.parametrize("name", ["setup.cfg", "pyproject.toml"])
def test_the_fingerprint_changes_with_each_file(project, name):
    before = run_py.fingerprint(project)
    assert run_py.fingerprint(project) == before
    (project / name).write_text((project / name).read_text() + "# more\n")
    assert run_py.fingerprint(project) != before


def test_the_fingerprint_changes_with_the_version_of_python_but_not_with_its_patch(project):
    assert run_py.fingerprint(project, (3, 11, 2)) != run_py.fingerprint(project, (3, 12, 2))
    assert run_py.fingerprint(project, (3, 11, 2)) == run_py.fingerprint(project, (3, 11, 9))


def test_a_line_moved_from_one_file_to_the_other_changes_the_fingerprint(project):
    before = run_py.fingerprint(project)
    whole = (project / "setup.cfg").read_text()
    (project / "setup.cfg").write_text(whole[:-1])
    (project / "pyproject.toml").write_text("\n" + (project / "pyproject.toml").read_text())
    assert run_py.fingerprint(project) != before


@pytest.mark.parametrize(("windows", "python"), [(False, "bin/python"), (True, "Scripts/python.exe")])
def test_the_environments_python_is_where_the_system_puts_it(tmp_path, windows, python):
    assert run_py.Environment(tmp_path, windows=windows).python == tmp_path / python


@pytest.mark.parametrize(
    ("changes", "extras", "ready"),
    [
        ({}, ["fast", "viz"], True),
        ({}, ["viz"], True),
        ({}, ["fast", "viz", "test"], False),
        ({"extras": ["fast", "test", "viz"]}, ["fast", "viz"], True),
        ({"state": "installing"}, ["viz"], False),
        ({"fingerprint": "of yesterday"}, ["viz"], False),
        ({"root": "/another/place"}, ["viz"], False),
    ],
)
def test_it_is_ready_when_all_that_is_asked_for_was_installed_as_things_are_now(
    environment, project, changes, extras, ready
):
    environment.write_stamp(stamp(project, **changes))
    assert environment.is_ready(run_py.fingerprint(project), extras) is ready


def test_it_is_not_ready_without_its_python(environment, project):
    environment.python.unlink()
    environment.python.symlink_to(project / "no-such-python")
    assert not environment.is_ready(run_py.fingerprint(project), ["viz"])


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00"])
def test_a_stamp_that_cannot_be_read_counts_as_none(environment, content):
    environment.stamp.write_text(content)
    assert environment.read_stamp() == {}


def test_a_stamp_replaces_the_old_one_and_an_empty_one_removes_it(environment):
    environment.write_stamp({"state": "installing"})
    assert json.loads(environment.stamp.read_text()) == {"state": "installing"}
    environment.write_stamp({})
    assert [path.name for path in environment.folder.iterdir()] == ["bin"]


# --- when to make the environment anew


def test_a_working_environment_is_kept(environment):
    assert environment.why_rebuild() is None


def test_a_working_environment_of_the_users_own_is_kept(environment):
    environment.write_stamp({})
    assert environment.why_rebuild() is None


def test_an_interrupted_installation_is_made_anew(environment, project):
    environment.write_stamp(stamp(project, state="installing"))
    assert environment.why_rebuild() == "its installation was interrupted"


def test_a_moved_project_gets_a_new_environment(environment, project):
    environment.write_stamp(stamp(project, root="/another/place"))
    assert environment.why_rebuild() == "the project has moved since"


def test_an_environment_whose_python_does_not_run_is_made_anew(environment):
    environment.python.unlink()
    assert environment.why_rebuild() == "its Python does not run"


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for another Python is a shell script")
def test_an_environment_of_another_python_is_made_anew(environment):
    environment.python.unlink()
    environment.python.write_text("#!/bin/sh\necho 3.9\n")
    environment.python.chmod(0o755)
    assert environment.why_rebuild() == "it was made by Python 3.9, this is Python {}.{}".format(*sys.version_info[:2])


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_in_the_way_is_replaced_and_what_a_link_points_to_is_not_touched(project, kind, monkeypatch, capsys):
    folder, elsewhere = project / ".venv", project / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    if kind == "folder":
        (folder / "bin").mkdir(parents=True)
    elif kind == "file":
        folder.touch()
    else:
        folder.symlink_to(elsewhere)
    commands = record_commands(monkeypatch, {"venv": True, "-c": False})
    run_py.Environment(folder).make()
    assert not os.path.lexists(folder)  # the stand-in for venv makes nothing
    assert (elsewhere / "precious").exists()
    assert commands[-1][1:] == ["-m", "venv", "--without-pip", str(folder)]
    assert "making .venv anew: its Python does not run" in capsys.readouterr().err


# --- installing, with a stand-in for the programs it runs


def record_commands(monkeypatch, answers):
    """Let run.py run nothing, and return the list in which the commands will stand.

    The answer to a command is that of the first word in `answers` that occurs in it: True (it succeeds), False (it
    fails) or the text it fails with; a command with none of the words succeeds.
    """
    commands = []

    def run(command, show=False):
        words = [str(word) for word in command]
        commands.append(words)
        answer = next((answers[word] for word in answers if word in words), True)
        return run_py.Answer(answer is True, answer if isinstance(answer, str) else "")

    monkeypatch.setattr(run_py, "run", run)
    return commands


NO_INDEX = "WARNING: Retrying: NameResolutionError(... Temporary failure in name resolution)\nERROR: No matching ..."
NO_WHEEL = "ERROR: Could not find a version that satisfies the requirement numba>=0.60"


def prepare(environment, monkeypatch, extras, answers):
    monkeypatch.setattr(run_py.Environment, "pip_version", lambda self: (24, 0))
    monkeypatch.setattr(run_py.Environment, "why_rebuild", lambda self: None)
    commands = record_commands(monkeypatch, answers)
    environment.prepare(extras)
    return commands


def test_nothing_is_run_when_all_is_ready(environment, monkeypatch):
    assert prepare(environment, monkeypatch, ["viz"], {}) == []


def test_a_further_extra_is_installed_and_the_stamp_names_all(environment, project, monkeypatch):
    (command,) = prepare(environment, monkeypatch, ["viz", "test"], {})
    assert command[-2:] == ["--editable", ".[viz,test]"]
    assert environment.read_stamp() == stamp(project, extras=["fast", "test", "viz"])


def test_the_stamp_says_installing_while_pip_runs(environment, monkeypatch):
    states = []
    monkeypatch.setattr(
        run_py.Environment, "install", lambda *_: states.append(environment.read_stamp()["state"]) or True
    )
    prepare(environment, monkeypatch, ["test"], {})
    assert states == ["installing"]
    assert environment.read_stamp()["state"] == "ready"


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_a_second_one_waits_for_the_first_and_then_finds_all_done(environment, project, monkeypatch, capsys):
    import threading

    inside, go, installed = threading.Event(), threading.Event(), []

    def install(*_):
        installed.append(1)
        inside.set()
        assert go.wait(10)
        return True

    monkeypatch.setattr(run_py.Environment, "install", install)
    first = threading.Thread(target=prepare, args=(environment, monkeypatch, ["test"], {}))
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=environment.prepare, args=(["test"],))
    second.start()
    second.join(0.3)
    assert second.is_alive()
    go.set()
    first.join(10), second.join(10)
    assert installed == [1]
    assert "another run.py is installing there; waiting" in "".join(capsys.readouterr())
    assert environment.read_stamp()["state"] == "ready"


def test_extras_of_an_older_setup_cfg_are_forgotten(environment, project, monkeypatch):
    environment.write_stamp(stamp(project, fingerprint="of yesterday"))
    prepare(environment, monkeypatch, ["viz"], {})
    assert environment.read_stamp() == stamp(project, extras=["viz"])


def test_without_a_wheel_of_numba_it_goes_on_without_fast_and_does_not_try_again(
    environment, project, monkeypatch, capsys
):
    environment.write_stamp({})
    commands = prepare(environment, monkeypatch, ["fast", "viz"], {".[fast,viz]": NO_WHEEL})
    assert [command[-1] for command in commands] == [".[fast,viz]", ".[viz]"]
    assert "going on with NumPy's kernels" in capsys.readouterr().err
    assert environment.is_ready(run_py.fingerprint(project), ["fast", "viz"])


def test_a_failure_that_is_not_numbas_shows_what_pip_said_and_keeps_the_stamp(environment, project, monkeypatch):
    before = environment.read_stamp()
    with pytest.raises(run_py.SetupError, match=r"could not install the project: it said\n\nERROR: Could not find"):
        prepare(environment, monkeypatch, ["fast", "test"], {".[fast,test]": NO_WHEEL, ".[test]": False})
    assert environment.read_stamp() == before


def test_without_the_index_it_goes_on_when_all_is_there(environment, project, monkeypatch, capsys):
    environment.write_stamp(stamp(project, fingerprint="of yesterday"))
    commands = prepare(environment, monkeypatch, ["fast", "viz"], {".[fast,viz]": NO_INDEX})
    assert commands[-1][-5:] == ["--no-index", "numpy>=1.26", "graphviz", "numba>=0.60", "matplotlib"]
    assert "cannot be reached, but all that is needed is here" in capsys.readouterr().err
    assert environment.read_stamp() == stamp(project)


def test_without_the_index_it_goes_on_without_fast_but_tries_again_the_next_time(environment, project, monkeypatch):
    yesterday = stamp(project, fingerprint="of yesterday")
    environment.write_stamp(yesterday)
    prepare(environment, monkeypatch, ["fast", "viz"], {".[fast,viz]": NO_INDEX, "numba>=0.60": False})
    assert environment.read_stamp() == yesterday


def test_without_the_index_and_what_is_needed_it_says_what_to_do(environment, project, monkeypatch):
    before = environment.read_stamp()
    with pytest.raises(run_py.SetupError, match=r"index cannot be reached.\n.*network(.|\n)*PIP_PROXY") as raised:
        prepare(environment, monkeypatch, ["test"], {".[test]": NO_INDEX, "--no-index": False})
    assert "NameResolutionError" not in str(raised.value)
    assert environment.read_stamp() == before


def test_an_interrupted_installation_leaves_its_mark(environment, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_py.Environment, "install", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(environment, monkeypatch, ["test"], {})
    assert environment.read_stamp()["state"] == "installing"


def test_an_extra_that_is_none_is_refused_before_anything_happens(environment, monkeypatch):
    with pytest.raises(run_py.SetupError, match="no extra 'tests'; it has fast, viz, test"):
        prepare(environment, monkeypatch, ["tests"], {})


# --- where pip comes from


def provide_pip(environment, monkeypatch, versions, answers):
    """Run provide_pip in a world where the environment's pip has these versions, one after the other."""
    versions = iter(versions)
    monkeypatch.setattr(run_py.Environment, "pip_version", lambda self: next(versions))
    commands = record_commands(monkeypatch, answers)
    environment.provide_pip(show=False)
    return [command[1:4] for command in commands]


def test_a_pip_that_is_there_is_used(environment, monkeypatch):
    assert provide_pip(environment, monkeypatch, [(24, 0), (24, 0)], {}) == []


def test_a_missing_pip_comes_from_ensurepip(environment, monkeypatch):
    commands = provide_pip(environment, monkeypatch, [(0,), (23, 0)], {})
    assert commands == [["-m", "ensurepip", "--default-pip"]]


def test_a_pip_too_old_is_renewed(environment, monkeypatch):
    assert provide_pip(environment, monkeypatch, [(21, 2), (21, 2)], {}) == [["-m", "pip", "install"]]


def test_without_ensurepip_the_systems_pip_fetches_one_into_the_environment(environment, monkeypatch):
    versions = iter([(0,), (0,)])
    monkeypatch.setattr(run_py.Environment, "pip_version", lambda self: next(versions))
    commands = record_commands(monkeypatch, {"ensurepip": "No module named ensurepip"})
    environment.provide_pip(show=False)
    last = commands[-1]
    assert last[0] == run_py.HOST_PYTHON
    assert "--target" in last and last[-1] == "pip"


def test_without_ensurepip_and_pip_it_says_which_command_to_run(environment, monkeypatch):
    with pytest.raises(run_py.SetupError, match="neither ensurepip nor pip to install with"):
        provide_pip(environment, monkeypatch, [(0,), (0,)], {"ensurepip": False, "pip": False})


@pytest.mark.parametrize(
    ("manager", "command"),
    [
        ("apt-get", "sudo apt-get install python3.12-venv"),
        ("dnf", "sudo dnf install python3-pip"),
        ("apk", "sudo apk add py3-pip"),
        (None, "python.org"),
    ],
)
def test_the_command_is_that_of_the_systems_own_package_manager(manager, command):
    assert command in run_py.how_to_get_pip(lambda name: name if name == manager else None, (3, 12))


@pytest.mark.parametrize(
    ("output", "unreachable"),
    [
        (NO_INDEX, True),
        ("WARNING: Retrying (Retry(total=4)) after ('Cannot connect to proxy.', OSError(...))", True),
        ("NewConnectionError: Failed to establish a new connection: [Errno 101] Network is unreachable", True),
        (NO_WHEEL, False),
        ("error: command 'gcc' failed: No such file or directory", False),
    ],
)
def test_it_knows_a_missing_network_from_other_failures(output, unreachable):
    assert run_py.index_is_unreachable(output) is unreachable


# --- running programs


def test_run_gives_the_output_and_whether_it_succeeded():
    program = "import sys; print('out'); print('err', file=sys.stderr); sys.exit({})"
    assert run_py.run([sys.executable, "-c", program.format(0)]).ok
    answer = run_py.run([sys.executable, "-c", program.format(3)])
    assert not answer.ok
    assert sorted(answer.text.split()) == ["err", "out"]


def test_a_program_that_is_not_there_is_a_failure():
    answer = run_py.run([ROOT / "no-such-program"])
    assert not answer.ok
    assert "no-such-program" in answer.text


def test_pip_installs_in_the_environment_whatever_the_users_settings(monkeypatch):
    for name, value in {"PIP_USER": "1", "PIP_TARGET": "/there", "PIP_PROXY": "a-proxy"}.items():
        monkeypatch.setenv(name, value)
    program = "import os; print(*(os.environ.get(n) for n in ('PIP_USER', 'PIP_TARGET', 'PIP_PROXY')))"
    assert run_py.run([sys.executable, "-c", program]).text.split() == ["0", "None", "a-proxy"]


@pytest.mark.parametrize("status", [0, 7])
def test_the_status_of_the_program_is_handed_on(status, tmp_path):
    body = f"import os, sys; print(os.getcwd()); sys.exit({status})"
    starter = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import run; from pathlib import Path\n"
        f"sys.exit(run.hand_over(Path(sys.executable), ['-c', {body!r}], Path({str(tmp_path)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", starter], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, "")
    assert Path(done.stdout.strip()) == tmp_path.resolve()


def test_on_windows_ctrl_c_waits_for_the_program_and_hands_its_status_on(monkeypatch):
    waits = []

    def wait():
        waits.append(1)
        if len(waits) < 3:
            raise KeyboardInterrupt
        return 5

    monkeypatch.setattr(run_py.os, "name", "nt")
    monkeypatch.setattr(run_py.subprocess, "Popen", lambda line, cwd: SimpleNamespace(wait=wait))
    status = run_py.hand_over("python.exe", ["-m", "pytest"], ".")
    monkeypatch.undo()  # pathlib looks at os.name too
    assert status == 5
    assert len(waits) == 3
