"""Budgets: what is chosen given the timings, and timings by a clock of our own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reranker_kd.cli import main
from reranker_kd.errors import InputError
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.budget import keep_to_budget, plan_stages
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


def _requests(*counts):
    return [(Query(str(n), "q"), [Candidate(f"d{i}", -i, "t") for i in range(n)]) for n in counts]


@pytest.fixture
def models(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("reranker_kd.rerank.budget.perf_counter", lambda: clock[0])
    return Timed(clock, 0.001), Timed(clock, 0.002)


def test_a_cascade_keeps_what_is_paid_for(models):
    cheap, dear = models
    cascade = Cascade([Stage(cheap, 100), Stage(dear, 10)])
    both, plan = keep_to_budget(cascade, "ab", _requests(100, 100, 0), 100, 111)
    assert [(stage.reranker, stage.depth) for stage in both.stages] == [(cheap, 100), (dear, 5)]
    assert [stage.milliseconds for stage in plan.stages] == pytest.approx([1.0, 2.0])
    one, _ = keep_to_budget(cascade, "ab", _requests(100), 100, 80.5)
    assert [(stage.reranker, stage.depth) for stage in one.stages] == [(cheap, 80)]
    shallow, _ = keep_to_budget(cascade, "ab", _requests(100), 20, 1e6)
    assert [stage.depth for stage in shallow.stages] == [20, 10]


def test_a_model_by_itself_stays_as_it_is(models):
    cheap, _ = models
    kept, plan = keep_to_budget(cheap, ["a"], _requests(5, 9), 100, 80.5)
    assert kept is cheap
    assert plan.depths == [80]


def test_no_candidate_to_measure_on(models):
    with pytest.raises(InputError, match="at least one query"):
        keep_to_budget(models[0], ["a"], _requests(0), 100, 80)


@pytest.fixture
def workplace(cross_encoder_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        Path(name).symlink_to(cross_encoder_folder)
    Path("docs.tsv").write_text("".join(f"d{i}\theat flow {i}\n" for i in range(12)))
    Path("topics.tsv").write_text("1\theat\n2\tflow\n")
    Path("run.txt").write_text("".join(f"{q} Q0 d{i} {i + 1} {90 - i} x\n" for q in "12" for i in range(12)))
    return tmp_path


def _rerank(*arguments: str) -> int:
    command = ["rerank", "--candidates", "run.txt", "--topics", "topics.tsv", "--collection", "docs.tsv", "--quiet"]
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--output", "out.txt", *arguments])
    return stopped.value.code


def test_the_command_says_what_it_chose(workplace, capsys):
    assert _rerank("--model", "one:10 > two:5", "--budget-ms", "1e6") == 0
    assert "budget of 1e+06 ms a query: 10 of 10 candidates by one at" in capsys.readouterr().err
    record = json.loads(Path("out.txt.provenance.json").read_text())
    assert [stage["depth"] for stage in record["model"]["stages"]] == [10, 5]
    assert [stage["depth"] for stage in record["budget"]["stages"]] == [10, 5]
    assert record["counts"]["pairs"] == 2 * 15


def test_a_single_model_gets_a_depth(workplace, monkeypatch):
    ticks = iter(range(1000))
    # Each look at the clock is a second later: a query of 12 candidates takes one.
    monkeypatch.setattr("reranker_kd.rerank.budget.perf_counter", lambda: float(next(ticks)))
    assert _rerank("--model", "two", "--budget-ms", "350") == 0
    record = json.loads(Path("out.txt.provenance.json").read_text())
    assert record["parameters"]["depth"] == 4
    assert record["counts"]["pairs"] == 8


def test_a_recipe_has_budgets_too(workplace):
    Path("recipe.yaml").write_text(
        "topics: topics.tsv\ncollection: docs.tsv\ncandidates: run.txt\n"
        "rerank: [{model: one, depth: 7, budget_ms: 1.0e+6}]\n"
    )
    with pytest.raises(SystemExit) as stopped:
        main(["run", "recipe.yaml", "--output", "out", "--quiet"])
    assert stopped.value.code == 0
    record = json.loads(Path("out/run.one.txt.provenance.json").read_text())
    assert record["budget"]["stages"][0]["depth"] == 7
