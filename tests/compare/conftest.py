"""A small comparison, made of files as the command makes it; one document and one query are hostile."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from reranker_kd.compare.compare import compare
from reranker_kd.compare.comparison import Comparison
from reranker_kd.compare.rankings import ComparedRankings
from reranker_kd.compare.reports import short_labels, with_labels
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import read_run_columns

HOSTILE = "</script><script>document.title='read as markup'</script><img src=x onerror=alert(1)>\u2028 & <!-- $data"

TOPICS = {"q1": "heat flow", "q2": f"plate {HOSTILE}", "q3": "a shock wave over a flat plate", "q/4_#": "one"}
TEXTS = {
    "d1": "heat flow over a flat plate",
    "d2": HOSTILE,
    "d3": "long " * 1000,
    "d4": "middling " * 100,
    "d5": "short",
}
QRELS = "q1 0 d1 3\nq1 0 d2 0\nq1 0 d3 1\nq2 0 d4 2\nq2 0 d5 1\nq3 0 d5 1\nq/4_# 0 d9 1\n"

# Ranked docids of q1, q2, q3; the last query is in no run but in the qrels.
RUNS = {
    "bm25": {"q1": "d2 d1 d3", "q2": "d1 d4 d5", "q3": "d5 d1"},
    "student": {"q1": "d1 d3 d2", "q2": "d4 d5 d2", "q3": "d1 d5"},
    "teacher": {"q1": "d1 d4 d3", "q2": "d5 d4 d1", "q3": "d5 d2"},
}


@pytest.fixture(scope="session")
def topics() -> Mapping[str, str]:
    """The queries as a topics file gives them, where runs of whitespace are one space."""
    return {qid: " ".join(text.split()) for qid, text in TOPICS.items()}


@pytest.fixture(scope="session")
def texts() -> Mapping[str, str]:
    return TEXTS


@pytest.fixture(scope="session")
def compared_folder(tmp_path_factory) -> Path:
    """A folder of runs, qrels, topics, a collection and a benchmark."""
    folder = tmp_path_factory.mktemp("compared")
    for name, rankings in RUNS.items():
        lines = [
            f"{qid} Q0 {docid} {rank} {10 - rank} {name}\n"
            for qid, docids in rankings.items()
            for rank, docid in enumerate(docids.split(), 1)
        ]
        (folder / f"run.{name}.txt").write_text("".join(lines))
    (folder / "qrels.txt").write_text(QRELS)
    lines = [json.dumps({"qid": qid, "query": text}) + "\n" for qid, text in TOPICS.items()]
    (folder / "topics.jsonl").write_text("".join(lines))
    lines = [json.dumps({"id": docid, "contents": text}) + "\n" for docid, text in TEXTS.items()]
    (folder / "docs.jsonl").write_text("".join(lines))
    models = [{"model": name, "query_ms": {"p50": ms}} for name, ms in (("student", 2.5), ("teacher", 40.0))]
    (folder / "benchmark.json").write_text(json.dumps({"models": models}))
    return folder


@pytest.fixture(scope="session")
def compared(compared_folder) -> Comparison:
    """The comparison of the three runs, under short names."""
    comparison = compare(
        [compared_folder / f"run.{name}.txt" for name in RUNS],
        compared_folder / "qrels.txt",
        ("nDCG@10", "RR@10"),
        resamples=200,
        cost_files=[compared_folder / "benchmark.json"],
    )
    return with_labels(comparison, short_labels(comparison))


@pytest.fixture(scope="session")
def rankings(compared_folder) -> ComparedRankings:
    return ComparedRankings(
        qrels=read_qrels(compared_folder / "qrels.txt"),
        runs={name: [read_run_columns(compared_folder / f"run.{name}.txt")] for name in RUNS},
        reference="bm25",
        topics=TOPICS,
    )
