"""Result documents of ours that somebody dropped in to be published: they come from other people, as SAEBench's do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sae_research.errors import UserError
from sae_research.foreign import identifier, plain_name, plain_sentence, shown
from sae_research.measurements import EvalOutput, Measurement, MetricSpec, Result
from sae_research.records import read_record
from sae_research.results.document import BLOCK, is_intact
from sae_research.results.numbers import stable

_KEY = re.compile(r"(\w|{[A-Za-z]\w*})*")


def read_ours(document: Mapping[str, Any], path: Path) -> tuple[Result, tuple[MetricSpec, ...]]:
    """The result and the metrics that one of our documents holds, records per latent left out."""
    if not is_intact(document):
        raise UserError(
            f"{path} is not as sae_research wrote it: its digest differs, so that a number may have been changed; "
            "take the file from where it was made again, or remove it from the folder"
        )
    block, place = document[BLOCK], f"{path}: {BLOCK}."
    specs = {name: _spec(name, entry, path) for name, entry in object_at(block, "metrics", place).items()}
    entries = block.get("measurements")
    if not isinstance(entries, list):
        raise UserError(f"{place}measurements is {shown(entries)}, expected a list")
    measurements = tuple(_measurement(entry, f"{path}: measurement {i}", specs) for i, entry in enumerate(entries))
    result = Result(
        key=plain_name(block.get("key"), f"{place}key"),
        eval_name=identifier(block.get("eval"), f"{place}eval"),
        sae=_card(object_at(block, "sae", place), f"{place}sae."),
        settings=object_at(block, "settings", place),
        key_parts=object_at(block, "key_parts", place),
        output=EvalOutput(measurements),
        versions=object_at(block, "versions", place),
    )
    return result, tuple(specs.values())


def object_at(document: Mapping[str, Any], key: str, where: str) -> Mapping[str, Any]:
    """`document[key]`, an object without NaN and infinity; a missing one is empty."""
    value = document.get(key, {})
    if not isinstance(value, Mapping):
        raise UserError(f"{where}{key} is {shown(value)}, expected an object")
    try:
        return stable(value)
    except ValueError as error:
        raise UserError(f"{where}{key}: {error}") from None


def check_size(value: object, where: str) -> int:
    """`value`, a number of dimensions."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        raise UserError(f"{where} is {shown(value)}, expected a whole number of 1 or more")
    return value


def _spec(name: str, entry: object, path: Path) -> MetricSpec:
    """A metric whose texts are plain, and whose key has nothing but names in braces: it is filled in by format."""
    where = f"{path}: metric {shown(name)}"
    if not isinstance(entry, Mapping):
        raise UserError(f"{where} is {shown(entry)}, expected an object")
    spec = read_record(MetricSpec, {**entry, "name": name}, where=where)
    identifier(spec.name, where)
    for key in ("category", "unit", "title"):
        if getattr(spec, key):
            plain_sentence(getattr(spec, key), f"{where}.{key}")
    if not _KEY.fullmatch(spec.key or ""):
        raise UserError(f"{where}.key is {shown(spec.key)}, expected letters, digits, _ and names in braces")
    return spec


def _measurement(entry: object, where: str, specs: Mapping[str, MetricSpec]) -> Measurement:
    measurement = read_record(Measurement, entry, where=where)
    if measurement.metric not in specs:
        raise UserError(f"{where} is of {shown(measurement.metric)}, which the file does not describe under metrics")
    if (measurement.value is None) != (measurement.reason is not None):
        raise UserError(f"{where}: a missing value needs a reason, and a value has none")
    for key, value in measurement.at.items():
        identifier(key, f"{where}.at")
        if isinstance(value, str):
            plain_name(value, f"{where}.at.{key}")
    if measurement.reason is not None:
        plain_sentence(measurement.reason, f"{where}.reason")
    return measurement


def _card(sae: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    """The description of the SAE, all of its texts plain."""
    for key in ("name", "architecture", "label", "hook_name", "model_name"):
        if sae.get(key) is not None or key in ("name", "architecture"):
            plain_name(sae.get(key), f"{place}{key}")
    for key in ("d_in", "d_sae"):
        if sae.get(key) is not None:
            check_size(sae[key], f"{place}{key}")
    for key in ("source", "hyperparameters"):
        for name, value in object_at(sae, key, place).items():
            identifier(name, f"{place}{key}")
            # A path may start with ./ or ~, and an option may be empty.
            if isinstance(value, str) and value.strip("./~"):
                plain_sentence(value.lstrip("./~"), f"{place}{key}.{name}")
    return sae
