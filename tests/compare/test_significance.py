"""Tests, intervals and corrections are scipy's; what has no spread has a clear answer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from reranker_kd.compare.significance import (
    bootstrap_intervals,
    corrected,
    effect_size,
    paired_t_tests,
    randomisation_tests,
    wins_ties_losses,
)
from reranker_kd.errors import InputError

SYSTEM = np.random.default_rng(1).random((3, 40))
BASELINE = np.random.default_rng(2).random(40) * 0.9


def test_t_test_is_scipys_to_the_last_digit():
    expected = [stats.ttest_rel(system, BASELINE).pvalue for system in SYSTEM]
    assert paired_t_tests(SYSTEM - BASELINE).tolist() == expected


@pytest.mark.parametrize("queries", [40, 9, 2])
def test_randomisation_is_scipys(queries):
    differences = (SYSTEM - BASELINE)[:, :queries]
    found = randomisation_tests(differences, resamples=1000, seed=7)
    for difference, p_value in zip(differences, found, strict=True):
        expected = stats.permutation_test(
            (difference,), np.mean, permutation_type="samples", n_resamples=1000, rng=np.random.default_rng(7)
        )
        assert p_value == expected.pvalue


def test_few_queries_are_tested_in_all_ways():
    # Only all signs as they are, and all flipped, give so large a mean: 2 of 32.
    assert randomisation_tests(np.array([[1.0, 2, 3, 4, 5]]), resamples=100, seed=0).tolist() == [2 / 32]


def test_intervals_are_scipys_and_repeat():
    differences = SYSTEM - BASELINE
    found = bootstrap_intervals(differences, alpha=0.1, resamples=500, seed=3)
    expected = stats.bootstrap(
        (differences[0],),
        np.mean,
        method="percentile",
        confidence_level=0.9,
        n_resamples=500,
        rng=np.random.default_rng(3),
    )
    np.testing.assert_allclose(found[0], expected.confidence_interval)
    np.testing.assert_array_equal(found, bootstrap_intervals(differences, alpha=0.1, resamples=500, seed=3))
    assert (found != bootstrap_intervals(differences, alpha=0.1, resamples=500, seed=4)).any()


# Of statsmodels 0.15.0: multipletests(P_VALUES, method=...)[1], fdr_bh for bh.
P_VALUES = [0.01, 0.04, 0.03, 0.5, 0.03, 0.0002, 1.0]
STATSMODELS = {
    "holm": [0.06, 0.15, 0.15, 1.0, 0.15, 0.0014, 1.0],
    "bonferroni": [0.07, 0.28, 0.21, 1.0, 0.21, 0.0014, 1.0],
    "bh": [0.035, 0.056, 0.0525, 0.5833333333333334, 0.0525, 0.0014000000000000002, 1.0],
}


@pytest.mark.parametrize("name", STATSMODELS)
def test_corrections_are_statsmodels(name):
    np.testing.assert_allclose(corrected(np.array(P_VALUES), name), STATSMODELS[name], rtol=1e-15)


def test_corrections_by_hand():
    p_values = np.array([0.01, 0.04, math.nan, 0.03])
    # Of the three that are defined: 3 * 0.01, 2 * 0.03, and no less than the one before.
    np.testing.assert_allclose(corrected(p_values, "holm"), [0.03, 0.06, math.nan, 0.06])
    np.testing.assert_array_equal(corrected(p_values, "none"), p_values)
    assert np.isnan(corrected(np.array([math.nan]), "holm")).all()
    with pytest.raises(InputError, match="expected one of holm, bonferroni, bh, none"):
        corrected(p_values, "sidak")


def test_no_difference():
    same = np.zeros((1, 5))
    assert paired_t_tests(same).tolist() == [1]
    assert randomisation_tests(same, resamples=100, seed=0).tolist() == [1]
    assert bootstrap_intervals(same, alpha=0.05, resamples=100, seed=0).tolist() == [[0, 0]]
    assert effect_size(same[0]) == 0


def test_the_same_difference_everywhere():
    higher = np.full(5, 0.5)
    assert paired_t_tests(higher[None]).tolist() == [0]
    assert randomisation_tests(higher[None], resamples=100, seed=0).tolist() == [2 / 32]
    assert math.isnan(effect_size(higher))


def test_one_query_tells_nothing():
    assert math.isnan(paired_t_tests(np.array([[0.5]])).item())
    assert paired_t_tests(np.array([[0.0]])).tolist() == [1]
    assert randomisation_tests(np.array([[0.5]]), resamples=100, seed=0).tolist() == [1]
    assert np.isnan(bootstrap_intervals(np.array([[0.5]]), alpha=0.05, resamples=100, seed=0)).all()
    assert math.isnan(effect_size(np.array([0.5])))


def test_effect_and_wins_by_hand():
    differences = np.array([0.1, 0.3, -0.1, 1e-12])
    assert effect_size(np.array([1.0, 2, 3])) == 2
    assert wins_ties_losses(differences) == (2, 1, 1)
