"""What it takes to score candidates: rates, percentiles of a query's time, ratios; medians over rounds.

Each round runs every system once, so what a machine does meanwhile falls on all of them alike; a ratio is taken within
a round, and the median of the rounds' ratios is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker_kd.errors import InputError


@dataclass(slots=True)
class Timings:
    """What one system took.

    :param cold_start_s: seconds from the start of a fresh process to its first score, one for each start
    :param seconds: for all pairs, handed over together, one for each round
    :param query_ms: milliseconds of each query, handed over alone with its candidates, one list for each round
    """

    cold_start_s: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    query_ms: list[list[float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SystemResult:
    """All that is known of one system; what could not be had is None.

    :param system: its name in this benchmark
    :param model: the model's name
    :param backend: what ran it, or the peer's name
    :param precision: what it ran in
    :param parameters: numbers in the network's weights
    :param model_bytes: bytes of the folder that it was loaded from
    :param tokens: tokens that a pass over all pairs puts through the network, special tokens included, padding not
    :param ceiling_share: the network's operations a second, without padding, over the machine's ceiling
    :param peak_memory_bytes: most memory that its process held
    :param ratio: pairs a second over the baseline's
    :param query_ratio: the baseline's median time of a query over this one's
    :param score_gap: distance of its scores to the baseline's, where both run one model (see :func:`score_gap`)
    :param software: versions of what ran it
    :param error: why it did not run to the end, in one line
    :param pairs_per_second: this and the next three are medians over rounds (see :func:`speed_of`)
    :param query_ms: ``p50``, ``p95`` and ``p99``
    :param quality: measure -> figure, without qrels empty
    :param rounds: every single measurement
    """

    system: str
    model: str
    backend: str | None
    precision: str | None
    parameters: int | None
    model_bytes: int | None
    tokens: int | None
    software: dict[str, str]
    error: str | None
    ceiling_share: float | None = None
    peak_memory_bytes: int | None = None
    ratio: float | None = None
    query_ratio: float | None = None
    score_gap: dict[str, float] | None = None
    pairs_per_second: float | None = None
    query_ms: dict[str, float] | None = None
    cold_start_s: float | None = None
    tokens_per_second: float | None = None
    quality: dict[str, float] = field(default_factory=dict)
    rounds: Timings | None = None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Systems side by side on one set of pairs.

    :param machine: processor, memory and ceiling, as JSON values
    :param settings: what was asked for, as JSON values
    :param queries: number of queries
    :param pairs: number of pairs
    :param tokens: the baseline's tokens (see :class:`SystemResult`)
    :param baseline: the name of the system that ratios are taken to
    """

    machine: dict[str, Any]
    settings: dict[str, Any]
    queries: int
    pairs: int
    tokens: int | None
    baseline: str
    models: tuple[SystemResult, ...]


def speed_of(timings: Timings, pairs: int, tokens: int | None = None) -> dict[str, Any]:
    """Return the medians over rounds, as :class:`SystemResult` names them.

    Percentiles are taken over the queries of a round first, interpolated linearly between order statistics.

    :param pairs: how many a pass scored
    :param tokens: how many went through the network in a pass, padding not counted
    """
    rounds = [np.percentile(queries, (50, 95, 99)) for queries in timings.query_ms]
    return {
        "pairs_per_second": median(pairs / seconds for seconds in timings.seconds),
        "query_ms": dict(zip(("p50", "p95", "p99"), np.median(rounds, axis=0).tolist(), strict=True)),
        "cold_start_s": median(timings.cold_start_s),
        "tokens_per_second": None if tokens is None else tokens / median(timings.seconds),
    }


def ratios(timings: Timings, baseline: Timings) -> dict[str, float]:
    """Return ``ratio`` and ``query_ratio``, as :class:`SystemResult` has them."""
    rounds = zip(timings.query_ms, baseline.query_ms, strict=True)
    return {
        "ratio": median(theirs / own for own, theirs in zip(timings.seconds, baseline.seconds, strict=True)),
        "query_ratio": median(median(theirs) / median(own) for own, theirs in rounds),
    }


def score_gap(scores: npt.ArrayLike, reference: npt.ArrayLike) -> dict[str, float] | None:
    """Return ``max`` and ``mean`` of the absolute differences, over the reference's standard deviation.

    None where the reference does not vary.

    :raises InputError: arrays of different lengths
    """
    ours, theirs = np.asarray(scores, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if ours.shape != theirs.shape:
        raise InputError(f"scores of {ours.size} and of {theirs.size} pairs cannot be compared")
    spread = float(theirs.std())
    if spread == 0:
        return None
    gaps = np.abs(ours - theirs) / spread
    return {"max": float(gaps.max()), "mean": float(gaps.mean())}
