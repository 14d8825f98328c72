"""Rates, percentiles and ratios by hand and against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.benchmark.results import Timings, ratios, score_gap, speed_of
from reranker_kd.errors import InputError

SLOW = Timings(cold_start_s=[3.0, 9.0, 4.0], seconds=[10.0, 40.0, 20.0], query_ms=[[1.0, 3.0], [8.0, 8.0], [4.0, 6.0]])
FAST = Timings(cold_start_s=[1.0, 1.0, 1.0], seconds=[5.0, 10.0, 4.0], query_ms=[[1.0, 1.0], [2.0, 2.0], [1.0, 1.0]])


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=50))
def test_percentiles_are_numpys(milliseconds):
    expected = np.percentile(milliseconds, [50, 95, 99]).tolist()
    found = speed_of(Timings([1.0], [1.0], [milliseconds]), pairs=1)["query_ms"]
    assert list(found.values()) == pytest.approx(expected)
    assert list(found) == ["p50", "p95", "p99"]


def test_speed_is_the_median_over_rounds():
    speed = speed_of(SLOW, pairs=80)
    assert speed["pairs_per_second"] == 80 / 20
    assert speed["cold_start_s"] == 4
    # The rounds' own are 2, 8 and 5.
    assert speed["query_ms"]["p50"] == 5


def test_ratios_are_taken_within_rounds():
    # 10/5, 40/10, 20/4; that of the medians would be 20/5.
    assert ratios(FAST, SLOW)["ratio"] == 4
    assert ratios(SLOW, FAST)["ratio"] == 1 / 4
    # 2/1, 8/2, 5/1
    assert ratios(FAST, SLOW)["query_ratio"] == 4
    assert ratios(FAST, FAST) == {"ratio": 1, "query_ratio": 1}


def test_tokens_a_second_follow_from_the_median_pass():
    assert speed_of(SLOW, pairs=80, tokens=100)["tokens_per_second"] == 5
    assert speed_of(SLOW, pairs=80)["tokens_per_second"] is None


def test_score_gap_is_over_the_spread_of_the_reference():
    assert score_gap([1.0, 3.0, 6.0, 7.0], [1.0, 3.0, 5.0, 7.0]) == pytest.approx(
        {"max": 1 / np.sqrt(5), "mean": 0.25 / np.sqrt(5)}
    )
    assert score_gap([1.0, 2.0], [3.0, 3.0]) is None
    with pytest.raises(InputError, match="scores of 1 and of 2 pairs"):
        score_gap([1.0], [1.0, 2.0])
