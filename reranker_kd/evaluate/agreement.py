"""How alike two rankings of a query are: Kendall's tau, rank-biased overlap, overlap at the top.

A ranking is a sequence of distinct docids, best first, as :func:`reranker_kd.types.rank_order` has them; so ties of
scores are already broken as trec_eval breaks them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import kendalltau

from reranker_kd.errors import InputError


def kendall_tau(first: Sequence[str], second: Sequence[str]) -> float:
    """Return Kendall's rank correlation over the documents that both rankings hold, -1 to 1.

    (concordant - discordant) / pairs (Kendall 1938). Without ties, as here, tau-b is the same.

    :return: NaN where fewer than two documents are shared
    """
    places = {docid: place for place, docid in enumerate(second)}
    shared = [places[docid] for docid in first if docid in places]
    if len(shared) < 2:
        return math.nan
    return float(kendalltau(np.arange(len(shared)), shared, variant="b").statistic)


def rank_biased_overlap(first: Sequence[str], second: Sequence[str], p: float = 0.9) -> float:
    """Return extrapolated rank-biased overlap, 0 to 1 (Webber et al. 2010, RBO_ext, eq. 32).

    The expected agreement for a reader who goes on from each rank to the next with probability ``p``; by 0.9, the
    first ten ranks have 86 % of the weight. Beyond the end of the shorter ranking its documents are taken to agree as
    they did before, and beyond the end of both the agreement to stay as it is. For rankings of equal length this is
    eq. 30.

    :param p: the reader's persistence, between 0 and 1
    :return: NaN where a ranking is empty
    :raises InputError: ``p`` is not between 0 and 1
    """
    if not 0 < p < 1:
        raise InputError(f"p of rank-biased overlap is {p}: expected a number between 0 and 1, such as 0.9")
    shorter, longer = sorted((first, second), key=len)
    if not shorter:
        return math.nan
    places = {docid: rank for rank, docid in enumerate(shorter, start=1)}
    # A document is shared from the lower of its two ranks on.
    shared_from = [max(rank, places[docid]) for rank, docid in enumerate(longer, start=1) if docid in places]
    overlap = np.bincount(np.asarray(shared_from, dtype=np.intp), minlength=len(longer) + 1)[1:].cumsum()
    depth = np.arange(1, len(longer) + 1)
    beyond = np.maximum(depth - len(shorter), 0) * overlap[len(shorter) - 1] / len(shorter)
    agreement = (overlap + beyond) / depth
    weights = p ** depth.astype(np.float64)
    return float((1 - p) / p * (agreement * weights).sum() + agreement[-1] * weights[-1])


def top_overlap(first: Sequence[str], second: Sequence[str], k: int = 10) -> float:
    """Return the share of the top k documents that both rankings hold, 0 to 1.

    Of rankings that are both shorter than k, the longer one's length counts as k.

    :return: NaN where both rankings are empty
    :raises InputError: ``k`` is below 1
    """
    if k < 1:
        raise InputError(f"k of the overlap at the top is {k}: expected at least 1")
    tops = set(first[:k]), set(second[:k])
    longest = max(map(len, tops))
    return len(tops[0] & tops[1]) / longest if longest else math.nan
