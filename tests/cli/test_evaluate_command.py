from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from reranker_kd.cli.evaluate import evaluate
from reranker_kd.errors import FormatError, InputError

DEFAULTS = ["nDCG@10", "AP", "RR@10", "R@100", "Judged@10"]


def run_command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(evaluate, list(map(str, arguments)))


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A folder of qrels over three queries, a run of them all, and a run that has one of them."""
    (tmp_path / "qrels.txt").write_text("1 0 a 2\n1 0 b 1\n2 0 a 1\n3 0 c 1\n")
    (tmp_path / "whole.txt").write_text("1 Q0 b 1 2.5 t\n1 Q0 a 2 1.5 t\n2 Q0 a 1 1 t\n3 Q0 x 1 1 t\n")
    (tmp_path / "short.txt").write_text("2 Q0 a 1 1 t\n9 Q0 a 1 1 t\n")
    return tmp_path


def test_default_measures_as_a_table(collection: Path) -> None:
    result = run_command("--qrels", collection / "qrels.txt", collection / "whole.txt")
    assert result.exit_code == 0
    header, row = result.stdout.splitlines()
    assert header.split() == ["run", *DEFAULTS]
    assert row.split()[0] == str(collection / "whole.txt")
    assert row.split()[2:] == ["0.6667", "0.6667", "0.6667", "0.6667"]
    assert result.stderr == ""


def test_published_figures_as_json_under_the_names_asked_for(shared_data: Path) -> None:
    folder = shared_data / "trec-dl"
    run = folder / "runs" / "run.dl20.bm25.top100.txt"
    names = ["nDCG@10", "ndcg_cut.10", "MRR@10"]
    result = run_command(
        "--qrels", folder / "qrels.dl20.txt", run, *(o for n in names for o in ("-m", n)), "--format", "json"
    )
    document = json.loads(result.stdout)
    figures = document["runs"][0]["measures"]
    assert list(figures) == names
    assert round(figures["nDCG@10"], 4) == 0.4796
    assert figures["nDCG@10"] == figures["ndcg_cut.10"]
    assert document["runs"][0]["run"] == str(run)


@pytest.mark.parametrize(
    ("option", "precision", "consequence"),
    [("--complete", "0.3333", "they count as zero"), ("--no-complete", "1.0000", "they are left out")],
)
def test_note_of_missing_queries(collection: Path, option: str, precision: str, consequence: str) -> None:
    qrels, whole, short = (collection / name for name in ("qrels.txt", "whole.txt", "short.txt"))
    result = run_command("--qrels", qrels, whole, short, "-m", "P@1", option, "--format", "tsv")
    assert result.stdout.splitlines()[2] == f"{short}\t{precision}"
    assert result.stderr == f"{short} lacks 2 of the 3 queries of the qrels; {consequence}\n"


def test_level_and_per_query(collection: Path) -> None:
    result = run_command(
        "--qrels",
        collection / "qrels.txt",
        collection / "whole.txt",
        "-l",
        "2",
        "-q",
        "-m",
        "RR",
        "--format",
        "tsv",
    )
    assert [line.split("\t")[1:] for line in result.stdout.splitlines()] == [
        ["qid", "RR"],
        ["1", "0.5000"],
        ["2", "0.0000"],
        ["3", "0.0000"],
        ["all", "0.1667"],
    ]


def test_run_that_shares_no_query_is_named(collection: Path) -> None:
    (collection / "other.txt").write_text("9 Q0 a 1 1 t\n")
    result = run_command("--qrels", collection / "qrels.txt", collection / "other.txt")
    assert isinstance(result.exception, InputError)
    assert str(result.exception).startswith(f"{collection / 'other.txt'}: run and qrels share no query")
    assert result.stdout == ""


def test_faulty_run_is_named_with_its_line(collection: Path) -> None:
    (collection / "nan.txt").write_text("1 Q0 a 1 2 t\n1 Q0 b 2 nan t\n")
    result = run_command("--qrels", collection / "qrels.txt", collection / "nan.txt")
    assert isinstance(result.exception, FormatError)
    assert str(result.exception).startswith(f"{collection / 'nan.txt'}:2:")


def test_unknown_measure_is_told_before_files_are_read() -> None:
    result = run_command("--qrels", "absent", "absent", "-m", "nDGC@10")
    assert isinstance(result.exception, InputError)
    assert "did you mean nDCG@10" in str(result.exception)


@pytest.mark.parametrize("arguments", [["run.txt"], ["--qrels", "qrels.txt"], ["--qrels", "q", "run", "-l", "0"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert run_command(*arguments).exit_code == 2
