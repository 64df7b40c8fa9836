"""Checkpoints as other projects write them, 16 dimensions and 24 latents, each with its formula in plain float64."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

D_IN, D_SAE, K = 16, 24, 5
HOOK = "blocks.1.hook_resid_post"
State = dict[str, Any]
"""Tensors, and what else a pickled file holds."""
Expected = tuple[Tensor, Tensor, Tensor]
"""Codes, the atoms that they multiply, and the reconstruction."""

SHAPES = {"W_enc": (D_IN, D_SAE), "b_enc": (D_SAE,), "W_dec": (D_SAE, D_IN), "b_dec": (D_IN,)}
LINEAR = {"encoder.weight": "W_enc^T", "encoder.bias": "b_enc", "decoder.weight": "W_dec^T", "decoder.bias": "b_dec"}


def random_state(names: Mapping[str, str], seed: int = 3) -> State:
    """Random tensors under the format's names; the atoms have norms between 1 and 2."""
    generator = torch.Generator().manual_seed(seed)
    ours = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    norms = 1 + torch.rand(D_SAE, 1, generator=generator)
    ours["W_dec"] *= norms / ours["W_dec"].norm(dim=1, keepdim=True)
    return {
        theirs: (ours[name.removesuffix("^T")].T if name.endswith("^T") else ours[name]).contiguous()
        for theirs, name in names.items()
    }


def top(values: Tensor, k: int, by: Tensor) -> Tensor:
    """`values` where `by` is among its row's k largest, else 0."""
    kept = by >= by.sort(dim=-1, descending=True).values[..., k - 1 : k]
    return values * kept


@dataclass(frozen=True)
class Checkpoint:
    """One format, or one variant of it."""

    format_name: str
    filename: str
    """The weights; the SAE is read from here, or from `entry`."""
    names: Mapping[str, str]
    expected: Callable[[State, Tensor], Expected]
    """Of the state in float64 and of activations."""
    entry: str | None = None
    companions: Mapping[str, Any] = field(default_factory=dict)
    """Files beside: objects become JSON, texts stay."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What else the state holds."""
    source: Mapping[str, Any] = field(default_factory=dict)
    wrapped: str | None = None
    """The key in the file under which the state lies."""

    def state(self) -> State:
        return {**random_state(self.names), **self.extra}

    def write(self, folder: Path, state: State | None = None) -> Path:
        """The files in `folder`, and the path to read."""
        weights = folder / self.filename
        weights.parent.mkdir(parents=True, exist_ok=True)
        content = self.state() if state is None else state
        if weights.suffix == ".safetensors":
            save_file(content, weights)
        else:
            torch.save(content if self.wrapped is None else {self.wrapped: content}, weights)
        for name, companion in self.companions.items():
            text = companion if isinstance(companion, str) else json.dumps(companion)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return weights if self.entry is None else folder / self.entry


def _linear(state: State, x: Tensor, encoder: str = "encoder", decoder: str = "decoder") -> Expected:
    """Two nn.Linear with a ReLU between them."""
    codes = (x @ state[f"{encoder}.weight"].T + state[f"{encoder}.bias"]).relu()
    atoms = state[f"{decoder}.weight"].T
    return codes, atoms, codes @ atoms + state[f"{decoder}.bias"]


def _qwen(state: State, x: Tensor) -> Expected:
    pre = x @ state["W_enc"].T + state["b_enc"]
    codes = top(pre.relu(), K, pre)
    return codes, state["W_dec"].T, codes @ state["W_dec"].T + state["b_dec"]


def _kissane(state: State, x: Tensor) -> Expected:
    codes = ((x - state["b_dec"]) @ state["W_enc"] + state["b_enc"]).relu()
    return codes, state["W_dec"], codes @ state["W_dec"] + state["b_dec"]


def _openai_v1(state: State, x: Tensor) -> Expected:
    codes = ((x - state["pre_bias"]) @ state["encoder.weight"].T + state["latent_bias"]).relu()
    atoms = state["decoder.weight"].T
    return codes, atoms, codes @ atoms + state["pre_bias"]


def _openai_v5(state: State, x: Tensor) -> Expected:
    mean = x.mean(dim=1, keepdim=True)
    std = ((x - mean).square().sum(dim=1, keepdim=True) / (D_IN - 1)).sqrt()
    y = (x - mean) / (std + 1e-5)
    pre = (y - state["pre_bias"]) @ state["encoder.weight"].T + state["latent_bias"]
    codes = top(pre, K, pre).relu()
    atoms = state["decoder.weight"].T
    return codes, atoms, (codes @ atoms + state["pre_bias"]) * std + mean


def _apollo(state: State, x: Tensor, start: str = "blocks-1-hook_resid_pre.", encoder: str = "encoder.0") -> Expected:
    codes = (x @ state[f"{start}{encoder}.weight"].T + state[f"{start}{encoder}.bias"]).relu()
    atoms = state[f"{start}decoder.weight"].T
    atoms = atoms / atoms.norm(dim=1, keepdim=True)
    return codes, atoms, codes @ atoms + state[f"{start}decoder.bias"]


def _openmoss(
    state: State, x: Tensor, *, act_fn: str, norm: Tensor | float | None, names: Mapping[str, str], by_norm: bool = True
) -> Expected:
    """`norm`: the average of the data set, None for the token's own."""
    ours = {
        name.removesuffix("^T"): state[theirs].T if name.endswith("^T") else state[theirs]
        for theirs, name in names.items()
        if theirs in state
    }
    scale = D_IN**0.5 / (x.norm(dim=1, keepdim=True) if norm is None else norm)
    pre = (x * scale) @ ours["W_enc"] + ours["b_enc"]
    gated = pre * ours["W_dec"].norm(dim=1) if by_norm else pre
    if act_fn == "jumprelu":
        codes = pre * (gated > ours["threshold"])
    else:
        codes = top(pre.relu(), K, gated) if act_fn == "topk" else pre.relu()
    y_hat = codes @ ours["W_dec"] + ours.get("b_dec", torch.zeros(D_IN, dtype=x.dtype))
    if norm is None:
        return codes, ours["W_dec"], y_hat / scale
    return codes, ours["W_dec"] / scale, y_hat / scale


def _nested(state: State, x: Tensor) -> Expected:
    atoms = state["decoder.weight"].T
    products = (x - state["b_dec"]) @ atoms.T
    codes = top(products, 4, products.abs())
    return codes, atoms, codes @ atoms + state["b_dec"]


TODAY = {"W_E": "W_enc", "b_E": "b_enc", "W_D": "W_dec", "b_D": "b_dec"}
THRESHOLD = torch.linspace(0.1, 1.5, D_SAE)
HYPERPARAMS = {
    "d_model": D_IN, "d_sae": D_SAE, "hook_point_in": "blocks.1.hook_resid_post",
    "hook_point_out": "blocks.1.hook_resid_post", "act_fn": "jumprelu", "jump_relu_threshold": 0.75, "top_k": K,
    "use_decoder_bias": True, "apply_decoder_bias_to_pre_encoder": False, "norm_activation": "dataset-wise",
    "dataset_average_activation_norm": {"in": 10.8125, "out": 10.8125}, "sparsity_include_decoder_norm": True,
}  # fmt: skip
LLAMASCOPIUM = {
    "sae_type": "sae", "d_model": D_IN, "expansion_factor": 1.5, "use_decoder_bias": True, "act_fn": "jumprelu",
    "norm_activation": "dataset-wise", "sparsity_include_decoder_norm": True, "top_k": K, "hook_point_in": HOOK,
    "hook_point_out": HOOK, "use_glu_encoder": False,
}  # fmt: skip
_AVERAGE = {f"dataset_average_activation_norm.{HOOK}": torch.tensor(8.0)}
_LOG_THRESHOLD = "activation_function.log_jumprelu_threshold"
_OPENAI = {
    "pre_bias": "b_dec", "encoder.weight": "W_enc^T", "latent_bias": "b_enc", "decoder.weight": "W_dec^T"
}  # fmt: skip
_OPENAI_STATISTICS = {
    "stats_last_nonzero": torch.ones(D_SAE, dtype=torch.long),
    "latents_activation_frequency": torch.ones(D_SAE),
    "latents_mean_square": torch.zeros(D_SAE),
}


def _with_threshold(function: Callable[..., Expected], threshold: Tensor | None = None, **options: Any) -> Any:
    """`function` with the threshold that its file has as a logarithm, or that stands in its configuration."""

    def expected(state: State, x: Tensor) -> Expected:
        key = next((key for key in state if key.endswith("log_jumprelu_threshold")), None)
        value = threshold if key is None else state[key].exp()
        names = {**options["names"], "threshold": "threshold"}
        return function({**state, "threshold": value}, x, **{**options, "names": names})

    return expected


CHECKPOINTS: dict[str, Checkpoint] = {
    "goodfire": Checkpoint(
        "goodfire",
        "sae.pth",
        {key.replace(".", "_linear."): name for key, name in LINEAR.items()},
        lambda state, x: _linear(state, x, "encoder_linear", "decoder_linear"),
        source={"hook_name": HOOK},
    ),
    "deepseek_r1": Checkpoint("deepseek_r1", "sae.pt", LINEAR, _linear, source={"hook_name": HOOK}),
    "qwen_scope": Checkpoint(
        "qwen_scope",
        "layer1.sae.pt",
        {"W_enc": "W_enc^T", "b_enc": "b_enc", "W_dec": "W_dec^T", "b_dec": "b_dec"},
        _qwen,
        companions={
            "config.json": {
                "model_type": "topk_sae", "base_model": "Qwen/Qwen3-1.7B-Base", "d_model": D_IN, "d_sae": D_SAE, "k": K,
                "num_layers": 28, "hook_point": "resid_post", "dtype": "float32",
            }
        },
    ),
    "qwen_scope without config": Checkpoint(
        "qwen_scope",
        "layer1.sae.pt",
        {"W_enc": "W_enc^T", "b_enc": "b_enc", "W_dec": "W_dec^T", "b_dec": "b_dec"},
        _qwen,
        source={"hook_name": HOOK, "k": K},
    ),
    "attention_z": Checkpoint(
        "attention_z",
        "gpt2-small_L1_Hcat_z_v9.pt",
        {name: name for name in SHAPES},
        _kissane,
        companions={
            "gpt2-small_L1_Hcat_z_v9_cfg.json": {
                "model_name": "gpt2-small", "act_name": "blocks.1.attn.hook_z", "act_size": D_IN, "dict_size": D_SAE,
                "layer": 1, "site": "z", "head": "cat",
            }
        },
    ),
    "openai v5": Checkpoint(
        "openai",
        "resid_post_mlp_v5_32k/autoencoders/1.pt",
        _OPENAI,
        _openai_v5,
        extra={
            **_OPENAI_STATISTICS,
            "activation": "TopK",
            "activation_state_dict": {"k": K, "postact_fn": "ReLU"},
        },
    ),
    "openai v1": Checkpoint(
        "openai",
        "resid_delta_mlp/autoencoders/1.pt",
        _OPENAI,
        _openai_v1,
        extra={**_OPENAI_STATISTICS, "activation": "ReLU", "activation_state_dict": {}},
    ),
    "apollo run": Checkpoint(
        "apollo",
        "samples_400000.pt",
        {
            f"{position}.{key.replace('encoder.', 'encoder.0.')}": name
            for position in ("blocks-1-hook_resid_pre", "blocks-2-hook_resid_pre")
            for key, name in LINEAR.items()
        },
        _apollo,
        companions={
            "final_config.yaml": "tlens_model_name: gpt2-small\ntlens_model_path: null\n"
            "saes: {sae_positions: [blocks.1.hook_resid_pre, blocks.2.hook_resid_pre], dict_size_to_input_ratio: 1.5}\n"
        },
        source={"hook_name": "blocks.1.hook_resid_pre"},
    ),
    "apollo hub": Checkpoint(
        "apollo",
        "e2e_similar_ce_layer_1.pt",
        LINEAR,
        lambda state, x: _apollo(state, x, "", "encoder"),
        companions={
            "e2e_similar_ce_layer_1.yaml": "tlens_model_name: gpt2-small\nsaes:\n  sae_positions:\n"
            "  - blocks.1.hook_resid_pre\n"
        },
    ),
    "llama_scope": Checkpoint(
        "llama_scope",
        "L1R/checkpoints/final.safetensors",
        LINEAR,
        _with_threshold(_openmoss, torch.full((D_SAE,), 0.75), act_fn="jumprelu", norm=10.8125, names=LINEAR),
        entry="L1R",
        companions={"L1R/hyperparams.json": HYPERPARAMS},
    ),
    "llama_scope topk": Checkpoint(
        "llama_scope",
        "L1R/checkpoints/final.safetensors",
        LINEAR,
        lambda state, x: _openmoss(state, x, act_fn="topk", norm=10.8125, names=LINEAR),
        companions={"L1R/hyperparams.json": {**HYPERPARAMS, "act_fn": "topk"}},
    ),
    "llama_scope token-wise": Checkpoint(
        "llama_scope",
        "L1R/checkpoints/final.safetensors",
        LINEAR,
        lambda state, x: _openmoss(state, x, act_fn="relu", norm=None, names=LINEAR),
        entry="L1R",
        companions={"L1R/hyperparams.json": {**HYPERPARAMS, "act_fn": "relu", "norm_activation": "token-wise"}},
    ),
    "llama_scope r1": Checkpoint(
        "llamascopium",
        "L1R/sae_weights.safetensors",
        LINEAR,
        _with_threshold(_openmoss, act_fn="jumprelu", norm=8.0, names=LINEAR),
        entry="L1R",
        companions={"L1R/config.json": {k: v for k, v in LLAMASCOPIUM.items() if k != "sae_type"}},
        extra={**_AVERAGE, "log_jumprelu_threshold": THRESHOLD.log()},
    ),
    "llamascopium": Checkpoint(
        "llamascopium",
        "L1R/sae_weights.safetensors",
        TODAY,
        _with_threshold(_openmoss, act_fn="jumprelu", norm=8.0, names=TODAY, by_norm=False),
        companions={
            "L1R/config.json": {**LLAMASCOPIUM, "sparsity_include_decoder_norm": False},
            "L1R/lm_config.json": {"model_name": "meta-llama/Llama-3.1-8B", "prepend_bos": False},
        },
        extra={**_AVERAGE, _LOG_THRESHOLD: THRESHOLD.log()},
    ),
    "llamascopium without bias": Checkpoint(
        "llamascopium",
        "L1R/sae_weights.pt",
        {key: name for key, name in TODAY.items() if key != "b_D"},
        lambda state, x: _openmoss(state, x, act_fn="topk", norm=D_IN**0.5, names=TODAY),
        entry="L1R",
        companions={
            "L1R/config.json": {
                **LLAMASCOPIUM, "act_fn": "topk", "norm_activation": "inference", "use_decoder_bias": False
            }
        },
        wrapped="sae",
    ),
    "nested_topk": Checkpoint(
        "nested_topk",
        "trainer_0/ae.pt",
        {"decoder.weight": "W_dec^T", "b_dec": "b_dec"},
        _nested,
        companions={
            "trainer_0/config.json": {
                "trainer": {
                    "k_values": [2, 4, 8], "layer": 1, "lm_name": "gpt2", "submodule_name": "resid_post_layer_1",
                }
            }
        },
        extra={"k_tensor": torch.tensor([2, 4, 8])},
        source={"k": 4},
    ),
}  # fmt: skip
