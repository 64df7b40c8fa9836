"""Dashboards against dense codes, plain matrix products and a plain search for windows."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae, output_of

from sae_research.evals.base import EvalContext
from sae_research.evals.dashboards.eval import DASHBOARDS
from sae_research.evals.dashboards.report import NONE, WIDTH
from sae_research.evals.dashboards.settings import DashboardsSettings
from sae_research.lm.model import LanguageModel
from sae_research.lm.structure import take_apart
from sae_research.measurements import EvalOutput
from sae_research.progress import Progress
from sae_research.saes.base import Sae
from sae_research.sources.hub import Hub
from sae_research.sources.memory import GivenRows

LENGTH, N_ROWS = 64, 10
SETTINGS = DashboardsSettings(
    "texts", n_rows=N_ROWS, context_size=LENGTH, n_latents=12, n_top=3, n_quantiles=2, n_per_quantile=2, n_tokens=4,
    n_neighbours=3, n_bins=6,
)  # fmt: skip
SAES: Mapping[str, Mapping[str, Any]] = {
    "relu": {}, "topk": {"k": 3}, "pca": {"d_sae": 16}, "ihtp": {"k": 2}, "mpsae": {"s": 3},
}  # fmt: skip
"""Signed codes, codes that depend on the whole row, and plain ones."""


@pytest.fixture(scope="module")
def tokens() -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    rows = torch.randint(3, 61, (N_ROWS, LENGTH), generator=generator)
    rows[:, 0] = 2
    rows[torch.rand(rows.shape, generator=generator) < 0.04] = 2
    return rows


@pytest.fixture
def reading(lm: LanguageModel, tokens: torch.Tensor, tmp_path: Path) -> EvalContext:
    hub = Hub(tmp_path, {"texts": GivenRows(tokens)})
    return EvalContext(lm=lm, hub=hub, seed=0, batch_size=4, progress=Progress("test", shown=False))


def _run(context: EvalContext, sae: Sae, settings: DashboardsSettings = SETTINGS) -> EvalOutput:
    [outcome] = DASHBOARDS.run(context, [sae], settings)
    return output_of(outcome)


def _dense(context: EvalContext, sae: Sae, tokens: torch.Tensor) -> np.ndarray:
    """(row, position, latent): all codes, by the SAE itself; 0 at BOS."""
    real = tokens != 2
    with torch.no_grad():
        return sae.encode(context.lm.capture(tokens, sae.card.site), mask=real).numpy() * real.numpy()[..., None]


@pytest.fixture(params=SAES)
def sae(request: pytest.FixtureRequest, make_sae: MakeSae) -> Sae:
    return make_sae(request.param, **SAES[request.param])


def test_densities_and_histograms_are_those_of_the_dense_codes(
    reading: EvalContext, sae: Sae, tokens: torch.Tensor
) -> None:
    output = _run(reading, sae)
    latents, codes = output.tables["latents"], _dense(reading, sae, tokens)
    n_real = int((tokens != 2).sum())
    assert output.unstructured["tokens_read"] == n_real
    assert len(latents) == 12
    assert sorted(latents["latent"].tolist()) == latents["latent"].tolist()
    for i, latent in enumerate(latents["latent"].tolist()):
        own = codes[..., latent][codes[..., latent] != 0]
        assert latents["fired"][i] == len(own)
        assert latents["density"][i] == len(own) / n_real
        assert latents["largest"][i] == pytest.approx(max(map(abs, own), default=0), rel=1e-4)
        assert latents["least"][i] == pytest.approx(min([0, *own]), rel=1e-4, abs=1e-6)
        bins, high = [0] * 6, latents["largest"][i]
        low = -high if latents["least"][i] < 0 else 0.0
        for code in own:
            bins[min(5, int((code - low) / (high - low) * 6))] += 1
        assert np.abs(latents["histogram"][i] - bins).sum() <= 2, "but for codes on the border of two bins"
        assert latents["histogram"][i].sum() == len(own)


def test_windows_are_around_the_largest_codes_and_hold_them(
    reading: EvalContext, sae: Sae, tokens: torch.Tensor
) -> None:
    latents, codes = _run(reading, sae).tables["latents"], _dense(reading, sae, tokens)
    shape = (-1, SETTINGS.n_windows, WIDTH)
    shown, values = latents["window_tokens"].reshape(shape), latents["window_codes"].reshape(shape)
    for i, latent in enumerate(latents["latent"].tolist()):
        own, taken = codes[..., latent], np.zeros(tokens.shape, dtype=bool)
        expected = _top_windows(own, tokens.numpy(), taken, SETTINGS.n_top)
        kinds = latents["window_kind"][i]
        assert kinds.tolist() == sorted(kinds[kinds >= 0].tolist()) + [NONE] * int((kinds == NONE).sum())
        places = list(
            zip(latents["window_row"][i], latents["window_start"][i], latents["window_centre"][i], strict=True)
        )
        assert [places[j] for j in np.flatnonzero(kinds == 0)] == expected
        magnitudes = np.sort(np.abs(own[own != 0]))
        halves = np.array_split(magnitudes, 2)
        for j in np.flatnonzero(kinds >= 0):
            row, start, centre = places[j]
            width = int((shown[i, j] != NONE).sum())
            assert shown[i, j, :width].tolist() == tokens[row, start : start + width].tolist()
            assert 2 not in shown[i, j, :width], "a window ends where its document does"
            np.testing.assert_allclose(values[i, j, :width], own[row, start : start + width], rtol=1e-4, atol=1e-5)
            assert not values[i, j, width:].any()
            if kinds[j] > 0:
                part = halves[kinds[j] - 1]
                assert part[0] * 0.999 <= abs(own[row, start + centre]) <= part[-1] * 1.001
                assert not taken[row, start : start + width].any()
                taken[row, start : start + width] = True


def _top_windows(own: np.ndarray, tokens: np.ndarray, taken: np.ndarray, n: int) -> list[tuple[int, int, int]]:
    """Row, start and centre of the first windows by falling magnitude that overlap with none before."""
    places = sorted(zip(*np.nonzero(own), strict=True), key=lambda place: (-abs(own[place]), place))
    chosen: list[tuple[int, int, int]] = []
    for row, position in places:
        start, end = position, position + 1
        while start > max(0, position - 10) and tokens[row, start - 1] != 2:
            start -= 1
        while end < min(LENGTH, position + 11) and tokens[row, end] != 2:
            end += 1
        if len(chosen) < n and not taken[row, start:end].any():
            taken[row, start:end] = True
            chosen.append((row, start, position - start))
    return chosen


def test_tokens_and_neighbours_are_those_of_the_plain_products(reading: EvalContext, make_sae: MakeSae) -> None:
    sae = make_sae("relu")
    output = _run(reading, sae)
    latents, atoms = output.tables["latents"], sae.W_dec.double().numpy()
    head = reading.lm.plain_model.get_output_embeddings().weight.double().numpy()  # type: ignore[operator]
    units = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    for i, latent in enumerate(latents["latent"].tolist()):
        logits = head @ atoms[latent]
        assert latents["promoted"][i].tolist() == np.argsort(-logits)[:4].tolist()
        assert latents["suppressed"][i].tolist() == np.argsort(logits)[:4].tolist()
        np.testing.assert_allclose(latents["promoted_by"][i], np.sort(logits)[::-1][:4], rtol=1e-4)
        np.testing.assert_allclose(latents["suppressed_by"][i], np.sort(logits)[:4], rtol=1e-4)
        cosines = units @ units[latent]
        cosines[latent] = -2
        assert latents["neighbour"][i].tolist() == np.argsort(-cosines)[:3].tolist()
        np.testing.assert_allclose(latents["neighbour_cosine"][i], np.sort(cosines)[::-1][:3], rtol=1e-4)
    tokens = output.tables["tokens"]
    words = dict(zip(tokens["token"].tolist(), tokens["text"], strict=True))
    used = {*latents["window_tokens"].ravel(), *latents["promoted"].ravel(), *latents["suppressed"].ravel()} - {NONE}
    assert words.keys() == used
    assert all(text == f" w{token - 3}" for token, text in words.items() if token > 2)


def test_what_was_asked_for_is_shown_besides_the_sample(reading: EvalContext, make_sae: MakeSae) -> None:
    sae = make_sae("relu")
    drawn = set(_run(reading, sae).tables["latents"]["latent"].tolist())
    others = sorted(set(range(48)) - drawn)
    asked = dataclasses.replace(reading, requested={"relu": [others[0], min(drawn)], "another": [others[2]]})
    settings = dataclasses.replace(SETTINGS, latents=(others[1], 10_000))
    shown = _run(asked, sae, settings).tables["latents"]["latent"].tolist()
    assert set(shown) == drawn | {others[0], others[1]}
    alone = _run(asked, sae, dataclasses.replace(SETTINGS, n_latents=0)).tables["latents"]
    assert alone["latent"].tolist() == sorted([others[0], min(drawn)])
    everything = _run(reading, sae, dataclasses.replace(SETTINGS, n_latents=1000)).tables["latents"]
    assert everything["latent"].tolist() == list(range(48))
    nothing = _run(reading, sae, dataclasses.replace(SETTINGS, n_latents=0))
    assert len(nothing.tables["latents"]) == len(nothing.tables["tokens"]) == 0
    other_seed = _run(dataclasses.replace(reading, seed=1), sae).tables["latents"]["latent"].tolist()
    assert set(other_seed) != drawn


def test_what_is_shown_depends_on_no_batch_and_no_other_sae(reading: EvalContext, make_sae: MakeSae) -> None:
    saes = [make_sae("relu"), make_sae("ihtp", k=2)]
    both = [
        output_of(outcome) for outcome in DASHBOARDS.run(dataclasses.replace(reading, batch_size=3), saes, SETTINGS)
    ]
    for sae, together in zip(saes, both, strict=True):
        alone = _run(reading, sae).tables["latents"]
        for name, column in together.tables["latents"].columns.items():
            np.testing.assert_allclose(column, alone[name], rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_a_gpu_shows_the_same(reading: EvalContext, sae: Sae) -> None:
    expected = _run(reading, sae).tables["latents"]
    model: Any = copy.deepcopy(reading.lm.plain_model).to("cuda")
    on_gpu = LanguageModel(take_apart(model, 2), reading.lm.tokenizer, name="random", revision="none")
    shown = _run(dataclasses.replace(reading, lm=on_gpu), copy.deepcopy(sae).to("cuda")).tables["latents"]
    assert shown["latent"].tolist() == expected["latent"].tolist()
    for name in ("density", "largest", "least", "promoted_by", "neighbour_cosine"):
        np.testing.assert_allclose(shown[name], expected[name], rtol=1e-2, atol=1e-2)


def test_a_dead_latent_says_so_and_a_failing_sae_stops_no_other(reading: EvalContext, make_sae: MakeSae) -> None:
    bias = torch.zeros(48)
    bias[7] = -1e6
    broken = make_sae("relu", name="broken", tensors={"W_enc": torch.full((16, 48), torch.finfo(torch.float32).max)})
    sae = make_sae("relu", tensors={"b_enc": bias})
    failed, fine = DASHBOARDS.run(reading, [broken, sae], dataclasses.replace(SETTINGS, latents=(7,)))
    assert isinstance(failed.error, FloatingPointError)
    latents = output_of(fine).tables["latents"]
    [i] = np.flatnonzero(latents["latent"] == 7)
    assert latents["fired"][i] == latents["largest"][i] == latents["histogram"][i].sum() == 0
    assert set(latents["window_kind"][i].tolist()) == {NONE}
    assert latents["neighbour"][i].min() >= 0
