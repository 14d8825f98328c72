"""Runs: retrieved documents by query, in the columns of TREC or of MS MARCO.

Plain TREC runs are parsed by Arrow, millions of lines a second. All others (several blanks between columns, letters
beyond ASCII, MS MARCO's columns, any fault) are read line by line, so that faults are named with their lines.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from reranker_kd.errors import FormatError, InputError
from reranker_kd.formats.files import GZIP_MAGIC, atomic_writer, read_lines
from reranker_kd.formats.parsing import Report, identifier_fault, look_ahead, parse_integer, raise_fault
from reranker_kd.types import FloatArray, Run, in_rank_order, in_single_precision, rank_order, rank_order_of_lines

OUTPUT_FORMATS = ("trec", "msmarco")

_COLUMNS = ["qid", "Q0", "docid", "rank", "score", "tag"]
_TREC_COLUMNS = " ".join(_COLUMNS)
_MSMARCO_COLUMNS = "qid TAB docid TAB rank"
_MOST_DIGITS = 10
# Empty, or with a blank or another control character.
_NO_WORD = r"^$|[\x00-\x20]"
_BLOCK_BYTES = 1 << 22

# What still rounds to a finite single: half a step above the largest.
_SINGLE_LIMIT = float(np.finfo(np.float32).max) * (1 + 2.0**-25)


@dataclass(frozen=True)
class RunColumns:
    """A run of q queries and n lines as columns, the lines of a query together and in rank order.

    :param qids: in the order of the file, shape (q,)
    :param starts: the first line of each query, then n, shape (q + 1,)
    :param documents: the docid of each line, shape (n,)
    :param scores: shape (n,), float64
    """

    qids: tuple[str, ...]
    starts: npt.NDArray[np.int64]
    documents: pa.StringArray
    scores: npt.NDArray[np.float64]

    @cached_property
    def places(self) -> dict[str, int]:
        """Place of each qid in :attr:`qids`."""
        return {qid: place for place, qid in enumerate(self.qids)}

    def lines(self, qid: str, depth: int | None = None) -> range:
        """Return the lines of a query; none where the run lacks it."""
        place = self.places.get(qid)
        if place is None:
            return range(0)
        start, end = self.starts[place : place + 2].tolist()
        return range(start, end)[:depth]

    def top(self, qid: str, depth: int | None = None) -> dict[str, float]:
        """Return docid -> score of a query, best first; nothing where the run lacks it."""
        found = self.lines(qid, depth)
        lines = slice(found.start, found.stop)
        return dict(zip(self.documents[lines].to_pylist(), self.scores[lines].tolist(), strict=True))


def read_run(path: str | Path, report: Report = raise_fault) -> Run:
    """Return a run, qid -> docid -> score, the documents of each query in rank order.

    Two formats, detected by the number of columns: TREC (``qid Q0 docid rank score tag``, whitespace between,
    any word for Q0; the order is that of the scores, the rank is only checked to be an integer) and MS MARCO
    (``qid TAB docid TAB rank``, rank from 1; the score becomes 1 / rank). The lines of a query need not follow
    one another.

    :param path: a UTF-8 text file, gzipped or not
    :param report: called with each fault; by default the first is raised
    :raises InputError: the file cannot be read
    :raises FormatError: a wrong number of columns, a score that is not a finite number in single precision, a
        rank that is no integer, a document twice in a query, no documents
    """
    if (columns := _read_plain(Path(path))) is not None:
        return {qid: columns.top(qid) for qid in columns.qids}
    return {qid: in_rank_order(documents) for qid, documents in _read_lines(path, report).items()}


def read_run_columns(path: str | Path) -> RunColumns:
    """Return what :func:`read_run` reads, and refuses, as columns; the fast way for large runs."""
    columns = _read_plain(Path(path))
    return columns_of_run(_read_lines(path, raise_fault)) if columns is None else columns


def columns_of_run(run: Run) -> RunColumns:
    """Return the columns of a run, its documents in any order."""
    lengths = [len(documents) for documents in run.values()]
    return _in_columns(
        tuple(run),
        np.repeat(np.arange(len(run)), lengths),
        pa.array([docid for documents in run.values() for docid in documents], pa.string()),
        np.array([score for documents in run.values() for score in documents.values()], dtype=np.float64),
    )


def _in_columns(
    qids: tuple[str, ...], query: npt.NDArray[np.integer], documents: pa.StringArray, scores: npt.NDArray[np.float64]
) -> RunColumns:
    order = rank_order_of_lines(query, documents, scores)
    starts = np.append(0, np.bincount(query, minlength=len(qids)).cumsum())
    return RunColumns(qids, starts, documents.take(order), scores[order.to_numpy()])


def _read_plain(path: Path) -> RunColumns | None:
    """Return a run in TREC's columns of ASCII words, one blank between; None for any other file."""
    # A pipe cannot be read again line by line.
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.decompress(content)
        # To Arrow, a lone carriage return ends a line.
        if not content.isascii() or b"\r" in content:
            return None
        table = _parse(content).unify_dictionaries().combine_chunks()
    except (OSError, EOFError, zlib.error, pa.ArrowInvalid):
        return None
    queries, words = table["qid"].combine_chunks(), table["docid"].combine_chunks()
    named = pa.concat_arrays([queries.dictionary, *(table[name].chunk(0).dictionary for name in ("Q0", "tag"))])
    scores = table["score"].to_numpy()
    if (
        pc.any(pc.match_substring_regex(pa.chunked_array([named, words]), _NO_WORD)).as_py()
        or not pc.all(pc.ascii_is_decimal(table["rank"])).as_py()
        or not (np.abs(scores) < _SINGLE_LIMIT).all()
        or _repeats(queries.indices, words)
    ):
        return None
    return _in_columns(tuple(queries.dictionary.to_pylist()), queries.indices.to_numpy(), words, scores)


def _parse(content: bytes) -> pa.Table:
    """Return the six columns; Arrow raises ``ArrowInvalid`` for another number of them, or what is no number."""
    first = content[: content.find(b"\n")]
    repeated = pa.dictionary(pa.int32(), pa.string())
    types = dict.fromkeys(_COLUMNS, repeated) | {"docid": pa.string(), "rank": pa.string(), "score": pa.float64()}
    return csv.read_csv(
        pa.BufferReader(content),
        read_options=csv.ReadOptions(column_names=_COLUMNS, block_size=_BLOCK_BYTES),
        parse_options=csv.ParseOptions(delimiter=" " if b" " in first else "\t", quote_char=False),
        convert_options=csv.ConvertOptions(column_types=types, null_values=[]),
    )


def _repeats(query: pa.Int32Array, docids: pa.StringArray) -> bool:
    """Return whether a query has a document twice."""
    lines = pa.table({"query": query, "docid": docids})
    lines = lines.take(pc.sort_indices(lines, sort_keys=[("query", "ascending"), ("docid", "ascending")]))
    same = [pc.equal(lines[name][1:], lines[name][:-1]) for name in lines.column_names]
    return bool(pc.any(pc.and_(*same)).as_py())


def _read_lines(path: str | Path, report: Report) -> Run:
    run: Run = {}
    with closing(read_lines(path, report)) as read:
        first, lines = look_ahead(read)
        columns = next((count for line in first if (count := len(line.split())) in (3, 6)), 6)
        for number, line in lines:
            words = line.split()
            if not words:
                continue
            if fault := _trec_fault(words) if columns == 6 else _msmarco_fault(line, words):
                report(FormatError(path, number, fault))
                continue
            # The docid is the third of 6 columns, the second of 3.
            qid, docid = words[0], words[columns // 3]
            documents = run.setdefault(qid, {})
            if docid in documents:
                report(FormatError(path, number, f"document {docid} is listed twice for query {qid}; remove one"))
            else:
                documents[docid] = float(words[4]) if columns == 6 else 1 / int(words[2])
    if not run:
        report(FormatError(path, None, f"no documents; expected lines of {_TREC_COLUMNS} or {_MSMARCO_COLUMNS}"))
    return run


def _trec_fault(columns: list[str]) -> str | None:
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


def _msmarco_fault(line: str, words: list[str]) -> str | None:
    columns = line.split("\t")
    # Equal only where each column is one word.
    if columns != words or len(words) != 3:
        return f"expected 3 columns, {_MSMARCO_COLUMNS}, got {len(columns)} with {len(words)} words"
    rank = words[2]
    if not rank.isdecimal() or len(rank) >= _MOST_DIGITS or int(rank) < 1:
        return f"expected an integer from 1 as the rank, got {rank!r}"
    return None


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
        finite = np.isfinite(in_single_precision(list(documents.values())))
        if not finite.all():
            docid = list(documents)[int(finite.argmin())]
            score = documents[docid]
            raise InputError(f"query {qid}, document {docid}: the score {score} is not finite in single precision")


def _refuse_broken_words(name: str, identifiers: list[str]) -> None:
    # Equal only where each identifier is one word.
    if " ".join(identifiers).split() != identifiers:
        raise InputError(next(filter(None, (identifier_fault(name, identifier) for identifier in identifiers))))


def _lines_of(qid: str, documents: dict[str, float], tag: str, output_format: str, hits: int | None) -> Iterator[str]:
    docids = list(documents)
    singles = in_single_precision(list(documents.values()))
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
