"""Reranking by BertBiLSTM: a cross-encoder whose network is an LSTM."""

from __future__ import annotations

from pathlib import Path

from reranker_kd.rerank.cross_encoder import CrossEncoderReranker
from reranker_kd.rerank.transformer import LoadedNetwork


class BertBiLSTMReranker(CrossEncoderReranker):
    """A BertBiLSTM out of a folder of :func:`~reranker_kd.models.bert_bilstm.save_bert_bilstm`.

    Pairs are framed, cut and split into passages as for any cross-encoder.
    """

    def _load(self, folder: Path) -> LoadedNetwork:
        from reranker_kd.models.bert_bilstm import load_bert_bilstm

        network = load_bert_bilstm(folder)
        return LoadedNetwork(network, network.config)
