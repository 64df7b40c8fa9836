"""`index.html`: one file with its styles, scripts and data, which a policy keeps from the network."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sae_research.page.packing import script_json

_HERE = Path(__file__).parent
VENDOR = _HERE / "vendor"
SCRIPTS = (
    "dom", "data", "format", "statistics", "intervals", "state", "fleet", "marks", "saving", "chart", "filters",
    "column_menu", "row_window", "table_cells", "view_table", "scatter_picture", "view_scatter", "settings_table",
    "view_compare", "density_figure", "view_sae", "heat_picture", "view_heatmap", "noted_latents", "view_parts",
    "latent_data", "latent_detail", "view_latents", "main",
)  # fmt: skip
"""The page's own scripts in the order in which they are joined; each sees those before it."""
STYLES = ("base", "controls", "table", "facts", "charts", "latents", "print")


def index_html(index: Mapping[str, Any]) -> str:
    """The page with this index as its data; the same index gives the same bytes."""
    own = own_script()
    libraries = [library_script(name) for name in vendored()]
    hashes = " ".join(f"'sha256-{_digest(text)}'" for text in (*libraries, own))
    # `self` and `file:` are the files beside the page, on a host and on a disk. Charts set styles of their own.
    policy = (
        f"default-src 'none'; script-src 'self' file: {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    content = {
        "POLICY": policy,
        "STYLE": "\n".join((_HERE / "style" / f"{name}.css").read_text(encoding="utf-8") for name in STYLES),
        "LICENCES": _licences(),
        "DATA": script_json(index),
        "SCRIPTS": "".join(f"<script>{text}</script>\n" for text in (*libraries, own)),
    }
    page = (_HERE / "page.html").read_text(encoding="utf-8")
    before, *rest = page.split("{{")
    return before + "".join(content[name] + text for name, text in (part.split("}}", 1) for part in rest))


def own_script() -> str:
    """The page's own scripts as one function, so that nothing of theirs is global but what receives chunks."""
    texts = [(_HERE / "script" / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return '(function () {\n"use strict";\n' + "\n".join(texts) + "\n})();\n"


@cache
def vendored() -> Mapping[str, Mapping[str, Any]]:
    """What `vendor.json` says of each library, by the name of its file."""
    return json.loads((VENDOR / "vendor.json").read_text(encoding="utf-8"))


def library_script(name: str) -> str:
    """A vendored library as it can stand in a page."""
    return (VENDOR / name).read_text(encoding="utf-8").replace("</script", "<\\/script")


def _licences() -> str:
    """Names, versions and licence texts of the libraries."""
    import html

    parts = []
    for about in vendored().values():
        text = html.escape((VENDOR / about["licence_file"]).read_text(encoding="utf-8").strip())
        parts.append(
            f"<details><summary>{html.escape(about['name'])} {about['version']}, {about['licence']}</summary>"
            f"<pre>{text}</pre></details>"
        )
    return "\n".join(parts)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
