"""A model of the Hugging Face library that runs in this process: safetensors or GGUF, with a chat template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sae_research.errors import UserError
from sae_research.judges.access import JudgeAccess, Wanted
from sae_research.judges.records import Answer, Message, Outcome, Request, Unanswered
from sae_research.sources.hub import is_of_folder

if TYPE_CHECKING:  # These import torch, which planning does not need.
    import torch
    from transformers import PreTrainedTokenizerBase

NEEDS_MODEL = True


class TransformersJudge:
    """Answers greedily in batches of prompts of about one length; with a temperature one request after the other."""

    batches_at_once = 1
    keeps_answers = True
    host = None

    def __init__(
        self, model: Any, tokenizer: PreTrainedTokenizerBase, *, identity: Mapping[str, Any], batch_size: int
    ) -> None:
        self._model, self._tokenizer, self._batch_size = model, tokenizer, batch_size
        self.identity = identity
        self._longest = int(model.config.get_text_config().max_position_embeddings)

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Greedy requests by length and answer's limit; drawn ones alone, since batch-mates would change the draw."""
        drawn = [[i] for i, request in enumerate(requests) if _is_drawn(request)]
        greedy = [i for i, request in enumerate(requests) if not _is_drawn(request)]
        by_limit = sorted(greedy, key=lambda i: (requests[i].max_tokens, requests[i].most_input_tokens, i))
        batches: list[list[int]] = []
        for i in by_limit:
            last = batches[-1] if batches else []
            if last and len(last) < self._batch_size and requests[last[0]].max_tokens == requests[i].max_tokens:
                last.append(i)
            else:
                batches.append([i])
        return batches + drawn

    def answer(self, requests: Sequence[Request]) -> list[Outcome]:
        """The answer to each; requests of one batch have the same limit."""
        prompts = [self._prompt(request.messages) for request in requests]
        outcomes: list[Outcome | None] = [self._too_long(p, r) for p, r in zip(prompts, requests, strict=True)]
        fitting = [i for i, outcome in enumerate(outcomes) if outcome is None]
        if fitting:
            answers = self._generate([prompts[i] for i in fitting], requests[fitting[0]])
            for i, answer in zip(fitting, answers, strict=True):
                outcomes[i] = answer
        return [outcome for outcome in outcomes if outcome is not None]

    def _prompt(self, messages: Sequence[Message]) -> list[int]:
        from jinja2 import TemplateError

        turns = [{"role": message.role, "content": message.text} for message in messages]
        template: Any = self._tokenizer.apply_chat_template
        try:
            text = template(turns, tokenize=False, add_generation_prompt=True)
        except TemplateError:  # Some templates know no system message, and none of two users' turns in sequence.
            text = template(_one_turn(messages), tokenize=False, add_generation_prompt=True)
        return self._tokenizer.encode(text, add_special_tokens=False)

    def _too_long(self, prompt: Sequence[int], request: Request) -> Unanswered | None:
        if len(prompt) + request.max_tokens <= self._longest:
            return None
        return Unanswered(
            f"a prompt of {len(prompt)} tokens and an answer of {request.max_tokens} do not fit into the judge's "
            f"context of {self._longest}",
            is_transport=True,
        )

    def _generate(self, prompts: Sequence[Sequence[int]], request: Request) -> list[Answer]:
        import torch

        width = max(map(len, prompts))
        pad = self._tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        real = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        device: torch.device = self._model.device
        devices = [device] if device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(request.seed or 0)
            written = self._model.generate(
                input_ids=ids.to(device), attention_mask=real.to(device), generation_config=self._how(request)
            )
        return [
            self._answer(row, len(prompt), request)
            for row, prompt in zip(written[:, width:].tolist(), prompts, strict=True)
        ]

    def _how(self, request: Request) -> Any:
        from transformers import GenerationConfig

        drawn = {"do_sample": True, "temperature": _temperature(request), "top_p": _top_p(request), "top_k": 0}
        return GenerationConfig(
            max_new_tokens=request.max_tokens,
            pad_token_id=self._tokenizer.pad_token_id,
            eos_token_id=self._model.generation_config.eos_token_id,
            **(drawn if _is_drawn(request) else {"do_sample": False}),
        )

    def _answer(self, written: Sequence[int], n_prompt: int, request: Request) -> Answer:
        ends = self._model.generation_config.eos_token_id
        n = next((i for i, token in enumerate(written) if token in ends), len(written))
        text: Any = self._tokenizer.decode(list(written[:n]), skip_special_tokens=True)
        finish = "length" if n == len(written) else "stop"
        return Answer(text, finish, n_prompt, n, request_model(self.identity))


def _is_drawn(request: Request) -> bool:
    return _temperature(request) > 0


def _temperature(request: Request) -> float:
    """A temperature that is left open is 1, as it is behind OpenAI's protocol."""
    return 1.0 if request.temperature is None else request.temperature


def _top_p(request: Request) -> float:
    return 1.0 if request.top_p is None else request.top_p


def _one_turn(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": "user", "content": "\n\n".join(message.text for message in messages)}]


def request_model(identity: Mapping[str, Any]) -> str:
    """What its answers call the model."""
    return f"{identity['model'] or 'folder'} {identity['revision']}"


def identity_of(wanted: Wanted, access: JudgeAccess) -> dict[str, Any]:
    """What its answers depend on; a model in a folder counts by its content, not by where that lies."""
    name = wanted.name.model
    revision = wanted.hub.model_revision(name, revision=wanted.revision)
    model = None if is_of_folder(revision) else name
    return {"provider": "transformers", "model": model, "revision": revision, "dtype": _dtype(wanted)}


def _dtype(wanted: Wanted) -> str:
    return "float32" if wanted.device == "cpu" else "bfloat16"


def make(wanted: Wanted, access: JudgeAccess) -> TransformersJudge:
    """The judge `transformers:<model>`."""
    from sae_research.lm.gguf import model_folder
    from sae_research.lm.load import DTYPES, load_tokenizer, load_weights

    name = wanted.name.model
    folder: Path = model_folder(wanted.hub.model(name, revision=wanted.revision).path)
    tokenizer = load_tokenizer(folder, name)
    if not tokenizer.chat_template:
        raise UserError(f"judge 'transformers:{name}' has no chat template: name a model that follows instructions")
    model: Any = load_weights(folder, name, DTYPES[_dtype(wanted)])
    _forget_habits(model, tokenizer)
    return TransformersJudge(
        model.to(wanted.device), tokenizer, identity=identity_of(wanted, access), batch_size=wanted.batch_size
    )


def _forget_habits(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Keeps of the model's own generation settings (temperature, penalties) only which tokens end an answer."""
    from transformers import GenerationConfig

    ends: Any = model.generation_config.eos_token_id
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    if tokenizer.eos_token_id is not None:
        ends.append(int(str(tokenizer.eos_token_id)))
    model.generation_config = GenerationConfig(eos_token_id=sorted(set(ends)))
