"""Scores are the network's on what its tokenizer makes of a pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from make_tiny_models import bert_tokenizer
from make_tiny_students import make_bert_bilstm, tiny_bert_bilstm
from transformers import AutoTokenizer

from reranker_kd import load_reranker
from reranker_kd.errors import InputError, ModelError
from reranker_kd.inference.options import REFERENCE
from reranker_kd.models.bert_bilstm import KIND

PAIRS = [
    ("how does heat flow", "heat flow over a flat plate in a boundary layer"),
    ("how does heat flow", "the dog and the cat sat by the river"),
    ("what is a shock wave", "supersonic shock wave " * 60),
    ("a query that is itself rather long " * 40, "a document " * 200),
    ("road tax", "a"),
]


@pytest.fixture(autouse=True)
def _one_thread():
    # Networks as tiny as these wait longer for a second thread, on a busy machine, than they compute.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("segments", [True, False])
@pytest.mark.parametrize("max_length", [24, 512])
def test_scores_are_the_networks_on_the_tokenizers_encoding(tmp_path, max_length, segments):
    folder = make_bert_bilstm(tmp_path / "model", segments=segments)
    tokenizer, network = AutoTokenizer.from_pretrained(folder), KIND.load(folder)
    with torch.inference_mode():
        expected = [
            network(**tokenizer(*pair, truncation="longest_first", max_length=max_length, return_tensors="pt")).item()
            for pair in PAIRS
        ]
    scores = load_reranker(folder, max_length=max_length, **REFERENCE).score_pairs(PAIRS)
    assert np.std(expected) > 0.01
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_scores_do_not_depend_on_the_batch_or_the_order(tmp_path):
    folder = make_bert_bilstm(tmp_path / "model", layers=2)
    one_by_one = load_reranker(folder, batch_tokens=1, **REFERENCE).score_pairs(PAIRS)
    together = load_reranker(folder, batch_tokens=100_000, **REFERENCE).score_pairs(PAIRS[::-1])[::-1]
    np.testing.assert_allclose(one_by_one, together, atol=1e-5)


def test_long_documents_take_the_best_passage(tmp_path):
    policy = {"passage_length": 8, "passage_stride": 4}
    reranker = load_reranker(make_bert_bilstm(tmp_path / "model"), **policy, **REFERENCE)
    query, words = "heat flow", ("the dog and the cat by the river sea " + "heat flow on a plate " * 3).split()
    passages = [" ".join(words[start : start + 8]) for start in range(0, len(words) - 4, 4)]
    by_hand = reranker.score(query, passages)
    assert by_hand.std() > 0.01
    scored = reranker.score_documents([(query, " ".join(words))])
    assert (scored.split, scored.cut) == (1, 0)
    np.testing.assert_allclose(scored.scores, [by_hand.max()], atol=1e-5)


def test_the_configuration_says_how_long_an_input_may_be(tmp_path):
    folder = make_bert_bilstm(tmp_path / "model", max_length=64)
    assert load_reranker(folder, **REFERENCE).max_length == 64
    with pytest.raises(InputError, match="takes 16 to 64"):
        load_reranker(folder, max_length=65, **REFERENCE)


def test_a_tokenizer_without_the_types_that_the_network_reads_is_refused(tmp_path):
    KIND.save(tiny_bert_bilstm(segments=True), bert_tokenizer(with_types=False), tmp_path / "model")
    with pytest.raises(ModelError, match="there are no token_type_ids"):
        load_reranker(tmp_path / "model", **REFERENCE).score_pairs(PAIRS)
