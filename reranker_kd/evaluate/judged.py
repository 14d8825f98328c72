"""The judged documents of a run: what every measure is computed from, for all queries at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from reranker_kd.errors import InputError
from reranker_kd.formats.runs import RunColumns
from reranker_kd.types import Qrels

Int64Array = npt.NDArray[np.int64]

Figures = npt.NDArray[np.float64]
"""A figure of each query, shape (t,), in the order of the qrels."""

# trec_eval holds a counter for each grade up to the highest.
_HIGHEST_GRADE = 1_000_000


class Judgments:
    """Qrels as columns: t queries with judgments, j judgments.

    :param qrels: grades; queries without any are left out, and grades below -1 count as -1, pooled but not judged
    :param relevance_level: the lowest grade that binary measures count as relevant
    :raises InputError: a grade is too high, or the level is below 1
    """

    def __init__(self, qrels: Qrels, relevance_level: int = 1) -> None:
        if relevance_level < 1:
            raise InputError(f"relevance level {relevance_level}: expected a grade from 1")
        self.qrels = {qid: grades for qid, grades in qrels.items() if grades}
        self.relevance_level = relevance_level
        self.qids = tuple(self.qrels)
        docids = pa.array([docid for grades in self.qrels.values() for docid in grades], pa.string())
        encoded = docids.dictionary_encode()
        self._vocabulary: pa.Array = encoded.dictionary
        query = np.repeat(np.arange(len(self.qids)), [len(grades) for grades in self.qrels.values()])
        grade = np.array([grade for grades in self.qrels.values() for grade in grades.values()], dtype=np.int64)
        if grade.max(initial=0) > _HIGHEST_GRADE:
            raise InputError(
                f"the qrels hold the grade {grade.max()}; expected at most {_HIGHEST_GRADE}: is it a grade?"
            )
        keys = query * len(self._vocabulary) + encoded.indices.to_numpy()
        order = keys.argsort()
        self._keys, self._query, self._grades = keys[order], query[order], np.maximum(grade[order], -1)

    @cached_property
    def ideal(self) -> JudgedRanks:
        """The ranking of all judged documents by their grades."""
        retrieved = np.bincount(self._query, minlength=len(self.qids)).astype(np.float64)
        return JudgedRanks(self, retrieved, self._query, np.ones_like(self._query), self._grades).by_grade()

    @cached_property
    def relevant(self) -> Figures:
        """Number of relevant documents of each query."""
        return self.ideal.summed(self.ideal.grade >= self.relevance_level)

    def ranks(self, run: RunColumns) -> JudgedRanks:
        """Return the judged documents of a run."""
        places = np.array([run.places.get(qid, -1) for qid in self.qids], dtype=np.int64)
        topics = np.full(len(run.qids), -1, dtype=np.int64)
        topics[places[places >= 0]] = np.flatnonzero(places >= 0)
        document = pc.index_in(run.documents, value_set=self._vocabulary).fill_null(-1).to_numpy()
        # Most documents are judged for no query at all: what follows is of few.
        lines = np.flatnonzero(document >= 0)
        query = np.searchsorted(run.starts, lines, side="right") - 1
        keys = topics[query] * len(self._vocabulary) + document[lines]
        found = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        judged = np.flatnonzero((topics[query] >= 0) & (self._keys[found] == keys))
        topic, rank = topics[query[judged]], lines[judged] - run.starts[query[judged]] + 1
        # The run may have its queries in another order than the qrels.
        order = np.lexsort((rank, topic))
        retrieved = np.where(places >= 0, np.diff(run.starts)[places], 0).astype(np.float64)
        return JudgedRanks(self, retrieved, topic[order], rank[order], self._grades[found[judged]][order])


@dataclass(frozen=True, slots=True)
class JudgedRanks:
    """The m judged documents of a run over the t queries of the qrels, ordered by query and rank.

    :param judgments: where the grades are from
    :param retrieved: documents that the run has for each query, shape (t,); 0 where it lacks the query
    :param query: place of the query, shape (m,)
    :param rank: from 1, shape (m,)
    :param grade: -1 for what was pooled but not judged, shape (m,)
    """

    judgments: Judgments
    retrieved: Figures
    query: Int64Array
    rank: Int64Array
    grade: Int64Array

    def cut(self, depth: int | None) -> JudgedRanks:
        """Return the same with at most ``depth`` documents of each query; None cuts nothing."""
        if depth is None:
            return self
        return self._chosen(self.rank <= depth, np.minimum(self.retrieved, depth))

    def relevant(self) -> JudgedRanks:
        """Return the relevant documents alone, at their ranks."""
        return self._chosen(self.grade >= self.judgments.relevance_level, self.retrieved)

    def by_grade(self) -> JudgedRanks:
        """Return the best order of the same documents."""
        order = np.lexsort((-self.grade, self.query))
        return JudgedRanks(self.judgments, self.retrieved, self.query, self.place() + 1, self.grade[order])

    def place(self) -> Int64Array:
        """Return how many of these documents stand before each in its query, shape (m,)."""
        return np.arange(len(self.query)) - np.searchsorted(self.query, self.query)

    def summed(self, weights: npt.NDArray[np.generic]) -> Figures:
        """Return the sum of the documents' weights (m,) for each query."""
        # Without any document, numpy would count in integers.
        return np.bincount(self.query, weights=weights, minlength=len(self.retrieved)).astype(np.float64, copy=False)

    def _chosen(self, which: npt.NDArray[np.bool_], retrieved: Figures) -> JudgedRanks:
        return JudgedRanks(self.judgments, retrieved, self.query[which], self.rank[which], self.grade[which])


def ratio(numerator: npt.NDArray[np.number], denominator: npt.NDArray[np.number], *, otherwise: float = 0.0) -> Figures:
    """Return one over the other; ``otherwise`` where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full(len(numerator), otherwise), where=denominator > 0)
