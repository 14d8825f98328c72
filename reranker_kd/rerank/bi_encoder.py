"""Reranking by a bi-encoder: query and document are encoded apart, the crossing of both is the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.inference.text_encoder import TextEncoder
from reranker_kd.rerank.base import DocumentScores, Pair, Progress, Reranker, no_progress
from reranker_kd.rerank.long_documents import LongDocuments
from reranker_kd.types import FloatArray


class BiEncoderReranker(Reranker):
    """Any twin, and any sentence-transformers bi-encoder of the modules Transformer, Pooling, Dense and Normalize.

    :param folder: holds the model
    :param name: by what name the model was asked for
    :param long_documents: how :meth:`rerank` treats documents that do not fit
    :param max_length: this and what follows as :class:`TextEncoder` has it
    :raises ModelError: the model cannot be loaded
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str | None = None,
        max_length: int | None = None,
        long_documents: LongDocuments | None = None,
        batch_tokens: int | None = None,
        device: str | None = None,
        precision: str | None = None,
        backend: str | None = None,
    ) -> None:
        self.encoder = TextEncoder(
            folder,
            name=name,
            max_length=max_length,
            batch_tokens=batch_tokens,
            device=device,
            precision=precision,
            backend=backend,
        )
        self._long_documents = long_documents or LongDocuments()

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the score of each pair, each text cut to what the model takes."""
        return self._score(pairs, LongDocuments("firstp"), no_progress).scores

    def score_documents(self, pairs: Sequence[Pair], on_progress: Progress = no_progress) -> DocumentScores:
        """Score documents by passages that the model takes."""
        return self._score(pairs, self._long_documents, on_progress)

    def describe(self) -> dict[str, Any]:
        """Return name, content hash and parameters."""
        return {**super().describe(), **self.encoder.describe(), "long_documents": asdict(self._long_documents)}

    def _score(self, pairs: Sequence[Pair], long_documents: LongDocuments, on_progress: Progress) -> DocumentScores:
        # Each distinct text is encoded once: a query comes with many documents, a document with many queries.
        queries = {query: row for row, query in enumerate(dict.fromkeys(query for query, _ in pairs))}
        texts = {text: row for row, text in enumerate(dict.fromkeys(text for _, text in pairs))}
        query_tokens = self.encoder.query_tokens(list(queries))
        tokens = self.encoder.document_tokens(list(texts))
        places = [long_documents.passages(len(ids), self.encoder.document_room) for ids in tokens]
        passages = [ids[start:end] for ids, spans in zip(tokens, places, strict=True) for start, end in spans]
        share = len(pairs) / max(1, len(passages) + len(queries))
        query_embeddings = self.encoder.embed_queries(query_tokens, lambda done: on_progress(done * share))
        embeddings = self.encoder.embed_documents(passages, lambda done: on_progress(done * share))
        ends = np.cumsum([len(spans) for spans in places])
        query_rows: list[int] = []
        passage_rows: list[int] = []
        counts = []
        split = cut = 0
        for query, text in pairs:
            place, query_row = texts[text], queries[query]
            count = len(places[place])
            passage_rows += range(ends[place] - count, ends[place])
            query_rows += [query_row] * count
            counts.append(count)
            split += count > 1
            cut += places[place][-1][1] < len(tokens[place]) or len(query_tokens[query_row]) > self.encoder.query_room
        scores = self.encoder.cross(query_embeddings[query_rows], embeddings[passage_rows])
        return DocumentScores(long_documents.aggregate(scores, counts), split=split, cut=cut)
