"""Rerankers of an installed package that load in no time, well-behaved and not, and work for them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

MODULE = """
import os
import signal
import sys

import numpy as np
from reranker_kd import Reranker


class Overlap(Reranker):
    def __init__(self, max_length, device="cpu"):
        print("a library that prints where answers go")

    def score_pairs(self, pairs):
        return np.array([len(set(query.split()) & set(text.split())) for query, text in pairs], dtype=np.float32)

    def describe(self):
        return {"backend": "words", "precision": "exact"}


class Killed(Overlap):
    def score_pairs(self, pairs):
        if len(pairs) > 1:
            print("the last thing that it said", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().score_pairs(pairs)


class Failing(Overlap):
    def score_pairs(self, pairs):
        raise ValueError("no good\\nat all")
"""

PEERS = """
from pathlib import Path


def load(model, max_length, device=None):
    place = float(Path(model, "place").read_text()) if Path(model, "place").exists() else 0.0
    return (lambda queries: [[place + len(text) for text in texts] for _, texts in queries]), {"precision": "exact"}


def prepare(model, folder, max_length):
    (folder / "place").write_text(str(len(list(Path(model).glob("*.safetensors")))))


def needing(model, max_length, device=None):
    import package_that_nobody_has


PEERS = {"lengths": load, "prepared": (load, prepare), "needing": needing}
"""

ENTRY_POINTS = """[reranker_kd.rerankers]
overlap = word_overlap:Overlap
overlap-again = word_overlap:Overlap
killed = word_overlap:Killed
failing = word_overlap:Failing
"""

TEXTS = {"d1": "heat flow over a plate", "d2": "a dog by the river", "d3": "shock wave and heat"}


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """The working directory: candidates, topics, collection and qrels, peers, and the package installed beside it."""
    information = tmp_path / "site" / "word_overlap-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: word-overlap\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "site" / "word_overlap.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    Path("peers.py").write_text(PEERS)
    Path("run.txt").write_text(
        "".join(f"{qid} Q0 {docid} {rank} {9 - rank} bm25\n" for qid in "12" for rank, docid in enumerate(TEXTS, 1))
    )
    Path("topics.tsv").write_text("1\theat flow\n2\tthe dog\n")
    Path("docs.jsonl").write_text("".join(json.dumps({"id": i, "contents": t}) + "\n" for i, t in TEXTS.items()))
    Path("qrels.txt").write_text("1 0 d1 2\n1 0 d3 1\n2 0 d2 1\n")
    return tmp_path
