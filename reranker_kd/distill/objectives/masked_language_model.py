"""Masked language modelling on a collection's own texts: domain pre-training without a teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, gelu, linear
from transformers import DataCollatorForLanguageModeling

from reranker_kd.distill.data.batches import Chunks
from reranker_kd.errors import RecipeError


def masked_cross_entropy(student: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of masked tokens, predicted from the others (Devlin et al. 2019); of none it is 0.

    :param student: logits (n, vocabulary) of the tokens that are to be predicted
    :param labels: what they were (n,)
    """
    return cross_entropy(student.float(), labels, reduction="sum") / max(1, len(labels))


class MaskedLanguageModel(torch.nn.Module):
    """BERT's objective (Devlin et al. 2019, section 3.1) over a transformer that has lost its head for it.

    15 of 100 tokens are to be predicted; of these 80 are masked, 10 are replaced by a random one, 10 stay. The head is
    BERT's: a dense layer, GELU, normalisation, and the word embeddings themselves as output weights.

    :param encoder: a BERT or ELECTRA, trained in place; None where a student has none
    :param tokenizer: its ``transformers`` tokenizer
    :raises RecipeError: there is no transformer, or the tokenizer has no mask
    """

    def __init__(self, encoder: Any, tokenizer: Any) -> None:
        super().__init__()
        if encoder is None:
            raise RecipeError("domain_pretraining: this student.kind has no transformer to pre-train: leave it out")
        if tokenizer.mask_token is None:
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
        self._masking = DataCollatorForLanguageModeling(tokenizer)
        self._special_ids = torch.tensor(tokenizer.all_special_ids)

    def forward(self, texts: Chunks) -> tuple[Tensor, Tensor]:
        """Return the logits (n, vocabulary) of the tokens that are to be predicted, and what they were (n,)."""
        logits, labels = [], []
        for inputs in texts.inputs:
            # Random numbers are drawn on the CPU, whose state every checkpoint keeps.
            ids = inputs["input_ids"].cpu()
            left_alone = torch.isin(ids, self._special_ids) | (inputs["attention_mask"].cpu() == 0)
            corrupted, wanted = self._masking.torch_mask_tokens(ids.clone(), left_alone)
            chosen = (wanted != -100).to(inputs["input_ids"].device)
            hidden = self._encoder[0](**{**inputs, "input_ids": corrupted.to(chosen.device)}).last_hidden_state
            table = self._encoder[0].get_input_embeddings().weight
            logits.append(linear(self.norm(gelu(self.dense(hidden[chosen]))), table, self.bias))
            labels.append(inputs["input_ids"][chosen])
        return torch.cat(logits), torch.cat(labels)
