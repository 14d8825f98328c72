"""Fused runs are Pyserini's where it has the method; the rest on worked examples."""

from __future__ import annotations

import pytest

from reranker_kd.errors import InputError
from reranker_kd.formats.runs import read_run, write_run
from reranker_kd.retrieve.fusion import METHODS, fuse
from reranker_kd.retrieve.lucene import pyserini_importable


def _runs(shared_data):
    folder = shared_data / "trec-dl" / "runs"
    return [folder / f"run.dl20.{name}.top100.txt" for name in ("bm25", "tas-b", "splade-pp")]


@pytest.mark.parametrize(
    ("method", "options", "count"),
    [
        ("rrf", {"rrf_k": 60}, 3),
        ("rrf", {"rrf_k": 10}, 2),
        ("interpolation", {"alpha": 0.3}, 2),
        ("average", {}, 3),
        ("normalize", {}, 3),
    ],
)
@pytest.mark.parametrize("depth", [None, 20])
def test_equals_pyserini(shared_data, tmp_path, method, options, count, depth):
    with pyserini_importable():
        import pyserini.fusion
        from pyserini.trectools import TrecRun
    # Written by us, so that the rank column that Pyserini goes by is the order that trec_eval sees.
    for place, path in enumerate(_runs(shared_data)[:count]):
        write_run(tmp_path / f"{place}.txt", read_run(path))
    paths = [tmp_path / f"{place}.txt" for place in range(count)]
    names = {"rrf": "reciprocal_rank_fusion"}
    theirs = getattr(pyserini.fusion, names.get(method, method))(
        [TrecRun(str(path)) for path in paths], depth=depth, **options
    )
    expected: dict[str, dict[str, float]] = {}
    for qid, _, docid, _, score, _ in theirs.to_numpy():
        expected.setdefault(str(qid), {})[docid] = score
    weights = [options["alpha"], 1 - options["alpha"]] if "alpha" in options else None

    fused = fuse(
        [read_run(path) for path in paths], method, weights=weights, rrf_k=options.get("rrf_k", 60), depth=depth
    )

    assert set(fused) == set(expected)
    for qid, documents in expected.items():
        assert fused[qid] == pytest.approx(documents, rel=1e-6)


RUNS = [{"1": {"a": 3.0, "b": 1.0, "c": -1.0}}, {"1": {"c": 10.0, "a": 8.0}, "2": {"x": 1.0}}]


def test_reciprocal_ranks_by_hand():
    fused = fuse(RUNS, "rrf", rrf_k=60)
    assert fused["1"] == pytest.approx({"a": 1 / 61 + 1 / 62, "c": 1 / 63 + 1 / 61, "b": 1 / 62})
    assert list(fused["1"]) == ["a", "c", "b"]
    assert fused["2"] == {"x": 1 / 61}


def test_z_scores_by_hand():
    # The first run: mean 1, deviation sqrt(8/3). The second: mean 9, deviation 1; it lacks b, which gets its worst, -1.
    deviation = (8 / 3) ** 0.5
    fused = fuse(RUNS, "zscore", weights=[1.0, 2.0])
    assert fused["1"] == pytest.approx({"c": -2 / deviation + 2.0, "a": 2 / deviation - 2.0, "b": -2.0})
    # One document deviates from nothing.
    assert fused["2"] == {"x": 0.0}


def test_equal_scores_become_one_by_min_max():
    assert fuse([{"1": {"a": 2.0, "b": 2.0}}, {}], "normalize")["1"] == {"b": 1.0, "a": 1.0}


@pytest.mark.parametrize("method", METHODS)
def test_the_order_of_the_runs_does_not_matter(method):
    assert fuse(RUNS, method)["1"] == pytest.approx(fuse(RUNS[::-1], method)["1"])


def test_what_cannot_be_fused_is_refused():
    with pytest.raises(InputError, match="at least two runs"):
        fuse(RUNS[:1])
    with pytest.raises(InputError, match="1 weights for 2 runs"):
        fuse(RUNS, weights=[1.0])
    with pytest.raises(InputError, match="known: rrf"):
        fuse(RUNS, "sum")
