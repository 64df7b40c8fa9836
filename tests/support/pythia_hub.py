"""What profiles/pythia-70m.yaml takes from the hub, in the hub's layouts and of its names, but small."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from support.hub_server import Repo
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

SAES = "canrager/lm_sae"
D_IN, D_SAE, LAYER, K = 16, 48, 4, 4
TRAINERS = (2, 8, 10)
_WORDS = [f"{start}{end}" for start in "bdfgklmnprst" for end in ("ad", "elo", "ir", "omen", "ust")]
_END = "<|endoftext|>"
_PROFESSIONS = (0, 1, 2, 6, 9, 11, 13, 14, 18, 19, 20, 21, 22, 25, 26)
_CATEGORIES = (1, 2, 3, 5, 6, 11, 18, 24, 26, 30)


def repositories(scratch: Path) -> dict[str, Repo]:
    """All of them, by id."""
    return {
        "EleutherAI/pythia-70m-deduped": Repo({"main": _language_model(scratch)}),
        SAES: Repo({"main": dict(_saes())}),
        **{name: Repo(branches, "datasets") for name, branches in _data_sets()},
    }


def _language_model(scratch: Path) -> dict[str, bytes]:
    """GPT-NeoX with Pythia's tokens of names and six layers; the pickle beside it must never be asked for."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[_END, "<|padding|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([" ".join(_WORDS)] * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=_END, eos_token=_END, unk_token=_END)
    config = GPTNeoXConfig(
        vocab_size=len(fast), hidden_size=D_IN, num_hidden_layers=6, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=128, initializer_range=0.3, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    GPTNeoXForCausalLM(config).save_pretrained(scratch)
    fast.save_pretrained(scratch)
    files = {path.name: path.read_bytes() for path in scratch.iterdir()}
    return {**files, "pytorch_model.bin": b"a pickle"}


def _saes() -> Iterator[tuple[str, bytes]]:
    """Four sweeps of dictionary_learning: `<sweep>/resid_post_layer_4/trainer_<n>/{ae.pt,config.json}`."""
    sweeps = {
        "standard_ctx128_0712": ("StandardTrainer", "AutoEncoder"),
        "panneal_ctx128_0730": ("PAnnealTrainer", "AutoEncoder"),
        "gated_ctx128_0730": ("GatedSAETrainer", "GatedAutoEncoder"),
        "topk_ctx128_0730": ("TopKTrainer", "AutoEncoderTopK"),
    }
    for seed, (sweep, (trainer_class, dict_class)) in enumerate(sweeps.items()):
        for number in TRAINERS:
            folder = f"pythia70m_sweep_{sweep}/resid_post_layer_{LAYER}/trainer_{number}"
            trainer = {
                "trainer_class": trainer_class, "dict_class": dict_class, "activation_dim": D_IN, "dict_size": D_SAE,
                "layer": LAYER, "lm_name": "EleutherAI/pythia-70m-deduped", "submodule_name": "resid_post_layer_4",
                "steps": 100, "lr": 0.0003, "seed": 0, "device": "cuda:0", "wandb_name": f"{trainer_class}-{number}",
                **({"k": K} if dict_class == "AutoEncoderTopK" else {}),
            }  # fmt: skip
            buffer = {"d_submodule": D_IN, "io": "out", "n_ctxs": 100, "ctx_len": 128, "out_batch_size": 64}
            yield f"{folder}/config.json", json.dumps({"trainer": trainer, "buffer": buffer}).encode()
            content = io.BytesIO()
            torch.save(state_of(dict_class, 100 * seed + number), content)
            yield f"{folder}/ae.pt", content.getvalue()


def state_of(dict_class: str, seed: int) -> dict[str, Tensor]:
    """Atoms of norm 1 with an encoder that is their transpose, and biases that keep most latents silent."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.nn.functional.normalize(torch.randn(D_IN, D_SAE, generator=generator), dim=0)
    linear = {"encoder.weight": atoms.T.contiguous(), "decoder.weight": atoms}
    if dict_class == "GatedAutoEncoder":
        biases = {"gate_bias": -0.5 * torch.ones(D_SAE), "mag_bias": torch.zeros(D_SAE), "r_mag": torch.zeros(D_SAE)}
        return {"decoder_bias": torch.zeros(D_IN), **biases, **linear}
    more = {"b_dec": torch.zeros(D_IN), "k": torch.tensor(K)} if dict_class == "AutoEncoderTopK" else {}
    own_bias = {} if more else {"bias": torch.zeros(D_IN)}
    return {**own_bias, **more, **linear, "encoder.bias": -0.3 * torch.ones(D_SAE)}


def _data_sets() -> Iterator[tuple[str, dict[str, dict[str, bytes]]]]:
    """Data sets by id, each its branches: parquet at the root or, for scripts, in the hub's conversion."""
    rng = np.random.default_rng(0)
    script = {"README.md": b"", "openwebtext.py": b"raise SystemExit('never run')"}
    converted = {"plain_text/partial-train/0000.parquet": _parquet(text=[_text(rng, 60) for _ in range(60)])}
    yield "Skylion007/openwebtext", {"main": script, "refs/convert/parquet": converted}
    yield "LabHC/bias_in_bios", {"main": _splits(rng, "hard_text", profession=_PROFESSIONS, gender=(0, 1))}
    reviews = _splits(rng, "text", category=_CATEGORIES, rating=(1.0, 5.0))
    yield "canrager/amazon_reviews_mcauley_1and5", {"main": reviews}
    yield "fancyzhx/ag_news", {"main": _splits(rng, "text", label=range(4), twice=range(2))}
    endings = ("c", "py", "html", "java", "php")
    code = [(_text(rng, 120, kind), f"src/main_{i}.{ending}") for kind, ending in enumerate(endings) for i in range(40)]
    raw = _parquet(code=[text for text, _ in code], path=[path for _, path in code], repo_name=["a/b"] * len(code))
    yield "codeparrot/github-code", {"main": {"data/train-00000-of-01126.parquet": raw, "github-code.py": b""}}
    pairs = {}
    for kind, pair in enumerate(("en-fr", "fr-it", "de-en", "es-fr", "nl-pt")):
        rows = [dict.fromkeys(pair.split("-"), _text(rng, 12, kind)) for _ in range(40)]
        pairs[f"{pair}/train-00000-of-00001.parquet"] = _parquet(translation=rows)
    yield "Helsinki-NLP/europarl", {"main": pairs}


def _splits(rng: np.random.Generator, text: str, **labels: Sequence[Any]) -> dict[str, bytes]:
    """A train and a test split with texts of every combination of two labels."""
    (first, firsts), (second, seconds) = labels.items()
    files = {}
    for split, n in (("train", 24), ("test", 12)):
        rows = [(i, j, _text(rng, 12, i, j)) for i in range(len(firsts)) for j in range(len(seconds)) for _ in range(n)]
        columns = {
            text: [row[2] for row in rows],
            first: [firsts[row[0]] for row in rows],
            second: [seconds[row[1]] for row in rows],
        }
        files[f"data/{split}-00000-of-00001.parquet"] = _parquet(**columns)
    return files


def _text(rng: np.random.Generator, n: int, *kinds: int) -> str:
    """`n` words, a third of them the word of each kind."""
    told = [_WORDS[(7 * place + 3 * kind) % len(_WORDS)] for place, kind in enumerate(kinds)]
    return " ".join(rng.choice([*_WORDS, *told * (len(_WORDS) // 3)], n))


def _parquet(**columns: Sequence[Any]) -> bytes:
    content = io.BytesIO()
    pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), content)
    return content.getvalue()


SMALL: Mapping[str, Any] = {
    "model": {"device": "cpu"},
    "controls": {"first_text": 30, "n_sequences": 8, "context_size": 32, "topk_k": K, "variant_atoms": []},
    "core_eval": {"n_reconstruction_batches": 1, "n_sparsity_batches": 2, "batch_size": 4, "context_size": 32},
    "sparse_probing": {"train_size": 40, "test_size": 20, "context_size": 32, "k_values": [1, 2]},
    "scr": {"train_size": 40, "test_size": 20, "context_size": 32, "n_values": [2], "n_shares": [4]},
    "tpp": {"train_size": 40, "test_size": 20, "context_size": 32, "n_values": [2], "n_shares": [4]},
}
"""Sizes: nothing that the profile names is another."""
