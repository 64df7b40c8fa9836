"""Whether this project can read what a training would leave; asked before it takes hours."""

from __future__ import annotations

from sae_research.errors import UserError
from sae_research.formats.readers.saelens import from_lens
from sae_research.training.lens import untrained_form
from sae_research.training.settings import TrainSettings


def why_unreadable(settings: TrainSettings, d_in: int) -> str | None:
    """What speaks against measuring an SAE of these settings here; None if nothing does.

    UserError where SAELens itself refuses the settings.
    """
    config, tensors = untrained_form(settings, d_in)
    try:
        from_lens(config, tensors, name=settings.title, source={})
    except UserError as error:
        return str(error)
    return None
