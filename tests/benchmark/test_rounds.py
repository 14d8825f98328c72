"""Systems in turns: what they are asked, and what becomes of those that cannot run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reranker_kd.benchmark.rounds import Outcome, run_rounds
from reranker_kd.benchmark.systems import System
from reranker_kd.types import Candidate, Query

DOG = Candidate("d2", text="a dog by the river")
WORKLOAD = [
    (Query("1", "heat flow"), [Candidate("d1", text="heat flow over a plate"), DOG]),
    (Query("2", "the dog"), [DOG]),
]


@pytest.fixture
def bare_python(tmp_path) -> str:
    """A Python without packages."""
    path = tmp_path / "bare"
    path.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} -S "$@"\n')
    path.chmod(0o755)
    return str(path)


def _outcome(system: System) -> Outcome:
    outcomes, _ = run_rounds([system], WORKLOAD, {"max_length": 32}, repeats=1, on_event=lambda _: None)
    return outcomes[system]


def _failure(system: System) -> str | None:
    return _outcome(system).error


def test_scores_come_by_query_and_measurements_by_round(workplace):
    system = System("overlap")
    outcomes, rates = run_rounds([system], WORKLOAD, {"max_length": 32}, repeats=2, on_event=lambda _: None)
    outcome = outcomes[system]
    timings = outcome.timings
    assert outcome.scores == [[2, 0], [2]]
    assert [len(timings.cold_start_s), len(timings.seconds), len(rates)] == [2, 2, 2]
    assert [len(queries) for queries in timings.query_ms] == [2, 2]


def _peer(folder: Path, name: str, python: str = sys.executable) -> System:
    return System(str(folder), peer=name, file="peers.py", python=python)


def test_a_peer_is_a_function_in_a_file(workplace, cross_encoder_folder, bare_python):
    system = _peer(cross_encoder_folder, "lengths", bare_python)
    outcome = _outcome(system)
    assert (outcome.error, outcome.description) == (None, {"precision": "exact"})
    assert outcome.scores == [[22, 18], [18]]
    assert outcome.software["python"] == sys.version.split()[0] and "torch" not in outcome.software
    assert outcome.folder_bytes > 1000


def test_a_peer_may_convert_the_model_first(workplace, cross_encoder_folder):
    system = _peer(cross_encoder_folder, "prepared")
    outcome = _outcome(system)
    assert outcome.scores == [[23, 19], [19]]
    assert outcome.folder_bytes == 1


def test_peers_that_cannot_run(workplace, cross_encoder_folder):
    assert _failure(_peer(cross_encoder_folder, "needing")) == (
        "ModuleNotFoundError: No module named 'package_that_nobody_has': name a Python that has it by --peer-python, "
        f"in place of {sys.executable}"
    )
    assert _failure(_peer(cross_encoder_folder, "nobody")) == (
        "its process ended with status 1: peers.py: no peer 'nobody'; it has lengths, prepared, needing"
    )
    assert _failure(_peer(cross_encoder_folder, "lengths", "no/python")) == (
        "no/python: cannot be run: No such file or directory"
    )


def test_the_peers_of_our_benchmarks_are_found_without_their_libraries(bare_python):
    folder = Path(__file__).parents[2] / "runs" / "benchmarks"
    program = f"import runpy; print(*runpy.run_path({str(folder / 'peers.py')!r})['PEERS'])"
    names = subprocess.run([bare_python, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert {"sentence-transformers", "flashrank", "rerankers"} < set(names)
