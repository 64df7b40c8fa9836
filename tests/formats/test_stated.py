"""What a user states where the files do not say it, and what happens where they say otherwise."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sae_research.errors import UserError
from sae_research.formats.registry import read_sae
from sae_research.formats.stated import stated_k, stated_site
from sae_research.lm.site import Site

MakeCheckpoint = Callable[..., Path]
K = 4


def test_what_the_files_say_may_be_stated_too(checkpoint: MakeCheckpoint) -> None:
    source = {"hook_name": "blocks.3.hook_resid_post", "model_name": "pythia-70m-deduped", "k": K}
    sae = read_sae(checkpoint("AutoEncoderTopK"), name="x", source=source)
    assert sae.card.model_name == "EleutherAI/pythia-70m-deduped"
    assert source.items() <= sae.card.source.items()


def test_a_model_that_no_file_names_is_the_stated_one(checkpoint: MakeCheckpoint) -> None:
    path = checkpoint("AutoEncoder", drop=("lm_name",))
    assert read_sae(path, name="x", source={}).card.model_name == "unknown"
    assert read_sae(path, name="x", source={"model_name": "gpt2"}).card.model_name == "gpt2"


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"hook_name": "blocks.4.hook_resid_post"}, "given as 'blocks.4.*say 'blocks.3.hook_resid_post'; remove"),
        ({"model_name": "gpt2"}, "model_name is given as 'gpt2', but its files say 'EleutherAI/pythia-70m-deduped'"),
        ({"k": 7}, f"k is given as 7, but its files say {K}; remove k or correct it"),
    ],
)
def test_what_contradicts_the_files_is_refused(
    checkpoint: MakeCheckpoint, stated: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        read_sae(checkpoint("AutoEncoderTopK"), name="x", source=stated)


def test_k_of_an_sae_without_k_is_refused(checkpoint: MakeCheckpoint) -> None:
    with pytest.raises(UserError, match=r"k is given as 4, but its files say 'no k \(it is a relu\)'"):
        read_sae(checkpoint("AutoEncoder"), name="x", source={"k": 4})


def test_where_nothing_is_stated_the_message_names_the_keys() -> None:
    assert stated_site({"hook_name": "blocks.2.hook_mlp_out"}, sae="x") == Site(2, "mlp_out")
    assert stated_k({"k": 3}, sae="x") == 3
    with pytest.raises(UserError, match=r"do not say at which hook point it reads; give hook_name, .* and model_name"):
        stated_site({}, sae="x")
    with pytest.raises(UserError, match="do not say how many latents fire at a time; give k"):
        stated_k({}, sae="x")
