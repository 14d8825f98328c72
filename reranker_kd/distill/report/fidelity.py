"""How faithful a student is to its teacher: alike rankings, alike scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker_kd.errors import InputError
from reranker_kd.evaluate.agreement import agreement_of_rankings, mean_defined
from reranker_kd.evaluate.normalisation import z_scores
from reranker_kd.types import Run, in_rank_order

_FIGURES = ("tau", "rbo", "overlap", "pearson", "drift", "drift_deviation")
_Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Fidelity of a student's run to its teacher's, by figures of each query, NaN where one is not defined:

    - ``tau``: Kendall's tau over the documents that both have, -1 to 1
    - ``rbo``: extrapolated rank-biased overlap, p = 0.9, 0 to 1
    - ``overlap``: share of the top 10 that both have
    - ``pearson``: Pearson's correlation of the scores of the documents that both have, -1 to 1
    - ``drift``: mean over those documents of the student's score less the teacher's, both as z-scores
    - ``drift_deviation``: standard deviation of that difference

    :param per_query: qid -> figure -> value, for the queries that both runs have, in the order of the teacher's
    :param means: figure -> its mean over the queries for which it is defined, NaN where it is for none
    :param missing_queries: the queries of the teacher that the student lacks; they bear on no figure
    """

    per_query: dict[str, dict[str, float]]
    means: dict[str, float]
    missing_queries: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """Return everything as JSON values, None for what is not defined."""
        return {
            "queries": len(self.per_query),
            "missing_queries": list(self.missing_queries),
            "means": _without_nan(self.means),
            "per_query": {qid: _without_nan(figures) for qid, figures in self.per_query.items()},
        }


def fidelity(teacher_run: Run, student_run: Run) -> Fidelity:
    """Compare a student's run with its teacher's, over the same queries and, best, the same candidates.

    Scores become z-scores by the mean and the deviation of all pairs that both runs have, not of each query: so the
    drift of a query tells whether the student scores all its documents higher than the teacher does.

    :raises InputError: the runs share no query
    """
    shared = {
        qid: [docid for docid in documents if docid in student_run[qid]]
        for qid, documents in teacher_run.items()
        if qid in student_run
    }
    if not shared:
        raise InputError("the teacher's and the student's run share no query: do they belong to the same topics?")
    runs = (teacher_run, student_run)
    rankings = ([list(in_rank_order(run[qid])) for qid in shared] for run in runs)
    scores = np.array([[run[qid][d] for qid, docids in shared.items() for d in docids] for run in runs], np.float64)
    ends = np.cumsum([len(docids) for docids in shared.values()])
    teacher, student = (np.split(z_scores(of_one), ends[:-1]) for of_one in scores)
    alike = agreement_of_rankings(*rankings, p=0.9, k=10)
    rows = zip(*alike, *zip(*map(_score_figures, teacher, student), strict=True), strict=True)
    per_query = {qid: dict(zip(_FIGURES, map(float, row), strict=True)) for qid, row in zip(shared, rows, strict=True)}
    means = {name: mean_defined(np.array([figures[name] for figures in per_query.values()])) for name in _FIGURES}
    return Fidelity(per_query, means, tuple(qid for qid in teacher_run if qid not in student_run))


def _score_figures(teacher: _Scores, student: _Scores) -> tuple[float, float, float]:
    difference = student - teacher
    if not len(difference):
        return math.nan, math.nan, math.nan
    return _pearson(teacher, student), float(difference.mean()), float(difference.std())


def _pearson(first: _Scores, second: _Scores) -> float:
    if len(first) < 2 or first.min() == first.max() or second.min() == second.max():
        return math.nan
    # Rounding may carry it a trifle beyond 1.
    return float(np.clip((z_scores(first) * z_scores(second)).mean(), -1, 1))


def _without_nan(figures: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(figure) else figure for name, figure in figures.items()}
