"""Runs as columns: what :func:`reranker_kd.formats.runs.read_run` reads, for runs of millions of lines.

Clean TREC runs are parsed by Arrow. Whatever is not plain (several blanks between columns, letters beyond ASCII, MS
MARCO columns, any fault) is left to ``read_run``, so that both readers take and refuse the same files in the same
words.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from reranker_kd.formats.runs import read_run
from reranker_kd.types import FloatArray, Run

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]

_COLUMNS = ["qid", "Q0", "docid", "rank", "score", "tag"]
_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK_BYTES = 1 << 22
_PIECE = 1 << 18

# An odd constant that spreads bits (2**64 over the golden ratio), and what keeps the first 0 to 8 bytes of a word.
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_FIRST_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], dtype=np.uint64)


@dataclass(frozen=True)
class RunColumns:
    """A run of q queries and n lines, the lines of a query together and in rank order.

    :param qids: in the order of the file, shape (q,)
    :param starts: the first line of each query, then n, shape (q + 1,)
    :param documents: the docid of each line, shape (n,)
    :param scores: shape (n,), descending within a query
    """

    qids: tuple[str, ...]
    starts: Int64Array
    documents: pa.StringArray
    scores: FloatArray

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

    def docids(self, qid: str, depth: int | None = None) -> list[str]:
        """Return the docids of a query, best first; none where the run lacks it."""
        lines = self.lines(qid, depth)
        return self.documents[lines.start : lines.stop].to_pylist()

    def as_run(self) -> Run:
        """Return the same run as :func:`reranker_kd.formats.runs.read_run` returns it, in single precision."""
        docids, scores, starts = self.documents.to_pylist(), self.scores.tolist(), self.starts.tolist()
        return {
            qid: dict(zip(docids[start:end], scores[start:end], strict=True))
            for qid, start, end in zip(self.qids, starts, starts[1:], strict=False)
        }


def read_run_columns(path: str | Path) -> RunColumns:
    """Return a run, TREC or MS MARCO, as columns.

    :param path: a UTF-8 text file, gzipped or not
    :raises InputError: the file cannot be read
    :raises FormatError: what :func:`reranker_kd.formats.runs.read_run` refuses
    """
    return _read_clean(Path(path)) or columns_of_run(read_run(path))


def columns_of_run(run: Run) -> RunColumns:
    """Return the columns of a run whose documents are in rank order."""
    docids = pa.array([docid for documents in run.values() for docid in documents], pa.string())
    scores = np.array([score for documents in run.values() for score in documents.values()], dtype=np.float32)
    starts = np.cumsum([0, *map(len, run.values())], dtype=np.int64)
    return RunColumns(tuple(run), starts, docids, scores)


def _read_clean(path: Path) -> RunColumns | None:
    # A pipe cannot be read again by the other reader.
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP_MAGIC):
            content = gzip.decompress(content)
        delimiter = _delimiter(content)
        return None if delimiter is None else _columns(_parse(content, delimiter))
    except (OSError, EOFError, zlib.error, pa.ArrowInvalid):
        return None


def _delimiter(content: bytes) -> str | None:
    """Return what alone separates words and never stands twice; None where the text is not so plain."""
    if not content.isascii() or not content.endswith(b"\n"):
        return None
    delimiter = " " if b" " in content[: content.index(b"\n")] else "\t"
    characters = np.frombuffer(content, dtype=np.uint8)
    # As if a line had ended before the first.
    after_blank = True
    # By pieces that stay in the processor's cache.
    for start in range(0, len(characters), _PIECE):
        piece = characters[start : start + _PIECE]
        # The blank, and all control characters.
        blank = piece <= ord(" ")
        known = np.count_nonzero(piece == ord(delimiter)) + np.count_nonzero(piece == ord("\n"))
        if np.count_nonzero(blank) != known or (blank[1:] & blank[:-1]).any() or (after_blank and blank[0]):
            return None
        after_blank = bool(blank[-1])
    return delimiter


def _parse(content: bytes, delimiter: str) -> pa.Table:
    """Return qid, docid, rank and score; Arrow raises ``ArrowInvalid`` for other than 6 columns, or no number."""
    return csv.read_csv(
        pa.BufferReader(content),
        read_options=csv.ReadOptions(column_names=_COLUMNS, block_size=_BLOCK_BYTES),
        parse_options=csv.ParseOptions(delimiter=delimiter, quote_char=False),
        convert_options=csv.ConvertOptions(
            include_columns=["qid", "docid", "rank", "score"],
            column_types={
                "qid": pa.dictionary(pa.int32(), pa.string()),
                "docid": pa.string(),
                "rank": pa.string(),
                "score": pa.float64(),
            },
            null_values=[],
        ),
    )


def _columns(table: pa.Table) -> RunColumns | None:
    with np.errstate(over="ignore"):
        scores = table["score"].to_numpy().astype(np.float32)
    if not np.isfinite(scores).all() or not pc.all(pc.ascii_is_decimal(table["rank"])).as_py():
        return None
    queries = table["qid"].unify_dictionaries().combine_chunks()
    documents = table["docid"].combine_chunks()
    query = queries.indices.to_numpy()
    if _may_repeat(query, documents):
        return None
    order = _rank_order(query, scores, documents)
    starts = np.append(0, np.bincount(query, minlength=len(queries.dictionary)).cumsum())
    if order is not None:
        documents, scores = documents.take(pa.array(order)), scores[order]
    return RunColumns(tuple(queries.dictionary.to_pylist()), starts, documents, scores)


def _may_repeat(query: Int32Array, documents: pa.StringArray) -> bool:
    """Return whether a query may have a document twice: surely where it has, hardly ever where it has not."""
    hashes = _hashes(documents) + query.astype(np.uint64) * _SPREAD
    hashes.sort()
    return bool((hashes[1:] == hashes[:-1]).any())


def _hashes(texts: pa.StringArray) -> npt.NDArray[np.uint64]:
    """Return a hash of each text (n,), the same for the same; Arrow has none."""
    _, offsets, characters = texts.buffers()
    ends = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    padded = np.frombuffer(characters.to_pybytes() + bytes(8), dtype=np.uint8)
    # A word of 8 bytes from each byte on.
    words = np.ndarray((len(padded) - 7,), dtype="<u8", buffer=padded, strides=(1,))
    lengths = np.diff(ends)
    hashes = lengths.astype(np.uint64)
    for start in range(0, int(lengths.max()), 8):
        kept = _FIRST_BYTES[np.clip(lengths - start, 0, 8)]
        hashes ^= words[np.minimum(ends[:-1] + start, len(words) - 1)] & kept
        hashes *= _SPREAD
        hashes ^= hashes >> np.uint64(32)
    return hashes


def _rank_order(query: Int32Array, scores: FloatArray, documents: pa.StringArray) -> npt.NDArray[np.intp] | None:
    """Return the lines by query and, as :func:`reranker_kd.types.rank_order` has them, by rank; None if they are."""
    order = np.argsort(query, kind="stable")
    sorted_query, sorted_scores = query[order], scores[order]
    same = sorted_query[1:] == sorted_query[:-1]
    wrong = same & (sorted_scores[1:] >= sorted_scores[:-1])
    if not wrong.any():
        return None if (query[1:] >= query[:-1]).all() else order
    # Most queries of most runs are in order, and sorting is slow.
    unsorted = np.zeros(int(query.max()) + 1, dtype=bool)
    unsorted[sorted_query[1:][wrong]] = True
    places = np.flatnonzero(unsorted[sorted_query])
    lines = order[places]
    lines = lines[np.lexsort((-scores[lines], query[lines]))]
    tied = (query[lines[1:]] == query[lines[:-1]]) & (scores[lines[1:]] == scores[lines[:-1]])
    if tied.any():
        alphabetical = np.zeros(len(lines), dtype=np.int64)
        in_tie = np.append(tied, False) | np.append(False, tied)
        names = documents.take(pa.array(lines[in_tie]))
        alphabetical[in_tie] = pc.rank(names, tiebreaker="dense").to_numpy()
        lines = lines[np.lexsort((-alphabetical, -scores[lines], query[lines]))]
    order[places] = lines
    return order
