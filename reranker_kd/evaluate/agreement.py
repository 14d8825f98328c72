"""How alike two rankings of a query are: Kendall's tau, rank-biased overlap, overlap at the top.

A ranking is of distinct documents, best first, as :func:`reranker_kd.types.rank_order` has them; so ties of scores are
already broken as trec_eval breaks them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from reranker_kd.errors import InputError
from reranker_kd.evaluate.judged import Figures, Int64Array, ratio


class QueryAgreement(NamedTuple):
    """Figures of t queries, each of shape (t,); NaN where one is not defined.

    :param tau: Kendall's rank correlation over the documents that both rankings hold, -1 to 1: (concordant -
        discordant) / pairs (Kendall 1938); NaN where fewer than two are shared. Without ties tau-b is the same
    :param rbo: extrapolated rank-biased overlap, 0 to 1 (Webber et al. 2010, RBO_ext, eq. 32); NaN where a ranking is
        empty. The expected agreement for a reader who goes on from each rank to the next with probability ``p``; by
        0.9, the first ten ranks have 86 % of the weight. Beyond the end of the shorter ranking its documents are taken
        to agree as they did before, and beyond the end of both the agreement to stay as it is. For rankings of equal
        length this is eq. 30
    :param overlap: share of the top k documents that both rankings hold, 0 to 1; of rankings that are both shorter than
        k, the longer one's length counts as k; NaN where both are empty
    """

    tau: Figures
    rbo: Figures
    overlap: Figures


def agreement_of_rankings(
    first: Sequence[Sequence[str]], second: Sequence[Sequence[str]], *, p: float = 0.9, k: int = 10
) -> QueryAgreement:
    """Return how alike the rankings of t queries are; see :func:`agreement`.

    :param first: docids of each query, best first
    :param second: of the same queries
    """
    numbers: dict[tuple[int, str], int] = {}
    depth = max((len(ranking) for ranking in (*first, *second)), default=0)
    padded = np.full((2, len(first), depth), -1, dtype=np.int64)
    for side, rankings in enumerate((first, second)):
        for query, ranking in enumerate(rankings):
            padded[side, query, : len(ranking)] = [numbers.setdefault((query, d), len(numbers)) for d in ranking]
    return agreement(*padded, p=p, k=k)


def agreement(first: Int64Array, second: Int64Array, *, p: float = 0.9, k: int = 10) -> QueryAgreement:
    """Return how alike the rankings of t queries are.

    :param first: documents as small numbers from 0, best first, shape (t, d); -1 behind the end of a ranking. A number
        stands for one document of one query
    :param second: of the same queries, shape (t, d)
    :param p: the reader's persistence, between 0 and 1
    :param k: depth of the overlap
    :raises InputError: ``p`` or ``k`` is out of range
    """
    if not 0 < p < 1:
        raise InputError(f"p of rank-biased overlap is {p}: expected a number between 0 and 1, such as 0.9")
    if k < 1:
        raise InputError(f"k of the overlap at the top is {k}: expected at least 1")
    # Where the second ranking has each document of the first, from 0; the last entry is for -1, which is no document.
    place_of = np.full(max(first.max(initial=0), second.max(initial=0)) + 2, -1, dtype=np.int16)
    place_of[second] = np.arange(second.shape[1], dtype=np.int16)
    place_of[-1] = -1
    places = place_of[first]
    lengths = np.stack([(first >= 0).sum(axis=1), (second >= 0).sum(axis=1)])
    shared = ((places[:, :k] >= 0) & (places[:, :k] < k)).sum(axis=1)
    overlap = ratio(shared, np.minimum(lengths, k).max(axis=0), otherwise=np.nan)
    return QueryAgreement(_tau(places), _rbo(places, lengths, p), overlap)


def _tau(places: npt.NDArray[np.int16]) -> Figures:
    _, depth = places.shape
    held = places >= 0
    # A document that is missing is below nothing, and above nothing.
    above = np.where(held, places, depth).astype(np.int16)
    concordant = np.zeros(places.shape, dtype=np.int16)
    for gap in range(1, depth):
        concordant[:, gap:] += above[:, :-gap] < places[:, gap:]
    shared = held.sum(axis=1)
    pairs = shared * (shared - 1) / 2
    return ratio(2 * concordant.sum(axis=1, dtype=np.int64) - pairs, pairs, otherwise=np.nan)


def _rbo(places: npt.NDArray[np.int16], lengths: Int64Array, p: float) -> Figures:
    topics, depth = places.shape
    shorter, longer = lengths.min(axis=0)[:, None], lengths.max(axis=0)[:, None]
    ranks = np.arange(1, depth + 1)
    # A document is shared from the lower of its two ranks on.
    shared_from = np.maximum(places, np.arange(depth)) + depth * np.arange(topics)[:, None]
    counts = np.bincount(shared_from[places >= 0], minlength=topics * depth).reshape(topics, depth)
    # A column of zeros in front, for rankings of no documents.
    overlap = np.pad(counts.cumsum(axis=1), ((0, 0), (1, 0)))
    beyond = np.maximum(ranks - shorter, 0) * np.take_along_axis(overlap, shorter, axis=1) / np.maximum(shorter, 1)
    agreed = (overlap[:, 1:] + beyond) / ranks
    weights = np.where(ranks <= longer, p ** ranks.astype(np.float64), 0)
    last = np.take_along_axis(np.pad(agreed, ((0, 0), (1, 0))), longer, axis=1)[:, 0] * p ** longer[:, 0]
    return np.where(shorter[:, 0] > 0, (1 - p) / p * (agreed * weights).sum(axis=1) + last, np.nan)


def mean_defined(figures: Figures) -> float:
    """Return the mean of the figures that are not NaN; NaN where none is."""
    defined = figures[~np.isnan(figures)]
    return float(defined.mean()) if len(defined) else float("nan")
