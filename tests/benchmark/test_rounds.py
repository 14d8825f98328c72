"""Systems in turns: what they are asked, and what becomes of those that cannot run."""

from __future__ import annotations

import sys
from pathlib import Path

from reranker_kd.benchmark.rounds import Workload, run_rounds
from reranker_kd.benchmark.systems import System

WORKLOAD = Workload(
    qids=("1", "2"),
    queries=("heat flow", "the dog"),
    docids=(("d1", "d2"), ("d2",)),
    texts=(("heat flow over a plate", "a dog by the river"), ("a dog by the river",)),
)


def _failure(system: System) -> str | None:
    rounds = run_rounds([system], WORKLOAD, {"max_length": 32}, repeats=1, on_event=lambda _: None)
    return rounds.outcomes[system].error


def test_scores_come_by_query_and_measurements_by_round(workplace):
    system = System("overlap")
    rounds = run_rounds([system], WORKLOAD, {"max_length": 32}, repeats=2, on_event=lambda _: None)
    outcome = rounds.outcomes[system]
    assert outcome.scores == [[2, 0], [2]]
    assert [len(outcome.starts), len(outcome.passes), len(rounds.rates)] == [2, 2, 2]
    assert [len(queries) for queries in outcome.queries] == [2, 2]


def test_a_peer_that_is_missing_says_how_to_install_it(cross_encoder_folder, tmp_path, monkeypatch):
    # A Python without packages of its own.
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    assert _failure(System(str(cross_encoder_folder), peer="rerankers", python=str(bare))) == (
        f"ModuleNotFoundError: No module named 'rerankers': {bare} -m pip install 'rerankers[transformers]', or name a "
        "Python that has it by --peer-python rerankers=PATH"
    )


def test_a_python_that_is_none(cross_encoder_folder):
    system = System(str(cross_encoder_folder), peer="rerankers", python="no/python")
    assert _failure(system) == "no/python: cannot be run: No such file or directory"


def test_the_peers_script_imports_nothing_of_ours(workplace):
    """It is run by Pythons that have no reranker_kd."""
    from reranker_kd.benchmark import peers

    source = Path(peers.__file__).read_text(encoding="utf-8")
    assert "import reranker_kd" not in source and "from reranker_kd" not in source
