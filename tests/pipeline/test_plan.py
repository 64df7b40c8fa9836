"""`python -m sae_research plan`: every cell with its key, and why what is missing is missing."""

from __future__ import annotations

from typing import Any

from support.project import Project


def _plan(project: Project) -> list[str]:
    return project.run("python", "-m", "sae_research", "plan").out.splitlines()


def _missing(lines: list[str], eval_name: str) -> dict[str, str]:
    """Why, by SAE, of that eval's missing cells."""
    cells = [line for line in lines if line.startswith(eval_name) and "missing: " in line]
    return {line.split()[1]: line.partition("missing: ")[2] for line in cells}


def test_every_cell_is_listed_and_what_is_missing_is_explained(project: Project) -> None:
    n = len(project.status("core"))
    lines = _plan(project)
    assert lines[-1] == f"{2 * n} cached, 0 to compute"
    assert sum(line.endswith(" cached") for line in lines) == 2 * n
    assert sum(line.endswith(" disabled") for line in lines) == 8

    def edited(changes: dict[str, Any]) -> list[str]:
        kept = (project.root / "params.yaml").read_bytes()
        project.edit(changes)
        shown = _plan(project)
        (project.root / "params.yaml").write_bytes(kept)
        return shown

    changed = edited({"core_eval": {"n_sparsity_batches": 3}})
    assert set(_missing(changed, "core").values()) == {"settings.n_sparsity_batches 2 -> 3"}
    assert _missing(changed, "sparse_probing") == {}
    assert changed[-1] == f"{n} cached, {n} to compute"
    assert set(_missing(edited({"random_seed": 7}), "sparse_probing").values()) == {"seed 42 -> 7"}


def test_changed_code_and_new_saes_are_named(project: Project) -> None:
    n = len(project.status("core"))
    code = project.root / "sae_research" / "evals" / "core" / "measure.py"
    kept = code.read_text()
    code.write_text(kept + "\n# a comment changes nothing\n")
    assert _plan(project)[-1] == f"{2 * n} cached, 0 to compute"
    code.write_text(kept + "\nUNUSED = 1\n")
    lines = _plan(project)
    assert set(_missing(lines, "core").values()) == {"changed code"}
    assert _missing(lines, "sparse_probing") == {}
    code.write_text(kept)
    project.edit({"sae_variants": {"mpsae": {"s_values": [4, 5]}}})
    project.run("python", "-m", "scripts.setup_saes")
    lines = _plan(project)
    [(name, reason)] = _missing(lines, "core").items()
    assert name.endswith("mpsae_s5")
    assert reason == "new SAE"
    assert lines[-1] == f"{2 * n} cached, 2 to compute"
