"""The figures in README.md are those that the recipes in runs/ produced."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")

# Column of the table -> the recipe's folder.
RECIPES = {1: "dl20-minilm", 2: "dl21-minilm"}
# Row of the table -> what the recipe calls the run.
RUNS = {"BM25": "candidates", "reranked by all-MiniLM-L6-v2": "all-MiniLM-L6-v2"}


@pytest.mark.parametrize("column", RECIPES)
@pytest.mark.parametrize("row", RUNS)
def test_the_table_has_what_was_measured(row, column):
    cells = [cell.strip() for cell in re.search(rf"^\| ({row} \|.*)\|$", README, re.MULTILINE)[1].split("|")]
    measured = json.loads((PROJECT / "runs" / RECIPES[column] / "figures.json").read_text(encoding="utf-8"))
    figures = {run["run"]: run["measures"]["nDCG@10"] for run in measured["runs"]}
    assert cells[column] == f"{figures[RUNS[row]]:.4f}"
