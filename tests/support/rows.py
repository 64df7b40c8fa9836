"""Rows of the merged table, made up."""

from __future__ import annotations

from typing import Any

from sae_research.results.rows import Row
from sae_research.results.sites import site_of

_BASE: dict[str, Any] = {
    "baseline": None, "d_in": 128, "d_sae": 512, "hook_name": "blocks.0.hook_resid_post", "reason": None,
    "ci_low": None, "ci_high": None, "unit": "", "direction": "higher", "headline": True, "source": "computed",
    "control": False, "interpolates": 0.0, "at": "{}", "eval": "core",
}  # fmt: skip


def make_row(sae: str, measured: str, value: float | None, **more: Any) -> Row:
    about = {"architecture": "topk", "label": more.get("architecture", "topk"), **more}
    site = site_of(about.get("hook_name", _BASE["hook_name"]))
    return Row(
        **{
            **_BASE, "layer": site.layer if site else None, "sae": sae, "metric": measured, "value": value, "l0": 8.0,
            "title": measured.replace("_", " "), "column": measured, **about,
        }
    )  # fmt: skip
