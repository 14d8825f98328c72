"""Early stopping: the rest of the candidates is left out once the top k can hardly change any more.

Scores fall, on average, with the rank that the first stage gave. A line through the scores so far, over the rank, says
what the next candidates may expect; the standard deviation about the line says how far they stray. Where the k-th best
score so far lies more than a margin of such deviations above the line, scoring stops.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf, isnan
from typing import Any

import numpy as np

from reranker_kd.errors import InputError
from reranker_kd.rerank.base import (
    DocumentScores,
    Pair,
    Progress,
    Request,
    RerankedBatch,
    Reranker,
    no_progress,
    ranking_of,
)
from reranker_kd.rerank.cascade import Cascade
from reranker_kd.types import Candidate, FloatArray, Ranking


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """When the candidates of a query need no more scoring.

    :param top_k: the documents that are to be found
    :param margin: standard deviations by which they must lie above what is still expected; infinite never stops and
        is exact. The default is :func:`calibrate`'s for TREC DL 2021 under all-MiniLM-L6-v2 (docs/doing-less.md)
    :param block: candidates that are scored between two looks at the rule
    :raises InputError: a number below 1, or a margin that is none
    """

    top_k: int = 10
    margin: float = 2.4
    block: int = 20

    def __post_init__(self) -> None:
        if self.top_k < 1 or self.block < 1 or isnan(self.margin):
            raise InputError(
                f"early stopping of the top {self.top_k} in blocks of {self.block} by a margin of {self.margin}: "
                "expected at least 1 document, blocks of at least 1, and a number"
            )

    def is_settled(self, scores: FloatArray) -> bool:
        """Tell whether the rest can be left out, given the scores so far in the order of the first stage."""
        return headroom(scores, self.top_k) > self.margin


def headroom(scores: FloatArray, top_k: int) -> float:
    """Return by how many standard deviations the k-th best score lies above what the next candidate may expect.

    :param scores: float32 (n,), in the order of the first stage
    :return: minus infinity where n is too small to tell: below ``top_k``, or below 3
    """
    n = len(scores)
    if n < max(top_k, 3):
        return -inf
    values = scores.astype(np.float64)
    ranks = np.arange(n) - (n - 1) / 2
    # A line that rises would promise more the longer one waits.
    slope = min(0.0, float(ranks @ values / (ranks @ ranks)))
    residuals = values - values.mean() - slope * ranks
    deviation = float(np.sqrt(residuals @ residuals / (n - 2)))
    gap = float(np.partition(values, n - top_k)[n - top_k] - values.mean() - slope * (n + 1) / 2)
    if deviation == 0.0:
        return inf if gap > 0 else -inf
    return gap / deviation


class EarlyStopping(Reranker):
    """Scores candidates in blocks, in the order of the first stage, and leaves out the rest once the rule says so.

    What is left out keeps its order below what was scored. The blocks of many queries are scored together.

    :param reranker: the model
    :param rule: when to stop
    :raises InputError: the model is a cascade, whose scores are of several models
    """

    def __init__(self, reranker: Reranker, rule: StoppingRule) -> None:
        if isinstance(reranker, Cascade):
            raise InputError("early stopping compares scores of one model: stop within a stage, not across a cascade")
        self.reranker = reranker
        self.rule = rule

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the model's score of each pair; nothing is left out."""
        return self.reranker.score_pairs(pairs)

    def score_documents(self, pairs: Sequence[Pair], on_progress: Progress = no_progress) -> DocumentScores:
        """Score documents by the model; nothing is left out."""
        return self.reranker.score_documents(pairs, on_progress)

    def texts_wanted(self, docids: Collection[str]) -> Collection[str]:
        """Return the documents whose texts the model needs."""
        return self.reranker.texts_wanted(docids)

    def rerank_batch(
        self,
        requests: Sequence[Request],
        *,
        depth: int | None = None,
        on_progress: Progress = no_progress,
    ) -> RerankedBatch:
        """Rerank block after block; the counts are of the pairs that were scored."""
        heads = [candidates[:depth] for _, candidates in requests]
        scores = [np.zeros(0, dtype=np.float32) for _ in requests]
        pairs = split = cut = 0
        active = list(range(len(requests)))
        while active:
            done = len(scores[active[0]])
            blocks = [(requests[i][0], heads[i][done : done + self.rule.block]) for i in active]
            batch = self.reranker.rerank_batch(blocks, on_progress=on_progress)
            pairs, split, cut = pairs + batch.pairs, split + batch.split, cut + batch.cut
            for i, (_, block), ranking in zip(active, blocks, batch.rankings, strict=True):
                scores[i] = np.concatenate([scores[i], _in_order_of(block, ranking)])
            left = [i for i in active if len(scores[i]) < len(heads[i])]
            settled = {i for i in left if self.rule.is_settled(scores[i])}
            on_progress(sum(len(heads[i]) - len(scores[i]) for i in settled))
            active = [i for i in left if i not in settled]
        rankings = [
            ranking_of(query, candidates[: len(scored)], scored, candidates[len(scored) :])
            for (query, candidates), scored in zip(requests, scores, strict=True)
        ]
        return RerankedBatch(tuple(rankings), pairs, 0, split, cut)

    def describe(self) -> dict[str, Any]:
        """Return what identifies the model, and the rule."""
        rule = asdict(self.rule)
        # JSON has no infinity.
        return {**self.reranker.describe(), "early_stopping": rule | {"margin": str(rule["margin"])}}


@dataclass(frozen=True, slots=True)
class Calibration:
    """A rule fitted to a sample of queries, and what it does to that sample.

    :param rule: with the margin that was found
    :param queries: in the sample
    :param changed: queries whose top k is not that of full reranking
    :param candidates: of all queries
    :param scored: those that the rule has scored
    """

    rule: StoppingRule
    queries: int
    changed: int
    candidates: int
    scored: int

    def __str__(self) -> str:
        saved = 1 - self.scored / max(1, self.candidates)
        return (
            f"margin {self.rule.margin:.2f}: on {self.queries} queries it leaves out {saved:.1%} of the pairs and "
            f"changes the top {self.rule.top_k} of {self.changed}"
        )


def calibrate(
    reranker: Reranker, requests: Sequence[Request], rule: StoppingRule, *, tolerance: float = 0.05
) -> Calibration:
    """Return the smallest margin with which at most a share of the queries loses a document of its top k.

    :param reranker: scores all candidates of the sample
    :param requests: a sample of queries with their candidates, in the order of the first stage
    :param rule: its ``top_k`` and ``block`` are kept
    :param tolerance: share of the queries, 0 to 1
    :raises InputError: no queries
    """
    if not requests:
        raise InputError("early stopping is calibrated on queries: give it at least one")
    samples = []
    for (_, candidates), ranking in zip(requests, reranker.rerank_batch(requests).rankings, strict=True):
        top = {candidate.docid for candidate in ranking.candidates[: rule.top_k]}
        complete_at = max((n for n, c in enumerate(candidates, start=1) if c.docid in top), default=0)
        samples.append((_in_order_of(candidates, ranking), complete_at))
    needed = sorted(_margin_needed(scores, complete_at, rule) for scores, complete_at in samples)
    margin = max(0.0, needed[len(needed) - 1 - min(int(tolerance * len(needed)), len(needed) - 1)])
    rule = replace(rule, margin=margin)
    ends = [_end(scores, rule) for scores, _ in samples]
    return Calibration(
        rule,
        queries=len(samples),
        changed=sum(end < complete_at for end, (_, complete_at) in zip(ends, samples, strict=True)),
        candidates=sum(len(scores) for scores, _ in samples),
        scored=sum(ends),
    )


def _margin_needed(scores: FloatArray, complete_at: int, rule: StoppingRule) -> float:
    """Return the smallest margin that does not stop before the top k is complete."""
    looks = range(rule.block, complete_at, rule.block)
    return max((headroom(scores[:n], rule.top_k) for n in looks), default=-inf)


def _end(scores: FloatArray, rule: StoppingRule) -> int:
    looks = range(rule.block, len(scores), rule.block)
    return next((n for n in looks if rule.is_settled(scores[:n])), len(scores))


def _in_order_of(candidates: Sequence[Candidate], ranking: Ranking) -> FloatArray:
    scores = {candidate.docid: candidate.score for candidate in ranking.candidates}
    return np.asarray([scores[candidate.docid] for candidate in candidates], dtype=np.float32)
