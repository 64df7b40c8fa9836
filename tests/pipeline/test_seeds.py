"""`seeds` of the evals that draw texts and train probes, through their stages on the tiny world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT, TINY, Project

from sae_research.errors import UserError
from sae_research.evals.registry import eval_names
from sae_research.measurements import Measurement
from sae_research.pipeline.params import load_params
from sae_research.pipeline.paths import Paths, find_paths
from sae_research.pipeline.stages.evals import run_eval_stage
from sae_research.pipeline.stages.setup import run_setup
from sae_research.results.document import read_result

SECTIONS: dict[str, dict[str, Any]] = {
    "sparse_probing": {**TINY["sparse_probing"], "seeds": [1, 2]},
    "scr": {
        "dataset_names": ["embedded/bios"], "train_size": 20, "test_size": 40, "n_values": [2, 5], "seeds": [1, 2],
    },
    "tpp": {
        "dataset_names": ["embedded/news"], "train_size": 20, "test_size": 20, "n_values": [2, 5], "seeds": [1, 2],
    },
}  # fmt: skip
METRICS = {"sparse_probing": "sae_top_k_test_accuracy", "scr": "scr_dir1", "tpp": "tpp_total_metric"}


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """The tiny world with two SAEs, set up."""
    root = tmp_path_factory.mktemp("seeds")
    (root / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    evals = {name: name in SECTIONS for name in eval_names()}
    variants = {"ihtp": {"enabled": False}, "mpsae": {"enabled": False}}
    saes = [{"repo_id": "embedded/sae-topk", "filename": "k8"}]
    Project(root).edit({**TINY, **SECTIONS, "eval_types": evals, "sae_variants": variants, "comparison_saes": saes})
    found = find_paths(root)
    run_setup(load_params(found.params), found)
    return found


@pytest.mark.parametrize("eval_name", SECTIONS)
def test_results_are_means_over_seeds_with_their_spread(paths: Paths, eval_name: str) -> None:
    assert run_eval_stage(eval_name, load_params(paths.params), paths).failures == {}
    for path in (paths.results / eval_name).glob("*_eval_results.json"):
        measurements = read_result(path).output.measurements
        places = [dict(m.at) for m in measurements if m.metric == METRICS[eval_name] and m.value is not None]
        place = next(at for at in places if "seed" not in at and len(at) == 1)
        by_seed = {seed: _value(measurements, METRICS[eval_name], {**place, "seed": seed}) for seed in (42, 1, 2)}
        assert _value(measurements, METRICS[eval_name], place) == pytest.approx(sum(by_seed.values()) / 3)
        spread = _value(measurements, f"{METRICS[eval_name]}_seed_std", place)
        assert (spread > 0) is (len(set(by_seed.values())) > 1)


def _value(measurements: tuple[Measurement, ...], metric: str, at: dict[str, Any]) -> float:
    value = next(m.value for m in measurements if m.metric == metric and dict(m.at) == at)
    assert value is not None
    return value


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": [3, 42]}, "{section}.seeds holds 42, which is random_seed itself; remove it"),
        ({"seeds": [3, 3]}, "seeds holds a value twice"),
    ],
)
def test_a_seed_that_would_count_twice_is_refused_before_anything_runs(
    tmp_path: Path, section: str, changes: dict[str, Any], message: str
) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    Project(tmp_path).edit({section: changes})
    with pytest.raises(UserError, match=message.format(section=section)):
        load_params(tmp_path / "params.yaml")


def test_sae_bench_draws_once(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    evals = {name: name in {"core", "sparse_probing"} for name in eval_names()}
    Project(tmp_path).edit({"engine": "sae_bench", "eval_types": evals, "sparse_probing": {"seeds": [1]}})
    with pytest.raises(UserError, match=r"sparse_probing.seeds is \[1\], but engine sae_bench draws once"):
        load_params(tmp_path / "params.yaml")
