"""Reading one JSON object a line, for topics and collections; every fault is a ValueError with its text."""

from __future__ import annotations

import json
from collections.abc import Sequence


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
