from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.compare.html.page import shown_queries
from reranker_kd.compare.plots import pareto_front
from reranker_kd.compare.rankings import (
    NOT_A_CANDIDATE,
    ComparedRankings,
    by_query_length,
    gain_by_candidate_rank,
    mean_and_error,
    scores_by_relevance,
)
from reranker_kd.compare.reports import short_labels
from reranker_kd.evaluate.evaluation import evaluate
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import columns_of_run, read_run
from reranker_kd.types import in_rank_order

docids = st.sampled_from([f"d{number}" for number in range(30)])
runs = st.dictionaries(
    st.sampled_from("abc"), st.dictionaries(docids, st.integers(0, 9).map(float), min_size=1), min_size=1
)
grades = st.dictionaries(st.sampled_from("abc"), st.dictionaries(docids, st.integers(-1, 3), min_size=1), min_size=1)


@given(runs, runs, grades)
def test_gains_add_up_to_trec_evals_ndcg(run, candidates, qrels):
    run = {qid: in_rank_order(documents) for qid, documents in run.items()}
    if not run.keys() & qrels.keys():
        return
    rankings = ComparedRankings(
        qrels, {"run": [columns_of_run(run)], "first": [columns_of_run(candidates)]}, reference="first"
    )
    gains = gain_by_candidate_rank(rankings, ["run"], list(qrels))["run"]
    expected = evaluate(run, qrels, ["nDCG@10"]).means["nDCG@10"]
    assert math.isclose(sum(gains.values()), expected, abs_tol=1e-9)


def test_gains_lie_where_the_candidates_had_the_documents():
    candidates = {"q": {f"d{rank}": 1000.0 - rank for rank in range(1, 121)}}
    run = {"q": {"d5": 9.0, "d15": 8.0, "d120": 7.0, "new": 6.0}}
    qrels = {"q": dict.fromkeys(run["q"], 1)}
    rankings = ComparedRankings(
        qrels, {"run": [columns_of_run(run)], "first": [columns_of_run(candidates)]}, reference="first"
    )
    gains = gain_by_candidate_rank(rankings, ["run"], ["q"])["run"]
    ideal = sum(1 / math.log2(rank + 1) for rank in (1, 2, 3, 4))
    of_rank = {"1-10": 1, "11-20": 2, "101 on": 3, NOT_A_CANDIDATE: 4}
    expected = {bucket: 1 / math.log2(rank + 1) / ideal for bucket, rank in of_rank.items()}
    assert {bucket: gain for bucket, gain in gains.items() if gain} == pytest.approx(expected)


def test_the_gains_of_a_published_run_are_its_figure(shared_data):
    folder = shared_data / "trec-dl"
    run = folder / "runs" / "run.dl20.splade-pp.top100.txt"
    columns = columns_of_run(read_run(run))
    qrels = read_qrels(folder / "qrels.dl20.txt")
    rankings = ComparedRankings(qrels, {"run": [columns]}, reference="run")
    gains = gain_by_candidate_rank(rankings, ["run"], list(qrels))["run"]
    assert round(gains["1-10"], 4) == 0.7197
    assert sum(gains.values()) == gains["1-10"]


@given(st.lists(st.tuples(st.integers(1, 6).map(float), st.integers(0, 6).map(float))))
def test_the_front_is_what_no_other_outdoes(points):
    def outdone(point):
        return any(other != point and other[0] <= point[0] and other[1] >= point[1] for other in points)

    front = pareto_front(points)
    assert {points[place] for place in front} == {point for point in points if not outdone(point)}
    assert [points[place] for place in front] == sorted(points[place] for place in front)


def test_scores_by_relevance(rankings):
    relevant, others = scores_by_relevance(rankings, "student", ["q1", "q2"], 2)
    assert sorted(relevant) == [9.0, 9.0]
    assert sorted(others) == [7.0, 7.0, 8.0, 8.0]


@given(st.lists(st.integers(1, 12), max_size=60))
def test_buckets_of_lengths_hold_each_query_once(lengths):
    topics = {str(number): "word " * length for number, length in enumerate(lengths)}
    buckets = by_query_length(topics, list(topics))
    assert sorted(qid for _, qids in buckets for qid in qids) == sorted(topics)
    assert len(buckets) <= 5
    for words, qids in buckets:
        low, _, high = words.partition("-")
        assert all(int(low) <= lengths[int(qid)] <= int(high or low) for qid in qids)


def test_mean_and_standard_error():
    assert mean_and_error([1.0, 3.0]) == (2.0, pytest.approx(1.0))
    assert mean_and_error([0.5]) == (0.5, 0.0)


def test_queries_by_their_largest_difference(compared):
    ordered = shown_queries(compared)
    assert sorted(ordered) == sorted(compared.queries)
    baseline = compared.system("bm25").per_query["nDCG@10"]
    sizes = [max(abs(s.per_query["nDCG@10"][qid] - baseline[qid]) for s in compared.systems) for qid in ordered]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a/run.dl20.bm25.top100.txt", "a/run.dl20.tas-b.top100.txt"], ["bm25", "tas-b"]),
        (["bm25.txt", "student.txt"], ["bm25", "student"]),
        (["a/run.txt", "b/run.txt"], ["a/run.txt", "b/run.txt"]),
        (["run.x.txt", "run.x.2.txt"], ["x", "x.2"]),
        (["a/run.only.txt"], ["run.only.txt"]),
    ],
)
def test_short_labels(compared, names, labels):
    systems = tuple(replace(compared.systems[0], name=name, runs=(name,)) for name in names)
    found = short_labels(replace(compared, systems=systems, baseline=names[0], candidates=None))
    assert found == dict(zip(names, labels, strict=True))


def test_groups_keep_their_names(compared):
    group = replace(compared.systems[0], name="a.b", kind="seeds")
    other = replace(compared.systems[1], name="run.b.txt")
    found = short_labels(replace(compared, systems=(group, other), candidates="run.c.txt"))
    assert found == {"a.b": "a.b", "run.b.txt": "b", "run.c.txt": "c"}
