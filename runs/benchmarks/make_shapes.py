"""Save BERT cross-encoders with random weights, for what depends on their shape alone: the time they take.

    python runs/benchmarks/make_shapes.py TOKENIZER FOLDER [LAYERSxWIDTH ...]

TOKENIZER is a folder or name whose vocabulary they get, such as all-MiniLM-L6-v2. By default the shapes are those of
BERT-Base (12x768), MiniLM-L6 (6x384) and the 15-fold student of Simplified TinyBERT (3x384).
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification

from reranker_kd.models.loading import load_tokenizer
from reranker_kd.models.registry import model_folder

SHAPES = ("12x768", "6x384", "3x384")

_POSITIONS = 512


def main(tokenizer_name: str, folder: str, *shapes: str) -> None:
    """Write a folder for each shape: 12 attention heads, as BERT-Base and MiniLM have."""
    tokenizer = load_tokenizer(model_folder(tokenizer_name))
    tokenizer.model_max_length = _POSITIONS
    for shape in shapes or SHAPES:
        layers, width = map(int, shape.split("x"))
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=12,
            intermediate_size=4 * width,
            max_position_embeddings=_POSITIONS,
            num_labels=1,
        )
        target = Path(folder) / shape
        BertForSequenceClassification(config).save_pretrained(target)
        tokenizer.save_pretrained(target)


if __name__ == "__main__":
    main(*sys.argv[1:])
