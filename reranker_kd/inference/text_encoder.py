"""A bi-encoder at work: queries and documents in, embeddings out, and the crossing of the two."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.errors import ModelError
from reranker_kd.inference.engine import Engine
from reranker_kd.inference.loading import EngineSettings, describe_engine, engine_of_export, engine_of_network
from reranker_kd.inference.pair_tokenizer import PairTokenizer, TokenIds, TokenSequence
from reranker_kd.models.exported import Export, Exportable, SavedTokenizer, read_export
from reranker_kd.models.folder import checked_length, content_hash, kind_of
from reranker_kd.models.registry import model_folder
from reranker_kd.types import FloatArray

_SHORTEST = 4
"""Tokens of the shortest input: special tokens, and something between them."""

_PAIRS_A_CROSSING = 16384
"""Pairs that are crossed at once, so that memory stays bounded."""


class TextEncoder:
    """Encodes queries and documents by a twin, or by a sentence-transformers bi-encoder.

    Embeddings come out in the form in which they are kept: of length 1 where the crossing is the cosine.

    :param folder: what :func:`reranker_kd.models.twin.load_twin` reads, or an exported model
    :param name: by what name the model was asked for
    :param max_length: tokens of an input, special tokens included; None takes the model's own limits
    :param batch_tokens: tokens of a batch, padding included; None takes what suits the backend
    :param device: a torch device; None takes a GPU where there is one
    :param precision: ``float32``, ``bfloat16``, or ``auto`` for bfloat16 where the device computes in it; embeddings
        are float32 whatever it is. None takes float32, or what an exported model was exported for
    :param backend: ``torch``, ``openvino``, ``onnxruntime``, or ``auto`` for the fastest that is installed. None takes
        torch, or what an exported model was exported for
    :raises ModelError: the model cannot be loaded
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str | None = None,
        max_length: int | None = None,
        batch_tokens: int | None = None,
        device: str | None = None,
        precision: str | None = None,
        backend: str | None = None,
    ) -> None:
        self.name = name or folder.name
        self.folder = folder
        asked = EngineSettings(batch_tokens, device, precision, backend)
        export = read_export(folder)
        limit = self._load_network(asked) if export is None else self._load_export(export, asked)
        query_length = _shorter(max_length, self._config["max_query_length"])
        document_length = max_length or self._config["max_document_length"]
        self.max_query_length = checked_length(query_length, limit, folder, shortest=_SHORTEST)
        self.max_document_length = checked_length(document_length, limit, folder, shortest=_SHORTEST)

    def exportable(self) -> Exportable:
        """Load the towers anew, in float32, with what an export says of them."""
        from reranker_kd.models.loading import load_tokenizer, longest_input
        from reranker_kd.models.prepared_tower import PreparedTower
        from reranker_kd.models.twin import load_twin

        twin = load_twin(self.folder)
        tokenizer = load_tokenizer(self.folder)
        query_tower = PreparedTower(twin.query_tower, twin.crossing)
        document_tower = query_tower if twin.shared else PreparedTower(twin.document_tower, twin.crossing)
        return Exportable(
            {"query": query_tower, "document": document_tower},
            tokenizer,
            "token_type_ids" in tokenizer.model_input_names,
            longest_input(twin.transformer_config, tokenizer),
            twin=twin.config.model_dump(),
            dimension=twin.dimension(),
            # A copy, since the one within the towers moves to their device.
            crossing=copy.deepcopy(twin.crossing).eval(),
        )

    def sequences(self, pairs: Sequence[tuple[str, str]]) -> dict[str, list[TokenSequence]]:
        """Return what each tower gets for pairs of a query and a text; both kinds, where it is one tower."""
        queries = self.query_tokens(list(dict.fromkeys(query for query, _ in pairs)))
        documents = self.document_tokens(list(dict.fromkeys(text for _, text in pairs)))
        sides = {
            "query": [self.tokenizer.single(ids[: self.query_room]) for ids in queries],
            "document": [self.tokenizer.single(ids[: self.document_room]) for ids in documents],
        }
        if self._query_engine is self._document_engine:
            sides["query"] += sides["document"]
        return sides

    def _load_network(self, asked: EngineSettings) -> int:
        loaded = self.exportable()
        assert loaded.twin is not None and loaded.dimension is not None
        self._config, self._crossing, self.dimension = loaded.twin, loaded.crossing, loaded.dimension
        self.tokenizer = PairTokenizer(loaded.tokenizer)
        query, document = loaded.networks["query"], loaded.networks["document"]
        self._query_engine = engine_of_network(query, self.tokenizer, asked)
        shared = document is query
        self._document_engine = self._query_engine if shared else engine_of_network(document, self.tokenizer, asked)
        return loaded.limit

    def _load_export(self, export: Export, asked: EngineSettings) -> int:
        assert export.twin is not None and export.dimension is not None
        self.dimension = export.dimension
        self.tokenizer = PairTokenizer(SavedTokenizer(self.folder, export))
        self._config = export.twin
        self._crossing = None
        if not self.searchable:
            from reranker_kd.models.crossing import load_crossing

            self._crossing = load_crossing(self.folder, self.crossing, self.dimension)
        self._query_engine = engine_of_export(self.folder, export, "query", self.tokenizer, asked)
        shared = export.networks["query"] == export.networks["document"]
        self._document_engine = (
            self._query_engine if shared else engine_of_export(self.folder, export, "document", self.tokenizer, asked)
        )
        return export.limit

    @property
    def crossing(self) -> str:
        """How embeddings are compared: ``cosine``, ``dot`` or ``residual``."""
        return str(self._config["crossing"])

    @property
    def searchable(self) -> bool:
        """Whether a score is an inner product, so that the best documents can be searched by it."""
        return self.crossing in ("cosine", "dot")

    @property
    def query_room(self) -> int:
        """Tokens of a query that are seen, without special tokens."""
        return self.max_query_length - self.tokenizer.single_frame.size

    @property
    def document_room(self) -> int:
        """Tokens of a document that are seen, without special tokens."""
        return self.max_document_length - self.tokenizer.single_frame.size

    def query_tokens(self, queries: Sequence[str]) -> list[TokenIds]:
        """Return the tokens of queries, the model's prompt included, uncut."""
        return self.tokenizer.encode([self._config["query_prompt"] + query for query in queries])

    def document_tokens(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the tokens of documents, the model's prompt included, uncut."""
        return self.tokenizer.encode([self._config["document_prompt"] + text for text in texts])

    def embed_queries(
        self, tokens: Sequence[TokenIds], on_progress: Callable[[int], None] = lambda _: None
    ) -> FloatArray:
        """Return the embeddings (n, d) of tokenised queries, each cut to what the model takes."""
        return self._embed(self._query_engine, tokens, self.query_room, on_progress)

    def embed_documents(
        self, tokens: Sequence[TokenIds], on_progress: Callable[[int], None] = lambda _: None
    ) -> FloatArray:
        """Return the embeddings (n, d) of tokenised documents or passages, each cut to what the model takes."""
        return self._embed(self._document_engine, tokens, self.document_room, on_progress)

    def encode_queries(self, queries: Sequence[str]) -> FloatArray:
        """Return the embeddings (n, d) of queries."""
        return self.embed_queries(self.query_tokens(queries))

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Return the embeddings (n, d) of documents."""
        return self.embed_documents(self.document_tokens(texts))

    def cross(self, queries: FloatArray, documents: FloatArray) -> FloatArray:
        """Return the scores (n,) of embeddings row by row: documents (n, d), queries (n, d) or one for all, (d,)."""
        if self.searchable:
            return documents @ queries if queries.ndim == 1 else np.einsum("nd,nd->n", documents, queries)
        import torch

        queries = np.broadcast_to(queries, documents.shape)
        scores = np.empty(len(queries), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(queries), _PAIRS_A_CROSSING):
                rows = slice(start, start + _PAIRS_A_CROSSING)
                scores[rows] = self._crossing(*(torch.tensor(side[rows]) for side in (queries, documents))).numpy()
        return scores

    def describe(self) -> dict[str, Any]:
        """Return name, content hash and parameters."""
        return {
            "name": self.name,
            "sha256": content_hash(self.folder),
            "crossing": self.crossing,
            "dimension": self.dimension,
            "max_query_length": self.max_query_length,
            "max_length": self.max_document_length,
            **describe_engine(self._query_engine),
        }

    def _embed(
        self, engine: Engine, tokens: Sequence[TokenIds], room: int, on_progress: Callable[[int], None]
    ) -> FloatArray:
        if not tokens:
            return np.zeros((0, self.dimension), dtype=np.float32)
        return engine.run([self.tokenizer.single(ids[:room]) for ids in tokens], on_progress)


def load_encoder(name: str | Path, **keywords: Any) -> TextEncoder:
    """Return the encoder of a model that is named as :func:`reranker_kd.load_reranker` takes it.

    :raises ModelError: no such model, or one that does not encode texts apart
    """
    folder = model_folder(name)
    if kind_of(folder) not in ("bi-encoder", "twin"):
        raise ModelError(
            f"{name}: is a {kind_of(folder)}, which scores query and document together and has no embeddings: name a "
            "twin or a sentence-transformers bi-encoder"
        )
    return TextEncoder(folder, name=str(name), **keywords)


def _shorter(asked: int | None, own: int | None) -> int | None:
    # A twin's queries are kept shorter than its documents: asking for longer documents leaves them so.
    return min(asked, own) if asked and own else asked or own
