from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from scipy import stats

from reranker_kd.cli.compare import compare
from reranker_kd.errors import FormatError, InputError
from reranker_kd.evaluate.evaluation import evaluate
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import read_run
from reranker_kd.provenance import write_provenance


def run_command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(compare, list(map(str, arguments)))


def document_of(*arguments: str | Path) -> dict:
    result = run_command(*arguments, "--format", "json")
    assert result.exception is None, result.exception
    return json.loads(result.stdout)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("qrels.txt").write_text("1 0 a 2\n1 0 b 1\n2 0 a 1\n3 0 c 1\n")
    Path("good.txt").write_text("1 Q0 a 1 2 t\n1 Q0 b 2 1 t\n2 Q0 a 1 1 t\n3 Q0 c 1 1 t\n")
    Path("bad.txt").write_text("1 Q0 x 1 2 t\n1 Q0 a 2 1 t\n2 Q0 x 1 2 t\n2 Q0 a 2 1 t\n3 Q0 x 1 1 t\n")
    return tmp_path


def test_published_runs(shared_data: Path) -> None:
    folder = shared_data / "trec-dl"
    names = ("splade-pp", "bm25", "repllama")
    runs = [folder / "runs" / f"run.dl20.{name}.top100.txt" for name in names]
    document = document_of("--qrels", folder / "qrels.dl20.txt", *runs, "-m", "nDCG@10", "-q", "--candidates", runs[1])
    splade, bm25, repllama = document["runs"]
    assert [round(run["measures"]["nDCG@10"], 4) for run in document["runs"]] == [0.7197, 0.4796, 0.7195]
    found = [run["differences"]["nDCG@10"] for run in (bm25, repllama)]
    for test in ("t_test", "randomisation"):
        assert [difference[test]["significant"] for difference in found] == [True, False]
        # Holm's, of two: twice the lesser, and no less than that for the other.
        lesser, other = (difference[test]["p_value"] for difference in found)
        assert lesser < other
        assert [difference[test]["corrected"] for difference in found] == [2 * lesser, max(2 * lesser, other)]
    figures = [[query["nDCG@10"] for query in run["per_query"].values()] for run in document["runs"]]
    assert found[0]["t_test"]["p_value"] == stats.ttest_rel(figures[1], figures[0]).pvalue
    evaluation = evaluate(read_run(runs[1]), read_qrels(folder / "qrels.dl20.txt"), ["nDCG@10"])
    assert figures[1] == pytest.approx(list(evaluation.per_query["nDCG@10"].values()), abs=1e-12)
    assert splade["ceiling"] == bm25["ceiling"], "both of the candidates"
    assert bm25["ceiling"]["depth"] == 100
    assert bm25["ceiling"]["oracle"]["nDCG@10"] > bm25["measures"]["nDCG@10"]


def test_table(folder: Path) -> None:
    result = run_command("--qrels", "qrels.txt", "good.txt", "bad.txt", "-m", "RR")
    assert result.exit_code == 0, result.exception
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["good.txt", "1.0000", "1.0000", "1.0000", "2"] in lines
    assert ["bad.txt", "0.3333", "0.6667", "0.5000", "2"] in lines
    assert "W/T/L" in result.stdout and "0/0/3" in result.stdout


def test_other_formats_and_a_file(folder: Path) -> None:
    arguments = ("--qrels", "qrels.txt", "good.txt", "bad.txt", "-m", "RR")
    rows = list(csv.DictReader(io.StringIO(run_command(*arguments, "--format", "csv").stdout)))
    assert [(row["run"], row["measure"], row["losses"]) for row in rows] == [
        ("good.txt", "RR", ""),
        ("bad.txt", "RR", "3"),
    ]
    assert "| good.txt | 1.0000 |" in run_command(*arguments, "--format", "markdown").stdout
    latex = run_command(*arguments, "--format", "latex", "--output", "out/table.tex")
    assert latex.stdout == ""
    written = Path("out/table.tex").read_text(encoding="utf-8")
    assert written.count(r"\begin{tabular}") == written.count(r"\end{tabular}") == 3
    assert r"-66.7 \%" in written


def test_seeds_and_folds(folder: Path) -> None:
    lines = Path("good.txt").read_text().splitlines(keepends=True)
    Path("fold1.txt").write_text("".join(lines[:2]))
    Path("fold2.txt").write_text("".join(lines[2:]))
    arguments = ("--system", "seeds=good.txt,bad.txt", "--system", "folds=fold1.txt,fold2.txt")
    document = document_of("--qrels", "qrels.txt", *arguments, "-m", "RR")
    seeds, folds = document["runs"]
    assert (seeds["kind"], folds["kind"]) == ("seeds", "folds")
    assert seeds["spread"]["RR"]["figures"] == pytest.approx([1, 1 / 3])
    assert seeds["measures"]["RR"] == pytest.approx(2 / 3)
    assert folds["measures"]["RR"] == 1
    assert folds["missing_queries"] == []


def test_equal_runs(folder: Path) -> None:
    Path("copy.txt").write_text(Path("good.txt").read_text())
    document = document_of("--qrels", "qrels.txt", "good.txt", "copy.txt", "-m", "AP")
    difference = document["runs"][1]["differences"]["AP"]
    assert difference["mean"] == difference["effect_size"] == 0
    assert difference["t_test"]["p_value"] == difference["randomisation"]["p_value"] == 1
    (agreement,) = document["agreement"]
    assert (agreement["rbo"], agreement["overlap"]) == (pytest.approx(1), 1)


def test_one_query(folder: Path) -> None:
    Path("one.txt").write_text("1 0 a 1\n")
    difference = document_of("--qrels", "one.txt", "good.txt", "bad.txt")["runs"][1]["differences"]["RR@10"]
    assert difference["t_test"]["p_value"] is None
    assert difference["randomisation"]["p_value"] == 1


def test_runs_without_a_common_query(folder: Path) -> None:
    Path("first.txt").write_text("1 Q0 a 1 2 t\n")
    Path("second.txt").write_text("2 Q0 a 1 2 t\n")
    result = run_command("--qrels", "qrels.txt", "first.txt", "second.txt", "--format", "json")
    assert json.loads(result.stdout)["agreement"][0]["rbo"] is None
    assert result.stderr.splitlines()[0] == "first.txt lacks 2 of the 3 queries of the qrels; they count as zero"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["good.txt", "good.txt"], "good.txt is given twice"),
        (["good.txt", "./good.txt"], "are the same file"),
        (["good.txt", "--system", "s=bad.txt,bad.txt"], "bad.txt is given twice"),
        (["good.txt", "--system", "good.txt=bad.txt"], "good.txt is given twice"),
        (["good.txt", "bad.txt", "--baseline", "absent"], "the baseline absent is none of the runs"),
        (["good.txt", "bad.txt", "-m", "num_ret"], "num_ret is no mean over queries"),
        (["good.txt", "other.txt"], "other.txt: run and qrels share no query"),
        (["good.txt", "--cost", "qrels.txt"], "qrels.txt: Invalid JSON"),
    ],
)
def test_bad_input(folder: Path, arguments: list[str], message: str) -> None:
    Path("other.txt").write_text("9 Q0 a 1 1 t\n")
    result = run_command("--qrels", "qrels.txt", *arguments)
    assert isinstance(result.exception, InputError)
    assert message in str(result.exception)
    assert "\n" not in str(result.exception)


def test_nan_is_named_with_its_line(folder: Path) -> None:
    Path("nan.txt").write_text("1 Q0 a 1 2 t\n1 Q0 b 2 nan t\n")
    result = run_command("--qrels", "qrels.txt", "good.txt", "nan.txt")
    assert isinstance(result.exception, FormatError)
    assert str(result.exception).startswith("nan.txt:2:")


def test_cost(folder: Path) -> None:
    for run, model, seconds in (("good.txt", "cross", 3.0), ("bad.txt", "twin", 0.3)):
        record = {"model": {"name": model}, "counts": {"topics": 3, "pairs": 6}, "seconds": {"rerank": seconds}}
        write_provenance(run, record)
    entry = {"model": "twin", "query_ms": {"p50": 5.0}, "parameters": 7, "encoding_seconds": 10}
    Path("benchmark.json").write_text(json.dumps({"models": [entry]}))
    cross, twin = document_of("--qrels", "qrels.txt", "good.txt", "bad.txt", "--cost", "benchmark.json")["runs"]
    assert (cross["model"], cross["cost"]["query_ms"]) == ("cross", 1000)
    assert (twin["cost"]["query_ms"], twin["cost"]["parameters"]) == (5, 7)
    assert twin["cost"]["pays_from_queries"] == {"good.txt": 11}
    Path("good.txt").write_text(Path("bad.txt").read_text())
    assert document_of("--qrels", "qrels.txt", "good.txt")["runs"][0]["cost"] is None, "of another run"


@pytest.mark.parametrize("arguments", [["--qrels", "q"], ["run"], ["--qrels", "q", "r", "--system", "x"]])
def test_wrong_usage(arguments: list[str]) -> None:
    assert run_command(*arguments).exit_code == 2
