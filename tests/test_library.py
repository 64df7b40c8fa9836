"""`sae_research.evaluate`: objects in memory in, typed results out, nothing written."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.checkpoints import CHECKPOINTS, Checkpoint
from support.ravel import SETTINGS as RAVEL_SETTINGS
from support.ravel import write_ravel_tables
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

import sae_research
from sae_research.errors import UserError
from sae_research.evals.core.settings import CoreSettings
from sae_research.evals.judged.settings import JudgedSettings
from sae_research.evals.registry import all_evals
from sae_research.formats.readers.saelens import write_folder
from sae_research.lm.site import Site
from sae_research.saes.base import Sae, SaeCard
from sae_research.saes.build import build_sae
from sae_research.sources.memory import GivenLabels

ROOT = Path(__file__).parent.parent
D_IN, D_SAE, VOCAB = 16, 48, 61
HOOK = "blocks.0.hook_resid_post"
SMALL = {"context_size": 12, "batch_size": 4, "n_reconstruction_batches": 1, "n_sparsity_batches": 2}
PROBES = {"train_size": 20, "test_size": 10, "context_size": 12, "k_values": [1, 5]}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    words = ["<pad>", "<eos>", "<bos>", *(f"w{i}" for i in range(VOCAB - 3))]
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w0"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<eos>", bos_token="<bos>")


@pytest.fixture(scope="module")
def model() -> GPTNeoXForCausalLM:
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCAB, hidden_size=D_IN, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, initializer_range=0.6, bos_token_id=2, eos_token_id=1, tie_word_embeddings=False,
    )  # fmt: skip
    return GPTNeoXForCausalLM(config)


@pytest.fixture(scope="module")
def texts() -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(f"w{rng.integers(58)}" for _ in range(20)) for _ in range(40)]


@pytest.fixture(scope="module")
def labelled() -> dict[str, dict[str, list[str]]]:
    """Class a has the low words, b the high ones."""
    rng = np.random.default_rng(1)

    def text(words: tuple[int, int]) -> str:
        return " ".join(f"w{rng.integers(*words)}" for _ in range(8))

    return {"halves": {c: [text(words) for _ in range(20)] for c, words in (("a", (3, 20)), ("b", (40, 58)))}}


class Foreign(nn.Module):
    """A plain SAE of somebody else."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.enc = nn.Parameter(torch.randn(D_SAE, D_IN, generator=generator))
        self.W_dec = nn.Parameter(torch.randn(D_SAE, D_IN, generator=generator) * 0.1)
        self.shift = nn.Parameter(torch.randn(D_IN, generator=generator) * 0.1)

    def encode(self, x: Tensor) -> Tensor:
        return torch.relu((x - self.shift) @ self.enc.T - 0.5)

    def decode(self, codes: Tensor) -> Tensor:
        return codes @ self.W_dec + self.shift


def ours(foreign: Foreign, name: str = "ours") -> Sae:
    """The same function as a ReLU SAE of this package."""
    card = SaeCard(
        name=name, architecture="relu", site=Site(0, "resid_post"), d_in=D_IN, d_sae=D_SAE, model_name="random",
        hyperparameters={"subtract_b_dec": True},
    )  # fmt: skip
    encoder = {"W_enc": foreign.enc.T, "b_enc": torch.full((D_SAE,), -0.5)}
    return build_sae(card, {**encoder, "W_dec": foreign.W_dec, "b_dec": foreign.shift})


def _numbers(found: sae_research.Evaluation, sae: str) -> dict[Any, float | None]:
    rows = [row for row in found.table() if row.sae == sae]
    return {(row.eval, row.metric, row.at): row.value for row in rows}


def test_latents_of_a_foreign_sae_are_tables(model: Any, tokenizer: Any, texts: list[str]) -> None:
    foreign = Foreign()
    evals = {"core": SMALL, "dashboards": {"n_rows": 16, "context_size": 12, "n_latents": D_SAE}}
    found = sae_research.evaluate(model, {"mine": foreign}, evals, tokenizer=tokenizer, texts=texts, site=HOOK)
    core, shown = (result.output.tables["latents"] for result in found.results)
    assert len(core) == len(shown) == D_SAE
    assert shown["latent"].tolist() == list(range(D_SAE))
    assert not found.failures
    dead = shown["fired"] == 0
    assert (shown["largest"][dead] == 0).all() and (shown["density"][~dead] > 0).all()
    assert {row.eval for row in found.table()} == {"core"}, "dashboards measure nothing"


class Formula:
    """What another project's file means, in plain float64."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.state = {key: value.double() for key, value in checkpoint.state().items()}

    def encode(self, x: Tensor) -> Tensor:
        return self.checkpoint.expected(self.state, x.double())[0].float()

    def decode(self, codes: Tensor) -> Tensor:
        _, atoms, b_dec = self.checkpoint.expected(self.state, torch.zeros(1, D_IN, dtype=torch.float64))
        at_zero = self.encode(torch.zeros(1, D_IN)).double()
        return (codes.double() @ atoms + b_dec - at_zero @ atoms).float()


@pytest.mark.parametrize("name", ["goodfire", "llama_scope"])
def test_a_checkpoint_of_another_project_gives_the_numbers_of_its_formula(
    name: str, model: Any, tokenizer: Any, texts: list[str], tmp_path: Path
) -> None:
    checkpoint = CHECKPOINTS[name]
    saes: dict[str, Any] = {"file": checkpoint.write(tmp_path), "formula": Formula(checkpoint)}
    found = sae_research.evaluate(
        model, saes, {"core": SMALL}, tokenizer=tokenizer, texts=texts, site="blocks.1.hook_resid_post"
    )
    for metric in ("l0", "explained_variance", "ce_loss_score", "mse"):
        assert found.value("file", metric) == pytest.approx(found.value("formula", metric), rel=1e-4), metric


def test_a_file_of_openais_is_measured_in_the_units_of_activations(
    model: Any, tokenizer: Any, texts: list[str], tmp_path: Path
) -> None:
    sae = sae_research.load_sae(CHECKPOINTS["openai v5"].write(tmp_path), k=5)
    found = sae_research.evaluate(model, sae, {"core": SMALL}, tokenizer=tokenizer, texts=texts)
    assert (sae.card.name, found.failures) == ("1.pt", ())
    assert 0 < (found.value("1.pt", "l0") or 0) <= 5


def test_a_foreign_sae_and_the_same_in_ours_give_the_same_numbers(
    model: Any, tokenizer: Any, texts: list[str], labelled: Any
) -> None:
    foreign = Foreign()
    model.train()
    before = copy.deepcopy(dict(model.named_parameters()))
    evaluation = sae_research.evaluate(
        model, {"foreign": foreign, "ours": ours(foreign)}, {"core": SMALL, "sparse_probing": PROBES},
        tokenizer=tokenizer, site=HOOK, texts=texts, labelled=labelled,
    )  # fmt: skip
    assert evaluation.failures == ()
    assert [(r.eval_name, r.sae["name"]) for r in evaluation.results] == [
        ("core", "foreign"), ("core", "ours"), ("sparse_probing", "foreign"), ("sparse_probing", "ours"),
    ]  # fmt: skip
    a, b = _numbers(evaluation, "foreign"), _numbers(evaluation, "ours")
    assert a.keys() == b.keys()
    # The foreign encoder's directions are not under a usual name, so that the decoder's stand in for them.
    shared = {place for place in a if place[1] != "average_max_encoder_cosine_sim"}
    for place in shared:
        assert a[place] == (None if b[place] is None else pytest.approx(b[place], rel=1e-4, abs=1e-6)), place
    # What is the caller's is as it was.
    assert model.training and foreign.training and tokenizer.pad_token is None
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert (
        evaluation.value("ours", "sae_top_k_test_accuracy", k=5)
        == a["sparse_probing", "sae_top_k_test_accuracy", '{"k": 5}']
    )


def test_a_forward_that_the_caller_has_set_stays(tokenizer: Any, texts: list[str]) -> None:
    """Accelerate, quantisers and tracers set `forward` on modules, and the class's own is not what they compute."""
    config = GPTNeoXConfig(
        vocab_size=VOCAB, hidden_size=D_IN, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, bos_token_id=2, eos_token_id=1,
    )  # fmt: skip
    model = GPTNeoXForCausalLM(config)
    saes = {"a": Foreign(), "b": Foreign(1)}
    options: dict[str, Any] = {"tokenizer": tokenizer, "site": HOOK, "texts": texts}
    before = sae_research.evaluate(model, saes, {"core": SMALL}, **options)
    calls: dict[str, int] = {}
    wrapped: dict[str, Any] = {}
    modules: dict[str, Any] = {"backbone": model.gpt_neox, "layer": model.gpt_neox.layers[1]}
    for name, module in modules.items():

        def counted(*args: Any, name: str = name, original: Any = module.forward, **kwargs: Any) -> Any:
            calls[name] = calls.get(name, 0) + 1
            return original(*args, **kwargs)

        module.forward = wrapped[name] = counted
    after = sae_research.evaluate(model, saes, {"core": SMALL}, **options)
    assert model.gpt_neox.forward is wrapped["backbone"]
    assert model.gpt_neox.layers[1].forward is wrapped["layer"]
    assert calls["backbone"] > 0 and calls["layer"] > 0
    for name in saes:
        assert _numbers(after, name) == _numbers(before, name)
    assert after.value("a", "ce_loss_increase") != after.value("b", "ce_loss_increase")


@pytest.mark.parametrize(
    ("module", "kind"), [("gpt_neox.layers.0", "resid_post"), ("gpt_neox.layers.0.mlp", "mlp_out")]
)
def test_an_sae_that_names_a_module_is_measured_at_that_site(
    model: Any, tokenizer: Any, texts: list[str], tmp_path: Path, module: str, kind: Any
) -> None:
    """As SAELens writes them for Hugging Face models, whose modules TransformerLens calls otherwise."""
    hook_name = Site(0, kind).hook_name
    for name in (module, hook_name):
        write_folder(ours(Foreign()), tmp_path / name)
        config = json.loads((tmp_path / name / "cfg.json").read_text())
        del config["sae_research"]
        config["metadata"] |= {"hook_name": name, "model_class_name": "AutoModelForCausalLM"}
        (tmp_path / name / "cfg.json").write_text(json.dumps(config))
    folders = [tmp_path / module, tmp_path / hook_name]
    evaluation = sae_research.evaluate(model, folders, {"core": SMALL}, tokenizer=tokenizer, texts=texts)
    assert [r.sae["hook_name"] for r in evaluation.results] == [hook_name] * 2
    assert _numbers(evaluation, module) == _numbers(evaluation, hook_name)
    assert evaluation.results[0].sae["digest"] == evaluation.results[1].sae["digest"]


def test_the_table_has_intervals_units_and_a_frame(model: Any, tokenizer: Any, texts: list[str]) -> None:
    evaluation = sae_research.evaluate(
        model,
        Foreign(),
        evals={"core": replace(CoreSettings(dataset="texts"), **SMALL)},
        tokenizer=tokenizer,
        site=HOOK,
        texts=texts,
    )
    [result] = evaluation.results
    assert result.settings["dataset"] == "texts"
    assert result.key_parts["data"]["texts"].startswith("memory:")
    [row] = [row for row in evaluation.table() if row.metric == "explained_variance"]
    assert row.label == "Foreign" and row.ci_low is not None and row.value is not None and row.ci_low < row.value
    frame = evaluation.to_pandas()
    assert len(frame) == len(evaluation.table())
    assert set(frame.columns) >= {"sae", "eval", "metric", "value", "ci_low", "ci_high", "reason"}


def test_token_rows_are_what_their_texts_are(model: Any, tokenizer: Any, texts: list[str]) -> None:
    from sae_research.data.text import token_rows

    own = copy.deepcopy(tokenizer)
    own.pad_token = own.eos_token
    rows = token_rows(texts, own, context_size=12, n_rows=12)
    settings = {key: value for key, value in SMALL.items() if key != "context_size"}
    by_rows = sae_research.evaluate(model, Foreign(), {"core": settings}, tokenizer=tokenizer, site=HOOK, texts=rows)
    by_text = sae_research.evaluate(model, Foreign(), {"core": SMALL}, tokenizer=tokenizer, site=HOOK, texts=texts)
    assert _numbers(by_rows, "Foreign") == _numbers(by_text, "Foreign")
    assert by_rows.results[0].settings["context_size"] == 12


def test_token_rows_without_bos_are_refused_unless_one_asks_for_them(model: Any, tokenizer: Any) -> None:
    rows = torch.randint(3, VOCAB, (12, 12), generator=torch.Generator().manual_seed(2))
    rows[0, 0] = 2
    settings = {key: value for key, value in SMALL.items() if key != "context_size"}
    options: dict[str, Any] = {"tokenizer": tokenizer, "site": HOOK, "texts": rows}
    with pytest.raises(UserError, match=r"row 1 begins with token \d+ \(11 of 12 rows .* BOS, 2\).*pad\(rows, "):
        sae_research.evaluate(model, Foreign(), {"core": settings}, **options)
    evaluation = sae_research.evaluate(model, Foreign(), {"core": {**settings, "prepend_bos": False}}, **options)
    assert evaluation.value("Foreign", "total_tokens_eval_sparsity_variance") == 8 * 12


def test_a_given_split_is_kept(model: Any, tokenizer: Any, labelled: Any) -> None:
    classes = labelled["halves"]
    train = {name: tuple(own[:10]) for name, own in classes.items()}
    split = GivenLabels(train, test={name: tuple(own[10:]) for name, own in classes.items()})
    evaluation = sae_research.evaluate(
        model, Foreign(), {"sparse_probing": PROBES}, tokenizer=tokenizer, site=HOOK, labelled={"halves": split}
    )
    assert evaluation.value("Foreign", "sae_top_k_test_accuracy", k=5) > 0.7
    with pytest.raises(UserError, match=r"sae_top_k_test_accuracy of 'Foreign' at \{'k': 7\}: not measured there"):
        evaluation.value("Foreign", "sae_top_k_test_accuracy", k=7)


def test_tpp_reads_labelled_texts_too(model: Any, tokenizer: Any, labelled: Any) -> None:
    settings = {"train_size": 20, "test_size": 10, "context_size": 12, "n_values": [2, D_SAE]}
    evaluation = sae_research.evaluate(
        model, Foreign(), {"tpp": settings}, tokenizer=tokenizer, site=HOOK, labelled=labelled
    )
    assert evaluation.value("Foreign", "tpp_intended_diff_only", n=D_SAE) > 0.2


def test_an_sae_that_fails_leaves_the_others_alone(model: Any, tokenizer: Any, texts: list[str]) -> None:
    class Fails(Foreign):
        def encode(self, x: Tensor) -> Tensor:
            return super().encode(x) if len(x) < 10 else 1 / 0  # type: ignore[return-value]

    evaluation = sae_research.evaluate(
        model, {"good": Foreign(), "bad": Fails()}, {"core": SMALL}, tokenizer=tokenizer, site=HOOK, texts=texts
    )
    assert [r.sae["name"] for r in evaluation.results] == ["good"]
    [failure] = evaluation.failures
    assert isinstance(failure.error, ZeroDivisionError)
    [row] = [row for row in evaluation.table() if row.sae == "bad"]
    assert row.metric is None and row.reason == "ZeroDivisionError: division by zero"


class Remembers(Foreign):
    """Scales by the norm of what it last encoded."""

    def encode(self, x: Tensor) -> Tensor:
        self.norm = x.norm(dim=-1, keepdim=True)
        return super().encode(x / self.norm.clamp(min=1e-6))

    def decode(self, codes: Tensor) -> Tensor:
        scale = self.norm if len(self.norm) == len(codes) else 1.0
        return super().decode(codes) * scale


class Mixes(Foreign):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x - x.mean(dim=0))


MISTAKES: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "no site": (Foreign, {"site": None}, r"SAE 'Foreign': give its site, for example site='blocks.4.hook_resid_post'"),
    "layer": (Foreign, {"site": "blocks.7.hook_resid_post"}, r"blocks.7.hook_resid_post: model .* has 2 layers"),
    "not affine": (Remembers, {}, r"SAE 'Remembers': decode is not codes @ W_dec \+ b_dec"),
    "neighbours": (Mixes, {}, r"SAE 'Mixes': the codes of a token depend on the other tokens; .* scope = 'sequence'"),
    "no tokenizer": (Foreign, {"tokenizer": None}, r"the model is already loaded; pass its tokenizer too"),
    "eval": (Foreign, {"evals": "kore"}, r"there is no eval 'kore'; valid: core, sparse_probing"),
    "setting": (Foreign, {"evals": {"core": {"contxt": 3}}}, r"evals\['core'\]: unknown key 'contxt'; valid: dataset"),
    "too few texts": (Foreign, {"evals": "core"}, r"rows of 128 tokens, needed 960; ask for fewer rows"),
    "texts": (Foreign, {"texts": "one string"}, r"texts: expected a list of strings, or a tensor of token rows"),
    "twice": (lambda: [Foreign(), Foreign()], {}, r"duplicate names: Foreign; pass a mapping from names to SAEs"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_reported(mistake: str, model: Any, tokenizer: Any, texts: list[str]) -> None:
    make, changes, message = MISTAKES[mistake]
    options = {"evals": {"core": SMALL}, "tokenizer": tokenizer, "site": HOOK, "texts": texts} | changes
    with pytest.raises(UserError, match=message):
        sae_research.evaluate(model, make(), **options)


NOTHING_TO_READ = {
    "core": r"evals\['core'\]: dataset is not set .*; pass texts=\.\.\., or set it: evals=\{'core': \{'dataset': ",
    "sparse_probing": r"dataset_names is not set .*; pass labelled=\.\.\., or set it: evals=\{'sparse_probing':",
    "tpp": r"dataset_names is not set .*; pass labelled=\.\.\., or set it",
    "scr": r"evals\['scr'\]: dataset_names is not set and has no default; set it: evals=\{'scr': \{'dataset_names'",
}


@pytest.mark.parametrize("name", NOTHING_TO_READ)
@pytest.mark.parametrize("loaded", [True, False])
def test_without_data_the_world_beside_it_is_not_read(
    name: str, loaded: bool, model: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with an embedded world, a model of one's own is measured on data that one names, or not at all."""
    monkeypatch.chdir(tmp_path)
    for data_set in ("text", "news", "bios"):
        (tmp_path / "world" / "datasets" / data_set / "data").mkdir(parents=True)
    which: dict[str, Any] = {"model": "EleutherAI/pythia-70m-deduped"}
    if loaded:
        which = {"model": model, "tokenizer": tokenizer}
    with pytest.raises(UserError, match=NOTHING_TO_READ[name]):
        sae_research.evaluate(saes=Foreign(), evals=name, site=HOOK, **which)


def test_no_eval_reads_the_embedded_world_by_default() -> None:
    for evaluated in all_evals():
        required = [f.name for f in fields(evaluated.settings) if f.default is MISSING and f.default_factory is MISSING]
        # The judge of rules has no default for what it has read.
        judge: dict[str, Any] = {"judge": "openai:some-model"} if issubclass(evaluated.settings, JudgedSettings) else {}
        settings = evaluated.settings(**dict.fromkeys(required, "x"), **judge)
        assert not [data_set for data_set in evaluated.data(settings) if data_set.name.startswith("embedded/")]


def test_a_data_set_that_is_not_known_is_refused_before_anything_is_measured(model: Any, tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"labelled data set 'newz' is not known; valid: .*embedded/"):
        sae_research.evaluate(
            model, Foreign(), {"sparse_probing": {"dataset_names": ["newz"]}}, tokenizer=tokenizer, site=HOOK
        )


def test_the_weights_of_a_bare_object_are_measured() -> None:
    class Bare:
        """No tensors under a known name."""

        def __init__(self) -> None:
            self.inner = Foreign()

        def encode(self, x: Tensor) -> Tensor:
            return self.inner.encode(x)

        def decode(self, codes: Tensor) -> Tensor:
            return self.inner.decode(codes)

    bare = Bare()
    with torch.no_grad():
        sae = sae_research.wrap_sae(bare, site=HOOK, d_in=D_IN, name="bare")
        torch.testing.assert_close(sae.W_dec, bare.inner.W_dec.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(sae.b_dec, bare.inner.shift.detach())
        x = torch.randn(2, 5, D_IN, generator=torch.Generator().manual_seed(1))
        mask = torch.tensor([[True] * 3 + [False] * 2] * 2)
        codes = sae.encode(x, mask)
        torch.testing.assert_close(codes[mask], bare.encode(x[mask]))
        assert not codes[~mask].any()
    assert sae.card.digest and sae.card.d_sae == D_SAE


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sae_research, sys; print(*{m.split('.')[0] for m in sys.modules}); sae_research.evaluate"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert set(shown.split()).isdisjoint({"torch", "transformers", "pandas", "numpy"})


def test_the_example_of_the_readme_runs(
    model: Any, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = (ROOT / "README.md").read_text().partition("## As a library")[2].partition("\n## ")[0]
    [example] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    folder = Path("world/models/lm")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    before = sorted(os.walk(tmp_path))
    exec(compile(example, "README.md", "exec"), {})
    assert sorted(os.walk(tmp_path)) == before
    assert "ce_loss_score" in capsys.readouterr().out


def test_training_masks_leaves_no_gradients_in_the_callers_model(model: Any, tokenizer: Any, tmp_path: Path) -> None:
    write_ravel_tables(tmp_path, model, tokenizer)
    settings = replace(RAVEL_SETTINGS, dataset=str(tmp_path))
    frozen = copy.deepcopy(model).requires_grad_(False)
    evaluations = [
        sae_research.evaluate(lm, Foreign(), {"ravel": settings}, tokenizer=tokenizer, site=HOOK)
        for lm in (model, frozen)
    ]
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert evaluations[0].value("Foreign", "n_latents_swapped") > 0, "masks were trained"
    assert evaluations[0].results[0].output == evaluations[1].results[0].output
