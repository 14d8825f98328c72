"""Passages cover a document; a document's score comes out of its passages' scores."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from reranker_kd.rerank.long_documents import LongDocuments, leaves_out

_LENGTHS = st.none() | st.integers(1, 50)


@given(tokens=st.integers(0, 400), room=st.integers(1, 100), length=_LENGTHS, stride=_LENGTHS)
def test_passages_cover_every_token_and_fit(tokens, room, length, stride):
    if length and stride and stride > length:
        length, stride = stride, length
    policy = LongDocuments(passage_length=length, passage_stride=stride, max_passages=500)
    passages = policy.passages(tokens, room)
    assert not leaves_out(passages, tokens)
    assert all(end - start <= min(room, length or room) for start, end in passages)
    assert {i for start, end in passages for i in range(start, end)} == set(range(tokens))
    # No passage lies within the one before it.
    assert all(after[1] > before[1] for before, after in itertools.pairwise(passages))


@given(tokens=st.integers(101, 5000), most=st.integers(1, 12))
def test_a_document_costs_a_bounded_number_of_passages_from_its_first_to_its_last(tokens, most):
    passages = LongDocuments(max_passages=most).passages(tokens, 100)
    assert len(passages) <= most
    assert passages[0] == (0, 100)
    assert most == 1 or passages[-1][1] == tokens
    seen = {i for start, end in passages for i in range(start, end)}
    assert leaves_out(passages, tokens) == (len(seen) < tokens)


def test_a_document_that_fits_is_one_passage():
    assert LongDocuments().passages(100, 100) == [(0, 100)]


def test_half_of_the_length_is_the_default_stride():
    assert LongDocuments().passages(250, 100) == [(0, 100), (50, 150), (100, 200), (150, 250)]


@pytest.mark.parametrize(
    ("aggregation", "expected"), [("maxp", [3, 5]), ("firstp", [1, 5]), ("meanp", [2, 5]), ("topk", [2.5, 5])]
)
def test_aggregations_on_a_worked_example(aggregation, expected):
    scores = np.array([1, 3, 2, 5], dtype=np.float32)
    settings = LongDocuments(long_documents=aggregation, top_passages=2 if aggregation == "topk" else 3)
    assert settings.aggregate(scores, [3, 1]).tolist() == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"long_documents": "sum"},
        {"passage_length": 0},
        {"passage_length": 4, "passage_stride": 5},
        {"top_passages": 0},
        {"max_passages": 0},
    ],
)
def test_what_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        LongDocuments(**wrong)
