"""How an exported model ranks beside its source in float32, and how its scores move with what else is in a batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from reranker_kd.errors import ModelError
from reranker_kd.rerank.base import Pair
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.types import FloatArray

LEAST = {
    # Kendall's tau with the source, the mean over queries.
    "rank_correlation": {"float32": 0.999, "bfloat16": 0.9, "int8": 0.85, "int6": 0.85, "ternary": 0.999},
    # Of the exported ranking, the source's scores standing for grades.
    "nDCG@10": {"float32": 0.999, "bfloat16": 0.99, "int8": 0.98, "int6": 0.98, "ternary": 0.999},
}
MOST = {
    # From the source's scores, as a share of their spread.
    "largest_difference": {"float32": 0.001, "bfloat16": 0.05, "int8": 0.25, "int6": 0.25, "ternary": 0.001},
    # With what else is in the batch, as a share of the spread of all scores.
    "batch_drift": {"float32": 0.001, "bfloat16": 0.02, "int8": 0.02, "int6": 0.001, "ternary": 0.001},
}
"""By figure and precision, how low and how high it may be."""


def self_test(
    source: FloatArray, folder: Path, pairs: Sequence[Pair], exported_in: str, **options: Any
) -> dict[str, Any]:
    """Return the figures of an exported model; differences are shares of the spread (largest less smallest score).

    :param source: scores (n,) of the pairs by the source in float32
    :param pairs: of each query several
    :param exported_in: the precision of the export, which sets the bounds
    :param options: keywords of ``load_reranker``, such as ``max_length`` where the source was given it
    :raises ModelError: a figure beyond its bound: the export would rank otherwise than the model does
    """
    spread = float(np.ptp(source)) or 1.0
    # One pair a batch, against as many as 64 of them.
    alone = load_reranker(folder, batch_tokens=1, **options).score_pairs(pairs)
    together = load_reranker(folder, batch_tokens=64 * 256, **options).score_pairs(pairs)
    of_query: dict[str, list[int]] = {}
    for place, (query, _) in enumerate(pairs):
        of_query.setdefault(query, []).append(place)
    rows = [np.array(places) for places in of_query.values() if len(places) > 1]
    differences = np.abs(together - source) / spread
    measured = {
        "rank_correlation": np.mean([_tau(source[row], together[row]) for row in rows] or [1.0]),
        "nDCG@10": np.mean([_ndcg(source[row], together[row]) for row in rows] or [1.0]),
        "largest_difference": differences.max(),
        "mean_difference": differences.mean(),
        "batch_drift": np.abs(together - alone).max() / spread,
    }
    figures = {name: float(f"{float(figure):.4g}") for name, figure in measured.items()}
    for figure, bounds in {**LEAST, **MOST}.items():
        value, bound = figures[figure], bounds[exported_in]
        if not (value <= bound if figure in MOST else value >= bound):
            raise ModelError(
                f"{figure} of the exported scores is {value}, expected at {'most' if figure in MOST else 'least'} "
                f"{bound}: export in a higher precision, or calibrate on more candidates like your own"
            )
    return {"pairs": len(pairs), "queries": len(rows), **figures}


def _tau(source: FloatArray, exported: FloatArray) -> float:
    # Of scores that are all equal there is no order to keep.
    return 1.0 if np.ptp(source) == 0 else float(np.nan_to_num(kendalltau(source, exported).statistic))


def _ndcg(source: FloatArray, exported: FloatArray, depth: int = 10) -> float:
    """Return the nDCG of one query's ranking by the exported scores, grades from 0 to 1 in a line of the source's."""
    gains = (source - source.min()) / (float(np.ptp(source)) or 1.0)
    discounts = 1 / np.log2(np.arange(2, min(depth, len(source)) + 2))
    ideal = np.sort(gains)[::-1][: len(discounts)] @ discounts
    return float(gains[np.argsort(-exported, kind="stable")][: len(discounts)] @ discounts / ideal) if ideal else 1.0
