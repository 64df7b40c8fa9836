"""RAVEL at several sites in one run, and over several seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae
from support.ravel import SETTINGS, values_of

from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.ravel.eval import RAVEL
from sae_research.evals.ravel.measure import measure_ravel
from sae_research.evals.run import run_eval
from sae_research.lm.site import Site
from sae_research.measurements import EvalOutput
from sae_research.saes.base import Sae

FEW = dataclasses.replace(SETTINGS, num_epochs=1, num_pairs_per_attribute=20, baselines=("noop", "mdas"))
SITES = (Site(0, "resid_pre"), Site(0, "resid_post"), Site(1, "mlp_out"))


def _at(sae: Sae, site: Site) -> Sae:
    object.__setattr__(sae, "card", dataclasses.replace(sae.card, site=site, name=f"{sae.card.name}_{site.hook_name}"))
    return sae


def _measure(
    context: EvalContext, saes: Sequence[Sae], items: list[EntityPrompt], settings: Any = FEW
) -> list[EvalOutput]:
    outcomes = list(measure_ravel(context, saes, {"city": items}, settings))
    assert [outcome.error for outcome in outcomes] == [None] * len(saes)
    return [outcome.output for outcome in outcomes if outcome.output is not None]


def test_sites_together_give_what_each_gives_alone(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]
) -> None:
    saes = [_at(make_sae("topk", k=5), site) for site in SITES] + [_at(make_sae("ihtp", k=1), SITES[1])]
    together = {o.sae: o.output for o in measure_ravel(context, saes, {"city": items}, FEW)}
    for site in SITES:
        of_site = [sae for sae in saes if sae.card.site == site]
        for sae, alone in zip(of_site, _measure(context, of_site, items), strict=True):
            output = together[sae]
            assert output is not None and values_of(output) == values_of(alone), sae.card.name


def test_one_run_of_the_model_represents_the_prompts_for_all_sites(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]
) -> None:
    """What a site costs is its training and test pairs; the prompts are read twice, whatever the number of sites."""
    costs = []
    for n in (1, 2, 3):
        before = context.lm.tokens_read
        _measure(context, [_at(make_sae("topk", k=5), site) for site in SITES[:n]], items)
        costs.append(context.lm.tokens_read - before)
    pairs = costs[1] - costs[0]
    assert costs[2] - costs[1] == pairs
    lengths = [1 + len(context.lm.tokenizer(item.text)["input_ids"]) for item in items]  # type: ignore[arg-type]
    assert costs[0] - pairs == 2 * sum(lengths)


def test_a_failing_sae_stops_no_other_site(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = _at(make_sae("relu", name="bad"), SITES[0])
    bad.b_dec.fill_(float("nan"))
    missing = _at(make_sae("relu", name="deep"), Site(7, "resid_post"))
    good = _at(make_sae("relu"), SITES[1])
    monkeypatch.setattr("sae_research.evals.ravel.eval.load_entity_prompts", lambda *_: items)
    settings = dataclasses.replace(FEW, baselines=("noop",))
    measured = {
        m.sae.card.name: m for m in run_eval(context, RAVEL, settings, [bad, missing, good], parts=lambda _: {})
    }
    assert isinstance(measured[bad.card.name].error, FloatingPointError)
    assert "valid layers: 0 to 1" in str(measured[missing.card.name].error)
    assert measured[good.card.name].result is not None


def test_scores_are_means_over_seeds(context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]) -> None:
    seeded = dataclasses.replace(FEW, seeds=(3, 4))
    (output,) = _measure(context, [make_sae("topk", k=5)], items, seeded)
    single = [
        values_of(_measure(dataclasses.replace(context, seed=seed), [make_sae("topk", k=5)], items)[0])
        for seed in (context.seed, 3, 4)
    ]
    whole = values_of(output)
    for metric, *place in [("disentanglement_score",), ("soft_cause_score", "city", "Country"),
                           ("baseline_cause_score", "mdas"), ("with_error_isolation_score",)]:  # fmt: skip
        numbers = [values[metric, *place] for values in single]
        assert whole[metric, *place] == pytest.approx(np.mean(numbers)), metric  # type: ignore[arg-type]
        assert whole[f"{metric}_seed_std", *place] == pytest.approx(np.std(numbers, ddof=1)), metric  # type: ignore[arg-type]
    assert whole["n_latents_swapped",] == pytest.approx(np.mean([v["n_latents_swapped",] for v in single]))  # type: ignore[arg-type]
    mean = next(m for m in output.measurements if m.metric == "isolation_score" and not m.at)
    assert mean.ci_low is not None and mean.value is not None and mean.ci_low < mean.value
    with pytest.raises(ValueError, match=r"ravel\.seeds holds 0, which is random_seed"):
        RAVEL.check(dataclasses.replace(FEW, seeds=(0,)), 0)


def test_the_error_term_of_a_perfect_sae_is_nothing(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]
) -> None:
    """Oracle: 2 · 16 atoms reconstruct exactly, so that scores with and without the error term are equal."""
    one = torch.eye(16)
    atoms = torch.cat([one, -one])
    tensors = {"W_dec": atoms, "W_enc": atoms.T.contiguous(), "b_enc": torch.zeros(32), "b_dec": torch.zeros(16)}
    perfect = make_sae("relu", d_sae=32, tensors=tensors)
    for settings in (FEW, dataclasses.replace(FEW, train_with_error=True)):
        (output,) = _measure(context, [perfect], items, settings)
        values = values_of(output)
        for soft in ("", "soft_"):
            for score in ("cause_score", "isolation_score"):
                assert values[f"{soft}{score}",] == values[f"{soft}with_error_{score}",]


def test_prompts_without_bos_are_those_of_a_plain_tokenizer(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]
) -> None:
    """Labelled with what the model goes on with after BOS: without it, the model knows fewer."""
    (output,) = _measure(context, [make_sae("relu")], items, dataclasses.replace(FEW, prepend_bos=False))
    expected = []
    for item in items:
        ids = context.lm.tokenizer(item.text)["input_ids"]
        best = int(context.lm.logits(torch.tensor([ids]))[0, -1].argmax())
        expected.append(str(context.lm.tokenizer.decode([best])) == item.label)
    assert values_of(output)["prompts_kept", "city"] == pytest.approx(np.mean(expected))
