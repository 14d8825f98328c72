"""docs/recipes.md and docs/distillation.md: their tables have every key of a recipe, with its default."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from reranker_kd.distill.data.augmentation import Augment
from reranker_kd.distill.data.mining import Draw
from reranker_kd.distill.methods import Stage
from reranker_kd.distill.recipe import DistillRecipe, TrainingSettings, TransferSettings, ValidationSettings
from reranker_kd.distill.teachers.base import TeacherSettings
from reranker_kd.distill.teachers.model import ScoringSettings
from reranker_kd.distill.teachers.registry import TEACHERS
from reranker_kd.experiment.recipe import Measuring, Recipe, Reranking, Retrieval
from reranker_kd.models.kinds import KINDS

DOCS = Path(__file__).resolve().parents[2] / "docs"
REQUIRED = object()


def _keys(section: type, *, without: type[BaseModel] | None = None) -> dict[str, Any]:
    """Return key -> default of a section, a pydantic model or a dataclass."""
    if is_dataclass(section):
        return dict(_keys_of_dataclass(section))
    assert issubclass(section, BaseModel)
    shared = {} if without is None else without.model_fields
    defaults = {
        key: field.get_default(call_default_factory=True)
        for key, field in section.model_fields.items()
        if key not in shared
    }
    return {key: REQUIRED if default is PydanticUndefined else default for key, default in defaults.items()}


def _keys_of_dataclass(section: type) -> Iterator[tuple[str, Any]]:
    for field in fields(section):
        if field.default_factory is not MISSING:
            yield field.name, field.default_factory()
        else:
            yield field.name, REQUIRED if field.default is MISSING else field.default


def _required_first(keys: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(keys.items(), key=lambda item: item[1] is not REQUIRED))


def _keys_of_students() -> dict[str, Any]:
    """Return the keys of all kinds together, with the default of the first that has it; config.json has more."""
    keys: dict[str, Any] = {}
    for kind in KINDS.values():
        keys = _keys(kind.shape) | keys
    ours = ("vocabulary_size", "segments", "gate", "query_prompt", "document_prompt")
    return {key: default for key, default in {**keys, "start": REQUIRED}.items() if key not in ours}


# Keys that a page describes under another heading.
_SHARED: dict[str, type[BaseModel]] = {"untrained": ScoringSettings}

# Page -> heading -> the keys under it.
TABLES = {
    "recipes.md": {
        "The recipe": _keys(Recipe),
        "retrieve": _keys(Retrieval),
        "rerank": _keys(Reranking),
        "evaluate": _keys(Measuring),
    },
    "distillation.md": {
        "The recipe": _keys(DistillRecipe),
        "teacher": _keys(TeacherSettings),
        **{
            f"teacher: {kind}": _required_first(_keys(TEACHERS[kind], without=_SHARED.get(kind, TeacherSettings)))
            for kind in TEACHERS
        },
        "student": _keys_of_students(),
        "transfer_set": _keys(TransferSettings),
        "draws": _keys(Draw),
        "augment": _keys(Augment),
        "stages": _keys(Stage),
        "training": _keys(TrainingSettings),
        "validation": _keys(ValidationSettings),
    },
}
CASES = [(page, heading) for page, headings in TABLES.items() for heading in headings]

# Described in sections of their own, or by the method.
_NESTED = {"retrieve", "rerank", "evaluate", "training", "stages", "queries", "collection"}


def _rows(page: str, heading: str) -> dict[str, str]:
    """Return key -> default as printed, out of the table under a heading."""
    text = (DOCS / page).read_text(encoding="utf-8")
    section = re.search(rf"^### `?{heading}`?\n(.*?)(?=^#|\Z)", text, re.M | re.S)
    assert section, f"{page} has no section {heading}"
    return dict(re.findall(r"^\| `(\w+)` \| ([^|]*?) \|", section[1], re.MULTILINE))


def _as_yaml(default: Any) -> Any:
    if isinstance(default, tuple):
        return [_as_yaml(item) for item in default]
    if is_dataclass(default) and not isinstance(default, type):
        given = {field.name: getattr(default, field.name) for field in fields(default)}
        return {key: value for key, value in given.items() if value != _keys(type(default))[key]}
    return default


@pytest.mark.parametrize(("page", "heading"), CASES)
def test_every_key_stands_with_its_default(page, heading):
    keys = TABLES[page][heading]
    rows = _rows(page, heading)
    assert list(rows) == list(keys) if heading != "student" else rows.keys() == keys.keys()
    for key, printed in rows.items():
        if keys[key] is REQUIRED:
            assert printed == "required", key
        elif keys[key] is None or key in _NESTED or (keys[key] == () and "`" not in printed):
            # Said in words: what happens without the key.
            assert "`" not in printed, key
        else:
            assert yaml.safe_load(printed.strip("`")) == _as_yaml(keys[key]), key
