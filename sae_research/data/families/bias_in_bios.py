"""Biographies with profession and gender: LabHC/bias_in_bios, and the embedded world's in the same layout."""

from __future__ import annotations

from types import MappingProxyType

from sae_research.data.family import Columns, Crossed, Family, Pool, class_codes, read_splits
from sae_research.sources.hub import Hub

_REPOSITORY = "LabHC/bias_in_bios"
_WORLD = "embedded/bios"
_SETS = {
    "class_set1": {"accountant": "0", "architect": "1", "attorney": "2", "dentist": "6", "filmmaker": "9"},
    "class_set2": {"journalist": "11", "nurse": "13", "painter": "14", "photographer": "18", "physician": "19"},
    "class_set3": {"poet": "20", "professor": "21", "psychologist": "22", "surgeon": "25", "teacher": "26"},
}
"""SAEBench's three choices of five professions."""
_PAIRS = (
    ("professor", "nurse"),
    ("architect", "journalist"),
    ("surgeon", "psychologist"),
    ("attorney", "teacher"),
)
"""SAEBench's pairs of professions."""
_PAIRED_CODES = {
    "architect": "1", "attorney": "2", "journalist": "11", "nurse": "13", "professor": "21", "psychologist": "22",
    "surgeon": "25", "teacher": "26",
}  # fmt: skip
_COLUMNS = Columns("hard_text", "profession", balanced_by="gender")
_MALE_FEMALE = ("0", "1")


class BiasInBios(Family):
    """By profession, with as many men as women in each; in the embedded world also by gender, balanced the same way."""

    names = (*(f"{_REPOSITORY}_{name}" for name in _SETS), _WORLD, f"{_WORLD}_gender")
    crossed = MappingProxyType(
        {
            f"{_REPOSITORY}_class_set1": Crossed(_REPOSITORY, _COLUMNS, _PAIRED_CODES, _MALE_FEMALE, _PAIRS),
            _WORLD: Crossed(_WORLD, _COLUMNS, None, _MALE_FEMALE, _PAIRS),
        }
    )

    @classmethod
    def repository(cls, name: str) -> str:
        return _WORLD if name.startswith(_WORLD) else _REPOSITORY

    @classmethod
    def texts(cls, name: str) -> str:
        return name.removesuffix("_gender")

    @classmethod
    def read(cls, hub: Hub, name: str, *, n_texts: int) -> Pool:
        by_gender = name == f"{_WORLD}_gender"
        label, other = ("gender", "profession") if by_gender else ("profession", "gender")
        repository = cls.repository(name)
        if repository == _WORLD:
            codes = class_codes(hub, repository, label)
        else:
            codes = _SETS[name.removeprefix(f"{_REPOSITORY}_")]
        return read_splits(hub, repository, Columns("hard_text", label, balanced_by=other), codes)
