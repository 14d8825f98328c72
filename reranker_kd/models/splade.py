"""SPLADE (Formal et al. 2021, arXiv 2109.10086): each text as weights of the vocabulary's word pieces, most of them 0.

A masked language model says at every token how well each word piece would stand there. A text's weight of a piece is
``max_j log(1 + relu(logit_j))`` over its tokens (equation 2 there, with the maximum of equation 6), a pair's score the
inner product. To score a pair, the query's heaviest pieces are enough: of the document only their weights are computed,
which makes the vocabulary's share of the work small. Query and document may see each other through gates, as in
``gated_cross_encoder.py``; shut, they leave SPLADE as published.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from reranker_kd.models import gated_cross_encoder
from reranker_kd.models.gated_cross_encoder import GatedCrossEncoder, GatedCrossEncoderShape
from reranker_kd.models.kind import Start
from reranker_kd.models.late_interaction import NEVER


class SpladeShape(GatedCrossEncoderShape):
    """Around a masked language model's transformer.

    :param query_pieces: how many of a query's word pieces count, the heaviest first
    """

    kind: Literal["splade"] = "splade"  # type: ignore[assignment]
    query_pieces: int = Field(default=64, ge=1)


class Splade(GatedCrossEncoder):
    """From token arrays (n, tokens) of framed query and framed document to raw relevance scores (n, 1), in float32.

    :param transformer: of a masked language model whose output weights are its word embeddings
    """

    def __init__(self, shape: SpladeShape, transformer: Any) -> None:
        super().__init__(shape, transformer)
        config = transformer.config
        width, table = config.hidden_size, transformer.get_input_embeddings().weight
        self.transform = torch.nn.Sequential(
            torch.nn.Linear(width, table.shape[1]),
            torch.nn.GELU(),
            torch.nn.LayerNorm(table.shape[1], eps=config.layer_norm_eps),
        )
        self.piece_bias = torch.nn.Parameter(torch.zeros(len(table)))

    def prepare_matching(self, width: int, scale: float = 1.0, sharpness: float = 1.0) -> None:  # noqa: ARG002
        """Add what changes no order, so that a score may become the teacher's."""
        self.log_scale = torch.nn.Parameter(torch.zeros(()))
        self.bias = torch.nn.Parameter(torch.zeros(()))

    def matching_scores(self, vectors: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Return raw relevance scores (n, 1); see :class:`~reranker_kd.models.late_interaction.MatchingNetwork`."""
        table = self.transformer.get_input_embeddings().weight
        vectors = self.transform(vectors).to(table.dtype)
        present, document = attention_mask.bool(), token_type_ids.bool()
        of_query = (present & ~document)[:, :, None]
        # The query stands first. Where another row's is longer, the first token again changes no maximum.
        longest = of_query.sum(1).amax()
        queries = torch.where(of_query[:, :longest], vectors[:, :longest], vectors[:, :1])
        with torch.no_grad():
            # Held against the whole vocabulary; what is learnt goes by the pieces that are found.
            heaviest = (queries @ table.T).amax(1).float() + self.piece_bias
            pieces = heaviest.topk(min(self.shape.query_pieces, len(table)), dim=1).indices
        logits = vectors @ table[pieces].transpose(1, 2)
        of_query, of_document = (
            (logits.masked_fill(~tokens, NEVER).amax(1).float() + self.piece_bias[pieces]).relu().log1p()
            for tokens in (of_query, (present & document)[:, :, None])
        )
        return ((of_query * of_document).sum(1) * self.log_scale.exp() + self.bias)[:, None]


def build(shape: SpladeShape, start: Start) -> Splade:
    """Return a SPLADE that scores as the masked language model it starts from; of another model, its head is new."""
    network = Splade(shape, start.transformer(shape, "transformer"))
    if not shape.random and (head := start.head("cls.predictions.")):
        network.transform[0].load_state_dict({name: head[f"transform.dense.{name}"] for name in ("weight", "bias")})
        # Old folders have the names of the first BERT.
        for name, old in {"weight": "gamma", "bias": "beta"}.items():
            given = head.get(f"transform.LayerNorm.{name}", head.get(f"transform.LayerNorm.{old}"))
            getattr(network.transform[2], name).data.copy_(given)
        network.piece_bias.data.copy_(head["bias"])
    return network


KIND = replace(gated_cross_encoder.KIND, name="splade", shape=SpladeShape, build=build)
