"""What the files of other projects say beside numbers: site, model, which of several SAEs; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from support.checkpoints import CHECKPOINTS, D_IN, D_SAE, HYPERPARAMS, LLAMASCOPIUM, SHAPES, Checkpoint, random_state

from sae_research.errors import UserError
from sae_research.formats.registry import companions_of, find_format, format_names, read_sae, read_saes, short_name_of
from sae_research.lm.site import Site
from sae_research.pipeline.fetched_saes import fetch_baseline, fetch_comparison
from sae_research.pipeline.sections import BaselineSae, ComparisonSae
from sae_research.sources.hub import Hub

# site, model, k; the residual stream has no mean where TransformerLens' default took it away
SAID: Mapping[str, tuple[Site, str, int | None]] = {
    "goodfire": (Site(1, "resid_post"), "unknown", None),
    "deepseek_r1": (Site(1, "resid_post"), "unknown", None),
    "qwen_scope": (Site(1, "resid_post"), "Qwen/Qwen3-1.7B-Base", 5),
    "attention_z": (Site(1, "attn_z"), "gpt2-small", None),
    "openai v5": (Site(1, "resid_post"), "gpt2", 5),
    "openai v1": (Site(1, "mlp_out"), "gpt2", None),
    "apollo run": (Site(1, "resid_pre", centred=True), "gpt2-small", None),
    "apollo hub": (Site(1, "resid_pre", centred=True), "gpt2-small", None),
    "llama_scope": (Site(1, "resid_post"), "unknown", None),
    "llamascopium": (Site(1, "resid_post"), "meta-llama/Llama-3.1-8B", None),
    "nested_topk": (Site(1, "resid_post"), "gpt2", 4),
}


@pytest.mark.parametrize("name", SAID)
def test_site_model_and_k_are_what_the_files_say(name: str, tmp_path: Path) -> None:
    checkpoint = CHECKPOINTS[name]
    card = read_sae(checkpoint.write(tmp_path), name="x", source=checkpoint.source).card
    assert (card.site, card.model_name, card.hyperparameters.get("k")) == SAID[name]
    assert card.source["format"] == checkpoint.format_name
    assert card.prepend_bos is (name != "llamascopium")


@pytest.mark.parametrize("name", ["goodfire", "deepseek_r1", "qwen_scope without config"])
def test_a_file_that_does_not_say_its_site_asks_for_it(name: str, tmp_path: Path) -> None:
    path = CHECKPOINTS[name].write(tmp_path)
    with pytest.raises(UserError, match=r"SAE 'x': its files do not say at which hook point .* give hook_name"):
        read_sae(path, name="x", source={"k": 5})


@pytest.mark.parametrize(
    ("name", "filename", "site", "model"),
    [
        ("goodfire", "Llama-3.1-8B-Instruct-SAE-l19.pth", Site(19, "resid_post"), "meta-llama/Llama-3.1-8B-Instruct"),
        ("goodfire", "Llama-3.3-70B-Instruct-SAE-l50.pt", Site(50, "resid_post"), "meta-llama/Llama-3.3-70B-Instruct"),
        (
            "deepseek_r1", "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt", Site(19, "resid_post"),
            "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
        ),
    ],
)  # fmt: skip
def test_the_published_files_are_known(name: str, filename: str, site: Site, model: str, tmp_path: Path) -> None:
    path = replace(CHECKPOINTS[name], filename=filename).write(tmp_path)
    card = read_sae(path, name="x", source={}).card
    assert (card.site, card.model_name) == (site, model)


def test_qwen_scope_without_config_needs_k(tmp_path: Path) -> None:
    checkpoint = CHECKPOINTS["qwen_scope without config"]
    with pytest.raises(UserError, match="do not say how many latents fire at a time; give k"):
        read_sae(checkpoint.write(tmp_path), name="x", source={"hook_name": "blocks.1.hook_resid_post"})


def test_qwen_scopes_layer_stands_in_the_files_name_alone(tmp_path: Path) -> None:
    path = replace(CHECKPOINTS["qwen_scope"], filename="first.pt").write(tmp_path)
    with pytest.raises(UserError, match=r"its file is called first\.pt, expected layer<N>\.sae\.pt"):
        read_sae(path, name="x", source={})


def test_an_openai_file_elsewhere_needs_its_site(tmp_path: Path) -> None:
    path = replace(CHECKPOINTS["openai v5"], filename="mine/6.pt").write(tmp_path)
    with pytest.raises(UserError, match="do not say at which hook point"):
        read_sae(path, name="x", source={})
    sae = read_sae(path, name="x", source={"hook_name": "blocks.6.hook_resid_pre", "model_name": "gpt2"})
    assert (sae.card.site, sae.card.model_name, sae.card.input_norm) == (Site(6, "resid_pre"), "gpt2", "layer_norm")


def test_what_contradicts_an_openai_path_is_refused(tmp_path: Path) -> None:
    path = CHECKPOINTS["openai v5"].write(tmp_path)
    with pytest.raises(UserError, match=r"given as 'blocks\.6\.hook_resid_pre', but its files say 'blocks\.1"):
        read_sae(path, name="x", source={"hook_name": "blocks.6.hook_resid_pre"})


def test_an_openai_location_that_is_no_site_is_refused(tmp_path: Path) -> None:
    path = replace(CHECKPOINTS["openai v5"], filename="mlp_post_act_v4/autoencoders/1.pt").write(tmp_path)
    with pytest.raises(
        UserError, match=r"it is of mlp_post_act, a place that is not measured here: hook name 'blocks\.1"
    ):
        read_sae(path, name="x", source={})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "Swish"}, "activation is 'Swish', expected 'TopK' or 'ReLU'"),
        ({"activation_state_dict": {"k": 5, "postact_fn": "Identity"}}, "postact_fn = 'Identity', expected"),
        ({"activation_state_dict": {"postact_fn": "ReLU"}}, "k = None and"),
    ],
)
def test_other_activations_of_openais_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    checkpoint = CHECKPOINTS["openai v5"]
    with pytest.raises(UserError, match=message):
        read_sae(checkpoint.write(tmp_path, {**checkpoint.state(), **changes}), name="x", source={})


def test_each_sae_of_an_apollo_run_is_read_or_one_by_its_hook_point(tmp_path: Path) -> None:
    path = CHECKPOINTS["apollo run"].write(tmp_path)
    both = list(read_saes(path, name="run", source={}))
    assert [sae.card.name for sae in both] == ["run_blocks.1.hook_resid_pre", "run_blocks.2.hook_resid_pre"]
    assert [sae.card.site.layer for sae in both] == [1, 2]
    assert both[0].card.digest != both[1].card.digest
    [second] = read_saes(path, name="run", source={"hook_name": "blocks.2.hook_resid_pre"})
    assert (second.card.name, second.card.digest) == ("run", both[1].card.digest)
    with pytest.raises(UserError, match=r"holds 2 SAEs \(hook_name = blocks\.1.*; give hook_name to pick one"):
        read_sae(path, name="run", source={})
    with pytest.raises(UserError, match=r"holds 2 SAEs .*, none with hook_name = 'blocks\.3\.hook_resid_pre'"):
        read_sae(path, name="run", source={"hook_name": "blocks.3.hook_resid_pre"})


def test_a_model_of_apollos_own_is_not_centred(tmp_path: Path) -> None:
    config = {"final_config.yaml": "tlens_model_name: null\ntlens_model_path: tiny/model.pt\n"}
    path = replace(CHECKPOINTS["apollo run"], companions=config).write(tmp_path)
    sae = read_sae(path, name="x", source={"hook_name": "blocks.1.hook_resid_pre"})
    assert (sae.card.site.centred, sae.card.model_name) == (False, "unknown")


def test_an_apollo_file_from_the_hub_says_its_one_position(tmp_path: Path) -> None:
    yaml = {"e2e_similar_ce_layer_1.yaml": "saes: {sae_positions: [blocks.1.hook_resid_pre, blocks.2.hook_resid_pre]}"}
    path = replace(CHECKPOINTS["apollo hub"], companions=yaml).write(tmp_path)
    with pytest.raises(UserError, match=r"saes\.sae_positions is \['blocks.*, expected one hook point"):
        read_sae(path, name="x", source={})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"hook_point_out": "blocks.1.hook_mlp_out"},
            r"hook_point_out 'blocks\.1\.hook_mlp_out': it is a transcoder",
        ),
        ({"use_glu_encoder": True}, "use_glu_encoder is not supported"),
        ({"act_fn": "batchtopk"}, "act_fn is 'batchtopk', .* depend on the batch: convert it to jumprelu"),
        ({"norm_activation": "batch-wise"}, "norm_activation is 'batch-wise', expected 'dataset-wise'"),
        ({"d_model": 17}, "says d_model = 17, the weights have 16"),
    ],
)
@pytest.mark.parametrize("name", ["llama_scope", "llamascopium"])
def test_options_of_openmoss_that_cannot_be_followed_are_refused(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        _read_with_config(name, changes, tmp_path)


def test_average_norms_have_to_be_numbers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"dataset_average_activation_norm of blocks.*_resid_post is None"):
        _read_with_config("llama_scope", {"dataset_average_activation_norm": None}, tmp_path)
    with pytest.raises(UserError, match=r"hyperparams\.json: in is 'four', expected a number"):
        _read_with_config("llama_scope", {"dataset_average_activation_norm": {"in": "four"}}, tmp_path)


def test_dictionaries_that_are_no_saes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="sae_type is 'crosscoder'; only 'sae' reconstructs the activation"):
        _read_with_config("llamascopium", {"sae_type": "crosscoder"}, tmp_path)


def _read_with_config(name: str, changes: dict[str, Any], folder: Path) -> Any:
    checkpoint = CHECKPOINTS[name]
    key = next(key for key in checkpoint.companions if not key.endswith("lm_config.json"))
    config = {**(HYPERPARAMS if name == "llama_scope" else LLAMASCOPIUM), **changes}
    path = replace(checkpoint, companions={key: config}).write(folder)
    return read_sae(path, name="x", source=checkpoint.source)


def test_an_sae_whose_decoder_bias_joins_the_input_subtracts_it_in_its_own_units(tmp_path: Path) -> None:
    sae = _read_with_config("llama_scope", {"apply_decoder_bias_to_pre_encoder": True, "act_fn": "relu"}, tmp_path)
    state = CHECKPOINTS["llama_scope"].state()
    x, scale = torch.randn(4, D_IN, generator=torch.Generator().manual_seed(1)), D_IN**0.5 / 10.8125
    z = ((x * scale - state["decoder.bias"]) @ state["encoder.weight"].T + state["encoder.bias"]).relu()
    x_hat = (z @ state["decoder.weight"].T + state["decoder.bias"]) / scale
    torch.testing.assert_close(sae.decode(sae.encode(x)), x_hat, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("filename", "tensors", "message"),
    [
        (
            "layer_3.safetensors",
            {"W_enc": (D_SAE, D_IN), "W_dec": (D_SAE, D_IN)},
            "it is a transcoder: it reads one activation and predicts another",
        ),
        ("skip.safetensors", {"W_enc": (D_IN, D_SAE), "W_skip": (D_IN, D_IN)}, "it is a transcoder"),
        ("W_enc_3.safetensors", {"W_enc_3": (D_SAE, D_IN)}, "it is a transcoder: .*; choose an SAE, of one layer"),
        ("W_dec_3.safetensors", {"W_dec_3": (D_SAE, 2, D_IN)}, "it is a transcoder: .*, of one layer"),
    ],
)
def test_transcoders_are_refused_with_the_reason(
    filename: str, tensors: dict[str, tuple[int, ...]], message: str, tmp_path: Path
) -> None:
    save_file({key: torch.ones(shape) for key, shape in tensors.items()}, tmp_path / filename)
    with pytest.raises(UserError, match=f"SAE 'x': .*{message}"):
        read_sae(tmp_path / filename, name="x", source={})


def test_a_nested_sae_becomes_one_per_k(tmp_path: Path) -> None:
    checkpoint = CHECKPOINTS["nested_topk"]
    path = checkpoint.write(tmp_path)
    saes = list(fetch_comparison(Hub(tmp_path), ComparisonSae(str(tmp_path), checkpoint.filename)))
    assert [sae.card.name for sae in saes] == [f"abstopk_trainer_0_k{k}" for k in (2, 4, 8)]
    x = torch.randn(6, D_IN, generator=torch.Generator().manual_seed(0))
    assert [int((sae.encode(x) != 0).sum(dim=1).max()) for sae in saes] == [2, 4, 8]
    [one] = fetch_comparison(Hub(tmp_path), ComparisonSae(str(tmp_path), checkpoint.filename, k=8))
    assert (one.card.name, one.card.digest) == ("abstopk_trainer_0", saes[2].card.digest)
    [folder] = read_saes(path.parent, name="x", source={"k": 8})
    assert folder.card.digest == one.card.digest


def test_a_baseline_picks_one_of_several(tmp_path: Path) -> None:
    checkpoint = CHECKPOINTS["nested_topk"]
    checkpoint.write(tmp_path)
    entry = BaselineSae(str(tmp_path), checkpoint.filename, hook_layer=1)
    with pytest.raises(UserError, match=r"holds 3 SAEs \(k = 2, k = 4, k = 8\); give k to pick one"):
        fetch_baseline(Hub(tmp_path), entry, model_name="gpt2")
    assert fetch_baseline(Hub(tmp_path), replace(entry, k=4), model_name="gpt2").card.hyperparameters["k"] == 4
    with pytest.raises(UserError, match="none with k = 3; correct or remove it"):
        fetch_baseline(Hub(tmp_path), replace(entry, k=3), model_name="gpt2")


def test_backups_of_nested_saes_are_read_and_disagreeing_ks_refused(tmp_path: Path) -> None:
    checkpoint: Checkpoint = CHECKPOINTS["nested_topk"]
    plain = read_sae(checkpoint.write(tmp_path / "a"), name="x", source={"k": 4})
    backup = read_sae(replace(checkpoint, wrapped="ae").write(tmp_path / "b"), name="x", source={"k": 4})
    assert backup.card.digest == plain.card.digest
    state = {**checkpoint.state(), "k_tensor": torch.tensor([2, 4])}
    with pytest.raises(UserError, match=r"k_tensor has \[2, 4\], trainer\.k_values \[2, 4, 8\]"):
        read_sae(checkpoint.write(tmp_path / "c", state), name="x", source={"k": 4})


@pytest.mark.parametrize(
    ("filename", "short", "beside"),
    [
        ("resid_post_mlp_v5_32k/autoencoders/6.pt", "resid_post_mlp_v5_32k_layer_6", set()),
        ("layer5.sae.pt", "layer5", {"config.json"}),
        ("e2e_similar_ce_layer_6.pt", "e2e_similar_ce_layer_6", {"e2e_similar_ce_layer_6.yaml"}),
        ("runs/a/samples_400000.pt", "a_samples_400000", {"runs/a/final_config.yaml"}),
        ("L15M-8x/checkpoints/final.safetensors", "L15M-8x", {"L15M-8x/hyperparams.json", "L15M-8x/lm_config.json"}),
        ("x/L5R/sae_weights.safetensors", "L5R", {"x/L5R/config.json"}),
        ("a_v9.pt", "a_v9", {"a_v9_cfg.json"}),
        ("Llama-3.1-8B-Instruct-SAE-l19.pth", "Llama-3.1-8B-Instruct-SAE-l19", set()),
    ],
)
def test_names_and_companions_of_published_files(filename: str, short: str, beside: set[str]) -> None:
    assert short_name_of(filename) == short
    assert beside <= set(companions_of(filename))


# As in jbloom/GPT2-Small-SAEs-Reformatted, smaller; the keys of training alone are a selection.
BLOOM = {
    "model_name": "gpt2-small", "hook_point": "blocks.1.hook_resid_pre", "hook_point_layer": 1,
    "hook_point_head_index": None, "dataset_path": "Skylion007/openwebtext", "is_dataset_tokenized": False,
    "context_size": 128, "use_cached_activations": False, "d_in": D_IN, "n_batches_in_buffer": 128,
    "total_training_tokens": 300000000, "store_batch_size": 32, "device": "mps", "seed": 42, "dtype": "torch.float32",
    "b_dec_init_method": "geometric_median", "expansion_factor": 32, "from_pretrained_path": None,
    "l1_coefficient": 8e-05, "lp_norm": 1, "lr": 0.0004, "lr_scheduler_name": None, "lr_warm_up_steps": 5000,
    "train_batch_size": 4096, "use_ghost_grads": False, "feature_sampling_window": 1000, "dead_feature_window": 5000,
    "dead_feature_threshold": 1e-06, "log_to_wandb": True, "d_sae": D_SAE,
}  # fmt: skip


def _bloom(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    (folder / "cfg.json").write_text(json.dumps({**BLOOM, **changes}))
    save_file(random_state({name: name for name in SHAPES}), folder / "sae_weights.safetensors")
    save_file({"sparsity": torch.zeros(D_SAE)}, folder / "sparsity.safetensors")
    return folder


@pytest.mark.parametrize(
    ("changes", "centred"),
    [
        ({}, True),  # as trained: SAELens #279
        ({"model_name": "TinyLlama/TinyLlama-1.1B"}, False),
        ({"model_name": "gemma-2b"}, False),  # RMSNorm, which TransformerLens leaves alone
        ({"model_from_pretrained_kwargs": {}}, True),
        ({"model_from_pretrained_kwargs": {"center_writing_weights": True}}, True),
        ({"model_from_pretrained_kwargs": {"center_writing_weights": False}}, False),
    ],
)
def test_blooms_saes_read_what_transformer_lens_gave_them(
    changes: dict[str, Any], centred: bool, tmp_path: Path
) -> None:
    path = _bloom(tmp_path / "blocks.1.hook_resid_pre", **changes)
    assert [name for name in format_names() if find_format(name).recognises(path)] == ["saelens"]
    sae = read_sae(path, name="x", source={})
    assert sae.card.site == Site(1, "resid_pre", centred=centred)
    state = random_state({name: name for name in SHAPES})
    x = torch.randn(6, D_IN, generator=torch.Generator().manual_seed(2))
    z = ((x - state["b_dec"]) @ state["W_enc"] + state["b_enc"]).relu()
    torch.testing.assert_close(sae.decode(sae.encode(x)), z @ state["W_dec"] + state["b_dec"], rtol=1e-4, atol=1e-4)


def test_configurations_of_version_3_and_later_say_themselves_whether_the_mean_is_there(tmp_path: Path) -> None:
    path = _bloom(tmp_path / "a", hook_name="blocks.1.hook_resid_pre", architecture="standard")
    config = json.loads((path / "cfg.json").read_text())
    del config["hook_point"]
    (path / "cfg.json").write_text(json.dumps(config))
    assert read_sae(path, name="x", source={}).card.site == Site(1, "resid_pre")
