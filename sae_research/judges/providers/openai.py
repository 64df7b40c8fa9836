"""Any server that speaks OpenAI's protocol: OpenAI itself, vLLM, Ollama, llama.cpp."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from sae_research.errors import UserError
from sae_research.judges.access import JudgeAccess, Wanted
from sae_research.judges.one_by_one import OneByOne
from sae_research.judges.records import Answer, Outcome, Request, Unanswered
from sae_research.judges.settings import Judging

log = logging.getLogger(__name__)

NEEDS_MODEL = True
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_NO_KEY = "none"
"""What goes to a server that wants no key: never the key of another service."""
_HOPELESS = {
    401: "it does not accept {key}",
    403: "it forbids this to {key}",
    404: "it does not know the model, or base_url lacks its path (often /v1)",
}


class OpenAIJudge(OneByOne):
    """A model behind `judging.base_url`."""

    keeps_answers = True

    def __init__(self, model: str, judging: Judging) -> None:
        if judging.base_url is None:
            raise UserError(
                f"judge 'openai:{model}' needs judging.base_url in params.yaml, e.g. https://api.openai.com/v1; texts "
                "of the data set will be sent there"
            )
        _refuse_another_url(judging.base_url)
        address = urlsplit(judging.base_url)
        self._model, self._judging, self.host = model, judging, address.netloc
        self.identity: Mapping[str, Any] = _identity(model, judging.base_url)
        self.batches_at_once = judging.concurrency
        variable = judging.key_variable
        has_key = variable is not None and bool(os.environ.get(variable))
        self._key = (
            f"the key in {variable}"
            if has_key
            else f"requests without a key ({variable or 'judging.api_key_env'} is not set)"
        )
        if has_key and address.scheme == "http" and address.hostname not in _LOOPBACK:
            log.warning("the key in %s goes to %s over http, which anyone on the way can read", variable, self.host)
        self._client = _client(judging)

    def answer_one(self, request: Request) -> Outcome:
        """The model's answer, or what the server did instead."""
        import openai

        try:
            raw = self._client.chat.completions.with_raw_response.create(**self._arguments(request))
            return _outcome(raw.parse(), raw.retries_taken, request)
        except openai.APIStatusError as error:
            return self._refused(error.status_code)
        except openai.APITimeoutError:
            return Unanswered(
                f"{self.host} did not answer within {self._judging.timeout_seconds:g} s", is_transport=True
            )
        except openai.APIConnectionError as error:
            return Unanswered(f"{self.host} cannot be reached ({type(error.__cause__).__name__})", is_transport=True)
        except (openai.APIResponseValidationError, ValueError, AttributeError, TypeError, IndexError):
            return Unanswered(f"{self.host} answered with something that is no chat completion", is_transport=True)

    def _arguments(self, request: Request) -> dict[str, Any]:
        chosen = {"temperature": request.temperature, "top_p": request.top_p, "seed": request.seed}
        return {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.text} for message in request.messages],
            self._judging.token_limit_field: request.max_tokens,
            **{name: value for name, value in chosen.items() if value is not None},
        }

    def _refused(self, status: int) -> Unanswered:
        # What a server says may repeat the key or the prompt; the status says enough.
        reason = _HOPELESS.get(status, "").format(key=self._key)
        said = f"{self.host} answered {status}" + (f": {reason}" if reason else "")
        if 300 <= status < 400:
            said += ": it sends on to another address, which is not followed; set judging.base_url to that"
        return Unanswered(said, is_transport=True, ends_all=status in _HOPELESS or 300 <= status < 400)


def _client(judging: Judging) -> Any:
    try:
        openai = importlib.import_module("openai")
    except ModuleNotFoundError:
        raise UserError(
            "a judge behind a server needs the openai package: pip install 'sae-research[judge]', or set the eval's "
            "judge to 'rules'"
        ) from None
    key = os.environ.get(judging.key_variable) if judging.key_variable is not None else None
    # The client fills keys, organisation, project and headers from variables that are meant for OpenAI alone.
    with contextlib.nullcontext() if judging.is_openai else _without_variables("OPENAI_"):
        return openai.OpenAI(
            base_url=judging.base_url,
            api_key=key or _NO_KEY,
            timeout=judging.timeout_seconds,
            max_retries=judging.max_retries,
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )


@contextmanager
def _without_variables(prefix: str) -> Iterator[None]:
    """Within the block, environment variables that start so are not set."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(prefix)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _refuse_another_url(base_url: str) -> None:
    elsewhere = os.environ.get("OPENAI_BASE_URL")
    if elsewhere and elsewhere.rstrip("/") != base_url.rstrip("/"):
        raise UserError(
            f"OPENAI_BASE_URL names another server than judging.base_url ({base_url}); unset it, or make them agree"
        )


def _outcome(completion: Any, retries: int, request: Request) -> Outcome:
    choice, usage = completion.choices[0], completion.usage
    text = choice.message.content
    prompt_tokens = int(usage.prompt_tokens) if usage else request.most_input_tokens
    characters = sum(len(message.text) for message in request.messages)
    if usage and prompt_tokens < characters / 8:
        return Unanswered(
            f"the server read {prompt_tokens} tokens of a prompt of {characters} characters: it cuts long prompts "
            "(Ollama: raise num_ctx)",
            is_transport=True,
            ends_all=True,
        )
    return Answer(
        text=text if isinstance(text, str) else "",
        finish=str(choice.finish_reason),
        prompt_tokens=prompt_tokens,
        completion_tokens=int(usage.completion_tokens) if usage else request.max_tokens,
        model=str(completion.model)[:200],
        retries=retries,
    )


def _identity(model: str, base_url: str) -> dict[str, Any]:
    address = urlsplit(base_url)
    server = f"{address.scheme}://{address.netloc}{address.path.rstrip('/')}"
    return {"provider": "openai", "model": model, "server": server}


def identity_of(wanted: Wanted, access: JudgeAccess) -> dict[str, Any]:
    """What its answers depend on."""
    if access.judging.base_url is None:
        raise UserError(f"judge {wanted.name}: judging.base_url in params.yaml says which server's answers these are")
    return _identity(wanted.name.model, access.judging.base_url)


def make(wanted: Wanted, access: JudgeAccess) -> OpenAIJudge:
    """The judge `openai:<model>`."""
    return OpenAIJudge(wanted.name.model, access.judging)
