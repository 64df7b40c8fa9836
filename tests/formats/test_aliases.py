"""Seed 002's names of published SAEs: each means the file that its program loads, in params.yaml, in the library
and on the command line."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from support.hub_server import Repo, run_against, running_hub
from support.words import WORDS, word_texts, words_model

from sae_research.errors import UserError
from sae_research.formats.aliases import looks_like_alias, published_sae, require_published
from sae_research.pipeline.sections import ComparisonSae

# As sae-sensitivity's `sae_inference.py` and `saebench_utils.py` put them together, written out by hand.
FILES = {
    "py_4k_btopk_s0": (
        "adamkarvonen/saebench_pythia-160m-deduped_width-2pow12_date-0108",
        "BatchTopK_pythia-160m-deduped__0108/resid_post_layer_8/trainer_0/ae.pt",
    ),
    "py_16k_gated_s2": (
        "adamkarvonen/saebench_pythia-160m-deduped_width-2pow14_date-0108",
        "GatedSAE_pythia-160m-deduped__0108/resid_post_layer_8/trainer_2/ae.pt",
    ),
    "py_65k_relu_s5": (
        "adamkarvonen/saebench_pythia-160m-deduped_width-2pow16_date-0108",
        "Standard_pythia-160m-deduped__0108/resid_post_layer_8/trainer_5/ae.pt",
    ),
    "gem_4k_jumprelu_s1": (
        "adamkarvonen/saebench_gemma-2-2b_width-2pow12_date-0108",
        "JumpRelu_gemma-2-2b__0108/resid_post_layer_12/trainer_1/ae.pt",
    ),
    "gem_16k_topk_s3": (
        "canrager/saebench_gemma-2-2b_width-2pow14_date-0107",
        "gemma-2-2b_top_k_width-2pow14_date-0107/resid_post_layer_12/trainer_3/ae.pt",
    ),
    "gem_65k_pan_s4": (
        "canrager/saebench_gemma-2-2b_width-2pow16_date-0107",
        "gemma-2-2b_p_anneal_width-2pow16_date-0107/resid_post_layer_12/trainer_4/ae.pt",
    ),
    "gem_16k_matbtopk_s0": (
        "canrager/saebench_gemma-2-2b_width-2pow14_date-0107",
        "gemma-2-2b_matryoshka_batch_top_k_width-2pow14_date-0107/resid_post_layer_12/trainer_0/ae.pt",
    ),
    "gscope_16k_l0_44": ("google/gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_44/params.npz"),
    "gscope_layer5_1m_l0_256": ("google/gemma-scope-2b-pt-res", "layer_5/width_1m/average_l0_256/params.npz"),
}
RESULTS = {
    "py_4k_btopk_s0": "saebench_pythia-160m-deduped_width-2pow12_date-0108/saebench_pythia-160m-deduped_width-2pow12_"
    "date-0108_BatchTopK_pythia-160m-deduped__0108_resid_post_layer_8_trainer_0_eval_results.json",
    "gem_16k_topk_s3": "saebench_gemma-2-2b_width-2pow14_date-0108/saebench_gemma-2-2b_width-2pow14_"
    "date-0108_TopK_gemma-2-2b__0108_resid_post_layer_12_trainer_3_eval_results.json",
    "gscope_16k_l0_44": None,
}


@pytest.mark.parametrize("alias", FILES)
def test_a_short_name_means_the_file_that_the_seed_loads(alias: str) -> None:
    assert published_sae(alias)[1:3] == FILES[alias]
    written_out = ComparisonSae(alias=alias).written_out
    assert (written_out.repo_id, written_out.filename) == FILES[alias]
    assert looks_like_alias(alias)


@pytest.mark.parametrize("alias", RESULTS)
def test_a_short_name_means_a_file_of_published_results(alias: str) -> None:
    assert published_sae(alias).results == RESULTS[alias]


def test_no_two_names_mean_the_same_file() -> None:
    architectures = ("btopk", "matbtopk", "gated", "jumprelu", "topk", "relu", "pan")
    parts = [(m, w, a, s) for m in ("py", "gem") for w in ("4k", "16k", "65k") for a in architectures for s in range(6)]
    saes = [published_sae(f"{model}_{width}_{architecture}_s{s}") for model, width, architecture, s in parts]
    assert len({sae[1:3] for sae in saes}) == len({sae.results for sae in saes}) == 252


def test_an_unknown_name_lists_what_exists_the_closest_first() -> None:
    with pytest.raises(ValueError, match=r"no published SAE is called 'py_4k_btpk_s0'; similar: py_4k_btopk_s0, ") as e:
        published_sae("py_4k_btpk_s0")
    assert "{py|gem}_{4k|16k|65k}_{btopk|" in str(e.value)
    assert "_s{0-5}" in str(e.value)
    with pytest.raises(ValueError, match="'py_4k_btopk_s6'; similar: py_4k_btopk_s"):
        ComparisonSae(alias="py_4k_btopk_s6")
    present = [f"layer_{layer}/width_16k/average_l0_{l0}/params.npz" for layer in (11, 12) for l0 in (22, 41, 82)]
    nearest = "gscope_layer12_16k_l0_41, gscope_layer12_16k_l0_22, gscope_layer12_16k_l0_82, gscope_layer11_16k_l0_41"
    with pytest.raises(UserError, match=re.escape(f"the nearest there: {nearest}")):
        require_published(published_sae("gscope_16k_l0_44"), [*present, "README.md"])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"alias": "py_4k_topk_s0", "repo_id": "a/b"}, "give either"),
        ({"alias": "py_4k_topk_s0", "k": 3}, "k: only a checkpoint's files may lack it"),
        ({"release": "a", "sae_id": "b", "revision": "main"}, "revision is that of a repository"),
    ],
)
def test_an_entry_names_its_saes_in_one_way(entry: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ComparisonSae(**entry)  # type: ignore[arg-type]


def test_an_alias_and_its_file_name_the_same_sae() -> None:
    repo_id, filename = FILES["py_4k_btopk_s0"]
    assert ComparisonSae(alias="py_4k_btopk_s0").named == ComparisonSae(repo_id=repo_id, filename=filename).named


SCRIPT = """
import json
from pathlib import Path
from sae_research import evaluate
from sae_research.cli import main
from sae_research.errors import UserError
from sae_research.pipeline.fetched_saes import fetch_comparison
from sae_research.pipeline.sections import ComparisonSae
from sae_research.sources.hub import Hub
hub = Hub(Path("no-world"))
saes = [sae for entry in {entries} for sae in fetch_comparison(hub, ComparisonSae(**entry))]
told = []
for name in ["gscope_16k_l0_44", "py_4k_btpk_s0"]:
    try:
        evaluate("pythia-160m-deduped", name, "core", texts=["w"])
    except UserError as error:
        told.append(str(error))
code = main({line}.split())
print(json.dumps([[[s.card.name, s.card.label, s.card.source["filename"], s.card.source["format"]] for s in saes],
                  told, code]))
"""
TABLE = """
Generation phase
┌───────────┬──────────┐
│   Top act │ Sequence │
├───────────┼──────────┤
{lines}
└───────────┴──────────┘
Scoring phase
"""


def test_short_names_are_fetched_for_comparison_in_the_library_and_for_the_seeds_command(tmp_path: Path) -> None:
    repo_id, filename = FILES["py_4k_btopk_s0"]
    scope = {"layer_12/width_16k/average_l0_41/params.npz": b"", "README.md": b""}
    repos = {
        repo_id: Repo({"main": _batch_topk(filename)}),
        "google/gemma-scope-2b-pt-res": Repo({"main": scope}),
        "EleutherAI/pythia-160m-deduped": Repo({"main": _model(tmp_path / "model")}),
        "monology/pile-uncopyrighted": Repo({"main": {"train.parquet": _texts(tmp_path / "pile.parquet")}}, "datasets"),
        "adamkarvonen/sae_bench_results_0125": Repo({"main": _published("py_4k_btopk_s0")}, "datasets"),
    }
    entries = [{"alias": "py_4k_btopk_s0"}, {"alias": "py_4k_btopk_s0", "label": "mine"}]
    line = (
        "sensitivity --model pythia-160m-deduped --sae-names py_4k_btopk_s0 --features 3 --use-saebench-examples "
        f"--total-tokens 7200 --context-size 48 --output-path {tmp_path}/run"
    )
    with running_hub(repos) as hub:
        done = run_against(hub.endpoint, tmp_path / "home", SCRIPT.format(entries=entries, line=repr(line)))
    assert done.returncode == 0, done.stderr
    saes, told, code = json.loads(done.stdout.splitlines()[-1])
    assert saes == [
        ["py_4k_btopk_s0", "", filename, "dictionary_learning"],
        ["mine_py_4k_btopk_s0", "mine", filename, "dictionary_learning"],
    ]
    assert "has no layer_12/width_16k/average_l0_44/params.npz; the nearest there: gscope_layer12_16k_l0_41" in told[0]
    assert "no published SAE is called 'py_4k_btpk_s0'; similar: py_4k_btopk_s0" in told[1]
    assert code == 0, done.stderr
    shown = pd.read_csv(tmp_path / "run" / "py_4k_btopk_s0" / "feature_examples.csv")
    assert sorted(set(shown["feature_index"])) == [4, 7, 11]
    assert shown["Sequence"].tolist()[0] == f"{WORDS[3]} <<{WORDS[4]}>> {WORDS[34]}"


def _batch_topk(filename: str) -> dict[str, bytes]:
    """A checkpoint of dictionary_learning under that name."""
    generator = torch.Generator().manual_seed(0)
    state = {
        "encoder.weight": torch.randn(24, 16, generator=generator), "encoder.bias": torch.zeros(24), "k": 5,
        "decoder.weight": torch.eye(24)[:16], "b_dec": torch.zeros(16), "threshold": torch.tensor(0.5),
    }  # fmt: skip
    trainer = {
        "trainer_class": "BatchTopKTrainer", "dict_class": "BatchTopKSAE", "activation_dim": 16, "dict_size": 24,
        "k": 5, "layer": 1, "lm_name": "EleutherAI/pythia-160m-deduped", "submodule_name": "resid_post_layer_1",
    }  # fmt: skip
    weights = io.BytesIO()
    torch.save(state, weights)
    config = json.dumps({"trainer": trainer}).encode()
    return {filename: weights.getvalue(), filename.replace("ae.pt", "config.json"): config}


def _model(folder: Path) -> dict[str, bytes]:
    lm: Any = words_model()
    lm.plain_model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _texts(path: Path) -> bytes:
    pd.DataFrame({"text": word_texts(5, 700)}).to_parquet(path)
    return path.read_bytes()


def _published(alias: str) -> dict[str, bytes]:
    """SAEBench's file of results on that SAE, with the examples of three latents."""
    entries = {}
    for latent in (4, 7, 11):
        texts = [f"{WORDS[i - 1]} <<{WORDS[latent]}>> {WORDS[i + 30]}" for i in range(latent, latent + 15)]
        lines = "\n".join(f"│     {20 - i:.3f} │ {text} │" for i, text in enumerate(texts))
        entries[str(latent)] = {"logs": TABLE.format(lines=lines)}
    name = f"autointerp_with_generations/{published_sae(alias).results}"
    return {name: json.dumps({"eval_result_unstructured": entries}).encode()}
