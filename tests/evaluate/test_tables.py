from __future__ import annotations

import json

import pytest

from reranker_kd.evaluate.evaluation import Evaluation, evaluate
from reranker_kd.evaluate.grid import tab_separated, table_text
from reranker_kd.evaluate.measures import parse_measures
from reranker_kd.evaluate.tables import evaluation_json, evaluation_table
from reranker_kd.types import Run

BOLD = "\x1b[1m"
QRELS = {"1": {"a": 1, "b": 1, "c": 1}, "2": {"a": 1}}
MEASURES = ("AP", "recip_rank", "num_ret")


def evaluated(name: str, run: Run) -> tuple[str, Evaluation]:
    return name, evaluate(run, QRELS, MEASURES)


@pytest.fixture
def runs() -> list[tuple[str, Evaluation]]:
    # Query 1: AP 2/3 of the first run, 1/3 of the second. Query 2: 1/2 of the first, which the second lacks.
    return [
        evaluated("bm25.txt", {"1": {"a": 2.0, "b": 1.0}, "2": {"x": 2.0, "a": 1.0}}),
        evaluated("student [kd].txt", {"1": {"a": 1.0}}),
    ]


def test_table(runs: list[tuple[str, Evaluation]]) -> None:
    assert table_text(evaluation_table(runs), styled=False).splitlines() == [
        "run                   AP  recip_rank  num_ret",
        "bm25.txt          0.5833      0.7500        4",
        "student [kd].txt  0.1667      0.5000        1",
    ]


def test_table_per_query(runs: list[tuple[str, Evaluation]]) -> None:
    assert table_text(evaluation_table(runs, per_query=True), styled=False).splitlines() == [
        "run               qid      AP  recip_rank  num_ret",
        "bm25.txt          1    0.6667      1.0000        2",
        "bm25.txt          2    0.5000      0.5000        2",
        "bm25.txt          all  0.5833      0.7500        4",
        "student [kd].txt  1    0.3333      1.0000        1",
        "student [kd].txt  2    0.0000      0.0000        0",
        "student [kd].txt  all  0.1667      0.5000        1",
    ]


def test_best_figures_are_bold_on_a_terminal(runs: list[tuple[str, Evaluation]]) -> None:
    _, best, other = table_text(evaluation_table(runs), styled=True).splitlines()
    assert best.count(BOLD) == 2, "AP and recip_rank, not the count"
    assert f"{BOLD}0.5833" in best
    assert BOLD not in other


def test_all_runs_that_print_the_best_figure_are_bold(runs: list[tuple[str, Evaluation]]) -> None:
    lines = table_text(evaluation_table([runs[0], runs[0], runs[1]]), styled=True).splitlines()
    assert [line.count(BOLD) for line in lines[1:]] == [2, 2, 0]


def test_no_figure_is_best_of_one_run(runs: list[tuple[str, Evaluation]]) -> None:
    assert BOLD not in table_text(evaluation_table(runs[:1]), styled=True).splitlines()[1]


def test_wide_table_is_not_cut() -> None:
    name = "a/very/long/path" * 20
    measures = parse_measures(["all_trec"])
    wide = [(name, evaluate({"1": {"a": 1.0}}, QRELS, ["all_trec"]))]
    header, row = table_text(evaluation_table(wide), styled=False).splitlines()
    assert header.split() == ["run", *(measure.name for measure in measures)]
    assert row.split()[0] == name
    assert len(row.split()) == len(measures) + 1


def test_tsv(runs: list[tuple[str, Evaluation]]) -> None:
    assert tab_separated(evaluation_table(runs)).splitlines() == [
        "run\tAP\trecip_rank\tnum_ret",
        "bm25.txt\t0.5833\t0.7500\t4",
        "student [kd].txt\t0.1667\t0.5000\t1",
    ]


def test_tsv_per_query(runs: list[tuple[str, Evaluation]]) -> None:
    assert tab_separated(evaluation_table(runs[1:], per_query=True)).splitlines() == [
        "run\tqid\tAP\trecip_rank\tnum_ret",
        "student [kd].txt\t1\t0.3333\t1.0000\t1",
        "student [kd].txt\t2\t0.0000\t0.0000\t0",
        "student [kd].txt\tall\t0.1667\t0.5000\t1",
    ]


def test_json(runs: list[tuple[str, Evaluation]]) -> None:
    text = evaluation_json(runs, qrels="qrels.txt", relevance_level=1, missing_as_zero=True)
    assert json.loads(text) == {
        "qrels": "qrels.txt",
        "relevance_level": 1,
        "missing_as_zero": True,
        "runs": [
            {
                "run": "bm25.txt",
                "measures": {"AP": (2 / 3 + 1 / 2) / 2, "recip_rank": 0.75, "num_ret": 4},
                "queries": 2,
                "missing_queries": [],
                "unjudged_queries": 0,
            },
            {
                "run": "student [kd].txt",
                "measures": {"AP": 1 / 6, "recip_rank": 0.5, "num_ret": 1},
                "queries": 2,
                "missing_queries": ["2"],
                "unjudged_queries": 0,
            },
        ],
    }
    assert '"num_ret": 4,' in text.replace("\n", ","), "a count is a whole number"


def test_json_per_query(runs: list[tuple[str, Evaluation]]) -> None:
    document = json.loads(evaluation_json(runs, qrels="dl20", relevance_level=2, missing_as_zero=False, per_query=True))
    assert (document["relevance_level"], document["missing_as_zero"]) == (2, False)
    assert document["runs"][1]["per_query"] == {
        "1": {"AP": 1 / 3, "recip_rank": 1.0, "num_ret": 1},
        "2": {"AP": 0.0, "recip_rank": 0.0, "num_ret": 0},
    }


def test_table_with_the_cost_of_a_query(runs: list[tuple[str, Evaluation]]) -> None:
    table = evaluation_table(runs, milliseconds={"bm25.txt": None, "student [kd].txt": 12.34})
    assert table_text(table, styled=False).splitlines()[1:] == [
        "bm25.txt          0.5833      0.7500        4",
        "student [kd].txt  0.1667      0.5000        1      12.3",
    ]
