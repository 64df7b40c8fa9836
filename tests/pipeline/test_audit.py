"""Fake evals through the pipeline as plug-ins: the audit finds what is wrong with each, and how noisy each is."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pytest
from support.project import ROOT, Project, make_project
from support.stage_server import StageServer

pytestmark = pytest.mark.slow

LITTLE, MUCH = 0.02, 1.0
"""Standard deviations of the noise in a score; explained variance has one of about .1 between these SAEs."""
CHECKPOINTS = (
    ("sae-topk", ("k8", "k16", "k32")), ("sae-batchtopk", ("k8", "k32")), ("sae-jumprelu", ("l0_8", "l0_32")),
    ("sae-gated", ("l0_16", "l0_40")), ("sae-relu", ("resid_post_layer_0/trainer_1/ae.pt",)),
)  # fmt: skip
"""The tiny world's trained SAEs, without one that training has not brought anywhere. PCA is no control for them: it
explains nearly all of so few dimensions."""
PLUGINS = ROOT / "tests" / "support" / "plugins"


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, server: StageServer) -> Project:
    """The tiny project with the fake evals in a folder of plug-ins, after all its stages but the pictures."""
    project = make_project(tmp_path_factory.mktemp("audit") / "project")
    trained = [{"repo_id": f"embedded/{name}", "filename": file} for name, files in CHECKPOINTS for file in files]
    project.edit({
        "comparison_saes": trained,
        "controls": {"topk_atoms": ["random"], "topk_k": 2},
        "eval_types": {"sparse_probing": False, "fake_scores": True},
        "fake_scores": {"dataset": "embedded/text", "little_noise": LITTLE, "much_noise": MUCH},
    })  # fmt: skip
    stages = (["setup_saes"], ["run_core_eval"], ["run_optional_evals", "--eval", "fake_scores"], ["process_results"])
    for script, *arguments in stages:
        _run(project, server, f"scripts.{script}", *arguments)
    return project


def _run(project: Project, server: StageServer, module: str, *arguments: str) -> str:
    finished = server.run(project.root, module, *arguments, env={"SAE_PLUGINS": str(PLUGINS)})
    assert finished.code == 0, finished.out
    return finished.out


@pytest.fixture(scope="module")
def fakes(audited: Project) -> Any:
    """The audit of the fake columns on the trained SAEs."""
    table = pd.read_parquet(audited.root / "eval_results" / "merged" / "audit.parquet")
    return table[(table.panel == "trained") & (table["eval"] == "fake_scores")].set_index("column")


def test_each_fake_gets_the_verdict_that_it_deserves(fakes: Any) -> None:
    verdicts = {name: text.split("; ") for name, text in fakes.verdicts.items()}
    assert verdicts["little_noise"] == ["usable"]
    assert verdicts["much_noise"][0] == "do not use to tell these SAEs apart"
    assert verdicts["constant"][0] == "do not use to tell these SAEs apart"
    assert verdicts["negative"] == ["fails a control"]
    assert verdicts["fires"][0] == "reads L0"


def test_the_audit_finds_the_size_of_the_noise_that_was_put_in(fakes: Any) -> None:
    """Within the chi-squared interval of a deviation; what little noise the metric itself has adds to the smaller."""
    for name, size in (("little_noise", LITTLE), ("much_noise", MUCH)):
        own_noise = fakes.sigma_e["negative"]
        degrees = (fakes.saes[name] - 1) * (fakes.n_draws[name] - 1)
        assert fakes.sigma_e[name] == pytest.approx(math.hypot(size, own_noise), rel=2.6 / math.sqrt(2 * degrees)), name


def test_the_verdict_follows_the_size_of_the_noise(fakes: Any) -> None:
    spread, own_noise = fakes.sigma_s["negative"], fakes.sigma_e["negative"]
    for name, size in (("little_noise", LITTLE), ("much_noise", MUCH)):
        true = spread**2 / (spread**2 + size**2 + own_noise**2)
        assert fakes.reliability_low[name] <= true <= fakes.reliability_high[name], name


def test_controls_are_those_that_the_manifest_marks(audited: Project, fakes: Any) -> None:
    assert set(fakes.closest_control) == {"random_topk_k2"}
    rows = pd.read_parquet(audited.root / "eval_results" / "merged" / "results.parquet")
    assert set(rows[rows.control].sae) == {"random_topk_k2"}


def test_the_report_and_the_command_say_so(audited: Project, server: StageServer) -> None:
    report = (audited.root / "METRICS.md").read_text()
    header = next(line for line in report.splitlines() if line.startswith("| SAE |") and "A constant" in line)
    for title in ("little noise ↑ |", "Minus explained variance ↑ ! |", "L0 again ↑ ∝", "A constant ↑ ✗"):
        assert title in header
    shown = _run(audited, server, "sae_research", "audit")
    assert shown.strip() in report


def test_the_health_report_rests_on_what_core_measured(audited: Project) -> None:
    core = {
        path.name.removesuffix("_eval_results.json"): json.loads(path.read_text())
        for path in (audited.root / "eval_results" / "core").glob("*_eval_*")
    }
    tables = {
        name: pd.read_parquet(audited.root / "eval_results" / "core" / f"{name}.latents.parquet") for name in core
    }
    saes = json.loads((audited.root / "eval_results" / "merged" / "health.json").read_text())["saes"]
    assert {sae["name"] for sae in saes} == set(core)
    for sae in saes:
        latents, metrics = tables[sae["name"]], core[sae["name"]]["eval_result_metrics"]
        silent = (latents.feature_density == 0).sum()
        alike = (latents.max_decoder_cosine_sim >= 0.9).sum()
        answers = sae["answers"]
        assert answers["dead"]["value"] == pytest.approx(silent / len(latents))
        assert answers["redundant"]["value"] == pytest.approx(alike / len(latents))
        assert answers["loss_recovered"]["value"] == metrics["model_performance_preservation"]["ce_loss_score"]
        # Every row begins with BOS, which is no real token.
        assert (
            0 < answers["dead"]["tokens"] <= metrics["token_stats"]["total_tokens_eval_sparsity_variance"] * 127 / 128
        )
        # The rarest latent that fired did so on a whole number of tokens.
        firings = latents.feature_density[latents.feature_density > 0].min() * answers["dead"]["tokens"]
        assert firings == pytest.approx(round(firings), abs=1e-9)
    verdicts = {sae["name"]: sae["answers"]["redundant"]["verdict"] for sae in saes}
    assert verdicts["random_topk_k2"] is verdicts["relu_trainer_0_mpsae_s4"] is None
    assert None not in {verdicts["topk_k8"], verdicts["relu_trainer_0"]}
    section = (audited.root / "METRICS.md").read_text().split("## Health\n")[1].split("\n## ")[0]
    assert section.count("\n| `") == len(saes)
