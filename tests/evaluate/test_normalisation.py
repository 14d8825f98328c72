"""Scores made comparable, of one query and of many at once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.evaluate.normalisation import min_max, z_scores


def test_z_scores_by_hand():
    np.testing.assert_allclose(z_scores(np.array([3.0, 1.0, -1.0])), np.array([2, 0, -2]) / math.sqrt(8 / 3))
    # Their mean and their deviation are not exact in floating point.
    assert z_scores(np.array([0.1, 0.1, 0.1])).tolist() == [0, 0, 0]
    assert z_scores(np.zeros(0)).shape == (0,)


def test_min_max_by_hand():
    assert min_max(np.array([3.0, 1.0, -1.0])).tolist() == [1, 0.5, 0]
    assert min_max(np.array([3.0, 3.0])).tolist() == [0.5, 0.5]
    assert min_max(np.array([3.0, 3.0]), where_equal=1.0).tolist() == [1, 1]
    assert min_max(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize("normalise", [z_scores, min_max])
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=30))
def test_many_queries_at_once_are_each_by_itself(normalise, listed):
    # Numbers may be left out: a query without scores.
    queries = np.array([query for query, _ in listed], dtype=np.intp)
    scores = np.array([score for _, score in listed], dtype=np.float64)
    found = normalise(scores, queries)
    for query in set(queries.tolist()):
        np.testing.assert_allclose(found[queries == query], normalise(scores[queries == query]), atol=1e-12)
