"""Bad input gets one clear line with file, line and remedy, exit status 1, and no output file is harmed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reranker_kd.cli import main
from reranker_kd.retrieve.indexing import build_index

OLD_RUN = "1 Q0 old 1 1.0 from-before\n"


@pytest.fixture
def inputs(tmp_path, cross_encoder_folder, monkeypatch):
    """A working set of inputs, to be broken by each test."""
    monkeypatch.chdir(tmp_path)
    Path("run.txt").write_text("".join(f"1 Q0 d{i} {i} {10 - i}.5 bm25\n" for i in range(1, 6)))
    Path("topics.tsv").write_text("1\theat flow\n")
    Path("docs.tsv").write_text("".join(f"d{i}\tdocument number {i} of heat\n" for i in range(1, 6)))
    Path("qrels.txt").write_text("1 0 d1 1\n")
    Path("out.txt").write_text(OLD_RUN)
    shutil.copytree(cross_encoder_folder, "model")
    return tmp_path


RERANK = "rerank --candidates run.txt --topics topics.tsv --collection docs.tsv --model model --output out.txt --quiet"


def _fails(capsys, command: str, *expected: str) -> str:
    """Run a command that must fail with one line of error that matches the patterns; return that line."""
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert stopped.value.code == 1, captured.err
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    for pattern in expected:
        assert re.search(pattern, lines[0]), lines[0]
    assert Path("out.txt").read_text() == OLD_RUN
    assert not list(Path.cwd().glob(".*.part"))
    return lines[0]


def test_the_inputs_work_unbroken(inputs, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(RERANK.split())
    assert stopped.value.code == 0, capsys.readouterr().err
    assert len(Path("out.txt").read_text().splitlines()) == 5


@pytest.mark.parametrize("at", [1, 5000, 10_000])
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1 Q0 d7 1 bm25", r"6 (columns|words)"),
        ("1 Q0 d7 1 high bm25", "score"),
        ("1 Q0 d7 1 nan bm25", "score"),
        ("1 Q0 d7 first 1.0 bm25", "rank"),
    ],
)
@pytest.mark.parametrize("command", [RERANK, "evaluate --qrels qrels.txt run.txt"])
def test_a_malformed_line_anywhere_in_ten_thousand(inputs, capsys, command, line, expected, at):
    lines = [f"1 Q0 d{i} {i} {20_000 - i} bm25" for i in range(10_000)]
    lines[at - 1] = line
    Path("run.txt").write_text("\n".join(lines))
    _fails(capsys, command, rf"run\.txt:{at}: ", expected)


def test_a_docid_twice_in_a_query(inputs, capsys):
    Path("run.txt").write_text("1 Q0 d1 1 2.0 bm25\n1 Q0 d2 2 1.5 bm25\n1 Q0 d1 3 1.0 bm25\n")
    _fails(capsys, RERANK, r"run\.txt:3: ", "d1")


def test_an_unknown_topic(inputs, capsys):
    Path("run.txt").write_text("1 Q0 d1 1 2.0 bm25\n2 Q0 d1 1 2.0 bm25\n")
    _fails(capsys, RERANK, r"run\.txt:2: query '2': not among the topics")


def test_a_docid_that_the_collection_lacks(inputs, capsys):
    with Path("run.txt").open("a") as stream:
        stream.write("1 Q0 stray 6 0.5 bm25\n")
    _fails(capsys, RERANK, r"run\.txt:6: query '1': document 'stray' is not in the index or collection")


@pytest.mark.slow
def test_a_docid_that_the_index_lacks(inputs, capsys):
    build_index("docs.tsv", "index")
    with Path("run.txt").open("a") as stream:
        stream.write("1 Q0 stray 6 0.5 bm25\n")
    command = RERANK.replace("--collection docs.tsv", "--index index")
    _fails(capsys, command, r"run\.txt:6: query '1': document 'stray' is not in the index or collection")


def test_an_index_without_stored_text(inputs, capsys):
    build_index("docs.tsv", "warm-up")
    from pyserini.index.lucene import LuceneIndexer

    bare = LuceneIndexer(str(inputs / "bare"), threads=1)
    bare.add_doc_dict({"id": "d1", "contents": "heat flow"})
    bare.close()
    Path("run.txt").write_text("1 Q0 d1 1 2.0 bm25\n")
    command = RERANK.replace("--collection docs.tsv", "--index bare")
    _fails(capsys, command, "bare: stores no text of its documents .*rebuild it with reranker-kd index")


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_query(inputs, capsys, text):
    Path("topics.tsv").write_text(f"2\tfine\n1\t{text}\n")
    _fails(capsys, RERANK, r"topics\.tsv:2: topic 1 has no query text")


def test_an_empty_document(inputs, capsys):
    Path("docs.tsv").write_text("d1\theat\nd2\t \nd3\tc\nd4\td\nd5\te\n")
    _fails(capsys, RERANK, r"run\.txt:2: query '1': document 'd2' is empty")


def test_a_model_folder_without_weights(inputs, capsys):
    Path("model/model.safetensors").unlink()
    _fails(capsys, RERANK, r"model: holds no weights: expected model\.safetensors, as save_pretrained")


def test_a_model_that_is_nowhere(inputs, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    _fails(
        capsys, RERANK.replace("--model model", "--model nobody/no-such-model"), "nobody/no-such-model: no such folder"
    )


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("run.txt", RERANK),
        ("topics.tsv", RERANK),
        ("docs.tsv", RERANK),
        ("qrels.txt", "evaluate --qrels qrels.txt run.txt"),
    ],
)
def test_a_missing_file(inputs, capsys, name, command):
    Path(name).unlink()
    _fails(capsys, command, rf"{re.escape(name)}: ")


def test_an_output_that_is_a_folder(inputs, capsys):
    Path("folder").mkdir()
    _fails(capsys, RERANK.replace("--output out.txt", "--output folder"), "folder: is a folder; name a file")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_as_a_device(inputs, capsys):
    _fails(capsys, RERANK.replace("--output out.txt", "--output /dev/full"), "No space left on device")


@pytest.mark.slow
def test_a_full_disk_leaves_the_old_run(inputs):
    # A limit on the size of files stands for a disk that fills up while the run is written.
    Path("run.txt").write_text("".join(f"1 Q0 d{i} {i} {10_000 - i} bm25\n" for i in range(1, 3001)))
    Path("docs.tsv").write_text("".join(f"d{i}\tdocument {i}\n" for i in range(1, 3001)))
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); "
        "from reranker_kd.cli import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", program, *RERANK.split(), "--depth", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.search(r"^error: out\.txt: cannot write: File too large; the file is as it was$", done.stderr, re.M)
    assert Path("out.txt").read_text() == OLD_RUN
    assert sorted(path.name for path in Path.cwd().iterdir() if "out" in path.name) == ["out.txt"]


def test_a_java_that_is_too_old(inputs):
    build_index("docs.tsv", "index")
    Path("java17").mkdir()
    Path("java17/release").write_text('JAVA_VERSION="17.0.15"\n')
    command = [sys.executable, "-m", "reranker_kd", "retrieve", "--index", "index", "--topics", "topics.tsv"]
    done = subprocess.run(
        [*command, "--output", "out.txt"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAVA_HOME": str(Path("java17").resolve())},
    )
    assert done.returncode == 1
    assert re.fullmatch(r"error: JAVA_HOME=\S+ is Java 17, Anserini needs 21 or newer: .*\n", done.stderr)
    assert Path("out.txt").read_text() == OLD_RUN


def test_a_recipe_with_an_unknown_key(inputs, capsys):
    Path("recipe.yaml").write_text("topics: topics.tsv\ncollection: docs.tsv\nretrieve: {hit: 10}\n")
    _fails(capsys, "run recipe.yaml --output folder", r"recipe\.yaml: retrieve\.hit: is not a key that is known here")
    assert not Path("folder").exists()


@pytest.mark.parametrize(
    "command",
    [
        "rerank --topics topics.tsv --model model --output out.txt",
        "rerank --topics topics.tsv --model model --output out.txt --collection docs.tsv",
        "rerank --candidates run.txt --topics topics.tsv --model a --model b --output out.txt --collection docs.tsv",
        "rerank --no-such-option",
        "no-such-verb",
    ],
)
def test_wrong_usage_exits_with_2(inputs, capsys, command):
    with pytest.raises(SystemExit) as stopped:
        main(command.split())
    assert stopped.value.code == 2
    assert "Error: " in capsys.readouterr().err


def test_validate_names_every_fault(inputs, capsys):
    Path("run.txt").write_text("1 Q0 d1 1 x bm25\n1 Q0 d2 2 1.0 bm25\n1 Q0 d2 3 0.5 bm25\n1 Q0\n")
    with pytest.raises(SystemExit) as stopped:
        main(["validate", "run.txt"])
    captured = capsys.readouterr()
    assert stopped.value.code == 1
    assert [line.split(": ")[0] for line in captured.out.splitlines()] == ["run.txt:1", "run.txt:3", "run.txt:4"]


def test_debug_shows_the_traceback(inputs):
    from reranker_kd.errors import FormatError

    Path("run.txt").write_text("1 Q0\n")
    with pytest.raises(FormatError):
        main([*RERANK.split(), "--debug"])


def test_a_recipe_json_is_readable_back(inputs):
    Path("recipe.yaml").write_text("topics: topics.tsv\ncollection: docs.tsv\nqrels: qrels.txt\nretrieve: {hits: 3}\n")
    with pytest.raises(SystemExit) as stopped:
        main(["run", "recipe.yaml", "--output", "folder", "--quiet"])
    assert stopped.value.code == 0
    assert json.loads(Path("folder/recipe.json").read_text())["retrieve"]["hits"] == 3
