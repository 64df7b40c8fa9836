"""The activations of a text in random order, as batches; a stream can be stopped and gone on with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sae_research.data.text import stream_rows
from sae_research.errors import UserError
from sae_research.lm.model import LanguageModel
from sae_research.lm.site import Site
from sae_research.training.settings import Text

log = logging.getLogger(__name__)


class ActivationStream:
    """Batches of activations at one site of a model, none of BOS, EOS and padding.

    A buffer is filled, brought into random order, half of it served; the other half waits for new activations. This is
    the rule of SAELens' `mixing_buffer`. Where the text ends, it begins again.
    """

    def __init__(self, lm: LanguageModel, texts: Callable[[], Iterator[str]], text: Text, buffer_size: int) -> None:
        self._lm, self._texts, self._text = lm, texts, text
        self._site = Site.parse(text.place)
        self._size = buffer_size
        self._rows = self._open()
        self._special = torch.tensor(sorted(lm.special_ids), device=lm.device)
        self._order = torch.Generator().manual_seed(text.seed)
        self._buffer = torch.empty(0, lm.width(self._site), dtype=lm.dtype, device=lm.device)
        self._ready = 0
        """Batches at the front of the buffer that are about to be served."""
        self._rows_read = 0
        """Rows of the current reading of the text."""
        self.readings = 1
        """How often the text has been begun."""
        self.left_out = 0
        """Activations whose norm was above the limit."""
        self.limit: float | None = None
        """The largest norm that is trained on."""

    def __iter__(self) -> Iterator[Float[Tensor, "batch d"]]:
        while True:
            yield self.next_batch()

    def next_batch(self) -> Float[Tensor, "batch d"]:
        """The next batch in float32."""
        self.fill()
        size = self._text.train_batch_size_tokens
        batch, self._buffer = self._buffer[:size], self._buffer[size:]
        self._ready -= 1
        return batch.float()

    def fill(self) -> Float[Tensor, "token d"]:
        """What the buffer holds, from which nothing is taken; filled first where no batch is ready."""
        if self._ready == 0:
            parts, n, begun = [self._buffer], len(self._buffer), self.readings
            while n < self._size:
                parts.append(self.read())
                n += len(parts[-1])
                if self.readings > begun + 1 and n == len(self._buffer):
                    raise UserError(
                        f"no activation of the text ({self._text.dataset}) is left to train on: all are of special "
                        "tokens or outliers; raise outlier_norm, or give another text"
                    )
            order = torch.randperm(n, generator=self._order)
            self._buffer = torch.cat(parts)[order.to(self._buffer.device)]
            self._ready = max(1, (n - self._size // 2) // self._text.train_batch_size_tokens)
        return self._buffer

    @torch.no_grad()
    def read(self) -> Float[Tensor, "token d"]:
        """The activations of the next rows of the text that are trained on."""
        tokens = torch.tensor(self._next_rows()).to(self._lm.device)
        x = self._lm.capture(tokens, self._site)[~torch.isin(tokens, self._special)]
        if not bool(torch.isfinite(x).all()):
            raise UserError(
                f"the model's activations at {self._site.hook_name} are not finite in row {self._rows_read} of the "
                f"text ({self._text.dataset}): float16 overflows in many models; load it in bfloat16 or float32 "
                "(torch_dtype)"
            )
        if self._text.outlier_norm is None or len(x) == 0:
            return x
        norms = x.float().norm(dim=-1)
        if self.limit is None:
            self.limit = self._text.outlier_norm * float(norms.median())
        self.left_out += int((norms > self.limit).sum())
        return x[norms <= self.limit]

    def _open(self) -> Iterator[list[int]]:
        text = self._text
        texts = islice(self._texts(), text.first_text, None)
        return stream_rows(texts, self._lm.tokenizer, context_size=text.context_size, prepend_bos=text.prepend_bos)

    def _next_rows(self) -> list[list[int]]:
        size = self._text.store_batch_size_prompts
        rows = list(islice(self._rows, size))
        if not rows:
            if self._rows_read == 0:
                raise UserError(
                    f"the text ({self._text.dataset}, split {self._text.split!r}, after its first "
                    f"{self._text.first_text} texts) fills no row of {self._text.context_size} tokens; give more text, "
                    "or a smaller context_size"
                )
            if self.readings == 1:
                log.warning(
                    "the text (%s) has ended after %s rows and is read again: each activation comes several times; "
                    "give more text, or fewer training_tokens", self._text.dataset, f"{self._rows_read:,}",
                )  # fmt: skip
            self.readings += 1
            self._rows, self._rows_read = self._open(), 0
            return self._next_rows()
        self._rows_read += len(rows)
        return rows

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that decides what comes next: tensors and plain values."""
        tensors = {"buffer": self._buffer.contiguous(), "order": self._order.get_state()}
        names = ("readings", "left_out", "limit")
        return tensors, {"ready": self._ready, "rows_read": self._rows_read, **{n: getattr(self, n) for n in names}}

    def restore(self, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
        """Goes on where the stream of that state stood."""
        self._buffer = tensors["buffer"].to(self._buffer.device)
        self._order.set_state(tensors["order"])
        self._ready, self._rows_read = values["ready"], values["rows_read"]
        self.readings, self.left_out, self.limit = values["readings"], values["left_out"], values["limit"]
        self._rows = islice(self._open(), self._rows_read, None)
