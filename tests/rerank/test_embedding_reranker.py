"""Reranking by precomputed embeddings gives what encoding the texts gives, and reads none."""

from __future__ import annotations

import json
import shutil

import faiss
import numpy as np
import pytest
from make_tiny_models import make_cross_encoder
from make_tiny_twins import make_tiny_twin

from reranker_kd import load_reranker
from reranker_kd.errors import CandidateError, InputError, ModelError
from reranker_kd.inference.options import REFERENCE
from reranker_kd.inference.text_encoder import load_encoder
from reranker_kd.rerank.rerank_run import rerank_run
from reranker_kd.retrieve.dense.encoding import encode_collection, survey_collection
from reranker_kd.types import Candidate

TEXTS = {"a": "heat flow over a flat plate", "b": "the dog and the cat", "c": "shock wave", "d": "river sea"}
TOPICS = {"1": "heat flow", "2": "a dog"}
CANDIDATES = {"1": {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}, "2": {"d": 2.0, "b": 1.0}}


def _no_text(docids):
    raise AssertionError(f"texts of {list(docids)} were asked for")


@pytest.fixture(scope="module", params=["cosine", "dot", "residual"])
def twin(request, tmp_path_factory):
    return make_tiny_twin(tmp_path_factory.mktemp("models") / "twin", towers="separate", crossing=request.param)


def _encode(twin, folder, texts=TEXTS, index_type="Flat"):
    collection = folder.parent / "docs.tsv"
    collection.write_text("".join(f"{docid}\t{text}\n" for docid, text in texts.items()))
    encode_collection(
        collection, survey_collection(collection), load_encoder(twin, **REFERENCE), folder, index_type=index_type
    )
    return folder


@pytest.mark.parametrize("index_type", ["Flat", "HNSW8", "IVF1,Flat"])
def test_scores_equal_those_of_the_texts(twin, tmp_path, index_type):
    embeddings = _encode(twin, tmp_path / "embeddings", index_type=index_type)
    by_text = rerank_run(CANDIDATES, TOPICS, lambda docids: TEXTS, load_reranker(twin, **REFERENCE))
    gathered = rerank_run(CANDIDATES, TOPICS, _no_text, load_reranker(twin, embeddings=embeddings, **REFERENCE))
    assert gathered.counts.pairs == by_text.counts.pairs == 6
    for qid, documents in by_text.run.items():
        assert list(gathered.run[qid]) == list(documents)
        np.testing.assert_allclose(list(gathered.run[qid].values()), list(documents.values()), atol=1e-5)


@pytest.mark.parametrize(("index_type", "tolerance"), [("fp16", 2e-3), ("SQ8", 2e-2)])
def test_compressed_vectors_are_close(tmp_path, index_type, tolerance):
    twin = make_tiny_twin(tmp_path / "twin")
    embeddings = _encode(twin, tmp_path / "embeddings", index_type=index_type)
    exact = load_reranker(twin, **REFERENCE).score("heat flow", list(TEXTS.values()))
    reranker = load_reranker(twin, embeddings=embeddings, **REFERENCE)
    scores = {c.docid: c.score for c in reranker.rerank("heat flow", [Candidate(d, 1.0) for d in TEXTS]).candidates}
    np.testing.assert_allclose([scores[docid] for docid in TEXTS], exact, atol=tolerance)


def test_documents_without_embedding_are_encoded_from_their_texts(twin, tmp_path):
    embeddings = _encode(twin, tmp_path / "embeddings", {docid: TEXTS[docid] for docid in "ac"})
    reranker = load_reranker(twin, embeddings=embeddings, **REFERENCE)
    assert list(reranker.texts_wanted(list("abcd"))) == ["b", "d"]
    asked = []

    def texts(docids):
        asked.extend(docids)
        return TEXTS

    run = rerank_run(CANDIDATES, TOPICS, texts, reranker).run
    assert sorted(asked) == ["b", "d"]
    expected = rerank_run(CANDIDATES, TOPICS, lambda docids: TEXTS, load_reranker(twin, **REFERENCE)).run
    for qid, documents in expected.items():
        np.testing.assert_allclose([run[qid][docid] for docid in documents], list(documents.values()), atol=1e-5)
    with pytest.raises(CandidateError, match="document 'b' is not in"):
        rerank_run(CANDIDATES, TOPICS, lambda docids: {}, reranker)


def test_texts_can_still_be_scored(twin, tmp_path):
    embeddings = _encode(twin, tmp_path / "embeddings")
    pairs = [("heat flow", "a text that was never encoded")]
    scores = load_reranker(twin, embeddings=embeddings, **REFERENCE).score_pairs(pairs)
    np.testing.assert_allclose(scores, load_reranker(twin, **REFERENCE).score_pairs(pairs), atol=1e-6)


def test_an_empty_query_is_named(twin, tmp_path):
    reranker = load_reranker(twin, embeddings=_encode(twin, tmp_path / "embeddings"), **REFERENCE)
    with pytest.raises(CandidateError, match="its text is empty"):
        reranker.rerank(" ", [Candidate("a", 1.0)])


def test_the_description_names_model_and_embeddings(twin, tmp_path):
    described = load_reranker(twin, embeddings=_encode(twin, tmp_path / "embeddings"), **REFERENCE).describe()
    assert len(described["sha256"]) == len(described["embeddings"]["sha256"]) == 64
    json.dumps(described)


def test_another_models_embeddings_are_refused(tmp_path):
    embeddings = _encode(make_tiny_twin(tmp_path / "one"), tmp_path / "embeddings")
    other = make_tiny_twin(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match=r"made by another model \(.*one, sha256 .*\) than .*other"):
        load_reranker(other, embeddings=embeddings, **REFERENCE)


def test_vectors_of_another_length_are_refused_without_provenance_too(tmp_path):
    (tmp_path / "pyserini").mkdir()
    index = faiss.IndexFlatIP(48)
    index.add(np.ones((2, 48), dtype=np.float32))
    faiss.write_index(index, str(tmp_path / "pyserini" / "index"))
    (tmp_path / "pyserini" / "docid").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"vectors have 48 dimensions, those of .*twin have 32"):
        load_reranker(make_tiny_twin(tmp_path / "twin"), embeddings=tmp_path / "pyserini", **REFERENCE)


def test_a_folder_without_provenance_is_taken_by_its_length(twin, tmp_path):
    embeddings = _encode(twin, tmp_path / "embeddings")
    (embeddings / "index.provenance.json").unlink()
    assert load_reranker(twin, embeddings=embeddings, **REFERENCE).rerank("heat", [Candidate("a", 1.0)]).candidates


def test_a_cross_encoder_has_no_embeddings(twin, tmp_path):
    embeddings = _encode(twin, tmp_path / "embeddings")
    with pytest.raises(ModelError, match="scores query and document together: only bi-encoders have embeddings"):
        load_reranker(make_cross_encoder(tmp_path / "cross", "bert"), embeddings=embeddings, **REFERENCE)


def test_a_missing_folder_is_named(twin, tmp_path):
    shutil.rmtree(tmp_path / "nothing", ignore_errors=True)
    with pytest.raises(InputError, match="nothing"):
        load_reranker(twin, embeddings=tmp_path / "nothing", **REFERENCE)
