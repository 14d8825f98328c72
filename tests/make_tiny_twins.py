"""Tiny twins with random weights: BERT and ALBERT towers, shared and separate."""

from __future__ import annotations

from pathlib import Path

import torch
from make_tiny_models import bert_tokenizer
from transformers import AlbertConfig, AlbertModel, BertConfig, BertModel

from reranker_kd.models.twin import Twin, TwinConfig, make_twin, save_twin

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}


def tiny_twin(architecture: str = "bert", *, seed: int = 0, **settings: str | int) -> Twin:
    """Return a twin of random weights, large enough to tell texts apart."""
    torch.manual_seed(seed)
    vocabulary = len(bert_tokenizer())
    config = TwinConfig(**settings)  # type: ignore[arg-type]
    towers = []
    for _ in range(2 if config.towers == "separate" else 1):
        if architecture == "albert":
            # Siamese ALBERT: one layer's weights for all layers, factorised embeddings.
            albert = AlbertConfig(vocab_size=vocabulary, embedding_size=16, initializer_range=0.3, **SIZES)
            towers.append(AlbertModel(albert, add_pooling_layer=False))
        else:
            bert = BertConfig(vocab_size=vocabulary, initializer_range=0.3, **SIZES)
            towers.append(BertModel(bert, add_pooling_layer=False))
    return make_twin(config, *towers).eval()


def make_tiny_twin(folder: Path, architecture: str = "bert", *, seed: int = 0, **settings: str | int) -> Path:
    """Write such a twin into a folder, which is returned."""
    save_twin(tiny_twin(architecture, seed=seed, **settings), bert_tokenizer(), folder)
    return folder
