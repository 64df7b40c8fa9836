"""What changes the code version: code that a module can reach, its kernels and plug-ins; never prose."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sae_research import code_version as module
from sae_research.code_version import code_version, import_closure

ROOT = Path(__file__).parent.parent


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `sae_research`: `a` imports `b` in a function and `kernels.fast`, beside which is C++; `c` is alone."""
    root = tmp_path / "sae_research"
    (root / "kernels").mkdir(parents=True)
    (root / "__init__.py").touch()
    (root / "kernels" / "__init__.py").touch()
    (root / "kernels" / "fast.py").write_text("y = 1\n")
    (root / "kernels" / "fast.cpp").write_text("// sums\nint y = 1;\n")
    (root / "a.py").write_text(
        "from sae_research.kernels import fast\n\n\ndef f():\n    from sae_research.b import g\n    return g()\n"
    )
    (root / "b.py").write_text('"""Doc."""\n\ndef g():\n    return 1\n')
    (root / "c.py").write_text("x = 1\n")
    monkeypatch.setattr(module, "_PACKAGE", root)
    monkeypatch.setattr(module, "_ROOT", tmp_path)
    _forget()
    yield root
    _forget()


def _forget() -> None:
    for cached in (module.import_closure, module._imports, module.code_of):
        cached.cache_clear()


def test_imports_inside_functions_count(package: Path) -> None:
    reached = {"sae_research.a", "sae_research.b", "sae_research.kernels", "sae_research.kernels.fast"}
    assert import_closure("sae_research.a") == reached


def test_imports_for_type_checking_alone_do_not_count(package: Path) -> None:
    (package / "c.py").write_text("if TYPE_CHECKING:\n    from sae_research.b import g\n")
    assert import_closure("sae_research.c") == {"sae_research.c"}


def test_relative_imports_count(package: Path) -> None:
    (package / "kernels" / "slow.py").write_text("from . import fast\nfrom ..b import g\n")
    assert import_closure("sae_research.kernels.slow") == {
        "sae_research.kernels", "sae_research.kernels.slow", "sae_research.kernels.fast", "sae_research.b"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("b.py", '"""Other words."""\n\n# a comment\ndef g():\n    """Says more."""\n    return 1\n', False),
        ("b.py", '"""Doc."""\n\ndef g():\n    return 2\n', True),
        ("b.py", '"""Doc."""\n\nABOUT = About(color="#000000")\n\ndef g():\n    return 1\n', False),
        ("b.py", '"""Doc."""\n\nLIMIT = 1\n\ndef g():\n    return 1\n', True),
        ("c.py", "x = 2\n", False),
        ("kernels/fast.cpp", "// sums\nint y = 2;\n", True),
        ("kernels/other.cpp", "int z = 1;\n", False),
    ],
)
def test_only_reachable_code_counts_and_neither_prose_nor_looks(
    package: Path, file: str, text: str, changes: bool
) -> None:
    before = code_version("sae_research.a")
    (package / file).write_text(text)
    _forget()
    assert (code_version("sae_research.a") != before) is changes


def test_modules_of_the_plugin_folder_count(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = tmp_path / "plugins" / "evals" / "toy"
    toy.mkdir(parents=True)
    (toy / "eval.py").write_text("from sae_research.evals.toy.measure import run\nfrom sae_research.b import g\n")
    (toy / "measure.py").write_text("def run():\n    return 1\n")
    monkeypatch.setenv("SAE_PLUGINS", str(tmp_path / "plugins"))
    names = {"sae_research.evals.toy.eval", "sae_research.evals.toy.measure", "sae_research.b"}
    assert import_closure("sae_research.evals.toy.eval") == names
    before = code_version("sae_research.evals.toy.eval")
    (toy / "measure.py").write_text("def run():\n    return 2\n")
    _forget()
    assert code_version("sae_research.evals.toy.eval") != before


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a copy of the package, whose modules can be edited."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "sae_research", folder / "sae_research", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def _in_a_fresh_process(folder: Path, expression: str) -> str:
    code = (
        "from sae_research.code_version import code_version\n"
        "from sae_research.world.settings import WorldSettings\n"
        f"print({expression})"
    )
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("SAE_PLUGINS", None)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("world/grammar.py", True),
        ("world/sae_training.py", True),
        ("data/text.py", True),
        ("lm/load.py", True),
        ("lm/structure.py", True),
        ("workers.py", True),
        ("world/checks/bar.py", False),
        ("world/check.py", False),
        ("evals/core/measure.py", False),
        ("files.py", False),
        ("lm/cache.py", False),
    ],
)
def test_the_worlds_key_covers_the_code_that_shapes_it(copy: Path, file: str, changes: bool) -> None:
    _check_edit(copy, file, "WorldSettings().key", changes=changes)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("saes/kernels/pursuit.cpp", True),
        ("saes/architectures/mpsae.py", True),
        ("saes/kernels/screening.cpp", False),
        ("saes/architectures/topk.py", False),
    ],
)
def test_a_kernel_counts_where_it_is_reached(copy: Path, file: str, changes: bool) -> None:
    _check_edit(copy, file, "code_version('sae_research.saes.architectures.mpsae')", changes=changes)


@pytest.mark.parametrize(("file", "changes"), [("evals/run.py", True), ("evals/keys.py", False), ("cli.py", False)])
def test_a_module_can_count_without_what_it_imports(copy: Path, file: str, changes: bool) -> None:
    expression = "code_version('sae_research.saes.architectures.topk', alone=['sae_research.evals.run'])"
    _check_edit(copy, file, expression, changes=changes)


def _check_edit(folder: Path, file: str, expression: str, *, changes: bool) -> None:
    edited = folder / "sae_research" / file
    text = edited.read_text()
    before = _in_a_fresh_process(folder, expression)
    try:
        edited.write_text(f"{text}\nint unused = 1;\n" if edited.suffix == ".cpp" else f"{text}\nUNUSED = 1\n")
        assert (_in_a_fresh_process(folder, expression) != before) is changes
    finally:
        edited.write_text(text)
