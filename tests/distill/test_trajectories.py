"""Recorded trajectories: each method's losses and gradient norms over six updates, as they were when they were right.

A change of a loss, of a batch's order, of the optimiser or of what enters where shows here as other numbers. Where
they are meant to be others, renew the record and say why in the change's message::

    PYTHONPATH=tests python tests/distill/test_trajectories.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from make_tiny_recipes import make_tiny_workplace, one_thread, tiny_recipe, write_recipe

from reranker_kd.distill.distill import make_student
from reranker_kd.distill.methods import METHODS
from reranker_kd.distill.recipe import read_distill_recipe

RECORD = Path(__file__).parents[1] / "golden" / "distill-trajectories.json"
"""Method -> stage -> update -> the loss, its parts and the norm of the gradient."""

# Nothing that comes out of a decomposition, whose signs are the machine's choice: narrow students start at random.
SHAPES: dict[str, dict[str, Any]] = {
    "simplified-tinybert": {"hidden_size": 16, "heads": 2, "random": True},
    "bert-bilstm": {"random": True},
    "embedding-kd": {"hidden_size": 16, "random": True},
}
OTHER = {"epoch", "step", "learning_rate"}


def trajectory(workplace: Path, output: Path, method: str) -> list[list[dict[str, float]]]:
    """Make a student and return its record."""
    settings = tiny_recipe(
        method, student=SHAPES.get(method, {}), training={"steps": 6, "device": "cpu"}, validation=None
    )
    made = make_student(read_distill_recipe(write_recipe(workplace, settings)), output, quiet=True)
    return [
        [{name: entry[name] for name in sorted(entry.keys() - OTHER)} for entry in entries if "loss" in entry]
        for entries in made.log
    ]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    with one_thread():
        yield make_tiny_workplace(tmp_path_factory.mktemp("workplace"))


@pytest.fixture(scope="module")
def record():
    return json.loads(RECORD.read_text(encoding="utf-8"))


def test_every_method_is_recorded(record):
    assert record.keys() == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_the_trajectory_is_the_recorded_one(workplace, tmp_path, record, method):
    found = trajectory(workplace, tmp_path / "student", method)
    expected = record[method]
    assert [len(stage) for stage in found] == [len(stage) for stage in expected] == [6] * len(METHODS[method].stages)
    for number, (stage, recorded) in enumerate(zip(found, expected, strict=True), start=1):
        for update, (entry, right) in enumerate(zip(stage, recorded, strict=True), start=1):
            # Generous enough for another processor's rounding.
            assert entry == pytest.approx(right, rel=1e-3, abs=1e-6), f"{method}, stage {number}, update {update}"


def renew() -> None:
    """Write the record anew."""
    with tempfile.TemporaryDirectory() as name, one_thread():
        folder = make_tiny_workplace(Path(name))
        record = {method: trajectory(folder, folder / f"of-{method}", method) for method in METHODS}
    RECORD.parent.mkdir(exist_ok=True)
    RECORD.write_text(_six_digits(record), encoding="utf-8")


def _six_digits(record: Any) -> str:
    rounded = json.loads(json.dumps(record), parse_float=lambda digits: float(f"{float(digits):.6g}"))
    lines = [
        f"  {json.dumps(method)}: [\n"
        + ",\n".join(
            "    [\n" + ",\n".join(f"      {json.dumps(entry)}" for entry in stage) + "\n    ]" for stage in stages
        )
        + "\n  ]"
        for method, stages in rounded.items()
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    renew()
