"""A reranker of this package in a process of its own: ``python -m reranker_kd.benchmark.worker``."""

from __future__ import annotations

from typing import Any

from reranker_kd.benchmark.peers import Queries, Score, serve
from reranker_kd.rerank.registry import load_reranker


def load(model: str, **keywords: Any) -> tuple[Score, dict[str, Any]]:
    """Return what scores queries by a reranker, and what the reranker says of itself."""
    reranker = load_reranker(model, **keywords)

    def score(queries: Queries) -> list[list[float]]:
        scores = reranker.score_pairs([(query, text) for query, texts in queries for text in texts]).tolist()
        remaining = iter(scores)
        return [[next(remaining) for _ in texts] for _, texts in queries]

    said = reranker.describe()
    return score, {name: said[name] for name in ("backend", "precision", "device") if name in said}


if __name__ == "__main__":
    serve(load)
