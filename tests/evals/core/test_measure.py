"""The core eval as a whole: oracles, invariances, failures, against the definitions on a random model."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae, check_company, output_of
from support.threads import torch_threads

from sae_research.errors import UserError
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.core import measure
from sae_research.evals.core.eval import CORE
from sae_research.evals.core.measure import CorePlan, measure_core
from sae_research.evals.core.rows import CoreRows, documents_of
from sae_research.evals.core.settings import CoreSettings
from sae_research.evals.core.specs import CORE_SPECS
from sae_research.evals.model_results import ModelResults
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.lm.structure import take_apart
from sae_research.measurements import Measurement
from sae_research.metrics.intervals import half_widths
from sae_research.records import read_record
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub
from sae_research.sources.memory import GivenTexts

PLAN = CorePlan(batch_size=4, n_reconstruction=8, keep_special=True)


def _measure(
    context: EvalContext, saes: Sequence[Sae], rows: torch.Tensor, plan: CorePlan = PLAN, batch_size: int = 8
) -> list[Outcome]:
    of_core = CoreRows(rows, documents_of(rows, context.lm.special_ids))
    return list(measure_core(dataclasses.replace(context, batch_size=batch_size), saes, of_core, plan))


def _by_name(outcome: Outcome) -> dict[str, Measurement]:
    return {m.metric: m for m in output_of(outcome).measurements}


def _values(outcome: Outcome) -> dict[str, float | None]:
    return {name: m.value for name, m in _by_name(outcome).items()}


def _assert_close(a: Outcome, b: Outcome) -> None:
    """Both outputs hold the same numbers to float tolerance, and lack the same."""
    for one, other in zip(output_of(a).measurements, output_of(b).measurements, strict=True):
        expected = _numbers(dataclasses.asdict(other))
        assert _numbers(dataclasses.asdict(one)) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    latents, others = (output_of(outcome).tables["latents"].columns for outcome in (a, b))
    assert latents.keys() == others.keys()
    for name, column in latents.items():
        np.testing.assert_allclose(column, others[name], rtol=1e-5, atol=1e-6)


def _numbers(record: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in record.items() if isinstance(value, (int, float))}


def _mean_activation(context: EvalContext, rows: torch.Tensor, site: Any) -> torch.Tensor:
    x = context.lm.capture(rows, site)
    return x[~torch.isin(rows, torch.tensor([0, 1, 2]))].mean(dim=0)


def test_every_metric_is_reported_once(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    output = output_of(_measure(context, [make_sae("relu")], rows)[0])
    assert [m.metric for m in output.measurements] == [spec.name for spec in CORE_SPECS]
    assert len(output.tables["latents"]) == 48
    missing = {m.metric for m in output.measurements if m.value is None}
    # The model is untrained: it knows less of the text than the frequencies of its tokens say.
    assert missing == {"interpolates", "ce_loss_score_unigram"}


def test_another_sae_does_not_ask_the_model_again(
    context: EvalContext, make_sae: MakeSae, rows: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saes = [make_sae("relu"), make_sae("topk", k=4, seed=1)]
    together = [output_of(outcome) for outcome in _measure(context, saes, rows)]
    kept = dataclasses.replace(context, model_results=ModelResults(tmp_path / "kept", "model"))
    resume, runs = LanguageModel.resume, list[int]()
    monkeypatch.setattr(LanguageModel, "resume", lambda *args: runs.append(len(args[2])) or resume(*args))
    # The reconstruction, the model itself, and two ablations; then the first two.
    for sae, expected, n_runs in zip(saes, together, (4, 2), strict=True):
        runs.clear()
        assert [output_of(outcome) for outcome in _measure(kept, [sae], rows)] == [expected]
        assert len(runs) == n_runs
    changed = rows.clone()
    changed[0, 3] = 5
    assert _values(_measure(kept, saes, changed)[0]) == _values(_measure(context, saes, changed)[0])


def test_identity_loses_nothing(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    values = _values(_measure(context, [make_sae("identity", d_sae=16)], rows)[0])
    assert values["explained_variance"] == 1
    assert values["mse"] == 0
    assert values["cossim"] == pytest.approx(1)
    for name in ("l2_ratio", "relative_reconstruction_bias", "ce_loss_score", "kl_div_score"):
        assert values[name] == pytest.approx(1, abs=1e-6)
    for name in ("ce_loss_increase", "kl_div_with_sae"):
        assert values[name] == pytest.approx(0, abs=1e-6)
    assert values["l0"] == 16
    assert values["frac_alive"] == 1
    assert values["frac_alive_sae_bench"] == 1
    assert values["negative_share"] == pytest.approx(0.5, abs=0.2)


def test_zeros_recover_nothing(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    zero = make_sae("relu", tensors={n: torch.zeros(s) for n, s in _SHAPES.items()})
    plan = dataclasses.replace(PLAN, keep_special=False)
    values = _values(_measure(context, [zero], rows, plan)[0])
    assert values["ce_loss_score"] == pytest.approx(0, abs=1e-6)
    assert values["kl_div_score"] == pytest.approx(0, abs=1e-6)
    assert values["l0"] == values["frac_alive"] == values["cossim"] == values["l2_ratio"] == 0
    assert values["negative_share"] is None
    assert values["relative_reconstruction_bias"] is None
    assert values["normalized_freq_over_1_percent"] is None


_SHAPES = {"W_enc": (16, 48), "b_enc": (48,), "W_dec": (48, 16), "b_dec": (16,)}


def test_mean_explains_no_variance(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    sae = make_sae("relu")
    zeros = {n: torch.zeros(s) for n, s in _SHAPES.items()}
    of_text = make_sae("relu", tensors={**zeros, "b_dec": _mean_activation(context, rows[8:], sae.card.site)})
    values = _values(_measure(context, [of_text], rows)[0])
    assert values["explained_variance"] == pytest.approx(0, abs=1e-5)
    of_first_batch = make_sae("relu", tensors={**zeros, "b_dec": _mean_activation(context, rows[:4], sae.card.site)})
    values = _values(_measure(context, [of_first_batch], rows)[0])
    assert values["ce_loss_score_mean_ablation"] == pytest.approx(0, abs=1e-4)
    assert values["kl_div_score_mean_ablation"] == pytest.approx(0, abs=1e-4)


def test_definitions(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    """Every metric of the sparsity pass, once more in float64 from its definition over all tokens."""
    sae = make_sae("topk", k=5)
    values = _values(_measure(context, [sae], rows)[0])
    text = rows[8:]
    real = text > 2
    x = context.lm.capture(text, sae.card.site)
    z = sae.encode(x)
    x_hat = sae.decode(z)[real].double()
    x, z = x[real].double(), z[real].double()
    error = (x - x_hat).square().sum(-1)
    spread = (x - x.mean(0)).square().sum(-1)
    density = (z != 0).double().mean(0)
    expected = {
        "l0": (z != 0).sum(-1).double().mean(),
        "l1": z.abs().sum(-1).mean(),
        "mse": error.mean(),
        "explained_variance": 1 - error.sum() / spread.sum(),
        "cossim": torch.cosine_similarity(x, x_hat, dim=-1).mean(),
        "l2_norm_in": x.norm(dim=-1).mean(),
        "l2_norm_out": x_hat.norm(dim=-1).mean(),
        "l2_ratio": (x_hat.norm(dim=-1) / x.norm(dim=-1)).mean(),
        "relative_reconstruction_bias": x_hat.square().sum() / (x * x_hat).sum(),
        "frac_alive": (density > 0).double().mean(),
        "freq_over_10_percent": (density > 0.1).double().mean(),
        "normalized_freq_over_10_percent": density[density > 0.1].sum() / density.sum(),
        "support_per_sequence": torch.stack([(sae.encode(context.lm.capture(t[None], sae.card.site))[0][t > 2] != 0)
                                             .any(0).sum() for t in text]).double().mean(),
    }  # fmt: skip
    assert {name: values[name] for name in expected} == pytest.approx({n: float(v) for n, v in expected.items()})


def test_a_massive_activation_is_told_apart(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    """One token has an embedding of 1,000 times the usual norm, as a few tokens of real models have activations."""
    sae, real = make_sae("topk", k=5), rows[8:] > 2
    token = int(rows[8:][real][0])
    model: Any = copy.deepcopy(context.lm.plain_model)
    model.get_input_embeddings().weight.data[token] *= 1000
    lm = LanguageModel(take_apart(model, 2), context.lm.tokenizer, name="random", revision="none")
    values = _values(_measure(dataclasses.replace(context, lm=lm), [sae], rows)[0])
    x = lm.capture(rows[8:], sae.card.site)
    error = (x - sae.decode(sae.encode(x)))[real].double().square().sum(-1)
    is_outlier, x = (rows[8:] == token)[real], x[real].double()
    usual = x[~is_outlier]
    spread = (usual - usual.mean(0)).square().sum()
    share = 1 - spread / (x - x.mean(0)).square().sum()
    assert values["outlier_share_of_tokens"] == pytest.approx(float(is_outlier.double().mean()))
    assert values["outlier_share_of_variance"] == pytest.approx(float(share), rel=1e-6)
    assert share > 0.9
    assert values["explained_variance_without_outliers"] == pytest.approx(
        float(1 - error[~is_outlier].sum() / spread), rel=1e-3
    )
    without = _values(_measure(context, [sae], rows)[0])
    assert without["outlier_share_of_tokens"] == without["outlier_share_of_variance"] == 0
    assert without["explained_variance_without_outliers"] == without["explained_variance"]


def test_losses_against_full_logits(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    sae = make_sae("relu")
    values = _values(_measure(context, [sae], rows)[0])
    lm, text, site = context.lm, rows[:8], sae.card.site
    real = text > 2
    x = lm.capture(text, site)
    x_hat = torch.where(real[..., None], sae.decode(sae.encode(x)), x)
    logs = {
        name: torch.log_softmax(lm.unembed(lm.resume(site, value, text)).double(), -1)
        for name, value in {"clean": x, "sae": x_hat, "zero": torch.zeros_like(x)}.items()
    }
    has_next = real[:, :-1]
    ce = {name: -log[:, :-1].gather(2, text[:, 1:, None])[..., 0][has_next].mean() for name, log in logs.items()}
    kl = {name: (logs["clean"].exp() * (logs["clean"] - log)).sum(-1)[real].mean() for name, log in logs.items()}
    for name, which in (("with_sae", "sae"), ("without_sae", "clean")):
        right = (logs[which][:, :-1].argmax(-1) == text[:, 1:])[has_next].double().mean()
        assert values[f"next_token_accuracy_{name}"] == pytest.approx(float(right)), name
    assert values["ce_loss_without_sae"] == pytest.approx(float(ce["clean"]), rel=1e-5)
    assert values["ce_loss_with_sae"] == pytest.approx(float(ce["sae"]), rel=1e-5)
    assert values["ce_loss_with_ablation"] == pytest.approx(float(ce["zero"]), rel=1e-5)
    assert values["kl_div_with_sae"] == pytest.approx(float(kl["sae"]), rel=1e-4)
    assert values["kl_div_with_ablation"] == pytest.approx(float(kl["zero"]), rel=1e-4)
    recovered = (ce["zero"] - ce["sae"]) / (ce["zero"] - ce["clean"])
    assert values["ce_loss_score"] == pytest.approx(float(recovered), rel=1e-4)
    assert values["ce_loss_increase"] == pytest.approx(float(ce["sae"] - ce["clean"]), rel=1e-3)


def test_token_frequencies_are_those_of_all_the_text_and_are_judged_where_the_model_is(
    context: EvalContext, make_sae: MakeSae, rows: torch.Tensor
) -> None:
    values = _values(_measure(context, [make_sae("relu")], rows)[0])
    after_real = [(row[i + 1], n) for n, row in enumerate(rows.tolist()) for i in range(len(row) - 1) if row[i] > 2]
    counts = Counter(token for token, _ in after_real)
    judged = [-math.log(counts[token] / len(after_real)) for token, n in after_real if n < PLAN.n_reconstruction]
    assert values["ce_loss_unigram"] == pytest.approx(sum(judged) / len(judged), rel=1e-6)


@pytest.mark.parametrize(
    ("architecture", "options", "share"),
    [("omp", {"s": 16}, 1.0), ("omp", {"s": 15}, 0.0), ("ihtp_token", {"k": 20}, 1.0), ("mpsae", {"s": 4}, 0.0),
     ("topk", {"k": 20}, None)],
)  # fmt: skip
def test_a_token_with_d_in_atoms_of_its_own_is_interpolated(
    context: EvalContext, make_sae: MakeSae, rows: torch.Tensor, architecture: str, options: dict[str, int],
    share: float | None,
) -> None:  # fmt: skip
    outcome = _measure(context, [make_sae(architecture, **options)], rows)[0]
    assert _by_name(outcome)["interpolates"].value == share
    if share == 1:
        assert _values(outcome)["explained_variance"] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_batch_size_changes_no_number(
    context: EvalContext, make_sae: MakeSae, rows: torch.Tensor, batch_size: int
) -> None:
    saes = [make_sae("topk", k=5), make_sae("ihtp", k=1)]
    for a, b in zip(_measure(context, saes, rows), _measure(context, saes, rows, batch_size=batch_size), strict=True):
        _assert_close(a, b)


def test_blocks_do_not_depend_on_how_many_saes_share_the_pass(
    context: EvalContext, make_sae: MakeSae, rows: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Room for the states of 3 rows where 13 SAEs share the pass.
    monkeypatch.setattr(measure, "_STATE_ELEMENTS", 16 * context.lm.d_model * rows.shape[1] * 3)
    shapes: list[list[int]] = []

    resume = LanguageModel.resume_unchanged

    def noting(lm: LanguageModel, site: Site, x: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        shapes[-1].append(len(tokens))
        return resume(lm, site, x, tokens)

    monkeypatch.setattr(LanguageModel, "resume_unchanged", noting)
    saes = [make_sae("relu"), make_sae("topk", k=3), make_sae("topk", k=4)]
    for n in (1, 3):
        shapes.append([])
        _measure(context, saes[:n], rows)
    assert shapes == [[3, 3, 2], [3, 3, 2]]


def test_company_order_and_threads_change_nothing(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    saes = [make_sae("relu"), make_sae("topk", k=3), make_sae("mpsae", s=4)]
    measure = partial(_measure, context, rows=rows)
    check_company(measure, saes)
    together = measure(saes)
    with torch_threads(3):
        others = measure(saes)
    # The language model's own passes use all threads: last digits may differ.
    for own, other in zip(together, others, strict=True):
        _assert_close(own, other)


def test_repeats_to_the_bit(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    saes = [make_sae("relu"), make_sae("ihtp", k=1)]
    first, second = _measure(context, saes, rows), _measure(context, saes, rows)
    assert [o.output for o in first] == [o.output for o in second]


def test_shared_support_is_counted(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    narrow, wide = _measure(context, [make_sae("ihtp", name="a", k=1), make_sae("ihtp", name="b", k=8)], rows)
    few, many = _values(narrow), _values(wide)
    assert few["interpolates"] == 0
    assert few["l0"] == pytest.approx(few["support_per_sequence"], rel=0.2)
    assert 0 < few["negative_share"] < 1  # type: ignore[operator]
    assert many["interpolates"] == 1
    assert many["explained_variance"] == pytest.approx(1, abs=1e-4)


def test_negative_codes_fire(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    outcome = _measure(context, [make_sae("pca", d_sae=4)], rows)[0]
    values = _values(outcome)
    assert values["l0"] == 4
    assert 0 < values["negative_share"] < 1  # type: ignore[operator]
    assert values["l1_sae_bench"] < values["l1"]  # type: ignore[operator]
    latents = output_of(outcome).tables["latents"]
    assert latents["feature_density"][0] == 1
    assert latents["feature_density_sae_bench"][0] < 1


def test_dead_latents(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    bias = torch.zeros(48)
    bias[7] = -1e6
    outcome = _measure(context, [make_sae("relu", tensors={"b_enc": bias})], rows)[0]
    values = _values(outcome)
    assert values["frac_alive"] == pytest.approx(47 / 48)
    assert values["frac_dead"] == pytest.approx(1 / 48)
    latents = output_of(outcome).tables["latents"]
    assert latents["feature_density"][7] == 0
    assert np.flatnonzero(np.isnan(latents["consistent_activation_heuristic"])).tolist() == [7]


class _Broken(torch.nn.Module):
    """Stands in for an SAE whose encoder fails."""

    def __init__(self, sae: Sae, error: Exception) -> None:
        super().__init__()
        self.card, self.scope, self.W_dec, self.error = sae.card, sae.scope, sae.W_dec, error

    def encode(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        raise self.error


def test_one_failing_sae_leaves_the_others_alone(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    good, error = make_sae("relu"), RuntimeError("cannot")
    broken: Any = _Broken(make_sae("relu", name="broken"), error)
    nan = make_sae("topk", k=3)
    nan.W_dec.fill_(math.nan)
    outcomes = _measure(context, [broken, good, nan], rows)
    assert outcomes[0].error is error
    assert outcomes[0].output is None
    assert outcomes[1].output == _measure(context, [good], rows)[0].output
    assert isinstance(outcomes[2].error, FloatingPointError)
    assert "NaN" in str(outcomes[2].error)


def test_intervals_enclose_values_and_shrink(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    sae = make_sae("topk", k=5)
    few = _by_name(_measure(context, [sae], rows)[0])
    many = _by_name(_measure(context, [sae], torch.cat([rows[:8], *[rows[8:]] * 6]))[0])
    for name in ("l0", "mse", "explained_variance", "cossim", "freq_over_10_percent"):
        low, value, high = few[name].ci_low, few[name].value, few[name].ci_high
        assert low is not None
        assert value is not None
        assert high is not None
        assert low <= value <= high
        assert many[name].ci_high - many[name].ci_low <= high - low  # type: ignore[operator]
    assert few["average_max_decoder_cosine_sim"].ci_low is None


def test_the_units_of_intervals_are_documents(context: EvalContext, make_sae: MakeSae) -> None:
    """Documents of three rows, each of a word of its own: the rows of one have the same error."""
    texts = tuple(" ".join([f"w{word}"] * 32) for word in range(5, 45))
    hub = Hub(context.hub.world, {"long": GivenTexts(texts)})
    settings = CoreSettings("long", context_size=12, batch_size=4, n_reconstruction_batches=3, n_sparsity_batches=18)
    (outcome,) = CORE.run(dataclasses.replace(context, hub=hub), [make_sae("topk", k=5)], settings)
    mse, loss = (_by_name(outcome)[name] for name in ("mse", "ce_loss_with_sae"))
    assert (len(loss.replicates), len(mse.replicates)) == (4, 24)
    of_documents = np.array(mse.replicates)
    assert mse.ci_high - mse.value == pytest.approx(half_widths(of_documents))  # type: ignore[operator]


@pytest.mark.parametrize(("field", "value"), [("batch_size", 0), ("context_size", 1), ("n_sparsity_batches", 0)])
def test_settings_are_checked(field: str, value: int) -> None:
    with pytest.raises(UserError, match=f"core_eval: {field} is {value}, expected at least"):
        read_record(CoreSettings, {"dataset": "some/text", field: value}, where="core_eval")


def test_too_little_text_says_so(context: EvalContext, make_sae: MakeSae) -> None:
    hub = Hub(context.hub.world, {"few": GivenTexts(("w1 w2 w3",) * 9)})
    settings = CoreSettings("few", context_size=12)
    with pytest.raises(UserError, match="ask for fewer rows"):
        list(CORE.run(dataclasses.replace(context, hub=hub), [make_sae("relu")], settings))


def test_half_precision_model_and_sae(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    """Sums stay wide: bfloat16 changes numbers by its own rounding of activations and codes, no more."""
    model = copy.deepcopy(context.lm._decoder.model).to(torch.bfloat16)
    half = LanguageModel(take_apart(model, 2), context.lm.tokenizer, name="half", revision="none")
    low = _values(_measure(dataclasses.replace(context, lm=half), [make_sae("relu").bfloat16()], rows)[0])
    full = _values(_measure(context, [make_sae("relu")], rows)[0])
    for name in ("l0", "explained_variance", "cossim", "ce_loss_with_sae", "ce_loss_without_sae", "mse"):
        assert low[name] == pytest.approx(full[name], rel=0.05)
    assert low["mse"] != full["mse"]
