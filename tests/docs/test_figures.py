"""The figures in README.md are those that the recipes in runs/ produced."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")

# Column of the table -> the topics of the recipe.
TOPICS = {1: "dl20", 2: "dl21"}
# Row of the table -> the recipe, and what it calls the run.
RUNS = {
    "BM25": ("minilm", "candidates"),
    "reranked by all-MiniLM-L6-v2": ("minilm", "all-MiniLM-L6-v2"),
    **{f"reranked by {name}": ("students", name) for name in ("cross", "twin", "tiny")},
}


@pytest.mark.parametrize("column", TOPICS)
@pytest.mark.parametrize("row", RUNS)
def test_the_table_has_what_was_measured(row, column):
    cells = [cell.strip() for cell in re.search(rf"^\| ({row} \|.*)\|$", README, re.MULTILINE)[1].split("|")]
    recipe, name = RUNS[row]
    folder = PROJECT / "runs" / f"{TOPICS[column]}-{recipe}"
    measured = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    figures = {run["run"]: run["measures"]["nDCG@10"] for run in measured["runs"]}
    assert cells[column] == f"{figures[name]:.4f}"


@pytest.mark.parametrize("name", ["equal-weights", "student-ratios"])
def test_the_benchmarks_tables_are_those_of_their_json(name):
    folder = PROJECT / "runs" / "benchmarks"
    command = [sys.executable, str(folder / "make_table.py"), str(folder / f"{name}.json")]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert table.count("\n") > 8
    assert table in (folder / "README.md").read_text(encoding="utf-8")
