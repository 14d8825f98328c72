"""The evaluation of a run: figures for each query, kept apart from the figures of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, log

from reranker_kd.errors import InputError
from reranker_kd.evaluate.measures import Measure
from reranker_kd.evaluate.registry import Summary
from reranker_kd.evaluate.trec_eval import trec_eval_values
from reranker_kd.types import Qrels, Run, rank_order

# MIN_GEO_MEAN of trec_eval: what a query with no better figure brings into a geometric mean.
_LOWEST_IN_GEOMETRIC_MEAN = 0.00001


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of a run, unrounded.

    :param measures: what was measured, in the order asked for
    :param per_query: measure name -> qid -> figure, the queries in the order of the qrels
    :param means: measure name -> figure of the run: the mean, or the sum of counts, or the geometric mean
    :param queries: number of queries that ``means`` are taken over
    :param missing_queries: the queries of the qrels that the run lacks
    :param unjudged_queries: number of queries of the run that the qrels lack; they are left out
    """

    measures: tuple[Measure, ...]
    per_query: dict[str, dict[str, float]]
    means: dict[str, float]
    queries: int
    missing_queries: tuple[str, ...]
    unjudged_queries: int


def evaluate_run(
    run: Run, qrels: Qrels, measures: Sequence[Measure], *, relevance_level: int = 1, missing_as_zero: bool = True
) -> Evaluation:
    """Measure a run against qrels. Every figure is trec_eval's (9.0.4), ``Judged@k`` apart.

    :param relevance_level: the lowest grade that binary measures count as relevant, trec_eval's ``-l``; nDCG
        uses the grades themselves
    :param missing_as_zero: count queries of the qrels that the run lacks as zero, trec_eval's ``-c``; otherwise
        they are left out
    :raises InputError: run and qrels share no query, ``relevance_level`` is below 1, or a grade is too
        high for trec_eval
    """
    if relevance_level < 1:
        raise InputError(f"relevance level {relevance_level}: expected a grade from 1")
    topics = {qid: grades for qid, grades in qrels.items() if grades}
    rankings = {qid: _ranking(run[qid]) for qid in topics if run.get(qid)}
    if not rankings:
        raise InputError("run and qrels share no query: do they belong to the same topics?")
    by_trec_eval = [measure for measure in measures if measure.by_trec_eval]
    figures = trec_eval_values(rankings, topics, by_trec_eval, relevance_level)
    figures |= {m.name: _judged(rankings, topics, m.depth) for m in measures if not m.by_trec_eval}
    per_query = {
        measure.name: {
            qid: figures[measure.name][qid] if qid in rankings else _missing(measure, topics[qid], relevance_level)
            for qid in topics
            if missing_as_zero or qid in rankings
        }
        for measure in measures
    }
    means = {m.name: _summary(m, per_query[m.name], topics, missing_as_zero=missing_as_zero) for m in measures}
    return Evaluation(
        measures=tuple(measures),
        per_query=per_query,
        means=means,
        queries=len(topics) if missing_as_zero else len(rankings),
        missing_queries=tuple(qid for qid in topics if qid not in rankings),
        unjudged_queries=sum(qid not in topics for qid in run),
    )


def _ranking(documents: Mapping[str, float]) -> list[str]:
    docids = list(documents)
    return [docids[position] for position in rank_order(docids, list(documents.values()))]


def _judged(rankings: Mapping[str, Sequence[str]], qrels: Qrels, depth: int | None) -> dict[str, float]:
    """Return the share of the top documents that was judged; a negative grade is trec_eval's for not judged."""
    tops = {qid: docids[:depth] for qid, docids in rankings.items()}
    return {qid: sum(qrels[qid].get(docid, -1) >= 0 for docid in top) / len(top) for qid, top in tops.items()}


def _missing(measure: Measure, grades: Mapping[str, int], relevance_level: int) -> float:
    """Return the figure of a query that the run lacks, as trec_eval ``-c`` counts it."""
    if measure.base == "num_q":
        return 1.0
    if measure.base == "num_rel":
        return float(sum(grade >= relevance_level for grade in grades.values()))
    return _LOWEST_IN_GEOMETRIC_MEAN if measure.summary is Summary.GEOMETRIC_MEAN else 0.0


def _summary(measure: Measure, by_query: Mapping[str, float], qrels: Qrels, *, missing_as_zero: bool) -> float:
    if measure.base == "num_rel" and missing_as_zero:
        # With -c, trec_eval counts over all qrels, and there it takes any grade above 0 whatever -l says.
        return float(sum(grade > 0 for grades in qrels.values() for grade in grades.values()))
    values = by_query.values()
    if measure.summary is Summary.SUM:
        return fsum(values)
    if measure.summary is Summary.GEOMETRIC_MEAN:
        return exp(fsum(map(log, values)) / len(values))
    return fsum(values) / len(values)
