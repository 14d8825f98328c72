from __future__ import annotations

import subprocess
import sys
from math import isclose
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reranker_kd.errors import InputError
from reranker_kd.evaluate.evaluation import Evaluation, evaluate
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import read_run
from reranker_kd.types import Qrels, Run

# Of trec_eval, in as many calls as it takes: it has one set of parameters for a measure in a call.
WITH_DEFAULTS = ["all_trec", "yaap"]
WITH_PARAMETERS = [
    "P.1,2,7",
    "ndcg_cut.1,3",
    "map_cut.2",
    "success.2",
    "relative_P.3",
    "iprec_at_recall.0.33,.75",
    "Rprec_mult.0.3",
    "set_F.2.0",
    "utility.1,-2,0.5,0",
    "11pt_avg.0.2,0.5",
    "ndcg.1=3.5,2=9.0",
    "ndcg_rel.2=5",
    "Rndcg.1=0.5",
    "G.1=2,3=1.5",
]


def assert_agrees(evaluation: Evaluation, expected: dict[tuple[str, str], float]) -> None:
    ours = {}
    for measure in evaluation.measures:
        printed = "_".join(filter(None, (measure.base, measure.cutoff, measure.parameters)))
        ours[printed, "all"] = evaluation.means[measure.name]
        ours |= {(printed, qid): figure for qid, figure in evaluation.per_query[measure.name].items()}
    assert {key for key in ours if key[1] == "all"} == {key for key in expected if key[1] == "all"}
    # Half of the last decimal that trec_eval prints.
    wrong = {key: (ours[key], figure) for key, figure in expected.items() if abs(ours[key] - figure) > 0.5001e-4}
    assert not wrong, f"(ours, trec_eval's): {wrong}"


def options(names: list[str], *, level: int, complete: bool) -> list[str]:
    asked = [option for name in names for option in ("-m", name)]
    return [*asked, "-l", str(level), *(["-c"] if complete else [])]


def assert_equals_trec_eval(trec_eval: Any, run: Run, qrels: Qrels) -> None:
    for names in (WITH_DEFAULTS, WITH_PARAMETERS):
        for level, complete in ((1, True), (1, False), (2, True), (2, False)):
            evaluation = evaluate(run, qrels, names, relevance_level=level, missing_as_zero=complete)
            expected = trec_eval.of_records(run, qrels, options(names, level=level, complete=complete))
            assert_agrees(evaluation, expected)


@pytest.mark.parametrize(("level", "complete"), [(1, True), (1, False), (2, True), (2, False)])
@pytest.mark.parametrize("names", [WITH_DEFAULTS, WITH_PARAMETERS], ids=["defaults", "parameters"])
@pytest.mark.parametrize("run", ["dl20.bm25", "dl20.bm25-rm3", "dl20.tas-b", "dl21.bm25", "dl21.splade-pp"])
def test_equals_trec_eval_on_published_runs(
    shared_data: Path, trec_eval: Any, run: str, names: list[str], level: int, complete: bool
) -> None:
    run_file = shared_data / "trec-dl" / "runs" / f"run.{run}.top100.txt"
    qrels_file = shared_data / "trec-dl" / f"qrels.{run.partition('.')[0]}.txt"
    evaluation = evaluate(
        read_run(run_file),
        read_qrels(qrels_file),
        names,
        relevance_level=level,
        missing_as_zero=complete,
    )
    assert_agrees(evaluation, trec_eval(run_file, qrels_file, *options(names, level=level, complete=complete)))


def test_cut_reciprocal_rank_equals_trec_eval_on_a_cut_run(shared_data: Path, trec_eval: Any) -> None:
    run_file = shared_data / "trec-dl" / "runs" / "run.dl20.bm25.top100.txt"
    qrels_file = shared_data / "trec-dl" / "qrels.dl20.txt"
    run, qrels = read_run(run_file), read_qrels(qrels_file)
    expected = trec_eval(run_file, qrels_file, "-m", "recip_rank", "-M", "10")
    ours = evaluate(run, qrels, ["RR@10", "RR"])
    by_query = {qid: figure for (_, qid), figure in expected.items() if qid != "all"}
    assert {qid: round(figure, 4) for qid, figure in ours.per_query["RR@10"].items()} == by_query
    assert round(ours.means["RR@10"], 4) == expected["recip_rank", "all"] < ours.means["RR"]


# Printed in ../shared/data/README.md from the publications of the runs.
@pytest.mark.parametrize(
    ("run", "published"),
    [
        ("dl20.bm25", 0.4796),
        ("dl21.bm25", 0.4458),
        ("dl20.tas-b", 0.6854),
        ("dl20.ada2", 0.6759),
        ("dl20.splade-pp", 0.7197),
        ("dl21.splade-pp", 0.6846),
        ("dl20.repllama", 0.7195),
    ],
)
def test_published_ndcg_at_10(shared_data: Path, run: str, published: float) -> None:
    evaluation = evaluate(
        read_run(shared_data / "trec-dl" / "runs" / f"run.{run}.top100.txt"),
        read_qrels(shared_data / "trec-dl" / f"qrels.{run.partition('.')[0]}.txt"),
        ["nDCG@10"],
    )
    assert round(evaluation.means["nDCG@10"], 4) == published


HAND_MADE: dict[str, tuple[Run, Qrels]] = {
    "scores that tie": ({"1": {"a": 1.0, "c": 1.0, "b": 1.0}}, {"1": {"a": 1, "b": 0, "c": 2}}),
    "scores that tie in single precision": (
        {"1": {"a": 1.00000002, "b": 1.00000001, "c": 1.0}},
        {"1": {"a": 3, "b": 1, "c": 0}},
    ),
    "docids that sort by bytes": (
        {"1": {"Z": 1.0, "a": 1.0, "é": 1.0, "10": 1.0, "9": 1.0, "𝔸": 1.0, "ﬀ": 1.0}},
        {"1": {"é": 1, "9": 2, "ﬀ": 1}},
    ),
    "queries that the run lacks": ({"2": {"a": 1.0}}, {"1": {"a": 2}, "2": {"a": 1, "b": 2}, "3": {"a": 0}}),
    "queries that the qrels lack": ({"1": {"a": 1.0}, "9": {"a": 1.0}}, {"1": {"a": 1}}),
    "a query with grade 0 alone": ({"1": {"a": 1.0}, "2": {"a": 2.0, "b": 1.0}}, {"1": {"a": 1}, "2": {"a": 0}}),
    "no query with a relevant document": ({"1": {"a": 1.0}}, {"1": {"a": 0, "b": 0}}),
    "relevant at level 1 alone": ({"1": {"a": 1.0, "b": 2.0}}, {"1": {"a": 1, "b": 0}}),
    "documents that were not judged": ({"1": {"x": 3.0, "a": 2.0, "y": 1.0}}, {"1": {"a": 2, "b": 1}}),
    "negative grades": ({"1": {"a": 3.0, "b": 2.0, "c": 1.0}}, {"1": {"a": -1, "b": -2, "c": 1, "d": -2}}),
    "a query with grade -1 alone": (
        {"1": {"a": 1.0, "b": 0.5}, "2": {"a": 2.0, "b": 1.0}},
        {"1": {"a": 1, "b": 3}, "2": {"a": -1, "c": -1}},
    ),
    "a query with grade -1 alone that the run lacks": ({"1": {"a": 1.0}}, {"1": {"a": 1}, "2": {"a": -1}}),
    "scores below zero": ({"1": {"a": -2.0, "b": -1.0, "c": 0.0, "d": -0.0}}, {"1": {"a": 1, "c": 1}}),
    "grades far apart": ({"1": {"a": 2.0, "b": 1.0}}, {"1": {"a": 1, "b": 100, "c": 7}}),
}


@pytest.mark.parametrize("case", HAND_MADE)
def test_equals_trec_eval_on_hand_made_cases(trec_eval: Any, case: str) -> None:
    assert_equals_trec_eval(trec_eval, *HAND_MADE[case])


QIDS = st.sampled_from([f"q{number}" for number in range(1, 12)])
DOCIDS = st.sampled_from(["a", "B", "b", "é", "𝔸", "ﬀ", *map(str, range(8, 16))])
SCORES = st.sampled_from([1.0, 1.00000001, 1.0000002, 0.1, -1.0, 0.0]) | st.floats(-1e30, 1e30)
# Some grade is not negative: otherwise trec_eval fails or crashes.
GRADES = st.dictionaries(DOCIDS, st.integers(-2, 4), min_size=1).filter(lambda grades: max(grades.values()) >= 0)
RUNS = st.dictionaries(QIDS, st.dictionaries(DOCIDS, SCORES, min_size=1), min_size=1)
QRELS = st.dictionaries(QIDS, GRADES, min_size=1)


@given(run=RUNS, qrels=QRELS)
@settings(max_examples=60)
def test_equals_trec_eval_on_any_run(trec_eval: Any, run: Run, qrels: Qrels) -> None:
    if run.keys() & qrels.keys():
        assert_equals_trec_eval(trec_eval, run, qrels)
    else:
        with pytest.raises(InputError, match="share no query"):
            evaluate(run, qrels, ["AP"])


def test_judged_counts_what_is_there_of_the_top() -> None:
    # Query 1: a and c of the top four, as -1 is for not judged. Query 2 has two documents. The run lacks query 3.
    run = {"1": {"a": 5.0, "b": 4.0, "c": 3.0, "x": 2.0, "d": 1.0}, "2": {"a": 2.0, "b": 1.0}}
    qrels = {"1": {"a": 2, "b": -1, "c": 0, "d": 1}, "2": {"b": 1}, "3": {"a": 1}}
    evaluation = evaluate(run, qrels, ["Judged@4"])
    assert evaluation.per_query["Judged@4"] == {"1": 0.5, "2": 0.5, "3": 0.0}
    assert isclose(evaluation.means["Judged@4"], 1 / 3)
    assert evaluate(run, qrels, ["Judged@4"], missing_as_zero=False).means["Judged@4"] == 0.5


def test_judged_share_of_bm25_by_counting(shared_data: Path) -> None:
    run_file = shared_data / "trec-dl" / "runs" / "run.dl20.bm25.top100.txt"
    qrels = read_qrels(shared_data / "trec-dl" / "qrels.dl20.txt")
    lines = [line.split() for line in run_file.read_text().splitlines()]
    judged = [docid in qrels[qid] for qid, _, docid, rank, *_ in lines if int(rank) <= 10 and qid in qrels]
    evaluation = evaluate(read_run(run_file), qrels, ["Judged@10"])
    assert isclose(evaluation.means["Judged@10"], sum(judged) / len(judged))


def test_level_leaves_ndcg_alone() -> None:
    run, qrels = {"1": {"a": 2.0, "b": 1.0}}, {"1": {"a": 1, "b": 2}}
    measures = ["nDCG@10", "P@1"]
    lenient = evaluate(run, qrels, measures)
    strict = evaluate(run, qrels, measures, relevance_level=2)
    assert strict.means["nDCG@10"] == lenient.means["nDCG@10"]
    assert (lenient.means["P@1"], strict.means["P@1"]) == (1.0, 0.0)


def test_missing_queries_are_named_and_counted_as_asked() -> None:
    run = {"2": {"a": 1.0}, "7": {"a": 1.0}, "3": {}}
    qrels = {"1": {"a": 1}, "2": {"a": 1}, "3": {"b": 1, "a": 0}, "4": {}}
    measures = ["AP", "gm_map", "num_q", "num_rel"]
    complete = evaluate(run, qrels, measures)
    # Query 4 has no judgment, so no qrels file can hold it; query 3 no document, so no run file can.
    assert (complete.missing_queries, complete.unjudged_queries, complete.queries) == (("1", "3"), 1, 3)
    assert complete.per_query["AP"] == {"1": 0.0, "2": 1.0, "3": 0.0}
    assert complete.per_query["gm_map"] == {"1": 0.00001, "2": 1.0, "3": 0.00001}
    assert (complete.means["num_q"], complete.means["num_rel"]) == (3, 3)
    answered = evaluate(run, qrels, measures, missing_as_zero=False)
    assert (answered.missing_queries, answered.unjudged_queries, answered.queries) == (("1", "3"), 1, 1)
    assert answered.per_query["AP"] == {"2": 1.0}
    assert (answered.means["AP"], answered.means["num_q"], answered.means["num_rel"]) == (1.0, 1, 1)


@pytest.mark.parametrize("grade", [-1, -2, -100])
def test_negative_grades_alone_do_no_harm(grade: int) -> None:
    # trec_eval 9.0.4 ends with an error at -1, and crashes below it.
    run = {"0": {"z": 1.0}, "1": {"x": 2.0, "y": 1.0}}
    evaluation = evaluate(run, {"1": {"x": grade}, "0": {"z": 3}}, ["all_trec"])
    first = {name: figures["1"] for name, figures in evaluation.per_query.items()}
    assert (first["map"], first["ndcg"], first["num_rel"], first["num_ret"]) == (0, 0, 0, 2)
    assert first["num_nonrel_judged_ret"] == 0


def test_measures_under_two_names_or_with_two_parameters_stand_side_by_side() -> None:
    run, qrels = {"1": {"a": 2.0, "b": 1.0, "c": 0.5}}, {"1": {"b": 1, "d": 1}}
    names = ["AP", "map", "P@1", "P.2", "set_F.1", "set_F.2", "set_F", "RR", "RR@1", "nDCG", "ndcg.1=3"]
    means = evaluate(run, qrels, names).means
    assert list(means) == names
    assert means["AP"] == means["map"] == 0.25
    assert (means["P@1"], means["P.2"], means["RR"], means["RR@1"]) == (0.0, 0.5, 0.5, 0.0)
    # Precision 1/3, recall 1/2.
    assert isclose(means["set_F"], 0.4) and isclose(means["set_F.1"], 0.4) and not isclose(means["set_F.2"], 0.4)


def test_evaluation_changes_nothing_and_repeats_itself() -> None:
    run, qrels = {"2": {"a": 1.0, "b": 2.0}, "1": {"a": 1.0}}, {"1": {"a": -3}, "2": {"b": 1}}
    before = repr((run, qrels))
    measures = ["P.1,2", "RR@1", "all_trec"]
    assert evaluate(run, qrels, measures) == evaluate(run, qrels, measures)
    assert repr((run, qrels)) == before


def test_level_below_1_is_refused() -> None:
    with pytest.raises(InputError, match="relevance level 0: expected a grade from 1"):
        evaluate({"1": {"a": 1.0}}, {"1": {"a": 1}}, ["AP"], relevance_level=0)


def test_grade_that_can_be_none_is_refused() -> None:
    with pytest.raises(InputError, match="the grade 1700000000; expected at most 1000000"):
        evaluate({"1": {"a": 1.0}}, {"1": {"a": 1_700_000_000}}, ["AP"])


def test_evaluating_loads_neither_torch_nor_java_nor_click() -> None:
    code = "import sys, reranker_kd.evaluate.evaluation; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "pytrec_eval_ext" in modules
    assert not {"torch", "jnius", "pyserini", "click"} & set(modules)
