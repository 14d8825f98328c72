"""Dense retrieval: what Pyserini's own FaissSearcher finds over the same folder."""

from __future__ import annotations

import numpy as np
import pytest
from make_tiny_models import make_cross_encoder
from make_tiny_twins import make_tiny_twin

from reranker_kd import QueryEncoder
from reranker_kd.errors import InputError, ModelError
from reranker_kd.inference.options import REFERENCE
from reranker_kd.inference.text_encoder import load_encoder
from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
from reranker_kd.retrieve.dense.encoding import encode_collection, survey_collection
from reranker_kd.retrieve.dense.search import search_topics
from reranker_kd.retrieve.lucene.jvm import pyserini_importable, start_java

WORDS = "heat flow over a flat plate and the dog the cat shock wave river sea".split()
TOPICS = {"1": "heat flow", "2": "a dog and a cat", "3": "shock wave"}


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    return make_tiny_twin(tmp_path_factory.mktemp("models") / "twin", towers="separate")


def _encode(twin, folder, index_type="Flat", count=120):
    random = np.random.default_rng(0)
    collection = folder.parent / "docs.tsv"
    with collection.open("w") as stream:
        for i in range(count):
            stream.write(f"d{i}\t{' '.join(random.choice(WORDS, size=random.integers(3, 20)))}\n")
    encode_collection(
        collection, survey_collection(collection), load_encoder(twin, **REFERENCE), folder, index_type=index_type
    )
    return folder


@pytest.mark.parametrize("index_type", ["Flat", "fp16", "SQ8", "HNSW8", "IVF4,Flat", "PQ4x4"])
def test_pyserini_opens_the_folder_and_finds_the_same(twin, tmp_path, index_type):
    folder = _encode(twin, tmp_path / "embeddings", index_type, count=700)
    ours = search_topics(EmbeddingIndex(folder), load_encoder(twin, **REFERENCE), TOPICS, hits=20)
    start_java()
    with pyserini_importable():
        from pyserini.search.faiss import FaissSearcher
    searcher = FaissSearcher(str(folder), QueryEncoder(twin, **REFERENCE))
    together = searcher.batch_search(list(TOPICS.values()), list(TOPICS), k=20)
    for qid, text in TOPICS.items():
        for hits in (together[qid], searcher.search(text, k=20)):
            expected = {hit.docid: float(hit.score) for hit in hits}
            assert expected.keys() == ours[qid].keys()
            np.testing.assert_allclose(list(ours[qid].values()), [expected[d] for d in ours[qid]], atol=1e-5)
            np.testing.assert_allclose(list(ours[qid].values()), sorted(expected.values(), reverse=True), atol=1e-5)


def test_more_hits_than_documents_give_them_all(twin, tmp_path):
    folder = _encode(twin, tmp_path / "embeddings", count=5)
    run = search_topics(EmbeddingIndex(folder), load_encoder(twin, **REFERENCE), TOPICS, hits=50)
    assert [len(documents) for documents in run.values()] == [5, 5, 5]


def test_batches_do_not_matter(twin, tmp_path):
    folder = _encode(twin, tmp_path / "embeddings")
    done: list[float] = []
    one = search_topics(
        EmbeddingIndex(folder), load_encoder(twin, **REFERENCE), TOPICS, hits=9, batch_size=1, on_progress=done.append
    )
    all_at_once = search_topics(EmbeddingIndex(folder), load_encoder(twin, **REFERENCE), TOPICS, hits=9)
    assert done == [1, 1, 1]
    for qid in TOPICS:
        assert list(one[qid]) == list(all_at_once[qid])


def test_a_residual_twin_cannot_be_searched_by(tmp_path):
    twin = make_tiny_twin(tmp_path / "twin", crossing="residual")
    folder = _encode(twin, tmp_path / "embeddings", count=5)
    with pytest.raises(InputError, match="residual crossing scores pairs and cannot be searched by"):
        search_topics(EmbeddingIndex(folder), load_encoder(twin, **REFERENCE), TOPICS)
    with pytest.raises(InputError, match="residual crossing"):
        QueryEncoder(twin)


def test_a_cross_encoder_does_not_encode(tmp_path):
    with pytest.raises(ModelError, match="scores query and document together and has no embeddings"):
        load_encoder(make_cross_encoder(tmp_path / "cross", "bert"))
