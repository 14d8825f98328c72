"""``reranker_kd.lucene``: Pyserini's own names, on a Java that runs them, whatever Java the machine has."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from reranker_kd.retrieve.indexing import build_index

PROGRAM = """
import sys
import reranker_kd.lucene
assert "jnius" not in sys.modules
from reranker_kd.lucene import LuceneSearcher
print([hit.docid for hit in LuceneSearcher("index").search("heat")])
from pyserini.search.faiss import FaissSearcher
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("face")
    (folder / "docs.jsonl").write_text(json.dumps({"id": "d1", "contents": "heat flow"}))
    build_index(folder / "docs.jsonl", folder / "index")
    return folder


def _java_17(folder):
    """A java that is first in PATH, and too old for Anserini."""
    java = folder / "java17" / "bin" / "java"
    java.parent.mkdir(parents=True, exist_ok=True)
    java.write_text("#!/bin/sh\necho 'openjdk version \"17.0.15\" 2025-04-15' >&2\n")
    java.chmod(0o755)
    return f"{java.parent}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("path", [_java_17, lambda folder: str(folder / "nothing")], ids=["java-17", "no-java"])
def test_it_runs_in_a_fresh_process(place, path):
    environment = {name: value for name, value in os.environ.items() if name not in ("JAVA_HOME", "OPENAI_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        capture_output=True,
        text=True,
        cwd=place,
        env={**environment, "PATH": path(place), "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "['d1']\n"), done.stderr


def test_a_name_that_pyserini_has_not():
    with pytest.raises(ImportError, match="LuceneSeacher"):
        from reranker_kd.lucene import LuceneSeacher  # noqa: F401
