"""Activations in random order: which ones, how often, and where a stream goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from support.tiny_data import write_table
from support.training import D_IN, settings_with
from torch import Tensor

from sae_research.data.text import load_texts, token_rows
from sae_research.errors import UserError
from sae_research.lm.load import load_language_model
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.sources.hub import Hub
from sae_research.training.stream import ActivationStream

NewStream = Callable[..., ActivationStream]


@pytest.fixture(scope="module")
def lm(world: Path) -> LanguageModel:
    return load_language_model(Hub(world), "embedded/lm", device="cpu")


@pytest.fixture
def new_stream(lm: LanguageModel, world: Path) -> NewStream:
    def made(**changes: Any) -> ActivationStream:
        settings = settings_with(**changes)

        def texts() -> Iterator[str]:
            return load_texts(Hub(world), settings.dataset, settings.split)

        return ActivationStream(lm, texts, settings.text, settings.buffer_size)

    return made


def plain_activations(lm: LanguageModel, world: Path) -> Tensor:
    """Of all rows of the text, those of real tokens, by a plain run of the whole model."""
    rows = token_rows(load_texts(Hub(world), "embedded/text"), lm.tokenizer, context_size=16)
    with torch.no_grad():
        hidden = lm.plain_model(input_ids=rows, output_hidden_states=True).hidden_states[1]
    return hidden[~torch.isin(rows, torch.tensor(sorted(lm.special_ids)))]


def test_every_activation_of_a_real_token_comes_once_in_a_reading(
    new_stream: NewStream, lm: LanguageModel, world: Path
) -> None:
    expected = plain_activations(lm, world)
    stream = new_stream()
    n = (len(expected) - 4 * 16 * 3) // 40  # so many batches are served before the text ends
    served = torch.cat([stream.next_batch() for _ in range(n)])
    assert stream.readings == 1
    distances = torch.cdist(served, expected, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = []
    for row in distances:
        nearest.append(int(row.argmin()))  # equal beginnings of rows have equal activations
        assert row[nearest[-1]] < 1e-4
        distances[:, nearest[-1]] = torch.inf
    assert (torch.tensor(nearest).diff() != 1).float().mean() > 0.9  # in another order than the text's
    assert served.shape[1] == D_IN and served.dtype == torch.float32


def test_the_order_is_that_of_sae_lens_mixing_buffer(new_stream: NewStream) -> None:
    from sae_lens.training.mixing_buffer import mixing_buffer

    stream, reader = new_stream(seed=3), new_stream(seed=3)

    def read() -> Iterator[Tensor]:
        while True:
            yield reader.read()

    with torch.random.fork_rng():
        torch.manual_seed(3)
        theirs = mixing_buffer(settings_with().buffer_size, 40, read())
        for _ in range(12):
            assert torch.equal(stream.next_batch(), next(theirs))


def test_a_restored_stream_goes_on_with_the_same_batches(new_stream: NewStream) -> None:
    stream = new_stream(outlier_norm=1.2)
    for _ in range(31):  # beyond the end of the text
        stream.next_batch()
    assert stream.readings > 1 and stream.left_out > 0
    tensors, values = stream.state()
    other = new_stream(outlier_norm=1.2)
    other.restore({name: tensor.clone() for name, tensor in tensors.items()}, dict(values))
    for _ in range(20):
        assert torch.equal(stream.next_batch(), other.next_batch())
    assert stream.state()[1] == other.state()[1]


def test_seed_and_first_text_decide_what_comes(new_stream: NewStream) -> None:
    first = new_stream().next_batch()
    assert torch.equal(new_stream().next_batch(), first)
    assert not torch.equal(new_stream(seed=1).next_batch(), first)
    assert not torch.equal(new_stream(first_text=2).next_batch(), first)


def test_outliers_are_left_out_and_counted(new_stream: NewStream) -> None:
    x = torch.cat([new_stream().read(), torch.empty(0, D_IN)])
    norms = x.norm(dim=-1)
    limit = 1.1 * norms.median()
    stream = new_stream(outlier_norm=1.1)
    assert torch.equal(stream.read(), x[norms <= limit])
    assert (stream.limit, stream.left_out) == (pytest.approx(float(limit)), int((norms > limit).sum()))
    assert stream.left_out > 0


def test_a_text_that_ends_is_read_again_with_a_warning(new_stream: NewStream, caplog: pytest.LogCaptureFixture) -> None:
    stream = new_stream()
    with caplog.at_level(logging.WARNING):
        for _ in range(60):
            stream.next_batch()
    assert [record.message for record in caplog.records] == [
        f"the text (embedded/text) has ended after {n} rows and is read again: each activation comes several times; "
        "give more text, or fewer training_tokens"
        for n in [stream_rows_in_all(stream)]
    ]


def stream_rows_in_all(stream: ActivationStream) -> int:
    return len(list(stream._open()))


def test_a_text_without_a_row_is_refused(new_stream: NewStream) -> None:
    with pytest.raises(UserError, match=r"after its first 80 texts\) fills no row of 16 tokens; give more text"):
        new_stream(first_text=80).next_batch()


def test_activations_that_are_not_finite_name_the_remedy(
    new_stream: NewStream, lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        LanguageModel, "capture", lambda self, tokens, site: torch.full((*tokens.shape, D_IN), torch.inf)
    )
    with pytest.raises(UserError, match=r"at blocks\.0\.hook_resid_post are not finite .* bfloat16 or float32"):
        new_stream().next_batch()


def test_a_text_of_special_tokens_alone_is_refused(new_stream: NewStream, world: Path) -> None:
    write_table(world, "empty", "train", {"text": ["<bos> <eos> <bos>"] * 40})
    with pytest.raises(UserError, match=r"no activation of the text .* is left to train on"):
        new_stream(dataset="embedded/empty").next_batch()


def test_other_sites_are_read_too(new_stream: NewStream, lm: LanguageModel) -> None:
    site = Site.parse("blocks.1.attn.hook_z")
    assert new_stream(layer=None, hook_name=site.hook_name).next_batch().shape == (40, lm.width(site))
