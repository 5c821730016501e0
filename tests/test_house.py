"""The house stands: imports run downward, nn/ and models/ are mapped and flat, the wheel holds the tree, and
`import tensorgrad` stays light."""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tensorgrad.version import __version__

ROOT = Path(__file__).resolve().parents[1]

# From the ground up. A module may import from its own floor and from those below. A folder's name stands for all in it
# but those of its modules that are named themselves.
FLOORS = (
    ("errors", "dtypes", "device", "mode", "version", "handles", "locks", "backends", "jit", "autocast_table"),
    ("determinism",),
    ("backend",),
    ("random", "cuda"),
    ("primitive", "tensor", "storage", "printing", "anomaly", "gradient_hooks", "saved"),
    ("autocasting",),
    ("ops",),
    ("creation", "linalg", "sampling"),
    ("autodiff", "gradcheck", "special", "autograd", "func", "amp"),
    ("ops.methods",),  # gives Tensor its methods, those of differentiation among them
    ("graph", "optim", "data", "io"),
    ("nn", "optim.swa_utils", "utils"),
    ("models",),
    ("replay",),
    ("inspect",),
    ("train", "commands", "cli", "__main__"),
    ("__init__",),  # of tensorgrad itself: the roof, which offers the names to the user
)

# Where the modules of a package lie; nn/ and models/ are read in their own places, not through the links.
FOLDERS = {"tensorgrad": ROOT / "tensorgrad", "tensorgrad.nn": ROOT / "nn", "tensorgrad.models": ROOT / "models"}


def modules():
    """Every module of the package, as {"tensorgrad.nn.linear": path}; a package's __init__.py under its own name."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if package == "tensorgrad" and parts[0] in ("nn", "models"):
                continue  # Python 3.13 and later walk into the links
            if parts[-1] == "__init__":
                parts = parts[:-1]
            found[".".join([package, *parts])] = path
    return found


MODULES = modules()


def floor(module):
    """The number of the floor on which a module stands, None if FLOORS does not name it."""
    name = module.partition(".")[2] or "__init__"
    while name:
        for number, names in enumerate(FLOORS):
            if name in names:
                return number
        name = name.rpartition(".")[0]
    return None


def imports(module, source, is_package, known):
    """The modules of tensorgrad that this one imports at run time, wherever in the file, as (line, module) pairs.

    `from tensorgrad.x import y` is an import of tensorgrad.x.y if that is one of the `known` modules, else of
    tensorgrad.x. What stands under `if TYPE_CHECKING:` is for type checkers and not counted.
    """
    found = []

    def visit(node):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.orelse:
                visit(child)
            return
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parents = module.split(".") if is_package else module.split(".")[:-1]
                parents = parents[: len(parents) - node.level + 1]
                origin = ".".join(parents + ([origin] if origin else []))
            for alias in node.names:
                whole = f"{origin}.{alias.name}"
                found.append((node.lineno, whole if whole in known else origin))
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(source))
    return [(line, name) for line, name in found if name.split(".")[0] == "tensorgrad"]


def upward_imports(module, source, is_package=False, known=MODULES):
    """The imports of a module that lead to a higher floor, as lines of a report."""
    return [
        f"{module}, line {line}: imports {name}, which stands on a higher floor"
        for line, name in imports(module, source, is_package, known)
        if floor(name) is None or floor(name) > floor(module)
    ]


def test_the_modules_are_found():
    assert {"tensorgrad", "tensorgrad.errors", "tensorgrad.ops", "tensorgrad.nn", "tensorgrad.models"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_a_floor(module):
    assert floor(module) is not None, f"give {module} its floor in FLOORS, in tests/test_house.py"


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downward_only(module):
    path = MODULES[module]
    upward = upward_imports(module, path.read_text(encoding="utf-8"), path.name == "__init__.py")
    assert not upward, "\n".join(upward)


@pytest.mark.parametrize(
    ("module", "source", "caught"),
    [
        ("tensorgrad.tensor", "from tensorgrad.ops.shape import reshape", True),
        ("tensorgrad.tensor", "from tensorgrad.backend import backend_of", False),
        ("tensorgrad.tensor", "from tensorgrad import tensor", False),
        ("tensorgrad.tensor", "from tensorgrad import ops", True),
        ("tensorgrad.tensor", "import tensorgrad", True),
        ("tensorgrad.tensor", "import tensorgrad.nn", True),
        ("tensorgrad.tensor", "def f():\n    from tensorgrad.ops import shape", True),
        ("tensorgrad.tensor", "if TYPE_CHECKING:\n    from tensorgrad.ops import shape", False),
        ("tensorgrad.tensor", "if TYPE_CHECKING:\n    pass\nelse:\n    from tensorgrad.ops import shape", True),
        ("tensorgrad.tensor", "from . import ops", True),
        ("tensorgrad.ops.shape", "from ..tensor import Tensor", False),
        ("tensorgrad.ops.shape", "from ..nn import Module", True),
        ("tensorgrad.ops.shape", "from .matmul import Matmul", False),
        ("tensorgrad.nn.linear", "from .module import Module\nfrom tensorgrad.tensor import Tensor", False),
        ("tensorgrad.nn.linear", "import numpy", False),
        ("tensorgrad.ops.methods", "from tensorgrad.autodiff import backward", False),
        ("tensorgrad.ops.shape", "from tensorgrad.ops.methods import install", True),
        ("tensorgrad.ops.shape", "import tensorgrad.not_on_any_floor", True),
    ],
)
def test_the_check_of_imports_tells_up_from_down(module, source, caught):
    known = {"tensorgrad.tensor", "tensorgrad.ops", "tensorgrad.ops.shape", "tensorgrad.nn"}
    assert bool(upward_imports(module, source, known=known)) is caught


def python_files():
    """Every Python file of the repository that is ours to keep in order."""
    folders = ("tensorgrad", "nn", "models", "tests", "examples", "benchmarks", "docs", "scripts")
    return [
        ROOT / "run.py",
        ROOT / "pytest_tensorgrad.py",
        *(path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))),
    ]


def names_imported_from_the_top(source):
    """The first name of every absolute import."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield (node.module or "").split(".")[0]


@pytest.mark.parametrize(
    ("source", "names"),
    [("import nn.linear as x", ["nn"]), ("from models import lenet5", ["models"]), ("from .nn import x", [])],
)
def test_the_check_of_names_reads_every_form_of_import(source, names):
    assert list(names_imported_from_the_top(source)) == names


def test_nobody_imports_nn_or_models_from_the_top():
    files = python_files()
    assert ROOT / "run.py" in files
    wrong = [
        f"{path.relative_to(ROOT)}: import tensorgrad.{name}, not {name}"
        for path in files
        for name in names_imported_from_the_top(path.read_text(encoding="utf-8"))
        if name in ("nn", "models")
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", ["nn", "models"])
def test_nn_and_models_are_flat(name):
    folders = [path.name for path in (ROOT / name).iterdir() if path.is_dir() and path.name != "__pycache__"]
    assert not folders, f"{name}/ must be flat: setup.cfg maps the folder itself, and {folders} would miss the wheel"


@pytest.mark.parametrize("name", ["nn", "models"])
def test_the_links_lead_to_the_folders(name):
    link = ROOT / "tensorgrad" / name
    if link.is_file():
        pytest.skip("this checkout has files in place of links, as Windows makes them")
    assert link.is_symlink()
    assert link.readlink() == Path("..", name)
    assert (link / "__init__.py").samefile(ROOT / name / "__init__.py")


# --- the wheel


def tree():
    """What the wheel must hold: every file in the package's three folders, by its path in the wheel, and the pytest plugin."""
    found = {"pytest_tensorgrad.py": ROOT / "pytest_tensorgrad.py"}
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*"):
            inside = path.relative_to(folder)
            if package == "tensorgrad" and inside.parts[0] in ("nn", "models"):
                continue
            if path.is_file() and "__pycache__" not in inside.parts:
                found["/".join([*package.split("."), *inside.parts])] = path
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of the tree as it stands, built in a copy, so that nothing old gets into it and nothing is left."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("tensorgrad", "nn", "models"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=leave_out)
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md", "pytest_tensorgrad.py"):
        shutil.copy(ROOT / name, copy)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(out)!r})"
    done = subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.iterdir()
    return wheel


def test_the_wheel_holds_the_tree_and_nothing_else(wheel):
    expected = tree()
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" not in name]
        missing = sorted(expected.keys() - set(names))
        assert not missing, f"not in the wheel (setup.cfg: packages, package_data): {missing}"
        extra = sorted(set(names) - expected.keys())
        assert not extra, f"in the wheel, but not in the tree: {extra}"
        changed = [name for name in names if archive.read(name) != expected[name].read_bytes()]
        assert not changed


def test_the_wheel_is_named_and_licensed_as_it_should_be(wheel):
    assert wheel.name == f"tapegrad-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" in name]
        assert any(name.endswith("/LICENSE") for name in names)
        (entry_points,) = (name for name in names if name.endswith("/entry_points.txt"))
        assert "tensorgrad = tensorgrad.cli:main" in archive.read(entry_points).decode()
        assert "pytest_tensorgrad = pytest_tensorgrad" in archive.read(entry_points).decode()


def test_the_unpacked_wheel_imports_away_from_the_repository(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import tensorgrad, tensorgrad.nn, tensorgrad.models\n"
        "print(tensorgrad.__file__, tensorgrad.nn.__file__, tensorgrad.models.__file__, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        assert Path(line).is_relative_to(tmp_path)


# --- the weight of `import tensorgrad`


def heavy_modules_after(statement):
    """Which of the heavy libraries a fresh Python has loaded after this statement."""
    heavy = "{'torch', 'cupy', 'matplotlib', 'numba'}"
    program = f"import sys; {statement}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_importing_tensorgrad_brings_in_no_optional_library():
    assert heavy_modules_after("import tensorgrad, tensorgrad.nn, tensorgrad.models, tensorgrad.optim") == []


def test_the_check_sees_a_heavy_module():
    assert heavy_modules_after("sys.modules['numba'] = sys") == ["numba"]
