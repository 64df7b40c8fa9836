"""Imports point downwards, in no circle, and what need not know torch does not import it."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "sae_research"

GROUND = {
    "errors", "foreign", "records", "files", "digests", "plugins", "progress", "workers", "measurements",
    "code_version", "device_memory", "stdout", "tensor_files", "yaml_text",
}  # fmt: skip
FACE = {"library", "evaluation", "cli", "commands", "__init__", "__main__"}
# From the bottom up. A module imports from its own room and from the floors below it.
FLOORS = [
    GROUND,
    {"sources"},
    {"lm"},
    {"saes"},
    {"formats", "data", "metrics"},
    {"probes", "judges"},
    {"evals"},
    {"world", "reference", "training"},
    {"results"},
    {"plots"},
    {"page"},
    {"pipeline"},
    FACE,
]
FLOOR_OF = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = ("sae_lens", "sae_bench", "transformer_lens", "dvc", "ray")


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _imported(module: str) -> set[str]:
    """The modules of the package that `module` imports anywhere: in functions and under TYPE_CHECKING too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in MODULES else node.module for name in inside}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names & set(MODULES) - {module}


IMPORTS = {module: _imported(module) for module in MODULES}


def _room(module: str) -> str:
    """The folder of the package that holds the module; for a module of the root its own name."""
    return module.split(".")[1] if "." in module else "__init__"


def test_every_module_has_a_floor() -> None:
    assert sorted(module for module in MODULES if _room(module) not in FLOOR_OF) == []


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards_and_not_to_another_room_of_the_floor(module: str) -> None:
    room, floor = _room(module), FLOOR_OF[_room(module)]
    one_room = [GROUND, FACE]
    wrong = {
        other
        for other in IMPORTS[module]
        if FLOOR_OF[_room(other)] > floor
        or (FLOOR_OF[_room(other)] == floor and _room(other) != room and FLOORS[floor] not in one_room)
    }
    assert wrong == set()


def test_no_imports_go_in_a_circle() -> None:
    try:
        TopologicalSorter(IMPORTS).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' <- '.join(error.args[1])}")


def test_an_eval_imports_no_other_eval() -> None:
    evals = PACKAGE / "evals"
    folders = {f"sae_research.evals.{file.parent.name}" for file in evals.glob("*/eval.py")}

    def eval_of(module: str) -> str | None:
        return next((folder for folder in folders if module.startswith(f"{folder}.")), None)

    pairs = {(module, other) for module in MODULES for other in IMPORTS[module] if eval_of(module) and eval_of(other)}
    assert len(folders) > 5
    assert {pair for pair in pairs if eval_of(pair[0]) != eval_of(pair[1])} == set()


def _loaded_after(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter holds after running `code`."""
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*{{m.split('.')[0] for m in sys.modules}})"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    return set(shown.stdout.split())


def test_planning_results_and_plots_know_no_torch() -> None:
    stages = [f"pipeline.stages.{name}" for name in ("evals", "process_results", "visualize")]
    modules = [*stages, "pipeline.params", "pipeline.plan", "pipeline.profiles", "cli"]
    code = [*(f"import sae_research.{name}" for name in modules), "from sae_research.evals.registry import all_evals"]
    loaded = _loaded_after("\n".join([*code, "all_evals()"]))
    assert "sae_research" in loaded
    assert loaded.isdisjoint({"torch", "transformers", *HEAVY})


def test_the_package_imports_without_the_heavy_packages() -> None:
    modules = [module for module in MODULES if _room(module) not in {"reference", "__main__"}]
    block = f"import sys\nfor name in {HEAVY}: sys.modules[name] = None"
    loaded = _loaded_after("\n".join([block, *(f"import {name}" for name in modules)]))
    assert "torch" in loaded
