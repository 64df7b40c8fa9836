"""Whether a generated text states the wanted value, by the rules of RAVEL in SAEBench 0.6.0."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# Offsets of time zones change over the year; the eval uses those of this day, wherever and whenever it runs.
_DAY = datetime(2025, 1, 15)
_DEGREES = 2
# Prompts and values for which more than the beginning of the completion counts.
_PROMPTS = ("coord", "latitude", "longitude", "UTC")
_VALUES = ("United States", "United Kingdom", "South Korea", "North America", "Mandarin")


def states_value(prompt: str, value: str, completion: str) -> bool:
    """Whether `completion`, a model's text after `prompt`, begins with `value` (or with as much of it as fits).

    Case, outer spaces and everything after a double quote are ignored. Some values have more than one name; coordinates
    may be two degrees off.
    """
    said, wanted = _said(completion), value.lower()
    if not value or not said:
        return False
    if any(word in prompt for word in ("coord", "latitude", "longitude")):
        return _is_near(wanted, said)
    if "United States" in value or "United Kingdom" in value:
        named = completion.strip().replace("the ", "")
        return named.startswith((value.strip().replace("the ", ""), "England"))
    if "South Korea" in value:
        return said.startswith(("korea", "south korea"))
    if "North America" in value:
        return wanted in said or said == "na" or said.startswith("america")
    if "Mandarin" in value:
        return said in wanted or said == "chinese"
    if "language" in prompt and "," in wanted:
        return any(name in said for name in wanted.split(","))
    if "UTC" in prompt and "/" in wanted:
        return _is_offset(value, said)
    return said.startswith(wanted) if len(wanted) < len(said) else wanted.startswith(said)


def settled(prompt: str, value: str, beginning: str) -> bool | None:
    """What `states_value` returns for every completion that starts with `beginning`; None if that is still open."""
    if not value or any(word in prompt for word in _PROMPTS) or any(name in value for name in _VALUES):
        return None
    said, wanted = _said(beginning), value.lower()
    if not said or "\ufffd" in said or ("," in value and "language" in prompt):
        return None
    if said.startswith(wanted):
        return True
    return None if wanted.startswith(said) else False


def _said(completion: str) -> str:
    return completion.split('"')[0].strip(' "').replace("\\/", "/").lower()


def _is_near(wanted: str, said: str) -> bool:
    digits = re.search(r"\d+", said)
    try:
        return digits is not None and abs(float(wanted.strip("-−")) - float(digits[0])) <= _DEGREES
    except ValueError:
        return False


def _is_offset(zone: str, said: str) -> bool:
    """Whether `said` begins with the zone's offset, written `+1`, `+01` or `-5:30`; summer time may add an hour."""
    offset = _offset(zone)
    if offset is None:
        return False
    hours = offset.split(":")[0]
    if said.startswith(hours) or (re.search(r"[+\-]0\d", said) and said.replace("0", "", 1).startswith(hours)):
        return True
    if _has_summer_time(offset, zone) and _is_an_hour_off(offset, said):
        return True
    signed = re.search(r"[+\-](\d+)", said)
    return signed is not None and int(signed[1]) > 11 and str(24 - int(signed[1])) in offset


def _offset(zone: str) -> str | None:
    try:
        offset = ZoneInfo(zone).utcoffset(_DAY)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
    seconds = (offset or timedelta()).seconds
    east = seconds < 12 * 3600
    size = seconds if east else 24 * 3600 - seconds
    written = str(timedelta(seconds=size)).rsplit(":", 1)[0]
    shown = written[1:] if written.startswith("0") and size >= 1800 else written
    return f"{'+' if east else '-'}{shown}"


def _has_summer_time(offset: str, zone: str) -> bool:
    american = re.search(r"\-[5-8]", offset) and zone.startswith("America")
    return bool(american or (re.search(r"\+[0-3]", offset) and zone.startswith(("Europe", "Africa"))))


def _is_an_hour_off(offset: str, said: str) -> bool:
    stated, expected = (re.search(r"[+\-]?(\d\d?):\d+", text) for text in (said, offset))
    return stated is not None and expected is not None and abs(int(stated[1]) - int(expected[1])) <= 1
