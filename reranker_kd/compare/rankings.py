"""The rankings behind a comparison, and what they tell beyond its figures: gains by candidate rank, scores by grade,
figures by query length."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import numpy.typing as npt

from reranker_kd.formats.runs import RunColumns
from reranker_kd.types import Qrels, Topics

NOT_A_CANDIDATE = "not among them"

# Ranks in the first stage -> the last of them.
_LAST_RANKS = {"1-10": 10, "11-20": 20, "21-50": 50, "51-100": 100, "101 on": math.inf}
_LENGTH_BUCKETS = 5
_SCORES_DEPTH = 100


@dataclass(frozen=True, slots=True)
class ComparedRankings:
    """What the systems of a comparison retrieved.

    :param qrels: grades
    :param runs: name of a system -> its runs, of which the first that has a query is taken for it
    :param reference: which of the runs is the first stage: what ranks are held against
    :param topics: query texts by qid; empty where nobody gave them
    """

    qrels: Qrels
    runs: Mapping[str, Sequence[RunColumns]]
    reference: str
    topics: Topics = field(default_factory=dict)

    def documents(self, name: str, qid: str, depth: int | None = None) -> dict[str, float]:
        """Return docid -> score of a query, best first; empty where the system lacks it."""
        for run in self.runs[name]:
            if found := run.top(qid, depth):
                return found
        return {}

    def reference_ranks(self, qid: str) -> dict[str, int]:
        """Return docid -> rank from 1 in the first stage."""
        return {docid: rank for rank, docid in enumerate(self.documents(self.reference, qid), 1)}


def gain_by_candidate_rank(
    rankings: ComparedRankings, names: Sequence[str], queries: Sequence[str], cutoff: int = 10
) -> dict[str, dict[str, float]]:
    """Return name of a system -> ranks in the first stage -> what documents from there bring to its nDCG.

    The gains of a system add up to its mean nDCG at the cutoff, trec_eval's: a gain is the grade over
    log2(rank + 1), and over the ideal ranking's sum (Järvelin and Kekäläinen, TOIS 2002).

    :param queries: the qids of the mean; one that a system lacks brings nothing
    """
    gains = {name: dict.fromkeys([*_LAST_RANKS, NOT_A_CANDIDATE], 0.0) for name in names}
    discounts = 1 / np.log2(np.arange(2, cutoff + 2))
    for qid in queries:
        grades = rankings.qrels[qid]
        best = np.maximum(sorted(grades.values(), reverse=True)[:cutoff], 0)
        if not best.any():
            continue
        share = discounts / (best * discounts[: len(best)]).sum() / len(queries)
        ranks = rankings.reference_ranks(qid)
        for name in names:
            for place, docid in enumerate(rankings.documents(name, qid, cutoff)):
                rank = ranks.get(docid)
                found = (ranks for ranks, last in _LAST_RANKS.items() if rank is not None and rank <= last)
                gains[name][next(found, NOT_A_CANDIDATE)] += max(0, grades.get(docid, 0)) * float(share[place])
    return gains


def scores_by_relevance(
    rankings: ComparedRankings, name: str, queries: Sequence[str], relevance_level: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the scores of relevant documents and of all others, judged or not, within the top 100 of each query."""
    relevant: list[float] = []
    others: list[float] = []
    for qid in queries:
        grades = rankings.qrels[qid]
        for docid, score in rankings.documents(name, qid, _SCORES_DEPTH).items():
            (relevant if grades.get(docid, 0) >= relevance_level else others).append(score)
    return np.array(relevant), np.array(others)


def by_query_length(topics: Topics, queries: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return lengths in words, as text, and the queries so long, about as many in each of at most five buckets.

    Queries without a text are left out.
    """
    lengths = {qid: len(topics[qid].split()) for qid in queries if qid in topics}
    buckets: list[list[str]] = []
    for _, group in groupby(sorted(lengths, key=lengths.__getitem__), key=lengths.__getitem__):
        if not buckets or len(buckets[-1]) >= len(lengths) / _LENGTH_BUCKETS:
            buckets.append([])
        buckets[-1].extend(group)
    ends = ({str(lengths[qid]): None for qid in (qids[0], qids[-1])} for qids in buckets)
    return list(zip(map("-".join, ends), buckets, strict=True))


def mean_and_error(figures: Sequence[float]) -> tuple[float, float]:
    """Return the mean of n figures and its standard error, which is 0 of a single one."""
    error = float(np.std(figures, ddof=1)) / math.sqrt(len(figures)) if len(figures) > 1 else 0.0
    return math.fsum(figures) / len(figures), error
