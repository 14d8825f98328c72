"""Masked language modelling on a collection's own texts: domain pre-training without a teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, gelu, linear

from reranker_kd.distill.data.batches import Chunks
from reranker_kd.errors import RecipeError


class MaskedLanguageModel(torch.nn.Module):
    """BERT's objective (Devlin et al. 2019, section 3.1) over a transformer that has lost its head for it.

    15 of 100 tokens are to be predicted; of these 80 are masked, 10 are replaced by a random one, 10 stay. The head is
    BERT's: a dense layer, GELU, normalisation, and the word embeddings themselves as output weights.

    :param encoder: a BERT or ELECTRA, trained in place
    :param mask_id: the mask's token
    :param special_ids: tokens that are never predicted
    :param share: of the tokens that are to be predicted
    :raises RecipeError: the tokenizer has no mask
    """

    def __init__(self, encoder: Any, mask_id: int | None, special_ids: tuple[int, ...], share: float = 0.15) -> None:
        super().__init__()
        if mask_id is None:
            raise RecipeError(
                "domain_pretraining: the tokenizer of student.start has no mask token: leave it out, or start from a "
                "model that was pre-trained with masks"
            )
        config = encoder.config
        width = getattr(config, "embedding_size", config.hidden_size)
        # Not registered: the student holds it already.
        self._encoder = (encoder,)
        self.dense = torch.nn.Linear(config.hidden_size, width)
        self.norm = torch.nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.bias = torch.nn.Parameter(torch.zeros(config.vocab_size))
        self._mask_id = mask_id
        self._special_ids = special_ids
        self._share = share

    def forward(self, texts: Chunks) -> Tensor:
        """Return the mean cross-entropy over the tokens that are to be predicted."""
        # Where nothing is chosen the loss is 0, and still something that has a gradient.
        losses, count = 0.0 * self.bias.sum(), 0
        for inputs in texts.inputs:
            ids = inputs["input_ids"]
            chosen = self._chosen(ids, inputs["attention_mask"])
            if not chosen.any():
                continue
            hidden = self._encoder[0](**{**inputs, "input_ids": self._corrupted(ids, chosen)}).last_hidden_state
            table = self._encoder[0].get_input_embeddings().weight
            logits = linear(self.norm(gelu(self.dense(hidden[chosen]))), table, self.bias)
            losses = losses + cross_entropy(logits.float(), ids[chosen], reduction="sum")
            count += int(chosen.sum())
        return losses / max(1, count)

    def _chosen(self, ids: Tensor, mask: Tensor) -> Tensor:
        open_to_it = mask.bool() & ~torch.isin(ids, torch.tensor(self._special_ids, device=ids.device))
        return (torch.rand(ids.shape, device=ids.device) < self._share) & open_to_it

    def _corrupted(self, ids: Tensor, chosen: Tensor) -> Tensor:
        dice = torch.rand(ids.shape, device=ids.device)
        random = torch.randint(len(self.bias), ids.shape, device=ids.device)
        masked = torch.where(dice < 0.8, self._mask_id, torch.where(dice < 0.9, random, ids))
        return torch.where(chosen, masked, ids)
