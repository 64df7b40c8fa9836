"""What tests ask of outcomes, whatever the eval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from support.threads import torch_threads

from sae_research.evals.base import Outcome
from sae_research.measurements import EvalOutput, Measurement
from sae_research.saes.base import Sae

MakeSae = Callable[..., Sae]
Measure = Callable[[Sequence[Sae]], Iterable[Outcome]]


def output_of(outcome: Outcome) -> EvalOutput:
    """Its output; the error of one that has none is raised."""
    if outcome.error is not None:
        raise outcome.error
    assert outcome.output is not None
    return outcome.output


def one(outcome: Outcome, metric: str, **at: Any) -> Measurement:
    """Its measurement of `metric` at exactly these coordinates."""
    return next(m for m in output_of(outcome).measurements if m.metric == metric and m.at == at)


def check_company(measure: Measure, saes: Sequence[Sae]) -> list[EvalOutput]:
    """The outputs of `saes`, which are the same for each alone and in the other order."""
    together = [output_of(o) for o in measure(saes)]
    assert together == [output_of(o) for o in measure(saes[::-1])][::-1]
    for sae, output in zip(saes, together, strict=True):
        assert [output] == [output_of(o) for o in measure([sae])]
    return together


def check_threads(measure: Measure, saes: Sequence[Sae], outputs: Sequence[EvalOutput]) -> None:
    """`outputs` are the same with three threads."""
    with torch_threads(3):
        assert list(outputs) == [output_of(o) for o in measure(saes)]


def check_normalised_sae(measure: Measure, make_sae: MakeSae) -> None:
    """What an SAE without biases contributes is the same whether it scales its input to one norm or not.

    relu(|x| / c * (x W) c / |x|) = relu(x W), so an eval that takes latents out of activations finds the same.
    """
    plain, scaled = (make_sae("topk", k=5, tensors={"b_enc": torch.zeros(48), "b_dec": torch.zeros(16)}) for _ in "ab")
    scaled.card = replace(scaled.card, input_norm="constant_norm_rescale")
    first, second = (
        {(m.metric, *m.at.values()): m.value for m in output_of(outcome).measurements}
        for outcome in (next(iter(measure([sae]))) for sae in (plain, scaled))
    )
    assert first == pytest.approx(second, abs=1e-3)


def check_failing_sae(measure: Measure, make_sae: MakeSae) -> None:
    """An SAE whose codes overflow fails by itself; the one beside it is as alone."""
    signs = torch.tensor([1.0, -1.0]).repeat(24)
    bad, good = (
        make_sae("relu", name="bad", tensors={"W_enc": torch.full((16, 48), 3e38) * signs}),
        make_sae("topk", k=4),
    )
    first, second = measure([bad, good])
    assert isinstance(first.error, FloatingPointError)
    assert [second.output] == [o.output for o in measure([good])]
