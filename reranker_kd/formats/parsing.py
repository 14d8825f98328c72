"""What the parsers share: how a fault is reported, a look at the first lines, integers and identifiers.

Every reader of this package takes ``report``, which is called with each fault. The default raises it, so that
reading stops at the first; :mod:`reranker_kd.formats.validate` collects them, and the reader carries on with
the next line. So one parser per format both reads and validates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
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
