"""Costs out of provenance and benchmark documents, whatever is missing in them."""

from __future__ import annotations

import json

import pytest

from reranker_kd.compare.comparison import Cost
from reranker_kd.compare.cost import BenchmarkedModel, costs_of, entry_of
from reranker_kd.errors import InputError
from reranker_kd.provenance import write_provenance


@pytest.fixture
def run(tmp_path):
    """The file of a run."""
    path = tmp_path / "run.txt"
    path.write_text("1 Q0 a 1 1 t\n")
    return path


def _benchmark(path, *models):
    path.write_text(json.dumps({"models": models}))
    return str(path)


@pytest.mark.parametrize(
    ("record", "cost"),
    [
        (
            {"seconds": {"rerank": 2.0}, "counts": {"topics": 4, "pairs": 400}},
            {"query_ms": 500, "pairs_per_second": 200},
        ),
        ({"seconds": {"rerank": 2.0}, "counts": None}, {}),
        ({"seconds": None, "counts": None}, None),
        ({}, None),
    ],
)
def test_of_a_run(run, record, cost):
    write_provenance(run, record)
    found, _ = costs_of({"run": [str(run)]}, [])
    assert found == ({} if cost is None else {"run": Cost(**cost, sources=(f"{run}.provenance.json",))})


def test_of_a_model(tmp_path):
    measured = {"model": "m", "query_ms": {"p50": 5, "p95": 7.5}, "parameters": 10, "model_bytes": None, "tokens": 9}
    failed = {"model": "n", "query_ms": None, "pairs_per_second": None}
    path = _benchmark(tmp_path / "b", measured, failed)
    costs, models = costs_of({"m": [], "n": []}, [path])
    assert costs["m"] == Cost(query_ms=5, query_ms_p95=7.5, parameters=10, sources=(path,))
    assert costs["n"] == Cost(sources=(path,))
    assert models == {"m": "m", "n": "n"}


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (
            '{"models": [{"model": "m", "cold_start_s": "soon"}]}',
            "models.0.cold_start_s: Input should be a valid number",
        ),
        ('{"models": [{"model": "m", "query_ms": 5}]}', "models.0.query_ms: Input should be an object"),
        ('{"models": [{"model": "m", "query_ms": {"p50": "x"}}]}', "models.0.query_ms.p50: Input should be a valid n"),
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


def test_of_an_encoded_folder(tmp_path, run):
    index = tmp_path / "index"
    index.write_bytes(bytes(5))
    write_provenance(run, {"model": {"name": "twin", "embeddings": "folder"}, "seconds": {"rerank": 0.5}, "counts": {}})
    write_provenance(index, {"stage": "encode", "model": {"name": "twin"}, "seconds": {"encode": 10.0}})
    costs, models = costs_of({"t": [str(run)], "u": [str(tmp_path / "other")]}, [f"{index}.provenance.json"])
    assert models == {"t": "twin"}
    assert (costs["t"].index_bytes, costs["t"].encoding_seconds) == (5, 10)


def test_the_first_figure_counts(tmp_path, run):
    write_provenance(run, {"seconds": {"rerank": 1.0}, "counts": {"topics": 1, "pairs": 7}})
    first = _benchmark(tmp_path / "first", {"model": "m", "query_ms": {"p50": 1}})
    second = _benchmark(tmp_path / "second", {"model": "m", "query_ms": {"p50": 2, "p99": 3}, "parameters": 3})
    expected = Cost(
        query_ms=1,
        query_ms_p99=3,
        parameters=3,
        pairs_per_second=7,
        sources=(first, second, f"{run}.provenance.json"),
    )
    assert costs_of({"m": [str(run)]}, [first, second])[0] == {"m": expected}


def test_break_even(tmp_path):
    twin = {"model": "twin", "query_ms": {"p50": 2}, "encoding_seconds": 10.0}
    others = [{"model": name, "query_ms": {"p50": ms}} for name, ms in (("cross", 52), ("bm25", 1))]
    path = _benchmark(tmp_path / "benchmark", twin, *others, {"model": "unknown"})
    costs, _ = costs_of({name: [] for name in ("twin", "cross", "bm25", "unknown")}, [path])
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
