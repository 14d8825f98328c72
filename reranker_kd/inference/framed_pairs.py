"""Pairs of which each text is framed as if it stood alone, for networks that began as a bi-encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from reranker_kd.inference.pair_tokenizer import PairTokenizer, TokenIds, TokenSequence


class FramedPairTokenizer(PairTokenizer):
    """Joins the framed query and the framed document; token types 0 and 1 tell them apart.

    :param tokenizer: a ``transformers`` tokenizer
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer)
        self.has_types = True
        single = self.single_frame
        self.pair_frame = replace(self.pair_frame, before=single.before, between=single.after + single.before)

    def _check_pairs(self) -> None:
        # Pairs are framed here, and not as the tokenizer would.
        pass

    def pair(self, first: TokenIds, second: TokenIds) -> TokenSequence:
        """Frame a pair of texts."""
        query, document = self.single(first), self.single(second)
        types = np.repeat(np.array([0, 1], dtype=np.int32), [len(query), len(document)])
        return TokenSequence(np.concatenate([query.ids, document.ids]), types)
