"""A cross-encoder that begins as a bi-encoder: its texts are compared token by token, and see each other through gates.

A bi-encoder's transformer reads query and document side by side in one sequence. What comes out is read by late
interaction (``late_interaction.py``). Within its own text a token attends as it always did; to the other text's tokens
each head adds a learnt number, its gate, before the softmax. Shut gates make the score the bi-encoder's own late
interaction, so that distillation starts from a good ranking, where a cross-encoder with a new head starts at nothing.
The architecture is ours; interaction that grows layer by layer is that of PreTTR (MacAvaney et al. 2020) and LAIT
(Milbauer et al. 2023).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from reranker_kd.models.kind import Kind, Start, TransformerShape
from reranker_kd.models.late_interaction import NEVER, MatchingNetwork

_GATE_UNIT = 32.0


class GatedCrossEncoderShape(TransformerShape):
    """Around a bi-encoder's transformer; ``max_length`` counts the tokens of both texts.

    :param gate: of every head at first; -5 lets 1 in 150 of an own token's weight through
    """

    kind: Literal["gated-cross-encoder"] = "gated-cross-encoder"
    gate: float = -5.0


class GatedCrossEncoder(MatchingNetwork):
    """From token arrays (n, tokens) of framed query and framed document to raw relevance scores (n, 1), in float32.

    :param transformer: of a bi-encoder that pools by the mean: a BERT or an ELECTRA without pooler
    :param scale: of the score at first
    :param sharpness: of the soft maximum at first
    """

    def __init__(
        self,
        shape: GatedCrossEncoderShape,
        transformer: Any,
        scale: float = 13.0,
        sharpness: float = 12.0,
    ) -> None:
        super().__init__(shape)
        sizes = transformer.config
        self.transformer = transformer
        shape_of_gates = (sizes.num_hidden_layers, sizes.num_attention_heads)
        # Kept small, so that a learning rate for weights moves a gate within thousands of updates, not millions.
        self.gates = torch.nn.Parameter(torch.full(shape_of_gates, shape.gate / _GATE_UNIT))
        self.prepare_matching(sizes.hidden_size, scale, sharpness)

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run the transformer in ``dtype``; pooling and what follows stay in float32."""
        self.transformer.to(dtype)

    def observed(self) -> dict[str, float]:
        """Return how far the gates are open: what the widest, and the mean, lets through of an own token's weight."""
        through = (_GATE_UNIT * self.gates.detach()).exp()
        return {"gates_mean": float(through.mean()), "gates_widest": float(through.max())}

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        """Score rows of tokens.

        :param input_ids: int (n, tokens): a framed query, a framed document, padding
        :param attention_mask: (n, tokens), 1 for a token
        :param token_type_ids: (n, tokens), 0 for the query's tokens and 1 for the document's
        """
        document = token_type_ids.bool()
        hidden = self._embedded(input_ids, attention_mask, document)
        padding = torch.zeros_like(attention_mask, dtype=torch.float32).masked_fill(attention_mask == 0, NEVER)
        across = (document[:, :, None] != document[:, None, :])[:, None].float()
        for layer, gates in zip(self.transformer.encoder.layer, self.gates, strict=True):
            mask = padding[:, None, None, :] + across * (_GATE_UNIT * gates)[None, :, None, None]
            output = layer(hidden, attention_mask=mask.to(hidden.dtype))
            hidden = output[0] if isinstance(output, tuple) else output
        return self.matching_scores(hidden.float(), attention_mask, token_type_ids)

    def _embedded(self, input_ids: Tensor, attention_mask: Tensor, document: Tensor) -> Tensor:
        # Each text's positions count from 0, and both have the one token type that a bi-encoder knows.
        places = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
        starts = ((~document) & attention_mask.bool()).sum(1, keepdim=True)
        positions = torch.where(document, places - starts, places)
        embedded = self.transformer.embeddings(
            input_ids=input_ids, position_ids=positions, token_type_ids=torch.zeros_like(input_ids)
        )
        project = getattr(self.transformer, "embeddings_project", None)
        return embedded if project is None else project(embedded)


def build(shape: GatedCrossEncoderShape, start: Start) -> GatedCrossEncoder:
    """Return a gated cross-encoder that scores by the late interaction of its start."""
    return GatedCrossEncoder(shape, start.transformer(shape, "transformer"))


KIND = Kind(
    name="gated-cross-encoder",
    reads="pairs",
    shape=GatedCrossEncoderShape,
    build=build,
    framing="each",
    encoder=lambda network: network.transformer,
    # A teacher that never read pairs reads each text apart.
    around=lambda shape, transformer: GatedCrossEncoder(shape.model_copy(update={"gate": NEVER}), transformer),
    transformers=lambda network: {"transformer": network.transformer},
)
