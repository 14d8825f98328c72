"""Several runs of the same topics made into one: by ranks, or by scores that were made comparable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from reranker_kd.errors import InputError
from reranker_kd.evaluate import normalisation
from reranker_kd.types import Run, in_rank_order

Scores = dict[str, float]
"""Docid -> score of one query, in rank order."""


def reciprocal_ranks(documents: Scores, rrf_k: int) -> Scores:
    """Score each document by 1 / (rrf_k + rank), rank from 1 (Cormack et al. 2009)."""
    return {docid: 1.0 / (rrf_k + rank) for rank, docid in enumerate(documents, start=1)}


def unchanged(documents: Scores, rrf_k: int) -> Scores:  # noqa: ARG001
    """Take the scores as they are."""
    return documents


def min_max(documents: Scores, rrf_k: int) -> Scores:  # noqa: ARG001
    """Map a query's scores to 0 to 1; where all are equal, to 1, as Pyserini does."""
    return dict(zip(documents, normalisation.min_max(_array(documents), where_equal=1.0).tolist(), strict=True))


def z_scores(documents: Scores, rrf_k: int) -> Scores:  # noqa: ARG001
    """Express a query's scores in standard deviations above their mean; where all are equal, as 0."""
    return dict(zip(documents, normalisation.z_scores(_array(documents)).tolist(), strict=True))


def _array(documents: Scores) -> normalisation.Scores:
    return np.fromiter(documents.values(), dtype=np.float64, count=len(documents))


METHODS: dict[str, Callable[[Scores, int], Scores]] = {
    "rrf": reciprocal_ranks,
    "interpolation": unchanged,
    "average": unchanged,
    "normalize": min_max,
    "zscore": z_scores,
}
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
    :param method: a name out of :data:`METHODS`
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
    parts = [METHODS[method](documents, rrf_k) if documents else {} for documents in listed]
    total: Scores = dict.fromkeys((docid for part in parts for docid in islice(part, depth)), 0.0)
    for part, weight in zip(parts, weights, strict=True):
        taking_part = dict(islice(part.items(), depth))
        # 0 is the mean of z-scores: it would put a document that a run lacks before half of those that it holds.
        absent = min(part.values(), default=0.0) if method == "zscore" else 0.0
        for docid in total:
            total[docid] += weight * taking_part.get(docid, absent)
    return in_rank_order(total)
