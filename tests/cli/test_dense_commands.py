"""encode, search and rerank --embeddings as a user calls them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from make_tiny_twins import make_tiny_twin

from reranker_kd.cli import main
from reranker_kd.formats.runs import read_run

TEXTS = {"a": "heat flow over a flat plate", "b": "the dog and the cat", "c": "shock wave", "d": "river sea"}


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_tiny_twin(tmp_path / "twin", max_query_length=16)
    (tmp_path / "docs.tsv").write_text("".join(f"{docid}\t{text}\n" for docid, text in TEXTS.items()))
    (tmp_path / "topics.tsv").write_text("1\theat flow\n2\ta dog\n")
    (tmp_path / "bm25.txt").write_text("1 Q0 c 1 3.0 x\n1 Q0 a 2 2.0 x\n2 Q0 b 1 2.0 x\n2 Q0 d 2 1.0 x\n")
    return tmp_path


def _call(capsys, *arguments, status=0):
    with pytest.raises(SystemExit) as stopped:
        main(list(map(str, arguments)))
    said = capsys.readouterr().err
    assert stopped.value.code == status, said
    if status:
        assert said.count("\n") == 1
        assert said.startswith("error: ") or status == 2
    return said


ENCODE = ["encode", "--collection", "docs.tsv", "--model", "twin", "--output", "embeddings", "--quiet"]
SEARCH = ["search", "--index", "embeddings", "--model", "twin", "--topics", "topics.tsv", "--output", "dense.txt"]
RERANK = ["rerank", "--candidates", "bm25.txt", "--topics", "topics.tsv", "--model", "twin", "--output", "out.txt"]
GATHER = [*RERANK, "--embeddings", "embeddings"]


def test_encode_search_and_rerank(place, capsys):
    said = _call(capsys, *ENCODE)
    assert "wrote embeddings: 4 vectors as Flat; 4 documents encoded, 0 of them cut to 512 tokens" in said
    _call(capsys, *SEARCH, "--hits", 3)
    _call(capsys, *GATHER)
    gathered = read_run("out.txt")
    _call(capsys, *RERANK, "--collection", "docs.tsv")
    by_text = read_run("out.txt")
    dense = read_run("dense.txt")
    assert [len(documents) for documents in dense.values()] == [3, 3]
    for qid, documents in by_text.items():
        assert list(documents) == list(gathered[qid])
        # encode takes bfloat16 where the processor computes in it.
        np.testing.assert_allclose(list(documents.values()), list(gathered[qid].values()), atol=0.01)
        for docid in documents.keys() & dense[qid].keys():
            assert dense[qid][docid] == pytest.approx(documents[docid], abs=0.01)
    made_by = json.loads((place / "dense.txt.provenance.json").read_text())
    assert made_by["stage"] == "search"
    assert made_by["counts"] == {"topics": 2, "documents": 6}


def test_documents_without_embedding_are_named_and_counted(place, capsys):
    _call(capsys, *ENCODE)
    with (place / "bm25.txt").open("a") as stream:
        stream.write("2 Q0 e 3 0.5 x\n2 Q0 f 4 0.4 x\n")
    said = _call(capsys, *GATHER, status=1)
    assert "embeddings: 2 of 6 documents have no embedding there (e, f): give their texts by collection" in said
    assert not (place / "out.txt").exists()
    with (place / "docs.tsv").open("a") as stream:
        stream.write("e\ta dog\nf\tcat\n")
    said = _call(capsys, *GATHER, "--collection", "docs.tsv")
    assert "2 of 6 documents have no embedding there (e, f): encoding them now" in said
    assert next(iter(read_run("out.txt")["2"])) == "e"


def test_shards_and_conversion(place, capsys):
    _call(capsys, *ENCODE)
    for shard in (1, 0):
        said = _call(capsys, *ENCODE[:-2], "sharded", "--part-size", 1, "--shard-num", 2, "--shard-id", shard)
    assert "wrote sharded: 4 vectors as Flat; 2 documents encoded" in said
    assert (place / "sharded" / "docid").read_bytes() == (place / "embeddings" / "docid").read_bytes()
    said = _call(capsys, "encode", "--embeddings", "embeddings", "--index-type", "HNSW8", "--output", "hnsw")
    assert "wrote hnsw: 4 vectors as HNSW8" in said
    _call(capsys, "search", "--index", "hnsw", *SEARCH[3:], "--ef-search", 32, "--threads", 1)
    assert len(read_run("dense.txt")["1"]) == 4


def test_a_recipe_reranks_by_embeddings(place, capsys):
    _call(capsys, *ENCODE)
    (place / "recipe.yaml").write_text(
        "topics: topics.tsv\ncandidates: bm25.txt\ncollection: docs.tsv\n"
        "rerank:\n  - {model: twin, name: text}\n  - {model: twin, name: gathered, embeddings: embeddings}\n"
    )
    _call(capsys, "run", "recipe.yaml", "--output", "experiment", "--quiet")
    text, gathered = (read_run(place / "experiment" / f"run.{name}.txt") for name in ("text", "gathered"))
    assert {qid: list(documents) for qid, documents in text.items()} == {q: list(d) for q, d in gathered.items()}


@pytest.mark.parametrize(
    ("arguments", "status", "fault"),
    [
        ([*ENCODE, "--index-type", "Nothing"], 1, "Nothing"),
        ([*ENCODE, "--shard-id", 2, "--shard-num", 2], 2, "--shard-id counts from 0"),
        (["encode", "--model", "twin", "--output", "x"], 2, "give the documents by --collection"),
        (["encode", "--collection", "nothing.tsv", *ENCODE[3:]], 1, "nothing.tsv: cannot read"),
        ([*SEARCH, "--nprobe", 2], 1, "nprobe"),
        (["search", "--index", "nothing", *SEARCH[3:]], 1, "nothing"),
        ([*GATHER[:-1], "nothing"], 1, "nothing"),
        (RERANK, 2, "or the embeddings of each reranking"),
    ],
)
def test_bad_input(place, capsys, arguments, status, fault):
    _call(capsys, *ENCODE)
    with pytest.raises(SystemExit) as stopped:
        main(list(map(str, arguments)))
    said = capsys.readouterr().err
    assert stopped.value.code == status
    assert fault in said
    assert not (place / "x").exists()
    assert not (place / "out.txt").exists()
    assert not (place / "dense.txt").exists()


def test_a_truncated_index_and_duplicate_docids(place, capsys):
    _call(capsys, *ENCODE)
    whole = (place / "embeddings" / "index").read_bytes()
    (place / "embeddings" / "index").write_bytes(whole[: len(whole) // 2])
    assert "index" in _call(capsys, *SEARCH, status=1)
    (place / "embeddings" / "index").write_bytes(whole)
    (place / "embeddings" / "docid").write_text("a\nb\nb\nd\n")
    assert "docid:3" in _call(capsys, *SEARCH, status=1)
    assert not (place / "dense.txt").exists()
