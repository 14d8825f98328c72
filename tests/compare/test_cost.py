"""Costs out of provenance and benchmark documents, whatever is missing in them."""

from __future__ import annotations

from reranker_kd.compare.comparison import Cost
from reranker_kd.compare.cost import cost_of_index, cost_of_model, cost_of_run, entry_of, joined, with_break_even


def test_of_a_run():
    record = {"seconds": {"rerank": 2.0}, "counts": {"topics": 4, "pairs": 400}}
    assert cost_of_run(record, "p") == Cost(query_ms=500, pairs_per_second=200, sources=("p",))
    assert cost_of_run({}, "p") == Cost()
    assert cost_of_run({"seconds": None, "counts": []}, "p") == Cost()


def test_of_a_model():
    entry = {"query_ms": {"p50": 5, "p95": 7.5}, "parameters": 10, "model_bytes": None, "cold_start_s": "soon"}
    assert cost_of_model(entry, "b") == Cost(query_ms=5, query_ms_p95=7.5, parameters=10, sources=("b",))
    assert cost_of_model({}, "b") == Cost(sources=("b",))


def test_the_first_figure_counts():
    first, second = Cost(query_ms=1, sources=("a",)), Cost(query_ms=2, parameters=3, sources=("b",))
    assert joined([first, second]) == Cost(query_ms=1, parameters=3, sources=("a", "b"))


def test_break_even():
    twin = joined([Cost(query_ms=2), cost_of_index({"seconds": {"encode": 10.0}}, 5, "i")])
    costs = with_break_even({"twin": twin, "cross": Cost(query_ms=52), "bm25": Cost(query_ms=1), "unknown": Cost()})
    # After 200 queries of 50 ms each the 10 s are level.
    assert costs["twin"].pays_from_queries == {"cross": 201}
    assert costs["cross"].pays_from_queries == {}


def test_which_entry():
    entries = [{"model": "m/cross", "precision": "float32"}, {"model": "cross", "precision": "int8"}, {"model": "twin"}]
    assert entry_of(entries, ["cross"], {}) is entries[0]
    assert entry_of(entries, ["x", "folder/cross"], {"precision": "int8"}) is entries[1]
    assert entry_of(entries, ["runs/run.twin.txt"], {}) is entries[2]
    assert entry_of(entries, ["runs/run.twins.txt"], {}) is None
