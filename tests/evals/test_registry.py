"""What every eval's folder declares, and what its numbers are made by."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from sae_research import evals
from sae_research.code_version import import_closure
from sae_research.errors import UserError
from sae_research.evals.base import Eval
from sae_research.evals.registry import all_evals, eval_names, find_eval, optional_evals


def test_evals_are_the_folders_those_with_a_stage_first() -> None:
    folders = {path.parent.name for path in Path(evals.__file__).parent.glob("*/eval.py")}
    assert set(eval_names()) == folders
    assert eval_names()[:2] == ("core", "sparse_probing")
    assert eval_names()[-1] == "dashboards", "it shows what the others single out"
    assert list(optional_evals()) == sorted(folders - {"core", "sparse_probing", "dashboards"})
    with pytest.raises(UserError, match="there is no eval 'kore'; valid: core, sparse_probing, absorption"):
        find_eval("kore")


@pytest.mark.parametrize("evaluated", all_evals(), ids=lambda evaluated: evaluated.name)
def test_an_eval_is_named_as_its_folder_and_links_its_paper(evaluated: Eval) -> None:
    assert evaluated.module == f"sae_research.evals.{evaluated.name}.eval"
    doc = importlib.import_module(evaluated.module).__doc__ or ""
    assert "https://arxiv.org/abs/" in doc
    assert "Sign policy: " in doc


@pytest.mark.parametrize("evaluated", all_evals(), ids=lambda evaluated: evaluated.name)
def test_what_an_eval_declares_of_its_metrics_names_metrics_of_its_own(evaluated: Eval) -> None:
    names = {spec.name for spec in evaluated.specs}
    assert len(names) == len(evaluated.specs)
    assert any(spec.headline for spec in evaluated.specs) is not evaluated.looks_closer, "it measures, or it shows"
    for metric, others in evaluated.references.items():
        assert {metric, *others} <= names
    for figure in evaluated.figures:
        assert {figure.metric, figure.against or figure.metric, figure.mean or figure.metric} <= names


@pytest.mark.parametrize("evaluated", all_evals(), ids=lambda evaluated: evaluated.name)
def test_no_eval_depends_on_the_code_of_another(evaluated: Eval) -> None:
    """An edit of SCR must not recompute TPP: the code behind a number is its eval's own, and what evals share."""
    others = {f"sae_research.evals.{name}" for name in eval_names() if name != evaluated.name}
    closure = import_closure(evaluated.module)
    assert not {module for module in closure if ".".join(module.split(".")[:3]) in others}
    assert ("sae_research.data.paired" in closure) == (evaluated.name == "scr")
