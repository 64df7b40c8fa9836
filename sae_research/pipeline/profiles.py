"""Profiles: files in `profiles/` whose sections an explicit command writes into `params.yaml`, comments and all."""

from __future__ import annotations

import re

from ruamel.yaml import YAML

from sae_research.errors import UserError
from sae_research.files import write_atomically
from sae_research.pipeline.params import read_params
from sae_research.pipeline.paths import Paths

_SECTION = re.compile(r"^([A-Za-z_]\w*):", re.MULTILINE)


def profile_names(paths: Paths) -> list[str]:
    """The profiles there are."""
    return sorted(path.stem for path in paths.profiles.glob("*.yaml"))


def write_profile(name: str, paths: Paths) -> str:
    """Replaces the sections of `params.yaml` that the profile has; returns what to tell the user.

    Sections are replaced as text, from the comment above them on. Every profile has the same sections, so going to
    one and back leaves the file as it was.
    """
    if not paths.params.exists():
        raise UserError(f"{paths.params} does not exist; run this in the project's folder")
    if name not in profile_names(paths):
        raise UserError(f"profile {name!r} does not exist; valid: {', '.join(profile_names(paths))}")
    present = split_sections(paths.params.read_text(encoding="utf-8"))
    wanted = split_sections((paths.profiles / f"{name}.yaml").read_text(encoding="utf-8"))
    unknown = sorted(set(wanted) - set(present) - {""})
    if unknown:
        raise UserError(f"profiles/{name}.yaml has sections that params.yaml lacks: {', '.join(unknown)}")
    text = "".join(wanted.get(key, block) if key else block for key, block in present.items())
    read_params(YAML(typ="safe", pure=True).load(text), where=f"profiles/{name}.yaml")
    write_atomically(paths.params, text)
    return f"params.yaml now holds profile {name!r}; next: dvc repro\n"


def split_sections(text: str) -> dict[str, str]:
    """The text of each top-level section, with the comment lines above it; what precedes the first is under ""."""
    lines = text.splitlines(keepends=True)
    starts: list[tuple[int, str]] = []
    for number, line in enumerate(lines):
        match = _SECTION.match(line)
        if match:
            first = number
            while first > 0 and lines[first - 1].startswith("#"):
                first -= 1
            starts.append((first, match[1]))
    bounds = [start for start, _ in starts] + [len(lines)]
    sections = {"": "".join(lines[: bounds[0]])}
    for (start, key), end in zip(starts, bounds[1:], strict=True):
        sections[key] = "".join(lines[start:end])
    return sections
