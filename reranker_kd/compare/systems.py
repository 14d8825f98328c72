"""The runs of a system, measured, and merged into one: figures query by query, ceilings, top documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from reranker_kd.compare.comparison import Ceiling, Spread
from reranker_kd.errors import InputError
from reranker_kd.evaluate.evaluation import figures_of
from reranker_kd.evaluate.judged import Figures, JudgedRanks, Judgments
from reranker_kd.evaluate.measures import parse_measure
from reranker_kd.evaluate.registry import Measure
from reranker_kd.formats.runs import RunColumns

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


def measure_run(name: str, run: RunColumns, judgments: Judgments, measures: Sequence[Measure]) -> MeasuredRun:
    """Measure a run.

    :raises InputError: run and qrels share no query
    """
    ranks = judgments.ranks(run)
    if not ranks.retrieved.any():
        raise InputError(f"{name}: run and qrels share no query: do they belong to the same topics?")
    tops = [np.asarray(run.lines(qid, AGREEMENT_DEPTH), dtype=np.int64) for qid in judgments.qids]
    return MeasuredRun(
        name=name,
        figures=figures_of(ranks, measures),
        oracle=_oracle(ranks, measures),
        retrieved=ranks.retrieved,
        tops=run.documents.take(pa.array(np.concatenate(tops))),
        unjudged=frozenset(run.qids).difference(judgments.qids),
    )


def ceiling_of(candidates: RunColumns, depth: int, judgments: Judgments, measures: Sequence[Measure]) -> Ceiling:
    """Return the ceiling of the first ``depth`` candidates of each query."""
    ranks = judgments.ranks(candidates).cut(depth)
    return _ceiling(int(ranks.retrieved.max()), _oracle(ranks, measures), [measure.name for measure in measures])


def _oracle(ranks: JudgedRanks, measures: Sequence[Measure]) -> dict[str, Figures]:
    return figures_of(ranks.by_grade(), [*measures, parse_measure("SetR")])


def _ceiling(depth: int, oracle: Mapping[str, Figures], names: Iterable[str]) -> Ceiling:
    means = {name: float(figures.mean()) for name, figures in oracle.items()}
    return Ceiling(depth, {name: means[name] for name in names}, means["SetR"])


class System:
    """The runs of one system as one.

    :param name: as it was given
    :param runs: its run, or its seeds or folds
    """

    def __init__(self, name: str, runs: Sequence[MeasuredRun]) -> None:
        self.name = name
        self.runs = runs
        answered = np.stack([run.retrieved > 0 for run in runs])
        self.kind = "run" if len(runs) == 1 else "folds" if answered.sum(axis=0).max() < 2 else "seeds"
        self.retrieved = np.max([run.retrieved for run in runs], axis=0)
        self.depth = int(self.retrieved.max())
        self.figures = {name: self._merged([run.figures[name] for run in runs]) for name in runs[0].figures}

    def spread(self, measure: str) -> Spread:
        """Return how far the runs lie apart."""
        figures = []
        for run in self.runs:
            values = run.figures[measure]
            figures.append(float((values[run.retrieved > 0] if self.kind == "folds" else values).mean()))
        return Spread(tuple(figures), float(np.std(figures, ddof=1)))

    def ceiling(self) -> Ceiling:
        """Return the ceiling of its own documents."""
        names = self.runs[0].oracle
        oracle = {name: self._merged([run.oracle[name] for run in self.runs]) for name in names}
        return _ceiling(self.depth, oracle, self.figures)

    def _merged(self, figures: Sequence[Figures]) -> Figures:
        # A fold has 0 where it lacks a query, so that the sum is the figure of the one that has it.
        return np.sum(figures, axis=0) / (1 if self.kind == "folds" else len(figures))
