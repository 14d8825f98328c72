"""Costs out of provenance and benchmark documents, whatever is missing in them."""

from __future__ import annotations

import pytest

from reranker_kd.compare.comparison import Cost
from reranker_kd.compare.cost import BenchmarkedModel, cost_of_run, costs_of, entry_of, joined, with_break_even
from reranker_kd.errors import InputError
from reranker_kd.provenance import write_provenance


def test_of_a_run():
    record = {"seconds": {"rerank": 2.0}, "counts": {"topics": 4, "pairs": 400}}
    assert cost_of_run(record, "p") == Cost(query_ms=500, pairs_per_second=200, sources=("p",))
    assert cost_of_run({}, "p") == Cost()
    assert cost_of_run({"seconds": None, "counts": None}, "p") == Cost()


def test_of_a_model():
    entry = BenchmarkedModel(model="m", query_ms={"p50": 5, "p95": 7.5}, parameters=10, model_bytes=None)
    assert entry.cost("b") == Cost(query_ms=5, query_ms_p95=7.5, parameters=10, sources=("b",))
    assert BenchmarkedModel(model="m").cost("b") == Cost(sources=("b",))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            '{"models": [{"model": "m", "cold_start_s": "soon"}]}',
            "models.0.cold_start_s: Input should be a valid number",
        ),
        ('{"models": [{}]}', "models.0.model: Field required"),
        ("{}", "expected the JSON of benchmark"),
        ("1 2", "Invalid JSON"),
    ],
)
def test_a_faulty_file_is_named(tmp_path, content, fault):
    path = tmp_path / "benchmark.json"
    path.write_text(content)
    with pytest.raises(InputError, match=fault) as raised:
        costs_of({}, [str(path)])
    assert str(raised.value).startswith(f"{path}: ")
    with pytest.raises(InputError, match="cannot read: No such file"):
        costs_of({}, [str(tmp_path / "absent")])


def test_of_an_encoded_folder(tmp_path):
    run, index = tmp_path / "run.txt", tmp_path / "index"
    run.write_text("1 Q0 a 1 1 t\n")
    index.write_bytes(bytes(5))
    write_provenance(run, {"model": {"name": "twin", "embeddings": "folder"}, "seconds": {"rerank": 0.5}, "counts": {}})
    write_provenance(index, {"stage": "encode", "model": {"name": "twin"}, "seconds": {"encode": 10.0}})
    costs, models = costs_of({"t": [str(run)], "u": [str(tmp_path / "other")]}, [f"{index}.provenance.json"])
    assert models == {"t": "twin"}
    assert (costs["t"].index_bytes, costs["t"].encoding_seconds) == (5, 10)


def test_the_first_figure_counts():
    first, second = Cost(query_ms=1, sources=("a",)), Cost(query_ms=2, parameters=3, sources=("b",))
    assert joined([first, second]) == Cost(query_ms=1, parameters=3, sources=("a", "b"))


def test_break_even():
    twin = Cost(query_ms=2, encoding_seconds=10.0)
    costs = with_break_even({"twin": twin, "cross": Cost(query_ms=52), "bm25": Cost(query_ms=1), "unknown": Cost()})
    # After 200 queries of 50 ms each the 10 s are level.
    assert costs["twin"].pays_from_queries == {"cross": 201}
    assert costs["cross"].pays_from_queries == {}


def test_which_entry():
    entries = [
        BenchmarkedModel(model="m/cross", precision="float32"),
        BenchmarkedModel(model="cross", precision="int8"),
        BenchmarkedModel(model="twin"),
    ]
    assert entry_of(entries, ["cross"], {}) is entries[0]
    assert entry_of(entries, ["x", "folder/cross"], {"precision": "int8"}) is entries[1]
    assert entry_of(entries, ["runs/run.twin.txt"], {}) is entries[2]
    assert entry_of(entries, ["runs/run.twins.txt"], {}) is None
