"""Fidelity on worked examples, and what it must say of students that are perfect, shifted or silent."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.distill.report.fidelity import fidelity
from reranker_kd.errors import InputError
from reranker_kd.evaluate.agreement import agreement_of_rankings

TEACHER = {"1": {"a": 3.0, "b": 1.0, "c": -1.0}, "2": {"x": 5.0, "y": 4.0}}


def test_a_copy_is_faithful():
    copy = fidelity(TEACHER, TEACHER)
    assert list(copy.per_query) == ["1", "2"]
    assert copy.means == pytest.approx(
        {"tau": 1, "rbo": 1, "overlap": 1, "pearson": 1, "drift": 0, "drift_deviation": 0}, abs=1e-12
    )


def test_scale_and_offset_are_no_drift():
    scaled = {qid: {docid: 10 * score - 3 for docid, score in docs.items()} for qid, docs in TEACHER.items()}
    assert fidelity(TEACHER, scaled).means == pytest.approx(fidelity(TEACHER, TEACHER).means, abs=1e-12)


def test_by_hand():
    # c moved from the end to the start. Of four documents the student has one that the teacher lacks.
    student = {"1": {"c": 9.0, "a": 2.0, "z": 1.5, "b": 1.0}}
    found = fidelity({"1": TEACHER["1"]}, student)
    figures = found.per_query["1"]
    assert figures["tau"] == pytest.approx(-1 / 3)
    assert figures["rbo"] == pytest.approx(agreement_of_rankings(["abc"], ["cazb"]).rbo.item())
    assert figures["overlap"] == pytest.approx(3 / 4)
    teacher_scores, student_scores = np.array([3.0, 1.0, -1.0]), np.array([2.0, 1.0, 9.0])
    correlation = np.corrcoef(teacher_scores, student_scores)[0, 1]
    assert figures["pearson"] == pytest.approx(correlation)
    assert figures["drift"] == pytest.approx(0)
    # The variance of a difference of z-scores is 2 - 2 r.
    assert figures["drift_deviation"] == pytest.approx(math.sqrt(2 - 2 * correlation))


def test_a_query_that_the_student_favours_drifts():
    # Both runs have deviation 1 and mean 0 over all; the student moved query 1 up and query 2 down.
    teacher = {"1": {"a": 1.0, "b": -1.0}, "2": {"x": 1.0, "y": -1.0}}
    student = {"1": {"a": 1.0, "b": 1.0}, "2": {"x": -1.0, "y": -1.0}}
    found = fidelity(teacher, student)
    assert found.per_query["1"]["drift"] == pytest.approx(1)
    assert found.per_query["2"]["drift"] == pytest.approx(-1)
    assert found.means["drift"] == pytest.approx(0)
    assert found.means["drift_deviation"] == pytest.approx(1)
    # Equal scores correlate with nothing.
    assert math.isnan(found.per_query["1"]["pearson"])
    assert math.isnan(found.means["pearson"])


def test_ties_are_ordered_as_they_are_evaluated():
    # By docid descending: the order in the dictionary is not asked.
    assert fidelity({"1": {"b": 1.0, "a": 0.0}}, {"1": {"a": 7.0, "b": 7.0}}).means["tau"] == 1


def test_the_record_is_json_and_names_what_is_missing():
    teacher = {**TEACHER, "3": {"p": 1.0}, "4": {"q": 1.0}}
    student = {**TEACHER, "3": {"elsewhere": 1.0}}
    record = fidelity(teacher, student).record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert (record["queries"], record["missing_queries"]) == (3, ["4"])
    assert record["per_query"]["3"] == {
        "tau": None,
        "rbo": 0.0,
        "overlap": 0.0,
        "pearson": None,
        "drift": None,
        "drift_deviation": None,
    }
    # What is not defined for a query bears on no mean.
    assert record["means"]["tau"] == pytest.approx(1)
    assert record["means"]["overlap"] == pytest.approx(2 / 3)


def test_runs_of_other_topics_are_refused():
    with pytest.raises(InputError, match="share no query"):
        fidelity(TEACHER, {"9": {"a": 1.0}})


SCORES = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(-50, 50).map(float), min_size=1)


@given(st.dictionaries(st.sampled_from("12345"), st.tuples(SCORES, SCORES), min_size=1))
def test_figures_stay_in_their_ranges(runs):
    found = fidelity({q: teacher for q, (teacher, _) in runs.items()}, {q: student for q, (_, student) in runs.items()})
    for figures in found.per_query.values():
        for figure, low, high in [(figures["tau"], -1, 1), (figures["rbo"], 0, 1), (figures["overlap"], 0, 1)]:
            assert math.isnan(figure) or low - 1e-12 <= figure <= high + 1e-12
        assert math.isnan(figures["pearson"]) or abs(figures["pearson"]) <= 1
        assert math.isnan(figures["drift_deviation"]) or figures["drift_deviation"] >= 0
