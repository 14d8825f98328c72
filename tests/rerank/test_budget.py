"""Budgets: what is chosen given the timings, and timings by a clock of our own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.cli import main
from reranker_kd.errors import FormatError, InputError
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.budget import milliseconds_a_pair, plan_stages, read_timings, within
from reranker_kd.rerank.cascade import Cascade, Stage
from reranker_kd.types import Candidate, Query


class Timed(Reranker):
    """Takes a given time a pair by a clock that only it moves."""

    def __init__(self, clock, seconds):
        self.clock = clock
        self.seconds = seconds

    def score_pairs(self, pairs):
        self.clock[0] += self.seconds * len(pairs)
        return np.zeros(len(pairs), dtype=np.float32)


def _depths(budget, depths=(100, 50, 20), milliseconds=(0.25, 1.0, 4.0)):
    return plan_stages(["a", "b", "c"][: len(depths)], depths, milliseconds, budget).depths


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (25 + 50 + 80, [100, 50, 20]),
        (25 + 50 + 79.9, [100, 50, 19]),
        (25 + 50 + 7.9, [100, 50]),  # One candidate more would change no order.
        (25 + 10, [100, 10]),
        (25, [100]),
        (10, [40]),
        (0.5, [2]),
    ],
)
def test_the_budget_is_spent_from_the_front(budget, kept):
    assert _depths(budget) == kept


def test_a_budget_that_pays_for_nothing():
    with pytest.raises(InputError, match=r"a: takes 0\.25 ms a pair, so that a budget of 0\.4 ms"):
        _depths(0.4)


def test_a_stage_never_gets_more_than_reaches_it():
    assert _depths(1.25 + 2.0, depths=(100, 50), milliseconds=(1.0, 0.1)) == [3, 2]


@given(st.floats(1, 500), st.floats(0, 500), st.lists(st.floats(0.01, 9), min_size=3, max_size=3))
def test_more_budget_gives_no_stage_less_until_it_is_spent(budget, more, milliseconds):
    try:
        plan = plan_stages("abc", (90, 40, 10), milliseconds, budget)
    except InputError:
        return
    spent = sum(stage.depth * stage.milliseconds for stage in plan.stages)
    assert spent <= budget * (1 + 1e-9)
    assert plan.depths == sorted(plan.depths, reverse=True)
    # The first stage is served first, so it never loses by a larger budget.
    assert plan_stages("abc", (90, 40, 10), milliseconds, budget + more).depths[0] >= plan.depths[0]


def test_a_cascade_keeps_what_is_paid_for():
    clock = [0.0]
    models = [Timed(clock, 0.001), Timed(clock, 0.002)]
    cascade = Cascade([Stage(models[0], 100), Stage(models[1], 10)])
    both = within(cascade, plan_stages("ab", (100, 10), (1.0, 2.0), 110))
    assert [(stage.reranker, stage.depth) for stage in both.stages] == [(models[0], 100), (models[1], 5)]
    one = within(cascade, plan_stages("ab", (100, 10), (1.0, 2.0), 80))
    assert [(stage.reranker, stage.depth) for stage in one.stages] == [(models[0], 80)]
    assert within(models[0], plan_stages("a", (100,), (1.0,), 80)) is models[0]


def test_milliseconds_are_the_median_of_single_queries():
    clock = [0.0]
    requests = [(Query(str(n), "q"), [Candidate(f"d{i}", -i, "t") for i in range(n)]) for n in (5, 9, 0)]
    model = Timed(clock, 0.003)
    assert milliseconds_a_pair(model, requests, clock=lambda: clock[0]) == pytest.approx(3.0)
    with pytest.raises(InputError, match="at least one query"):
        milliseconds_a_pair(model, requests[2:])


def test_timings_of_a_benchmark(tmp_path):
    path = tmp_path / "benchmark.json"
    entries = [
        {"model": "a", "backend": "torch", "pairs_per_second": 500.0},
        {"model": "a", "backend": "openvino", "pairs_per_second": 2000.0},
        {"model": "b", "pairs_per_second": None, "error": "no such folder"},
    ]
    path.write_text(json.dumps({"models": entries}))
    assert read_timings(path) == {"a": 2.0}


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"models": [{"pairs_per_second": 1}]}', '{"models": [1]}'])
def test_faulty_timings_name_the_file(tmp_path, content):
    path = tmp_path / "benchmark.json"
    path.write_text(content)
    with pytest.raises(FormatError, match=r"benchmark\.json: "):
        read_timings(path)


def test_missing_timings(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_timings(tmp_path / "absent.json")


@pytest.fixture
def workplace(cross_encoder_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        Path(name).symlink_to(cross_encoder_folder)
    Path("docs.tsv").write_text("".join(f"d{i}\theat flow {i}\n" for i in range(12)))
    Path("topics.tsv").write_text("1\theat\n2\tflow\n")
    Path("run.txt").write_text("".join(f"{q} Q0 d{i} {i + 1} {90 - i} x\n" for q in "12" for i in range(12)))
    figures = [{"model": "one", "pairs_per_second": 1000}, {"model": "two", "pairs_per_second": 100}]
    Path("benchmark.json").write_text(json.dumps({"models": figures}))
    return tmp_path


def _rerank(*arguments: str) -> int:
    command = ["rerank", "--candidates", "run.txt", "--topics", "topics.tsv", "--collection", "docs.tsv", "--quiet"]
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--output", "out.txt", *arguments])
    return stopped.value.code


def test_the_command_says_what_it_chose(workplace, capsys):
    assert _rerank("--model", "one:10 > two:5", "--budget-ms", "45", "--timings", "benchmark.json") == 0
    said = capsys.readouterr().err
    assert "budget of 45 ms a query: 10 of 10 candidates by one at 1 ms, 3 of 5 candidates by two at 10 ms" in said
    assert "40 ms expected" in said
    record = json.loads(Path("out.txt.provenance.json").read_text())
    assert [stage["depth"] for stage in record["model"]["stages"]] == [10, 3]
    assert [stage["depth"] for stage in record["budget"]["stages"]] == [10, 3]
    assert record["counts"]["pairs"] == 2 * 13


def test_a_single_model_gets_a_depth(workplace):
    assert _rerank("--model", "two", "--budget-ms", "45", "--timings", "benchmark.json") == 0
    record = json.loads(Path("out.txt.provenance.json").read_text())
    assert record["parameters"]["depth"] == 4
    assert record["counts"]["pairs"] == 8


def test_without_timings_the_models_are_measured(workplace, capsys):
    assert _rerank("--model", "one:10 > two:5", "--budget-ms", "1e6") == 0
    assert "10 of 10 candidates by one" in capsys.readouterr().err


def test_timings_that_lack_a_model_or_a_budget(workplace, capsys):
    assert _rerank("--model", "./one", "--budget-ms", "9", "--timings", "benchmark.json") == 1
    assert "has no figure of ./one" in capsys.readouterr().err
    assert _rerank("--model", "one", "--timings", "benchmark.json") == 2


def test_a_recipe_has_budgets_too(workplace):
    Path("recipe.yaml").write_text(
        "topics: topics.tsv\ncollection: docs.tsv\ncandidates: run.txt\n"
        "rerank: [{model: one, depth: 7, budget_ms: 1.0e+6, early_stopping: 3}]\n"
    )
    with pytest.raises(SystemExit) as stopped:
        main(["run", "recipe.yaml", "--output", "out", "--quiet"])
    assert stopped.value.code == 0
    record = json.loads(Path("out/run.one.txt.provenance.json").read_text())
    assert record["budget"]["stages"][0]["depth"] == 7
    assert record["model"]["early_stopping"]["top_k"] == 3
