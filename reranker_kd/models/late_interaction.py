"""Query and document compared token by token: late interaction (ColBERT, Khattab and Zaharia 2020, equation 3).

With a soft maximum, so that many tokens near one of the query's count for more than the nearest alone.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from reranker_kd.models.network import Network

NEVER = -1e9
"""Stands for minus infinity, which makes NaN of a row without a token."""

_EVEN_MATCH = 0.8
"""A soft maximum that makes relevant and irrelevant as likely, at first: about what lies between both in MiniLM."""


class MatchingNetwork(Network):
    """A network whose score is, or contains, ``scale * sum_i w_i * softmax_j(q_i . d_j) + bias``.

    Vectors of tokens have length 1 there; the soft maximum over the document's tokens is
    ``log(sum_j exp(s * q_i . d_j)) / s`` of a sharpness s, and the weights of the query's tokens are a softmax over a
    learnt number of each, all equal at first.
    """

    def prepare_matching(self, width: int, scale: float = 13.0, sharpness: float = 12.0) -> None:
        """Add what matching learns.

        :param width: of a token's vector
        :param scale: of the score at first
        :param sharpness: of the soft maximum at first
        """
        self.log_scale = torch.nn.Parameter(torch.tensor(float(scale)).log())
        self.log_sharpness = torch.nn.Parameter(torch.tensor(float(sharpness)).log())
        self.bias = torch.nn.Parameter(torch.tensor(-_EVEN_MATCH * scale))
        self.importance = torch.nn.Linear(width, 1, bias=False)
        torch.nn.init.zeros_(self.importance.weight)

    def matching_scores(self, vectors: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return raw relevance scores (n, 1).

        :param vectors: float32 (n, tokens, width), of any length
        :param attention_mask: (n, tokens), 1 for a token
        :param token_type_ids: (n, tokens), 0 for the query's tokens and 1 for the document's
        """
        present, document = attention_mask.bool(), token_type_ids.bool()
        unit = normalize(vectors, dim=2)
        sharpness = self.log_sharpness.exp()
        nearness = (sharpness * unit @ unit.transpose(1, 2)).masked_fill(~(present & document)[:, None], NEVER)
        matches = nearness.logsumexp(2) / sharpness
        importance = self.importance(vectors)[:, :, 0].masked_fill(~present | document, NEVER)
        scores = (importance.softmax(1) * matches).sum(1)
        return (scores * self.log_scale.exp() + self.bias)[:, None]
