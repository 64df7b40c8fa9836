"""Every field of `params.yaml` outside the evals' sections changes a result, a draw or an error, or is in INERT."""

from __future__ import annotations

import dataclasses
import json
import shutil
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from support.project import ROOT, merge
from support.rows import make_row
from support.workspace import make_card, make_core

from sae_research.errors import UserError
from sae_research.judges.settings import Judging
from sae_research.measurements import EvalOutput, Measurement
from sae_research.pipeline.manifest import read_manifest
from sae_research.pipeline.params import Params, read_params
from sae_research.pipeline.paths import Paths
from sae_research.pipeline.stages.evals import run_eval_stage
from sae_research.pipeline.stages.setup import run_setup
from sae_research.plots.draw import draw_all
from sae_research.results.health.assess import assess
from sae_research.results.health.document import health_document
from sae_research.results.latents import Latents
from sae_research.results.merge import Entry
from sae_research.results.rows import TABLE_FILE, Row, table_as_parquet
from sae_research.yaml_text import read_yaml

pytestmark = pytest.mark.slow

BASE: Mapping[str, Any] = {
    "world": {"size": "tiny"},
    "sae_variants": {"ihtp": {"enabled": False}, "mpsae": {"s_values": [4]}},
    "comparison_saes": [{"repo_id": "embedded/sae-topk", "filename": "k8"}],
    "controls": {"n_sequences": 16, "variant_atoms": ["random"], "topk_atoms": ["raw"], "topk_k": 4},
    "core_eval": {"n_reconstruction_batches": 1, "n_sparsity_batches": 1, "batch_size": 2, "context_size": 32},
    "eval_types": dict.fromkeys(
        ("sparse_probing", "absorption", "scr", "tpp", "ravel", "unlearning", "sensitivity", "autointerp"), False
    ),
    "visualization": {"markers": {}, "colors": {}, "k_values": [], "dpi": 50},
}

INERT: Mapping[str, str] = {
    "settings": "the sections of the evals, which tests/evals/test_settings_matter.py walks",
    "execution.executor": "where cells are computed; tests/pipeline/test_fill.py holds the bytes equal",
    "execution.address": "the same",
    "execution.gpus_per_worker": "the same",
    "execution.group_gigabytes": "who shares a pass; tests/pipeline/test_jobs.py, and test_fill.py for the bytes",
    "model.tf32": "numbers on GPUs alone; tests/pipeline/test_cells.py holds that it stands in the key",
    **{
        f"judging.{field.name}": "how a judge behind a server is reached and paid; tests/judges/test_openai.py"
        for field in dataclasses.fields(Judging)
    },
    "model.llm_batch_size": "speed and memory; test_repro.py and the evals' own tests hold the numbers equal",
}
"""By field: why nothing here changes with it."""


class Change(NamedTuple):
    """Other parameters, and where the difference shows."""

    shows_in: str
    """What comes out differently: a method of Workbench."""
    values: Mapping[str, Any]
    under: Mapping[str, Any] = {}
    """What both runs have beside BASE."""
    error: str | None = None
    """What the error says, where it shows as one."""


def _comparison(**changes: Any) -> Mapping[str, Any]:
    return {"comparison_saes": [{"repo_id": "embedded/sae-topk", "filename": "k8", **changes}]}


_KEPT = {"activation_caching": {"save_activations": True}}
_REGISTRY = {"comparison_saes": [{"release": "none", "sae_id": "none"}]}
_UNKNOWN_ID = {"comparison_saes": [{"release": "gpt2-small-res-jb", "sae_id": "none"}]}
_TRAIN = {
    "architecture": "topk", "k": 2, "d_sae": 32, "layer": 0, "dataset": "embedded/text", "context_size": 32,
    "training_tokens": 256, "train_batch_size_tokens": 128, "store_batch_size_prompts": 4, "n_batches_in_buffer": 2,
}  # fmt: skip
CHANGES: Mapping[str, Change] = {
    "random_seed": Change("saes", {"random_seed": 7}),
    "engine": Change("saes", {"engine": "sae_bench"}, {"eval_types": {"tpp": True}}, error="does not offer tpp"),
    "sae_variants": Change("saes", {"sae_variants": {"mpsae": {"s_values": [5]}}}),
    "eval_types": Change("core", {"eval_types": {"core": False}}),
    "model.name": Change("saes", {"model": {"name": "embedded/none"}}, error="has no folder"),
    "model.revision": Change("saes", {"model": {"revision": "sha256:0"}}, error="expected sha256:0"),
    "model.torch_dtype": Change("core", {"model": {"torch_dtype": "bfloat16"}}),
    "model.device": Change("core", {"model": {"device": "cuda:99"}}, error="cuda"),
    "baseline_sae.repo_id": Change("saes", {"baseline_sae": {"repo_id": "embedded/sae-topk"}}, error="no file or"),
    "baseline_sae.filename": Change("saes", {"baseline_sae": {"filename": "resid_post_layer_0/trainer_1/ae.pt"}}),
    "baseline_sae.hook_layer": Change("saes", {"baseline_sae": {"hook_layer": 1}}, error="hook_layer is 1"),
    "baseline_sae.revision": Change("saes", {"baseline_sae": {"revision": "sha256:0"}}, error="expected sha256:0"),
    "baseline_sae.train": Change("saes", {"baseline_sae": {"repo_id": None, "filename": None, "train": _TRAIN}}),
    "baseline_sae.hook_name": Change(
        "saes", {"baseline_sae": {"hook_name": "blocks.1.hook_resid_post"}}, error="its files say 'blocks.0"
    ),
    "baseline_sae.model_name": Change("saes", {"baseline_sae": {"model_name": "gpt2"}}, error="its files say"),
    "baseline_sae.k": Change("saes", {"baseline_sae": {"k": 3}}, error="its files say 'no k"),
    "comparison_saes.hook_name": Change("saes", _comparison(hook_name="blocks.1.hook_mlp_out"), error="its files say"),
    "comparison_saes.model_name": Change("saes", _comparison(model_name="gpt2"), error="its files say"),
    "comparison_saes.k": Change("saes", _comparison(k=3), error="its files say 8"),
    "comparison_saes.repo_id": Change("saes", _comparison(repo_id="embedded/sae-batchtopk")),
    "comparison_saes.filename": Change("saes", _comparison(filename="k16")),
    "comparison_saes.files": Change(
        "saes", {"comparison_saes": [{"repo_id": "embedded/sae-topk", "files": "k(8|16)"}]}
    ),
    "comparison_saes.revision": Change("saes", _comparison(revision="sha256:0"), error="expected sha256:0"),
    "comparison_saes.alias": Change("saes", {"comparison_saes": [{"alias": "py_4k"}]}, error="no published SAE is"),
    "comparison_saes.release": Change("saes", _REGISTRY, error="no release in SAELens"),
    "comparison_saes.sae_id": Change("saes", _UNKNOWN_ID, error="matches sae_id 'none'"),
    "comparison_saes.train": Change("saes", {"comparison_saes": [{"train": _TRAIN}]}),
    "comparison_saes.label": Change("saes", _comparison(label="mine")),
    "comparison_saes.control": Change("saes", _comparison(control=True)),
    # What it changes in an eval: tests/data/test_described.py.
    "data_sets": Change("saes", {"data_sets": {"embedded/news": {"repo": "a", "label": "b"}}}, error="is taken by"),
    "controls.dataset": Change("saes", {"controls": {"dataset": "embedded/forget"}}),
    "controls.split": Change("saes", {"controls": {"split": "test"}}, {"controls": {"first_text": 1}}),
    "controls.first_text": Change("saes", {"controls": {"first_text": 1}}),
    "controls.context_size": Change("saes", {"controls": {"context_size": 64}}),
    "controls.n_sequences": Change("saes", {"controls": {"n_sequences": 20}}),
    "controls.variant_atoms": Change("saes", {"controls": {"variant_atoms": ["raw"]}}),
    "controls.topk_atoms": Change("saes", {"controls": {"topk_atoms": ["pca"]}}),
    "controls.topk_k": Change("saes", {"controls": {"topk_k": 5}}),
    "activation_caching.save_activations": Change("kept_bytes", {"activation_caching": {"save_activations": True}}),
    "activation_caching.max_gigabytes": Change(
        "kept_bytes",
        {"activation_caching": {"max_gigabytes": 1e-6}},
        {"activation_caching": {"save_activations": True}},
    ),
    "visualization.markers": Change("pictures", {"visualization": {"markers": {"topk": "P"}}}),
    "visualization.colors": Change("pictures", {"visualization": {"colors": {"topk": "black"}}}),
    "visualization.k_values": Change("pictures", {"visualization": {"k_values": [2]}}),
    "visualization.n_values": Change("pictures", {"visualization": {"n_values": [5]}}),
    "visualization.error_bars": Change("pictures", {"visualization": {"error_bars": False}}),
    "visualization.connect": Change("pictures", {"visualization": {"connect": False}}),
    "visualization.marker_size": Change("pictures", {"visualization": {"marker_size": 20}}),
    "visualization.font_size": Change("pictures", {"visualization": {"font_size": 15}}),
    "visualization.dpi": Change("pictures", {"visualization": {"dpi": 60}}),
    "visualization.extra_formats": Change("pictures", {"visualization": {"extra_formats": ["svg"]}}),
    "health.loss_recovered.healthy": Change("health", {"health": {"loss_recovered": {"healthy": 0.8}}}),
    "health.loss_recovered.borderline": Change("health", {"health": {"loss_recovered": {"borderline": 0.1}}}),
    "health.l0.healthy": Change("health", {"health": {"l0": {"healthy": [1, 9]}}}),
    "health.l0.sweet_spot": Change("health", {"health": {"l0": {"sweet_spot": [50, 60]}}}),
    "health.dead.healthy": Change("health", {"health": {"dead": {"healthy": 0.15}}}),
    "health.dead.borderline": Change("health", {"health": {"dead": {"borderline": 0.12}}}),
    "health.redundant.cosine": Change("health", {"health": {"redundant": {"cosine": 0.5}}}),
    "health.redundant.healthy": Change("health", {"health": {"redundant": {"healthy": 0.34}}}),
    "health.redundant.borderline": Change("health", {"health": {"redundant": {"borderline": 0.3}}}),
    "health.absorption.healthy": Change("health", {"health": {"absorption": {"healthy": 0.3}}}),
    "health.absorption.borderline": Change("health", {"health": {"absorption": {"borderline": 0.29}}}),
    "health.tokens_per_latent": Change("health", {"health": {"tokens_per_latent": 1}}),
    "world.seed": Change("world_key", {"world": {"seed": 1}}),
    "world.size": Change("world_key", {"world": {"size": "default"}}),
}
"""For each field other parameters than BASE."""


class Workbench:
    """Runs stages of one tiny project in this process; what was run once is remembered."""

    def __init__(self, root: Path) -> None:
        self.paths = Paths(root=root, store=root / ".sae_cache")
        self._outcomes: dict[str, Any] = {}

    def outcome(self, shows_in: str, *changes: Mapping[str, Any]) -> Any:
        """What comes out with BASE and these changes, or the error."""
        name = json.dumps([shows_in, *changes])
        if name not in self._outcomes:
            values = read_yaml(ROOT / "params.yaml")
            for change in (BASE, *changes):
                merge(values, change)
            run: Callable[[Params], Any] = getattr(self, shows_in)
            try:
                self._outcomes[name] = run(read_params(values, where="params.yaml"))
            except UserError as error:
                self._outcomes[name] = f"error: {error}"
        return self._outcomes[name]

    def saes(self, params: Params) -> Any:
        """The manifest."""
        run_setup(params, self.paths)
        return read_manifest(self.paths.saes)

    def core(self, params: Params) -> Any:
        """The numbers of the core eval, computed anew."""
        if not self.paths.saes.exists():
            self.outcome("saes")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SAE_NO_REUSE", "1")
            summary = run_eval_stage("core", params, self.paths)
        if summary.failures:
            raise UserError(str(summary.failures))
        documents = [json.loads(path.read_text()) for path in sorted((self.paths.results / "core").glob("*_eval_*"))]
        return [document["sae_research"]["measurements"] for document in documents]

    def kept_bytes(self, params: Params) -> Any:
        """How much the cache of activations holds after a run."""
        kept = self.paths.store / "activations"
        shutil.rmtree(kept, ignore_errors=True)
        self.core(params)
        return sum(path.stat().st_size for path in kept.rglob("*") if path.is_file())

    def pictures(self, params: Params) -> Any:
        """The pictures of one metric of core, of sparse probing and of TPP."""
        table = self.paths.merged / TABLE_FILE
        if not table.exists():
            table.parent.mkdir(parents=True)
            table.write_bytes(table_as_parquet(_rows()))
        draw_all(table, self.paths.images, params.visualization, scratch=self.paths.scratch)
        return {path.name: path.read_bytes() for path in self.paths.images.iterdir()}

    def health(self, params: Params) -> Any:
        """The health of two made-up SAEs that are at the edges of all thresholds."""
        return health_document(assess(_edges(), params.health), params.health)["saes"]

    def world_key(self, params: Params) -> Any:
        """What determines the embedded world."""
        return params.world.key


def _edges() -> list[Entry]:
    """Cells of core and absorption, with numbers between healthy and bad, but for one's loss and L0."""
    entries = []
    for name, loss, l0 in (("a", 0.75, 10.0), ("b", 0.5, 30.0)):
        card = make_card(name, training_tokens=512 * 9)
        core = make_core(card, ce_loss_score=loss, l0=l0, frac_dead=0.14)
        entries.append(Entry("computed", name, "core", core, latents=Latents(np.ones(3), np.array([0.95, 0.6, 0.1]))))
        absorbed = EvalOutput((Measurement("mean_absorption_fraction_score", 0.299),))
        entries.append(Entry("computed", name, "absorption", dataclasses.replace(core, output=absorbed)))
    return entries


def _rows() -> list[Row]:
    """Two SAEs of a label, at two k and at two n."""
    places = [
        ("core", "ce_loss_score", "{}"),
        *(("sparse_probing", "sae_top_k_test_accuracy", f'{{"k": {k}}}') for k in (1, 2)),
    ]
    places += [("tpp", "tpp_total_metric", f'{{"n": {n}}}') for n in (2, 5)]
    return [
        make_row(f"sae{l0}", metric, l0 / 100 + i / 10, l0=l0, eval=name, at=at, ci_low=l0 / 110, ci_high=l0 / 60 + i)
        for i, (name, metric, at) in enumerate(places)
        for l0 in (8.0, 16.0)
    ]


@pytest.fixture(scope="module")
def workbench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    bench = Workbench(tmp_path_factory.mktemp("settings") / "project")
    bench.paths.root.mkdir()
    bench.outcome("saes")
    return bench


def _fields(record: type, prefix: str = "") -> Iterator[str]:
    """The paths of all fields of a record, those of records in it and of its lists of records included."""
    hints = typing.get_type_hints(record)
    for field in dataclasses.fields(record):
        inside = [hint for hint in _parts(hints[field.name]) if dataclasses.is_dataclass(hint)]
        if inside:
            yield from _fields(inside[0], f"{prefix}{field.name}.")  # type: ignore[arg-type]
        else:
            yield prefix + field.name


def _parts(hint: Any) -> tuple[Any, ...]:
    """The type itself, the members of a union, the type of a list's items."""
    is_composed = typing.get_origin(hint) in (tuple, typing.Union, types.UnionType)
    return typing.get_args(hint) if is_composed else (hint,)


def test_every_field_has_a_case() -> None:
    fields = set(_fields(Params))
    missing = sorted(fields - CHANGES.keys() - INERT.keys())
    assert not missing, (
        f"no test shows that {', '.join(missing)} of params.yaml does anything. Add to CHANGES other parameters that "
        "change what comes out, or to INERT the reason why nothing does"
    )
    assert sorted((CHANGES.keys() | INERT.keys()) - fields) == [], "cases of fields that there are not (any more)"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised while sae_lens is imported
@pytest.mark.parametrize("field", CHANGES)
def test_another_value_changes_what_comes_out(workbench: Workbench, field: str) -> None:
    change = CHANGES[field]
    before = workbench.outcome(change.shows_in, change.under)
    after = workbench.outcome(change.shows_in, change.under, change.values)
    assert not str(before).startswith("error: "), before
    if change.error is None:
        assert not str(after).startswith("error: "), after
        assert after != before
    else:
        assert str(after).startswith("error: ")
        assert change.error in after
