"""The verbs one after another, on a small collection and on a real one."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from make_tiny_models import make_cross_encoder

from reranker_kd import load_reranker
from reranker_kd.cli import main
from reranker_kd.formats.runs import read_run
from reranker_kd.types import rank_order

TEXTS = {
    "d1": "heat flow over a flat plate in a boundary layer",
    "d2": "the dog and the cat sat by the river",
    "d3": "a shock wave in supersonic flow over a flat plate",
    "d4": "heat transfer from a cylinder to water",
    "d5": "heat and pressure in a shock wave",
}
TOPICS = {"q1": "heat flow plate", "q2": "shock wave heat"}


@pytest.fixture
def workplace(tmp_path, cross_encoder_folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("docs.jsonl").write_text("".join(json.dumps({"id": i, "contents": t}) + "\n" for i, t in TEXTS.items()))
    Path("topics.tsv").write_text("".join(f"{qid}\t{text}\n" for qid, text in TOPICS.items()))
    Path("qrels.txt").write_text("q1 0 d1 2\nq1 0 d3 1\nq2 0 d5 2\nq3 0 d1 1\n")
    shutil.copytree(cross_encoder_folder, "tiny")
    make_cross_encoder(Path("other"), seed=1)
    return tmp_path


def _run(command: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 0, command


def test_index_retrieve_rerank_evaluate(workplace, capsys):
    _run("index --collection docs.jsonl --index index --quiet")
    _run("retrieve --index index --topics topics.tsv --output bm25.txt --hits 3 --quiet")
    _run("rerank --candidates bm25.txt --topics topics.tsv --index index --model tiny --output tiny.txt --quiet")
    capsys.readouterr()
    _run("evaluate --qrels qrels.txt bm25.txt tiny.txt -m nDCG@10 -m AP --format json")
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert [run["run"] for run in document["runs"]] == ["bm25.txt", "tiny.txt"]
    assert set(document["runs"][0]["measures"]) == {"nDCG@10", "AP"}
    assert "lacks 1 of the 3 queries of the qrels; they count as zero" in captured.err

    lines = [line.split() for line in Path("bm25.txt").read_text().splitlines()]
    assert {(line[1], line[5]) for line in lines} == {("Q0", "bm25")}
    assert [line[3] for line in lines] == ["1", "2", "3", "1", "2", "3"]
    scores = load_reranker("tiny").score(TOPICS["q1"], [TEXTS[docid] for docid in read_run("tiny.txt")["q1"]])
    assert list(read_run("tiny.txt")["q1"].values()) == pytest.approx(scores.tolist(), abs=1e-5)


def test_straight_from_the_index_by_several_models(workplace):
    _run("index --collection docs.jsonl --index index --quiet")
    _run(
        "rerank --index index --topics topics.tsv --model tiny --model other --depth 2 --k1 1.2 --b 0.5 --rm3 "
        "--output runs/{model}.txt.gz --quiet"
    )
    for model in ("tiny", "other"):
        run = read_run(f"runs/{model}.txt.gz")
        assert set(run) == set(TOPICS)
        record = json.loads(Path(f"runs/{model}.txt.gz.provenance.json").read_text())
        assert record["model"]["name"] == model
        assert record["candidates"]["parameters"]["k1"] == 1.2
        assert record["counts"]["pairs"] == 4


def test_ms_marco_output_and_input(workplace):
    _run("index --collection docs.jsonl --index index --quiet")
    _run("retrieve --index index --topics topics.tsv --output bm25.tsv --output-format msmarco --hits 2 --quiet")
    assert Path("bm25.tsv").read_text().splitlines()[0].split("\t")[2] == "1"
    _run(
        "rerank --candidates bm25.tsv --topics topics.tsv --collection docs.jsonl --model tiny --output out.txt --quiet"
    )
    assert {qid: set(documents) for qid, documents in read_run("out.txt").items()} == {
        qid: set(documents) for qid, documents in read_run("bm25.tsv").items()
    }


def test_documents_below_the_depth_keep_their_order(workplace):
    Path("run.txt").write_text("".join(f"q1 Q0 {docid} 1 {9 - i} x\n" for i, docid in enumerate(TEXTS)))
    _run(
        "rerank --candidates run.txt --topics topics.tsv --collection docs.jsonl --model tiny --depth 2 "
        "--output out.txt --quiet"
    )
    documents = read_run("out.txt")["q1"]
    assert set(list(documents)[:2]) == {"d1", "d2"}
    assert list(documents)[2:] == ["d3", "d4", "d5"]
    assert rank_order(list(documents), list(documents.values())) == list(range(5))


def test_provenance_says_what_made_a_run(workplace):
    Path("run.txt").write_text("q1 Q0 d1 1 2 x\nq1 Q0 d2 2 1 x\n")
    _run(
        "rerank --candidates run.txt --topics topics.tsv --collection docs.jsonl --model tiny --output out.txt --quiet"
    )
    record = json.loads(Path("out.txt.provenance.json").read_text())
    assert record["artefact"]["sha256"] == hashlib.sha256(Path("out.txt").read_bytes()).hexdigest()
    assert record["candidates"] == {
        "path": "run.txt",
        "sha256": hashlib.sha256(Path("run.txt").read_bytes()).hexdigest(),
    }
    assert record["software"]["torch"] and record["software"]["pyserini"]
    # What ran, not what was asked for.
    assert record["model"]["precision"] in ("float32", "bfloat16")
    assert record["model"]["backend"] in ("torch", "openvino", "onnxruntime")
    assert record["counts"] == {"topics": 1, "pairs": 2, "passages": 2, "pairs_split_into_passages": 0, "pairs_cut": 0}
    assert record["seconds"]["rerank"] >= 0


def test_a_recipe_leaves_everything_in_one_folder(workplace, capsys):
    Path("recipe.yaml").write_text(
        """
        topics: topics.tsv
        qrels: ${QRELS:-qrels.txt}
        collection: docs.jsonl
        retrieve: {hits: 4}
        rerank:
          - {model: tiny, depth: 3}
          - {model: tiny, name: tiny-firstp, long_documents: firstp, max_length: 32}
        evaluate: {measures: [nDCG@10, RR], relevance_level: 2}
        """
    )
    _run("run recipe.yaml --output out --set retrieve.k1=1.2 --set retrieve.b=0.7 --set rerank.0.depth=2 --quiet")
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["run", "nDCG@10", "RR", "ms/query"]
    assert [line.split()[0] for line in table[1:4]] == ["bm25", "tiny", "tiny-firstp"]
    made = {path.name for path in Path("out").iterdir()}
    assert made >= {"recipe.json", "figures.json", "figures.tsv", "index", "run.bm25.txt", "run.tiny-firstp.txt"}
    figures = json.loads(Path("out/figures.json").read_text())
    assert figures["relevance_level"] == 2
    assert set(figures["runs"][0]["per_query"]) == {"q1", "q2", "q3"}
    assert json.loads(Path("out/recipe.json").read_text())["rerank"][0]["depth"] == 2
    assert json.loads(Path("out/run.tiny.txt.provenance.json").read_text())["counts"]["pairs"] == 4


def test_the_folder_is_named_after_the_recipe_by_default(workplace):
    Path("small.yaml").write_text("topics: topics.tsv\ncollection: docs.jsonl\n")
    _run("run small.yaml --quiet")
    assert Path("small/run.bm25.txt").is_file()


def test_models_lists_what_packages_register(capsys):
    _run("models --format json")
    assert "all-MiniLM-L6-v2" in json.loads(capsys.readouterr().out)["rerankers"]


def test_output_is_gzipped_by_name(workplace):
    Path("run.txt").write_text("q1 Q0 d1 1 2 x\n")
    _run("rerank --candidates run.txt --topics topics.tsv --collection docs.jsonl --model tiny --output o.gz --quiet")
    assert gzip.decompress(Path("o.gz").read_bytes()).startswith(b"q1 Q0 d1 1 ")


def test_progress_goes_to_stderr_and_python_m_works(workplace):
    Path("run.txt").write_text("q1 Q0 d1 1 2 x\n")
    command = (
        "rerank --candidates run.txt --topics topics.tsv --collection docs.jsonl --model tiny --output /dev/stdout"
    )
    done = subprocess.run(
        [sys.executable, "-m", "reranker_kd", *command.split()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "reranking by tiny: 1/1 pairs" in done.stderr


@pytest.mark.slow
def test_dl20_reranked_by_all_minilm(shared_data, tmp_path, capsys):
    # nDCG@10 0.608: the collections' README, by cosine of embeddings, mean pooling, at most 200 tokens.
    data = shared_data / "trec-dl"
    _run(
        f"rerank --candidates {data / 'runs' / 'run.dl20.bm25.top100.txt'} --topics {data / 'topics.dl20.tsv'} "
        f"--collection {data / 'collection.msmarco-v1.jsonl.gz'} --model all-MiniLM-L6-v2 --precision auto "
        f"--output {tmp_path / 'run.txt'} --quiet"
    )
    capsys.readouterr()
    _run(f"evaluate --qrels {data / 'qrels.dl20.txt'} {tmp_path / 'run.txt'} -m nDCG@10 --format json")
    measured = json.loads(capsys.readouterr().out)["runs"][0]["measures"]["nDCG@10"]
    assert measured == pytest.approx(0.608, abs=0.003)


def test_a_model_that_nobody_named_is_said(workplace, capsys):
    Path("run.txt").write_text("q1 Q0 d1 1 2 x\nq1 Q0 d2 2 1 x\n")
    rerank = "rerank --candidates run.txt --topics topics.tsv --collection docs.jsonl --output out.txt --quiet"
    _run(rerank)
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("no --model is given: taking cross, a bundled student for English web passages;")
    assert json.loads(Path("out.txt.provenance.json").read_text())["model"]["name"] == "cross"
    _run(f"{rerank} --model tiny")
    assert "no --model" not in capsys.readouterr().err


def test_a_recipe_and_the_command_make_the_same_run(workplace):
    _run("index --collection docs.jsonl --index index --quiet")
    _run(
        "rerank --index index --topics topics.tsv --model tiny --depth 2 --k1 1.2 --b 0.5 --hits 3 --tag mine "
        "--long-documents topk --top-passages 2 --max-length 32 --batch-tokens 64 --output out.txt --quiet"
    )
    Path("recipe.yaml").write_text(
        "topics: topics.tsv\nindex: index\nretrieve: {k1: 1.2, b: 0.5, hits: 3}\nrerank:\n"
        "  - {model: tiny, depth: 2, hits: 3, tag: mine, long_documents: topk, top_passages: 2, max_length: 32,"
        " batch_tokens: 64}\n"
    )
    _run("run recipe.yaml --output folder --quiet")
    assert Path("folder/run.tiny.txt").read_text() == Path("out.txt").read_text()
    one, other = (
        json.loads(Path(f"{path}.provenance.json").read_text()) for path in ("folder/run.tiny.txt", "out.txt")
    )
    for key in ("topics", "texts", "model", "parameters", "counts"):
        assert one[key] == other[key]


def test_embeddings_stand_for_all_texts_in_a_recipe_too(workplace):
    _run("encode --collection docs.jsonl --model twin --output embeddings --quiet")
    Path("run.txt").write_text("q1 Q0 d1 1 2 x\nq1 Q0 d2 2 1 x\n")
    Path("recipe.yaml").write_text(
        "topics: topics.tsv\ncandidates: run.txt\nrerank: [{model: twin, embeddings: embeddings}]\n"
    )
    _run("run recipe.yaml --output folder --quiet")
    assert set(read_run("folder/run.twin.txt")["q1"]) == {"d1", "d2"}
