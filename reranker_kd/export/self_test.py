"""How an exported model's scores differ from the source's in float32, and from themselves in other batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from reranker_kd.errors import ModelError
from reranker_kd.rerank.base import Pair
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.types import FloatArray

LARGEST_DIFFERENCE = {"float32": 0.001, "bfloat16": 0.05, "int8": 0.25}
"""By precision, how far a score may be from the source's, as a share of the spread of its scores."""

LARGEST_DRIFT = {"float32": 0.001, "bfloat16": 0.02, "int8": 0.02}
"""How far a score may move with what else is in its batch, as a share of the spread."""


def self_test(
    source: FloatArray, folder: Path, pairs: Sequence[Pair], exported_in: str, **options: Any
) -> dict[str, Any]:
    """Return the figures of an exported model; each difference is a share of the spread (largest less smallest score).

    :param source: scores (n,) of the pairs by the source in float32
    :param exported_in: the precision of the export, which sets the bounds
    :param options: keywords of ``load_reranker``, such as ``max_length`` where the source was given it
    :raises ModelError: a figure beyond its bound
    """
    spread = float(np.ptp(source)) or 1.0
    # One pair a batch, against as many as 64 of them.
    alone = load_reranker(folder, batch_tokens=1, **options).score_pairs(pairs)
    together = load_reranker(folder, batch_tokens=64 * 256, **options).score_pairs(pairs)
    figures = {
        "pairs": len(pairs),
        "largest_difference": _rounded(np.abs(together - source).max() / spread),
        "mean_difference": _rounded(np.abs(together - source).mean() / spread),
        "rank_correlation": _rounded(spearmanr(together, source).statistic),
        "batch_drift": _rounded(np.abs(together - alone).max() / spread),
        "bound_of_difference": LARGEST_DIFFERENCE[exported_in],
        "bound_of_drift": LARGEST_DRIFT[exported_in],
    }
    for figure, bound in (("largest_difference", "bound_of_difference"), ("batch_drift", "bound_of_drift")):
        if not figures[figure] <= figures[bound]:
            raise ModelError(
                f"{figure.replace('_', ' ')} of the exported scores is {figures[figure]} of their spread, more than "
                f"{figures[bound]}: export in a higher precision, or calibrate on more candidates like your own"
            )
    return figures


def _rounded(figure: Any) -> float:
    return float(f"{float(figure):.3g}")
