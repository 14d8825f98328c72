"""Measures of large runs out of the ranks of the judged documents alone, computed for all queries at once.

The figures are those of :func:`reranker_kd.evaluate.evaluation.evaluate_run`, of which the tests hold them within
1e-12. Measures that are not in :data:`RANK_MEASURES` are left to trec_eval.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reranker_kd.evaluate.measures import Measure
from reranker_kd.evaluate.registry import JUDGED
from reranker_kd.formats.run_columns import Int64Array, RunColumns
from reranker_kd.types import Qrels

Figures = npt.NDArray[np.float64]
"""A figure of each query, shape (t,), in the order of the qrels."""


class Judgments:
    """Qrels as columns: t queries with judgments, j judgments.

    :param qrels: grades; queries without any are left out
    """

    def __init__(self, qrels: Qrels) -> None:
        self.qrels = {qid: grades for qid, grades in qrels.items() if grades}
        self.qids = tuple(self.qrels)
        docids = pa.array([docid for grades in self.qrels.values() for docid in grades], pa.string())
        encoded = docids.dictionary_encode()
        self.vocabulary: pa.Array = encoded.dictionary
        self._query = np.repeat(np.arange(len(self.qids)), [len(grades) for grades in self.qrels.values()])
        keys = self._query * len(self.vocabulary) + encoded.indices.to_numpy()
        grades = np.array([grade for grades in self.qrels.values() for grade in grades.values()], dtype=np.int64)
        order = keys.argsort()
        self._keys, self._grades = keys[order], grades[order]

    def grades_of(self, query: Int64Array, document: Int64Array) -> tuple[npt.NDArray[np.bool_], Int64Array]:
        """Return which pairs of query and document (places in qids and vocabulary) are judged, and their grades."""
        keys = query * len(self.vocabulary) + document
        found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        judged = self._keys[found] == keys
        return judged, self._grades[found[judged]]

    def relevant(self, relevance_level: int) -> Figures:
        """Return how many documents of each query have at least this grade."""
        return self._per_query(self._query, self._grades >= relevance_level)

    @cached_property
    def ideal(self) -> JudgedRanks:
        """The ranking of all judged documents by their grades."""
        retrieved = self._per_query(self._query, np.ones(len(self._query)))
        return JudgedRanks(retrieved, self._query, np.ones_like(self._query), self._grades).by_grade()

    def _per_query(self, query: Int64Array, weights: npt.NDArray[np.generic]) -> Figures:
        return _summed(query, weights, len(self.qids))


@dataclass(frozen=True, slots=True)
class JudgedRanks:
    """The m judged documents of a run of t queries, ordered by query and rank.

    :param retrieved: documents that the run has for each query, shape (t,); 0 where it lacks the query
    :param query: place of the query, shape (m,)
    :param rank: from 1, shape (m,)
    :param grade: shape (m,)
    """

    retrieved: Figures
    query: Int64Array
    rank: Int64Array
    grade: Int64Array

    def cut(self, depth: int) -> JudgedRanks:
        """Return the same with at most ``depth`` documents of each query."""
        within = self.rank <= depth
        retrieved = np.minimum(self.retrieved, depth)
        return JudgedRanks(retrieved, self.query[within], self.rank[within], self.grade[within])

    def by_grade(self) -> JudgedRanks:
        """Return the best order of the same documents: by grade, those that were pooled but not judged left out."""
        judged = self.grade >= 0
        query, grade = self.query[judged], self.grade[judged]
        order = np.lexsort((-grade, query))
        return JudgedRanks(self.retrieved, query[order], _place_in_group(query[order]) + 1, grade[order])

    def summed(self, weights: npt.NDArray[np.generic]) -> Figures:
        """Return the sum of the documents' weights (m,) for each query."""
        return _summed(self.query, weights, len(self.retrieved))


def judged_ranks(run: RunColumns, judgments: Judgments) -> JudgedRanks:
    """Return the judged documents of a run."""
    places = np.array([run.places.get(qid, -1) for qid in judgments.qids], dtype=np.int64)
    topics = np.full(len(run.qids), -1, dtype=np.int64)
    topics[places[places >= 0]] = np.flatnonzero(places >= 0)
    document = pc.index_in(run.documents, value_set=judgments.vocabulary).fill_null(-1).to_numpy()
    lengths = np.diff(run.starts)
    # Most documents are judged for no query at all: what follows is of few.
    lines = np.flatnonzero(document >= 0)
    query_of_line = np.searchsorted(run.starts, lines, side="right") - 1
    topic = topics[query_of_line]
    lines, query_of_line, topic = (values[topic >= 0] for values in (lines, query_of_line, topic))
    judged, grade = judgments.grades_of(topic, document[lines].astype(np.int64))
    rank = (lines - run.starts[query_of_line] + 1)[judged]
    topic = topic[judged]
    # The run may have its queries in another order than the qrels.
    order = np.lexsort((rank, topic))
    retrieved = np.where(places >= 0, lengths[places], 0).astype(np.float64)
    return JudgedRanks(retrieved, topic[order], rank[order], grade[order])


def rank_figures(measure: Measure, ranks: JudgedRanks, judgments: Judgments, relevance_level: int) -> Figures:
    """Return a measure's figure of each query; 0 for a query that the run lacks.

    :param measure: one for which :func:`by_ranks` holds
    """
    cut = ranks if measure.depth is None else ranks.cut(measure.depth)
    cutoff = int(measure.cutoff) if measure.cutoff else None
    return RANK_MEASURES[measure.base](cut, judgments, relevance_level, cutoff)


def by_ranks(measure: Measure) -> bool:
    """Return whether :func:`rank_figures` computes a measure."""
    return measure.base in RANK_MEASURES and not measure.parameters


def _ndcg(ranks: JudgedRanks, judgments: Judgments, _: int, cutoff: int | None) -> Figures:
    return _ratio(_dcg(ranks, cutoff), _dcg(judgments.ideal, cutoff))


def _dcg(ranks: JudgedRanks, cutoff: int | None) -> Figures:
    counted = ranks if cutoff is None else ranks.cut(cutoff)
    return counted.summed(np.maximum(counted.grade, 0) / np.log2(counted.rank + 1))


def _average_precision(ranks: JudgedRanks, judgments: Judgments, level: int, cutoff: int | None) -> Figures:
    counted = _relevant(ranks, level, cutoff)
    precisions = (_place_in_group(counted.query) + 1) / counted.rank
    return _ratio(counted.summed(precisions), judgments.relevant(level))


def _reciprocal_rank(ranks: JudgedRanks, _: Judgments, level: int, cutoff: int | None) -> Figures:
    counted = _relevant(ranks, level, cutoff)
    return counted.summed((_place_in_group(counted.query) == 0) / counted.rank)


def _precision(ranks: JudgedRanks, _: Judgments, level: int, cutoff: int | None) -> Figures:
    assert cutoff is not None
    return _hits(ranks, level, cutoff) / cutoff


def _recall(ranks: JudgedRanks, judgments: Judgments, level: int, cutoff: int | None) -> Figures:
    return _ratio(_hits(ranks, level, cutoff), judgments.relevant(level))


def _success(ranks: JudgedRanks, _: Judgments, level: int, cutoff: int | None) -> Figures:
    return (_hits(ranks, level, cutoff) > 0).astype(np.float64)


def _judged(ranks: JudgedRanks, _: Judgments, __: int, ___: int | None) -> Figures:
    return _ratio(ranks.summed(ranks.grade >= 0), ranks.retrieved)


RANK_MEASURES: dict[str, Callable[[JudgedRanks, Judgments, int, int | None], Figures]] = {
    "ndcg": _ndcg,
    "ndcg_cut": _ndcg,
    "map": _average_precision,
    "map_cut": _average_precision,
    "recip_rank": _reciprocal_rank,
    "P": _precision,
    "recall": _recall,
    "success": _success,
    "set_recall": _recall,
    JUDGED: _judged,
}
"""Base of a measure -> its figures from (ranks, judgments, relevance level, cutoff)."""


def _relevant(ranks: JudgedRanks, level: int, cutoff: int | None) -> JudgedRanks:
    counted = ranks.grade >= level
    if cutoff is not None:
        counted &= ranks.rank <= cutoff
    return JudgedRanks(ranks.retrieved, ranks.query[counted], ranks.rank[counted], ranks.grade[counted])


def _hits(ranks: JudgedRanks, level: int, cutoff: int | None) -> Figures:
    counted = _relevant(ranks, level, cutoff)
    return counted.summed(np.ones(len(counted.query)))


def _ratio(numerator: Figures, denominator: Figures) -> Figures:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _summed(query: Int64Array, weights: npt.NDArray[np.generic], queries: int) -> Figures:
    # Without any document, numpy would count in integers.
    return np.bincount(query, weights=weights, minlength=queries).astype(np.float64, copy=False)


def _place_in_group(groups: Int64Array) -> Int64Array:
    """Return how many equal values stand before each of the sorted values (m,)."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)
