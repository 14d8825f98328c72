"""Batches hold every sequence once and stay within their bound."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.inference.batching import batches_by_tokens, padded
from reranker_kd.inference.pair_tokenizer import TokenSequence


@given(st.lists(st.integers(1, 600), max_size=80), st.integers(1, 2000))
def test_each_sequence_goes_once_and_no_batch_exceeds_the_bound(lengths, max_tokens):
    batches = batches_by_tokens(lengths, max_tokens)
    assert sorted(np.concatenate([*batches, np.array([], dtype=int)]).tolist()) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= max_tokens


def test_padding_fills_the_shorter_rows():
    short = TokenSequence(np.array([5, 6], np.int32), np.array([0, 1], np.int32))
    long = TokenSequence(np.array([7, 8, 9], np.int32), np.array([0, 0, 1], np.int32))
    arrays = padded([short, long], pad_id=3)
    assert arrays["input_ids"].tolist() == [[5, 6, 3], [7, 8, 9]]
    assert arrays["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert arrays["token_type_ids"].tolist() == [[0, 1, 0], [0, 0, 1]]
