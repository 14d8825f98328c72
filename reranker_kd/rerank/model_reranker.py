"""Reranking by a model: one class for models that read query and document together, one for those that read texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.inference.engine import POOL, one_ahead
from reranker_kd.inference.loading import LoadedModel, load_model
from reranker_kd.inference.pair_tokenizer import TokenIds, TokenSequence, longest_first
from reranker_kd.inference.text_encoder import TextEncoder
from reranker_kd.models.folder import checked_length
from reranker_kd.models.settings import Inputs
from reranker_kd.rerank.base import DocumentScores, Pair, Progress, Reranker, no_progress, parts, scaled
from reranker_kd.rerank.long_documents import LongDocuments, leaves_out
from reranker_kd.rerank.options import RerankOptions
from reranker_kd.types import FloatArray


class PairReranker(Reranker):
    """A model that scores query and document together: any cross-encoder.

    :param model: reads pairs
    :param name: by what name it was asked for
    :param options: how it runs, and how long documents go in
    :raises InputError: a length that the model does not take
    """

    def __init__(self, model: LoadedModel, name: str, options: RerankOptions) -> None:
        self.name = name
        asked = options.max_length or model.inputs.own_length
        self.max_length = checked_length(asked, model.inputs.limit, model.folder)
        self.interpolate = _weight(options, model.inputs)
        self._model = model
        self._options = options
        self.tokenizer = model.tokenizer
        self._engine = model.engines["network"]
        self._room = self.max_length - model.tokenizer.pair_frame.size

    def describe(self) -> dict[str, Any]:
        """Return name, content hash and parameters."""
        own = {"name": self.name, **self._model.describe(), "max_length": self.max_length}
        return {**super().describe(), **own, **_long_documents(self._options)}

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the model's logit of each pair, cut to ``max_length`` as its tokenizer cuts (longest first)."""
        scores = [np.zeros(0, dtype=np.float32)]
        distinct, rows = _distinct(pairs)
        scores += [self._engine.run(pool)[:, 0] for pool in one_ahead(map(self._cut, parts(distinct, POOL)))]
        return np.concatenate(scores)[rows]

    def sequences(self, pairs: Sequence[Pair]) -> dict[str, list[TokenSequence]]:
        """Return what the network gets for these pairs."""
        return {"network": self._cut(pairs)}

    def score_documents(self, pairs: Sequence[Pair], on_progress: Progress = no_progress) -> DocumentScores:
        """Score documents by passages that fit beside the query, which takes at most half where both are long."""
        distinct, rows = _distinct(pairs)
        scores = [np.zeros(0, dtype=np.float32)]
        counts: list[int] = []
        cut: list[bool] = []
        for sequences, counts_here, cut_here in one_ahead(map(self._passages, parts(distinct, POOL))):
            share = len(counts_here) / len(sequences) * len(pairs) / len(distinct)
            passage_scores = self._engine.run(sequences, scaled(on_progress, share))[:, 0]
            scores.append(self._options.aggregate(passage_scores, counts_here))
            counts += counts_here
            cut += cut_here
        split = sum(counts[row] > 1 for row in rows)
        return DocumentScores(np.concatenate(scores)[rows], sum(counts), split, sum(cut[row] for row in rows))

    def _cut(self, pairs: Sequence[Pair]) -> list[TokenSequence]:
        cut = []
        for query, text in self._encoded(pairs):
            first, second = longest_first(len(query), len(text), self._room)
            cut.append(self.tokenizer.pair(query[:first], text[:second]))
        return cut

    def _passages(self, pairs: Sequence[Pair]) -> tuple[list[TokenSequence], list[int], list[bool]]:
        """Return the passages of all pairs, how many there are of each, and whether it has text in none of them."""
        sequences: list[TokenSequence] = []
        counts: list[int] = []
        cut: list[bool] = []
        for query, text in self._encoded(pairs):
            kept = query[: max(self._room // 2, self._room - len(text))]
            passages = self._options.passages(len(text), self._room - len(kept))
            sequences += [self.tokenizer.pair(kept, text[start:end]) for start, end in passages]
            counts.append(len(passages))
            cut.append(len(kept) < len(query) or leaves_out(passages, len(text)))
        return sequences, counts, cut

    def _encoded(self, pairs: Sequence[Pair]) -> list[tuple[TokenIds, TokenIds]]:
        # Each distinct text is tokenised once: a query comes with many documents, a document with many queries.
        texts = list(dict.fromkeys(text for pair in pairs for text in pair))
        ids = dict(zip(texts, self.tokenizer.encode(texts), strict=True))
        return [(ids[query], ids[text]) for query, text in pairs]


class TextReranker(Reranker):
    """A model that encodes query and document apart, the crossing of both being the score: any bi-encoder.

    :param encoder: of queries and documents
    :param options: how long documents go in
    """

    def __init__(self, encoder: TextEncoder, options: RerankOptions) -> None:
        self.interpolate = _weight(options, encoder.inputs)
        self.encoder = encoder
        self.tokenizer = encoder.tokenizer
        self._options = options

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the score of each pair, each text cut to what the model takes."""
        return self._score(pairs, LongDocuments(long_documents="firstp"), no_progress).scores

    def score_documents(self, pairs: Sequence[Pair], on_progress: Progress = no_progress) -> DocumentScores:
        """Score documents by passages that the model takes."""
        return self._score(pairs, self._options, on_progress)

    def sequences(self, pairs: Sequence[Pair]) -> dict[str, list[TokenSequence]]:
        """Return what each tower gets for these pairs."""
        return self.encoder.sequences(pairs)

    def describe(self) -> dict[str, Any]:
        """Return name, content hash and parameters."""
        return {**super().describe(), **self.encoder.describe(), **_long_documents(self._options)}

    def _score(self, pairs: Sequence[Pair], long_documents: LongDocuments, on_progress: Progress) -> DocumentScores:
        # Each distinct text is encoded once: a query comes with many documents, a document with many queries.
        queries = {query: row for row, query in enumerate(dict.fromkeys(query for query, _ in pairs))}
        texts = {text: row for row, text in enumerate(dict.fromkeys(text for _, text in pairs))}
        query_tokens = self.encoder.query_tokens(list(queries))
        tokens = self.encoder.document_tokens(list(texts))
        places = [long_documents.passages(len(ids), self.encoder.document_room) for ids in tokens]
        passages = [ids[start:end] for ids, spans in zip(tokens, places, strict=True) for start, end in spans]
        share = len(pairs) / max(1, len(passages) + len(queries))
        query_embeddings = self.encoder.embed_queries(query_tokens, scaled(on_progress, share))
        embeddings = self.encoder.embed_documents(passages, scaled(on_progress, share))
        ends = np.cumsum([len(spans) for spans in places])
        query_cut = [len(ids) > self.encoder.query_room for ids in query_tokens]
        text_cut = [leaves_out(spans, len(ids)) for spans, ids in zip(places, tokens, strict=True)]
        rows = [(queries[query], texts[text]) for query, text in pairs]
        counts = [len(places[text]) for _, text in rows]
        query_rows = np.repeat([query for query, _ in rows], counts).astype(np.intp)
        passage_rows = [row for _, text in rows for row in range(ends[text] - len(places[text]), ends[text])]
        scores = self.encoder.cross(query_embeddings[query_rows], embeddings[passage_rows])
        split = sum(count > 1 for count in counts)
        cut = sum(query_cut[query] or text_cut[text] for query, text in rows)
        return DocumentScores(long_documents.aggregate(scores, counts), len(passages), split, cut)


def load_model_reranker(folder: Path, name: str, options: RerankOptions) -> PairReranker | TextReranker:
    """Return the reranker of a model's folder.

    :raises ModelError: the model cannot be loaded
    """
    model = load_model(folder, options)
    if model.inputs.reads == "pairs":
        return PairReranker(model, name, options)
    return TextReranker(TextEncoder(model, name, options.max_length), options)


def _weight(options: RerankOptions, inputs: Inputs) -> float:
    return inputs.interpolate if options.interpolate is None else options.interpolate


def _long_documents(options: RerankOptions) -> dict[str, Any]:
    return options.model_dump(include=set(LongDocuments.model_fields))


def _distinct(pairs: Sequence[Pair]) -> tuple[list[Pair], list[int]]:
    """Return each distinct pair once, and the place of each pair among them: equal pairs have one score, to the bit."""
    places = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
    return list(places), [places[pair] for pair in pairs]
