"""Reranking by a bi-encoder: query and document are encoded apart, their similarity is the score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.errors import ModelError
from reranker_kd.models.folder import read_json
from reranker_kd.models.sentence_encoder import load_sentence_encoder
from reranker_kd.rerank.base import DocumentScores, Pair, Progress, no_progress
from reranker_kd.rerank.long_documents import LongDocuments
from reranker_kd.rerank.transformer import LoadedNetwork, TransformerReranker
from reranker_kd.types import FloatArray


class BiEncoderReranker(TransformerReranker):
    """Any sentence-transformers bi-encoder of the modules Transformer, Pooling, Dense and Normalize."""

    def _load(self, folder: Path) -> LoadedNetwork:
        self._settings = read_settings(folder)
        encoder = load_sentence_encoder(folder)
        own = _optional_json(folder / "sentence_bert_config.json").get("max_seq_length")
        return LoadedNetwork(encoder, encoder.transformer.config, own)

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the similarity of each pair, each text cut to ``max_length``."""
        return self._score(pairs, LongDocuments("firstp"), no_progress).scores

    def score_documents(self, pairs: Sequence[Pair], on_progress: Progress = no_progress) -> DocumentScores:
        """Score documents by passages of ``max_length``."""
        return self._score(pairs, self._long_documents, on_progress)

    def describe(self) -> dict[str, Any]:
        """Return name, content hash and parameters."""
        return {**super().describe(), "similarity": self._settings.similarity}

    def _score(self, pairs: Sequence[Pair], long_documents: LongDocuments, on_progress: Progress) -> DocumentScores:
        # Each distinct text is encoded once: a query comes with many documents, a document with many queries.
        queries = {query: row for row, query in enumerate(dict.fromkeys(query for query, _ in pairs))}
        texts = {text: row for row, text in enumerate(dict.fromkeys(text for _, text in pairs))}
        room = self.max_length - self._tokenizer.single_frame.size
        query_ids = self._tokenizer.encode([self._settings.query_prompt + query for query in queries])
        text_ids = self._tokenizer.encode([self._settings.document_prompt + text for text in texts])
        passages = [long_documents.passages(len(ids), room) for ids in text_ids]
        sequences = [self._tokenizer.single(ids[:room]) for ids in query_ids]
        for ids, places in zip(text_ids, passages, strict=True):
            sequences += [self._tokenizer.single(ids[start:end]) for start, end in places]
        share = len(pairs) / max(1, len(sequences))
        embeddings = self._runner.run(sequences, lambda done: on_progress(done * share))
        if self._settings.similarity == "cosine":
            embeddings = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
        ends = len(queries) + np.cumsum([len(places) for places in passages])
        similarities, counts = [np.zeros(0, dtype=np.float32)], []
        split = cut = 0
        for query, text in pairs:
            place, query_row = texts[text], queries[query]
            count = len(passages[place])
            similarities.append(embeddings[ends[place] - count : ends[place]] @ embeddings[query_row])
            counts.append(count)
            split += count > 1
            cut += passages[place][-1][1] < len(text_ids[place]) or len(query_ids[query_row]) > room
        return DocumentScores(long_documents.aggregate(np.concatenate(similarities), counts), split=split, cut=cut)


@dataclass(frozen=True, slots=True)
class Settings:
    """What sentence-transformers keeps beside the network: prompts put before texts, and the similarity."""

    query_prompt: str
    document_prompt: str
    similarity: str


def read_settings(folder: Path) -> Settings:
    """Return the settings in ``config_sentence_transformers.json``.

    :raises ModelError: a similarity other than cosine and dot
    """
    content = _optional_json(folder / "config_sentence_transformers.json")
    prompts = content.get("prompts") or {}
    similarity = content.get("similarity_fn_name") or "cosine"
    if similarity not in ("cosine", "dot"):
        raise ModelError(f"{folder}: similarity {similarity!r} is not supported; known: cosine, dot")
    document_prompt = prompts.get("document") or prompts.get("passage") or ""
    return Settings(str(prompts.get("query") or ""), str(document_prompt), similarity)


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
