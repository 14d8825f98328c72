"""From groups to what a network takes: tokens once for every text, sequences of like length side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from reranker_kd.distill.data.token_table import token_table
from reranker_kd.distill.data.transfer_set import TransferSet
from reranker_kd.inference.batching import batches_by_tokens, padded
from reranker_kd.inference.pair_tokenizer import PairTokenizer, TokenIds, TokenSequence, longest_first
from reranker_kd.types import FloatArray

CHUNK_TOKENS = 4096
"""Tokens that go through the network together, padding included: larger ones leave a CPU's caches."""

Inputs = dict[str, Tensor]
"""``input_ids``, ``attention_mask`` and, where the network takes them, ``token_type_ids``; each (n, tokens)."""


class Chunks(NamedTuple):
    """Sequences in batches of like length.

    :param inputs: the batches
    :param order: (n,) where each row of the batches, one after the other, belongs in the caller's order
    """

    inputs: list[Inputs]
    order: Tensor


class GroupBatch(NamedTuple):
    """Groups that are learnt together: q queries with at most c documents each.

    :param pairs: sequences of query and document together, in the order of ``mask``'s places; None if apart
    :param queries: sequences of the queries, where they go in apart
    :param documents: sequences of the documents, likewise in the order of ``mask``'s places
    :param teacher: the teacher's scores (q, c)
    :param labels: human grades (q, c), NaN where nobody judged
    :param mask: bool (q, c), where a candidate is
    :param docids: whole numbers (q, c), equal where the document is the same
    """

    pairs: Chunks | None
    queries: Chunks | None
    documents: Chunks | None
    teacher: Tensor
    labels: Tensor
    mask: Tensor
    docids: Tensor


@dataclass
class GroupDataset:
    """The groups of a transfer set, by number, and what a network takes of several of them.

    :param teacher: scores of all pairs, group after group; pairs without a score (NaN) and a label are left out
    :param apart: whether query and document go in apart
    :param max_length: tokens of a sequence; apart, of a document
    :param max_query_length: apart, tokens of a query
    :param folder: where the tokens are kept; None keeps them in memory
    :param chunk_tokens: tokens that go through the network together
    """

    transfer_set: InitVar[TransferSet]
    teacher: InitVar[FloatArray]
    tokenizer: PairTokenizer
    apart: bool
    max_length: int
    max_query_length: int
    folder: InitVar[Path | None] = None
    chunk_tokens: int = CHUNK_TOKENS

    def __post_init__(self, transfer_set: TransferSet, teacher: FloatArray, folder: Path | None) -> None:
        query_rows = {qid: row for row, qid in enumerate(transfer_set.queries)}
        document_rows = {docid: row for row, docid in enumerate(transfer_set.documents)}
        queries, documents = list(transfer_set.queries.values()), list(transfer_set.documents.values())
        self.query_tokens = token_table(queries, self.tokenizer, folder)
        self.document_tokens = token_table(documents, self.tokenizer, folder)
        self.groups: list[tuple[int, list[int], FloatArray, FloatArray]] = []
        ends = np.cumsum([len(group.docids) for group in transfer_set.groups])
        for group, scores in zip(transfer_set.groups, np.split(teacher, ends[:-1]), strict=True):
            labels = np.asarray(group.labels or [np.nan] * len(scores), dtype=np.float32)
            # What neither a teacher nor a person has an opinion on teaches nothing.
            kept = np.flatnonzero(~(np.isnan(scores) & np.isnan(labels))).tolist()
            if len(kept) > 1:
                rows = [document_rows[group.docids[i]] for i in kept]
                self.groups.append((query_rows[group.qid], rows, scores[kept], labels[kept]))

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def pairs(self) -> int:
        """Pairs of all groups."""
        return sum(len(rows) for _, rows, *_ in self.groups)

    def batch(self, numbers: Sequence[int]) -> dict[str, GroupBatch]:
        """Return the batch of these groups, under the name of the network's argument."""
        groups = [self.groups[number] for number in numbers]
        docids = _padded([torch.tensor(rows) for _, rows, *_ in groups], -1)
        teacher, labels = (_padded([torch.from_numpy(group[i]) for group in groups], torch.nan) for i in (2, 3))
        pairs = queries = documents = None
        if self.apart:
            queries = self.query_chunks([query for query, *_ in groups])
            documents = self.document_chunks([row for _, rows, *_ in groups for row in rows])
        else:
            sequences = [self._pair(query, row) for query, rows, *_ in groups for row in rows]
            pairs = chunks_of(sequences, self.tokenizer, self.chunk_tokens)
        return {"batch": GroupBatch(pairs, queries, documents, teacher, labels, docids >= 0, docids)}

    def query_chunks(self, rows: Sequence[int]) -> Chunks | None:
        """Return the sequences of queries, each by itself; None of none."""
        return self._singles([self.query_tokens[row] for row in rows], self.max_query_length)

    def document_chunks(self, rows: Sequence[int]) -> Chunks | None:
        """Return the sequences of documents, likewise."""
        return self._singles([self.document_tokens[row] for row in rows], self.max_length)

    def _singles(self, texts: list[TokenIds], max_length: int) -> Chunks | None:
        room = max_length - self.tokenizer.single_frame.size
        sequences = [self.tokenizer.single(tokens[:room]) for tokens in texts]
        return chunks_of(sequences, self.tokenizer, self.chunk_tokens) if sequences else None

    def _pair(self, query: int, document: int) -> TokenSequence:
        tokens = self.query_tokens[query], self.document_tokens[document]
        room = self.max_length - self.tokenizer.pair_frame.size
        first, second = longest_first(len(tokens[0]), len(tokens[1]), room)
        return self.tokenizer.pair(tokens[0][:first], tokens[1][:second])


class TextBatch(NamedTuple):
    """Single texts that are learnt together, queries before documents.

    :param queries: their sequences; None where there are none
    :param documents: likewise
    :param teacher: the teacher's embeddings (n, d), queries first; None without
    """

    queries: Chunks | None
    documents: Chunks | None
    teacher: Tensor | None


@dataclass
class TextDataset:
    """Single texts, by number: for losses over embeddings queries first, then documents; else documents alone.

    :param embeddings: the teacher's, (n, d), of queries and documents in their order; None takes no queries in
    """

    groups: GroupDataset
    embeddings: FloatArray | None = None

    def __len__(self) -> int:
        return self._queries + len(self.groups.document_tokens)

    @property
    def _queries(self) -> int:
        return 0 if self.embeddings is None else len(self.groups.query_tokens)

    def batch(self, numbers: Sequence[int]) -> dict[str, TextBatch]:
        """Return the batch of these texts, under the name of the network's argument."""
        queries = [number for number in numbers if number < self._queries]
        documents = [number for number in numbers if number >= self._queries]
        teacher = None if self.embeddings is None else torch.from_numpy(self.embeddings[queries + documents])
        document_chunks = self.groups.document_chunks([number - self._queries for number in documents])
        return {"texts": TextBatch(self.groups.query_chunks(queries), document_chunks, teacher)}


def chunks_of(sequences: Sequence[TokenSequence], tokenizer: PairTokenizer, chunk_tokens: int) -> Chunks:
    """Return sequences in batches of like length, at most ``chunk_tokens`` each, padding included."""
    places = batches_by_tokens([len(sequence) for sequence in sequences], chunk_tokens)
    inputs = []
    for batch in places:
        arrays = padded([sequences[i] for i in batch], tokenizer.pad_id)
        if not tokenizer.has_types:
            del arrays["token_type_ids"]
        inputs.append({name: torch.from_numpy(array) for name, array in arrays.items()})
    return Chunks(inputs, torch.from_numpy(np.concatenate(places)))


def _padded(rows: list[Tensor], padding: float) -> Tensor:
    return pad_sequence(rows, batch_first=True, padding_value=padding)
