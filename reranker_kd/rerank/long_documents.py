"""Documents longer than a model takes: sliding passages, and one score out of the passages' scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from reranker_kd.errors import InputError
from reranker_kd.types import FloatArray


def max_passage(scores: FloatArray, top_k: int) -> float:  # noqa: ARG001
    """MaxP: a document is as relevant as its best passage (Dai and Callan 2019, section 3.2)."""
    return float(scores.max())


def first_passage(scores: FloatArray, top_k: int) -> float:  # noqa: ARG001
    """FirstP: only the first passage counts (Dai and Callan 2019, section 3.2)."""
    return float(scores[0])


def mean_passage(scores: FloatArray, top_k: int) -> float:  # noqa: ARG001
    """MeanP: the mean over all passages."""
    return float(scores.mean())


def top_k_mean(scores: FloatArray, top_k: int) -> float:
    """The mean over the ``top_k`` best passages, or over all where there are fewer."""
    return float(np.sort(scores)[::-1][:top_k].mean())


AGGREGATIONS: dict[str, Callable[[FloatArray, int], float]] = {
    "maxp": max_passage,
    "firstp": first_passage,
    "meanp": mean_passage,
    "topk": top_k_mean,
}


@dataclass(frozen=True, slots=True)
class LongDocuments:
    """How a document is split into passages and scored.

    :param aggregation: a name out of :data:`AGGREGATIONS`
    :param passage_length: tokens of a passage at most; None takes what fits beside the query
    :param passage_stride: tokens from the start of one passage to the next; None takes half of the length
    :param top_k: passages that ``topk`` averages
    :raises InputError: an unknown aggregation, or lengths that would leave tokens out
    """

    aggregation: str = "maxp"
    passage_length: int | None = None
    passage_stride: int | None = None
    top_k: int = 3

    def __post_init__(self) -> None:
        if self.aggregation not in AGGREGATIONS:
            raise InputError(f"unknown aggregation {self.aggregation!r}; known: {', '.join(AGGREGATIONS)}")
        for name in ("passage_length", "passage_stride", "top_k"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")
        if self.passage_length and self.passage_stride and self.passage_stride > self.passage_length:
            raise InputError(
                f"a passage stride of {self.passage_stride} over passages of {self.passage_length} tokens would "
                "leave tokens out: give a stride of at most the length"
            )

    def passages(self, tokens: int, room: int) -> list[tuple[int, int]]:
        """Return (start, end) of the passages of a document.

        :param tokens: length of the document
        :param room: tokens of a passage that the model takes at most
        """
        length = max(1, min(self.passage_length or room, room))
        if tokens <= length or self.aggregation == "firstp":
            return [(0, min(tokens, length))]
        stride = min(self.passage_stride or max(1, length // 2), length)
        # The last passage is the first that reaches the end.
        count = 1 + -(-(tokens - length) // stride)
        return [(i * stride, min(i * stride + length, tokens)) for i in range(count)]

    def aggregate(self, passage_scores: FloatArray, counts: Sequence[int]) -> FloatArray:
        """Return one score a document, float32 (n,).

        :param passage_scores: the scores of all passages, document after document
        :param counts: passages of each of n documents, at least 1
        """
        combine = AGGREGATIONS[self.aggregation]
        ends = np.cumsum(counts)
        scores = [
            combine(passage_scores[end - count : end], self.top_k) for end, count in zip(ends, counts, strict=True)
        ]
        return np.asarray(scores, dtype=np.float32)
