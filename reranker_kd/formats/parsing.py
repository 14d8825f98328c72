"""What the parsers share: how a fault is reported, a look at the first lines, integers, identifiers and JSON lines.

Every reader of this package takes ``report``, which is called with each fault. The default raises it, so that
reading stops at the first; :mod:`reranker_kd.formats.validate` collects them, and the reader carries on with
the next line. So one parser per format both reads and validates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice

from reranker_kd.errors import FormatError

Report = Callable[[FormatError], None]

Lines = Iterator[tuple[int, str]]
"""Line numbers from 1, and lines without their line breaks."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_LOOK_AHEAD = 100


def raise_fault(fault: FormatError) -> None:
    """Raise the fault: the report of a reader that takes nothing but clean files."""
    raise fault


def look_ahead(lines: Lines) -> tuple[list[str], Lines]:
    """Return those of the first 100 lines that are not blank, and all lines as if none had been taken."""
    first = list(islice(lines, _LOOK_AHEAD))
    return [line for _, line in first if line.strip()], chain(first, lines)


def parse_integer(text: str) -> int | None:
    """Return the integer that ``text`` spells, or None; stricter than ``int``, which also takes 1_0 and ١٠."""
    return int(text) if _INTEGER.fullmatch(text) else None


def identifier_fault(name: str, identifier: str) -> str | None:
    """Return what is wrong with a qid or docid, or None: a run has columns, so it must be one word."""
    if not identifier:
        return f"the {name} is empty; expected a word"
    if identifier.split() != [identifier]:
        return f"the {name} {identifier!r} has whitespace, which would break the columns of a run; replace it"
    return None


def parse_object(line: str) -> dict[str, object]:
    """Return the JSON object of a line.

    :raises ValueError: it is not JSON, not an object, or holds text that UTF-8 cannot
    """
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"invalid JSON at column {error.colno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"invalid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"expected one JSON object a line, got {_json_type(value)}")
    if "\\ud" in line or "\\uD" in line:
        # json accepts halves of surrogate pairs; tokenizers and writers break on them much later.
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            half = f"\\u{ord(error.object[error.start]):04x}"
            raise ValueError(f"half of a surrogate pair ({half}); write the character in UTF-8") from None
    return value


def text_under(value: dict[str, object], keys: Sequence[str], types: tuple[type, ...] = (str,)) -> str:
    """Return the text under the first of ``keys`` that the object has.

    :raises ValueError: it has none of the keys, or the type is wrong
    """
    key = next((key for key in keys if key in value), None)
    if key is None:
        raise ValueError(f"expected the key {' or '.join(keys)}, got {', '.join(value) or 'no keys'}")
    if type(value[key]) not in types:
        raise ValueError(f"expected a string under {key}, got {_json_type(value[key])}")
    return str(value[key])


def identifier_under(value: dict[str, object], keys: Sequence[str]) -> str:
    """Return the qid or docid under the first of ``keys``, as :func:`text_under`; an integer is taken as text."""
    return text_under(value, keys, (str, int))


def _json_type(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
