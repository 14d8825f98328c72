"""Tiny twins with random weights: BERT and ALBERT towers, shared and separate."""

from __future__ import annotations

from pathlib import Path

import torch
from make_tiny_models import bert_tokenizer
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel, PreTrainedModel

from reranker_kd.models.twin import KIND, Twin, TwinShape, build

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def tiny_twin(architecture: str = "bert", *, seed: int = 0, **settings: str | int) -> Twin:
    """Return a twin of random weights, large enough to tell texts apart."""
    torch.manual_seed(seed)
    vocabulary = len(bert_tokenizer())
    shape = TwinShape(**({"max_length": None} | settings))  # type: ignore[arg-type]
    return build(shape, _Start(architecture, vocabulary)).eval()


class _Start:
    def __init__(self, architecture: str, vocabulary: int) -> None:
        self.architecture, self.vocabulary = architecture, vocabulary

    def transformer(self, shape: TwinShape, name: str) -> PreTrainedModel:
        if self.architecture == "albert":
            # Siamese ALBERT: one layer's weights for all layers, factorised embeddings.
            albert = AlbertConfig(vocab_size=self.vocabulary, embedding_size=16, initializer_range=0.3, **SIZES)
            return AlbertModel(albert, add_pooling_layer=False)
        bert = BertConfig(vocab_size=self.vocabulary, initializer_range=0.3, **SIZES)
        return BertModel(bert, add_pooling_layer=False)

    def word_embeddings(self) -> None:
        return None


def make_tiny_twin(folder: Path, architecture: str = "bert", *, seed: int = 0, **settings: str | int) -> Path:
    """Write such a twin into a folder, which is returned."""
    KIND.save(tiny_twin(architecture, seed=seed, **settings), bert_tokenizer(), folder)
    return folder
