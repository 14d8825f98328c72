"""docs/distillation.md: its tables are what their generator makes, and its fragments of recipes are valid."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import yaml

from reranker_kd.distill.recipe import DistillRecipe

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "distillation.md").read_text(encoding="utf-8")


def test_the_tables_are_up_to_date():
    generator = runpy.run_path(str(DOCS / "generate_reference.py"))
    made = generator["distillation"](PAGE)
    assert made.count("made by make docs") == 4 and "`soft_cross_entropy` | scores, teacher |" in made
    assert made == PAGE, "a loss, method, teacher or augmentation has changed: run make docs"


@pytest.mark.parametrize("fragment", re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_fragments_of_recipes_are_valid(fragment):
    recipe = {
        "method": "rank-kl",
        "teacher": {"model": "large"},
        "student": {"start": "small"},
        "transfer_set": {"folder": "set"},
    }
    DistillRecipe.model_validate(recipe | yaml.safe_load(fragment))
