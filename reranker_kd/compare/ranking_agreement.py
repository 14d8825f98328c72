"""Agreement of many runs over many queries: what :mod:`reranker_kd.evaluate.agreement` computes, for all at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

Ranks = npt.NDArray[np.int16]
Array = npt.NDArray[np.float64]

_TOPICS_AT_ONCE = 500


def pairwise_agreement(
    tops: npt.NDArray[np.int64], *, p: float = 0.9, k: int = 10
) -> Iterator[tuple[int, int, Array, Array, Array]]:
    """Yield (first, second, tau, RBO, overlap) of every two of r runs, figures of t queries; NaN as the single ones.

    :param tops: documents as numbers from 0, best first, shape (r, t, d); -1 behind the end of a ranking
    :param p: persistence of :func:`reranker_kd.evaluate.agreement.rank_biased_overlap`
    :param k: depth of :func:`reranker_kd.evaluate.agreement.top_overlap`
    """
    blocks = [_local_numbers(tops[:, start : start + _TOPICS_AT_ONCE]) for start in _starts(tops.shape[1])]
    for first, second in combinations(range(len(tops)), 2):
        places = [(_places(block[first], block[second]), block[first] >= 0, block[second] >= 0) for block in blocks]
        yield (
            first,
            second,
            np.concatenate([_taus(place) for place, _, _ in places] or [np.empty(0)]),
            np.concatenate([_rbos(*block, p) for block in places] or [np.empty(0)]),
            np.concatenate([_overlaps(*block, k) for block in places] or [np.empty(0)]),
        )


def _starts(topics: int) -> range:
    return range(0, topics, _TOPICS_AT_ONCE)


def _local_numbers(tops: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the same rankings with the documents of each query numbered from 0, so that tables of them are small."""
    runs, topics, depth = tops.shape
    keys = np.arange(topics)[:, None] * (tops.max(initial=0) + 1) + tops
    distinct, numbers = np.unique(keys[tops >= 0], return_inverse=True)
    topic = np.broadcast_to(np.arange(topics)[:, None], tops.shape)[tops >= 0]
    first = np.full(topics, len(distinct), dtype=np.int64)
    np.minimum.at(first, topic, numbers)
    local = np.full((runs, topics, depth), -1, dtype=np.int64)
    local[tops >= 0] = numbers - first[topic]
    return local


def _places(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> Ranks:
    """Return where the second ranking has the documents of the first, from 0; -1 where it lacks them."""
    topics, depth = first.shape
    rows = np.arange(topics)[:, None]
    # The last column is for -1, which stands for no document.
    table = np.full((topics, max(first.max(initial=0), second.max(initial=0)) + 2), -1, dtype=np.int16)
    table[rows, second] = np.arange(depth, dtype=np.int16)
    table[:, -1] = -1
    return table[rows, first]


def _taus(places: Ranks) -> Array:
    topics, depth = places.shape
    held = places >= 0
    # A document that is lacking is below nothing, and above nothing.
    above = np.where(held, places, depth).astype(np.int16)
    concordant = np.zeros((topics, depth), dtype=np.int16)
    for gap in range(1, depth):
        concordant[:, gap:] += above[:, :-gap] < places[:, gap:]
    shared = held.sum(axis=1)
    pairs = shared * (shared - 1) / 2
    counted = concordant.sum(axis=1, dtype=np.int64)
    return np.divide(2 * counted - pairs, pairs, out=np.full(topics, np.nan), where=pairs > 0)


def _rbos(places: Ranks, in_first: npt.NDArray[np.bool_], in_second: npt.NDArray[np.bool_], p: float) -> Array:
    topics, depth = places.shape
    lengths = np.stack([in_first.sum(axis=1), in_second.sum(axis=1)])
    shorter, longer = lengths.min(axis=0)[:, None], lengths.max(axis=0)[:, None]
    ranks = np.arange(1, depth + 1)
    # A document is shared from the lower of its two ranks on.
    shared_from = np.maximum(places, np.arange(depth)) + depth * np.arange(topics)[:, None]
    counts = np.bincount(shared_from[places >= 0], minlength=topics * depth).reshape(topics, depth)
    overlap = counts.cumsum(axis=1)
    at_end = np.take_along_axis(overlap, np.maximum(shorter - 1, 0), axis=1)
    beyond = np.maximum(ranks - shorter, 0) * at_end / np.maximum(shorter, 1)
    agreement = (overlap + beyond) / ranks
    weights = np.where(ranks <= longer, p ** ranks.astype(np.float64), 0)
    last = np.take_along_axis(agreement, np.maximum(longer - 1, 0), axis=1)[:, 0] * p ** longer[:, 0]
    return np.where(shorter[:, 0] > 0, (1 - p) / p * (agreement * weights).sum(axis=1) + last, np.nan)


def _overlaps(places: Ranks, in_first: npt.NDArray[np.bool_], in_second: npt.NDArray[np.bool_], k: int) -> Array:
    shared = ((places[:, :k] >= 0) & (places[:, :k] < k)).sum(axis=1)
    longest = np.maximum(in_first[:, :k].sum(axis=1), in_second[:, :k].sum(axis=1))
    return np.divide(shared, longest, out=np.full(len(places), np.nan), where=longest > 0)


def mean_told(figures: Sequence[Array]) -> float:
    """Return the mean of the figures that are not NaN; NaN where none is."""
    told = np.concatenate([values[~np.isnan(values)] for values in figures] or [np.empty(0)])
    return float(told.mean()) if len(told) else float("nan")
