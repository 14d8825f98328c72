"""The teachers by the key that names them in a recipe; one of them scaled, several as one. Entry points add others.

What else a recipe may give are the fields of the settings that the key stands for::

    teacher: {model: NAME, max_length: 200, precision: auto}
    teacher: {model: all-MiniLM-L6-v2, scale: 20, shift: -8}
    teacher: {untrained: {kind: splade, start: NAME, gate: -1.0e9}}
    teacher: {run: FILE, use: rank}
    teacher: {qrels: FILE}
    teacher: {ensemble: [{weight: 2, model: NAME}, {weight: 1, run: FILE}], normalise: zscore}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, PlainValidator, SerializeAsAny, ValidationInfo

from reranker_kd.distill.data.transfer_set import ScoredPair, TransferSet
from reranker_kd.distill.teachers.base import Teacher, TeacherSettings
from reranker_kd.evaluate.normalisation import Numbers, Scores, min_max, z_scores
from reranker_kd.registry import Registry
from reranker_kd.rerank.base import Progress, no_progress
from reranker_kd.types import FloatArray

TEACHERS: Registry[type[TeacherSettings]] = Registry(
    "teacher",
    "reranker_kd.teachers",
    {
        "model": "reranker_kd.distill.teachers.model:ModelSettings",
        "untrained": "reranker_kd.distill.teachers.model:UntrainedSettings",
        "run": "reranker_kd.distill.teachers.tables:RunSettings",
        "qrels": "reranker_kd.distill.teachers.tables:QrelsSettings",
        "ensemble": "reranker_kd.distill.teachers.registry:EnsembleSettings",
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


Normalisation = Literal["zscore", "minmax", "raw"]

NORMALISATIONS: dict[Normalisation, Callable[[Scores, Numbers], Scores]] = {
    "zscore": z_scores,
    "minmax": min_max,
    "raw": lambda scores, queries: scores,  # noqa: ARG005
}
"""How an ensemble makes its members' scores comparable, for each query."""


def _not_empty(members: tuple[TeacherSettings, ...]) -> tuple[TeacherSettings, ...]:
    # As a field's min_length it would also count the faults of members as members that are missing.
    if not members:
        raise ValueError("give at least one member, such as model: NAME")
    return members


class EnsembleSettings(TeacherSettings):
    """The weighted mean of several teachers, over each query's documents made comparable first.

    A member without an opinion of a pair is left out there, and the weights of the others are taken to sum to 1: such
    a pair is scored on the others' scale, which is why normalised scores are the default.

    :param normalise: over the distinct documents that are scored for a query and that the member has an opinion of:
        ``zscore``, ``minmax`` or ``raw``
    """

    ensemble: Annotated[tuple[AnyTeacher, ...], AfterValidator(_not_empty)]
    normalise: Normalisation = "zscore"

    def make(self, cache_folder: str | Path) -> Teacher:
        members = [(make_teacher(member, cache_folder), member.weight) for member in self.ensemble]
        return EnsembleTeacher(members, self.normalise)


@dataclass(frozen=True)
class EnsembleTeacher(Teacher):
    """The weighted mean of several teachers; see :class:`EnsembleSettings`. NaN where no member has an opinion.

    :param members: teachers, each with a weight above 0
    """

    members: Sequence[tuple[Teacher, float]]
    normalise: Normalisation = "zscore"

    def scores(self, ts: TransferSet, pairs: Sequence[ScoredPair], on_progress: Progress = no_progress) -> FloatArray:
        # A document that stands in two groups of a query counts once in its mean and deviation.
        places = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        numbers = {qid: number for number, qid in enumerate(dict.fromkeys(qid for qid, _ in places))}
        queries = np.fromiter((numbers[qid] for qid, _ in places), dtype=np.intp, count=len(places))
        total, weights = np.zeros(len(places)), np.zeros(len(places))
        share = len(pairs) / max(1, len(places) * len(self.members))
        for teacher, weight in self.members:
            own = teacher.scores(ts, list(places), lambda done: on_progress(done * share)).astype(np.float64)
            known = ~np.isnan(own)
            total[known] += weight * NORMALISATIONS[self.normalise](own[known], queries[known])
            weights[known] += weight
        means = np.divide(total, weights, out=np.full(len(places), np.nan), where=weights > 0)
        return means[[places[pair] for pair in pairs]].astype(np.float32)

    def describe(self) -> dict[str, Any]:
        members = [{"weight": weight, **teacher.describe()} for teacher, weight in self.members]
        return {"teacher": "ensemble", "normalise": self.normalise, "members": members}
