"""A distillation that was killed, twice: the same command again makes the very student that it would have made."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from make_tiny_recipes import VALIDATION, make_tiny_workplace, one_thread, tiny_recipe, write_recipe

from reranker_kd.cli import main

pytestmark = pytest.mark.slow

QUERIES = 220
"""With 26 documents each more pairs than two blocks of the score cache, so that there is a first part to wait for."""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = make_tiny_workplace(tmp_path_factory.mktemp("workplace"))
    draw = random.Random(1)
    words = "heat flow wing shock wave dog cat river water computer memory law court tax nurse drug".split()
    many = "".join(f"m{n}\t{' '.join(draw.sample(words, 4))}\n" for n in range(QUERIES))
    (folder / "many.tsv").write_text(many)
    # Masks and dropout are drawn at every step, and projections begin at random.
    settings = tiny_recipe(
        "tinybert",
        student={"dropout": 0.1, "layers": 1, "hidden_size": 16, "heads": 2},
        transfer_set={"queries": "many.tsv", "draws": [{"source": "random", "count": 26}]},
        training={"steps": 40, "save_every": 5},
        validation={**VALIDATION, "every": 5},
        domain_pretraining=6,
    )
    with one_thread():
        yield write_recipe(folder, settings)


def _kill_once(recipe: Path, output: Path, there: Callable[[], bool]) -> None:
    """Run the command in a process of its own and kill it, with no time to tidy up, once something is there."""
    command = [sys.executable, "-m", "reranker_kd", "distill", str(recipe), "--output", str(output), "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while not there():
            assert process.poll() is None, f"it ended before it could be killed: {process.stderr.read()!r}"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def _scored(work: Path) -> int:
    """Return how many scores are kept."""
    databases = list(work.glob("scores/*/scores.sqlite3"))
    if not databases:
        return 0
    with closing(sqlite3.connect(databases[0])) as database:
        try:
            return database.execute("SELECT count(*) FROM scores").fetchone()[0]
        except sqlite3.OperationalError:
            # Its table is yet to be made.
            return 0


def _distill(recipe: Path, output: Path) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["distill", str(recipe), "--output", str(output), "--quiet"])
    assert stopped.value.code == 0


def test_killed_twice_it_is_the_same_student(recipe, tmp_path):
    killed, work = tmp_path / "killed", tmp_path / "killed" / ".work"

    _kill_once(recipe, killed, lambda: _scored(work) > 0)
    scored = _scored(work)
    assert 0 < scored < QUERIES * 26
    assert not list(work.glob("checkpoints-*"))

    # While the second checkpoint is written: only the first one is whole.
    _kill_once(recipe, killed, lambda: (work / "checkpoints-3/checkpoint-10").exists())
    assert not (work / "stage-3.safetensors").exists() and not (killed / "model.safetensors").exists()
    done = {path: path.stat().st_mtime_ns for path in sorted(work.glob("stage-*"))}
    assert len(done) == 4
    assert _scored(work) > scored

    _distill(recipe, killed)
    assert {path: path.stat().st_mtime_ns for path in done} == done

    _distill(recipe, tmp_path / "undisturbed")
    weights = [(folder / "model.safetensors").read_bytes() for folder in (killed, tmp_path / "undisturbed")]
    assert weights[0] == weights[1]
    logs = [json.loads((folder / "report/log.json").read_text()) for folder in (killed, tmp_path / "undisturbed")]
    # All but the seconds that it took.
    timeless = [[[e for e in entries if "train_runtime" not in e] for entries in log] for log in logs]
    assert timeless[0] == timeless[1]
