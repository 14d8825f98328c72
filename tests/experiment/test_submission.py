from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from make_tiny_models import make_cross_encoder

from reranker_kd.cli.compare import compare
from reranker_kd.cli.run import run
from reranker_kd.errors import InputError, OutputError
from reranker_kd.experiment.submission import write_submission
from reranker_kd.formats.runs import read_run, write_run
from reranker_kd.formats.validate import Rules, check_runs
from reranker_kd.provenance import write_provenance

TOPICS = {"1": "heat flow", "2": "shock wave"}


@pytest.fixture
def runs(tmp_path) -> list[Path]:
    """Two sound runs, the second with provenance."""
    paths = []
    for tag, sign in (("bm25", 1.0), ("student", -1.0)):
        path = tmp_path / f"run.{tag}.txt"
        write_run(path, {qid: {"d1": sign, "d2": 0.0} for qid in TOPICS}, tag=tag)
        paths.append(path)
    record = {
        "stage": "rerank",
        "candidates": {"path": "/home/somebody/run.bm25.txt", "sha256": "abc"},
        "model": {"class": "x.Y", "name": "/home/somebody/tiny|model", "sha256": "def", "long_documents": {"top_k": 3}},
        "parameters": {"depth": 100},
    }
    write_provenance(paths[1], record)
    return paths


def _write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def _faults(path: Path, rules: Rules | None = None, known=None) -> list[str]:
    _, faults = check_runs([path], TOPICS, rules or Rules(), known)
    return [str(fault).removeprefix(str(path)) for fault in faults]


def test_the_folder(runs, tmp_path):
    folder = tmp_path / "made" / "submission"
    assert write_submission(folder, runs, TOPICS, known_docids=lambda asked: asked) == []
    assert {file.name for file in folder.iterdir()} == {
        "bm25.txt.gz",
        "student.txt.gz",
        "README.md",
        "SHA256SUMS",
    }
    assert gzip.decompress((folder / "student.txt.gz").read_bytes()) == runs[1].read_bytes()
    assert read_run(folder / "bm25.txt.gz") == read_run(runs[0])
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": OK") == 3
    assert [file.name for file in folder.parent.iterdir()] == ["submission"], "nothing half-made is left"


def test_the_same_runs_give_the_same_bytes(runs, tmp_path):
    for name in ("one", "other"):
        write_submission(tmp_path / name, runs, TOPICS)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "other" / file.name).read_bytes()


def test_the_readme_says_what_made_a_run(runs, tmp_path):
    write_submission(tmp_path / "s", runs, TOPICS)
    readme = (tmp_path / "s" / "README.md").read_text()
    bm25, student = readme.split("\n## ")[1:]
    assert "No provenance lies beside this run" in bm25
    assert "`student.txt.gz`: 4 documents for 2 topics." in student
    for row in (
        "| stage | rerank |",
        "| model | tiny\\|model |",
        "| model settings | long_documents.top_k 3 |",
        "| candidates | run.bm25.txt |",
        "| parameters | depth 100 |",
    ):
        assert row in student
    assert "somebody" not in readme
    assert "every docid" not in readme


def test_the_provenance_of_another_file_tells_nothing(runs, tmp_path):
    runs[1].write_text(runs[1].read_text().replace("d2", "d3"))
    write_submission(tmp_path / "s", runs, TOPICS)
    assert "that of another file" in (tmp_path / "s" / "README.md").read_text()


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["1 Q0 a 1 2 t", "1 Q0 a 2 1 t", "2 Q0 a 1 1 t"], ":2: document a is listed twice for query 1; remove one"),
        (["1 Q0 a 1 2 t", "2 Q0 a 1 x t"], ":2: expected a number as the score, got 'x'"),
        (["1 Q0 a 1 2 t", "2 Q0 a 1 1 u"], ":2: the tag u differs from t: a run has one tag"),
        (["1 Q0 a 0 2 t", "2 Q0 a 1 1 t"], ":1: the rank of query 1 is 0 where 1 is expected: number the lines from 1"),
        (
            ["1 Q0 a 1 1 t", "1 Q0 b 2 2 t", "2 Q0 a 1 1 t"],
            ":2: the score of query 1 rises to 2: order the lines by score",
        ),
        (["1 0 a 1 1 t", "2 0 a 1 1 t"], ":1: the second column is 0; it must be Q0"),
        (["1 Q0 a 1 1 t"], ": lacks topics: 2"),
        (["1 Q0 a 1 1 t", "2 Q0 a 1 1 t", "9 Q0 a 1 1 t"], ": has queries that the topics lack: 9"),
        (["1\ta\t1", "2\ta\t1"], ":1: is in MS MARCO's format; write the run with --output-format trec"),
        (
            ["1 Q0 a 1 1 a-tag-of-21-characters", "2 Q0 a 1 1 a-tag-of-21-characters"],
            ":1: the tag a-tag-of-21-characters has 22 characters, 20 are allowed: write the run with --tag",
        ),
        (
            ["1 Q0 a 1 1 über", "2 Q0 a 1 1 über"],
            ":1: the tag über has other characters than letters, digits, . _ and -: write the run with --tag",
        ),
    ],
)
def test_a_fault_is_named(tmp_path, lines, fault):
    found = _faults(_write(tmp_path / "run.txt", *lines))
    assert found[0] == fault
    # A run in another format has no topics either.
    assert len(found) == 1 or "MS MARCO" in fault


def test_depth_is_told_once_a_query(tmp_path):
    lines = [f"{qid} Q0 d{rank} {rank} {-rank} t" for qid in TOPICS for rank in range(1, 6)]
    path = _write(tmp_path / "run.txt", *lines)
    assert _faults(path, Rules(depth=5)) == []
    assert _faults(path, Rules(depth=3)) == [
        ":4: query 1 has more than 3 documents: write fewer with --hits",
        ":9: query 2 has more than 3 documents: write fewer with --hits",
    ]


def test_docids_that_do_not_exist(tmp_path):
    path = _write(
        tmp_path / "run.txt", *(f"{qid} Q0 d{rank} {rank} {-rank} t" for qid in TOPICS for rank in range(1, 6))
    )
    assert _faults(path, known=lambda asked: {"d1"}) == [": the collection lacks documents: d2, d3, d4 and 1 more"]
    assert _faults(path, known=lambda asked: asked) == []


def test_faults_between_runs(runs, tmp_path):
    _, faults = check_runs([*runs, runs[0]], TOPICS, Rules(runs=2))
    assert [fault.fault for fault in faults] == [
        f"the tag bm25 is also that of {runs[0]}; rename one",
        "is one of 3 runs; 2 are allowed",
    ]


def test_nothing_is_written_where_there_is_a_fault(runs, tmp_path):
    _write(tmp_path / "bad.txt", "1 Q0 a 1 1 t", "1 Q0 a 2 0 t")
    faults = write_submission(tmp_path / "s", [*runs, tmp_path / "bad.txt"], TOPICS)
    assert len(faults) == 2
    assert not (tmp_path / "s").exists()


def test_a_folder_that_holds_something_is_left_alone(runs, tmp_path):
    (tmp_path / "s").mkdir()
    write_submission(tmp_path / "s", runs, TOPICS)
    before = (tmp_path / "s" / "SHA256SUMS").read_bytes()
    with pytest.raises(OutputError, match="is there already"):
        write_submission(tmp_path / "s", runs[:1], TOPICS)
    assert (tmp_path / "s" / "SHA256SUMS").read_bytes() == before


def _compare(folder: Path, *arguments: str | Path):
    _write(folder / "qrels.txt", "1 0 d1 1")
    _write(folder / "topics.tsv", *("\t".join(topic) for topic in TOPICS.items()))
    _write(folder / "docs.jsonl", '{"id": "d1", "contents": "x"}', '{"id": "d2", "contents": "y"}')
    given = ["--qrels", folder / "qrels.txt", "--resamples", "100", "--submission", folder / "s", *arguments]
    return CliRunner().invoke(compare, list(map(str, given)))


def test_by_the_command(runs, tmp_path):
    done = _compare(tmp_path, *runs, "--topics", tmp_path / "topics.tsv", "--collection", tmp_path / "docs.jsonl")
    assert done.exit_code == 0, done.output
    assert done.stderr.endswith(f"wrote 2 runs into {tmp_path / 's'}\n")
    assert "every docid is in the collection" in (tmp_path / "s" / "README.md").read_text()


def test_the_command_lists_every_fault(runs, tmp_path):
    bad = _write(tmp_path / "bad.txt", "1 Q0 d1 1 1 t", "1 Q0 d9 3 0 t")
    topics, collection = tmp_path / "topics.tsv", tmp_path / "docs.jsonl"
    done = _compare(tmp_path, runs[0], bad, "--topics", topics, "--collection", collection)
    assert isinstance(done.exception, InputError)
    assert str(done.exception) == "3 faults in 2 runs, each named above; nothing was submitted"
    assert done.stderr.splitlines()[-3:] == [
        f"{bad}:2: the rank of query 1 is 3 where 2 is expected: number the lines from 1",
        f"{bad}: lacks topics: 2",
        f"{bad}: the collection lacks documents: d9",
    ]
    assert not (tmp_path / "s").exists()


def test_the_command_wants_topics(runs, tmp_path):
    done = _compare(tmp_path, *runs)
    assert done.exit_code == 2
    assert "--topics" in done.stderr


def test_a_recipe_leaves_its_reranked_runs_ready(runs, tmp_path):
    make_cross_encoder(tmp_path / "model", "bert")
    _write(tmp_path / "topics.tsv", *(f"{qid}\t{text}" for qid, text in TOPICS.items()))
    _write(tmp_path / "docs.jsonl", '{"id": "d1", "contents": "heat"}', '{"id": "d2", "contents": "a shock"}')
    recipe = _write(
        tmp_path / "recipe.yaml",
        f"topics: topics.tsv\ncollection: docs.jsonl\ncandidates: {runs[0].name}",
        f"rerank: [{{model: {tmp_path / 'model'}, name: mine}}]",
    )
    done = CliRunner().invoke(run, [str(recipe), "--submission", str(tmp_path / "s"), "--quiet"])
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["README.md", "SHA256SUMS", "mine.txt.gz"]


def test_published_runs_are_ready(shared_data):
    folder = shared_data / "trec-dl"
    topics = {line.split("\t")[0] for line in (folder / "topics.dl20.tsv").read_text().splitlines()}
    paths = [folder / "runs" / f"run.dl20.{name}.top100.txt" for name in ("splade-pp", "repllama")]
    runs, faults = check_runs(paths, topics, Rules(depth=100))
    assert not faults
    assert [run.queries for run in runs] == [len(topics)] * 2
