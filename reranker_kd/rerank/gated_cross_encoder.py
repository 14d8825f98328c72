"""Reranking by a cross-encoder that began as a bi-encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reranker_kd.inference.framed_pairs import FramedPairTokenizer
from reranker_kd.inference.pair_tokenizer import PairTokenizer
from reranker_kd.rerank.cross_encoder import CrossEncoderReranker
from reranker_kd.rerank.transformer import LoadedNetwork


class GatedCrossEncoderReranker(CrossEncoderReranker):
    """A model that :func:`reranker_kd.models.gated_cross_encoder.save_gated_cross_encoder` wrote."""

    def _load(self, folder: Path) -> LoadedNetwork:
        from reranker_kd.models.gated_cross_encoder import load_gated_cross_encoder

        network = load_gated_cross_encoder(folder)
        return LoadedNetwork(network, network.transformer.config, network.config.max_length)

    def _pair_tokenizer(self, tokenizer: Any) -> PairTokenizer:
        return FramedPairTokenizer(tokenizer)
