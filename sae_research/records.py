"""Frozen, typed records read from plain mappings: unknown keys and wrong types fail and say what is valid."""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from sae_research.errors import UserError
from sae_research.foreign import shortened, shown

Record = TypeVar("Record")

_MOST = 10**9
"""No setting counts more than that; larger numbers overflow in places that cannot say where they come from."""


def read_record(record: type[Record], values: object, *, where: str) -> Record:
    """An instance of the dataclass `record` from the mapping `values`; `where` is its place in the file."""
    if not isinstance(values, Mapping):
        raise UserError(f"{where}: got {_shown(values)}, expected a mapping with {_keys(record)}")
    fields = {f.name: f for f in dataclasses.fields(record)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise UserError(f"{where}: unknown key {shown(key)}; valid: {_keys(record)}")
    hints = _hints(record)
    arguments = {key: read_value(hints[key], value, f"{where}.{key}") for key, value in values.items()}
    missing = [name for name, f in fields.items() if name not in arguments and _required(f)]
    if missing:
        raise UserError(f"{where}: missing {', '.join(missing)}")
    try:
        return record(**arguments)
    except ValueError as error:
        raise UserError(f"{where}: {shortened(str(error))}") from error


def at_least(record: Any, **smallest: float) -> None:
    """ValueError unless each named field of `record` is at least its limit, and at most what a number of things is."""
    for name, limit in smallest.items():
        if not getattr(record, name) >= limit:
            raise ValueError(f"{name} is {getattr(record, name)}, expected at least {limit}")
        if getattr(record, name) > _MOST:
            raise ValueError(f"{name} is {getattr(record, name)}, expected at most {_MOST}")


def distinct(record: Any, *names: str, may_be_empty: bool = False) -> None:
    """ValueError unless each named tuple of `record` holds something, and nothing twice."""
    for name in names:
        values = getattr(record, name)
        if not values and not may_be_empty:
            raise ValueError(f"{name} is empty, expected at least one")
        if len(set(values)) != len(values):
            raise ValueError(f"{name} holds a value twice: {list(values)}")


def counts(record: Any, *names: str, may_be_empty: bool = False) -> None:
    """ValueError unless each named tuple of `record` holds distinct whole numbers of at least 1."""
    distinct(record, *names, may_be_empty=may_be_empty)
    for name in names:
        if min(getattr(record, name), default=1) < 1:
            raise ValueError(f"{name} holds {min(getattr(record, name))}, expected at least 1")
        if max(getattr(record, name), default=1) > _MOST:
            raise ValueError(f"{name} holds {max(getattr(record, name))}, expected at most {_MOST}")


@functools.cache
def _hints(record: type) -> Mapping[str, Any]:
    """The types of the record's fields."""
    return typing.get_type_hints(record)


def _required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _keys(record: type) -> str:
    return ", ".join(f.name for f in dataclasses.fields(record))


def _shown(value: object) -> str:
    return f"{shown(value)} ({type(value).__name__})"


def read_value(hint: Any, value: object, where: str) -> Any:
    """`value` as the type `hint`, or a UserError that names both."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise UserError(f"{where}: got {_shown(value)}; valid: {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            raise UserError(f"{where}: got {_shown(value)}, expected a list")
        return tuple(read_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict or origin is Mapping or origin is typing.get_origin(Mapping[str, Any]):
        if not isinstance(value, Mapping):
            raise UserError(f"{where}: got {_shown(value)}, expected a mapping")
        return {str(key): read_value(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return read_record(hint, value, where=where)  # type: ignore[arg-type]
    return _convert_scalar(hint, value, where)


def _convert_union(arguments: tuple[Any, ...], value: object, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    choices = [a for a in arguments if a is not type(None)]
    if len(choices) == 1:
        return read_value(choices[0], value, where)
    errors = []
    for choice in choices:
        try:
            return read_value(choice, value, where)
        except UserError as error:
            errors.append(str(error))
    raise UserError(" / ".join(errors))


def _convert_scalar(hint: Any, value: object, where: str) -> Any:
    """`value` as a text, a bool, a whole number of 64 bits, or a finite float."""
    if hint is Any:
        return value
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    if hint is float and number is not None and -sys.float_info.max <= number <= sys.float_info.max:
        return float(number)
    if hint is int and isinstance(number, int) and -(2**63) <= number < 2**63:
        return number
    if hint not in (int, float) and isinstance(value, hint) and not (isinstance(value, bool) and hint is not bool):
        return value
    limits = {int: " of 64 bits", float: " that is finite"} if number is not None else {}
    raise UserError(f"{where}: got {_shown(value)}, expected {hint.__name__}{limits.get(hint, '')}")
