"""What other people's files may say: texts that are safe in a report, a spreadsheet, a picture and a path; JSON."""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sae_research.errors import UserError

LONGEST = 200
"""Letters of a name; the longest of SAELens' registry, release and id together, has 98."""
_NAME = re.compile(r"\w[\w .,:/+=()#@~%-]*")
_SENTENCE = re.compile(r"[^\W_](?:(?!\]\()[^<>])*")
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_DEEPEST = 50
_LONGEST_MESSAGE = 600
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong, _SHORT.maxother = 2, 60, 60, 60


def plain_name(value: object, where: str) -> str:
    """`value`, a name of letters, digits and what names of models, SAEs and hooks have beside them.

    Markup, control and direction characters, quotes, formulas of spreadsheets and of TeX are none of that.
    """
    return _matching(_NAME, value, where, "letters, digits, spaces and . , : / + = ( ) # @ ~ % - _, a letter first")


def plain_sentence(value: object, where: str) -> str:
    """`value`, a text without markup and control characters that starts with a letter or a digit."""
    return _matching(_SENTENCE, value, where, "a text without <, >, links and control characters", longest=5 * LONGEST)


def identifier(value: object, where: str) -> str:
    """`value`, a name that files can have too: letters, digits and underscores of ASCII."""
    return _matching(_IDENTIFIER, value, where, "letters, digits and underscores")


def _matching(pattern: re.Pattern[str], value: object, where: str, expected: str, *, longest: int = LONGEST) -> str:
    if not isinstance(value, str):
        raise UserError(f"{where} is {shown(value)}, expected a text")
    if len(value) > longest:
        raise UserError(f"{where} is {shown(value)}, {len(value)} letters long, expected at most {longest}")
    if not (pattern.fullmatch(value) and value.isprintable()):
        raise UserError(f"{where} is {shown(value)}, expected {expected}")
    return value


def shown(value: object) -> str:
    """`value` for a message: short, whatever it holds, and without control characters."""
    return _SHORT.repr(value)


def shortened(text: str) -> str:
    """`text`, its middle left out where it is longer than a message may be."""
    return (
        text
        if len(text) <= _LONGEST_MESSAGE
        else f"{text[: _LONGEST_MESSAGE // 2]} ... {text[-_LONGEST_MESSAGE // 2 :]}"
    )


def read_json_object(path: Path, *, remedy: str) -> dict[str, Any]:
    """The JSON object in the file at `path`; a UserError that ends with `remedy` where it holds none."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {remedy}") from None
    except RecursionError:
        raise UserError(f"{path} is nested too deeply; {remedy}") from None
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON ({error}); {remedy}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} holds a JSON {type(content).__name__}, expected an object; {remedy}")
    if _depth(content) > _DEEPEST:
        raise UserError(f"{path} is nested more than {_DEEPEST} deep; {remedy}")
    if "\\ud" in text.lower() and not _is_unicode(content):
        raise UserError(f"{path} holds half of a surrogate pair (\\ud800 to \\udfff), which is no text; {remedy}")
    return content


def _depth(content: dict[str, Any]) -> int:
    """How many lists and objects stand within one another."""
    depth = 0
    level: list[dict[str, Any] | list[Any]] = [content]
    while level and depth <= _DEEPEST:
        inner = (v for node in level for v in (node.values() if isinstance(node, dict) else node))
        depth, level = depth + 1, [value for value in inner if isinstance(value, dict | list)]
    return depth


def _is_unicode(content: object) -> bool:
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def reading(path: Path, *, remedy: str) -> Iterator[None]:
    """The last net under the readers of users' files: any other error than theirs is one that names `path`.

    What was raised stays its cause, which SAE_DEBUG=1 shows.
    """
    try:
        yield
    except (UserError, NameError, ImportError, AssertionError):
        # The last three are faults of ours, whatever the file holds.
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0][:LONGEST]
        raise UserError(f"{path} cannot be read ({type(error).__name__}: {reason}); {remedy}") from error
