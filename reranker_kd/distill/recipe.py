"""Distillation recipes: teacher, student, transfer set, stages and validation, declared in YAML and checked first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, model_validator

from reranker_kd.distill.data.augmentation import Augment
from reranker_kd.distill.data.mining import Draw
from reranker_kd.distill.methods import DOMAIN_PRETRAINING, GENERAL, METHODS, ScheduleName, Stage
from reranker_kd.distill.teachers.base import Place, StudentShape
from reranker_kd.distill.teachers.registry import AnyTeacher
from reranker_kd.errors import InputError, RecipeError
from reranker_kd.formats.recipe_file import read_yaml
from reranker_kd.models.kinds import KINDS
from reranker_kd.sections import Section, first_fault


def _as_several(value: Any) -> Any:
    return () if value is None else (value,) if isinstance(value, str | Mapping | BaseModel) else value


Places = Annotated[tuple[Place, ...], BeforeValidator(_as_several)]
"""One file, several, or none."""


class TransferSettings(Section):
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

    folder: Place | None = None
    queries: Places = ()
    collection: Places = ()
    index: Place | None = None
    runs: dict[str, Place] = Field(default_factory=dict)
    draws: tuple[Draw, ...] = (Draw("bm25", 7, depth=100), Draw("random", 1))
    qrels: Place | None = None
    positives: int = Field(default=0, ge=0)
    relevance_level: int = Field(default=1, ge=1)
    max_queries: int | None = Field(default=None, ge=1)
    augment: tuple[Augment, ...] = ()

    @model_validator(mode="after")
    def _one_origin(self) -> TransferSettings:
        if self.folder is None and not (self.queries and self.collection):
            raise ValueError("give queries and collection, or the folder of a transfer set")
        return self


class TrainingSettings(Section):
    """How the weights are learnt, by the transformers Trainer.

    :param steps: updates of a stage that does not say so itself
    :param batch_groups: groups (or single texts) of an update, over all accumulated batches
    :param accumulate: batches of an update
    :param learning_rate: at its peak, after the warm-up; None takes the method's, or 1e-4
    :param learning_rates: in its place, of weights that have this part in their name, such as ``gates: 1.0e-3``
    :param warmup: share of a stage in which the learning rate rises; None takes the method's, or 0.05
    :param schedule: after that; None takes the method's, or ``linear``
    :param max_length: tokens of an input, or of a twin's document, while it learns; None takes the student's
    :param precision: ``auto`` takes bfloat16 where the device computes in it
    :param save_every: updates between two checkpoints; a killed training goes on from the last
    :param device: ``cpu`` or ``cuda``; None takes a GPU where there is one
    """

    steps: int = Field(default=1000, ge=1)
    batch_groups: int = Field(default=16, ge=1)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    learning_rates: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    warmup: float | None = Field(default=None, ge=0, le=1)
    schedule: ScheduleName | None = None
    weight_decay: float = Field(default=0.01, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    max_length: int | None = Field(default=None, ge=16)
    precision: Literal["float32", "bfloat16", "auto"] = "auto"
    save_every: int = Field(default=200, ge=1)
    log_every: int = Field(default=20, ge=1)
    device: Literal["cpu", "cuda"] | None = None


class ValidationSettings(Section):
    """Topics that choose the checkpoint; report on others. Of several collections the mean of their measures chooses.

    :param every: updates between two validations, each with a checkpoint; None takes ``training.save_every``
    """

    topics: Place
    qrels: Place
    candidates: Place
    collection: Place
    depth: int = Field(default=100, ge=1)
    measure: str = "nDCG@10"
    every: int | None = Field(default=None, ge=1)


class DistillRecipe(Section):
    """A distillation from end to end.

    :param method: a name out of :data:`METHODS`, which brings its stages
    :param stages: in place of the method's
    :param general: steps of general distillation before the method's stages; 0 leaves it out
    :param domain_pretraining: steps of masked language modelling before all else; 0 leaves it out
    :param start_share: share of the weights that the student began with in those that it ends with (WiSE-FT, Wortsman
        et al. 2022, arXiv 2109.01903, section 3): with more of it a student is less fitted to its transfer set
    :param validation: one collection or several
    """

    method: str
    seed: int = Field(default=42, ge=0)
    teacher: AnyTeacher | None = None
    student: StudentShape
    transfer_set: TransferSettings
    stages: tuple[Stage, ...] = ()
    general: int = Field(default=0, ge=0)
    domain_pretraining: int = Field(default=0, ge=0)
    training: TrainingSettings = TrainingSettings()
    start_share: float = Field(default=0.0, ge=0, lt=1)
    validation: Annotated[tuple[ValidationSettings, ...], BeforeValidator(_as_several)] = ()

    @model_validator(mode="after")
    def _fits_the_method(self) -> DistillRecipe:
        try:
            wanted = METHODS[self.method].reads
        except InputError as error:
            raise ValueError(f"method: {error}") from None
        reads = KINDS[self.student.kind].reads
        if wanted not in (None, reads):
            raise ValueError(
                f"student.kind: {self.method} makes a student that reads {wanted}, and a {self.student.kind} reads "
                f"{reads}: reranker-kd models lists the kinds"
            )
        if self.teacher is None and any(stage.needs_teacher for stage in self.all_stages()):
            raise ValueError(f"teacher: {self.method} needs one, such as model: NAME")
        return self

    def all_stages(self) -> tuple[Stage, ...]:
        """Return the stages in the order in which they run; what the training says goes before the method's own."""
        before = ((DOMAIN_PRETRAINING, self.domain_pretraining), (GENERAL, self.general))
        asked_for = (stage.model_copy(update={"steps": steps}) for stage, steps in before if steps)
        said = self.training.model_dump(include={"learning_rate", "warmup", "schedule"}, exclude_none=True)
        own = (stage.model_copy(update=said) for stage in METHODS[self.method].stages)
        return (*asked_for, *(self.stages or own))


def read_distill_recipe(path: str | Path, changes: Sequence[str] = ()) -> DistillRecipe:
    """Return a checked recipe; variables, changes and paths as in :func:`reranker_kd.experiment.recipe.read_recipe`.

    :raises RecipeError: no such file, broken YAML, an unknown key or a wrong value, named by its key
    """
    path = Path(path)
    content = read_yaml(path, changes)
    try:
        return DistillRecipe.model_validate(content, context={"folder": path.parent})
    except ValidationError as error:
        raise RecipeError(f"{path}: {first_fault(error)}") from None
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None
