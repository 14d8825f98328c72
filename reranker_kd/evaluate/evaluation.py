"""The evaluation of a run: figures for each query, kept apart from the figures of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path

import numpy as np

from reranker_kd.errors import InputError
from reranker_kd.evaluate.judged import Figures, JudgedRanks, Judgments
from reranker_kd.evaluate.measures import DEFAULT_MEASURES, parse_measures
from reranker_kd.evaluate.registry import Measure, Summary
from reranker_kd.evaluate.trec_eval import trec_eval_figures
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import RunColumns, columns_of_run, read_run_columns
from reranker_kd.types import Qrels, Run

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


def evaluate(
    run: str | Path | Run,
    qrels: str | Path | Qrels,
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    relevance_level: int = 1,
    missing_as_zero: bool = True,
) -> Evaluation:
    """Measure a run against qrels, each a file or a dict; every figure is trec_eval's (9.0.4), if trec_eval has it.

    :param run: a file of TREC or MS MARCO columns, or qid -> docid -> score
    :param qrels: a file of TREC's or BEIR's, or qid -> docid -> grade
    :param measures: names such as ``nDCG@10``, ``AP``, ``ndcg_cut_10``
    :param relevance_level: the lowest grade that binary measures count as relevant, trec_eval's ``-l``; nDCG
        uses the grades themselves
    :param missing_as_zero: count queries of the qrels that the run lacks as zero, trec_eval's ``-c``; otherwise
        they are left out
    :raises InputError: a file that cannot be read, an unknown measure, a run and qrels that share no query, a
        ``relevance_level`` below 1, or a grade that is too high for trec_eval
    :raises FormatError: a fault in a file
    """
    asked = parse_measures(measures)
    judgments = Judgments(qrels if isinstance(qrels, dict) else read_qrels(qrels), relevance_level)
    columns = columns_of(run)
    ranks = judgments.ranks(columns)
    answered = ranks.retrieved > 0
    if not answered.any():
        where = "" if isinstance(run, dict) else f"{run}: "
        raise InputError(f"{where}run and qrels share no query: do they belong to the same topics?")
    counted = np.flatnonzero(answered | missing_as_zero).tolist()
    qids = [judgments.qids[place] for place in counted]
    figures = {name: values[counted].tolist() for name, values in figures_of(ranks, asked).items()}
    return Evaluation(
        measures=asked,
        per_query={name: dict(zip(qids, values, strict=True)) for name, values in figures.items()},
        means={m.name: _summary(m, figures[m.name], judgments.qrels, missing_as_zero) for m in asked},
        queries=len(qids),
        missing_queries=tuple(qid for qid, has in zip(judgments.qids, answered, strict=True) if not has),
        unjudged_queries=sum(qid not in judgments.qrels for qid in columns.qids),
    )


def columns_of(run: str | Path | Run) -> RunColumns:
    """Return a run as columns, and read it where it is a file."""
    return columns_of_run(run) if isinstance(run, dict) else read_run_columns(run)


def figures_of(ranks: JudgedRanks, measures: Sequence[Measure]) -> dict[str, Figures]:
    """Return measure name -> figures (t,) of a run over the t queries of the qrels; missing queries as zero."""
    by_trec_eval = trec_eval_figures(ranks, [measure for measure in measures if measure.compute is None])
    figures = {}
    for measure in measures:
        depth = int(measure.cutoff) if measure.compute and measure.cutoff else None
        found = measure.compute(ranks.cut(depth), depth) if measure.compute else by_trec_eval[measure.name]
        is_geometric = measure.summary is Summary.GEOMETRIC_MEAN
        figures[measure.name] = np.maximum(found, _LOWEST_IN_GEOMETRIC_MEAN) if is_geometric else found
    return figures


def _summary(measure: Measure, values: Sequence[float], qrels: Qrels, missing_as_zero: bool) -> float:
    if measure.base == "num_rel" and missing_as_zero:
        # With -c, trec_eval counts over all qrels, and there it takes any grade above 0 whatever -l says.
        return float(sum(grade > 0 for grades in qrels.values() for grade in grades.values()))
    if measure.summary is Summary.SUM:
        return fsum(values)
    if measure.summary is Summary.GEOMETRIC_MEAN:
        return float(np.exp(fsum(np.log(values)) / len(values)))
    return fsum(values) / len(values)
