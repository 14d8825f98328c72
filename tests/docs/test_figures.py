"""The figures in README.md are those that the recipes in runs/ produced, and the runs there are what they say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reranker_kd.formats.files import sha256_of_file

PROJECT = Path(__file__).resolve().parents[2]
README = (PROJECT / "README.md").read_text(encoding="utf-8")

# Column of the table -> the topics of the recipe.
TOPICS = {2: "dl20", 3: "dl21"}
SPEED = 4
# Row of the table -> the recipe, and what it calls the run.
RUNS = {
    "BM25": ("minilm", "candidates"),
    "reranked by all-MiniLM-L6-v2": ("minilm", "all-MiniLM-L6-v2"),
    **{f"reranked by {name}": ("students", name) for name in ("cross", "twin", "tiny")},
}


@pytest.mark.parametrize("column", TOPICS)
@pytest.mark.parametrize("row", RUNS)
def test_the_table_has_what_was_measured(row, column):
    recipe, name = RUNS[row]
    folder = PROJECT / "runs" / f"{TOPICS[column]}-{recipe}"
    measured = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    figures = {run["run"]: run["measures"]["nDCG@10"] for run in measured["runs"]}
    assert _cells(row)[column] == f"{figures[name]:.4f}"


def _cells(row: str) -> list[str]:
    return [cell.strip() for cell in re.search(rf"^\| ({row} \|.*)\|$", README, re.MULTILINE)[1].split("|")]


@pytest.mark.parametrize("name", ["cross", "twin", "tiny"])
def test_the_table_has_the_speeds_of_the_benchmark(name):
    measured = json.loads((PROJECT / "runs" / "benchmarks" / "student-ratios.json").read_text(encoding="utf-8"))
    rate = next(row["pairs_per_second"] for row in measured["models"] if row["system"] == f"{name}/auto:auto")
    assert _cells(f"reranked by {name}")[SPEED] == f"{rate:.0f}"


@pytest.mark.parametrize("record", sorted((PROJECT / "runs").glob("dl*/*.provenance.json")), ids=lambda path: path.name)
def test_a_run_is_the_one_that_its_provenance_names(record):
    artefact = json.loads(record.read_text(encoding="utf-8"))["artefact"]
    run = record.with_name(record.name.removesuffix(".provenance.json"))
    assert artefact == {"name": run.name, "sha256": sha256_of_file(run)}


@pytest.mark.parametrize("name", ["equal-weights", "student-ratios"])
def test_the_benchmarks_tables_are_those_of_their_json(name):
    folder = PROJECT / "runs" / "benchmarks"
    command = [sys.executable, str(folder / "make_table.py"), str(folder / f"{name}.json")]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert table.count("\n") > 8
    assert table in (folder / "README.md").read_text(encoding="utf-8")
