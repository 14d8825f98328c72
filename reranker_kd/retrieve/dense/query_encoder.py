"""A query encoder for Pyserini's FaissSearcher, so that users who stay in Pyserini can search by our models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reranker_kd.inference.text_encoder import load_encoder
from reranker_kd.retrieve.dense.compatibility import check_searchable
from reranker_kd.types import FloatArray


class QueryEncoder:
    """Encodes queries as ``pyserini.search.faiss.FaissSearcher`` asks for it.

    :param name: a twin or a sentence-transformers bi-encoder: a folder, an installed model or a hub id
    :param options: those of :class:`reranker_kd.inference.options.ModelOptions`
    :raises ModelError: the model cannot be loaded
    :raises InputError: its scores are no inner products
    """

    def __init__(self, name: str | Path, **options: Any) -> None:
        self._encoder = load_encoder(name, **options)
        check_searchable(self._encoder)
        self.dimension = self._encoder.dimension

    def encode(self, query: str, **_: Any) -> FloatArray:
        """Return the embedding (dimension,) of a query."""
        return self._encoder.encode_queries([query])[0]

    def encode_batch(self, queries: Sequence[str], **_: Any) -> FloatArray:
        """Return the embeddings (n, dimension) of queries."""
        return self._encoder.encode_queries(list(queries))
