"""Firings and windows: against a plain search, and what must hold for any latent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from support.outcomes import MakeSae

from sae_research.evals.base import EvalContext
from sae_research.evals.judged.counts import Counts
from sae_research.evals.judged.windows import NoWindows, Windows, choose_windows
from sae_research.evals.shared.attempts import Attempt
from sae_research.evals.shared.batches import is_real
from sae_research.evals.windows.corpus import Corpus
from sae_research.evals.windows.firings import Firings, candidate_latents, find_firings, share_of_negative
from sae_research.evals.windows.size import BUFFER
from sae_research.evals.windows.taken import Window

LENGTH = 64


class Letters:
    """A tokenizer of single characters; 9 and 10 are the halves of one character."""

    def decode(self, ids: list[int], **_: object) -> str:
        text = ""
        for i, token in enumerate(ids):
            if token == 9:
                text += "\u00e9" if ids[i + 1 : i + 2] == [10] else "\ufffd"
            elif token == 10:
                text += "" if i and ids[i - 1] == 9 else "\ufffd"
            else:
                text += chr(ord("a") + token % 26)
        return text


@pytest.fixture
def corpus() -> Corpus:
    """40 rows of three documents each, BOS (99) at the start of each."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(11, 11 + 26, (40, LENGTH))
    tokens[:, [0, 20, 50]] = 99
    return Corpus(tokens, tokens != 99, Letters())  # type: ignore[arg-type]


def _firings(n: int, seed: int = 0) -> Firings:
    rng = np.random.default_rng(seed)
    places = np.unique(rng.integers([40, LENGTH], size=(n, 2)), axis=0)
    places = places[~np.isin(places[:, 1], [0, 20, 50])]
    return Firings(1, places[:, 0], places[:, 1], rng.random(len(places)) + 0.1)


def _choose(corpus: Corpus, firings: Firings, **changes: object) -> Windows:
    return choose_windows(corpus, firings, latent=7, seed=0, counts=Counts(), **changes)  # type: ignore[arg-type]


def _all(windows: Windows) -> list[Window]:
    return [*windows.explain, *windows.top, *windows.weighted, *windows.silent]


def test_windows_end_where_documents_do(corpus: Corpus) -> None:
    assert corpus.window(0, 30) == (21, 41)
    assert corpus.window(0, 15) == (5, 20)
    assert corpus.window(0, 45) == (35, 50)
    assert [corpus.window(0, p) for p in (0, BUFFER - 1, 20, LENGTH - BUFFER, LENGTH - 1)] == [None] * 5


def test_windows_hold_whole_characters(corpus: Corpus) -> None:
    corpus.tokens[0, [20, 21]] = [99, 12]
    corpus.tokens[0, [25, 26]] = [9, 10]
    # From 26 on it would begin in the middle of a character.
    start, end = corpus.window(0, 36) or (0, 0)
    assert start != 26 and abs(start - 26) + abs(end - 47) == 1
    assert "\ufffd" not in corpus.text(0, start, end)


def test_marks_are_runs_of_whole_characters(corpus: Corpus) -> None:
    corpus.tokens[1, 30:36] = [11, 12, 9, 10, 13, 14]
    activations = np.array([0, 5.0, 0, 3.0, 0.04, 0])
    assert corpus.marked(1, 30, 36, activations, 5.0) == (("l", False), ("m\u00e9", True), ("no", False))


def test_runs_are_cut_as_token_by_token(corpus: Corpus) -> None:
    rng = np.random.default_rng(4)
    halves = rng.permutation(38)[:10] + 1
    corpus.tokens[2, halves] = 9
    corpus.tokens[2, halves + 1] = 10
    for _ in range(200):
        start, end = sorted(rng.permutation(np.arange(1, 49))[:2].tolist())
        if corpus.tokens[2, start] == 10 or corpus.tokens[2, end - 1] == 9:
            continue
        active = rng.random(end - start) < 0.3
        shown = corpus.marked(2, start, end, active.astype(float), 1.0)
        assert shown == corpus._marked_by_token(corpus.tokens[2, start:end].tolist(), active)  # pyright: ignore[reportPrivateUsage]


def test_windows_are_apart_and_differ(corpus: Corpus) -> None:
    firings = _firings(300)
    windows = _choose(corpus, firings)
    assert [len(part) for part in windows] == [15, 2, 2, 10]
    covered = [(w.row, p) for w in _all(windows) for p in range(w.start, w.end)]
    assert len(covered) == len(set(covered))
    active = set(zip(firings.rows.tolist(), firings.positions.tolist(), strict=True))
    for window in windows.silent:
        assert not [p for p in range(window.start, window.end) if (window.row, p) in active]
    for window in (*windows.explain, *windows.top, *windows.weighted):
        assert [p for p in range(window.start, window.end) if (window.row, p) in active]


def test_top_windows_hold_the_largest_activations(corpus: Corpus) -> None:
    firings = _firings(300)
    windows = _choose(corpus, firings)
    largest = firings.activations.argmax()
    row, position = int(firings.rows[largest]), int(firings.positions[largest])
    if BUFFER <= position < LENGTH - BUFFER:
        assert any(w.row == row and w.start <= position < w.end for w in (*windows.explain, *windows.top))


def test_nothing_depends_on_other_latents_or_the_order_of_firings(corpus: Corpus) -> None:
    firings = _firings(300)
    order = np.random.default_rng(1).permutation(len(firings.rows))
    shuffled = Firings(1, firings.rows[order], firings.positions[order], firings.activations[order])
    assert _choose(corpus, firings) == _choose(corpus, shuffled)


@pytest.mark.parametrize(
    ("firings", "reason"),
    [(_firings(5), "needed 12"), (_firings(6000, seed=1), "without activation in 1000 draws")],
)
def test_too_rare_and_too_dense_latents_have_a_reason(corpus: Corpus, firings: Firings, reason: str) -> None:
    with pytest.raises(NoWindows, match=reason):
        choose_windows(corpus, firings, latent=7, seed=0, counts=Counts(2 if "1000" in reason else 10, 1, 1, 1, 10)
                       if "1000" in reason else Counts())  # fmt: skip


def test_as_sae_bench_silent_windows_are_any(corpus: Corpus) -> None:
    dense = _firings(6000, seed=1)
    windows = choose_windows(corpus, dense, latent=7, seed=0, counts=Counts(2, 1, 1, 1, 4), silent_must_be=False)
    assert len(windows.silent) == 4


def test_firings_are_the_codes_of_the_latents(context: EvalContext, make_sae: MakeSae, rows: torch.Tensor) -> None:
    for sae in (make_sae("relu"), make_sae("topk", k=4), make_sae("mpsae", s=5)):
        attempt, latents = Attempt(sae), candidate_latents(48, 9, seed=0)
        [[*found]] = find_firings(context, {attempt: latents}, rows, site=sae.card.site).values()
        real = is_real(context.lm, rows)
        codes = sae.encode(context.lm.capture(rows, sae.card.site), mask=real)
        codes[~real] = 0
        for latent, firings in zip(latents, found, strict=True):
            column = codes[..., int(latent)]
            sign = 1 if float((column.square() * column.sign()).sum()) >= 0 else -1
            active = (column * sign > 0).nonzero()
            assert firings.sign == sign
            assert np.array_equal(np.stack([firings.rows, firings.positions], axis=1), active.numpy())
            expected = (column * sign)[tuple(active.T)]
            torch.testing.assert_close(torch.from_numpy(firings.activations), expected, rtol=1e-4, atol=1e-4)
        assert 0 <= share_of_negative(found) <= 1


def test_latents_are_drawn_by_seed_and_width_alone() -> None:
    draw: Callable[..., np.ndarray] = candidate_latents
    assert draw(48, 9, seed=0).tolist() == draw(48, 20, seed=0)[:9].tolist()
    assert draw(48, 9, seed=0).tolist() != draw(48, 9, seed=1).tolist()
    assert len(set(draw(48, 48, seed=3).tolist())) == 48
