"""The runs of a system, measured, and merged into one: figures query by query, ceilings, top documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path

import numpy as np
import pyarrow as pa

from reranker_kd.compare.comparison import Ceiling, ComparedSystem, Spread
from reranker_kd.errors import InputError
from reranker_kd.evaluate.evaluation import columns_of, figures_of
from reranker_kd.evaluate.judged import Figures, JudgedRanks, Judgments
from reranker_kd.evaluate.measures import parse_measure
from reranker_kd.evaluate.registry import Measure
from reranker_kd.types import Run

AnyRun = str | Path | Run
"""A file of a run, or qid -> docid -> score."""

AGREEMENT_DEPTH = 100
"""Documents of a query by which rankings are held against each other."""


@dataclass(frozen=True, slots=True)
class MeasuredRun:
    """What a comparison takes of a run, figures of t queries in the order of the qrels.

    :param name: its file
    :param figures: measure name -> figures (t,)
    :param oracle: measure name -> figures (t,) of its documents in their best order, and of their recall (``SetR``)
    :param retrieved: number of documents for each query, shape (t,)
    :param tops: the docids of its best documents, query by query
    :param unjudged: its queries that the qrels lack
    """

    name: str
    figures: dict[str, Figures]
    oracle: dict[str, Figures]
    retrieved: Figures
    tops: pa.Array
    unjudged: frozenset[str]


def measure_run(name: str, run: AnyRun, judgments: Judgments, measures: Sequence[Measure]) -> MeasuredRun:
    """Measure a run, which is called by its file if it has one.

    :raises InputError: run and qrels share no query, or the file cannot be read
    :raises FormatError: a fault in the file
    """
    name = name if isinstance(run, dict) else str(run)
    columns = columns_of(run)
    ranks = judgments.ranks(columns)
    if not ranks.retrieved.any():
        raise InputError(f"{name}: run and qrels share no query: do they belong to the same topics?")
    tops = [np.asarray(columns.lines(qid, AGREEMENT_DEPTH), dtype=np.int64) for qid in judgments.qids]
    return MeasuredRun(
        name=name,
        figures=figures_of(ranks, measures),
        oracle=_oracle(ranks, measures),
        retrieved=ranks.retrieved,
        tops=columns.documents.take(pa.array(np.concatenate(tops))),
        unjudged=frozenset(columns.qids).difference(judgments.qids),
    )


def merged(
    name: str, runs: Sequence[MeasuredRun], judgments: Judgments, measures: Sequence[Measure], first: JudgedRanks | None
) -> ComparedSystem:
    """Return the runs of a system as one.

    :param first: the first stage's run, for the ceiling; None where its own documents are its candidates
    """
    answering = np.sum([run.retrieved > 0 for run in runs], axis=0)
    kind = "run" if len(runs) == 1 else "folds" if answering.max() < 2 else "seeds"
    # A fold has 0 where it lacks a query, so that the sum is the figure of the one that has it.
    over_runs = np.sum if kind == "folds" else np.mean
    names = [measure.name for measure in measures]
    figures: dict[str, Figures] = {each: over_runs([run.figures[each] for run in runs], axis=0) for each in names}
    depth = int(max(run.retrieved.max() for run in runs))
    if first is None:
        oracle = {each: over_runs([run.oracle[each] for run in runs], axis=0) for each in runs[0].oracle}
    else:
        oracle = _oracle(cut := first.cut(depth), measures)
        depth = int(cut.retrieved.max())
    return ComparedSystem(
        name=name,
        runs=tuple(run.name for run in runs),
        kind=kind,
        per_query={each: dict(zip(judgments.qids, figures[each].tolist(), strict=True)) for each in names},
        means={each: fsum(figures[each]) / len(figures[each]) for each in names},
        spread={} if kind == "run" else {each: _spread(runs, each, of_folds=kind == "folds") for each in names},
        missing_queries=tuple(qid for qid, count in zip(judgments.qids, answering, strict=True) if not count),
        unjudged_queries=len(frozenset[str]().union(*(run.unjudged for run in runs))),
        ceiling=Ceiling(depth, {each: float(oracle[each].mean()) for each in names}, float(oracle["SetR"].mean())),
    )


def _oracle(ranks: JudgedRanks, measures: Sequence[Measure]) -> dict[str, Figures]:
    return figures_of(ranks.by_grade(), [*measures, parse_measure("SetR")])


def _spread(runs: Sequence[MeasuredRun], measure: str, *, of_folds: bool) -> Spread:
    own = [run.figures[measure][run.retrieved > 0] if of_folds else run.figures[measure] for run in runs]
    means = [float(figures.mean()) for figures in own]
    return Spread(tuple(means), float(np.std(means, ddof=1)))
