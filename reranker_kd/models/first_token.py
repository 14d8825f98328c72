"""Leaving out what a cross-encoder never reads: of the last layer, all but the first token.

A BERT's classification head reads the first token's vector. So the last layer needs one query a sequence, and the
keys and values of the other tokens need never be made: the query is taken through the key matrix once, in place of
all tokens (``q (K h) = (q K) h``), and the weighted mean of the tokens through the value matrix (``V`` is linear). The
scores are those of the whole layer but for the rounding of sums in another order.
"""

from __future__ import annotations

from typing import Any

import torch

_FIRST_TOKEN_MODELS = ("bert", "electra", "roberta", "xlm-roberta", "camembert")


class FirstTokenLayer(torch.nn.Module):
    """From token vectors (n, tokens, d) to what a transformer's layer gives for the first ones, (n, 1, d).

    :param layer: a layer of BERT's build, such as ``transformers.models.bert.modeling_bert.BertLayer``
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any) -> Any:
        """Run the layer for the first token alone.

        :param attention_mask: (n, 1, tokens or 1, tokens), True for what is seen or a number to add; None sees all
        """
        attention = self.layer.attention.self
        heads, size = attention.num_attention_heads, attention.attention_head_size
        first = hidden[:, :1]
        by_head = (heads, size, hidden.shape[2])
        query = attention.query(first).view(-1, heads, 1, size)
        # What a key's bias adds to the logits is the same for all tokens, so that the softmax does not see it.
        logits = (query @ attention.key.weight.view(by_head)).squeeze(2) @ hidden.transpose(1, 2) * size**-0.5
        if attention_mask is not None:
            seen = attention_mask[:, 0, :1]
            logits = logits.masked_fill(~seen, -torch.inf) if seen.dtype == torch.bool else logits + seen
        mixed = logits.float().softmax(dim=2).to(hidden.dtype) @ hidden
        value = mixed[:, :, None] @ attention.value.weight.view(by_head).transpose(1, 2)
        context = value.reshape(-1, 1, heads * size) + attention.value.bias
        attended = self.layer.attention.output(context, first)
        return self.layer.output(self.layer.intermediate(attended), attended)


def read_first_token_alone(classifier: Any) -> None:
    """Cut the last layer of a ``transformers`` classifier down to what its head reads, where the build allows it."""
    config = classifier.config
    layers = getattr(getattr(classifier.base_model, "encoder", None), "layer", None)
    if config.model_type in _FIRST_TOKEN_MODELS and layers and not getattr(config, "is_decoder", False):
        layers[-1] = FirstTokenLayer(layers[-1])
