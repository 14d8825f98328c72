"""What every teacher promises, and what a recipe says of one. A new teacher is a class of settings that makes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from reranker_kd.distill.data.transfer_set import ScoredPair, TransferSet
from reranker_kd.models.kinds import AnyShape
from reranker_kd.rerank.base import Progress, no_progress
from reranker_kd.sections import Section
from reranker_kd.types import FloatArray


def beside_the_recipe(name: str, info: ValidationInfo) -> str:
    """Return the path of what lies beside the recipe, by the context's ``folder``; any other name as it is."""
    folder = (info.context or {}).get("folder")
    return str(Path(folder) / name) if folder is not None and (Path(folder) / name).exists() else name


Place = Annotated[str, AfterValidator(beside_the_recipe)]
"""A file or model of a recipe: taken from the recipe's folder where it exists there."""


def _start_beside_the_recipe(student: Any, info: ValidationInfo) -> Any:
    if isinstance(student, Mapping) and isinstance(student.get("start"), str):
        return {**student, "start": beside_the_recipe(student["start"], info)}
    return student


StudentShape = Annotated[AnyShape, BeforeValidator(_start_beside_the_recipe)]
"""The shape of a student, likewise for the model that it starts from."""


class Teacher(ABC):
    """Gives its opinion of query-document pairs."""

    @abstractmethod
    def scores(self, ts: TransferSet, pairs: Sequence[ScoredPair], on_progress: Progress = no_progress) -> FloatArray:
        """Return the score of each (qid, docid), float32 (n,), higher is more relevant; NaN where it has no opinion.

        :param ts: the texts behind the ids
        :param on_progress: called with the number of pairs done since the last call, ``len(pairs)`` in all
        :raises InputError: an id that the transfer set lacks, where the texts are needed
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what identifies this teacher, as JSON values."""


class TeacherSettings(Section, ABC):
    """What every kind of teacher takes.

    Losses take a teacher's scores for logits, which cosines and BM25 are not: scale and shift turn them into logits.
    Both are applied to what this very teacher gives. So those of an ensemble come after its mean, and those of its
    members before its normalisation, which undoes them unless it is ``raw``.

    :param weight: share in an ensemble
    :param scale: scores are multiplied by this
    :param shift: added after that
    """

    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    shift: float = Field(default=0.0, allow_inf_nan=False)

    @abstractmethod
    def make(self, cache_folder: str | Path) -> Teacher:
        """Return the teacher, without scale and shift.

        :param cache_folder: where models keep their scores, shared by all students
        :raises ModelError: a model cannot be loaded
        :raises InputError: a file cannot be read
        :raises FormatError: a file is broken
        """
