"""The first stage's scores beside the model's, in the order of the candidates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reranker_kd.evaluate.normalisation import z_scores
from reranker_kd.types import Candidate, FloatArray


def interpolated(scores: FloatArray, heads: Sequence[Sequence[Candidate]], weight: float) -> FloatArray:
    """Return z(model) + weight * z(first stage) within each query, as ``fuse --method zscore`` has it, float32 (n,).

    Scores of a query whose candidates all came with one score stay as they are: there was no first stage.

    :param scores: of the model, float32 (n,)
    :param heads: the candidates that were scored, query after query, n in all, each with the first stage's score
    """
    queries = np.repeat(np.arange(len(heads)), [len(head) for head in heads])
    first = np.array([candidate.score for head in heads for candidate in head], dtype=np.float64)
    both = z_scores(scores.astype(np.float64), queries) + weight * (of_first := z_scores(first, queries))
    told_apart = np.bincount(queries, np.abs(of_first), len(heads))[queries] > 0
    return np.where(told_apart, both, scores).astype(np.float32)
