"""Scores are those of sentence-transformers' CrossEncoder on the same pairs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from make_tiny_models import make_cross_encoder, make_transformer
from sentence_transformers import CrossEncoder

from reranker_kd import load_reranker
from reranker_kd.errors import InputError, ModelError
from reranker_kd.inference.options import REFERENCE
from reranker_kd.types import Candidate

PAIRS = [
    ("how does heat flow", "heat flow over a flat plate in a boundary layer"),
    ("how does heat flow", "the dog and the cat sat by the river"),
    ("what is a shock wave", "supersonic shock wave " * 60),
    ("a query that is itself rather long " * 40, "a document " * 200),
    ("road tax", "a"),
]


def _logits(folder, pairs, max_length):
    model = CrossEncoder(str(folder), max_length=max_length, device="cpu")
    return model.predict(pairs, activation_fn=torch.nn.Identity(), convert_to_numpy=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("max_length", [24, 512])
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_one_label_gives_sentence_transformers_logits(tmp_path, architecture, max_length):
    folder = make_cross_encoder(tmp_path / "model", architecture)
    scores = load_reranker(folder, max_length=max_length, **REFERENCE).score_pairs(PAIRS)
    expected = _logits(folder, PAIRS, max_length)
    assert expected.std() > 0.01
    np.testing.assert_allclose(scores, expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_two_labels_give_the_log_odds_of_the_second(tmp_path):
    folder = make_cross_encoder(tmp_path / "model", labels=2)
    logits = _logits(folder, PAIRS, 512)
    scores = load_reranker(folder, **REFERENCE).score_pairs(PAIRS)
    np.testing.assert_allclose(scores, logits[:, 1] - logits[:, 0], atol=1e-4)


def test_scores_do_not_depend_on_the_batch_or_the_order(cross_encoder_folder):
    one_by_one = load_reranker(cross_encoder_folder, batch_tokens=1, **REFERENCE).score_pairs(PAIRS)
    together = load_reranker(cross_encoder_folder, batch_tokens=100_000, **REFERENCE).score_pairs(PAIRS[::-1])[::-1]
    np.testing.assert_allclose(one_by_one, together, atol=1e-5)


def test_long_documents_take_the_best_passage(cross_encoder_folder):
    policy = {"passage_length": 8, "passage_stride": 4}
    reranker = load_reranker(cross_encoder_folder, **policy, **REFERENCE)
    query, words = "heat flow", ("the dog and the cat by the river sea " + "heat flow on a plate " * 3).split()
    # Every word is one token of the tiny vocabulary, so passages can be cut by hand.
    passages = [" ".join(words[start : start + 8]) for start in range(0, len(words) - 4, 4)]
    by_hand = reranker.score_pairs([(query, passage) for passage in passages])
    assert by_hand.std() > 0.01

    scored = reranker.score_documents([(query, " ".join(words))])

    assert scored.split == 1
    assert scored.cut == 0
    np.testing.assert_allclose(scored.scores, [by_hand.max()], atol=1e-5)


def test_first_passage_counts_what_it_cuts(cross_encoder_folder):
    reranker = load_reranker(cross_encoder_folder, max_length=32, long_documents="firstp", **REFERENCE)
    scored = reranker.score_documents(PAIRS)
    assert (scored.split, scored.cut) == (0, 2)
    # Where the query is short, the first passage is what the tokenizer's own truncation leaves.
    np.testing.assert_allclose(scored.scores[:3], reranker.score_pairs(PAIRS[:3]), atol=1e-5)


def test_progress_adds_up_to_the_pairs(cross_encoder_folder):
    done = []
    load_reranker(cross_encoder_folder, max_length=32, **REFERENCE).score_documents(PAIRS, done.append)
    assert sum(done) == pytest.approx(len(PAIRS))


def test_a_longer_input_than_the_model_takes_is_refused(cross_encoder_folder):
    with pytest.raises(InputError, match="takes 16 to 512"):
        load_reranker(cross_encoder_folder, max_length=513, **REFERENCE)


def test_roberta_takes_two_tokens_less_than_its_positions(tmp_path):
    assert load_reranker(make_cross_encoder(tmp_path / "model", "roberta"), **REFERENCE).max_length == 512


class TestBrokenFolders:
    @pytest.fixture
    def folder(self, tmp_path, cross_encoder_folder):
        return shutil.copytree(cross_encoder_folder, tmp_path / "model")

    def test_without_weights(self, folder):
        (folder / "model.safetensors").unlink()
        with pytest.raises(ModelError, match=r"holds no weights: expected model\.safetensors"):
            load_reranker(folder, **REFERENCE)

    def test_with_pickled_weights_only(self, folder):
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(ModelError, match=r"only as pytorch_model\.bin, which is not loaded"):
            load_reranker(folder, **REFERENCE)

    def test_with_half_a_weights_file(self, folder):
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
        with pytest.raises(ModelError, match="cannot load the model"):
            load_reranker(folder, **REFERENCE)

    def test_without_tokenizer(self, folder):
        for name in ("tokenizer.json", "tokenizer_config.json"):
            (folder / name).unlink()
        with pytest.raises(ModelError, match="holds no tokenizer"):
            load_reranker(folder, **REFERENCE)

    def test_without_config(self, folder):
        (folder / "config.json").unlink()
        with pytest.raises(ModelError, match=r"holds no model: expected config\.json"):
            load_reranker(folder, **REFERENCE)

    def test_with_three_labels(self, tmp_path):
        with pytest.raises(ModelError, match="has 3 labels"):
            load_reranker(make_cross_encoder(tmp_path / "model", labels=3), **REFERENCE)

    def test_with_a_head_that_was_never_trained(self, tmp_path):
        folder = make_transformer(tmp_path / "model")
        config = json.loads((folder / "config.json").read_text())
        config["architectures"] = ["BertForSequenceClassification"]
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ModelError, match=r"lacks 2 weights .* they would be random"):
            load_reranker(folder, **REFERENCE)

    def test_a_headless_encoder_is_no_reranker(self, tmp_path):
        with pytest.raises(ModelError, match="neither a cross-encoder"):
            load_reranker(make_transformer(tmp_path / "model"), **REFERENCE)


def test_the_same_content_has_the_same_hash_and_another_has_not(tmp_path, cross_encoder_folder):
    copy = shutil.copytree(cross_encoder_folder, tmp_path / "copy")
    other = make_cross_encoder(tmp_path / "other", seed=1)
    hashes = [load_reranker(folder, **REFERENCE).describe()["sha256"] for folder in (cross_encoder_folder, copy, other)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_rerank_keeps_texts_and_orders_by_score(cross_encoder_folder):
    reranker = load_reranker(cross_encoder_folder, **REFERENCE)
    texts = [text for _, text in PAIRS]
    candidates = [Candidate(f"d{i}", 10.0 - i, text) for i, text in enumerate(texts)]
    ranking = reranker.rerank("heat flow", candidates)
    expected = sorted(zip(reranker.score("heat flow", texts), texts, strict=True), reverse=True)
    assert [candidate.text for candidate in ranking.candidates] == [text for _, text in expected]
