"""The teachers by the key that names them in a recipe. Other packages add theirs by entry points.

What else a recipe may give are the fields of the settings that the key stands for::

    teacher: {model: NAME, max_length: 200, precision: auto}
    teacher: {model: all-MiniLM-L6-v2, scale: 20, shift: -8}
    teacher: {run: FILE, use: rank}
    teacher: {qrels: FILE}
    teacher: {ensemble: [{weight: 2, model: NAME}, {weight: 1, run: FILE}], normalise: zscore}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import PlainValidator, SerializeAsAny, ValidationInfo

from reranker_kd.distill.data.transfer_set import ScoredPair, TransferSet
from reranker_kd.distill.teachers.base import Teacher, TeacherSettings
from reranker_kd.registry import Registry
from reranker_kd.rerank.base import Progress, no_progress
from reranker_kd.types import FloatArray

TEACHERS: Registry[type[TeacherSettings]] = Registry(
    "teacher",
    "reranker_kd.teachers",
    {
        "model": "reranker_kd.distill.teachers.model:ModelSettings",
        "run": "reranker_kd.distill.teachers.tables:RunSettings",
        "qrels": "reranker_kd.distill.teachers.tables:QrelsSettings",
        "ensemble": "reranker_kd.distill.teachers.ensemble:EnsembleSettings",
    },
)


def _parse(value: Any, info: ValidationInfo) -> TeacherSettings:
    if isinstance(value, TeacherSettings):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("expected keys and values, such as model: NAME")
    named = [name for name in TEACHERS if name in value]
    if len(named) != 1:
        raise ValueError(f"give one of {', '.join(TEACHERS)}, got {' and '.join(named) or 'none of them'}")
    return TEACHERS[named[0]].model_validate(value, context=info.context)


AnyTeacher = Annotated[SerializeAsAny[TeacherSettings], PlainValidator(_parse)]
"""The type of a recipe's field that takes any teacher."""


def make_teacher(settings: TeacherSettings, cache_folder: str | Path) -> Teacher:
    """Return the teacher of checked settings, with scale and shift; raises as :meth:`TeacherSettings.make` does."""
    teacher = settings.make(cache_folder)
    if (settings.scale, settings.shift) == (1.0, 0.0):
        return teacher
    return ScaledTeacher(teacher, settings.scale, settings.shift)


@dataclass(frozen=True)
class ScaledTeacher(Teacher):
    """What another teacher gives, times ``scale``, above 0, plus ``shift``: so cosines become logits, in their order.

    What the other keeps on disk is as it gave it.
    """

    teacher: Teacher
    scale: float
    shift: float

    def scores(self, ts: TransferSet, pairs: Sequence[ScoredPair], on_progress: Progress = no_progress) -> FloatArray:
        given = self.teacher.scores(ts, pairs, on_progress)
        return (given * np.float64(self.scale) + self.shift).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        return {**self.teacher.describe(), "scale": self.scale, "shift": self.shift}
