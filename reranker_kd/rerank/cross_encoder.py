"""Reranking by a cross-encoder: query and document go through the network together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reranker_kd.inference.pair_tokenizer import TokenIds, TokenSequence, longest_first
from reranker_kd.models.sequence_classifier import load_sequence_classifier
from reranker_kd.rerank.base import DocumentScores, Pair, Progress, no_progress
from reranker_kd.rerank.transformer import LoadedNetwork, TransformerReranker
from reranker_kd.types import FloatArray


class CrossEncoderReranker(TransformerReranker):
    """Any Hugging Face cross-encoder: one label or two, with or without token type ids."""

    def _load(self, folder: Path) -> LoadedNetwork:
        network = load_sequence_classifier(folder)
        return LoadedNetwork(network, network.classifier.config)

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the model's logit of each pair, cut to ``max_length`` as its tokenizer cuts (longest first)."""
        sequences = []
        for query, text in self._encoded(pairs):
            first, second = longest_first(len(query), len(text), self._room)
            sequences.append(self._tokenizer.pair(query[:first], text[:second]))
        return self._runner.run(sequences)[:, 0]

    def score_documents(self, pairs: Sequence[Pair], on_progress: Progress = no_progress) -> DocumentScores:
        """Score documents by passages that fit beside the query, which takes at most half where both are long."""
        sequences: list[TokenSequence] = []
        counts: list[int] = []
        cut = 0
        for query, text in self._encoded(pairs):
            kept = query[: max(self._room // 2, self._room - len(text))]
            passages = self._long_documents.passages(len(text), self._room - len(kept))
            sequences += [self._tokenizer.pair(kept, text[start:end]) for start, end in passages]
            counts.append(len(passages))
            cut += len(kept) < len(query) or passages[-1][1] < len(text)
        share = len(pairs) / max(1, len(sequences))
        scores = self._runner.run(sequences, lambda done: on_progress(done * share))[:, 0]
        split = sum(count > 1 for count in counts)
        return DocumentScores(self._long_documents.aggregate(scores, counts), split=split, cut=cut)

    @property
    def _room(self) -> int:
        return self.max_length - self._tokenizer.pair_frame.size

    def _encoded(self, pairs: Sequence[Pair]) -> list[tuple[TokenIds, TokenIds]]:
        # Each distinct text is tokenised once: a query comes with many documents, a document with many queries.
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        ids = dict(zip(texts, self._tokenizer.encode(texts), strict=True))
        return [(ids[query], ids[text]) for query, text in pairs]
