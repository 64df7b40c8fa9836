"""Core's numbers of one SAE of a finished run, computed again in float64 by other means:

    python -m benchmarks.independent_core SAE [--project FOLDER]

The language model is a plain transformers model with a plain hook, the SAE is read from its folder with json and
safetensors, codes and losses are the textbook's formulas. Only the rows of tokens are the package's: the numbers are
compared on the same tokens. Ends with 1 where one differs by more than 1e-4.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.measuring import table
from sae_research.evals.base import EvalContext
from sae_research.evals.core.rows import core_rows
from sae_research.evals.core.settings import CoreSettings
from sae_research.formats.readers.saelens import load_sae
from sae_research.lm.load import load_language_model
from sae_research.pipeline.params import load_params
from sae_research.progress import Progress
from sae_research.sources.hub import Hub

TOLERANCE = 1e-4
_ROWS = 8
"""Rows that the model reads at once."""
METRICS = (
    "l0", "mse", "explained_variance", "ce_loss_without_sae", "ce_loss_with_sae", "ce_loss_with_ablation",
    "ce_loss_score",
)  # fmt: skip


class PlainSae(NamedTuple):
    """A linear SAE's tensors in float64, and how it chooses."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]

    def codes(self, x: Tensor) -> Tensor:
        """Of rows `x`."""
        centred = x - self.tensors["b_dec"] if self.config["apply_b_dec_to_input"] else x
        return FORMULAS[self.config["architecture"]](centred @ self.tensors["W_enc"], self.tensors, self.config)

    def reconstruct(self, codes: Tensor) -> Tensor:
        """x_hat."""
        return codes @ self.tensors["W_dec"] + self.tensors["b_dec"]


def _standard(products: Tensor, tensors: dict[str, Tensor], _config: dict[str, Any]) -> Tensor:
    return (products + tensors["b_enc"]).relu()


def _jumprelu(products: Tensor, tensors: dict[str, Tensor], _config: dict[str, Any]) -> Tensor:
    before = products + tensors["b_enc"]
    return torch.where(before > tensors["threshold"], before, 0.0).relu()


def _topk(products: Tensor, tensors: dict[str, Tensor], config: dict[str, Any]) -> Tensor:
    before = products + tensors["b_enc"]
    best = before.topk(config["k"], dim=-1)
    return torch.zeros_like(before).scatter(-1, best.indices, best.values.relu())


def _gated(products: Tensor, tensors: dict[str, Tensor], _config: dict[str, Any]) -> Tensor:
    magnitudes = (products * tensors["r_mag"].exp() + tensors["b_mag"]).relu()
    return torch.where(products + tensors["b_gate"] > 0, magnitudes, 0.0)


FORMULAS = {"standard": _standard, "jumprelu": _jumprelu, "topk": _topk, "gated": _gated}
"""Codes by SAELens' name of an architecture. A batchtopk SAE is a jumprelu one in SAELens' folders."""


def read_plain(folder: Path) -> PlainSae:
    """The SAE in a SAELens folder that asks for no treatment of its input or codes."""
    config = json.loads((folder / "cfg.json").read_text())
    if config["architecture"] not in FORMULAS:
        raise SystemExit(f"{folder}: no formula here for {config['architecture']!r}, only for {', '.join(FORMULAS)}")
    if config["normalize_activations"] != "none":
        raise SystemExit(f"{folder}: normalize_activations is {config['normalize_activations']}")
    if config.get("rescale_acts_by_decoder_norm"):
        raise SystemExit(f"{folder}: rescale_acts_by_decoder_norm is true, which the formula here does not do")
    weights = load_file(folder / "sae_weights.safetensors")
    return PlainSae({name: tensor.double() for name, tensor in weights.items()}, config)


def layer_list(model: torch.nn.Module, n: int) -> torch.nn.ModuleList:
    """The decoder's layers."""
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == n]
    return lists[0]


class Stop(Exception):
    """Ends a run of the model at the hook."""


class Run:
    """Sums over rows of tokens."""

    def __init__(self, model: Any, sae: PlainSae, special: set[int]) -> None:
        self.model, self.sae, self.special = model, sae, torch.tensor(sorted(special))
        hook = sae.config["metadata"]["hook_name"].split(".")
        if hook[2] != "hook_resid_post":
            raise SystemExit(f"this check reads resid_post, not {'.'.join(hook)}")
        self.layer = layer_list(model, model.config.num_hidden_layers)[int(hook[1])]

    def logits(self, tokens: Tensor, change: Any = None) -> Tensor:
        """The logits of a run in which the layer's output becomes `change(output)`."""

        def replaced(_module: Any, _inputs: Any, output: Any) -> Any:
            if change is None:
                return output
            return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

        handle = self.layer.register_forward_hook(replaced)
        try:
            return self.model(input_ids=tokens, use_cache=False).logits
        finally:
            handle.remove()

    def activations(self, tokens: Tensor) -> Tensor:
        """The layer's output, where the run ends."""
        seen: list[Tensor] = []

        def last(_module: Any, _inputs: Any, output: Any) -> Any:
            seen.append(output[0] if isinstance(output, tuple) else output)
            raise Stop

        handle = self.layer.register_forward_hook(last)
        try:
            with suppress(Stop):
                self.model(input_ids=tokens, use_cache=False)
        finally:
            handle.remove()
        return seen[0]

    def losses(self, rows: Tensor) -> dict[str, float]:
        """Mean cross-entropies: of the model, with the SAE but at special tokens, and with zeros everywhere."""
        totals, n = {"without_sae": 0.0, "with_sae": 0.0, "with_ablation": 0.0}, 0
        for tokens in rows.split(_ROWS):
            real = ~torch.isin(tokens, self.special)

            def spliced(x: Tensor, real: Tensor = real) -> Tensor:
                return torch.where(real[..., None], self.sae.reconstruct(self.sae.codes(x)), x)

            counted = real[:, :-1]
            changes = {"without_sae": None, "with_sae": spliced, "with_ablation": torch.zeros_like}
            for name, change in changes.items():
                log_p = self.logits(tokens, change)[:, :-1].log_softmax(dim=-1)
                losses = -log_p.gather(2, tokens[:, 1:, None]).squeeze(2)
                totals[name] += float(losses[counted].sum())
            n += int(counted.sum())
        return {name: total / n for name, total in totals.items()}

    def reconstruction(self, rows: Tensor) -> dict[str, float]:
        """L0, squared error and explained variance over tokens that are not special."""
        l0 = error = square = 0.0
        total, n = torch.zeros((), dtype=torch.float64), 0
        for tokens in rows.split(_ROWS):
            x = self.activations(tokens)[~torch.isin(tokens, self.special)]
            codes = self.sae.codes(x)
            l0 += float((codes != 0).sum())
            error += float((x - self.sae.reconstruct(codes)).square().sum())
            square += float(x.square().sum())
            total, n = total + x.sum(dim=0), n + len(x)
        spread = square - float((total / n).square().sum()) * n
        return {"l0": l0 / n, "mse": error / n, "explained_variance": 1 - error / spread}


def check(project: Path, name: str) -> list[tuple[str, float, float]]:
    """Each metric here and in the run's document."""
    params = load_params(project / "params.yaml")
    settings: CoreSettings = params.settings["core"]
    hub = Hub(project / "world")
    lm = load_language_model(hub, params.model.name, device="cpu")
    with Progress("rows", shown=False) as progress:
        context = EvalContext(lm=lm, hub=hub, seed=params.random_seed, batch_size=1, progress=progress)
        [(_, rows)] = core_rows(context, [load_sae(project / "downloaded_saes" / name)], settings)
    n = settings.n_reconstruction_sequences
    with torch.no_grad():
        run = Run(lm.plain_model.double(), read_plain(project / "downloaded_saes" / name), set(lm.special_ids))
        ours = run.reconstruction(rows.tokens[n:])
        losses = run.losses(rows.tokens[:n])
    ours |= {f"ce_loss_{key}": value for key, value in losses.items()}
    zero, sae, clean = (losses[key] for key in ("with_ablation", "with_sae", "without_sae"))
    ours["ce_loss_score"] = (zero - sae) / (zero - clean)
    document = json.loads((project / "eval_results" / "core" / f"{name}_eval_results.json").read_text())
    theirs = {row["metric"]: row["value"] for row in document["sae_research"]["measurements"]}
    return [(metric, ours[metric], theirs[metric]) for metric in METRICS]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sae", help="its name in downloaded_saes/")
    parser.add_argument("--project", type=Path, default=Path())
    parsed = parser.parse_args()
    numbers = check(parsed.project, parsed.sae)
    gaps = [abs(here - there) / abs(here) for _, here, there in numbers]
    rows = [(m, f"{h:.8g}", f"{t:.8g}", f"{gap:.1e}") for (m, h, t), gap in zip(numbers, gaps, strict=True)]
    print(table(["metric", "float64, other means", "the run", "relative difference"], rows))
    return 0 if max(gaps) <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
