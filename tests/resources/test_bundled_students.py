"""The students that come with the package: small, found by name, with a card, and no path of where they were made."""

from __future__ import annotations

import pytest

from reranker_kd import load_reranker
from reranker_kd.models.registry import BUNDLED, bundled_students


def test_they_fit_into_30_megabytes():
    weights = [path for path in BUNDLED.rglob("*") if path.is_file()]
    assert weights
    assert sum(path.stat().st_size for path in weights) < 30_000_000


@pytest.mark.parametrize("name", bundled_students())
def test_each_is_loaded_by_its_name_and_says_what_it_is(name, tmp_path, monkeypatch):
    # No folder of that name is in the way.
    monkeypatch.chdir(tmp_path)
    texts = ["The capital of France is Paris.", "A recipe for bread with rye flour."]
    scores = load_reranker(name).score("what is the capital of france", texts)
    assert scores[0] > scores[1]
    card = (bundled_students()[name] / "README.md").read_text()
    assert card.startswith(f"# {name}\n")
    assert "## Figures" in card
    assert not list(bundled_students()[name].rglob("model.safetensors"))
