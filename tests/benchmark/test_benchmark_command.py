"""``reranker-kd benchmark`` from the command line, in real processes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from reranker_kd.cli import main

PEERS = Path(__file__).parents[2] / "runs" / "benchmarks" / "peers.py"
INPUTS = "--candidates run.txt --topics topics.tsv --collection docs.jsonl"


def _run(command: str, status: int = 0) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["benchmark", *command.split()])
    assert stopped.value.code == status


@pytest.mark.slow
def test_systems_take_turns_and_live_through_the_rounds(workplace, capsys):
    _run(f"--model overlap --model overlap-again {INPUTS} --qrels qrels.txt --repeats 3 --output speed.json")
    events = [line.split(":")[0] for line in capsys.readouterr().err.splitlines()]
    assert events == ["overlap", "overlap-again"] * (1 + 3 + 1 + 3)
    document = json.loads(Path("speed.json").read_text())
    assert (document["queries"], document["pairs"], document["baseline"]) == (2, 6, "overlap")
    assert document["settings"]["max_length"] == 256
    assert {"float32"} <= set(document["machine"]["matrix_product_flops"]) <= {"float32", "bfloat16"}
    first, second = document["models"]
    assert (first["model"], first["backend"], first["precision"]) == ("overlap", "words", "exact")
    assert first["ratio"] == first["query_ratio"] == 1
    assert first["score_gap"] is None and second["score_gap"] is None
    # Equal counts of words are tied, and of tied documents the later docid comes first.
    assert first["nDCG@10"] == second["nDCG@10"] == 1
    for model in document["models"]:
        assert model["error"] is None
        assert model["pairs_per_second"] > 0 and model["peak_memory_bytes"] > 1e6 and model["cold_start_s"] > 0
        assert set(model["query_ms"]) == {"p50", "p95", "p99"}
        assert [len(model["rounds"][name]) for name in ("cold_start_s", "seconds", "query_ms")] == [3, 3, 3]
        assert [len(queries) for queries in model["rounds"]["query_ms"]] == [2, 2, 2]
        # Nothing is known of the network of a reranker that has no folder.
        assert model["parameters"] is model["tokens"] is model["ceiling_share"] is model["model_bytes"] is None


def test_those_that_fail_are_told_and_the_others_go_on(workplace, capsys):
    _run(
        f"--model failing --model overlap --model killed {INPUTS} --repeats 1 --baseline overlap --quiet "
        "--output results/speed.json",
        status=1,
    )
    captured = capsys.readouterr()
    rows = [line.split()[0] for line in captured.out.splitlines()[4:]]
    assert rows == ["overlap"]
    (error,) = captured.err.splitlines()
    assert error.startswith("error: 2 of 3 systems did not run: failing: ValueError: no good at all; killed: ")
    models = {model["system"]: model for model in json.loads(Path("results/speed.json").read_text())["models"]}
    assert models["overlap"]["ratio"] == 1
    assert models["failing"]["error"] == "ValueError: no good at all"
    assert models["failing"]["pairs_per_second"] is None
    killed = "its process ended by SIGKILL (out of memory?): the last thing that it said"
    assert models["killed"]["error"] == killed


@pytest.mark.slow
def test_a_cross_encoder_beside_a_peer_with_the_same_scores(workplace, cross_encoder_folder, capsys):
    pytest.importorskip("sentence_transformers")
    Path("tiny").symlink_to(cross_encoder_folder)
    _run(
        f"--model tiny --backend torch:float32 --peer {PEERS}:sentence-transformers {INPUTS} --qrels qrels.txt "
        "--repeats 1 --queries 1 --depth 2 --max-length 32 --baseline sentence-transformers --device cpu "
        "--output speed.json"
    )
    heading, machine, _, columns, *rows = capsys.readouterr().out.splitlines()
    assert heading == ("2 pairs of 1 queries, at most 32 tokens; 1 rounds; ratios to tiny/sentence-transformers")
    assert re.search(r", \d+ cores, cpu; ceiling \d+\.\d\d TFLOP/s \((float32|bfloat16)\)$", machine)
    assert columns.split()[:2] == ["system", "precision"] and columns.split()[-1] == "nDCG@10"
    assert [row.split()[:2] for row in rows] == [
        ["tiny/torch:float32", "float32"],
        ["tiny/sentence-transformers", "float32"],
    ]
    document = json.loads(Path("speed.json").read_text())
    ours, theirs = document["models"]
    assert ours["score_gap"]["max"] < 1e-4
    assert ours["nDCG@10"] == theirs["nDCG@10"] > 0
    assert ours["tokens"] == theirs["tokens"] == document["tokens"]
    assert ours["parameters"] == theirs["parameters"] > 1000
    assert ours["model_bytes"] == theirs["model_bytes"] > 1000
    assert 0 < ours["ceiling_share"] < 1
    assert theirs["software"]["sentence-transformers"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (f"--model overlap {INPUTS} --baseline other", "baseline 'other' stands for no system: name one of overlap"),
        (f"--model overlap {INPUTS} --peer {PEERS}:flashrank", "peers run cross-encoders that save_pretrained wrote"),
        ("--model overlap --candidates gone.txt --topics topics.tsv --collection docs.jsonl", "gone.txt: "),
        ("--model overlap --candidates run.txt --topics other.tsv --collection docs.jsonl", r"run.txt:4: query '2'"),
        ("--model overlap --candidates run.txt --topics topics.tsv --collection few.jsonl", r"run.txt:2: .*'d2'"),
        (
            "--model overlap --candidates run.txt --topics topics.tsv --collection blank.jsonl",
            r"run.txt:2: query '1': document 'd2' is empty",
        ),
    ],
)
def test_bad_input_is_one_line_before_anything_starts(workplace, capsys, command, expected):
    Path("other.tsv").write_text("1\theat flow\n")
    Path("few.jsonl").write_text('{"id": "d1", "contents": "heat"}\n{"id": "d3", "contents": "heat"}\n')
    Path("blank.jsonl").write_text(Path("docs.jsonl").read_text().replace("a dog by the river", " "))
    _run(command, status=1)
    (error,) = capsys.readouterr().err.splitlines()
    assert re.match(f"error: {expected}", error), error


def test_texts_come_from_one_place(workplace, capsys):
    _run("--model overlap --candidates run.txt --topics topics.tsv", status=2)
    assert "--index or by --collection" in capsys.readouterr().err
