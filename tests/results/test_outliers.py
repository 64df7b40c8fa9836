"""METRICS.md says where few tokens hold much of the variance, and says nothing where they do not."""

from __future__ import annotations

from typing import Any

from support.workspace import make_card, make_core

from sae_research.pipeline.stages.process_results import process_results


def _opening(workspace: Any, *shares: float) -> str:
    for name, share in zip("abc", shares, strict=False):
        outliers = {"outlier_share_of_variance": share, "outlier_share_of_tokens": 0.0005}
        workspace.add(
            make_core(make_card(name), mse=3.0, explained_variance_without_outliers=0.6 + 0.1 * share, **outliers)
        )
    process_results(workspace.paths, {"core": True})
    return workspace.paths.report.read_text(encoding="utf-8").split("## Main columns")[0]


def test_a_site_of_outliers_is_named_with_what_to_read_instead(workspace: Any) -> None:
    text = _opening(workspace, 0.99, 0.98)
    assert (
        "- ! At `blocks.0.hook_resid_post` 0.05 % of the tokens have more than 10 times the median norm and hold 99 % "
        "of the variance, so that *Explained variance* and *Squared error* tell mostly of them; `results.csv` has "
        "*Explained variance without outliers* (0.70 to 0.70)."
    ) in text


def test_few_outliers_are_not_worth_a_word(workspace: Any) -> None:
    assert "median norm" not in _opening(workspace, 0.09, 0.0)
