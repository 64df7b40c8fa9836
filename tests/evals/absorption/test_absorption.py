"""Absorption as a whole: its words and prompts, planted SAEs, what is reported, that nothing depends on company."""

from __future__ import annotations

import dataclasses
import string
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.outcomes import check_company, check_threads, output_of
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from sae_research.errors import UserError
from sae_research.evals.absorption.codes import WordCodes, read_prompts
from sae_research.evals.absorption.eval import ABSORPTION
from sae_research.evals.absorption.settings import AbsorptionSettings
from sae_research.evals.absorption.words import Word, draw_prompts, draw_split, find_words
from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.shared.attempts import Attempt
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.lm.structure import take_apart
from sae_research.measurements import Result
from sae_research.progress import Progress
from sae_research.records import read_record
from sae_research.reference.absorption import SaeBenchAbsorptionPlan, run_absorption
from sae_research.results.document import to_document
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.codes import SparseCodes
from sae_research.saes.registry import sae_class
from sae_research.sources.hub import Hub

SITE = Site(layer=0, kind="resid_post")
D_MODEL, PER_LETTER, ALPHABET = 48, 24, string.ascii_lowercase
TEMPLATE_WORDS = ("has", "the", "first", "letter", ":")
SETTINGS = AbsorptionSettings(n_examples=10, k_sparse_probe_batch_size=32, k_sparse_probe_num_epochs=30, max_k_value=3)


def _words() -> list[str]:
    rng = np.random.default_rng(0)
    found: dict[str, None] = {}
    for letter in ALPHABET:
        own: dict[str, None] = {}
        while len(own) < PER_LETTER:
            own[letter + "".join(rng.choice(list("klmnopqr"), 4))] = None
        found |= own
    return list(found)


WORDS = _words()


def _tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    capitals = [chr(ord("A") + i) for i in range(26)]
    ids = {word: i for i, word in enumerate(["<pad>", "<eos>", "<bos>", *TEMPLATE_WORDS, *capitals, *words])}
    plain = Tokenizer(models.WordLevel(ids, unk_token="<eos>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", padding_side="right"
    )


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    """Its embeddings hold a direction for each first letter, and one or two more for each word."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(WORDS)
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer), hidden_size=D_MODEL, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=128, initializer_range=0.02, bos_token_id=2, eos_token_id=1,
        tie_word_embeddings=False,
    )  # fmt: skip
    model = GPTNeoXForCausalLM(config).eval().requires_grad_(False)
    table: Any = model.get_input_embeddings()
    for token, name in enumerate(tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))):
        table.weight[token] = 0.3 * torch.randn(D_MODEL)
        if name.isalpha():
            table.weight[token] += 5 * _directions()[ord(name[0].lower()) - ord("a")]
    return LanguageModel(take_apart(model, 2), tokenizer, name="letters", revision="none")


def _directions() -> torch.Tensor:
    """One unit vector per letter, orthogonal to the others."""
    return torch.linalg.qr(torch.randn(D_MODEL, D_MODEL, generator=torch.Generator().manual_seed(5)))[0].T


@pytest.fixture
def context(lm: LanguageModel, tmp_path: Path) -> EvalContext:
    return EvalContext(lm=lm, hub=Hub(tmp_path), seed=0, batch_size=32, progress=Progress("test", shown=False))


def _sae(architecture: str, atoms: torch.Tensor, *, name: str = "", bias: float = -2.0, **hyper: Any) -> Sae:
    d_sae = len(atoms)
    card = SaeCard(
        name=name or architecture, architecture=architecture, site=SITE, d_in=D_MODEL, d_sae=d_sae,
        model_name="letters", hyperparameters=hyper,
    )  # fmt: skip
    tensors = {
        "W_enc": atoms.T.contiguous(),
        "W_dec": atoms,
        "b_enc": torch.full((d_sae,), bias),
        "b_dec": torch.zeros(D_MODEL),
    }
    kind = sae_class(architecture)
    return kind(card, {n: t for n, t in tensors.items() if n in kind.shapes}).eval()


def _letters_sae() -> Sae:
    """One latent for each direction: what the task asks for."""
    return _sae("relu", _directions(), name="ideal")


def _absorbing_sae(lm: LanguageModel, shown: str) -> Sae:
    """As the ideal one, but the words of some letters have a latent each, which is all that fires on them.

    A word's latent fires above a level that only the word itself reaches; the letter's own latent is kept silent
    there by looking away from what these words have in common beyond the letter.
    """
    directions = _directions()
    atoms = [directions[ord(letter) - ord("a")] for letter in ALPHABET if letter not in shown]
    atoms += [_residual(lm, word) for word in WORDS if word[0] in shown]
    return _sae("topk", torch.stack(atoms), name="absorbing", bias=0.0, k=1)


def _residual(lm: LanguageModel, word: str) -> torch.Tensor:
    token = lm.tokenizer.convert_tokens_to_ids(word)
    x = lm.capture(torch.tensor([[2, token]]), SITE)[0, 1]
    return x / x.norm()


def _run(context: EvalContext, saes: Sequence[Sae], settings: AbsorptionSettings = SETTINGS) -> list[Outcome]:
    return list(ABSORPTION.run(context, saes, settings))


def _values(outcome: Outcome) -> dict[str, float | None]:
    return {m.metric: m.value for m in output_of(outcome).measurements if not m.at}


def test_words_are_the_alphabetic_tokens(lm: LanguageModel) -> None:
    found = find_words(lm.tokenizer, SETTINGS)
    assert {word.text for word in found.words} == {*WORDS, *TEMPLATE_WORDS[:-1], *(chr(65 + i) for i in range(26))}
    assert found.n_left_out == 0
    assert Word(" Zebra", 7).letter == 25
    assert [word.token for word in found.words] == sorted(word.token for word in found.words)


def test_another_position_is_refused_with_the_right_one(lm: LanguageModel) -> None:
    settings = dataclasses.replace(SETTINGS, prompt_token_pos=-5)
    with pytest.raises(UserError, match=r"is -5, but .* 'A' into 'A' 'has' 'the' 'first' .*; set it to -6"):
        find_words(lm.tokenizer, settings)
    settings = dataclasses.replace(SETTINGS, prompt_template="{word} starts: ")
    with pytest.raises(UserError, match=r"absorption\.prompt_token_pos is -6"):
        find_words(lm.tokenizer, settings)


def test_tokens_that_their_text_does_not_give_are_left_out() -> None:
    tokenizer = _tokenizer([*WORDS, "naïve", "two words", "x1"])
    tokenizer.add_tokens(["ab cd"])
    assert find_words(tokenizer, SETTINGS).n_left_out == 0
    plain = Tokenizer(
        models.BPE({"<pad>": 0, "a": 1, "b": 2, "ab": 3, "ba": 4, "\n": 5}, [("a", "b")], unk_token="<pad>")
    )
    odd = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", bos_token="<pad>")
    found = find_words(odd, dataclasses.replace(SETTINGS, prompt_template="{word}", prompt_token_pos=-1))
    # No merge makes `ba`.
    assert ([word.text for word in found.words], found.n_left_out) == (["a", "b", "ab"], 1)


def test_too_few_words_are_a_user_error(lm: LanguageModel) -> None:
    words = find_words(lm.tokenizer, SETTINGS).words
    with pytest.raises(UserError, match="has 40 words of letters alone"):
        draw_split(lm.tokenizer, words[:40], SETTINGS, seed=0)


def test_prompts(lm: LanguageModel) -> None:
    words = find_words(lm.tokenizer, SETTINGS).words
    split = draw_split(lm.tokenizer, words, SETTINGS, seed=0)
    assert sorted(split.words) == sorted(words)
    assert split.n_train == int(0.8 * len(words))
    parts = [{w.text for w in own} for own in (split.words[: split.n_train], split.words[split.n_train :])]
    for i, (word, ids) in enumerate(zip(split.words, split.prompts, strict=True)):
        assert ids[0] == 2
        shown = lm.tokenizer.convert_ids_to_tokens(ids[1:])
        lines = [shown[start : start + 7] for start in range(0, len(shown), 7)]
        assert lines[-1] == [word.text, *TEMPLATE_WORDS]
        assert len(lines) == 11
        examples = [line[0] for line in lines[:-1]]
        assert word.text not in examples
        assert len(set(examples)) == 10
        assert set(examples) <= parts[0 if i < split.n_train else 1]
        assert all(line[1:6] == list(TEMPLATE_WORDS) and line[6] == line[0][0].upper() for line in lines[:-1])
    assert split == draw_split(lm.tokenizer, words, SETTINGS, seed=0)
    assert split.words != draw_split(lm.tokenizer, words, SETTINGS, seed=1).words
    one = draw_prompts(lm.tokenizer, words[5:6], words, SETTINGS, key=("x",))
    assert one[0] in draw_prompts(lm.tokenizer, words, words, SETTINGS, key=("x",))


@pytest.mark.parametrize("batch_size", [1, 7, 500])
def test_reading_is_blind_to_batches_and_padding(context: EvalContext, batch_size: int) -> None:
    words = find_words(context.lm.tokenizer, SETTINGS).words[30:50]
    prompts = draw_prompts(context.lm.tokenizer, words, words, SETTINGS, key=("x",))
    prompts = [[2, *ids[1 + 7 * (i % 3) :]] for i, ids in enumerate(prompts)]  # Of three lengths.
    attempts = [Attempt(_sae("ihtp", _directions(), k=1)), Attempt(_letters_sae())]
    found = read_prompts(dataclasses.replace(context, batch_size=batch_size), attempts, prompts, site=SITE, position=-6)
    codes = [found.codes(attempt).rows(torch.arange(20)) for attempt in attempts]
    for i, ids in enumerate(prompts):
        x = context.lm.capture(torch.tensor([ids]), SITE)
        torch.testing.assert_close(found.x[i], x[0, -6], rtol=1e-4, atol=1e-5)
        # The prompt is the sequence, without BOS.
        torch.testing.assert_close(codes[0][i], attempts[0].sae.encode(x[:, 1:])[0, -6], rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(codes[1][i], attempts[1].sae.encode(x[0, -6:-5])[0], rtol=1e-4, atol=1e-5)


def test_codes_are_gathered_by_rows_and_by_latents(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    dense = torch.randn(9, 6, generator=generator) * (torch.rand(9, 6, generator=generator) < 0.4)
    dense[4] = 0
    sparse = SparseCodes((dense != 0).sum(dim=1), dense.nonzero()[:, 1], dense[dense != 0])
    for room in (0, 2**20):
        monkeypatch.setattr("sae_research.evals.absorption.codes._DENSE_ELEMENTS", room)
        codes = WordCodes(sparse, 6)
        rows = torch.tensor([4, 8, 0, 4, 3])
        assert torch.equal(codes.rows(rows), dense[rows])
        assert torch.equal(codes.columns(torch.tensor([5, 0, 2])), dense[:, [5, 0, 2]])


def test_planted_absorption_is_found(context: EvalContext) -> None:
    ideal, absorbing = (_values(o) for o in _run(context, [_letters_sae(), _absorbing_sae(context.lm, "abcd")]))
    assert ideal["mean_absorption_fraction_score"] == pytest.approx(0, abs=0.02)
    assert ideal["mean_full_absorption_score"] == 0
    outcome = _run(context, [_absorbing_sae(context.lm, "abcd")])[0]
    by_letter = {
        m.at["letter"]: m.value for m in output_of(outcome).measurements if m.metric == "full_absorption_score"
    }
    assert all(by_letter[letter] > 0.5 for letter in "abcd")  # type: ignore[operator]
    assert all(value == 0 for letter, value in by_letter.items() if str(letter) not in "abcd")
    assert absorbing["mean_absorption_fraction_score"] > 0.1  # type: ignore[operator]


def test_what_is_reported(context: EvalContext) -> None:
    outcome = _run(context, [_absorbing_sae(context.lm, "ab")])[0]
    output = output_of(outcome)
    assert {m.metric for m in output.measurements} == {spec.name for spec in ABSORPTION.specs}
    details = {row["first_letter"]: row for row in output.details}
    assert len(details) >= SETTINGS.min_feats_for_eval
    columns = {
        "absorption_fraction_score": "mean_absorption_fraction",
        "full_absorption_score": "full_absorption_rate",
        "num_split_features": "num_split_features",
    }
    for metric, field in columns.items():
        values = [row[field] for row in details.values()]
        assert _values(outcome)[f"mean_{metric}"] == pytest.approx(np.mean(values))
        assert _values(outcome)[f"std_dev_{metric}"] == pytest.approx(np.std(values, ddof=1))
        own = {m.at["letter"]: m.value for m in output.measurements if m.metric == metric}
        assert own == {letter: pytest.approx(row[field]) for letter, row in details.items()}
    for row in details.values():
        assert row["num_full_absorption"] == pytest.approx(
            row["full_absorption_rate"] * row["num_probe_true_positives"]
        )
    for m in output.measurements:
        if m.ci_low is not None:
            assert m.ci_low <= m.value <= m.ci_high  # type: ignore[operator]
    means = [m for m in output.measurements if m.metric.startswith("mean_")]
    assert {len(m.replicates) for m in means} == {len(details)}
    directions = {spec.name: spec.direction for spec in ABSORPTION.specs}
    assert {directions[m.metric] for m in means} == {"lower"}


def test_saebench_accepts_the_document(context: EvalContext) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pydantic import TypeAdapter
        from sae_bench.evals.absorption.eval_output import AbsorptionEvalOutput

    few = dataclasses.replace(SETTINGS, min_probe_f1=1.0)
    for settings in (SETTINGS, few):
        output = output_of(_run(context, [_letters_sae()], settings)[0])
        about = {"name": "ideal", "architecture": "relu", "hook_name": SITE.hook_name, "digest": "x"}
        result = Result("k", "absorption", about, dataclasses.asdict(settings), {"model": {"name": "m"}}, output)
        read: Any = TypeAdapter(AbsorptionEvalOutput).validate_python(to_document(result))
        assert len(read.eval_result_details) == len(output.details)


def test_too_few_letters_are_a_reason_not_a_stop(context: EvalContext) -> None:
    outcomes = _run(
        context,
        [_letters_sae(), _sae("ihtp", _directions(), k=1)],
        dataclasses.replace(SETTINGS, min_probe_f1=1.0),
    )
    for outcome in outcomes:
        output = output_of(outcome)
        assert {m.value for m in output.measurements} == {None}
        assert all("finds 0 first letters with F1 above 1; 20 are needed" in str(m.reason) for m in output.measurements)
        assert set(output.unstructured["probe_f1"]) == set("abcdefghijklmnopqrstuvwxyz")


def test_company_order_threads_and_batches_change_nothing(context: EvalContext) -> None:
    saes = [_letters_sae(), _sae("topk", _directions(), k=3), _sae("ihtp", _directions(), k=1),
            _sae("mpsae", _directions(), s=3)]  # fmt: skip
    measure = partial(_run, context)
    together = check_company(measure, saes)
    check_threads(measure, saes, together)
    smaller = [_values(o) for o in _run(dataclasses.replace(context, batch_size=5), saes)]
    for own, other in zip(together, smaller, strict=True):
        assert {m.metric: m.value for m in own.measurements if not m.at} == pytest.approx(other, abs=1e-4)


def test_one_failing_sae_leaves_the_others_alone(context: EvalContext) -> None:
    bad = [_sae("relu", 3e38 * _directions(), name="bad"), _sae("ihtp", _directions(), k=1, name="worse")]
    bad[1].b_dec.fill_(float("nan"))
    outcomes = _run(context, [*bad, _letters_sae()])
    assert all(outcome.error is not None for outcome in outcomes[:2])
    assert outcomes[2].output == _run(context, [_letters_sae()])[0].output


def test_as_sae_bench(lm: LanguageModel, lens: Any, context: EvalContext, tmp_path: Path) -> None:
    """Whole runs of both: words, prompts, probes and draws differ, what is planted is seen alike."""
    sae = _absorbing_sae(lm, "abcd")
    (outcome,) = _run(context, [sae])
    plan = SaeBenchAbsorptionPlan(SETTINGS, seed=0, precalculated=True)
    sae_bench = run_absorption(lens, sae, plan, artifacts=tmp_path / "artifacts")
    assert sae_bench is not None
    for key in ("mean_absorption_fraction_score", "mean_full_absorption_score"):
        assert _values(outcome)[key] == pytest.approx(sae_bench.means[key], abs=0.1)
    # SAEBench draws words from a vocabulary in the order of a hash, another one in each process: rates differ.
    ours = {row["first_letter"]: row for row in output_of(outcome).details}
    for rows in (ours, sae_bench.letters):
        rates = {letter: row["full_absorption_rate"] for letter, row in rows.items()}
        assert min(rates[letter] for letter in "abcd") > max(rate for letter, rate in rates.items() if letter > "d")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prompt_template": "no place"}, "prompt_template is 'no place'"),
        ({"prompt_token_pos": 2}, "prompt_token_pos is 2"),
        ({"max_k_value": 0}, "max_k_value is 0"),
        ({"min_feats_for_eval": 27}, "min_feats_for_eval is 27"),
        ({"k_sparse_probe_l1_decay": -1.0}, "k_sparse_probe_l1_decay is -1"),
    ],
)
def test_settings_are_checked(values: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_record(AbsorptionSettings, values, where="absorption")
