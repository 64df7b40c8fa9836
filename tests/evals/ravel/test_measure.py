"""RAVEL as a whole: oracles, invariances, failures, from files to documents."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.outcomes import MakeSae, check_normalised_sae
from support.ravel import SETTINGS, TEMPLATES, values_of
from support.sae_bench_documents import read_by_sae_bench
from support.threads import torch_threads
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sae_research.errors import UserError
from sae_research.evals.base import EvalContext
from sae_research.evals.ravel.entities import EntityPrompt
from sae_research.evals.ravel.eval import RAVEL
from sae_research.evals.ravel.measure import measure_ravel
from sae_research.lm.site import Site


@pytest.fixture(scope="module")
def outcomes(context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]) -> list[Any]:
    saes = [make_sae("relu"), make_sae("topk", k=5), make_sae("ihtp", k=1), make_sae("mpsae", s=4)]
    return list(measure_ravel(context, saes, {"city": items}, SETTINGS))


def test_every_sae_and_baseline_is_measured(outcomes: list[Any], make_sae: MakeSae) -> None:
    for outcome in outcomes:
        assert outcome.error is None
        values = values_of(outcome.output)
        assert values["baseline_isolation_score", "noop"] == 1.0
        assert values["baseline_cause_score", "noop"] == 0.0
        (noop,) = (m for m in outcome.output.measurements
                   if m.metric == "baseline_disentanglement_score" and dict(m.at) == {"baseline": "noop"})  # fmt: skip
        (isolation,) = (m for m in outcome.output.measurements
                        if m.metric == "baseline_isolation_score" and dict(m.at) == {"baseline": "noop"})  # fmt: skip
        assert 0.5 - noop.ci_low == pytest.approx((1 - isolation.ci_low) / 2), "cause cannot be lower"
        assert all(value is not None and (0 <= value <= 1 or key[0].startswith("n_"))
                   for key, value in values.items())  # fmt: skip
        assert ("with_error_cause_score", "city", "Language") in values
        assert values["prompts_kept", "city"] == 1.0
        baselines = {k: v for k, v in values.items() if k[0].startswith("baseline_")}
        assert baselines == {k: v for k, v in values_of(outcomes[0].output).items() if k[0].startswith("baseline_")}


def test_an_sae_comes_with_what_stands_behind_its_numbers(outcomes: list[Any]) -> None:
    """Of 40 prompts 28 train and 12 test, for cause and for isolation: 56 pairs, in batches of 4, are read twice."""
    for outcome in outcomes:
        values = values_of(outcome.output)
        assert values["n_test_entities",] == values["n_test_entities", "city"] == 8, "every third of 24 cities"
        for attribute in ("Country", "Language"):
            assert values["n_cause_pairs", "city", attribute] == values["n_isolation_pairs", "city", attribute] == 12
            assert values["n_training_steps", "city", attribute] == 28
        assert values["n_cause_pairs",] == 24 and values["n_training_steps",] == 28


def test_company_batches_and_threads_change_no_number(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt], outcomes: list[Any]
) -> None:
    other = dataclasses.replace(context, batch_size=3)
    with torch_threads(3):
        (alone,) = measure_ravel(other, [make_sae("topk", k=5)], {"city": items}, SETTINGS)
    assert alone.output is not None
    assert values_of(alone.output) == values_of(outcomes[1].output)


def test_an_sae_that_normalises_is_swapped_in_the_units_of_activations(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]
) -> None:
    check_normalised_sae(lambda saes: measure_ravel(context, saes, {"city": items}, SETTINGS), make_sae)


def test_one_failing_sae_stops_no_other(context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]) -> None:
    bad = make_sae("relu", name="bad")
    bad.b_dec.fill_(float("nan"))
    settings = dataclasses.replace(SETTINGS, baselines=("noop",))
    first, second = measure_ravel(context, [bad, make_sae("relu")], {"city": items}, settings)
    assert isinstance(first.error, FloatingPointError) and first.output is None
    assert second.output is not None


class _LargestTensor(TorchDispatchMode):
    """Within the block, the elements of the largest tensor that an operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = function(*args, **(kwargs or {}))
        self.elements = max([self.elements, *(t.numel() for t in tree_leaves(made) if isinstance(t, torch.Tensor))])
        return made


@pytest.mark.parametrize(("architecture", "hyper"), [("topk", {"k": 5}), ("ihtp", {"k": 1})])
def test_the_dense_codes_of_all_prompts_are_never_there_at_once(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt], architecture: str, hyper: dict[str, Any]
) -> None:
    wide = make_sae(architecture, d_sae=5000, **hyper)
    small = dataclasses.replace(context, batch_size=1)
    settings = dataclasses.replace(SETTINGS, baselines=("noop",))
    # With one thread the work is done on this one, where the mode looks on.
    with torch_threads(1), torch.no_grad(), _LargestTensor() as largest:
        (outcome,) = measure_ravel(small, [wide], {"city": items}, settings)
    assert outcome.error is None
    assert largest.elements < len(items) * wide.card.d_sae / 2


def test_an_sae_too_wide_for_memory_fails_alone(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt]
) -> None:
    """The atoms are one atom, seen 2^44 times: no machine has room for the codes."""
    wide, other = make_sae("relu", name="wide", d_sae=1), make_sae("relu")
    for tensor, shape in {"W_enc": (-1, 2**44), "b_enc": (2**44,), "W_dec": (2**44, -1)}.items():
        setattr(wide, tensor, wide.get_buffer(tensor).expand(shape))
    object.__setattr__(wide, "card", dataclasses.replace(wide.card, d_sae=2**44))
    settings = dataclasses.replace(SETTINGS, baselines=("noop",))
    first, second = measure_ravel(context, [wide, other], {"city": items}, settings)
    assert isinstance(first.error, RuntimeError) and first.output is None
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
    for key, value in values_of(outcome.output).items():
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


def test_from_files_to_a_document_that_sae_bench_accepts(
    context: EvalContext, make_sae: MakeSae, items: list[EntityPrompt], tmp_path: Path
) -> None:
    """RAVEL's own layout in a local folder."""
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
    assert outcome.output is not None and values_of(outcome.output)["prompts_kept", "city"] == 1.0
    read = read_by_sae_bench(RAVEL, outcome.output, settings)
    assert set(read.eval_result_unstructured["city_results"]) == {"city_Country", "city_Language"}
    (data_set,) = RAVEL.data(settings)
    assert data_set.name == str(tmp_path) and data_set.revision(context.hub).startswith("sha256:")
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
