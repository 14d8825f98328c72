"""The bridge against Pyserini itself, on a small collection."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from reranker_kd.errors import LuceneError
from reranker_kd.evaluate.evaluation import evaluate
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.topics import read_topics
from reranker_kd.retrieve.indexing import build_index, build_index_with_class
from reranker_kd.retrieve.lucene import LuceneIndex, SearchSettings
from reranker_kd.types import rank_order

DOCUMENTS = {
    "d1": "heat flow over a flat plate in a boundary layer",
    "d2": "the dog and the cat sat by the river",
    "d3": "a shock wave in supersonic flow over a flat plate",
    "d4": "heat transfer from a cylinder",
    "d5": "naïve café: Unicode 東京 text with a \t tab and a \n line break",
}
TOPICS = {"1": "heat flow plate", "2": "dog river", "3": "the of and", "4": "supersonic flow heat"}


@pytest.fixture(scope="module")
def index_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lucene")
    lines = [json.dumps({"id": docid, "contents": text}) for docid, text in DOCUMENTS.items()]
    (folder / "docs.jsonl").write_text("\n".join(lines))
    assert build_index(folder / "docs.jsonl", folder / "index") == (5, [])
    return folder / "index"


@pytest.fixture(scope="module")
def index(index_folder):
    return LuceneIndex(index_folder)


def _pyserini_run(folder, configure):
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher(str(folder))
    configure(searcher)
    found = searcher.batch_search(list(TOPICS.values()), list(TOPICS), k=10, threads=1)
    return {qid: {hit.docid: hit.score for hit in found[qid]} for qid in TOPICS}


@pytest.mark.parametrize(
    ("settings", "configure"),
    [
        (SearchSettings(), lambda searcher: searcher.set_bm25(0.9, 0.4)),
        (SearchSettings(k1=1.2, b=0.75), lambda searcher: searcher.set_bm25(1.2, 0.75)),
        (SearchSettings(qld=True), lambda searcher: searcher.set_qld()),
        (SearchSettings(rm3=True), lambda searcher: searcher.set_rm3()),
        (SearchSettings(rocchio=True), lambda searcher: searcher.set_rocchio()),
    ],
)
def test_runs_equal_pyserinis(index, index_folder, settings, configure):
    ours = index.search(TOPICS, settings.model_copy(update={"hits": 10}))
    theirs = _pyserini_run(index_folder, configure)
    assert list(ours) == list(TOPICS)
    assert ours == theirs
    for documents in ours.values():
        assert rank_order(list(documents), list(documents.values())) == list(range(len(documents)))


def test_settings_do_not_leak_into_the_next_search(index):
    before = index.search(TOPICS)
    index.search(TOPICS, SearchSettings(rm3=True, rocchio=True, k1=2.0, b=0.1))
    assert index.search(TOPICS) == before


def test_a_topic_of_stopwords_finds_nothing(index):
    assert index.search(TOPICS)["3"] == {}


def test_hits_bound_the_documents(index):
    assert {len(documents) for documents in index.search({"1": "flow heat"}, SearchSettings(hits=2)).values()} == {2}


def test_progress_adds_up_to_the_topics(index):
    done = []
    index.search(TOPICS, on_progress=done.append)
    assert sum(done) == len(TOPICS)


def test_texts_are_what_was_indexed(index):
    assert index.texts([*DOCUMENTS, "absent"]) == DOCUMENTS
    assert index.known([*DOCUMENTS, "absent"]) == DOCUMENTS.keys()


def test_an_index_without_text_or_vectors_says_so(tmp_path):
    from pyserini.index.lucene import LuceneIndexer

    bare = LuceneIndexer(str(tmp_path / "bare"), threads=1)
    bare.add_doc_dict({"id": "d1", "contents": "heat flow"})
    bare.close()
    index = LuceneIndex(tmp_path / "bare")
    with pytest.raises(LuceneError, match=r"stores no text .* d1\): rebuild it with reranker-kd index"):
        index.texts(["d1"])
    assert index.known(["d1", "d2"]) == {"d1"}
    with pytest.raises(LuceneError, match="no document vectors"):
        index.search(TOPICS, SearchSettings(rm3=True))


def test_a_folder_without_an_index(tmp_path):
    with pytest.raises(LuceneError, match="holds no Lucene index: build one"):
        LuceneIndex(tmp_path)


def test_a_broken_index(index_folder, tmp_path):
    (tmp_path / "segments_1").write_bytes(b"not Lucene's")
    with pytest.raises(LuceneError, match="cannot open the index"):
        LuceneIndex(tmp_path)


def test_a_name_that_pyserini_does_not_know_names_its_neighbours():
    with pytest.raises(LuceneError, match=r"names like it: .*msmarco-v1-passage"):
        LuceneIndex("msmarco-v1-pasage")


def test_anserinis_own_collection_classes(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.trec").write_text("<DOC>\n<DOCNO> T1 </DOCNO>\n<TEXT>heat flow</TEXT>\n</DOC>\n")
    build_index_with_class(tmp_path / "docs", "TrecCollection", tmp_path / "index")
    assert list(LuceneIndex(tmp_path / "index").search({"1": "heat"})["1"]) == ["T1"]
    with pytest.raises(LuceneError, match=r"no class io\.anserini\.collection\.TrekCollection"):
        build_index_with_class(tmp_path / "docs", "TrekCollection", tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_java_logs_nothing_and_the_environment_stays(index_folder):
    program = f"""
import os
before = dict(os.environ)
from reranker_kd.retrieve.lucene import LuceneIndex
LuceneIndex({str(index_folder)!r}).search({{"1": "heat"}})
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
import pyserini.encode
"""
    environment = {name: value for name, value in os.environ.items() if name not in ("JAVA_HOME", "OPENAI_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
def test_cacm_gives_the_published_figures(shared_data, tmp_path):
    # AP 0.3114, P@30 0.1917, nDCG@10 0.4519: the collections' README, made with Anserini's own JsonCollection.
    build_index(shared_data / "cacm" / "collection.jsonl.gz", tmp_path / "index", threads=2)
    topics = read_topics(shared_data / "cacm" / "topics.cacm.tsv")
    run = LuceneIndex(tmp_path / "index").search(topics)
    qrels = read_qrels(shared_data / "cacm" / "qrels.cacm.txt")
    means = evaluate(run, qrels, ["AP", "P@30", "nDCG@10"]).means
    assert {name: round(value, 4) for name, value in means.items()} == {"AP": 0.3114, "P@30": 0.1917, "nDCG@10": 0.4519}
