"""A bi-encoder at work: queries and documents in, embeddings out, and the crossing of the two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.errors import ModelError
from reranker_kd.inference.engine import Engine
from reranker_kd.inference.loading import LoadedModel, load_model
from reranker_kd.inference.options import ModelOptions
from reranker_kd.inference.pair_tokenizer import TokenIds, TokenSequence
from reranker_kd.models.folder import checked_length
from reranker_kd.models.registry import model_folder
from reranker_kd.types import FloatArray

_SHORTEST = 4
"""Tokens of the shortest input: special tokens, and something between them."""

_PAIRS_A_CROSSING = 16384
"""Pairs that are crossed at once, so that memory stays bounded."""


class TextEncoder:
    """Encodes queries and documents by a model that reads texts, such as any sentence-transformers bi-encoder.

    Embeddings come out in the form in which they are kept: of length 1 where the crossing is the cosine.

    :param model: reads texts
    :param name: by what name it was asked for
    :param max_length: tokens of an input, special tokens included; None takes the model's own limits
    :raises InputError: a length that the model does not take
    :ivar crossing: how embeddings are compared: ``cosine``, ``dot`` or ``residual``
    :ivar searchable: whether a score is an inner product, so that the best documents can be searched by it
    :ivar query_room: tokens of a query that are seen, without special tokens
    :ivar document_room: tokens of a document that are seen, likewise
    """

    def __init__(self, model: LoadedModel, name: str, max_length: int | None = None) -> None:
        inputs = self.inputs = model.inputs
        assert inputs.texts is not None and inputs.dimension is not None
        self.name = name
        self.folder = model.folder
        self.tokenizer = model.tokenizer
        self.dimension = inputs.dimension
        self._model = model
        self._texts = inputs.texts
        self.crossing = inputs.texts.crossing
        self.searchable = model.crossing is None
        # A twin's queries are kept shorter than its documents: asking for longer documents leaves them so.
        query_length = min(filter(None, (max_length, inputs.texts.max_query_length)), default=None)
        document_length = max_length or inputs.texts.max_length
        self.max_query_length = checked_length(query_length, inputs.limit, model.folder, shortest=_SHORTEST)
        self.max_document_length = checked_length(document_length, inputs.limit, model.folder, shortest=_SHORTEST)
        self.query_room = self.max_query_length - model.tokenizer.single_frame.size
        self.document_room = self.max_document_length - model.tokenizer.single_frame.size

    def sequences(self, pairs: Sequence[tuple[str, str]]) -> dict[str, list[TokenSequence]]:
        """Return what each tower gets for pairs of a query and a text; both kinds, where it is one tower."""
        queries = self.query_tokens(list(dict.fromkeys(query for query, _ in pairs)))
        documents = self.document_tokens(list(dict.fromkeys(text for _, text in pairs)))
        sides = {
            "query": [self.tokenizer.single(ids[: self.query_room]) for ids in queries],
            "document": [self.tokenizer.single(ids[: self.document_room]) for ids in documents],
        }
        if self._model.engines["query"] is self._model.engines["document"]:
            sides["query"] += sides["document"]
        return sides

    def query_tokens(self, queries: Sequence[str]) -> list[TokenIds]:
        """Return the tokens of queries, the model's prompt included, uncut."""
        return self.tokenizer.encode([self._texts.query_prompt + query for query in queries])

    def document_tokens(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the tokens of documents, the model's prompt included, uncut."""
        return self.tokenizer.encode([self._texts.document_prompt + text for text in texts])

    def embed_queries(
        self, tokens: Sequence[TokenIds], on_progress: Callable[[int], None] = lambda _: None
    ) -> FloatArray:
        """Return the embeddings (n, d) of tokenised queries, each cut to what the model takes."""
        return self._embed(self._model.engines["query"], tokens, self.query_room, on_progress)

    def embed_documents(
        self, tokens: Sequence[TokenIds], on_progress: Callable[[int], None] = lambda _: None
    ) -> FloatArray:
        """Return the embeddings (n, d) of tokenised documents or passages, each cut to what the model takes."""
        return self._embed(self._model.engines["document"], tokens, self.document_room, on_progress)

    def encode_queries(self, queries: Sequence[str]) -> FloatArray:
        """Return the embeddings (n, d) of queries."""
        return self.embed_queries(self.query_tokens(queries))

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Return the embeddings (n, d) of documents."""
        return self.embed_documents(self.document_tokens(texts))

    def cross(self, queries: FloatArray, documents: FloatArray) -> FloatArray:
        """Return the scores (n,) of embeddings row by row: documents (n, d), queries (n, d) or one for all, (d,)."""
        crossing = self._model.crossing
        if crossing is None:
            return documents @ queries if queries.ndim == 1 else np.einsum("nd,nd->n", documents, queries)
        import torch

        queries = np.broadcast_to(queries, documents.shape)
        scores = np.empty(len(queries), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(queries), _PAIRS_A_CROSSING):
                rows = slice(start, start + _PAIRS_A_CROSSING)
                scores[rows] = crossing(*(torch.tensor(side[rows]) for side in (queries, documents))).numpy()
        return scores

    def describe(self) -> dict[str, Any]:
        """Return name, content hash and parameters."""
        return {
            "name": self.name,
            "crossing": self.crossing,
            "dimension": self.dimension,
            "max_query_length": self.max_query_length,
            "max_length": self.max_document_length,
            **self._model.describe(),
        }

    def _embed(
        self, engine: Engine, tokens: Sequence[TokenIds], room: int, on_progress: Callable[[int], None]
    ) -> FloatArray:
        if not tokens:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return engine.run([self.tokenizer.single(ids[:room]) for ids in tokens], on_progress)


def load_encoder(name: str | Path, **options: Any) -> TextEncoder:
    """Return the encoder of a model that is named as :func:`reranker_kd.load_reranker` takes it.

    :param options: those of :class:`~reranker_kd.inference.options.ModelOptions`
    :raises ModelError: no such model, or one that does not encode texts apart
    """
    asked = ModelOptions(**options)
    model = load_model(model_folder(name), asked)
    if model.inputs.reads != "texts":
        raise ModelError(
            f"{name}: scores query and document together and has no embeddings: name a twin or a sentence-transformers "
            "bi-encoder"
        )
    return TextEncoder(model, str(name), asked.max_length)
