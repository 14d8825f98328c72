"""Passages folded to documents, the query's own document dropped."""

from reranker_kd.retrieve.first_stage import keep_best_passages, without_query_documents


def test_each_document_has_its_best_passage():
    run = {"q": {"a#2": 9.0, "b#0": 8.0, "a#0": 7.0, "c#1": 6.0, "d": 5.0}}
    assert keep_best_passages(run, "#", 3) == {"q": {"a": 9.0, "b": 8.0, "c": 6.0}}


def test_the_document_named_as_the_query_goes():
    assert without_query_documents({"a": {"a": 2.0, "b": 1.0}}) == {"a": {"b": 1.0}}
