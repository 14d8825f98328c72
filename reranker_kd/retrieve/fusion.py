"""Several runs of the same topics made into one: by ranks, or by scores that were made comparable."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np

from reranker_kd.errors import InputError
from reranker_kd.evaluate.normalisation import min_max, z_scores
from reranker_kd.types import Run, in_rank_order

Scores = dict[str, float]
"""Docid -> score of one query, in rank order."""


METHODS = ("rrf", "interpolation", "average", "normalize", "zscore")
"""What is summed over the runs. The first four are Pyserini's, by its names."""


def fuse(
    runs: Sequence[Run],
    method: str = "rrf",
    *,
    weights: Sequence[float] | None = None,
    rrf_k: int = 60,
    depth: int | None = None,
) -> Run:
    """Return one run out of several: a document's score is the weighted sum of what each run gives it.

    A run that lacks a document gives it 0, and by z-scores that of the run's worst document.

    :param runs: at least two, documents in rank order
    :param method: a name out of :data:`METHODS`: 1 / (rrf_k + rank), the scores as they are (interpolation, average),
        a query's scores mapped to 0 to 1, or in standard deviations above their mean
    :param weights: one of each run; None takes 1 / n for interpolation and average, else 1
    :param rrf_k: what dampens high ranks in reciprocal rank fusion
    :param depth: documents of each query and run that take part; None takes all. Scores are normalised before
    :return: the topics of all runs, in the order in which they are first met
    :raises InputError: fewer than two runs, an unknown method, or weights that are not one of each run
    """
    if len(runs) < 2:
        raise InputError(f"fusion takes at least two runs, got {len(runs)}")
    if method not in METHODS:
        raise InputError(f"unknown fusion method {method!r}; known: {', '.join(METHODS)}")
    if weights is None:
        weights = [1 / len(runs) if method in ("interpolation", "average") else 1.0] * len(runs)
    if len(weights) != len(runs):
        raise InputError(f"{len(weights)} weights for {len(runs)} runs: give one of each run")
    qids = dict.fromkeys(qid for run in runs for qid in run)
    return {qid: _fused([run.get(qid, {}) for run in runs], method, weights, rrf_k, depth) for qid in qids}


def _fused(listed: Sequence[Scores], method: str, weights: Sequence[float], rrf_k: int, depth: int | None) -> Scores:
    parts = [_comparable(documents, method, rrf_k) for documents in listed]
    total: Scores = dict.fromkeys((docid for part in parts for docid in islice(part, depth)), 0.0)
    for part, weight in zip(parts, weights, strict=True):
        taking_part = dict(islice(part.items(), depth))
        # 0 is the mean of z-scores: it would put a document that a run lacks before half of those that it holds.
        absent = min(part.values(), default=0.0) if method == "zscore" else 0.0
        for docid in total:
            total[docid] += weight * taking_part.get(docid, absent)
    return in_rank_order(total)


def _comparable(documents: Scores, method: str, rrf_k: int) -> Scores:
    """Return what a run gives each of a query's documents."""
    scores = np.fromiter(documents.values(), dtype=np.float64, count=len(documents))
    if method == "rrf":
        # Cormack et al. 2009; ranks are from 1.
        scores = 1.0 / (rrf_k + np.arange(1, len(scores) + 1))
    elif method == "normalize":
        # Equal scores become 1, as Pyserini has it.
        scores = min_max(scores, where_equal=1.0)
    elif method == "zscore":
        scores = z_scores(scores)
    return dict(zip(documents, scores.tolist(), strict=True))
