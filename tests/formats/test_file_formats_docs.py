"""docs/file-formats.md: its files are what it says they are, and its examples run."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from reranker_kd.formats.collections import read_collection
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import read_run
from reranker_kd.formats.topics import TOPICS_FORMATS, read_topics

PAGE = Path(__file__).resolve().parents[2] / "docs" / "file-formats.md"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The files of the page (blocks whose first line is ```text NAME)."""
    blocks = re.findall(r"^```text (\S+)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for name, content in blocks:
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_topics_are_the_same_in_every_format(folder):
    expected = {"q1": "how do planes stay in the air", "q2": "what is a boundary layer"}
    assert [read_topics(f"topics.{name}", name) for name in TOPICS_FORMATS] == [expected] * 4


def test_files_of_a_kind_hold_the_same(folder):
    assert read_qrels("qrels.txt") == read_qrels("qrels.tsv")
    assert [list(documents) for documents in read_run("run.txt").values()] == [
        list(documents) for documents in read_run("run.msmarco.tsv").values()
    ]
    assert list(read_collection("collection.jsonl")) == list(read_collection("collection.tsv"))


def test_python_examples(folder):
    failed, attempted = doctest.testfile(str(PAGE), module_relative=False)
    assert failed == 0
    assert attempted == 16
