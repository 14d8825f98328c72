"""What a recipe says of a teacher, checked before anything is loaded.

A recipe names a teacher by the one key of :data:`TEACHERS` that it gives; what else it may give are the fields of the
settings that stand there::

    teacher: {model: NAME, max_length: 200, precision: auto}
    teacher: {model: all-MiniLM-L6-v2, scale: 20, shift: -8}
    teacher: {run: FILE, use: rank}
    teacher: {qrels: FILE}
    teacher: {ensemble: [{weight: 2, model: NAME}, {weight: 1, run: FILE}], normalise: zscore}
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
)

from reranker_kd.errors import RecipeError
from reranker_kd.sections import first_fault

Use = Literal["score", "rank", "reciprocal_rank"]
Absent = Literal["unknown", "worst"]
Normalisation = Literal["zscore", "minmax", "raw"]


def _beside_the_recipe(name: str, info: ValidationInfo) -> str:
    folder = (info.context or {}).get("folder")
    return str(Path(folder) / name) if folder is not None and (Path(folder) / name).exists() else name


_Place = Annotated[str, AfterValidator(_beside_the_recipe)]


class TeacherSettings(BaseModel, ABC):
    """What every kind of teacher takes.

    Losses take a teacher's scores for logits, which cosines and BM25 are not: scale and shift make such of them. Both
    are applied to what this very teacher gives. So those of an ensemble come after its mean, and those of its members
    before its normalisation, which undoes them unless it is ``raw``.

    :param weight: its share in an ensemble; alone it bears on nothing
    :param scale: its scores are multiplied by this
    :param shift: added to them after that
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    shift: float = Field(default=0.0, allow_inf_nan=False)


class ModelSettings(TeacherSettings):
    """Any reranker.

    Names and defaults are those of ``reranker-kd rerank``.
    """

    model: _Place
    max_length: int | None = Field(default=None, ge=1)
    long_documents: Literal["maxp", "firstp", "meanp", "topk"] = "maxp"
    passage_length: int | None = Field(default=None, ge=1)
    passage_stride: int | None = Field(default=None, ge=1)
    top_passages: int = Field(default=3, ge=1)
    batch_tokens: int | None = Field(default=None, ge=1)
    device: str | None = None
    precision: Literal["float32", "bfloat16", "auto"] | None = None


class RunSettings(TeacherSettings):
    """The scores or ranks of a run.

    See :class:`~reranker_kd.distill.teachers.teacher.RunTeacher`.
    """

    run: _Place
    use: Use = "score"
    k: int = Field(default=60, ge=0)
    absent: Absent = "unknown"


class QrelsSettings(TeacherSettings):
    """Human grades, from a qrels file.

    See :class:`~reranker_kd.distill.teachers.teacher.QrelsTeacher`.
    """

    qrels: _Place
    unjudged: float | None = Field(default=None, allow_inf_nan=False)


def _parse(value: Any, info: ValidationInfo) -> TeacherSettings:
    if isinstance(value, TeacherSettings):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("expected keys and values, such as model: NAME")
    kinds = [kind for kind in TEACHERS if kind in value]
    if len(kinds) != 1:
        raise ValueError(f"give one of {', '.join(TEACHERS)}, got {' and '.join(kinds) or 'none of them'}")
    return TEACHERS[kinds[0]].model_validate(value, context=info.context)


AnyTeacher = Annotated[SerializeAsAny[TeacherSettings], PlainValidator(_parse)]
"""The type of a recipe's field that takes a teacher of any kind."""


def _not_empty(members: tuple[TeacherSettings, ...]) -> tuple[TeacherSettings, ...]:
    # As a field's min_length it would also count the faults of members as members that are missing.
    if not members:
        raise ValueError("give at least one member, such as model: NAME")
    return members


class EnsembleSettings(TeacherSettings):
    """Several teachers, each with a ``weight``.

    See :class:`~reranker_kd.distill.teachers.teacher.EnsembleTeacher`.
    """

    ensemble: Annotated[tuple[AnyTeacher, ...], AfterValidator(_not_empty)]
    normalise: Normalisation = "zscore"


TEACHERS: dict[str, type[TeacherSettings]] = {
    "model": ModelSettings,
    "run": RunSettings,
    "qrels": QrelsSettings,
    "ensemble": EnsembleSettings,
}
"""The kinds of teachers, by the key that names them in a recipe."""


def teacher_settings(value: Any, folder: str | Path | None = None) -> TeacherSettings:
    """Return the checked settings of a teacher.

    :param value: keys and values as in a recipe
    :param folder: the recipe's own: files and models that exist there are taken from there
    :raises RecipeError: not one kind of teacher, an unknown key or a wrong value, named by its key
    """
    try:
        return _Alone.model_validate({"teacher": value}, context={"folder": folder}).teacher
    except ValidationError as error:
        raise RecipeError(first_fault(error)) from None


class _Alone(BaseModel):
    teacher: AnyTeacher
