"""Scores are the similarities of sentence-transformers' embeddings."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from make_tiny_models import make_transformer
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

from reranker_kd import load_reranker
from reranker_kd.errors import ModelError
from reranker_kd.inference.options import REFERENCE
from reranker_kd.models.pooling import POOLINGS

QUERIES = ["how does heat flow", "what is a shock wave"]
TEXTS = ["heat flow over a flat plate", "the dog and the cat", "supersonic shock wave " * 60]
PAIRS = [(query, text) for query in QUERIES for text in TEXTS]


def _save(folder, tmp_path, *modules, **settings):
    transformer = Transformer(str(make_transformer(tmp_path / "encoder")), max_seq_length=40)
    model = SentenceTransformer(modules=[transformer, *modules], device="cpu", **settings)
    model.save_pretrained(str(folder))
    return model


def _similarities(model, similarity):
    queries = model.encode_query([query for query, _ in PAIRS])
    texts = model.encode_document([text for _, text in PAIRS])
    if similarity == "cosine":
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    return (queries * texts).sum(1)


@pytest.mark.parametrize("pooling", [*POOLINGS, ("mean", "max")])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_every_pooling_gives_sentence_transformers_similarities(tmp_path, pooling, similarity):
    model = _save(tmp_path / "model", tmp_path, Pooling(32, pooling_mode=pooling), similarity_fn_name=similarity)
    scores = load_reranker(tmp_path / "model", **REFERENCE).score_pairs(PAIRS)
    expected = _similarities(model, similarity)
    assert expected.std() > 0.001
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


def test_dense_layers_normalisation_and_prompts(tmp_path):
    dense = Dense(32, 8, activation_function=torch.nn.Tanh())
    prompts = {"query": "a query is ", "document": "a document is "}
    model = _save(tmp_path / "model", tmp_path, Pooling(32), dense, Normalize(), prompts=prompts)
    scores = load_reranker(tmp_path / "model", **REFERENCE).score_pairs(PAIRS)
    np.testing.assert_allclose(scores, _similarities(model, "cosine"), atol=1e-4)


def test_pooling_flags_of_older_versions(tmp_path):
    model = _save(tmp_path / "model", tmp_path, Pooling(32, pooling_mode="cls"))
    flags = {"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (tmp_path / "model" / "1_Pooling" / "config.json").write_text(json.dumps(flags))
    scores = load_reranker(tmp_path / "model", **REFERENCE).score_pairs(PAIRS)
    np.testing.assert_allclose(scores, _similarities(model, "cosine"), atol=1e-4)


def test_long_documents_take_the_best_passage(tmp_path):
    _save(tmp_path / "model", tmp_path, Pooling(32))
    words = ("the dog and the cat by the river sea " + "heat flow on a plate " * 3).split()
    policy = {"passage_length": 8, "passage_stride": 4}
    reranker = load_reranker(tmp_path / "model", **policy, **REFERENCE)
    passages = [" ".join(words[start : start + 8]) for start in range(0, len(words) - 4, 4)]
    by_hand = reranker.score("heat flow", passages)
    scored = reranker.score_documents([("heat flow", " ".join(words))])
    assert (scored.split, scored.cut) == (1, 0)
    np.testing.assert_allclose(scored.scores, [by_hand.max()], atol=1e-5)


def test_modules_outside_of_the_folder_are_refused(tmp_path):
    _save(tmp_path / "model", tmp_path, Pooling(32))
    modules = json.loads((tmp_path / "model" / "modules.json").read_text())
    modules[1]["path"] = "../elsewhere"
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="outside of its folder"):
        load_reranker(tmp_path / "model", **REFERENCE)


def test_unknown_modules_are_named(tmp_path):
    _save(tmp_path / "model", tmp_path, Pooling(32))
    modules = json.loads((tmp_path / "model" / "modules.json").read_text())
    modules[1]["type"] = "somewhere.LSTM"
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="module LSTM is not supported"):
        load_reranker(tmp_path / "model", **REFERENCE)
