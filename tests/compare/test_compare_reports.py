"""The options of compare that write reports."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reranker_kd.cli.compare import compare


def _compare(folder: Path, *arguments: str | Path) -> Result:
    given = ["--qrels", folder / "qrels.txt", "-m", "nDCG@10", "--resamples", "100", *arguments]
    return CliRunner().invoke(compare, list(map(str, given)))


def _data(page: Path) -> dict:
    block = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(block[1])


def test_seeds_against_the_candidates(compared_folder, tmp_path):
    run = {name: compared_folder / f"run.{name}.txt" for name in ("bm25", "student", "teacher")}
    group = f"students={run['student']},{run['teacher']}"
    page, plots = tmp_path / "report.html", tmp_path / "plots"
    done = _compare(
        compared_folder,
        run["teacher"],
        "--candidates",
        run["bm25"],
        "--html",
        page,
        "--plots",
        plots,
    )
    assert done.exit_code == 0, done.output
    assert f"wrote {page}: 4 of 4 queries" in done.stderr
    assert "left out quality and latency" in done.stderr
    data = _data(page)
    assert data["columns"] == ["bm25", "teacher"]
    assert data["systems"] == ["teacher"]
    assert data["reference"] == "bm25"
    assert data["files"][0] == {"name": "bm25", "files": [str(run["bm25"])]}
    assert "made without texts" in " ".join(data["notes"])
    rows = csv.DictReader((plots / "candidate-rank.csv").read_text().splitlines())
    assert {row["system"] for row in rows} == {"teacher"}

    done = _compare(compared_folder, run["bm25"], "--system", group, "--html", page)
    assert done.exit_code == 0, done.output
    data = _data(page)
    assert data["columns"] == ["run.bm25.txt", "students"]
    assert any("first run's ranking" in note for note in data["notes"])
    q1 = next(query for query in data["queries"] if query["qid"] == "q1")
    shown = [q1["documents"][place]["docid"] for place, _ in q1["columns"][1]]
    assert shown == ["d1", "d3", "d2"], "the student's, which is named first"


def test_folds_are_shown_each_where_it_has_the_query(compared_folder, tmp_path):
    parts = []
    for qid, name in (("q1", "student"), ("q2", "teacher")):
        part = tmp_path / f"fold.{qid}.txt"
        lines = (compared_folder / f"run.{name}.txt").read_text().splitlines(keepends=True)
        part.write_text("".join(line for line in lines if line.startswith(f"{qid} ")))
        parts.append(str(part))
    page = tmp_path / "report.html"
    done = _compare(
        compared_folder, compared_folder / "run.bm25.txt", "--system", f"cv={','.join(parts)}", "--html", page
    )
    assert done.exit_code == 0, done.output
    records = {query["qid"]: query for query in _data(page)["queries"]}
    shown = {q: [r["documents"][place]["docid"] for place, _ in r["columns"][1]] for q, r in records.items()}
    assert (shown["q1"], shown["q2"], shown["q3"]) == (["d1", "d3", "d2"], ["d5", "d4", "d1"], [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--submission", "s"], "--submission goes with --topics"),
        (["--html", "x.html", "--index", "i", "--collection", "c"], "--collection has no effect beside --index"),
    ],
)
def test_options_that_do_not_go_together(compared_folder, arguments, said):
    done = _compare(compared_folder, compared_folder / "run.bm25.txt", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr


def test_the_page_of_published_runs(shared_data, tmp_path):
    folder = shared_data / "trec-dl"
    runs = [folder / "runs" / f"run.dl20.{name}.top100.txt" for name in ("bm25", "splade-pp", "repllama", "tas-b")]
    page = tmp_path / "report.html"
    done = CliRunner().invoke(
        compare,
        [
            *map(str, runs),
            *("--qrels", str(folder / "qrels.dl20.txt"), "--topics", str(folder / "topics.dl20.tsv")),
            *(
                "--collection",
                str(folder / "collection.msmarco-v1.jsonl.gz"),
                "--html",
                str(page),
                "-m",
                "nDCG@10",
                "--resamples",
                "100",
            ),
        ],
    )
    assert done.exit_code == 0, done.output
    data = _data(page)
    assert data["columns"] == ["bm25", "splade-pp", "repllama", "tas-b"]
    assert [row[:2] for row in data["tables"][0]["rows"]][:1] == [["bm25", "0.4796"]]
    assert len(data["queries"]) == 54
    assert all("text" in document for query in data["queries"] for document in query["documents"])
    assert page.stat().st_size < 3_000_000
