"""The health of a run through its stage: table, JSON, reasons, advice."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.workspace import Workspace, make_card, make_core

from sae_research.errors import UserError
from sae_research.measurements import EvalOutput, Measurement, Result, Table
from sae_research.pipeline.stages.process_results import process_results
from sae_research.results.health.answers import QUESTIONS
from sae_research.results.health.settings import HealthSettings, L0Limits

WELL = {"ce_loss_score": 0.95, "l0": 60.0, "frac_dead": 0.0, "real_tokens_sparsity": 1000.0}
SEED_004 = {"ce_loss_score": 0.0723, "l0": 227.37, "frac_dead": 0.888, "real_tokens_sparsity": 6400.0}
"""The SAE that the thresholds were made for."""
RECORD: Mapping[str, Any] = {
    "tokens": 500_736, "tokens_per_latent": 3.8, "dead_share": 0.2, "loss": 0.1, "l0": 227.0, "steps": 489,
    "learning_rate": 1e-4, "normalize_activations": "none", "architecture": "standard", "dataset": "finance",
    "context_size": 64, "seed": 3,
}  # fmt: skip


def measured(cosines: Sequence[float] = (0.1,), *, values: Mapping[str, float] = WELL, **card: Any) -> Result:
    """A core result whose latents have these largest decoder cosines; those that are not silent fire often."""
    name, architecture = card.pop("name", "sae"), card.pop("architecture", "relu")
    result = make_core(make_card(name, architecture, **{"hyperparameters": {}, **card}), **values)
    n_silent = round(values["frac_dead"] * len(cosines))
    densities = [0.5 * (i >= n_silent) for i in range(len(cosines))]
    return with_latents(result, densities, cosines)


def with_latents(result: Result, densities: Sequence[float], cosines: Sequence[float]) -> Result:
    columns = {"feature_density": np.array(densities), "max_decoder_cosine_sim": np.array(cosines)}
    return replace(result, output=EvalOutput(result.output.measurements, tables={"latents": Table(columns)}))


def absorbed(value: float | None, name: str = "sae", **card: Any) -> Result:
    reason = "3 of 22 letters; 5 are needed" if value is None else None
    output = EvalOutput((Measurement("mean_absorption_fraction_score", value, reason),))
    return replace(measured(name=name, **card), eval_name="absorption", output=output)


def processed(
    workspace: Workspace, *results: Result, settings: HealthSettings | None = None
) -> tuple[dict[str, Any], str]:
    """By SAE what health.json has, and the section of METRICS.md."""
    for result in results:
        workspace.add(result)
    evals = {result.eval_name: True for result in results}
    process_results(workspace.paths, evals, health=settings)
    document = json.loads((workspace.paths.merged / "health.json").read_text())
    section = workspace.paths.report.read_text().split("## Health\n")[1].split("\n## ")[0]
    return {entry["name"]: entry for entry in document["saes"]}, section


def verdicts(entry: Mapping[str, Any]) -> list[str | None]:
    return [entry["answers"][question]["verdict"] for question in QUESTIONS]


def line(section: str, name: str) -> list[str]:
    """The cells of an SAE's line."""
    found = next(line for line in section.splitlines() if line.startswith(f"| `{name}`"))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_an_sae_is_as_healthy_as_its_worst_answer(workspace: Workspace) -> None:
    saes, section = processed(
        workspace, measured(name="well"), absorbed(0.1, "well"), measured(name="so_so"), absorbed(0.3, "so_so"),
        measured([*[1.0] * 667, *[0.2] * 333], name="ill", values=SEED_004), absorbed(0.5, "ill"),
    )  # fmt: skip
    assert verdicts(saes["well"]) == ["healthy"] * 5
    assert verdicts(saes["so_so"]) == [*["healthy"] * 4, "borderline"]
    assert verdicts(saes["ill"]) == ["bad"] * 5
    assert [saes[name]["verdict"] for name in ("well", "so_so", "ill")] == ["healthy", "borderline", "bad"]
    assert (saes["so_so"]["healthy"], saes["so_so"]["asked"]) == (4, 5)
    assert line(section, "well") == ["`well`", "healthy", "5 of 5", "0.950", "60", "0", "0", "0.100"]
    assert line(section, "so_so")[-1] == "*0.300*"
    ill = ["`ill`", "bad", "0 of 5", "**0.0723**", "**227**", "**0.888**", "**0.667**", "**0.500**"]
    assert line(section, "ill") == ill
    assert "silent on all of 1,000 to 6,400 tokens" in section
    assert "fewer than 0.00300 of tokens" in section
    assert (saes["ill"]["answers"]["dead"]["tokens"], saes["well"]["advice"]) == (6400, [])


def test_thresholds_are_the_users(workspace: Workspace) -> None:
    saes, section = processed(workspace, measured(), settings=HealthSettings(l0=L0Limits(healthy=(2.0, 9.5))))
    assert saes["sae"]["answers"]["l0"]["verdict"] == saes["sae"]["verdict"] == "bad"
    assert "L0 2 to 9.5" in section
    document = json.loads((workspace.paths.merged / "health.json").read_text())
    assert document["thresholds"]["l0"]["healthy"] == [2.0, 9.5]


def test_a_question_that_does_not_apply_has_its_number_and_the_reason(workspace: Workspace) -> None:
    baseline = {"repo_id": "r", "baseline": "relu"}
    saes, section = processed(
        workspace,
        measured([0.99], name="noise", control=True, atoms="random"), absorbed(0.1, "noise", control=True),
        measured([0.99], name="pca", control=True, atoms="pca"),
        measured([0.99], name="greedy", architecture="mpsae", source=baseline, hyperparameters={"s": 8}),
        measured(name="whole", architecture="ihtp", scope="sequence", source=baseline,
                 values={**WELL, "interpolates": 0.9}),
    )  # fmt: skip
    for name in ("noise", "pca"):
        assert verdicts(saes[name])[:4] == ["healthy", "healthy", None, None]
        assert (saes[name]["verdict"], saes[name]["advice"], line(section, name)[1]) == (None, [], "control")
        assert saes[name]["answers"]["redundant"]["value"] == 1
        assert "a control: nothing trained it" in saes[name]["answers"]["dead"]["reason"]
    assert verdicts(saes["greedy"])[:4] == ["healthy", "healthy", "healthy", None]
    assert "atoms are those of `relu`" in saes["greedy"]["answers"]["redundant"]["reason"]
    assert verdicts(saes["whole"])[:4] == [None, None, "healthy", None]
    assert "Of 2 controls, which learned nothing, 2 recover a healthy share of the loss: a healthy" in section
    lines = [row for row in section.splitlines() if row.startswith("| `")]
    assert [row.split("`")[1] for row in lines] == ["greedy", "whole", "noise", "pca"], "controls last"
    assert "(a) its atoms are those of `relu`" in section
    assert line(section, "greedy")[-2:] == ["1 (a)", "– (b)"]
    assert "(b) absorption was not measured" in section


def test_what_failed_or_has_no_number_says_why(workspace: Workspace) -> None:
    workspace.fail("core", "broken", "NaN weights")
    saes, section = processed(workspace, measured(name="good"), absorbed(None, "good"))
    assert saes["good"]["answers"]["absorption"]["reason"] == "3 of 22 letters; 5 are needed"
    assert "the absorption eval gives no mean" in section
    assert "letters; 5" not in section
    assert (verdicts(saes["broken"]), saes["broken"]["verdict"]) == ([None] * 5, None)
    assert line(section, "broken")[1:3] == ["–", "0 of 0"]
    assert "core failed: NaN weights" in section


def test_without_core_and_absorption_there_is_no_section(workspace: Workspace, probing_result: Any) -> None:
    workspace.add(probing_result(make_card("a")))
    process_results(workspace.paths, {"sparse_probing": True})
    assert "## Health" not in workspace.paths.report.read_text()


def test_advice_follows_from_the_training_record(workspace: Workspace) -> None:
    folder = workspace.paths.saes / "sae"
    folder.mkdir(parents=True)
    (folder / "training.json").write_text(json.dumps(RECORD))
    ill = measured([1.0] * 1000, values=SEED_004, d_sae=131_072, training_tokens=7)
    saes, _ = processed(workspace, ill, absorbed(0.5, d_sae=131_072))
    assert saes["sae"]["training"]["tokens"] == 500_736
    advice = saes["sae"]["advice"]
    wanted = [
        "trained on finance and measured on embedded/text",
        "on rows of 64 tokens and measured on rows of 128",
        "trained on 500,736 tokens, 3.82 per latent. Train on 13,107,200 or more (100 per latent), or give it about",
        "normalize_activations: none",
        "L0 is 227.4: train with a larger sparsity coefficient, to come to 40 to 120",
        "At the end of training 20 % of the latents were dead, here 88.8 % are silent",
        "100 % of the latents have a near copy",
        "Absorption rises with width",
    ]
    assert len(advice) == len(wanted)
    assert [words for words, sentence in zip(wanted, advice, strict=True) if words not in sentence] == []


def test_advice_without_a_record_is_general(workspace: Workspace) -> None:
    saes, _ = processed(
        workspace,
        measured(name="plain", values={**WELL, "frac_dead": 0.5}),
        measured(name="k", architecture="topk", hyperparameters={"k": 8}, values={**WELL, "l0": 8.0}),
        measured(name="s", architecture="mpsae", hyperparameters={"s": 4}, source={"baseline": "plain"},
                 values={**WELL, "frac_dead": 0.5}),
        measured(name="weak", values={**WELL, "l0": 25.0, "ce_loss_score": 0.1}, training_tokens=512 * 100),
    )  # fmt: skip
    plain = " ".join(saes["plain"]["advice"])
    assert "How many tokens it was trained on is not recorded" in plain
    assert "a lower learning rate." in plain
    assert saes["k"]["advice"] == ["L0 is 8: take a larger k, to come to 40 to 120."]
    assert saes["s"]["advice"] == ["Its encoder never chooses these atoms of `plain`: take a larger s."]
    weak = ["At an L0 of 25 little can be reconstructed: train with a smaller sparsity coefficient."]
    assert saes["weak"]["advice"] == weak, "100 tokens per latent are enough"


def test_silence_on_few_tokens_asks_for_more(workspace: Workspace) -> None:
    result = measured([0.1] * 20, values={**WELL, "frac_dead": 0.4})
    fired = [0.0] * 8 + [0.001] * 5 + [0.5] * 7
    saes, _ = processed(workspace, with_latents(result, fired, [0.1] * 20))
    assert saes["sae"]["answers"]["dead"]["verdict"] == "borderline"
    assert any("Of 8 silent latents at least 8 are rare and not dead: 1,000 tokens" in a for a in saes["sae"]["advice"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "training.json is not valid JSON .* delete it"),
        ('{"tokens": "many"}', "training.json.tokens: got 'many' .*, expected int"),
    ],
)
def test_a_damaged_training_record_is_named(workspace: Workspace, text: str, message: str) -> None:
    folder = workspace.paths.saes / "sae"
    folder.mkdir(parents=True)
    (folder / "training.json").write_text(text)
    with pytest.raises(UserError, match=message):
        processed(workspace, measured())
    assert not workspace.paths.report.exists()
