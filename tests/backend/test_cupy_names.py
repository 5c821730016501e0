"""What the stand-in for CuPy allows is what CuPy has, and what our kernels ask of an array library is what it allows."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
from pathlib import Path

import numpy
import pytest
import standin

import tensorgrad.backend

#: Kernels for NumPy alone; the others are for every array library.
NUMPY_ONLY = ("cpu", "numpy_", "numba")

#: What only CuPy has: CUDABackend asks for it where it is there, so the stand-in may do without.
OF_CUPY_ALONE = {"RawModule", "ElementwiseKernel", "_core"}

needs_cupy = pytest.mark.skipif(
    importlib.util.find_spec("cupy") is None,
    reason="CuPy is not installed, so the stand-in's names are not compared with CuPy's (no GPU is needed for it)",
)


def shared_kernel_files() -> list[Path]:
    folder = Path(tensorgrad.backend.__file__).parent
    return [path for path in sorted(folder.glob("*.py")) if not path.stem.startswith(NUMPY_ONLY)]


def names_asked_for(path: Path) -> set[str]:
    """Every NAME in xp.NAME and self.xp.NAME."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            owner = node.value
            if (isinstance(owner, ast.Name) and owner.id == "xp") or (
                isinstance(owner, ast.Attribute) and owner.attr == "xp"
            ):
                found.add(node.attr)
    return found


@pytest.mark.parametrize("path", shared_kernel_files(), ids=lambda path: path.name)
def test_kernels_ask_only_for_names_on_the_list(path: Path):
    missing = {name for name in names_asked_for(path) - OF_CUPY_ALONE if not hasattr(standin.standin, name)}
    assert not missing, (
        f"{path.name} uses {sorted(missing)}: check that CuPy has them, then add them to tests/standin.py"
    )


def test_the_kernel_files_are_found():
    assert {"array.py", "convolution.py", "pooling.py", "normalization.py"} <= {
        path.name for path in shared_kernel_files()
    }
    assert "absolute" in names_asked_for(Path(tensorgrad.backend.__file__).parent / "array.py")


def cupy_names(path: Path) -> set[str]:
    """Every dotted name that a file asks CuPy for: a.b in xp.a.b, self.xp.a.b, cupy.a.b, and in _cuda().b below cupy.cuda."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        while isinstance(node, ast.Attribute):
            names.insert(0, node.attr)
            owner = node.value
            if isinstance(owner, ast.Name) and owner.id in ("xp", "cupy"):
                found.add(".".join(names))
            elif isinstance(owner, ast.Name) and owner.id == "cuda" and path.parent != PACKAGE:
                found.add(".".join(["cuda", *names]))
            elif isinstance(owner, ast.Attribute) and owner.attr == "xp":
                found.add(".".join(names))
            elif isinstance(owner, ast.Call) and ast.unparse(owner) == "_cuda()":
                found.add(".".join(["cuda", *names]))
            node = owner
    return found


PACKAGE = Path(tensorgrad.backend.__file__).parent
FILES_OF_CUPY = [*shared_kernel_files(), *PACKAGE.parent.glob("cuda.py"), *sorted(PACKAGE.parent.glob("cuda/*.py"))]
ASKED = sorted({name for path in FILES_OF_CUPY for name in cupy_names(path)})


def test_dotted_names_are_found():
    assert {
        "cuda.runtime.getDeviceCount",
        "cuda.Device",
        "lib.stride_tricks.as_strided",
        "RawModule",
        "absolute",
    } <= set(ASKED)
    assert "cuda.runtime.memGetInfo" in ASKED


@needs_cupy
@pytest.mark.parametrize("name", ASKED)
def test_cupy_has_every_name_we_ask_for(name: str):
    place = pytest.importorskip("cupy")
    for part in name.split("."):
        if part in ("at", "get"):  # of a ufunc, of an array
            continue
        try:
            assert hasattr(place, part), f"CuPy has no {name}"
        except ImportError as error:  # CuPy knows it, and loads a library that is not there
            pytest.skip(str(error))
        place = getattr(place, part)


@needs_cupy
def test_cupy_compiles_as_we_ask_it_to():
    cupy = pytest.importorskip("cupy")
    signature = cupy.RawModule.__doc__.partition("\n")[0]
    assert "code=None" in signature and "options=()" in signature
    assert callable(cupy.RawModule.get_function)
    signature = cupy.ElementwiseKernel.__doc__.partition("\n")[0]
    assert "(in_params, out_params, operation, name" in signature.replace("str ", "")
    called = cupy.RawKernel.__call__.__doc__
    assert "(self, grid, block, args" in called
    # a NumPy array is handed to a kernel by value, as our structs are
    assert hasattr(importlib.import_module("cupy.cuda.function"), "Module")


@needs_cupy
@pytest.mark.parametrize(
    "name",
    [*standin.FUNCTIONS, *standin.OF_LISTS, *standin.CREATION, *standin.CONSTANTS, "asarray", "asnumpy", "from_dlpack"],
)
def test_cupy_has_the_name(name: str):
    cupy = pytest.importorskip("cupy")
    assert hasattr(cupy, name)


@needs_cupy
@pytest.mark.parametrize("name", sorted(standin.KEYWORDS))
def test_cupy_takes_the_arguments(name: str):
    cupy = pytest.importorskip("cupy")
    assert set(standin.KEYWORDS[name]) <= set(inspect.signature(getattr(cupy, name)).parameters)


@needs_cupy
def test_cupy_has_what_lies_deeper():
    cupy = pytest.importorskip("cupy")
    assert callable(cupy.add.at) and callable(cupy.maximum.at) and callable(cupy.minimum.at)
    assert {"shape", "strides"} <= set(inspect.signature(cupy.lib.stride_tricks.as_strided).parameters)
    assert (
        callable(cupy.cuda.Device) and callable(cupy.cuda.runtime.getDeviceCount) and callable(cupy.cuda.is_available)
    )
    for name in ("random", "standard_normal"):
        documented = getattr(cupy.random.Generator, name).__doc__.partition("\n")[0]
        assert "size" in documented and "dtype" in documented
    assert callable(cupy.random.default_rng)


METHODS = [name for name, value in vars(standin.StandInArray).items() if callable(value) and not name.startswith("_")]
REFUSED = ("item", "tolist", "tobytes")


@needs_cupy
@pytest.mark.parametrize("name", [name for name in METHODS if name not in REFUSED])
def test_cupy_arrays_have_the_method(name: str):
    """CuPy's methods are compiled; the first line of the documentation of each is its signature."""
    cupy = pytest.importorskip("cupy")
    documented = getattr(cupy.ndarray, name).__doc__.partition("\n")[0]
    assert documented.partition("(")[0].endswith(f".{name}")
    for parameter in list(inspect.signature(getattr(standin.StandInArray, name)).parameters)[1:]:
        assert parameter in documented, f"{name} has no {parameter}: {documented}"


@needs_cupy
def test_cupy_arrays_have_the_attributes():
    cupy = pytest.importorskip("cupy")
    for name in ("shape", "ndim", "size", "dtype", "itemsize", "nbytes", "strides", "flags", "T", "device", "data"):
        assert hasattr(cupy.ndarray, name)
    for name in vars(standin.Flags(numpy.zeros(2).flags)):
        assert hasattr(importlib.import_module("cupy._core.flags").Flags, name)


# the stand-in itself is strict


def device_array() -> standin.StandInArray:
    return standin.standin.asarray(numpy.array([[1.0, 2.0], [3.0, 4.0]]))


@pytest.mark.parametrize(
    "read",
    [
        numpy.asarray,
        numpy.array,
        lambda x: float(x.sum()),
        lambda x: int(x.sum()),
        lambda x: bool(x.sum()),
        lambda x: [0, 1][x.sum()],
        lambda x: x.item(),
        lambda x: x.tolist(),
        list,
        lambda x: 1.0 in x,
        lambda x: numpy.add(x, 1),
        lambda x: numpy.concatenate([x, x]),
        lambda x: numpy.zeros(2) + x,
        lambda x: x + numpy.zeros(2),
        lambda x: x * numpy.array(2.0),
        lambda x: x[numpy.array([0])],
        lambda x: x.__setitem__(0, numpy.zeros(2)),
        lambda x: standin.standin.add(x, numpy.zeros(2)),
        lambda x: standin.standin.add(1.0, 2.0),
        lambda x: standin.standin.add([x], x),
        lambda x: standin.standin.concatenate([x, numpy.zeros((1, 2))]),
        lambda x: standin.standin.asarray([x, x]),
        lambda x: standin.standin.maximum(x, 0, where=x > 0),
    ],
)
def test_no_way_to_the_host_by_accident(read):
    with pytest.raises(TypeError):
        read(device_array())


@pytest.mark.parametrize("name", ["errstate", "unstack", "vecdot", "einsum", "array_equal"])
def test_names_off_the_list_are_not_there(name: str):
    with pytest.raises(AttributeError, match=name):
        getattr(standin.standin, name)


def test_values_without_dimensions_stay_arrays():
    x = device_array()
    for z in (x.sum(), x[0, 0], standin.standin.add(x[0, 0], 1), -x.max(), x.mean() > 0):
        assert type(z) is standin.StandInArray and z.shape == ()


def test_memory_is_the_device_s_own():
    values = numpy.zeros(3)
    x = standin.standin.asarray(values)
    values[0] = 1
    back = standin.standin.asnumpy(x)
    back[1] = 1
    assert standin.standin.asnumpy(x).tolist() == [0, 0, 0]


def test_adding_up_refuses_what_cupy_refuses():
    x = standin.standin.asarray(numpy.zeros(2, numpy.int64))
    with pytest.raises(TypeError, match="int64"):
        standin.standin.add.at(x, (slice(None),), 1)
    with pytest.raises(AttributeError):
        standin.standin.multiply.at(x, (slice(None),), 1)
