"""Runs: retrieved documents by query, in the columns of TREC or of MS MARCO."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from reranker_kd.errors import FormatError, InputError
from reranker_kd.formats.files import atomic_writer, read_lines
from reranker_kd.formats.parsing import Lines, Report, identifier_fault, look_ahead, parse_integer, raise_fault
from reranker_kd.types import FloatArray, Run, in_rank_order, rank_order

OUTPUT_FORMATS = ("trec", "msmarco")

_TREC_COLUMNS = "qid Q0 docid rank score tag"
_MSMARCO_COLUMNS = "qid TAB docid TAB rank"
_MOST_DIGITS = 10

# What still rounds to a finite single: half a step above the largest.
_SINGLE_LIMIT = float(np.finfo(np.float32).max) * (1 + 2.0**-25)


def read_run(path: str | Path, report: Report = raise_fault) -> Run:
    """Return a run, qid -> docid -> score, the documents of each query in rank order.

    Two formats, told apart by the number of columns: TREC (``qid Q0 docid rank score tag``, whitespace between,
    any word for Q0; the order is that of the scores, the rank is only checked to be an integer) and MS MARCO
    (``qid TAB docid TAB rank``, rank from 1; the score becomes 1 / rank). The lines of a query need not follow
    one another.

    :param path: a UTF-8 text file, gzipped or not
    :param report: called with each fault; by default the first is raised
    :raises InputError: the file cannot be read
    :raises FormatError: a wrong number of columns, a score that is not a finite number in single precision, a
        rank that is no integer, a document twice in a query, no documents
    """
    with closing(read_lines(path, report)) as read:
        first, lines = look_ahead(read)
        columns = next((count for line in first if (count := len(line.split())) in (3, 6)), 6)
        run = (_parse_trec if columns == 6 else _parse_msmarco)(lines, path, report)
    if not run:
        report(FormatError(path, None, f"no documents; expected lines of {_TREC_COLUMNS} or {_MSMARCO_COLUMNS}"))
    return {qid: in_rank_order(documents) for qid, documents in run.items()}


def _parse_trec(lines: Lines, path: str | Path, report: Report) -> Run:
    # What every line must pass is inlined, and looked up once: runs have millions of lines.
    limit = _SINGLE_LIMIT
    run: Run = {}
    documents: dict[str, float] = {}
    current = None
    for number, line in lines:
        try:
            qid, _, docid, rank, text, _ = line.split()
            score = float(text)
            clean = rank.isdecimal() and -limit < score < limit and text.isascii() and "_" not in text
        except ValueError:
            clean = False
        if not clean:
            if line.isspace() or not line:
                continue
            if fault := _trec_fault(line):
                report(FormatError(path, number, fault))
                continue
        if qid != current:
            current = qid
            documents = run.setdefault(qid, {})
        if docid in documents:
            report(FormatError(path, number, _duplicate_fault(qid, docid)))
        else:
            documents[docid] = score
    return run


def _trec_fault(line: str) -> str | None:
    columns = line.split()
    if len(columns) != 6:
        return f"expected 6 columns, {_TREC_COLUMNS}, got {len(columns)}"
    rank, score = columns[3], columns[4]
    if parse_integer(rank) is None:
        return f"expected an integer as the rank, got {rank!r}"
    try:
        value = float(score)
    except ValueError:
        return f"expected a number as the score, got {score!r}"
    if not math.isfinite(value):
        return f"the score is {score}; expected a finite number"
    if abs(value) >= _SINGLE_LIMIT:
        return f"the score {score} is beyond single precision, in which trec_eval holds scores"
    # float also takes these, and trec_eval reads another number.
    if not score.isascii() or "_" in score:
        return f"expected ASCII digits without underscores as the score, got {score!r}"
    return None


def _parse_msmarco(lines: Lines, path: str | Path, report: Report) -> Run:
    run: Run = {}
    for number, line in lines:
        columns = line.split("\t")
        words = line.split()
        # Equal only where each column is one word.
        if columns != words or len(words) != 3:
            if words:
                fault = f"expected 3 columns, {_MSMARCO_COLUMNS}, got {len(columns)} with {len(words)} words"
                report(FormatError(path, number, fault))
            continue
        qid, docid, rank = words
        position = int(rank) if rank.isdecimal() and len(rank) < _MOST_DIGITS else 0
        if position < 1:
            report(FormatError(path, number, f"expected an integer from 1 as the rank, got {rank!r}"))
            continue
        documents = run.setdefault(qid, {})
        if docid in documents:
            report(FormatError(path, number, _duplicate_fault(qid, docid)))
        else:
            documents[docid] = 1 / position
    return run


def _duplicate_fault(qid: str, docid: str) -> str:
    return f"document {docid} is listed twice for query {qid}; remove one"


def line_of_candidate(path: str | Path, qid: str, docid: str | None) -> int | None:
    """Return the line from 1 on which a run lists a document for a query, or None where it does not.

    :param docid: the document; None takes the query's first line

    :raises InputError: the file cannot be read
    :raises FormatError: a line is not UTF-8
    """
    with closing(read_lines(path)) as lines:
        for number, line in lines:
            words = line.split()
            # The docid is the third of 6 columns, the second of 3.
            if words and words[0] == qid and docid in (None, words[len(words) // 3]):
                return number
    return None


def write_run(
    path: str | Path,
    run: Run,
    *,
    tag: str = "reranker_kd",
    output_format: str = "trec",
    hits: int | None = None,
) -> None:
    """Write a run so that the printed order is the one that trec_eval evaluates.

    The documents of each query are put in rank order and numbered from 1. Scores are printed as the shortest
    decimals that give back the single, and are strictly decreasing in single precision: a score that does not
    decrease is lowered below the one before it, by 1e-7 or by the spacing of singles where that is more.

    :param path: replaced as a whole, or left as it is (see :func:`reranker_kd.formats.files.atomic_writer`)
    :param run: qid -> docid -> score, in any order of documents
    :param tag: the run's name, one word
    :param output_format: ``trec`` or ``msmarco``
    :param hits: how many documents are written for a query, at most; None for all
    :raises InputError: a score that is not finite in single precision, a qid, docid or tag that is empty or more
        than one word, an unknown format, hits below 1; nothing is written then
    :raises OutputError: the file cannot be written
    """
    if output_format not in OUTPUT_FORMATS:
        raise InputError(f"unknown output format {output_format!r}; expected one of {', '.join(OUTPUT_FORMATS)}")
    if hits is not None and hits < 1:
        raise InputError(f"hits is {hits}; expected at least 1")
    _refuse_unwritable(run, tag)
    with atomic_writer(path) as stream:
        for qid, documents in run.items():
            stream.writelines(_lines_of(qid, documents, tag, output_format, hits))


def _refuse_unwritable(run: Run, tag: str) -> None:
    _refuse_broken_words("tag", [tag])
    _refuse_broken_words("qid", list(run))
    for qid, documents in run.items():
        _refuse_broken_words("docid", list(documents))
        finite = np.isfinite(_singles(documents))
        if not finite.all():
            docid = list(documents)[int(finite.argmin())]
            score = documents[docid]
            raise InputError(f"query {qid}, document {docid}: the score {score} is not finite in single precision")


def _refuse_broken_words(name: str, identifiers: list[str]) -> None:
    # Equal only where each identifier is one word.
    if " ".join(identifiers).split() != identifiers:
        raise InputError(next(filter(None, (identifier_fault(name, identifier) for identifier in identifiers))))


def _singles(documents: dict[str, float]) -> FloatArray:
    with np.errstate(over="ignore"):
        return np.fromiter(documents.values(), dtype=np.float32, count=len(documents))


def _lines_of(qid: str, documents: dict[str, float], tag: str, output_format: str, hits: int | None) -> Iterator[str]:
    docids = list(documents)
    singles = _singles(documents)
    order = rank_order(docids, singles)[:hits]
    if output_format == "msmarco":
        return (f"{qid}\t{docids[position]}\t{rank}\n" for rank, position in enumerate(order, 1))
    scores = _decimals(strictly_decreasing(singles[order]))
    return (
        f"{qid} Q0 {docids[position]} {rank} {score} {tag}\n"
        for rank, (position, score) in enumerate(zip(order, scores, strict=True), 1)
    )


def strictly_decreasing(singles: FloatArray) -> FloatArray:
    """Return the scores, each lowered where it is not below the one before it.

    :param singles: float32, shape (n,), in descending order, ties allowed
    :raises InputError: no finite single is left below
    """
    if (singles[1:] < singles[:-1]).all():
        return singles
    lowered = singles.tolist()
    for i in range(1, len(lowered)):
        above = lowered[i - 1]
        if lowered[i] >= above:
            # The spacing of singles is 2**29 times that of doubles, as they have 29 bits fewer.
            below = above - max(math.ulp(above) * 2**29, 1e-7)
            if below <= -_SINGLE_LIMIT:
                raise InputError(f"{len(lowered)} scores tie at {above}, and no finite single is below it")
            lowered[i] = float(np.float32(below))
    return np.asarray(lowered, dtype=np.float32)


def _decimals(singles: FloatArray) -> list[str]:
    texts = [np.format_float_positional(single, unique=True, trim="0") for single in singles]
    read_back = np.array([float(text) for text in texts]).astype(np.float32)
    # Rarely (7.038531e-26 is the known case) the shortest decimal of a single gives its neighbour when it is read
    # as a double and then rounded, as trec_eval does: those get the decimal of the double.
    for i in np.flatnonzero(read_back != singles):
        texts[i] = np.format_float_positional(float(singles[i]), unique=True, trim="0")
    return texts
