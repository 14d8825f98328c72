"""A bi-encoder at work: queries and documents in, embeddings out, and the crossing of the two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reranker_kd.errors import ModelError
from reranker_kd.inference.pair_tokenizer import PairTokenizer, TokenIds
from reranker_kd.inference.torch_runner import DEFAULT_BATCH_TOKENS, TorchRunner
from reranker_kd.models.folder import content_hash, kind_of
from reranker_kd.models.loading import checked_length, load_tokenizer, longest_input
from reranker_kd.models.registry import model_folder
from reranker_kd.models.twin import load_twin
from reranker_kd.types import FloatArray

_SHORTEST = 4
"""Tokens of the shortest input: special tokens, and something between them."""

_PAIRS_A_CROSSING = 16384
"""Pairs that are crossed at once, so that memory stays bounded."""


class TextEncoder:
    """Encodes queries and documents by a twin, or by a sentence-transformers bi-encoder.

    Embeddings come out in the form in which they are kept: of length 1 where the crossing is the cosine.

    :param folder: what :func:`reranker_kd.models.twin.load_twin` reads
    :param name: by what name the model was asked for
    :param max_length: tokens of an input, special tokens included; None takes the model's own limits
    :param batch_tokens: tokens of a batch, padding included
    :param device: a torch device; None takes a GPU where there is one
    :param precision: ``float32``, ``bfloat16``, or ``auto`` for bfloat16 where the device computes in it; embeddings
        are float32 whatever it is
    :raises ModelError: the model cannot be loaded
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str | None = None,
        max_length: int | None = None,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        device: str | None = None,
        precision: str = "float32",
    ) -> None:
        twin = load_twin(folder)
        tokenizer = load_tokenizer(folder)
        limit = longest_input(twin.transformer_config, tokenizer)
        self.name = name or folder.name
        self.folder = folder
        query_length = _shorter(max_length, twin.config.max_query_length)
        document_length = max_length or twin.config.max_document_length
        self.max_query_length = checked_length(query_length, limit, folder, shortest=_SHORTEST)
        self.max_document_length = checked_length(document_length, limit, folder, shortest=_SHORTEST)
        self.dimension = twin.dimension()
        self.tokenizer = PairTokenizer(tokenizer)
        self._config = twin.config

        def runner(tower: Any) -> TorchRunner:
            return TorchRunner(
                tower,
                pad_id=self.tokenizer.pad_id,
                with_types=self.tokenizer.has_types,
                batch_tokens=batch_tokens,
                device=device,
                precision=precision,
            )

        self._query_runner = runner(twin.query_tower)
        self._document_runner = self._query_runner if twin.shared else runner(twin.document_tower)
        self._crossing = twin.crossing.to(self._query_runner.device).eval()

    @property
    def crossing(self) -> str:
        """How embeddings are compared: ``cosine``, ``dot`` or ``residual``."""
        return self._crossing.name

    @property
    def searchable(self) -> bool:
        """Whether a score is an inner product, so that the best documents can be searched by it."""
        return self._crossing.searchable

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
        return self.tokenizer.encode([self._config.query_prompt + query for query in queries])

    def document_tokens(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the tokens of documents, the model's prompt included, uncut."""
        return self.tokenizer.encode([self._config.document_prompt + text for text in texts])

    def embed_queries(
        self, tokens: Sequence[TokenIds], on_progress: Callable[[int], None] = lambda _: None
    ) -> FloatArray:
        """Return the embeddings (n, d) of tokenised queries, each cut to what the model takes."""
        return self._embed(self._query_runner, tokens, self.query_room, on_progress)

    def embed_documents(
        self, tokens: Sequence[TokenIds], on_progress: Callable[[int], None] = lambda _: None
    ) -> FloatArray:
        """Return the embeddings (n, d) of tokenised documents or passages, each cut to what the model takes."""
        return self._embed(self._document_runner, tokens, self.document_room, on_progress)

    def encode_queries(self, queries: Sequence[str]) -> FloatArray:
        """Return the embeddings (n, d) of queries."""
        return self.embed_queries(self.query_tokens(queries))

    def encode_documents(self, texts: Sequence[str]) -> FloatArray:
        """Return the embeddings (n, d) of documents."""
        return self.embed_documents(self.document_tokens(texts))

    def cross(self, queries: FloatArray, documents: FloatArray) -> FloatArray:
        """Return the scores (n,) of embeddings row by row: documents (n, d), queries (n, d) or one for all, (d,)."""
        if self._crossing.searchable and queries.ndim == 1:
            return documents @ queries
        queries = np.broadcast_to(queries, documents.shape)
        scores = np.empty(len(queries), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(queries), _PAIRS_A_CROSSING):
                rows = slice(start, start + _PAIRS_A_CROSSING)
                both = [torch.tensor(side[rows]).to(self._query_runner.device) for side in (queries, documents)]
                scores[rows] = self._crossing(*both).cpu().numpy()
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
            "precision": str(self._query_runner.precision).removeprefix("torch."),
            "device": str(self._query_runner.device),
        }

    def _embed(
        self, runner: TorchRunner, tokens: Sequence[TokenIds], room: int, on_progress: Callable[[int], None]
    ) -> FloatArray:
        if not tokens:
            return np.zeros((0, self.dimension), dtype=np.float32)
        embeddings = runner.run([self.tokenizer.single(ids[:room]) for ids in tokens], on_progress)
        with torch.inference_mode():
            return self._crossing.prepare(torch.from_numpy(embeddings)).numpy()


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
