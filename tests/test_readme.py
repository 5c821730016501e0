"""The code in the README and in docs/ runs, and the README shows the example that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def block_with(text: str) -> str:
    found = [block for block in BLOCKS if text in block]
    assert len(found) == 1, f"{len(found)} blocks of the README hold {text!r}"
    return found[0]


def test_the_loop_is_the_example():
    example = (ROOT / "examples" / "train_lenet.py").read_text(encoding="utf-8")
    assert block_with("for epoch in range(epochs)").strip() == example[example.index("import sys") :].strip()


def test_the_derivatives_run():
    names: dict[str, object] = {}
    exec(block_with("hvp(lambda"), names)
    assert names["g"].tolist() == [3.0, 12.0, 27.0]


def test_the_graph_is_drawn(tmp_path, monkeypatch):
    from tensorgrad.graph import dot_is_here

    if not dot_is_here():
        pytest.skip("the program dot of Graphviz is not installed")
    monkeypatch.chdir(tmp_path)
    exec(block_with("lenet5.svg"), {})
    assert "Conv2d" in (tmp_path / "lenet5.svg").read_text(encoding="utf-8")


def test_what_it_links_to_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)|src=\"([^\"]+)\"", README)
    assert links
    for link in links:
        target = next(part for part in link if part)
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    """Its blocks one after the other, as somebody would type them who reads from the top; formulas of classes are no code."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    code = "\n".join(block for block in blocks if "(Primitive)" not in block)
    if ".svg" in code:
        from tensorgrad.graph import dot_is_here

        if not dot_is_here():
            pytest.skip("the program dot of Graphviz is not installed")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page.name, "exec"), {"__name__": page.stem})


def test_the_gradient_check_is_a_whole_test(tmp_path):
    import subprocess
    import sys

    (tmp_path / "test_layer.py").write_text(block_with("pytest.mark.gradcheck"), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_tensorgrad", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
