"""The tokens of many texts, in memory and on disk, are the tokenizer's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from make_tiny_models import bert_tokenizer, roberta_tokenizer

from reranker_kd.distill.data import token_table as tables
from reranker_kd.distill.data.token_table import token_table
from reranker_kd.inference.pair_tokenizer import PairTokenizer

TOKENIZER = PairTokenizer(bert_tokenizer())
TEXTS = ["heat flow over a flat plate", "", "the dog", "heat " * 50]


@pytest.fixture(autouse=True)
def _two_texts_a_call(monkeypatch):
    monkeypatch.setattr(tables, "_TEXTS_A_CALL", 2)


@given(st.lists(st.sampled_from(["heat", "dog and cat", "", "a b c d e"]) | st.text(max_size=9)))
def test_rows_are_the_tokens_of_each_text(texts):
    table = token_table(texts, TOKENIZER)
    assert len(table) == len(texts)
    expected = [ids.tolist() for ids in TOKENIZER.encode(texts)]
    assert [table[row].tolist() for row in range(len(texts))] == expected


def test_on_disk_it_is_the_same_and_made_once(tmp_path, monkeypatch):
    def rows(folder=None):
        return [token_table(TEXTS, TOKENIZER, folder)[row].tolist() for row in range(4)]

    assert rows(tmp_path) == rows()
    # As after a kill between the two files: made anew.
    next(tmp_path.glob("*.ends.npy")).unlink()
    next(tmp_path.glob("*.ids")).write_bytes(b"half")
    expected = rows()
    assert rows(tmp_path) == expected
    monkeypatch.setattr(PairTokenizer, "encode", lambda *_: pytest.fail("tokenised again"))
    assert rows(tmp_path) == expected


def test_other_texts__tokenizers_have_tables_of_their_own(tmp_path):
    for texts, tokenizer in [
        (TEXTS, TOKENIZER),
        (TEXTS[::-1], TOKENIZER),
        (TEXTS, PairTokenizer(roberta_tokenizer())),
        ([], TOKENIZER),
    ]:
        assert len(token_table(texts, tokenizer, tmp_path)) == len(texts)
    assert len(list(tmp_path.glob("*.ids"))) == 4
