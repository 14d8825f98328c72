"""Reranking by a cross-encoder: query and document go through the network together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from reranker_kd.inference.pair_tokenizer import PairTokenizer, TokenIds, TokenSequence, longest_first
from reranker_kd.inference.torch_runner import DEFAULT_BATCH_TOKENS, TorchRunner
from reranker_kd.models.folder import content_hash
from reranker_kd.models.loading import checked_length, load_tokenizer, longest_input
from reranker_kd.models.sequence_classifier import load_sequence_classifier
from reranker_kd.rerank.base import DocumentScores, Pair, Progress, Reranker, no_progress
from reranker_kd.rerank.long_documents import LongDocuments
from reranker_kd.types import FloatArray


class CrossEncoderReranker(Reranker):
    """Any Hugging Face cross-encoder: one label or two, with or without token type ids.

    :param folder: what ``save_pretrained`` wrote for model and tokenizer
    :param name: by what name the model was asked for
    :param max_length: tokens of query and passage together, special tokens included; None takes the model's limit
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
        network = load_sequence_classifier(folder)
        tokenizer = load_tokenizer(folder)
        self._tokenizer = PairTokenizer(tokenizer)
        self.max_length = checked_length(max_length, longest_input(network.classifier.config, tokenizer), folder)
        self._long_documents = long_documents or LongDocuments()
        self._runner = TorchRunner(
            network,
            pad_id=self._tokenizer.pad_id,
            with_types=self._tokenizer.has_types,
            batch_tokens=batch_tokens,
            device=device,
            precision=precision,
        )
        self._folder = folder
        self.name = name or folder.name

    @property
    def _room(self) -> int:
        return self.max_length - self._tokenizer.pair_frame.size

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

    def describe(self) -> dict[str, Any]:
        """Return name, content hash and parameters."""
        return {
            **super().describe(),
            "name": self.name,
            "sha256": content_hash(self._folder),
            "max_length": self.max_length,
            "long_documents": self._long_documents.aggregation,
            "passage_length": self._long_documents.passage_length,
            "passage_stride": self._long_documents.passage_stride,
            "precision": str(self._runner.precision).removeprefix("torch."),
            "device": str(self._runner.device),
        }

    def _encoded(self, pairs: Sequence[Pair]) -> list[tuple[TokenIds, TokenIds]]:
        # Each distinct text is tokenised once: a query comes with many documents, a document with many queries.
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        ids = dict(zip(texts, self._tokenizer.encode(texts), strict=True))
        return [(ids[query], ids[text]) for query, text in pairs]
