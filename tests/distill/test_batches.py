"""What a network takes is what its tokenizer would make of the texts, each in its place."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from accelerate.utils import send_to_device
from hypothesis import given
from hypothesis import strategies as st
from make_tiny_models import bert_tokenizer, roberta_tokenizer

from reranker_kd.distill.data.batches import (
    Chunks,
    GroupDataset,
    TextDataset,
    chunks_of,
)
from reranker_kd.distill.data.transfer_set import Group, TransferSet
from reranker_kd.inference.pair_tokenizer import PairTokenizer, TokenSequence

QUERIES = {"q1": "heat flow", "q2": "how does the supersonic shock wave do to a wing " * 3, "q3": "dog"}
DOCUMENTS = {
    "d1": "the dog and the cat",
    "d2": "heat",
    "d3": "the boundary layer of a flat plate is heat and flow and drag and lift " * 4,
    "d4": "a law of the court, as it is.",
    "d5": "shock wave pressure " * 9,
}
GROUPS = (
    Group("q1", ("d3", "d1", "d5")),
    Group("q2", ("d5", "d3")),
    Group("q3", ("d2", "d4", "d1", "d3"), (0.0, math.nan, 2.0, math.nan)),
)
SET = TransferSet(QUERIES, DOCUMENTS, GROUPS)
SCORES = np.arange(9, dtype=np.float32)

TOKENIZERS = {
    "bert": bert_tokenizer(),
    "without types": bert_tokenizer(with_types=False),
    "roberta": roberta_tokenizer(),
}


def collator(tokenizer, scores=SCORES, transfer_set=SET, **settings):
    settings = {"apart": False, "max_length": 32, "max_query_length": 16, **settings}
    dataset = GroupDataset(transfer_set, scores, PairTokenizer(tokenizer), **settings)
    return dataset, dataset.batch


def rows_of(chunks):
    """Return every row's inputs without padding, in the caller's order; padding is looked at here."""
    rows = []
    for inputs in chunks.inputs:
        for row in range(len(inputs["input_ids"])):
            length = int(inputs["attention_mask"][row].sum())
            assert inputs["attention_mask"][row].tolist() == [1] * length + [0] * (
                len(inputs["input_ids"][row]) - length
            )
            rows.append({name: values[row, :length].tolist() for name, values in inputs.items()})
    places = chunks.order.tolist()
    assert sorted(places) == list(range(len(rows)))
    return [rows[places.index(place)] for place in range(len(rows))]


@pytest.mark.parametrize("chunk_tokens", [1, 60, 4096])
@pytest.mark.parametrize("max_length", [16, 31, 200])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_pairs_are_the_tokenizers_own(name, max_length, chunk_tokens):
    tokenizer = TOKENIZERS[name]
    _, collate = collator(tokenizer, max_length=max_length, chunk_tokens=chunk_tokens)
    batch = collate([2, 0, 1])["batch"]
    assert batch.queries is None and batch.documents is None
    expected = [
        dict(tokenizer(QUERIES[group.qid], DOCUMENTS[docid], truncation="longest_first", max_length=max_length))
        for group in (GROUPS[2], GROUPS[0], GROUPS[1])
        for docid in group.docids
    ]
    assert rows_of(batch.pairs) == expected
    assert any(len(row["input_ids"]) == max_length for row in expected) == (max_length < 200)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_twins_texts_are_the_tokenizers_own(name):
    tokenizer = TOKENIZERS[name]
    _, collate = collator(tokenizer, apart=True, max_length=20, max_query_length=10)
    batch = collate([1, 2])["batch"]
    assert batch.pairs is None
    assert rows_of(batch.queries) == [
        dict(tokenizer(QUERIES[qid], truncation=True, max_length=10)) for qid in ("q2", "q3")
    ]
    assert rows_of(batch.documents) == [
        dict(tokenizer(DOCUMENTS[docid], truncation=True, max_length=20))
        for docid in ("d5", "d3", "d2", "d4", "d1", "d3")
    ]


def test_scores_labels_and_documents_stand_in_the_masks_places():
    _, collate = collator(TOKENIZERS["bert"])
    batch = collate([1, 2])["batch"]
    nan = math.nan
    assert batch.mask.tolist() == [[True, True, False, False], [True] * 4]
    torch.testing.assert_close(batch.teacher, torch.tensor([[3.0, 4, nan, nan], [5, 6, 7, 8]]), equal_nan=True)
    torch.testing.assert_close(batch.labels, torch.tensor([[nan] * 4, [0, nan, 2, nan]]), equal_nan=True)
    # Rows of the documents: d5 is 4, d3 is 2, ...; the same document has the same number in both groups.
    assert batch.docids.tolist() == [[4, 2, -1, -1], [1, 3, 0, 2]]


def test_what_nobody_has_an_opinion_on_is_left_out():
    scores = SCORES.copy()
    # d1 of q1: no score. Of q2, d5: then d3 is alone. Of q3, d2 has a label, d4 neither.
    scores[[1, 3, 5, 6]] = np.nan
    dataset, collate = collator(TOKENIZERS["bert"], scores)
    assert [qid for qid, *_ in dataset.groups] == [0, 2]
    assert len(dataset) == 2
    batch = collate([0, 1])["batch"]
    nan = math.nan
    assert batch.docids.tolist() == [[2, 4, -1], [1, 0, 2]]
    torch.testing.assert_close(batch.teacher, torch.tensor([[0.0, 2, nan], [nan, 7, 8]]), equal_nan=True)
    torch.testing.assert_close(batch.labels, torch.tensor([[nan] * 3, [0, 2, nan]]), equal_nan=True)
    expected = [
        dict(TOKENIZERS["bert"](QUERIES["q1"], DOCUMENTS[docid], truncation=True, max_length=32))
        for docid in ("d3", "d5")
    ]
    assert rows_of(batch.pairs)[:2] == expected


def test_labels_alone_are_enough():
    dataset, _ = collator(TOKENIZERS["bert"], np.full(9, np.nan, dtype=np.float32))
    assert [(query, rows) for query, rows, *_ in dataset.groups] == [(2, [1, 0])]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 200))
def test_chunks_hold_every_sequence_once_and_no_more_tokens_than_allowed(lengths, chunk_tokens):
    framed = PairTokenizer(TOKENIZERS["bert"])
    # Sequence i has the token i everywhere, so that it can be told.
    sequences = [
        TokenSequence(np.full(length, number + 7, dtype=np.int32), np.zeros(length, dtype=np.int32))
        for number, length in enumerate(lengths)
    ]
    chunks = chunks_of(sequences, framed, chunk_tokens)
    for inputs in chunks.inputs:
        rows, width = inputs["input_ids"].shape
        assert rows * width <= chunk_tokens or rows == 1
        assert int(inputs["attention_mask"].sum(1).max()) == width
    assert [row["input_ids"] for row in rows_of(chunks)] == [[n + 7] * length for n, length in enumerate(lengths)]
    # Longest first: what does not fit into memory shows at once.
    widths = [inputs["input_ids"].shape[1] for inputs in chunks.inputs]
    assert widths == sorted(widths, reverse=True) and widths[0] == max(lengths)


def texts(embeddings=None, **settings):
    groups, _ = collator(TOKENIZERS["bert"], max_length=20, max_query_length=10, **settings)
    dataset = TextDataset(groups, embeddings)
    return dataset, dataset.batch


def singles(names, source, max_length):
    return [dict(TOKENIZERS["bert"](source[name], truncation=True, max_length=max_length)) for name in names]


@pytest.mark.parametrize("chunk_tokens", [1, 4096])
def test_without_embeddings_texts_are_the_documents(chunk_tokens):
    dataset, collate = texts(chunk_tokens=chunk_tokens)
    assert len(dataset) == 5
    batch = collate([4, 0, 2])["texts"]
    assert batch.queries is None and batch.teacher is None
    assert rows_of(batch.documents) == singles(["d5", "d1", "d3"], DOCUMENTS, 20)


def test_with_embeddings_queries_go_before_documents():
    embeddings = np.arange(16, dtype=np.float32).reshape(8, 2)
    dataset, collate = texts(embeddings)
    assert len(dataset) == 8
    # Numbers 0 to 2 are the queries.
    batch = collate([5, 1, 3, 0])["texts"]
    assert rows_of(batch.queries) == singles(["q2", "q1"], QUERIES, 10)
    assert rows_of(batch.documents) == singles(["d3", "d1"], DOCUMENTS, 20)
    assert batch.teacher.tolist() == embeddings[[1, 0, 5, 3]].tolist()
    assert collate([2])["texts"].documents is None
    assert collate([7])["texts"].queries is None


def tensors(value):
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Chunks):
        return [*(tensor for inputs in value.inputs for tensor in inputs.values()), value.order]
    return [tensor for field in value for tensor in tensors(field)] if value is not None else []


@pytest.mark.parametrize("apart", [False, True])
def test_a_whole_batch_moves(apart):
    _, collate = collator(TOKENIZERS["bert"], apart=apart)
    _, collate_texts = texts(np.zeros((8, 2), dtype=np.float32))
    batch = collate([0, 1]) | collate_texts([0, 4])
    moved = send_to_device(batch, torch.device("meta"))
    for name in ("batch", "texts"):
        before, after = tensors(batch[name]), tensors(moved[name])
        assert [tensor.shape for tensor in before] == [tensor.shape for tensor in after]
        assert len(after) >= 6 and {tensor.device.type for tensor in after} == {"meta"}
        assert {tensor.device.type for tensor in before} == {"cpu"}
