"""Pairs put together from parts are the tokenizer's own pairs."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_tiny_models import bert_tokenizer, roberta_tokenizer

from reranker_kd.inference.pair_tokenizer import PairTokenizer, longest_first

_TEXTS = st.text(alphabet="abc xyz,.é9", max_size=60)


@pytest.mark.parametrize("tokenizer", [bert_tokenizer(), bert_tokenizer(with_types=False), roberta_tokenizer()])
@settings(max_examples=60)
@given(first=_TEXTS, second=_TEXTS, limit=st.integers(min_value=6, max_value=70))
def test_pairs_equal_the_tokenizers_own(tokenizer, first, second, limit):
    pairs = PairTokenizer(tokenizer)
    first_ids, second_ids = pairs.encode([first, second])
    kept = longest_first(len(first_ids), len(second_ids), limit - pairs.pair_frame.size)

    joined = pairs.pair(first_ids[: kept[0]], second_ids[: kept[1]])

    # A list of one pair: a lone empty text would be taken for no text.
    expected = tokenizer([[first, second]], truncation="longest_first", max_length=limit, return_token_type_ids=True)
    assert joined.ids.tolist() == expected["input_ids"][0]
    assert joined.types.tolist() == expected["token_type_ids"][0]


@pytest.mark.parametrize("tokenizer", [bert_tokenizer(), roberta_tokenizer()])
def test_single_texts_equal_the_tokenizers_own(tokenizer):
    pairs = PairTokenizer(tokenizer)
    (ids,) = pairs.encode(["How does heat flow?"])
    assert pairs.single(ids).ids.tolist() == tokenizer("How does heat flow?")["input_ids"]


def test_longest_first_shares_the_room_where_both_are_long():
    assert longest_first(10, 20, 30) == (10, 20)
    assert longest_first(10, 20, 25) == (10, 15)
    assert longest_first(20, 10, 25) == (15, 10)
    assert longest_first(40, 40, 25) == (12, 13)


def test_nothing_is_encoded_of_nothing():
    assert PairTokenizer(bert_tokenizer()).encode([]) == []
