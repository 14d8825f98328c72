"""What is computed here for all queries at once is what pytrec_eval computes of the documents, to the last digits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.evaluate.evaluation import evaluate, figures_of
from reranker_kd.evaluate.judged import Judgments
from reranker_kd.evaluate.measures import parse_measures
from reranker_kd.formats.runs import columns_of_run

# Ours -> trec_eval's name for it, and what trec_eval calls the figure.
THEIRS = {
    "nDCG@3": ("ndcg_cut.3", "ndcg_cut_3"),
    "nDCG": ("ndcg", "ndcg"),
    "AP": ("map", "map"),
    "AP@2": ("map_cut.2", "map_cut_2"),
    "RR": ("recip_rank", "recip_rank"),
    "P@5": ("P.5", "P_5"),
    "R@2": ("recall.2", "recall_2"),
    "Success@2": ("success.2", "success_2"),
    "SetP": ("set_P", "set_P"),
    "SetR": ("set_recall", "set_recall"),
    "Rprec": ("Rprec", "Rprec"),
    "Bpref": ("bpref", "bpref"),
    "IPrec@0.5": ("iprec_at_recall.0.5", "iprec_at_recall_0.50"),
}
MEASURES = parse_measures(THEIRS)
DOCIDS = st.sampled_from("abcdefgh")
QIDS = st.sampled_from(["1", "2", "3", "10"])
# pytrec_eval crashes where no grade is 0 or above.
GRADES = st.dictionaries(DOCIDS, st.integers(-1, 3), min_size=1).filter(lambda grades: max(grades.values()) >= 0)
QRELS = st.dictionaries(QIDS, GRADES, min_size=1)
RUNS = st.dictionaries(QIDS, st.dictionaries(DOCIDS, st.integers(0, 4).map(float), min_size=1), min_size=1)


@given(RUNS, QRELS, st.sampled_from([1, 2]))
def test_figures_are_pytrec_evals(run, qrels, level):
    judgments = Judgments(qrels, level)
    figures = figures_of(judgments.ranks(columns_of_run(run)), MEASURES)
    asked = {option for option, _ in THEIRS.values()}
    by_query = pytrec_eval.RelevanceEvaluator(qrels, asked, relevance_level=level).evaluate(run)
    for name, (_, theirs) in THEIRS.items():
        expected = [by_query[qid][theirs] if qid in by_query else 0 for qid in judgments.qids]
        np.testing.assert_allclose(figures[name], expected, rtol=0, atol=1e-12, err_msg=name)


@given(RUNS, QRELS, st.sampled_from([1, 2]))
def test_the_best_order(run, qrels, level):
    judgments = Judgments(qrels, level)
    ranks = judgments.ranks(columns_of_run(run))
    best = {qid: {d: float(qrels.get(qid, {}).get(d, -1)) for d in documents} for qid, documents in run.items()}
    if ranks.retrieved.any():
        expected = evaluate(best, qrels, list(THEIRS), relevance_level=level)
        for name, figures in figures_of(ranks.by_grade(), MEASURES).items():
            of_query = list(expected.per_query[name].values())
            np.testing.assert_allclose(figures, of_query, rtol=0, atol=1e-12, err_msg=name)


def test_the_whole_ranking_of_a_query_is_cut_at_its_depth():
    judgments = Judgments({"2": {"b": 1}, "1": {"a": 2, "c": -1}})
    ranks = judgments.ranks(columns_of_run({"1": {"a": 1.0, "x": 3.0, "c": 2.0}, "2": {"b": 1.0}, "9": {"b": 1.0}}))
    assert (ranks.retrieved.tolist(), ranks.query.tolist()) == ([1, 3], [0, 1, 1])
    assert (ranks.rank.tolist(), ranks.grade.tolist()) == ([1, 2, 3], [1, -1, 2])
    cut = ranks.cut(2)
    assert (cut.retrieved.tolist(), cut.rank.tolist()) == ([1, 2], [1, 2])
    assert ranks.relevant().rank.tolist() == [1, 3]
    assert judgments.relevant.tolist() == [1, 1]


def test_no_judged_document_at_all():
    figures = figures_of(Judgments({"1": {"a": 1}}).ranks(columns_of_run({"1": {"x": 1.0}})), MEASURES)
    assert all(found.tolist() == [pytest.approx(0)] for found in figures.values())


def expected_reciprocal_rank(ranks, cutoff):
    """Chapelle et al., CIKM 2009, with 4 as the highest grade: a measure as another package adds it."""
    stops = (2.0 ** np.maximum(ranks.grade, 0) - 1) / 16
    passed = np.append(0, np.log1p(-stops).cumsum())[:-1]
    first = np.searchsorted(ranks.query, ranks.query)
    return ranks.summed(np.exp(passed - passed[first]) * stops / ranks.rank)


@given(st.lists(st.lists(st.integers(-1, 4), min_size=1, max_size=8), min_size=1, max_size=4), st.integers(1, 8))
def test_err_in_a_few_lines(queries, depth):
    qrels = {str(q): {str(rank): grade for rank, grade in enumerate(grades)} for q, grades in enumerate(queries)}
    run = {str(q): {str(rank): -float(rank) for rank in range(len(grades))} for q, grades in enumerate(queries)}
    ranks = Judgments(qrels).ranks(columns_of_run(run)).cut(depth)
    expected = []
    for grades in queries:
        stops = [(2 ** max(grade, 0) - 1) / 16 for grade in grades[:depth]]
        expected.append(sum(s * math.prod(1 - t for t in stops[:i]) / (i + 1) for i, s in enumerate(stops)))
    np.testing.assert_allclose(expected_reciprocal_rank(ranks, depth), expected, atol=1e-12)
