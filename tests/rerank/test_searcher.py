"""A Pyserini searcher, wrapped: one changed line, hits in the reranker's order."""

from __future__ import annotations

import itertools
import json

import pytest

from reranker_kd import RerankedSearcher, load_reranker
from reranker_kd.errors import InputError
from reranker_kd.retrieve.indexing import build_index
from reranker_kd.retrieve.lucene import LuceneIndex

DOCUMENTS = {f"d{i}": f"heat flow {'over a flat plate ' * (i % 4)} in water number {i}" for i in range(12)}


@pytest.fixture(scope="module")
def searcher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("searcher")
    lines = [json.dumps({"id": docid, "contents": text}) for docid, text in DOCUMENTS.items()]
    (folder / "docs.jsonl").write_text("\n".join(lines))
    build_index(folder / "docs.jsonl", folder / "index")
    LuceneIndex(folder / "index").close()

    from pyserini.search.lucene import LuceneSearcher

    return LuceneSearcher(str(folder / "index"))


@pytest.fixture(scope="module")
def reranker(cross_encoder_folder):
    return load_reranker(cross_encoder_folder)


def test_hits_come_in_the_rerankers_order_with_texts(searcher, reranker):
    hits = RerankedSearcher(searcher, reranker, depth=12).search("heat flow plate", k=5)
    texts = list(DOCUMENTS.values())
    scores = dict(zip(DOCUMENTS, reranker.score("heat flow plate", texts).tolist(), strict=True))
    assert [hit.docid for hit in hits] == sorted(DOCUMENTS, key=lambda docid: scores[docid], reverse=True)[:5]
    first_stage = {hit.docid: hit.score for hit in searcher.search("heat flow plate", k=12)}
    for hit in hits:
        assert hit.score == pytest.approx(scores[hit.docid], abs=1e-5)
        assert hit.text == DOCUMENTS[hit.docid]
        assert hit.first_stage_score == first_stage[hit.docid]


def test_batch_search_gives_what_search_gives(searcher, reranker):
    reranked = RerankedSearcher(searcher, reranker, depth=4)
    queries = {"1": "heat flow", "2": "water plate"}
    together = reranked.batch_search(list(queries.values()), list(queries), k=8, threads=2)
    assert list(together) == ["1", "2"]
    for qid, query in queries.items():
        assert [hit.docid for hit in together[qid]] == [hit.docid for hit in reranked.search(query, k=8)]


def test_hits_below_the_depth_keep_their_order(searcher, reranker):
    found = [hit.docid for hit in searcher.search("heat flow plate", k=10)]
    hits = RerankedSearcher(searcher, reranker, depth=3).search("heat flow plate", k=10)
    assert sorted(hit.docid for hit in hits[:3]) == sorted(found[:3])
    assert [hit.docid for hit in hits[3:]] == found[3:]
    assert all(above.score > below.score for above, below in itertools.pairwise(hits))


def test_what_the_searcher_has_is_reached_through_it(searcher, reranker):
    reranked = RerankedSearcher(searcher, reranker)
    assert reranked.num_docs == 12
    reranked.set_bm25(1.2, 0.75)
    with pytest.raises(AttributeError):
        _ = reranked.no_such_thing


def test_a_searcher_without_texts_says_what_to_do(reranker):
    class Hit:
        docid, score = "d1", 1.0

    class Bare:
        def search(self, q, k):
            return [Hit()]

        def doc(self, docid):
            return None

    with pytest.raises(InputError, match=r"stores no text of it: .* text_of"):
        RerankedSearcher(Bare(), reranker).search("heat")
    assert RerankedSearcher(Bare(), reranker, text_of=DOCUMENTS.get).search("heat")[0].text == DOCUMENTS["d1"]
