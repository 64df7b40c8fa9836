"""`python -m sae_research health`: a run's SAEs, and a checkpoint with seed 004's options against a plain script."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import save_file
from support.workspace import Workspace, make_card, make_core
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from sae_research.cli import main

D_IN, D_SAE, WORDS, ROWS, LENGTH = 16, 40, 60, 24, 12


class Lab:
    """A local model, data set and checkpoint."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.ids = torch.randint(2, WORDS, (ROWS * (LENGTH - 1) + 5,), generator=torch.Generator().manual_seed(0))
        words = ["<bos>", "<pad>", *(f"w{i}" for i in range(2, WORDS))]
        plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="w2"))
        plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
        PreTrainedTokenizerFast(
            tokenizer_object=plain, bos_token="<bos>", pad_token="<pad>", model_max_length=LENGTH
        ).save_pretrained(root / "model")
        torch.manual_seed(0)
        config = GPTNeoXConfig(
            vocab_size=WORDS, hidden_size=D_IN, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=64, initializer_range=0.6, bos_token_id=0, eos_token_id=0, pad_token_id=1,
        )  # fmt: skip
        self.model = GPTNeoXForCausalLM(config).eval()
        self.model.save_pretrained(root / "model")
        (root / "text").mkdir()
        text = " ".join(words[i] for i in self.ids.tolist())
        pq.write_table(pa.table({"text": [text]}), root / "text" / "train-00000-of-00001.parquet")
        self._write_sae()

    def _write_sae(self) -> None:
        """A ReLU SAE in SAELens 6's layout, with silent latents and two copies of one."""
        generator = torch.Generator().manual_seed(1)
        atoms = torch.randn(D_SAE, D_IN, generator=generator)
        atoms /= atoms.norm(dim=1, keepdim=True)
        atoms[5] = atoms[4]
        bias = torch.randn(D_SAE, generator=generator)
        bias[:9] = -1000.0
        self.sae = {"W_enc": atoms.T.contiguous(), "b_enc": bias, "W_dec": atoms, "b_dec": torch.zeros(D_IN)}
        folder = self.root / "sae"
        folder.mkdir()
        save_file(self.sae, folder / "sae_weights.safetensors")
        metadata = {"hook_name": "blocks.0.hook_resid_post", "model_name": str(self.root / "model")}
        config = {"architecture": "standard", "d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "metadata": metadata}
        (folder / "cfg.json").write_text(json.dumps({**config, "normalize_activations": "none"}))

    def reference(self) -> dict[str, float]:
        """Loss recovered, L0 and the share of dead latents over all rows, in float64."""
        self.model.double()
        sae = {name: tensor.double() for name, tensor in self.sae.items()}
        words = self.ids[: ROWS * (LENGTH - 1)].view(ROWS, LENGTH - 1)
        tokens = torch.cat([torch.zeros(ROWS, 1, dtype=torch.long), words], dim=1)
        codes: list[Tensor] = []

        def reconstruct(x: Tensor) -> Tensor:
            z = torch.relu(x @ sae["W_enc"] + sae["b_enc"])
            codes.append(z[:, 1:])
            return torch.cat([x[:, :1], (z @ sae["W_dec"])[:, 1:]], dim=1)

        with torch.no_grad():
            clean, spliced, zero = (self._loss(tokens, f) for f in (lambda x: x, reconstruct, torch.zeros_like))
        self.model.float()
        fires = codes[0].flatten(0, 1) > 0
        return {
            "loss_recovered": (zero - spliced) / (zero - clean),
            "l0": float(fires.sum(dim=1).double().mean()),
            "dead": float((~fires.any(dim=0)).double().mean()),
        }

    def _loss(self, tokens: Tensor, change: Any) -> float:
        """Mean loss after real tokens, with the first block's output changed."""

        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

        handle = self.model.gpt_neox.layers[0].register_forward_hook(hook)
        logits = self.model(tokens).logits[:, 1:-1]
        handle.remove()
        return float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 2:].flatten()))

    def options(self, **changes: str) -> list[str]:
        """Seed 004's evaluation command."""
        options = {
            "sae_path": str(self.root / "sae"), "model_name": str(self.root / "model"), "layer": "0",
            "dataset": str(self.root / "text"), "num_samples": str(ROWS), "context_length": str(LENGTH),
            "batch_size": "16", **changes,
        }  # fmt: skip
        return ["health", *(text for name, value in options.items() for text in (f"--{name}", value))]


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_checkpoint_is_measured_as_seed_004_asks(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*lab.options(), "--verbose", "--output", "out/health.json"]) == 0
    document = json.loads((tmp_path / "out" / "health.json").read_text())
    [sae] = document["saes"]
    answers = sae["answers"]
    assert {name: answers[name]["value"] for name in ("loss_recovered", "l0", "dead")} == pytest.approx(
        lab.reference(), abs=1e-5
    )
    assert answers["dead"]["value"] >= 9 / D_SAE
    assert answers["dead"]["tokens"] == ROWS * (LENGTH - 1)
    assert answers["redundant"]["value"] == pytest.approx(2 / D_SAE)
    assert answers["absorption"]["reason"] == "absorption was not measured"
    assert document["measured_on"]["split"] == "train", "there is no test split"
    assert document["measured_on"]["num_samples"] == ROWS
    shown = capsys.readouterr().out
    for words in ("# sae: bad", "| loss recovered |", "264 tokens", "against mean ablation", "What to do:"):
        assert words in shown
    assert not (tmp_path / "eval_results").exists()


def test_what_the_checkpoint_says_need_not_be_given(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    record = lab.root / "sae" / "training.json"
    record.write_text(json.dumps({"dataset": str(lab.root / "text"), "tokens": 400, "learning_rate": 0.25}))
    try:
        rows = ["--num_samples", "7", "--context_length", str(LENGTH)]
        assert main(["health", "--sae_path", str(lab.root / "sae"), *rows]) == 0
    finally:
        record.unlink()
    shown = capsys.readouterr().out
    assert "trained on 400 tokens, 10 per latent" in shown
    assert "and measured on" not in shown, "the same text"
    assert "77 tokens" in shown


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer": "1"}, "--layer is 1, but .*sae reads blocks.0.hook_resid_post"),
        ({"sae_path": "nowhere"}, "--sae_path: nowhere does not exist"),
        ({"num_samples": "5000"}, "24 rows of 12 tokens, needed 5000"),
        ({"num_samples": "0"}, "--num_samples is 0, expected at least 1"),
        ({"context_length": "1"}, "--context_length is 1, expected at least 2"),
        ({"split": "none"}, "has no 'none' split"),
    ],
)
def test_a_mistake_is_one_message(
    lab: Lab, changes: dict[str, str], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main([*lab.options(**changes), "--output", "health.json"]) == 1
    [record] = [r for r in caplog.records if r.levelname == "ERROR"]
    assert re.search(message, record.getMessage()), record.getMessage()
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_that_cannot_be_measured_is_an_error(
    lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(lab.root / "sae", tmp_path / "huge")
    save_file({**lab.sae, "W_enc": 3e38 * lab.sae["W_enc"].sign()}, folder / "sae_weights.safetensors")
    assert main(lab.options(sae_path=str(folder))) == 1
    assert re.search("huge: core failed: ", caplog.text)
    assert capsys.readouterr().out == ""


def test_the_saes_of_a_run(workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        workspace.add(make_core(make_card(name), ce_loss_score=0.65))
    assert main(["health"]) == 0
    table = capsys.readouterr().out
    assert table.count("*0.650*") == 2
    assert main(["health", "b", "--output", "health.json", "--results", str(workspace.paths.results)]) == 0
    page = capsys.readouterr().out
    assert "# b: bad, 0 of 2 healthy" in page
    assert "| loss recovered | 0.6500 | – | 0.7 or more (bad below 0.6) | borderline |" in page
    assert [sae["name"] for sae in json.loads((tmp_path / "health.json").read_text())["saes"]] == ["b"]


def test_a_run_in_which_nothing_was_measured_has_no_health(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    workspace.fail("core", "a", "NaN weights")
    assert main(["health"]) == 1
    assert "neither core nor absorption has measured an SAE" in caplog.text


def test_another_runs_training_records_lie_beside_its_results(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.add(make_core(make_card("a"), ce_loss_score=0.1))
    (workspace.paths.saes / "a").mkdir(parents=True)
    (workspace.paths.saes / "a" / "training.json").write_text('{"tokens": 512}')
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["health", "a", "--results", "../eval_results"]) == 0
    assert "trained on 512 tokens, 1 per latent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["c"], "has no SAE 'c'; it has: a"),
        (["--layer", "0"], "--layer says how a checkpoint is measured; give it with --sae_path PATH"),
        (["--absorption"], "--absorption says how"),
        (["a", "--sae_path", "x"], "leave out the names of SAEs"),
        (["--results", "nothing"], "nothing holds no finished eval"),
    ],
)
def test_options_that_do_not_go_together(
    workspace: Workspace, arguments: list[str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    workspace.add(make_core(make_card("a")))
    assert main(["health", *arguments]) == 1
    assert message in caplog.text
