"""Documents longer than a model takes: sliding passages, and one score out of the passages' scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, model_validator

from reranker_kd.sections import GoesWith, Section
from reranker_kd.types import FloatArray

_AGGREGATIONS: dict[str, Callable[[FloatArray, int], np.float32]] = {
    # A document is as relevant as its best passage, or as its first one (Dai and Callan 2019, section 3.2).
    "maxp": lambda scores, _: scores.max(),
    "firstp": lambda scores, _: scores[0],
    "meanp": lambda scores, _: scores.mean(),
    "topk": lambda scores, top_k: np.sort(scores)[::-1][:top_k].mean(),
}

_BY_PASSAGES = GoesWith("long_documents", ("maxp", "meanp", "topk"))


class LongDocuments(Section):
    """How a document is split into passages and scored. The descriptions are those of the command line's options."""

    long_documents: Literal["maxp", "firstp", "meanp", "topk"] = Field(
        default="maxp", description="Score of a document out of its passages: best, first, mean, mean of the best few."
    )
    passage_length: int | None = Field(default=None, ge=1, description="Tokens of a passage.  [default: what fits]")
    passage_stride: Annotated[int | None, _BY_PASSAGES] = Field(
        default=None, ge=1, description="Tokens between the starts of passages.  [default: half of the length]"
    )
    top_passages: Annotated[int, GoesWith("long_documents", ("topk",))] = Field(
        default=3, ge=1, description="Passages whose scores are averaged; with --long-documents topk."
    )
    max_passages: Annotated[int, _BY_PASSAGES] = Field(
        default=8, ge=1, description="Passages that a document may cost at most, the first and evenly spread others."
    )

    @model_validator(mode="after")
    def _leaves_no_token_out(self) -> LongDocuments:
        if self.passage_length and self.passage_stride and self.passage_stride > self.passage_length:
            raise ValueError(
                f"passage_stride: a stride of {self.passage_stride} over passages of {self.passage_length} tokens "
                "would leave tokens out: give a stride of at most the length"
            )
        return self

    def passages(self, tokens: int, room: int) -> list[tuple[int, int]]:
        """Return (start, end) of the passages of a document.

        Where they would be more than ``max_passages``, that many are kept, spread evenly from the first to the last.

        :param tokens: length of the document
        :param room: tokens of a passage that the model takes at most
        """
        length = max(1, min(self.passage_length or room, room))
        if tokens <= length or self.long_documents == "firstp":
            return [(0, min(tokens, length))]
        stride = min(self.passage_stride or max(1, length // 2), length)
        # The last passage is the first that reaches the end.
        count = 1 + -(-(tokens - length) // stride)
        kept = list(range(count))
        if count > self.max_passages:
            kept = [round(i * (count - 1) / max(1, self.max_passages - 1)) for i in range(self.max_passages)]
        return [(i * stride, min(i * stride + length, tokens)) for i in kept]

    def aggregate(self, passage_scores: FloatArray, counts: Sequence[int]) -> FloatArray:
        """Return one score a document, float32 (n,).

        :param passage_scores: the scores of all passages, document after document
        :param counts: passages of each of n documents, at least 1
        """
        combine = _AGGREGATIONS[self.long_documents]
        of_documents = np.split(passage_scores, np.cumsum(counts)[:-1]) if counts else ()
        return np.asarray([combine(scores, self.top_passages) for scores in of_documents], dtype=np.float32)


def leaves_out(passages: Sequence[tuple[int, int]], tokens: int) -> bool:
    """Tell whether a document has tokens that none of its passages holds."""
    gaps = any(start > end for (_, end), (start, _) in pairwise(passages))
    return gaps or passages[-1][1] < tokens
