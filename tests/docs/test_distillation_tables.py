"""docs/distillation.md: its tables have every method, loss, student, teacher and augmentation there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from reranker_kd.distill.data import augmentation
from reranker_kd.distill.methods import KNOWN_LOSSES, METHODS, LossTerm, Stage, loss_options
from reranker_kd.distill.objectives import losses
from reranker_kd.distill.objectives.embedding_losses import EMBEDDING_LOSSES
from reranker_kd.distill.objectives.layer_losses import LAYER_LOSSES
from reranker_kd.distill.recipe import DistillRecipe
from reranker_kd.distill.students import STUDENTS
from reranker_kd.distill.teachers.settings import TEACHERS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "distillation.md").read_text(encoding="utf-8")


def _rows(heading: str) -> dict[str, list[str]]:
    """Return the first cell, without its marks -> the other cells of the tables under a heading."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert section, heading
    lines = [line.strip("| ").split(" | ") for line in section[1].splitlines() if line.startswith("| `")]
    return {first.strip("`"): cells for first, *cells in lines}


def _term(name: str, term: LossTerm) -> str:
    options = ", ".join(f"{option} {value:g}" for option, value in term.options.items())
    weight = "" if term.weight == 1 else f"{term.weight:g} "
    return f"{weight}`{name}`" + (f" ({options})" if options else "")


def _stage(stage: Stage) -> str:
    terms = " + ".join(_term(name, term) for name, term in stage.losses.items())
    return terms + (", over texts" if stage.over == "texts" else "")


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"`{name}` {_shown(value)}" for name, value in options.items()) or "none"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).replace("'", "`") if isinstance(value, str) else f"{value:g}"


def test_every_method_stands_with_its_stages():
    expected = {
        name: [" or ".join(method.students) or "any", "; then ".join(map(_stage, method.stages)), method.source]
        for name, method in METHODS.items()
    }
    assert _rows("Methods") == expected


def test_every_loss_stands_with_what_it_is_held_against_and_its_options():
    rows = _rows("Losses")
    assert set(rows) == KNOWN_LOSSES
    against = {name: " and ".join(losses.targets(name)) for name in losses.LOSSES}
    against |= dict.fromkeys(LAYER_LOSSES, "teacher's layers") | dict.fromkeys(EMBEDDING_LOSSES, "teacher's embeddings")
    for name, (held_against, options, _) in rows.items():
        assert held_against == against.get(name, "the text itself"), name
        assert options == _options(loss_options(name)), name


def test_every_student_and_every_teacher_is_there():
    assert list(_rows("Students")) == list(STUDENTS)
    assert list(_rows("Teachers")) == list(TEACHERS)


def test_every_augmentation_stands_with_its_options():
    rows = _rows("Transfer set")
    assert list(rows) == list(augmentation.AUGMENTATIONS)
    for name, (kind, options, _) in rows.items():
        assert kind == augmentation.AUGMENTATIONS[name].kind
        assert options == _options(augmentation.options(name)), name


@pytest.mark.parametrize("fragment", re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
def test_fragments_of_recipes_are_valid(fragment):
    recipe = {
        "method": "rank-kl",
        "teacher": {"model": "large"},
        "student": {"start": "small"},
        "transfer_set": {"folder": "set"},
    }
    DistillRecipe.model_validate(recipe | yaml.safe_load(fragment))
