"""The core eval: the language model runs once over the text, whatever the number of SAEs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sae_research.evals.base import EvalContext, Outcome
from sae_research.evals.core.codes import count_codes
from sae_research.evals.core.likelihood import Losses, Predicted, compare_predictions, unigram_surprise
from sae_research.evals.core.model_losses import ModelLosses
from sae_research.evals.core.reconstruction import OUTLIER, Inputs, describe_inputs, describe_outputs, take
from sae_research.evals.core.report import CoreSums, core_output
from sae_research.evals.core.rows import CoreRows
from sae_research.evals.core.sums import SequenceSums, sum_real
from sae_research.evals.shared.attempts import Attempt, do_each
from sae_research.evals.shared.batches import capture, is_real
from sae_research.metrics.groups import whole_documents
from sae_research.saes.base import Sae
from sae_research.saes.encoding import Encoder

# Final hidden states held at once where 13 SAEs share the pass: 1 GiB in float32. Blocks must not depend on how many
# do: on a GPU another shape of a batch is another last digit.
_STATE_ELEMENTS = 2**28
_STATES = 16

Ablation = Literal["zero", "mean"]


@dataclass(frozen=True)
class CorePlan:
    """How the eval uses the rows of tokens."""

    batch_size: int
    """Sequences per batch, for the metrics that average by batch."""
    n_reconstruction: int
    """Number of leading rows, which serve cross-entropy and KL; the others serve everything else."""
    keep_special: bool
    """Whether BOS, EOS and pad keep their activation when the model reads the reconstruction."""


def measure_core(context: EvalContext, saes: Sequence[Sae], rows: CoreRows, plan: CorePlan) -> Iterator[Outcome]:
    """The outcome of every SAE on the given rows; the SAEs share one site."""
    context.progress.expect(len(rows.tokens))
    with torch.no_grad():
        run = _CorePass(context, saes, rows, plan)
        run.reconstruct(rows.tokens[: plan.n_reconstruction])
        run.describe(rows.tokens[plan.n_reconstruction :])
        outcomes = [run.finish(attempt) for attempt in run.attempts]
    yield from outcomes


class _CorePass:
    """The sums of all SAEs over the text so far."""

    def __init__(self, context: EvalContext, saes: Sequence[Sae], rows: CoreRows, plan: CorePlan) -> None:
        self.context, self.lm, self.plan = context, context.lm, plan
        self.site = saes[0].card.site
        self.rows = rows
        self.attempts = [Attempt(sae) for sae in saes]
        self.inputs = SequenceSums()
        self.model_losses = ModelLosses(context, self.site, rows.tokens)
        self.sae_losses = {attempt: SequenceSums() for attempt in self.attempts}
        groups = whole_documents(rows.documents[plan.n_reconstruction :])
        self.groups = torch.from_numpy(groups.of_unit)
        self.outputs = {attempt: _Outputs(attempt.sae, groups.n) for attempt in self.attempts}
        self.centre, norm = self._first_batch(rows.tokens[: plan.batch_size])
        self.outlier_norm = OUTLIER * norm
        self.offset = torch.zeros_like(self.centre, dtype=torch.float64)
        self.usual_offset = torch.zeros_like(self.offset)
        self.surprise = unigram_surprise(
            rows.tokens, is_real(self.lm, rows.tokens.to(self.lm.device)), vocab_size=self.lm.vocab_size
        )

    def _first_batch(self, rows: Tensor) -> tuple[Tensor, float]:
        """The mean of its real tokens' activations, and their median norm."""
        tokens = rows.to(self.lm.device)
        x, real = self._capture(tokens).float(), is_real(self.lm, tokens)
        total = torch.where(real[..., None], x, 0.0).sum(dim=1).double().sum(dim=0)
        norms = x.norm(dim=-1)[real]
        return (total / real.sum().clamp(min=1)).float(), float(norms.median()) if len(norms) else math.inf

    def _capture(self, tokens: Tensor) -> Tensor:
        return capture(self.lm, self.site, tokens, batch_size=self.context.batch_size)

    def _advance(self, sequences: int) -> None:
        self.context.progress.advance(sequences, doing=f"{len(self.attempts)} SAEs at {self.site.hook_name}")

    def reconstruct(self, rows: Tensor) -> None:
        """Losses of the model when it reads each reconstruction, zeros, or the mean activation."""
        states = _STATES * self.lm.d_model * rows.shape[1]
        for part in rows.split(max(1, min(self.context.batch_size, _STATE_ELEMENTS // states))):
            tokens = part.to(self.lm.device)
            real, x = is_real(self.lm, tokens), self.lm.capture(tokens, self.site)
            replaced = real if self.plan.keep_special else torch.ones_like(real)
            hidden: dict[Attempt | Ablation, Tensor] = {
                name: self._resume(changed, tokens)[real] for name, changed in self._ablated(x, replaced).items()
            }
            read = do_each(self.lm.device, self.attempts, self._read_reconstruction, x, replaced, tokens)
            hidden |= {attempt: states[real] for attempt, states in read.items()}
            clean = self.lm.resume_unchanged(self.site, x, tokens)[real]
            self._add_losses(clean, hidden, tokens, real)
            self._advance(len(part))
        self.model_losses.keep()

    def _resume(self, x: Tensor, tokens: Tensor) -> Tensor:
        return self.lm.resume(self.site, x, tokens)

    def _ablated(self, x: Tensor, replaced: Tensor) -> dict[Ablation, Tensor]:
        """The activations under each ablation whose losses are not known."""
        if self.model_losses.are_known:
            return {}
        # The mean replaces the same tokens as a reconstruction does.
        mean = torch.where(replaced[..., None], self.centre.to(x.dtype), x)
        return {"zero": torch.zeros_like(x), "mean": mean}

    def _read_reconstruction(self, attempt: Attempt, x: Tensor, replaced: Tensor, tokens: Tensor) -> Tensor:
        x_hat = torch.empty_like(x)
        for made in self.outputs[attempt].encoder.reconstruct(x, replaced):
            x_hat[made.part] = made.x_hat.to(x.dtype)
        return self._resume(torch.where(replaced[..., None], x_hat, x), tokens)

    def _add_losses(
        self, clean: Tensor, hidden: Mapping[Attempt | Ablation, Tensor], tokens: Tensor, real: Tensor
    ) -> None:
        """Adds one block of states at real tokens: KL at all of them, cross-entropy where a next token exists."""
        has_next = real.clone()
        has_next[:, -1] = False
        predicted, changed = compare_predictions(
            clean,
            hidden,
            tokens.roll(-1, dims=1)[real],
            self.lm.unembed,
            vocab_size=self.lm.vocab_size,
        )
        block = {
            "ce_tokens": has_next.sum(dim=1),
            "kl_tokens": real.sum(dim=1),
            **_prediction_sums("clean", predicted, real, has_next),
            "ce_unigram": sum_real(self.surprise[tokens.roll(-1, dims=1)], has_next),
        }
        for name, losses in changed.items():
            if isinstance(name, Attempt):
                self.sae_losses[name].add(_loss_sums("sae", losses, real, has_next))
            else:
                block |= _loss_sums(name, losses, real, has_next)
        self.model_losses.add(block)

    def describe(self, rows: Tensor) -> None:
        """Sparsity, reconstruction and firing of every SAE, over whole batches near the model's batch size."""
        step = max(1, self.context.batch_size // self.plan.batch_size) * self.plan.batch_size
        for part, group in zip(rows.split(step), self.groups.split(step), strict=True):
            tokens = part.to(self.lm.device)
            x = self._capture(tokens)
            inputs = describe_inputs(
                x, is_real(self.lm, tokens), self.centre, batch_size=self.plan.batch_size,
                outlier_norm=self.outlier_norm,
            )  # fmt: skip
            self.inputs.add(inputs.columns)
            self.offset += inputs.offset
            self.usual_offset += inputs.usual_offset
            do_each(self.lm.device, self.attempts, self._add_outputs, x, inputs, group.to(self.lm.device))
            self._advance(len(part))

    def _add_outputs(self, attempt: Attempt, x: Tensor, inputs: Inputs, groups: Tensor) -> None:
        self.outputs[attempt].add(x, inputs, groups)

    def finish(self, attempt: Attempt) -> Outcome:
        """The outcome of one SAE after all text was read."""
        return attempt.finish(lambda: core_output(attempt.sae, self._sums(attempt)))

    def _sums(self, attempt: Attempt) -> CoreSums:
        outputs = self.outputs[attempt]
        inputs = self.inputs.arrays()
        offset = (self.offset / max(1.0, inputs["tokens"].sum())).square().sum()
        usual_offset = (self.usual_offset / max(1.0, inputs["usual_tokens"].sum())).square().sum()
        return CoreSums(
            losses=self.model_losses.arrays() | self.sae_losses[attempt].arrays(),
            sums=inputs | outputs.columns.arrays(),
            offset_square=float(offset),
            usual_offset_square=float(usual_offset),
            fired=outputs.fired.cpu().numpy(),
            positive=outputs.positive.cpu().numpy(),
            fired_sequences=outputs.fired_sequences.cpu().numpy(),
            positive_sequences=outputs.positive_sequences.cpu().numpy(),
            documents=self.rows.documents,
            batch_size=self.plan.batch_size,
            context_size=self.rows.tokens.shape[1],
        )


class _Outputs:
    """The sums of one SAE's codes and reconstructions."""

    def __init__(self, sae: Sae, n_groups: int) -> None:
        self.sae, self.encoder = sae, Encoder(sae)
        self.columns = SequenceSums()
        width, device = sae.card.d_sae, sae.W_dec.device
        self.fired = torch.zeros(n_groups, width, dtype=torch.int64, device=device)
        self.positive = torch.zeros_like(self.fired)
        self.fired_sequences = torch.zeros(width, dtype=torch.int64, device=device)
        self.positive_sequences = torch.zeros_like(self.fired_sequences)

    def add(self, x: Tensor, inputs: Inputs, groups: Tensor) -> None:
        """Adds the next sequences; `x` are the model's activations, `groups` the group of each sequence."""
        for made in self.encoder.reconstruct(x, inputs.real):
            counts = count_codes(made, d_sae=self.sae.card.d_sae)
            interpolating = (counts.columns["support"] >= self.sae.card.d_in).double()
            outputs = describe_outputs(take(inputs, made.part), made.x_hat)
            self.columns.add(counts.columns | outputs | {"interpolating": interpolating})
            self.fired.index_add_(0, groups[made.part], counts.fired)
            self.positive.index_add_(0, groups[made.part], counts.positive)
            self.fired_sequences += (counts.fired > 0).sum(dim=0)
            self.positive_sequences += (counts.positive > 0).sum(dim=0)


def _placed(values: Tensor, real: Tensor) -> Tensor:
    """(sequence, token): the values at real tokens, 0 elsewhere."""
    return torch.zeros(real.shape, dtype=values.dtype, device=values.device).masked_scatter(real, values)


def _prediction_sums(name: str, predicted: Predicted, real: Tensor, has_next: Tensor) -> dict[str, Tensor]:
    return {
        f"ce_{name}": sum_real(_placed(predicted.cross_entropy, real), has_next),
        f"right_{name}": sum_real(_placed(predicted.is_right.float(), real), has_next),
    }


def _loss_sums(name: str, losses: Losses, real: Tensor, has_next: Tensor) -> dict[str, Tensor]:
    return {
        **_prediction_sums(name, losses.predicted, real, has_next),
        f"kl_{name}": sum_real(_placed(losses.divergence, real), real),
    }
