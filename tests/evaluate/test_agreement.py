"""Rank agreement: worked examples, naive counterparts, and what holds for any two rankings."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.errors import InputError
from reranker_kd.evaluate.agreement import agreement_of_rankings, mean_defined

RANKINGS = st.lists(st.sampled_from("abcdefghijklmnop"), unique=True, max_size=12)
NOT_EMPTY = st.lists(st.sampled_from("abcdefghijklmnop"), unique=True, min_size=1, max_size=12)
PERSISTENCE = st.floats(0.05, 0.95)


def kendall_tau(first, second):
    return agreement_of_rankings([first], [second]).tau.item()


def rank_biased_overlap(first, second, p=0.9):
    return agreement_of_rankings([first], [second], p=p).rbo.item()


def top_overlap(first, second, k=10):
    return agreement_of_rankings([first], [second], k=k).overlap.item()


def _naive_tau(first, second):
    pairs = list(combinations([docid for docid in first if docid in second], 2))
    # The pairs are in the order of the first ranking.
    agreeing = sum(second.index(above) < second.index(below) for above, below in pairs)
    return (2 * agreeing - len(pairs)) / len(pairs) if pairs else math.nan


def _naive_rbo(first, second, p):
    """The infinite sum of Webber et al. (2010), eq. 4, of the agreement that their sec. 4.3 assumes beyond the ends."""
    shorter, longer = sorted((first, second), key=len)
    agreement = 0.0
    total = 0.0
    # 0.95 ** 1000 is below 1e-22.
    for depth in range(1, 1001):
        if depth <= len(longer):
            seen = len(set(shorter[:depth]) & set(longer[:depth]))
            unseen = max(0, depth - len(shorter)) * len(set(shorter) & set(longer[: len(shorter)])) / len(shorter)
            agreement = (seen + unseen) / depth
        total += (1 - p) * p ** (depth - 1) * agreement
    return total


@given(RANKINGS, RANKINGS)
def test_tau_counts_pairs(first, second):
    assert kendall_tau(first, second) == pytest.approx(_naive_tau(first, second), nan_ok=True)


def test_tau_by_hand():
    assert kendall_tau("abcd", "abcd") == 1
    assert kendall_tau("abcd", "dcba") == -1
    # One of the six pairs is turned.
    assert kendall_tau("abcd", "abdc") == pytest.approx(4 / 6)
    # z and y, which one ranking lacks, count for nothing.
    assert kendall_tau("zabcd", "abydc") == pytest.approx(4 / 6)
    assert math.isnan(kendall_tau("ab", "bz"))


@given(NOT_EMPTY, NOT_EMPTY, PERSISTENCE)
def test_rbo_is_the_infinite_sum(first, second, p):
    assert rank_biased_overlap(first, second, p) == pytest.approx(_naive_rbo(first, second, p), abs=1e-12)


def test_rbo_by_hand():
    # Webber et al. (2010), fig. 2: the agreement of <abcdefg> and <zcavwxy> is 0, 0, 2/3, 2/4, 2/5, 2/6, 2/7.
    agreement = [0, 0, 2 / 3, 2 / 4, 2 / 5, 2 / 6, 2 / 7]
    summed = sum(value * 0.9**depth for depth, value in enumerate(agreement, start=1))
    assert rank_biased_overlap("abcdefg", "zcavwxy", 0.9) == pytest.approx(summed / 9 + 2 / 7 * 0.9**7)
    # Eq. 32 term by term, p = 1/2, so that (1 - p) / p = 1; S = <ab>, L = <bcda>, X = 0, 1, 1, 2:
    # 0/1/2 + 1/2/4 + 1/3/8 + 2/4/16, and X_s (d - s) / (s d): 1 * 1 / (2 * 3) / 8 + 1 * 2 / (2 * 4) / 16,
    # and ((2 - 1) / 4 + 1 / 2) / 16.
    by_hand = 1 / 8 + 1 / 24 + 1 / 32 + 1 / 48 + 1 / 64 + 3 / 64
    assert rank_biased_overlap("ab", "bcda", 0.5) == pytest.approx(by_hand)


@pytest.mark.parametrize(("p", "weight"), [(0.9, 0.8556), (0.98, None)])
def test_the_weight_of_the_first_ten_ranks(p, weight):
    """Webber et al. (2010), eq. 21: the overlap of long rankings that share their first ten documents and no other."""
    head = [f"d{i}" for i in range(10)]
    found = rank_biased_overlap(head + [f"a{i}" for i in range(1500)], head + [f"b{i}" for i in range(1500)], p)
    series = math.log(1 / (1 - p)) - sum(p**i / i for i in range(1, 10))
    assert found == pytest.approx(1 - p**9 + (1 - p) / p * 10 * series, abs=1e-9)
    if weight is not None:
        # The 86 % that the paper names.
        assert found == pytest.approx(weight, abs=5e-5)


@given(NOT_EMPTY, NOT_EMPTY, PERSISTENCE)
def test_what_holds_for_any_rankings(first, second, p):
    figure = rank_biased_overlap(first, second, p)
    assert figure == pytest.approx(rank_biased_overlap(second, first, p))
    assert -1e-12 <= figure <= 1 + 1e-12
    assert (figure == 0) == (not set(first) & set(second))
    assert rank_biased_overlap(first, first, p) == pytest.approx(1)
    # A ranking that was cut agrees with itself in all that it has.
    assert rank_biased_overlap(first, first[: len(first) // 2 + 1], p) == pytest.approx(1)
    assert top_overlap(first, second, 5) == top_overlap(second, first, 5)
    assert kendall_tau(first, second) == pytest.approx(kendall_tau(second, first), nan_ok=True)


def test_top_overlap_by_hand():
    assert top_overlap("abcd", "bxaz", 3) == pytest.approx(2 / 3)
    assert top_overlap("abcd", "bxaz", 1) == 0
    # Both are shorter than 10.
    assert top_overlap("abc", "cba") == 1
    assert top_overlap("abcd", "ab") == 0.5


@given(st.lists(st.tuples(RANKINGS, RANKINGS), max_size=4), PERSISTENCE, st.integers(1, 9))
def test_many_queries_are_as_single_ones(pairs, p, k):
    first, second = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    expected = [
        [kendall_tau(a, b) for a, b in pairs],
        [rank_biased_overlap(a, b, p) for a, b in pairs],
        [top_overlap(a, b, k) for a, b in pairs],
    ]
    np.testing.assert_allclose(agreement_of_rankings(first, second, p=p, k=k), expected, atol=1e-12)


def test_mean_of_what_is_defined():
    assert mean_defined(np.array([1.0, np.nan, 3.0])) == 2
    assert math.isnan(mean_defined(np.array([np.nan])))


def test_nothing_to_compare():
    assert math.isnan(rank_biased_overlap("", "ab"))
    assert math.isnan(top_overlap("", ""))
    assert math.isnan(kendall_tau("", ""))


@pytest.mark.parametrize("p", [0, 1, -0.5, math.nan])
def test_a_persistence_out_of_range_is_refused(p):
    with pytest.raises(InputError, match=r"expected a number between 0 and 1"):
        rank_biased_overlap("ab", "ab", p)


def test_a_depth_below_one_is_refused():
    with pytest.raises(InputError, match="expected at least 1"):
        top_overlap("ab", "ab", 0)
