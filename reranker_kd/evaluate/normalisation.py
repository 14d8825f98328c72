"""Scores made comparable: of one query, or of many at once, each by itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.intp]


def z_scores(scores: Scores, queries: Numbers | None = None) -> Scores:
    """Express scores (n,) in standard deviations above their query's mean; where all of a query are equal, as 0.

    :param queries: the number of each score's query, from 0, shape (n,); None where all are of one
    """
    queries, low, high = _ends(scores, queries)
    counts = np.maximum(np.bincount(queries), 1)
    centred = scores - (np.bincount(queries, scores) / counts)[queries]
    deviations = np.sqrt(np.bincount(queries, centred**2) / counts)[queries]
    # Asked of the ends: the deviation of equal numbers may be a little above 0.
    return np.divide(centred, deviations, out=np.zeros_like(centred), where=low < high)


def min_max(scores: Scores, queries: Numbers | None = None, *, where_equal: float = 0.5) -> Scores:
    """Map each query's scores (n,) to 0 to 1.

    :param queries: as :func:`z_scores` takes them
    :param where_equal: what all scores of a query become where they are equal
    """
    _, low, high = _ends(scores, queries)
    return np.divide(scores - low, high - low, out=np.full_like(scores, where_equal), where=low < high)


def _ends(scores: Scores, queries: Numbers | None) -> tuple[Numbers, Scores, Scores]:
    """Return the queries, and of each score the least and the greatest of its query."""
    if queries is None:
        queries = np.zeros(len(scores), dtype=np.intp)
    low = np.full(queries.max(initial=-1) + 1, np.inf)
    high = -low
    np.minimum.at(low, queries, scores)
    np.maximum.at(high, queries, scores)
    return queries, low[queries], high[queries]
