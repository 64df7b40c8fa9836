"""Imports point one way, and what need not know torch does not import it."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sae_research"

# From the bottom up; a module imports only from its own layer and from layers below.
LAYERS = [
    {"errors", "digests", "files", "paths", "records", "progress", "plugins", "code_version", "workers"},
    {"given", "hub", "remote", "manifest", "runtime", "results.record"},
    {"lm", "saes", "formats", "data", "probes", "metrics"},
    {"fleet", "evals", "world", "reference"},
    {"plots.settings"},
    {"params"},
    {"results", "plots", "profiles"},
    {"engine"},
    {"cli", "library", "__init__", "__main__"},
]
HEAVY = ("sae_lens", "sae_bench", "transformer_lens", "dvc")


def _layer(module: str) -> int:
    """The layer of `sae_research.<module>`: its own entry, else its folder's."""
    name = module.removeprefix("sae_research").lstrip(".") or "__init__"
    for candidate in (".".join(name.split(".")[:2]), name.split(".")[0]):
        for height, members in enumerate(LAYERS):
            if candidate in members:
                return height
    raise AssertionError(f"{module} is in no layer: add it to LAYERS")


def _modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def _imported(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", _modules(), ids=_name)
def test_imports_point_downwards(path: Path) -> None:
    imports = {name for name in _imported(ast.parse(path.read_text())) if name.startswith("sae_research.")}
    upwards = sorted(name for name in imports if _layer(name) > _layer(_name(path)))
    assert upwards == []


def _loaded_after(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after running `code`."""
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*{{m.split('.')[0] for m in sys.modules}})"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    ).stdout  # fmt: skip
    return set(shown.split())


def test_planning_results_and_plots_know_no_torch() -> None:
    modules = ["params", "engine.eval_stage", "engine.explain", "results.process", "plots.draw", "cli"]
    loaded = _loaded_after("\n".join(f"import sae_research.{name}" for name in modules))
    assert "sae_research" in loaded
    assert loaded.isdisjoint({"torch", "transformers", *HEAVY})


def test_the_package_imports_without_the_heavy_packages() -> None:
    light = [path for path in _modules() if path.parent.name != "reference" and path.stem != "__main__"]
    modules = [_name(path).removesuffix(".__init__") for path in light]
    block = f"import sys\nfor name in {HEAVY}: sys.modules[name] = None"
    loaded = _loaded_after("\n".join([block, *(f"import {name}" for name in modules)]))
    assert "torch" in loaded
