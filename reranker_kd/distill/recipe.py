"""Distillation recipes: teacher, student, transfer set, stages and validation, declared in YAML and checked first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reranker_kd.distill.data.augmentation import Augment
from reranker_kd.distill.data.mining import Draw
from reranker_kd.distill.methods import DOMAIN_PRETRAINING, GENERAL, METHODS, Stage
from reranker_kd.distill.teachers.settings import AnyTeacher
from reranker_kd.errors import RecipeError
from reranker_kd.formats.recipe_file import beside, read_yaml
from reranker_kd.models.kinds import AnyShape
from reranker_kd.sections import first_fault

_FILES = ("queries", "collection", "index", "qrels", "topics", "candidates", "folder")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TransferSettings(_Section):
    """Where the groups come from.

    :param folder: a transfer set that was written before, in place of all else
    :param queries: a topics file, or several of them
    :param collection: the documents: a file or folder, or several of them
    :param index: a Lucene index of the collection; built where BM25 candidates are wanted and none is named
    :param runs: candidates by name, besides ``bm25``, which is retrieved where a draw asks for it
    :param draws: what a group is made of, see :class:`Draw`
    :param qrels: human grades, which become labels
    :param positives: judged relevant documents in each group
    :param max_queries: the first so many queries
    :param augment: steps of augmentation, see :class:`Augment`
    """

    folder: str | None = None
    queries: str | tuple[str, ...] | None = None
    collection: str | tuple[str, ...] | None = None
    index: str | None = None
    runs: dict[str, str] = Field(default_factory=dict)
    draws: tuple[Draw, ...] = (Draw("bm25", 7, depth=100), Draw("random", 1))
    qrels: str | None = None
    positives: int = Field(default=0, ge=0)
    relevance_level: int = Field(default=1, ge=1)
    max_queries: int | None = Field(default=None, ge=1)
    augment: tuple[Augment, ...] = ()

    @model_validator(mode="after")
    def _one_origin(self) -> TransferSettings:
        if self.folder is None and (self.queries is None or self.collection is None):
            raise ValueError("give queries and collection, or the folder of a transfer set")
        return self


class TrainingSettings(_Section):
    """How the weights are learnt, by the transformers Trainer.

    :param steps: updates of a stage that does not say so itself
    :param batch_groups: groups (or single texts) of an update, over all accumulated batches
    :param accumulate: batches of an update
    :param learning_rate: at its peak, after the warm-up; it falls to 0 in a line
    :param precision: ``auto`` takes bfloat16 where the device computes in it
    :param save_every: updates between two checkpoints; a killed training goes on from the last
    :param device: ``cpu`` or ``cuda``; None takes a GPU where there is one
    """

    steps: int = Field(default=1000, ge=1)
    batch_groups: int = Field(default=16, ge=1)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-4, gt=0)
    warmup: float = Field(default=0.05, ge=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    save_every: int = Field(default=200, ge=1)
    log_every: int = Field(default=20, ge=1)
    device: Literal["cpu", "cuda"] | None = None


class ValidationSettings(_Section):
    """Topics that choose the checkpoint; report on others.

    :param every: updates between two validations, each with a checkpoint; None takes ``training.save_every``
    """

    topics: str
    qrels: str
    candidates: str
    collection: str
    depth: int = Field(default=100, ge=1)
    measure: str = "nDCG@10"
    every: int | None = Field(default=None, ge=1)


class DistillRecipe(_Section):
    """A distillation from end to end.

    :param method: a name out of :data:`METHODS`, which brings its stages
    :param stages: in place of the method's
    :param general: steps of general distillation before the method's stages; 0 leaves it out
    :param domain_pretraining: steps of masked language modelling before all else; 0 leaves it out
    """

    method: str
    seed: int = Field(default=42, ge=0)
    teacher: AnyTeacher | None = None
    student: AnyShape
    transfer_set: TransferSettings
    stages: tuple[Stage, ...] = ()
    general: int = Field(default=0, ge=0)
    domain_pretraining: int = Field(default=0, ge=0)
    training: TrainingSettings = TrainingSettings()
    validation: ValidationSettings | None = None

    @model_validator(mode="after")
    def _fits_the_method(self) -> DistillRecipe:
        if self.method not in METHODS:
            raise ValueError(f"method: no method {self.method!r}; known: {', '.join(METHODS)}")
        wanted = METHODS[self.method].students
        if wanted and self.student.kind not in wanted:
            raise ValueError(f"student.kind: {self.method} makes a {' or a '.join(wanted)}, not a {self.student.kind}")
        if self.teacher is None and any(needs_teacher(stage) for stage in self.all_stages()):
            raise ValueError(f"teacher: {self.method} needs one, such as model: NAME")
        return self

    def all_stages(self) -> tuple[Stage, ...]:
        """Return the stages in the order in which they run."""
        before = []
        if self.domain_pretraining:
            before.append(DOMAIN_PRETRAINING.model_copy(update={"steps": self.domain_pretraining}))
        if self.general:
            before.append(GENERAL.model_copy(update={"steps": self.general}))
        return (*before, *(self.stages or METHODS[self.method].stages))


def needs_teacher(stage: Stage) -> bool:
    """Whether a stage has a loss that a teacher's scores or layers enter."""
    return any(name not in ("hard_cross_entropy", "masked_language_model") for name in stage.losses)


def read_distill_recipe(path: str | Path, changes: Sequence[str] = ()) -> DistillRecipe:
    """Return a checked recipe; variables, changes and paths as in :func:`reranker_kd.experiment.recipe.read_recipe`.

    :raises RecipeError: no such file, broken YAML, an unknown key or a wrong value, named by its key
    """
    path = Path(path)
    content = read_yaml(path, changes)
    for section in ("transfer_set", "validation"):
        if isinstance(content.get(section), dict):
            beside(path.parent, content[section], _FILES)
            for key in ("queries", "collection"):
                if isinstance(several := content[section].get(key), list):
                    places = {str(number): place for number, place in enumerate(several)}
                    beside(path.parent, places, tuple(places))
                    content[section][key] = list(places.values())
    runs = content.get("transfer_set", {}).get("runs") if isinstance(content.get("transfer_set"), dict) else None
    if isinstance(runs, dict):
        beside(path.parent, runs, tuple(runs))
    if isinstance(content.get("student"), Mapping):
        beside(path.parent, content["student"], ("start",))
    try:
        return DistillRecipe.model_validate(content, context={"folder": path.parent})
    except ValidationError as error:
        raise RecipeError(f"{path}: {first_fault(error)}") from None
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


def as_json(recipe: DistillRecipe) -> dict[str, Any]:
    """Return a recipe as JSON values, for provenance and for telling whether a folder was begun with it."""
    return json.loads(recipe.model_dump_json())
