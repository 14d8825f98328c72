"""A package of somebody else adds a reranker by its entry point, without touching this repository."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from reranker_kd import Reranker, load_reranker
from reranker_kd.errors import ModelError
from reranker_kd.rerank.registry import RERANKERS

MODULE = '''
import numpy as np
from reranker_kd import Reranker


class Overlap(Reranker):
    """Counts the query's words in the text."""

    def __init__(self, weight=1.0):
        self.weight = weight

    def score_pairs(self, pairs):
        counts = [len(set(query.split()) & set(text.split())) for query, text in pairs]
        return self.weight * np.array(counts, dtype=np.float32)
'''

PYPROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "word-overlap"
version = "1.0"

[project.entry-points."reranker_kd.rerankers"]
word-overlap = "word_overlap:Overlap"

[tool.setuptools]
py-modules = ["word_overlap"]
"""


def test_an_installed_package_is_found_by_its_name(tmp_path: Path) -> None:
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    (source / "word_overlap.py").write_text(MODULE)
    (source / "pyproject.toml").write_text(PYPROJECT)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(source)], check=True, capture_output=True)
    (tmp_path / "run.txt").write_text("1 Q0 d1 1 2.0 bm25\n1 Q0 d2 2 1.0 bm25\n")
    (tmp_path / "topics.tsv").write_text("1\theat flow\n")
    (tmp_path / "docs.tsv").write_text("d1\ta dog\nd2\theat flow in water\n")

    command = [sys.executable, "-m", "reranker_kd", "rerank", "--model", "word-overlap", "--candidates", "run.txt"]
    command += ["--topics", "topics.tsv", "--collection", "docs.tsv", "--output", "out.txt"]
    environment = {"PYTHONPATH": f"{site}:{Path(__file__).resolve().parents[2]}", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.txt").read_text() == "1 Q0 d2 1 2.0 word-overlap\n1 Q0 d1 2 0.0 word-overlap\n"


class _Constant(Reranker):
    """Takes no keyword, as a reranker may."""

    def score_pairs(self, pairs):
        return np.zeros(len(pairs), dtype=np.float32)


def test_a_registered_reranker_takes_its_own_keywords_alone(monkeypatch):
    entry = EntryPoint("constant", f"{__name__}:_Constant", RERANKERS.group)
    monkeypatch.setattr("reranker_kd.registry.entry_points", lambda group: [entry])
    assert load_reranker("constant").score("q", ["d"]) == [0]
    with pytest.raises(ModelError, match=r"constant: .*max_length"):
        load_reranker("constant", max_length=17)


def test_an_unknown_option_is_named_with_those_that_there_are(cross_encoder_folder):
    with pytest.raises(ModelError, match=r"max_lenght: is not a key .*; it takes .*max_length"):
        load_reranker(cross_encoder_folder, max_lenght=17)
    with pytest.raises(ModelError, match="passage_length: Input should be greater than or equal to 1"):
        load_reranker(cross_encoder_folder, passage_length=0)
