"""SPLADE: what transformers' own masked language model gives, by the pieces of the query alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from make_tiny_models import bert_tokenizer
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM

from reranker_kd import load_reranker
from reranker_kd.distill.students import build_student
from reranker_kd.models.splade import SpladeShape

QUERY = "how do wings lift"
TEXTS = ["A wing makes lift.", "Planes fly since the air below a wing is slower than above it.", "A cake."]
SHUT = -1e9


@pytest.fixture(scope="module")
def masked_language_model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mlm")
    tokenizer = bert_tokenizer()
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    network = BertForMaskedLM(
        BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=48,
            hidden_act="gelu",
        )
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    network.save_pretrained(folder)
    return folder


def published(folder):
    """Return what equation 6 of the paper gives, of whole texts over the whole vocabulary."""
    tokenizer = bert_tokenizer()
    network = AutoModelForMaskedLM.from_pretrained(folder).eval()
    with torch.no_grad():
        kept = [
            network(**tokenizer(text, return_tensors="pt")).logits[0].amax(0).relu().log1p() for text in (QUERY, *TEXTS)
        ]
    return np.array([float(kept[0] @ document) for document in kept[1:]])


def scores(folder, tmp_path, **shape):
    settings = SpladeShape(start=str(folder), max_length=64, **{"gate": SHUT, "query_pieces": 10_000, **shape})
    build_student(settings, 0).save(tmp_path / "student")
    return load_reranker(tmp_path / "student", backend="torch", precision="float32").score(QUERY, TEXTS)


def test_with_shut_gates_and_all_pieces_it_scores_as_published(masked_language_model, tmp_path):
    expected = published(masked_language_model)
    assert expected.std() > 0.01
    np.testing.assert_allclose(scores(masked_language_model, tmp_path), expected, rtol=1e-5)


def test_fewer_pieces_or_open_gates_change_the_score(masked_language_model, tmp_path):
    expected = published(masked_language_model)
    few = scores(masked_language_model, tmp_path / "few", query_pieces=3)
    assert (few < expected).all()
    open_ones = scores(masked_language_model, tmp_path / "open", gate=0)
    assert np.abs(open_ones - expected).max() > 1e-3


def test_a_score_does_not_depend_on_the_longer_queries_beside_it(masked_language_model, tmp_path):
    scores(masked_language_model, tmp_path)
    reranker = load_reranker(tmp_path / "student", backend="torch", precision="float32")
    pairs = [(QUERY, TEXTS[0]), (" ".join([QUERY] * 5), TEXTS[1])]
    together = reranker.score_pairs(pairs)
    alone = [reranker.score_pairs([pair])[0] for pair in pairs]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
