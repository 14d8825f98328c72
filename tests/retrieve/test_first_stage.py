"""Candidates from Python: what becomes of a run before it is handed on."""

import json

import pytest

from reranker_kd.errors import InputError
from reranker_kd.retrieve.first_stage import retrieve
from reranker_kd.retrieve.indexing import build_index
from reranker_kd.retrieve.lucene import LuceneIndex, SearchSettings
from reranker_kd.retrieve.lucene.index import keep_best_passages

TEXTS = {"d#1": "heat flow", "d#2": "heat over heat", "q": "heat and flow", "e#1": "flow over a plate", "f": "heat"}
TOPICS = {"q": "heat", "r": "flow plate"}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first-stage")
    lines = [json.dumps({"id": docid, "contents": text}) for docid, text in TEXTS.items()]
    (folder / "docs.jsonl").write_text("\n".join(lines))
    (folder / "topics.tsv").write_text("".join(f"{qid}\t{text}\n" for qid, text in TOPICS.items()))
    build_index(folder / "docs.jsonl", folder / "index")
    return folder / "index"


def test_a_folder_and_a_file_do_as_an_open_index_and_topics(index):
    run = retrieve(index, str(index.parent / "topics.tsv"))
    assert run == retrieve(LuceneIndex(index), TOPICS) == LuceneIndex(index).search(TOPICS)
    assert set(run["q"]) == {"d#1", "d#2", "q", "f"}


def test_hits_and_settings(index):
    tuned = retrieve(index, TOPICS, 2, k1=2.0, b=0.9)
    assert tuned == LuceneIndex(index).search(TOPICS, SearchSettings(hits=2, k1=2.0, b=0.9))
    assert tuned != retrieve(index, TOPICS, 2)


def test_the_document_named_as_the_query_goes(index):
    assert set(retrieve(index, TOPICS, remove_query=True)["q"]) == {"d#1", "d#2", "f"}


def test_passages_are_folded_to_documents(index):
    found = retrieve(index, TOPICS)["q"]
    folded = retrieve(index, TOPICS, max_passage=True, max_passage_hits=2)["q"]
    assert len(folded) == 2
    assert folded["d"] == max(found["d#1"], found["d#2"])


def test_each_document_has_its_best_passage():
    passages = {"a#2": 9.0, "b#0": 8.0, "a#0": 7.0, "c#1": 6.0, "d": 5.0}
    assert keep_best_passages(passages, "#", 3) == {"a": 9.0, "b": 8.0, "c": 6.0}


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"k1": 1.0}, "k1 goes with b: give both, or leave k1 out"),
        ({"k1": 1.0, "b": 0.0, "qld": True}, "k1 has no effect beside qld"),
        ({"max_passage_hits": 5}, "max_passage_hits goes with max_passage"),
        ({"hitz": 5}, "hitz: is not a key"),
        ({"threads": 0}, "threads: Input should be greater than or equal to 1"),
    ],
)
def test_faulty_settings(index, settings, fault):
    with pytest.raises(InputError, match=fault):
        retrieve(index, TOPICS, **settings)
