"""What a comparison takes of a run: its figures query by query, and those of its documents in their best order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from reranker_kd.compare.comparison import Ceiling
from reranker_kd.compare.vectorised_measures import (
    Figures,
    JudgedRanks,
    Judgments,
    by_ranks,
    judged_ranks,
    rank_figures,
)
from reranker_kd.errors import InputError
from reranker_kd.evaluate.measures import Measure
from reranker_kd.evaluate.registry import Summary
from reranker_kd.evaluate.trec_eval import trec_eval_values
from reranker_kd.formats.run_columns import RunColumns

AGREEMENT_DEPTH = 100
"""Documents of a query by which rankings are held against each other."""

_WHOLE = Measure("", "set_recall")


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """What a comparison takes of a run, figures of t queries in the order of the qrels.

    :param path: its file
    :param figures: measure name -> figures (t,)
    :param oracle: measure name -> figures (t,) of its documents in their best order
    :param recall: share of the relevant documents that it has, shape (t,)
    :param retrieved: number of documents for each query, shape (t,)
    :param tops: the docids of its best documents, query by query
    :param unjudged: its queries that the qrels lack
    """

    path: str
    figures: dict[str, Figures]
    oracle: dict[str, Figures]
    recall: Figures
    retrieved: Figures
    tops: pa.Array
    unjudged: frozenset[str]

    @property
    def depth(self) -> int:
        """Most documents that a query has."""
        return int(self.retrieved.max())


def measure_run(
    path: str, run: RunColumns, judgments: Judgments, measures: Sequence[Measure], relevance_level: int = 1
) -> MeasuredRun:
    """Measure a run; every figure is that of :func:`reranker_kd.evaluate.evaluation.evaluate_run`.

    :raises InputError: run and qrels share no query; a measure that is no mean over queries
    """
    _refuse_untestable(measures)
    ranks = judged_ranks(run, judgments)
    if not ranks.retrieved.any():
        raise InputError(f"{path}: run and qrels share no query: do they belong to the same topics?")
    rankings = None if all(map(by_ranks, measures)) else _rankings(run, judgments)
    tops = [np.asarray(run.lines(qid, AGREEMENT_DEPTH), dtype=np.int64) for qid in judgments.qids]
    return MeasuredRun(
        path=path,
        figures=_figures(ranks, rankings, judgments, measures, relevance_level),
        oracle=_oracle(ranks, rankings, judgments, measures, relevance_level),
        recall=rank_figures(_WHOLE, ranks, judgments, relevance_level),
        retrieved=ranks.retrieved,
        tops=run.documents.take(pa.array(np.concatenate(tops))),
        unjudged=frozenset(run.qids).difference(judgments.qids),
    )


def ceiling_of(
    candidates: RunColumns, depth: int, judgments: Judgments, measures: Sequence[Measure], relevance_level: int = 1
) -> Ceiling:
    """Return the ceiling of the first ``depth`` candidates of each query."""
    ranks = judged_ranks(candidates, judgments).cut(depth)
    rankings = None if all(map(by_ranks, measures)) else _rankings(candidates, judgments, depth)
    oracle = _oracle(ranks, rankings, judgments, measures, relevance_level)
    recall = rank_figures(_WHOLE, ranks, judgments, relevance_level)
    means = {name: float(figures.mean()) for name, figures in oracle.items()}
    return Ceiling(int(ranks.retrieved.max()), means, float(recall.mean()))


def _refuse_untestable(measures: Sequence[Measure]) -> None:
    for measure in measures:
        if measure.summary is not Summary.MEAN:
            raise InputError(f"{measure.name} is no mean over queries, so no test fits it: ask evaluate for it")


def _rankings(run: RunColumns, judgments: Judgments, depth: int | None = None) -> dict[str, list[str]]:
    return {qid: docids for qid in judgments.qids if (docids := run.docids(qid, depth))}


def _figures(
    ranks: JudgedRanks,
    rankings: Mapping[str, Sequence[str]] | None,
    judgments: Judgments,
    measures: Sequence[Measure],
    relevance_level: int,
) -> dict[str, Figures]:
    others = [measure for measure in measures if not by_ranks(measure)]
    by_trec_eval = trec_eval_values(rankings or {}, judgments.qrels, others, relevance_level) if others else {}
    return {
        measure.name: rank_figures(measure, ranks, judgments, relevance_level)
        if by_ranks(measure)
        else np.array([by_trec_eval[measure.name].get(qid, 0.0) for qid in judgments.qids])
        for measure in measures
    }


def _oracle(
    ranks: JudgedRanks,
    rankings: Mapping[str, Sequence[str]] | None,
    judgments: Judgments,
    measures: Sequence[Measure],
    relevance_level: int,
) -> dict[str, Figures]:
    best = {qid: _best_first(docids, judgments.qrels[qid]) for qid, docids in (rankings or {}).items()}
    return _figures(ranks.by_grade(), best, judgments, measures, relevance_level)


def _best_first(docids: Sequence[str], grades: Mapping[str, int]) -> list[str]:
    return sorted(docids, key=lambda docid: grades.get(docid, -1), reverse=True)
