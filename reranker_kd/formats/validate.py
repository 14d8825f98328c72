"""Validation: every fault of a run, qrels, topics or a collection, each with its line; a track's rules for runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reranker_kd.errors import FormatError, InputError
from reranker_kd.formats.collections import read_numbered_documents
from reranker_kd.formats.files import read_lines
from reranker_kd.formats.parsing import Report, look_ahead, parse_integer, parse_object
from reranker_kd.formats.qrels import BEIR_HEADER, read_qrels
from reranker_kd.formats.runs import read_run
from reranker_kd.formats.topics import read_topics

KnownDocids = Callable[[Collection[str]], Collection[str]]
"""From docids to those of them that the collection has."""

NAMES_OF_TOPICS = ("topic", "quer")
NAMES_OF_COLLECTIONS = ("collection", "corpus", "docs", "passages")

_TAG_CHARACTERS = re.compile(r"[A-Za-z0-9._-]+")
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Validation:
    """What a file holds and every fault in it.

    ``entries`` counts what is sound: documents retrieved (run), judgments (qrels), topics, or documents.
    """

    path: str
    kind: str
    entries: int
    faults: tuple[FormatError, ...]


def validate_file(path: str | Path, kind: str | None = None) -> Validation:
    """Return every fault of a file, ordered by line.

    Faults are those that the readers raise, and for collections also texts that are blank, which the readers
    let pass.

    :param path: a file, gzipped or not; for collections also a folder
    :param kind: ``run``, ``qrels``, ``topics`` or ``collection``; None detects it (see :func:`kind_of_file`)
    :raises InputError: the file cannot be read, or its kind is unknown or cannot be detected
    """
    if kind is not None and kind not in KINDS:
        raise InputError(f"unknown kind {kind!r}; expected one of {', '.join(KINDS)}")
    kind = kind or kind_of_file(path)
    found: list[FormatError] = []
    entries = KINDS[kind](path, found.append)
    found.sort(key=lambda error: (error.path, error.line is None, error.line or 0))
    return Validation(str(path), kind, entries, tuple(found))


def kind_of_file(path: str | Path) -> str:
    """Return the kind of a file, detected from the first line that could belong to one of the kinds.

    A folder is a collection; ``<`` starts topics; JSON lines go by their keys; 6 columns with an integer
    as the fourth are a run, as are 3 with tabs and an integer at the end; 4 with an integer at the end are
    qrels, as is BEIR's header. Two columns with a TAB, and JSON lines with nothing but an identifier and
    ``text``, may be topics or a collection: there the file's name decides, by the words of
    :data:`NAMES_OF_TOPICS` and :data:`NAMES_OF_COLLECTIONS`.

    :raises InputError: the file cannot be read, or its kind cannot be detected
    """
    if Path(path).is_dir():
        return "collection"
    first, _ = look_ahead(read_lines(path, lambda _: None))
    kinds = next((kinds for line in first if (kinds := _kinds_of_line(line))), set())
    name = Path(path).name.lower()
    if len(kinds) > 1 and any(word in name for word in NAMES_OF_TOPICS):
        kinds.discard("collection")
    if len(kinds) > 1 and any(word in name for word in NAMES_OF_COLLECTIONS):
        kinds.discard("topics")
    if len(kinds) == 1:
        return kinds.pop()
    fault = f"may be {' or '.join(sorted(kinds))}" if kinds else f"cannot be detected as {', '.join(KINDS)}"
    raise InputError(f"{path}: {fault}; say which with --kind")


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
    # Which column has to be an integer.
    place, kind = {6: (3, "run"), 4: (3, "qrels"), 3: (2, "run")}.get(len(words), (None, ""))
    if place is None or parse_integer(words[place]) is None or (len(words) == 3 and columns != words):
        return set()
    return {kind}


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


def _count_documents(path: str | Path, report: Report) -> int:
    count = 0
    for file, line, document in read_numbered_documents(path, report):
        if document.text and not document.text.isspace():
            count += 1
        else:
            report(FormatError(file, line, f"document {document.docid} has no text; write one or remove it"))
    return count


KINDS: dict[str, Callable[[str | Path, Report], int]] = {
    "run": lambda path, report: sum(map(len, read_run(path, report).values())),
    "qrels": lambda path, report: sum(map(len, read_qrels(path, report).values())),
    "topics": lambda path, report: len(read_topics(path, report=report)),
    "collection": _count_documents,
}
"""What reads each kind: path, report -> number of sound entries."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a track asks of its runs; the defaults are those of most TREC tracks.

    :param depth: documents for a query at most
    :param tag_length: characters of a tag at most; they are ASCII letters, digits, dot, underscore and hyphen
    :param runs: runs of one submission at most; None for any number
    """

    depth: int = 1000
    tag_length: int = 20
    runs: int | None = None


@dataclass(slots=True)
class CheckedRun:
    """A run file as it was found: the tag of its first line, numbers of queries and of lines, and all documents."""

    path: str
    tag: str = ""
    queries: int = 0
    documents: int = 0
    docids: set[str] = field(default_factory=set)


def check_runs(
    paths: Sequence[str | Path],
    topics: Collection[str],
    rules: Rules,
    known_docids: KnownDocids | None = None,
) -> tuple[list[CheckedRun], list[FormatError]]:
    """Return the runs and every fault in them, by file and line.

    Faults are those of :func:`reranker_kd.formats.runs.read_run` (columns, numbers, a document twice in a query),
    lines in MS MARCO's format or without Q0, ranks that are not 1, 2, ... down the scores, more documents than the
    depth, topics that are missing or unknown, tags that are too long, of other characters, several in a file or
    shared by files, docids that do not exist, too many runs.

    :param topics: the qids that each run must have, and no others
    :param known_docids: None where there is no collection to ask
    :raises InputError: a file cannot be read
    """
    faults: list[FormatError] = []
    runs = [_checked(str(path), topics, rules, faults) for path in paths]
    tags: dict[str, str] = {}
    for run in filter(lambda run: run.tag, runs):
        if run.tag in tags:
            faults.append(FormatError(run.path, None, f"the tag {run.tag} is also that of {tags[run.tag]}; rename one"))
        tags.setdefault(run.tag, run.path)
    if rules.runs is not None and len(runs) > rules.runs:
        faults.append(FormatError(runs[rules.runs].path, None, f"is one of {len(runs)} runs; {rules.runs} are allowed"))
    if known_docids is not None:
        known = frozenset(known_docids(frozenset[str]().union(*(run.docids for run in runs))))
        for run in runs:
            if unknown := sorted(run.docids - known):
                faults.append(FormatError(run.path, None, f"the collection lacks documents: {_few(unknown)}"))
    return runs, faults


def _checked(path: str, topics: Collection[str], rules: Rules, faults: list[FormatError]) -> CheckedRun:
    found: list[FormatError] = []
    read_run(path, found.append)
    run = CheckedRun(path)
    # qid -> its lines so far, and the score of the last.
    queries: dict[str, tuple[int, float]] = {}
    # Of each query, each kind of fault is named once.
    named: set[tuple[str, str]] = set()
    for number, line in read_lines(path, lambda _: None):
        words = line.split()
        if len(words) == 3:
            found.append(FormatError(path, number, "is in MS MARCO's format; write the run with --output-format trec"))
            break
        if len(words) != 6 or (rank := parse_integer(words[3])) is None:
            continue
        qid, q0, docid, _, score, tag = words
        if q0 != "Q0" and not run.documents:
            found.append(FormatError(path, number, f"the second column is {q0}; it must be Q0"))
        found += (FormatError(path, number, fault) for fault in _tag_faults(tag, run.tag, rules))
        run.tag = run.tag or tag
        run.docids.add(docid)
        run.documents += 1
        lines, last = queries.get(qid, (0, float("inf")))
        try:
            value = float(score)
        except ValueError:
            value = last
        queries[qid] = lines + 1, value
        for kind, fault in _order_faults(qid, rank, lines + 1, score if value > last else None, rules):
            if (qid, kind) not in named:
                named.add((qid, kind))
                found.append(FormatError(path, number, fault))
    run.queries = len(queries)
    if missing := [qid for qid in topics if qid not in queries]:
        found.append(FormatError(path, None, f"lacks topics: {_few(missing)}"))
    if unknown := [qid for qid in queries if qid not in topics]:
        found.append(FormatError(path, None, f"has queries that the topics lack: {_few(unknown)}"))
    faults += sorted(found, key=lambda error: (error.line is None, error.line or 0))
    return run


def _order_faults(qid: str, rank: int, line: int, rising: str | None, rules: Rules) -> Iterator[tuple[str, str]]:
    if rank != line:
        yield "rank", f"the rank of query {qid} is {rank} where {line} is expected: number the lines from 1"
    if line > rules.depth:
        yield "depth", f"query {qid} has more than {rules.depth} documents: write fewer with --hits"
    if rising is not None:
        yield "score", f"the score of query {qid} rises to {rising}: order the lines by score"


def _tag_faults(tag: str, first: str, rules: Rules) -> Iterator[str]:
    if first:
        if tag != first:
            yield f"the tag {tag} differs from {first}: a run has one tag"
        return
    if len(tag) > rules.tag_length:
        yield f"the tag {tag} has {len(tag)} characters, {rules.tag_length} are allowed: write the run with --tag"
    if not _TAG_CHARACTERS.fullmatch(tag):
        yield f"the tag {tag} has other characters than letters, digits, . _ and -: write the run with --tag"


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
