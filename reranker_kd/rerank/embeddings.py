"""Reranking by embeddings that were computed before: a candidate is a row of an index, not a text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.rerank.base import DocumentScores, Pair, Progress, Request, Reranker, check_query, no_progress
from reranker_kd.rerank.model_reranker import TextReranker
from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
from reranker_kd.retrieve.dense.search import check_made_by
from reranker_kd.types import Candidate, FloatArray


class EmbeddingReranker(Reranker):
    """A bi-encoder over a folder of its document embeddings, which ``reranker-kd encode`` or Pyserini wrote.

    Queries are encoded; the vectors of their candidates are gathered by docid. Documents that the folder lacks are
    encoded from their texts, cut to what the model takes, as ``encode`` would have.

    :param by_text: the bi-encoder, which still scores texts that are given as such
    :param embeddings: the folder of the files ``index`` and ``docid``
    :raises InputError: a folder that is broken, or holds another model's embeddings
    """

    def __init__(self, by_text: TextReranker, embeddings: str | Path) -> None:
        self.index = EmbeddingIndex(embeddings)
        self.encoder = by_text.encoder
        self.interpolate = by_text.interpolate
        self._by_text = by_text
        check_made_by(self.index, self.encoder)

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the score of each pair, by its texts."""
        return self._by_text.score_pairs(pairs)

    def score_documents(self, pairs: Sequence[Pair], on_progress: Progress = no_progress) -> DocumentScores:
        """Score documents by their texts."""
        return self._by_text.score_documents(pairs, on_progress)

    def texts_wanted(self, docids: Collection[str]) -> Collection[str]:
        """Return the documents that the embeddings lack."""
        listed = list(docids)
        return [docid for docid, row in zip(listed, self.index.rows_of(listed).tolist(), strict=True) if row < 0]

    def score_candidates(self, requests: Sequence[Request], on_progress: Progress = no_progress) -> DocumentScores:
        """Score the candidates of several queries by their embeddings; see :meth:`Reranker.score_candidates`."""
        for query, _ in requests:
            check_query(query)
        queries = self.encoder.encode_queries([query.text for query, _ in requests])
        scores = [np.zeros(0, dtype=np.float32)]
        cut = 0
        for query, (_, candidates) in zip(queries, requests, strict=True):
            documents, cut_here = self._gather(candidates)
            scores.append(self.encoder.cross(query, documents))
            cut += cut_here
            on_progress(len(candidates))
        return DocumentScores(np.concatenate(scores), cut=cut)

    def describe(self) -> dict[str, Any]:
        """Return name, content hash and parameters, of the model and of the embeddings."""
        return {**self._by_text.describe(), **super().describe(), "embeddings": self.index.describe()}

    def _gather(self, candidates: Sequence[Candidate]) -> tuple[FloatArray, int]:
        rows = self.index.rows_of([candidate.docid for candidate in candidates])
        found = rows >= 0
        if found.all():
            return self.index.vectors_of(rows), 0
        vectors = np.empty((len(rows), self.encoder.dimension), dtype=np.float32)
        vectors[found] = self.index.vectors_of(rows[found])
        tokens = self.encoder.document_tokens([candidates[i].text or "" for i in np.flatnonzero(~found).tolist()])
        vectors[~found] = self.encoder.embed_documents(tokens)
        return vectors, sum(len(ids) > self.encoder.document_room for ids in tokens)
