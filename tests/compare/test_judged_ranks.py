"""Measures out of ranks are those of ``evaluate_run``; agreement for all at once is that of single rankings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.compare.measured_run import measure_run
from reranker_kd.compare.ranking_agreement import mean_told, pairwise_agreement
from reranker_kd.compare.vectorised_measures import Judgments, by_ranks
from reranker_kd.evaluate.agreement import kendall_tau, rank_biased_overlap, top_overlap
from reranker_kd.evaluate.evaluation import evaluate_run
from reranker_kd.evaluate.measures import parse_measures
from reranker_kd.formats.run_columns import columns_of_run
from reranker_kd.types import in_rank_order

NAMES = (
    "nDCG@1 nDCG@3 nDCG AP AP@2 MAP RR RR@2 P@1 P@5 R@2 R@1000 Success@2 Judged@2 Judged@10 SetR Rprec Bpref IPrec@0.5"
).split()
MEASURES = parse_measures(NAMES)
DOCIDS = st.sampled_from("abcdefgh")
QIDS = st.sampled_from(["1", "2", "3", "10"])
QRELS = st.dictionaries(QIDS, st.dictionaries(DOCIDS, st.integers(-1, 3)), min_size=1)
RUNS = st.dictionaries(QIDS, st.dictionaries(DOCIDS, st.integers(0, 4).map(float), min_size=1), min_size=1)


@given(RUNS, QRELS, st.sampled_from([1, 2]))
def test_figures_are_those_of_evaluate(run, qrels, level):
    if not any(grades and qid in run for qid, grades in qrels.items()):
        return
    columns = columns_of_run({qid: in_rank_order(documents) for qid, documents in run.items()})
    measured = measure_run("run", columns, Judgments(qrels), MEASURES, level)
    evaluation = evaluate_run(run, qrels, MEASURES, relevance_level=level)
    for measure in MEASURES:
        expected = list(evaluation.per_query[measure.name].values())
        np.testing.assert_allclose(measured.figures[measure.name], expected, rtol=0, atol=1e-12, err_msg=measure.name)
    best = {qid: {d: float(qrels.get(qid, {}).get(d, -1)) for d in documents} for qid, documents in run.items()}
    oracle = evaluate_run(best, qrels, MEASURES, relevance_level=level)
    for name in ("nDCG@3", "AP", "Judged@2"):
        np.testing.assert_allclose(measured.oracle[name], list(oracle.per_query[name].values()), rtol=0, atol=1e-12)
    np.testing.assert_allclose(measured.recall, list(evaluation.per_query["SetR"].values()), rtol=0, atol=1e-12)


def test_what_is_left_to_trec_eval():
    left = {measure.name for measure in MEASURES if not by_ranks(measure)}
    assert left == {"Rprec", "Bpref", "IPrec@0.5"}
    assert not by_ranks(parse_measures(["ndcg.1=3.5"])[0])


RANKINGS = st.lists(st.lists(st.sampled_from(range(12)), unique=True, max_size=8), min_size=3, max_size=3)


@given(st.lists(RANKINGS, min_size=2, max_size=3), st.floats(0.05, 0.95), st.integers(1, 9))
def test_agreement_is_that_of_single_rankings(runs, p, k):
    tops = np.full((len(runs), 3, 8), -1, dtype=np.int64)
    for r, run in enumerate(runs):
        for t, ranking in enumerate(run):
            tops[r, t, : len(ranking)] = ranking
    for first, second, *figures in pairwise_agreement(tops, p=p, k=k):
        pairs = [(list(map(str, a)), list(map(str, b))) for a, b in zip(runs[first], runs[second], strict=True)]
        expected = [
            [kendall_tau(a, b) for a, b in pairs],
            [rank_biased_overlap(a, b, p) for a, b in pairs],
            [top_overlap(a, b, k) for a, b in pairs],
        ]
        np.testing.assert_allclose(figures, expected, atol=1e-12)


def test_mean_of_what_is_told():
    assert mean_told([np.array([1.0, np.nan]), np.array([3.0])]) == 2
    assert np.isnan(mean_told([np.array([np.nan])]))


def test_no_judged_document_at_all():
    columns = columns_of_run({"1": {"x": 1.0}})
    measured = measure_run("run", columns, Judgments({"1": {"a": 1}}), MEASURES)
    assert all(figures.tolist() == [pytest.approx(0)] for figures in measured.figures.values())
