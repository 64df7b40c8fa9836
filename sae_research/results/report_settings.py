"""What the results were made with: everything as a table of its own, and in the report what differs from defaults."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sae_research.evals.registry import all_evals
from sae_research.results.markdown import code, listed, table
from sae_research.results.merge import Entry
from sae_research.results.rows import card_label

SETTINGS_FILE = "settings.csv"
"""The name in `eval_results/merged/`."""


@dataclass(frozen=True)
class Setting:
    """One value that results were made with."""

    kind: Literal["model", "data", "run", "setting", "SAE", "version"]
    of: str
    """The eval, or the SAE; empty for versions."""
    name: str
    value: str
    """Text, or JSON. Where the cells of an eval differ, there is a line for each value."""
    default: str | None
    """Of a setting: its default, missing where there is none."""


def all_settings(entries: Sequence[Entry]) -> list[Setting]:
    """Models, data, settings, the origin of every SAE and the versions of libraries, each once."""
    computed = [entry for entry in entries if entry.result is not None and entry.source == "computed"]
    lines = [line for entry in computed for line in _of_cell(entry)]
    cards = {e.sae_name: e.result.sae for e in computed if e.result is not None}
    lines += [
        Setting("SAE", sae, name, _text(value), None)
        for sae, card in cards.items()
        for name, value in {**card, **(card.get("source") or {})}.items()
        if name not in ("name", "source") and value is not None
    ]
    versions = {pair for e in computed if e.result is not None for pair in e.result.versions.items()}
    lines += [Setting("version", "", name, version, None) for name, version in sorted(versions)]
    return list(dict.fromkeys(lines))


def _of_cell(entry: Entry) -> Iterator[Setting]:
    if entry.result is None:
        return
    parts = entry.result.key_parts
    for name, value in (parts.get("model") or {}).items():
        yield Setting("model", entry.eval_name, name, _text(value), None)
    for name, value in (parts.get("data") or {}).items():
        yield Setting("data", entry.eval_name, name, _text(value), None)
    for name in ("engine", "seed"):
        yield Setting("run", entry.eval_name, name, _text(parts.get(name)), None)
    defaults = _defaults(entry.eval_name)
    for name, value in entry.result.settings.items():
        yield Setting("setting", entry.eval_name, name, _text(value), defaults.get(name))


def _defaults(eval_name: str) -> Mapping[str, str]:
    """The defaults of an eval's settings; those without one are left out."""
    record = next((evaluated.settings for evaluated in all_evals() if evaluated.name == eval_name), None)
    defaults = {}
    for field in dataclasses.fields(record) if record is not None else ():
        value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if value is dataclasses.MISSING:
            continue
        defaults[field.name] = _text(value)
    return defaults


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=dataclasses.asdict)


def settings_section(entries: Sequence[Entry]) -> str:
    """The settings that differ from their defaults, and where the others are."""
    lines = all_settings(entries)
    if not lines:
        return ""
    differing: dict[tuple[str, str, str], list[str]] = {}
    for line in lines:
        if line.kind == "setting" and line.default is not None and line.value != line.default:
            differing.setdefault((line.of, line.name, line.default), []).append(line.value)
    rows = [[of, code(name), " / ".join(values), default] for (of, name, default), values in differing.items()]
    where = (
        f"All settings, the revisions of model and data, where each SAE is from, and the versions of libraries are in "
        f"[eval_results/merged/{SETTINGS_FILE}](eval_results/merged/{SETTINGS_FILE})."
    )
    listed = [table(["eval", "setting", "value", "default"], rows, numbers_from=4)] if rows else []
    title = "These differ from their defaults." if rows else "No setting differs from its default."
    return "\n\n".join(["## Settings", f"{title} {where}", *listed])


def saes_section(entries: Sequence[Entry]) -> str:
    """A line per SAE: what it is and where it is from."""
    cards = {(e.source, e.sae_name): e.result.sae for e in entries if e.result is not None}
    header = ["SAE", "architecture", "site", "d_in", "d_sae", "hyperparameters", "from", "digest"]
    lines = [_card_line(name, card) for (_, name), card in cards.items()]
    if not lines:
        return ""
    centred = [code(name) for (_, name), card in cards.items() if card.get("centred")]
    no_bos = [code(name) for (_, name), card in cards.items() if card.get("prepend_bos") is False]
    notes = []
    if centred:
        notes.append(
            f"{listed(centred)}: trained with `center_writing_weights`, and therefore measured on activations without "
            "their mean over dimensions."
        )
    if no_bos:
        notes.append(
            f"{listed(no_bos)}: trained on rows without BOS. Core measures them on such rows (other ones than those of "
            "the other SAEs) unless `core_eval.prepend_bos` says otherwise; all other evals put BOS first."
        )
    return "\n\n".join(["## SAEs", table(header, lines, numbers_from=8), *notes])


def _card_line(name: str, card: Mapping[str, Any]) -> list[str]:
    hyper = ", ".join(f"{key} = {_text(value)}" for key, value in sorted((card.get("hyperparameters") or {}).items()))
    source = card.get("source") or {}
    place = "/".join(str(source[key]) for key in ("repo_id", "filename") if source.get(key))
    origin = f"dictionary of {code(source['baseline'])}" if source.get("baseline") else place
    kind, label = card.get("architecture") or "–", card_label(card)
    numbers = [str(card.get(key) or "–") for key in ("hook_name", "d_in", "d_sae")]
    called = f"{label} ({kind})" if "label" in card and label != kind else kind
    return [code(name), called, *numbers, hyper or "–", origin or "–", str(card.get("digest") or "–")[:12]]
