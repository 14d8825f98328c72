"""Paired tests, corrections, bootstrap intervals and effect sizes over per-query figures: scipy's.

Which tests suit retrieval: Smucker et al., A Comparison of Statistical Significance Tests for Information Retrieval
Evaluation, CIKM 2007; why to correct, and how: Carterette, Multiple Testing in Statistical Analysis of Systems-Based
Information Retrieval Experiments, TOIS 2012.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from reranker_kd.compare.comparison import CORRECTIONS
from reranker_kd.errors import InputError

Array = npt.NDArray[np.float64]

# Of the resampled figures held at a time; results do not depend on it.
_FIGURES_AT_ONCE = 2_000_000

# Differences below it are rounding.
_ROUNDING = 1e-9


def paired_t_tests(differences: Array) -> Array:
    """Return the two-sided p-values of paired t-tests, :func:`scipy.stats.ttest_rel`'s.

    :param differences: shape (..., n), of systems over the same n queries
    :return: shape (...); 1 where no query differs, as nothing speaks for a difference; NaN for a single query
    """
    with warnings.catch_warnings():
        # Of differences that are all alike scipy says that their variance is imprecise.
        warnings.simplefilter("ignore", RuntimeWarning)
        p_values = stats.ttest_rel(differences, np.zeros_like(differences), axis=-1).pvalue
    return np.where(differences.any(axis=-1), p_values, 1.0)


def randomisation_tests(differences: Array, *, resamples: int, seed: int) -> Array:
    """Return the two-sided p-values of paired randomisation tests, :func:`scipy.stats.permutation_test`'s.

    Under the null hypothesis a query's difference may as well have the other sign (Fisher 1935; Smucker et al. 2007,
    sec. 3.1). All ways to flip the signs of n differences are taken where they are no more than ``resamples``,
    otherwise so many at random.

    :param differences: shape (..., n), of systems over the same n queries
    :return: shape (...)
    """
    *shape, queries = differences.shape
    # A lone difference has the same size with either sign.
    if queries < 2:
        return np.ones(shape)
    drawn = _resampling(differences, resamples, seed)
    return np.asarray(stats.permutation_test((differences,), np.mean, permutation_type="samples", **drawn).pvalue)


def bootstrap_intervals(differences: Array, *, alpha: float, resamples: int, seed: int) -> Array:
    """Return percentile bootstrap intervals of mean differences, :func:`scipy.stats.bootstrap`'s (Efron 1979).

    :param differences: shape (..., n), of systems over the same n queries
    :param alpha: 1 - confidence level
    :return: (low, high), shape (..., 2); NaN for a single query, which tells nothing of others
    """
    *shape, queries = differences.shape
    if queries < 2:
        return np.full((*shape, 2), np.nan)
    drawn = {"confidence_level": 1 - alpha, **_resampling(differences, resamples, seed)}
    interval = stats.bootstrap((differences,), np.mean, method="percentile", **drawn).confidence_interval
    return np.stack(interval, axis=-1)


def corrected(p_values: Array, correction: str) -> Array:
    """Return p-values corrected for their number; NaN stays and does not count.

    Holm 1979; Bonferroni; Benjamini and Hochberg 1995, scipy's ``false_discovery_control``.

    :param p_values: of one family, shape (s,)
    :param correction: one of :data:`reranker_kd.compare.comparison.CORRECTIONS`
    :raises InputError: an unknown correction
    """
    if correction not in CORRECTIONS:
        raise InputError(f"unknown correction {correction!r}: expected one of {', '.join(CORRECTIONS)}")
    result = p_values.copy()
    defined = np.flatnonzero(~np.isnan(p_values))
    count = len(defined)
    if correction == "bonferroni":
        result[defined] = np.minimum(p_values[defined] * count, 1)
    elif correction == "bh" and count:
        result[defined] = stats.false_discovery_control(p_values[defined])
    elif correction == "holm":
        smallest_first = defined[np.argsort(p_values[defined])]
        stepped = p_values[smallest_first] * np.arange(count, 0, -1)
        result[smallest_first] = np.minimum(np.maximum.accumulate(stepped), 1)
    return result


def effect_size(differences: Array) -> float:
    """Return Cohen's d of paired differences (n,), their mean over their sample standard deviation (1988, d_z).

    :return: 0 where no query differs; NaN where all differ alike, or of a single query
    """
    if not differences.any():
        return 0.0
    if np.ptp(differences) <= _ROUNDING:
        return math.nan
    return float(differences.mean() / differences.std(ddof=1))


def wins_ties_losses(differences: Array) -> tuple[int, int, int]:
    """Return in how many of the n queries the difference is above, at, and below 0, but for rounding (1e-9)."""
    wins = int((differences > _ROUNDING).sum())
    losses = int((differences < -_ROUNDING).sum())
    return wins, len(differences) - wins - losses, losses


def _resampling(differences: Array, resamples: int, seed: int) -> dict[str, Any]:
    batch = max(1, _FIGURES_AT_ONCE // differences.size)
    return {"axis": -1, "n_resamples": resamples, "batch": batch, "rng": np.random.default_rng(seed)}
