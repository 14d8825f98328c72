"""The records that every stage passes on, and the one rule by which documents are ordered."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Topics = dict[str, str]
"""Query texts by qid, in the order of the file."""

Qrels = dict[str, dict[str, int]]
"""Relevance grades: qid -> docid -> grade."""

Run = dict[str, dict[str, float]]
"""Retrieved documents: qid -> docid -> score, documents in ranked order (see :func:`rank_order`)."""

TextSource = Callable[[Collection[str]], Mapping[str, str]]
"""From docids to their texts; documents that it lacks are absent."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Query:
    """An information need as it is searched: the topic's identifier and its text."""

    qid: str
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document of a collection: its identifier and the text that is indexed and reranked."""

    docid: str
    text: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A document found for a query: score (higher is more relevant) and, where it was fetched, its text."""

    docid: str
    score: float = 0.0
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Hit:
    """A place of a ranking: the rank, from 1, and the document there."""

    rank: int
    docid: str
    score: float
    text: str | None


@dataclass(frozen=True, slots=True)
class Ranking:
    """The candidates of one query, best first, ordered by :func:`rank_order`; iterates and indexes over hits."""

    query: Query
    candidates: tuple[Candidate, ...]

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Hit]:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, place: int) -> Hit:
        candidate = self.candidates[place]
        rank = range(1, len(self) + 1)[place]
        return Hit(rank, candidate.docid, candidate.score, candidate.text)

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame`` of the columns qid, rank, docid, score and text."""
        import pandas

        rows = [(self.query.qid, hit.rank, hit.docid, hit.score, hit.text) for hit in self]
        return pandas.DataFrame(rows, columns=["qid", "rank", "docid", "score", "text"])


def rank_order(docids: Sequence[str], scores: Sequence[float] | npt.NDArray[np.floating]) -> list[int]:
    """Return the positions of documents, best first, as trec_eval ranks them.

    trec_eval ignores the rank column, holds scores in single precision, sorts by score descending and breaks
    ties by docid descending (``form_res_rels.c`` of trec_eval 9.0, ``comp_sim_docno``). UTF-8 bytes and code
    points sort alike, so Python's comparison of strings is trec_eval's ``strcmp``.

    :param docids: n document identifiers
    :param scores: n scores, compared after rounding to float32
    """
    singles = in_single_precision(scores)
    if (singles[1:] < singles[:-1]).all():
        return list(range(len(docids)))
    by_docid = sorted(range(len(docids)), key=docids.__getitem__, reverse=True)
    # Python's sort is stable: ties keep the docid order of the first pass.
    return sorted(by_docid, key=singles.tolist().__getitem__, reverse=True)


def rank_order_of_lines(
    query: npt.NDArray[np.integer], docids: pa.StringArray, scores: npt.NDArray[np.floating]
) -> pa.UInt64Array:
    """Return the positions of the lines of many queries, by query and within it by :func:`rank_order`.

    :param query: the number of each line's query, shape (n,)
    :param docids: shape (n,)
    :param scores: shape (n,), compared after rounding to float32
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    lines = pa.table({"query": query, "score": in_single_precision(scores), "docid": docids})
    # Arrow, too, compares strings by their UTF-8 bytes.
    keys = [("query", "ascending"), ("score", "descending"), ("docid", "descending")]
    return pc.sort_indices(lines, sort_keys=keys)


def in_single_precision(scores: Sequence[float] | npt.NDArray[np.floating]) -> FloatArray:
    """Return scores as trec_eval holds them, infinite where they are beyond single precision."""
    with np.errstate(over="ignore"):
        return np.asarray(scores).astype(np.float32)


def first_of_each(hits: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Return docid -> score of hits, best first; of a docid that an index holds twice, the better hit."""
    documents: dict[str, float] = {}
    for docid, score in hits:
        documents.setdefault(docid, score)
    return documents


def in_rank_order(documents: dict[str, float]) -> dict[str, float]:
    """Return the same docid -> score, its keys ordered by :func:`rank_order`."""
    listed = list(documents.items())
    return dict(listed[place] for place in rank_order(list(documents), list(documents.values())))
