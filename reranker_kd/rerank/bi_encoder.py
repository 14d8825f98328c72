"""Reranking by a bi-encoder: query and document are encoded apart, their similarity is the score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.errors import ModelError
from reranker_kd.inference.pair_tokenizer import PairTokenizer
from reranker_kd.inference.torch_runner import DEFAULT_BATCH_TOKENS, TorchRunner
from reranker_kd.models.folder import content_hash, read_json
from reranker_kd.models.loading import checked_length, load_tokenizer, longest_input
from reranker_kd.models.sentence_encoder import load_sentence_encoder
from reranker_kd.rerank.base import DocumentScores, Pair, Progress, Reranker, no_progress
from reranker_kd.rerank.long_documents import LongDocuments
from reranker_kd.types import FloatArray


class BiEncoderReranker(Reranker):
    """Any sentence-transformers bi-encoder of the modules Transformer, Pooling, Dense and Normalize.

    :param folder: what sentence-transformers saved
    :param name: by what name the model was asked for
    :param max_length: tokens of a text, special tokens included; None takes the model's own ``max_seq_length``
    :param long_documents: how :meth:`rerank` treats documents that do not fit
    :param batch_tokens: tokens of a batch, padding included
    :param device: a torch device; None takes a GPU where there is one
    :param precision: ``float32``, ``bfloat16``, or ``auto`` for bfloat16 where the device computes in it; scores are
        float32 whatever it is
    :raises ModelError: the model cannot be loaded
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str | None = None,
        max_length: int | None = None,
        long_documents: LongDocuments | None = None,
        batch_tokens: int = DEFAULT_BATCH_TOKENS,
        device: str | None = None,
        precision: str = "float32",
    ) -> None:
        encoder = load_sentence_encoder(folder)
        tokenizer = load_tokenizer(folder)
        self._tokenizer = PairTokenizer(tokenizer)
        limit = longest_input(encoder.transformer.config, tokenizer)
        own = _optional_json(folder / "sentence_bert_config.json").get("max_seq_length")
        self.max_length = checked_length(max_length or own, limit, folder)
        settings = _optional_json(folder / "config_sentence_transformers.json")
        prompts = settings.get("prompts") or {}
        self._query_prompt = str(prompts.get("query") or "")
        self._document_prompt = str(prompts.get("document") or prompts.get("passage") or "")
        self._similarity = settings.get("similarity_fn_name") or "cosine"
        if self._similarity not in ("cosine", "dot"):
            raise ModelError(f"{folder}: similarity {self._similarity!r} is not supported; known: cosine, dot")
        self._long_documents = long_documents or LongDocuments()
        self._runner = TorchRunner(
            encoder,
            pad_id=self._tokenizer.pad_id,
            with_types=self._tokenizer.has_types,
            batch_tokens=batch_tokens,
            device=device,
            precision=precision,
        )
        self._folder = folder
        self.name = name or folder.name

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the similarity of each pair, each text cut to ``max_length``."""
        return self._score(pairs, LongDocuments("firstp"), no_progress).scores

    def score_documents(self, pairs: Sequence[Pair], on_progress: Progress = no_progress) -> DocumentScores:
        """Score documents by passages of ``max_length``."""
        return self._score(pairs, self._long_documents, on_progress)

    def describe(self) -> dict[str, Any]:
        """Return name, content hash and parameters."""
        return {
            **super().describe(),
            "name": self.name,
            "sha256": content_hash(self._folder),
            "similarity": self._similarity,
            "max_length": self.max_length,
            "long_documents": self._long_documents.aggregation,
            "passage_length": self._long_documents.passage_length,
            "passage_stride": self._long_documents.passage_stride,
            "precision": str(self._runner.precision).removeprefix("torch."),
            "device": str(self._runner.device),
        }

    def _score(self, pairs: Sequence[Pair], long_documents: LongDocuments, on_progress: Progress) -> DocumentScores:
        queries = list(dict.fromkeys(query for query, _ in pairs))
        texts = list(dict.fromkeys(text for _, text in pairs))
        room = self.max_length - self._tokenizer.single_frame.size
        query_ids = self._tokenizer.encode([self._query_prompt + query for query in queries])
        text_ids = self._tokenizer.encode([self._document_prompt + text for text in texts])
        passages = [long_documents.passages(len(ids), room) for ids in text_ids]
        sequences = [self._tokenizer.single(ids[:room]) for ids in query_ids]
        for ids, places in zip(text_ids, passages, strict=True):
            sequences += [self._tokenizer.single(ids[start:end]) for start, end in places]
        share = len(pairs) / max(1, len(sequences))
        embeddings = self._runner.run(sequences, lambda done: on_progress(done * share))
        if self._similarity == "cosine":
            embeddings = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
        query_rows = {query: row for row, query in enumerate(queries)}
        ends = np.cumsum([len(places) for places in passages]) + len(queries)
        text_rows = {text: slice(end - len(p), end) for text, p, end in zip(texts, passages, ends, strict=True)}
        scores = [embeddings[text_rows[text]] @ embeddings[query_rows[query]] for query, text in pairs]
        lengths = {text: len(places) for text, places in zip(texts, passages, strict=True)}
        cut_texts = {text for text, ids, p in zip(texts, text_ids, passages, strict=True) if p[-1][1] < len(ids)}
        cut_queries = {query for query, ids in zip(queries, query_ids, strict=True) if len(ids) > room}
        return DocumentScores(
            long_documents.aggregate(
                np.concatenate([np.zeros(0, np.float32), *scores]),
                [len(passage_scores) for passage_scores in scores],
            ),
            split=sum(lengths[text] > 1 for _, text in pairs),
            cut=sum(text in cut_texts or query in cut_queries for query, text in pairs),
        )


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
