"""RAVEL: prompts, pairs, swaps and scores by hand; the model's invariants; SAEBench's masks on the same pairs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae
from support.threads import torch_threads
from transformers import PreTrainedTokenizerFast

from sae_research.errors import UserError
from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.ravel.eval import RAVEL
from sae_research.evals.ravel.measure import _EntityClass, measure_ravel
from sae_research.evals.ravel.pairs import Pairs, draw_pairs
from sae_research.evals.ravel.prompts import Prompts, known_prompts, tokenize_prompts
from sae_research.evals.ravel.report import ClassHits, class_scores
from sae_research.evals.ravel.settings import RavelSettings
from sae_research.evals.ravel.swaps import (
    HARD,
    Axes,
    How,
    Latents,
    MaskSwap,
    RotationSwap,
    WholeSwap,
    principal_axes,
    random_rotation,
    sparse_rows,
)
from sae_research.evals.ravel.training import Achieved, Contender, Contest
from sae_research.evals.shared.attempts import Attempt
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.measurements import EvalOutput, Result
from sae_research.progress import Progress
from sae_research.reference.ravel import SaeBenchRavel
from sae_research.results.document import to_document
from sae_research.sources.hub import Hub

SETTINGS = RavelSettings(
    dataset="embedded/cities", attributes={"city": ("Country", "Language")}, answer="first_token",
    num_pairs_per_attribute=40, batch_size=4, num_epochs=2, learning_rate=0.05, rotation_learning_rate=0.02,
    das_dimension=4,
)  # fmt: skip
TEMPLATES = {"Country": ("w50 %s w51 w52", "w53 w54 %s w55"), "Language": ("w56 %s w57", "%s w58 w59")}
N_CITIES = 24


@pytest.fixture(scope="module")
def context(lm: LanguageModel, tmp_path_factory: pytest.TempPathFactory) -> EvalContext:
    world = tmp_path_factory.mktemp("world")
    return EvalContext(lm=lm, hub=Hub(world), seed=0, batch_size=8, progress=Progress("test", shown=False))


@pytest.fixture(scope="module")
def items(lm: LanguageModel) -> list[EntityPrompt]:
    """Prompts on cities w0, w1, ..., each labelled with what the random model goes on with: it knows all of them."""
    made = []
    for i in range(N_CITIES):
        for attribute, templates in TEMPLATES.items():
            for template in templates:
                asked = EntityPrompt(f"w{i}", attribute, template, "", held_out=i % 3 == 0)
                ids = lm.tokenizer(asked.text)["input_ids"]
                best = int(lm.logits(torch.tensor([[2, *ids]]))[0, -1].argmax())  # type: ignore[misc]
                made.append(asked._replace(label=str(lm.tokenizer.decode([best]))))
    return made


@pytest.fixture(scope="module")
def site() -> Site:
    return Site(0, "resid_post")


@pytest.fixture(scope="module")
def prompts(context: EvalContext, site: Site, items: list[EntityPrompt]) -> Prompts:
    return known_prompts(context, site, tokenize_prompts(context.lm, items), SETTINGS)


def test_prompts_as_tokens(lm: LanguageModel, tokenizer: PreTrainedTokenizerFast) -> None:
    several = EntityPrompt("w1 w2 w3", "Country", "w50 %s w51", "w9", held_out=False)
    alone = EntityPrompt("w4", "Country", "%s", "w9", held_out=False)
    found = tokenize_prompts(lm, [several, alone])
    assert tokenizer.convert_ids_to_tokens(found.tokens[0].tolist()) == ["<bos>", "w50", "w1", "w2", "w3", "w51"]
    assert tokenizer.convert_ids_to_tokens(found.tokens[1].tolist()) == ["<bos>", "w4", *["<pad>"] * 4]
    assert (found.entity.tolist(), found.lengths.tolist()) == ([4, 1], [6, 2])


def test_only_what_the_model_knows_is_kept(
    context: EvalContext, site: Site, items: list[EntityPrompt], prompts: Prompts
) -> None:
    assert prompts.items == items
    wrong = [item._replace(label="w0" if item.label != "w0" else "w1") for item in items[:3]]
    asked = tokenize_prompts(context.lm, [*wrong, *items[3:]])
    known = known_prompts(context, site, asked, dataclasses.replace(SETTINGS, top_n_entities=3))
    # The first city has one right answer, the others four each: the first three of these are kept.
    assert known.items == items[4:16]
    assert known.first.tolist() == prompts.first[4:16].tolist()


def test_generated_answers_are_judged_as_text(context: EvalContext, site: Site, items: list[EntityPrompt]) -> None:
    """With two tokens the label may be a phrase; the second token is read after the first."""
    lm, settings = context.lm, dataclasses.replace(SETTINGS, answer="generation", n_generated_tokens=2)
    ids = [2, *lm.tokenizer(items[0].text)["input_ids"]]  # type: ignore[misc]
    for _ in range(2):
        ids.append(int(lm.logits(torch.tensor([ids]))[0, -1].argmax()))
    phrase = str(lm.tokenizer.decode(ids[-2:]))
    asked = [items[0]._replace(label=phrase), items[0]._replace(label=f"{phrase}x"), items[0]._replace(label="no")]
    known = known_prompts(context, site, tokenize_prompts(lm, asked), settings)
    assert [item.label for item in known.items] == [phrase, f"{phrase}x"]  # "As much of it as fits" counts.


@pytest.mark.parametrize("split", ["entity", "sae_bench"])
def test_pairs(prompts: Prompts, split: Any) -> None:
    settings = dataclasses.replace(SETTINGS, split=split, num_pairs_per_attribute=20)
    found = draw_pairs(prompts, "Country", ["Language"], settings, ("key",))
    seen: dict[str, set[str]] = {"train": set(), "test": set()}
    for part, pairs in zip(("train", "test"), (found.train, found.test), strict=True):
        assert len(pairs)
        for base, source, is_cause in zip(
            pairs.base.tolist(), pairs.source.tolist(), pairs.is_cause.tolist(), strict=True
        ):
            a, b = prompts.items[base], prompts.items[source]
            assert a.attribute == b.attribute == ("Country" if is_cause else "Language")
            assert a.label != b.label
            seen[part] |= {a.entity, b.entity}
    if split == "entity":
        assert not seen["train"] & seen["test"]
        assert [len(p) for p in (found.train, found.test)] == [28, 12]
        assert [int(p.is_cause.sum()) for p in (found.train, found.test)] == [14, 6]
    else:
        assert [len(p) for p in (found.train, found.test)] == [28, 12]  # 40 pairs, whole batches of 4.
    again = draw_pairs(prompts, "Country", ["Language"], settings, ("key",))
    assert torch.equal(again.train.base, found.train.base) and torch.equal(again.test.source, found.test.source)


def test_mask_swaps_by_hand() -> None:
    codes = torch.tensor([[1.0, 0.0, -2.0], [0.0, 3.0, 5.0]])
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    x_hat = codes @ directions + 10
    swap = MaskSwap(Latents(codes, x_hat, x_hat + 0.5, directions))
    swap.mask = torch.tensor([1.0, -1.0, 2.0])
    base, source = torch.tensor([0]), torch.tensor([1])
    # Latents 0 and 2 come from the source, signs and all: 0 d0 + 0 d1 + 5 d2 + 10.
    assert swap.mixed(base, source, HARD).tolist() == [[15.0, 15.0]]
    assert swap.mixed(base, source, How(with_error=True)).tolist() == [[15.5, 15.5]]
    assert swap.n_swapped == 2
    shares = torch.sigmoid(torch.tensor([0.5, -0.5, 1.0]))
    mixed = (1 - shares) * codes[0] + shares * codes[1]
    torch.testing.assert_close(swap.mixed(base, source, How(2.0))[0], mixed @ directions + 10)


def test_sparse_rows_keep_every_code() -> None:
    codes = torch.tensor([[0.0, -1.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0]])
    latents, values = sparse_rows(codes)
    assert latents.shape == (3, 2)
    assert torch.equal(torch.zeros(3, 4).scatter_add_(1, latents, values), codes)
    assert sparse_rows(torch.zeros(2, 3))[1].tolist() == [[0.0], [0.0]]


def test_all_or_nothing_on_axes_is_the_source_or_the_base() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 5)
    base, source = torch.tensor([0, 1]), torch.tensor([2, 3])
    for axes in (torch.eye(5), principal_axes(x), random_rotation(5, ("r",))):
        torch.testing.assert_close(axes @ axes.T, torch.eye(5), atol=1e-5, rtol=0)
        swap = MaskSwap(Axes(x, axes))
        torch.testing.assert_close(swap.mixed(base, source, HARD), x[base])
        swap.mask = torch.ones(5)
        torch.testing.assert_close(swap.mixed(base, source, HARD), x[source], atol=1e-5, rtol=0)
    assert torch.equal(WholeSwap(x, of_source=True).mixed(base, source, HARD), x[source])
    assert torch.equal(WholeSwap(x, of_source=False).mixed(base, source, HARD), x[base])


def test_principal_axes_are_scikit_learns() -> None:
    from sklearn.decomposition import PCA

    x = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 6)
    expected = np.abs(np.asarray(PCA().fit(x.numpy()).components_))
    np.testing.assert_allclose(principal_axes(x).abs().numpy(), expected, atol=1e-4)


def test_rotations_stay_orthogonal_whatever_is_learnt() -> None:
    x, start = torch.randn(6, 5), random_rotation(5, ("r",))
    swap = RotationSwap(x, start, None)
    torch.testing.assert_close(swap.axes.detach(), start)
    with torch.no_grad():
        swap.skew.copy_(torch.randn(5, 5))
    torch.testing.assert_close(swap.axes @ swap.axes.T, torch.eye(5), atol=1e-5, rtol=0)
    whole = RotationSwap(x, start, 5).mixed(torch.tensor([0]), torch.tensor([1]), HARD)
    torch.testing.assert_close(whole.detach(), x[1:2], atol=1e-5, rtol=0)
    assert RotationSwap(x, start, 2).cause_only and not swap.cause_only


def _hits(prompts: Prompts, pairs: Pairs, hits: list[bool]) -> ClassHits:
    return ClassHits(prompts, len(prompts.items), {"Country": Achieved(pairs, {"": np.array(hits)}, 3)})


def test_scores_by_hand(prompts: Prompts) -> None:
    """Cause 2 of 3, isolation 1 of 2."""
    pairs = Pairs(torch.tensor([0, 4, 8, 2, 6]), torch.tensor([4, 8, 0, 6, 2]), torch.tensor([1, 1, 1, 0, 0]).bool())
    scores = class_scores(_hits(prompts, pairs, [True, True, False, True, False]), "")["Country"]
    assert scores["cause_score"].value == pytest.approx(2 / 3)
    assert scores["isolation_score"].value == pytest.approx(1 / 2)
    assert scores["disentanglement_score"].value == pytest.approx((2 / 3 + 1 / 2) / 2)
    # Left out in turn: city 0 (cause 1/2, isolation 0/1), city 1 (1/2, 1/1), city 2 (2/2, 1/2).
    assert scores["disentanglement_score"].replicates == pytest.approx((0.25, 0.75, 0.75))
    assert class_scores(_hits(prompts, Pairs(*(t[:3] for t in (pairs.base, pairs.source, pairs.is_cause))),
                              [True] * 3), "") == {}  # fmt: skip


def _values(output: EvalOutput) -> dict[tuple[str, ...], float | None]:
    return {(m.metric, *(str(v) for v in m.at.values())): m.value for m in output.measurements}


@pytest.fixture(scope="module")
def outcomes(context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]) -> list[Any]:
    saes = [make_sae("relu"), make_sae("topk", k=5), make_sae("ihtp", k=1), make_sae("mpsae", s=4)]
    return list(measure_ravel(context, saes, {"city": items}, SETTINGS))


def test_every_sae_and_baseline_is_measured(outcomes: list[Any], make_sae: MakeSae) -> None:
    for outcome in outcomes:
        assert outcome.error is None
        values = _values(outcome.output)
        assert values["baseline_isolation_score", "noop"] == 1.0
        assert values["baseline_cause_score", "noop"] == 0.0
        assert all(value is not None and (0 <= value <= 1 or key[0] == "n_latents_swapped")
                   for key, value in values.items())  # fmt: skip
        assert ("with_error_cause_score", "city", "Language") in values
        assert values["prompts_kept", "city"] == 1.0
        baselines = {k: v for k, v in values.items() if k[0].startswith("baseline_")}
        assert baselines == {k: v for k, v in _values(outcomes[0].output).items() if k[0].startswith("baseline_")}


def test_company_batches_and_threads_change_no_number(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt], outcomes: list[Any]
) -> None:
    other = dataclasses.replace(context, batch_size=3)
    with torch_threads(3):
        (alone,) = measure_ravel(other, [make_sae("topk", k=5)], {"city": items}, SETTINGS)
    assert alone.output is not None
    assert _values(alone.output) == _values(outcomes[1].output)


def test_one_failing_sae_stops_no_other(context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]) -> None:
    bad = make_sae("relu", name="bad")
    bad.b_dec.fill_(float("nan"))
    settings = dataclasses.replace(SETTINGS, baselines=("noop",))
    first, second = measure_ravel(context, [bad, make_sae("relu")], {"city": items}, settings)
    assert isinstance(first.error, FloatingPointError) and first.output is None
    assert second.output is not None


def test_nothing_after_the_last_block_moves_information(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]
) -> None:
    """No position reads another after the last layer: at the entity, before the end, no swap can change the answer."""
    inside = [item for item in items if not item.template.endswith("%s")]
    sae = make_sae("relu")
    object.__setattr__(sae, "card", dataclasses.replace(sae.card, site=Site(context.lm.n_layers - 1, "resid_post")))
    (outcome,) = measure_ravel(context, [sae], {"city": inside}, SETTINGS)
    assert outcome.output is not None
    for key, value in _values(outcome.output).items():
        if "cause_score" in key[0]:
            assert value == 0.0, key
        elif "isolation_score" in key[0]:
            assert value == 1.0, key


def test_a_model_that_knows_nothing_gives_reasons(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]
) -> None:
    asked = [item._replace(label="unheard") for item in items]
    (outcome,) = measure_ravel(context, [make_sae("relu")], {"city": asked}, SETTINGS)
    assert outcome.output is not None
    missing = [m for m in outcome.output.measurements if "_score" in m.metric]
    assert missing and all(m.value is None and "too few prompts" in str(m.reason) for m in missing)


def test_from_files_to_a_document_that_the_sae_bench_accepts(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt], tmp_path: Path
) -> None:
    """RAVEL's own layout in a local folder."""
    import warnings

    labels: dict[str, dict[str, str]] = {}
    for item in items:
        labels.setdefault(item.entity, {})[item.attribute] = item.label
    one_each = {attribute: [templates[0]] for attribute, templates in TEMPLATES.items()}
    known = [item for item in items if item.template in one_each[item.attribute]]
    labels = {item.entity: labels[item.entity] | {} for item in known}
    for item in known:
        labels[item.entity][item.attribute] = item.label
    tables = {
        "entity_attributes": labels, "attribute_to_prompts": one_each,
        "entity_to_split": {item.entity: "val" if item.held_out else "train" for item in items},
    }  # fmt: skip
    for name, table in tables.items():
        (tmp_path / f"ravel_city_{name}.json").write_text(json.dumps(table))
    settings = dataclasses.replace(SETTINGS, dataset=str(tmp_path), baselines=("noop", "full_swap"))
    (outcome,) = RAVEL.run(context, [make_sae("relu")], settings)
    assert outcome.output is not None and _values(outcome.output)["prompts_kept", "city"] == 1.0
    result = Result(
        key="0" * 64, eval_name="ravel", sae={"name": "a", "architecture": "relu", "hook_name": "h"},
        settings=json.loads(json.dumps(dataclasses.asdict(settings))),
        key_parts={"seed": 0, "model": {"name": "random", "dtype": "float32"}}, output=outcome.output,
    )  # fmt: skip
    document = to_document(result, RAVEL.specs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pydantic import TypeAdapter
        from sae_bench.evals.ravel.eval_output import RAVELEvalOutput

        TypeAdapter(RAVELEvalOutput).validate_python({k: v for k, v in document.items() if k != "sae_research"})
    assert set(document["eval_result_unstructured"]["city_results"]) == {"city_Country", "city_Language"}
    assert RAVEL.data_revisions(settings, context.hub)[str(tmp_path)].startswith("sha256:")
    with pytest.raises(UserError, match="no prompts on Flag"):
        list(RAVEL.run(context, [make_sae("relu")],
                       dataclasses.replace(settings, attributes={"city": ("Country", "Flag")})))  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"attributes": {"city": ("Country",)}}, {"train_share": 1.0}, {"baselines": ("pca", "pca")}, {"batch_size": 0},
     {"attributes": {}}, {"learning_rate": 0.0}],
)  # fmt: skip
def test_settings_are_checked(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|twice"):
        dataclasses.replace(SETTINGS, **change)


@pytest.mark.parametrize(("architecture", "hyper"), [("relu", {}), ("topk", {"k": 5})])
def test_masks_and_scores_are_sae_benchs(
    context: EvalContext, site: Site, make_sae: MakeSae, items: list[EntityPrompt], tmp_path: Path,
    architecture: str, hyper: dict[str, Any],
) -> None:  # fmt: skip
    """On the same pairs in the same order: the same mask after training, and the same scores."""
    lm, sae = context.lm, make_sae(architecture, **hyper)
    settings = dataclasses.replace(
        SETTINGS, split="sae_bench", answer="generation", n_generated_tokens=2, learning_rate=0.01, baselines=()
    )
    lm.tokenizer.save_pretrained(tmp_path)
    entity_class = _EntityClass(context, [Attempt(sae)], "city", items, settings)
    known = entity_class._prompts
    split = draw_pairs(known, "Country", ["Language"], settings, ("parity",))
    theirs = SaeBenchRavel(lm, tmp_path, settings).train_and_score(sae, known, split)
    _, latents = entity_class._represent()
    (features,) = latents.values()
    swap = MaskSwap(features)
    achieved = Contest(context, site, known, settings, [Contender(swap, name="mask")]).run(split)
    (ours,) = achieved.values()
    torch.testing.assert_close(swap.mask.detach(), theirs.mask, atol=2e-3, rtol=0)
    assert ((swap.mask > 0) == (theirs.mask > 0)).float().mean() > 0.95
    is_cause = split.test.is_cause.numpy()
    hits = ours.hits[""]
    assert hits[is_cause].mean() == pytest.approx(theirs.scores.cause, abs=0.11)
    assert hits[~is_cause].mean() == pytest.approx(theirs.scores.isolation, abs=0.11)
