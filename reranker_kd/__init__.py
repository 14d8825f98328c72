"""Rerank Pyserini candidates with distilled models, write TREC runs, evaluate and compare.

Importing this package loads none of torch, transformers, faiss and the JVM; each loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from reranker_kd.compare.compare import compare
    from reranker_kd.distill.distill import distill
    from reranker_kd.evaluate.evaluation import evaluate
    from reranker_kd.formats.runs import read_run, write_run
    from reranker_kd.rerank.base import Reranker
    from reranker_kd.rerank.registry import load_reranker
    from reranker_kd.rerank.searcher import RerankedSearcher
    from reranker_kd.retrieve.dense.search import QueryEncoder
    from reranker_kd.retrieve.first_stage import retrieve
    from reranker_kd.types import Candidate, Query, Ranking

_HOME_OF = {
    "Candidate": "reranker_kd.types",
    "Query": "reranker_kd.types",
    "QueryEncoder": "reranker_kd.retrieve.dense.search",
    "Ranking": "reranker_kd.types",
    "RerankedSearcher": "reranker_kd.rerank.searcher",
    "Reranker": "reranker_kd.rerank.base",
    "load_reranker": "reranker_kd.rerank.registry",
    "read_run": "reranker_kd.formats.runs",
    "write_run": "reranker_kd.formats.runs",
}

_CALLED = ("compare", "distill", "evaluate", "retrieve")
"""Packages that are functions too."""

__all__ = [
    "Candidate",
    "Query",
    "QueryEncoder",
    "Ranking",
    "RerankedSearcher",
    "Reranker",
    "__version__",
    "compare",
    "distill",
    "evaluate",
    "load_reranker",
    "read_run",
    "retrieve",
    "write_run",
]


def __getattr__(name: str) -> Any:
    if name in _CALLED:
        return import_module(f"{__name__}.{name}")
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
