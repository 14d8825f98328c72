"""A track's rules, and every way in which run files break them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reranker_kd.errors import FormatError
from reranker_kd.formats.files import read_lines
from reranker_kd.formats.parsing import Report, parse_integer
from reranker_kd.formats.runs import read_run

KnownDocids = Callable[[Collection[str]], Collection[str]]
"""From docids to those of them that the collection has."""

_TAG_CHARACTERS = re.compile(r"[A-Za-z0-9._-]+")
_NAMED = 3


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
    """A run file as it was found.

    :param path: the file
    :param tag: of its first line; empty where it has none
    :param queries: number of queries
    :param documents: number of lines
    :param docids: all documents, each once
    """

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
    runs = [_checked(str(path), topics, rules, faults.append) for path in paths]
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


def _checked(path: str, topics: Collection[str], rules: Rules, report: Report) -> CheckedRun:
    found: list[FormatError] = []
    read_run(path, found.append)
    run = CheckedRun(path)
    queries: dict[str, _Query] = {}
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
        for fault in _tag_faults(tag, run.tag, rules):
            found.append(FormatError(path, number, fault))
        run.tag = run.tag or tag
        run.docids.add(docid)
        run.documents += 1
        for fault in queries.setdefault(qid, _Query(qid)).faults_of_next(rank, score, rules):
            found.append(FormatError(path, number, fault))
    run.queries = len(queries)
    if missing := [qid for qid in topics if qid not in queries]:
        found.append(FormatError(path, None, f"lacks topics: {_few(missing)}"))
    if unknown := [qid for qid in queries if qid not in topics]:
        found.append(FormatError(path, None, f"has queries that the topics lack: {_few(unknown)}"))
    for error in sorted(found, key=lambda error: (error.line is None, error.line or 0)):
        report(error)
    return run


@dataclass(slots=True)
class _Query:
    """The lines of a query so far, of which each kind of fault is told once."""

    qid: str
    lines: int = 0
    score: float = float("inf")
    told: set[str] = field(default_factory=set)

    def faults_of_next(self, rank: int, score: str, rules: Rules) -> Iterator[str]:
        self.lines += 1
        if rank != self.lines and self._first("rank"):
            yield f"the rank of query {self.qid} is {rank} where {self.lines} is expected: number the lines from 1"
        if self.lines > rules.depth and self._first("depth"):
            yield f"query {self.qid} has more than {rules.depth} documents: write fewer with --hits"
        try:
            value = float(score)
        except ValueError:
            return
        if value > self.score and self._first("score"):
            yield f"the score of query {self.qid} rises to {score}: order the lines by score"
        self.score = value

    def _first(self, kind: str) -> bool:
        is_first = kind not in self.told
        self.told.add(kind)
        return is_first


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
