"""Validation: every fault of a run, qrels, topics or a collection, each with its line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reranker_kd.errors import FormatError, InputError
from reranker_kd.formats.collections import read_numbered_documents
from reranker_kd.formats.files import read_lines
from reranker_kd.formats.json_lines import parse_object
from reranker_kd.formats.parsing import Report, look_ahead, parse_integer
from reranker_kd.formats.qrels import BEIR_HEADER, read_qrels
from reranker_kd.formats.runs import read_run
from reranker_kd.formats.topics import read_topics


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong at one place: the file, its line from 1 (None where no line can be named), and the fault."""

    path: str
    line: int | None
    fault: str


@dataclass(frozen=True, slots=True)
class Validation:
    """What a file holds and every fault in it.

    ``entries`` counts what is sound: documents retrieved (run), judgments (qrels), topics, or documents.
    """

    path: str
    kind: str
    entries: int
    faults: tuple[Fault, ...]


def validate_file(path: str | Path, kind: str | None = None) -> Validation:
    """Return every fault of a file, ordered by line.

    Faults are those that the readers raise, and for collections also texts that are blank, which the readers
    let pass.

    :param path: a file, gzipped or not; for collections also a folder
    :param kind: ``run``, ``qrels``, ``topics`` or ``collection``; None tells it (see :func:`kind_of_file`)
    :raises InputError: the file cannot be read, or its kind is unknown or cannot be told
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"unknown kind {kind!r}; expected one of {', '.join(KINDS)}")
    kind = kind or kind_of_file(path)
    found: list[FormatError] = []
    entries = KINDS[kind](path, found.append)
    found.sort(key=lambda error: (error.path, error.line is None, error.line or 0))
    return Validation(str(path), kind, entries, tuple(Fault(error.path, error.line, error.fault) for error in found))


def kind_of_file(path: str | Path) -> str:
    """Return the kind of a file, told by the first line that could belong to one of the kinds.

    A folder is a collection; ``<`` starts topics; JSON lines are told by their keys; 6 columns with an integer
    as the fourth are a run, as are 3 with tabs and an integer at the end; 4 with an integer at the end are
    qrels, as is BEIR's header. Two columns with a TAB, and JSON lines with nothing but an identifier and
    ``text``, may be topics or a collection: there the file's name decides, by the words of
    :data:`NAMES_OF_TOPICS` and :data:`NAMES_OF_COLLECTIONS`.

    :raises InputError: the file cannot be read, or its kind cannot be told
    """
    if Path(path).is_dir():
        return "collection"
    first, _ = look_ahead(read_lines(path, _pass_over))
    kinds = next((kinds for line in first if (kinds := _kinds_of_line(line))), set())
    name = Path(path).name.lower()
    if len(kinds) > 1 and any(word in name for word in NAMES_OF_TOPICS):
        kinds.discard("collection")
    if len(kinds) > 1 and any(word in name for word in NAMES_OF_COLLECTIONS):
        kinds.discard("topics")
    if len(kinds) == 1:
        return kinds.pop()
    fault = f"may be {' or '.join(sorted(kinds))}" if kinds else f"cannot be told as {', '.join(KINDS)}"
    raise InputError(f"{path}: {fault}; say which with --kind")


def _pass_over(fault: FormatError) -> None:
    """Leave the fault to the reader of the kind that is found."""


def _kinds_of_line(line: str) -> set[str]:
    start = line.lstrip()[:1]
    if start == "<":
        return {"topics"}
    if start == "{":
        return _kinds_of_json(line)
    words = line.split()
    columns = line.split("\t")
    if [word.lower() for word in words] == BEIR_HEADER:
        return {"qrels"}
    if len(columns) == 2:
        return {"topics", "collection"}
    if len(words) == 6 and parse_integer(words[3]) is not None:
        return {"run"}
    if len(words) == 4 and parse_integer(words[3]) is not None:
        return {"qrels"}
    if len(words) == 3 and columns == words and parse_integer(words[2]) is not None:
        return {"run"}
    return set()


def _kinds_of_json(line: str) -> set[str]:
    try:
        keys = parse_object(line).keys()
    except ValueError:
        return set()
    if "contents" in keys or "docid" in keys or {"title", "text"} <= keys:
        return {"collection"}
    if "qid" in keys or "query" in keys or "title" in keys:
        return {"topics"}
    return {"topics", "collection"} if "text" in keys else set()


def _count_run(path: str | Path, report: Report) -> int:
    return sum(map(len, read_run(path, report).values()))


def _count_qrels(path: str | Path, report: Report) -> int:
    return sum(map(len, read_qrels(path, report).values()))


def _count_topics(path: str | Path, report: Report) -> int:
    return len(read_topics(path, report=report))


def _count_documents(path: str | Path, report: Report) -> int:
    count = 0
    for file, line, document in read_numbered_documents(path, report):
        if document.text and not document.text.isspace():
            count += 1
        else:
            report(FormatError(file, line, f"document {document.docid} has no text; write one or remove it"))
    return count


KINDS: dict[str, Callable[[str | Path, Report], int]] = {
    "run": _count_run,
    "qrels": _count_qrels,
    "topics": _count_topics,
    "collection": _count_documents,
}
"""What reads each kind: path, report -> number of sound entries."""

NAMES_OF_TOPICS = ("topic", "quer")
NAMES_OF_COLLECTIONS = ("collection", "corpus", "docs", "passages")
