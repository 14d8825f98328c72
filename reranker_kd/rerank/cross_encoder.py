"""Reranking by a cross-encoder: query and document go through the network together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from reranker_kd.inference.engine import POOL, one_ahead
from reranker_kd.inference.pair_tokenizer import TokenIds, TokenSequence, longest_first
from reranker_kd.rerank.base import DocumentScores, Pair, Progress, no_progress
from reranker_kd.rerank.transformer import LoadedNetwork, TransformerReranker
from reranker_kd.types import FloatArray


class CrossEncoderReranker(TransformerReranker):
    """Any Hugging Face cross-encoder: one label or two, with or without token type ids."""

    def _load(self, folder: Path) -> LoadedNetwork:
        from reranker_kd.inference.first_token import read_first_token_alone
        from reranker_kd.models.sequence_classifier import load_sequence_classifier

        network = load_sequence_classifier(folder)
        read_first_token_alone(network.classifier)
        return LoadedNetwork(network, network.classifier.config)

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the model's logit of each pair, cut to ``max_length`` as its tokenizer cuts (longest first)."""
        scores = [np.zeros(0, dtype=np.float32)]
        scores += [self._engine.run(pool)[:, 0] for pool in one_ahead(map(self._cut, _pools(pairs)))]
        return np.concatenate(scores)

    def sequences(self, pairs: Sequence[Pair]) -> dict[str, list[TokenSequence]]:
        """Return what the network gets for these pairs."""
        return {"network": self._cut(pairs)}

    def score_documents(self, pairs: Sequence[Pair], on_progress: Progress = no_progress) -> DocumentScores:
        """Score documents by passages that fit beside the query, which takes at most half where both are long."""
        scores = [np.zeros(0, dtype=np.float32)]
        split = cut = 0
        for sequences, counts, cut_here in one_ahead(map(self._passages, _pools(pairs))):
            advance = partial(_advance, on_progress, len(counts) / len(sequences))
            passage_scores = self._engine.run(sequences, advance)[:, 0]
            scores.append(self._long_documents.aggregate(passage_scores, counts))
            split += sum(count > 1 for count in counts)
            cut += cut_here
        return DocumentScores(np.concatenate(scores), split=split, cut=cut)

    def _cut(self, pairs: Sequence[Pair]) -> list[TokenSequence]:
        cut = []
        for query, text in self._encoded(pairs):
            first, second = longest_first(len(query), len(text), self._room)
            cut.append(self._tokenizer.pair(query[:first], text[:second]))
        return cut

    def _passages(self, pairs: Sequence[Pair]) -> tuple[list[TokenSequence], list[int], int]:
        """Return the passages of all pairs, how many there are of each pair, and how many pairs were cut."""
        sequences: list[TokenSequence] = []
        counts: list[int] = []
        cut = 0
        for query, text in self._encoded(pairs):
            kept = query[: max(self._room // 2, self._room - len(text))]
            passages = self._long_documents.passages(len(text), self._room - len(kept))
            sequences += [self._tokenizer.pair(kept, text[start:end]) for start, end in passages]
            counts.append(len(passages))
            cut += len(kept) < len(query) or passages[-1][1] < len(text)
        return sequences, counts, cut

    @property
    def _room(self) -> int:
        return self.max_length - self._tokenizer.pair_frame.size

    def _encoded(self, pairs: Sequence[Pair]) -> list[tuple[TokenIds, TokenIds]]:
        # Each distinct text is tokenised once: a query comes with many documents, a document with many queries.
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        ids = dict(zip(texts, self._tokenizer.encode(texts), strict=True))
        return [(ids[query], ids[text]) for query, text in pairs]


def _advance(on_progress: Progress, share: float, done: int) -> None:
    on_progress(done * share)


def _pools(pairs: Sequence[Pair]) -> Iterator[Sequence[Pair]]:
    for start in range(0, len(pairs), POOL):
        yield pairs[start : start + POOL]
