"""A distillation from end to end: transfer set, teacher scores, stages of training, and what came of it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file

from reranker_kd.distill.data.batches import GroupCollator, GroupDataset, TextCollator, TextDataset
from reranker_kd.distill.data.sources import Validation, load_validation, make_transfer_set
from reranker_kd.distill.data.transfer_set import TransferSet, pairs, read_transfer_set, write_transfer_set
from reranker_kd.distill.methods import MASKED_LANGUAGE_MODEL, Stage
from reranker_kd.distill.objectives.masked_language_model import MaskedLanguageModel
from reranker_kd.distill.objectives.recording import LayerTeacher
from reranker_kd.distill.recipe import DistillRecipe, as_json, needs_teacher
from reranker_kd.distill.students import Student, build_student
from reranker_kd.distill.teachers.embeddings import embed_texts, encoder_of
from reranker_kd.distill.teachers.teacher import EnsembleSettings, ModelSettings, Teacher, TeacherSettings, make_teacher
from reranker_kd.distill.training.distiller import Distiller
from reranker_kd.distill.training.train import train_stage
from reranker_kd.errors import InputError, RecipeError
from reranker_kd.formats.files import atomic_writer
from reranker_kd.inference.pair_tokenizer import PairTokenizer
from reranker_kd.models.kinds import kind_of, token_encoder_of
from reranker_kd.models.loading import load_tokenizer
from reranker_kd.models.registry import model_folder
from reranker_kd.progress import progress_bar
from reranker_kd.types import FloatArray

WORK = ".work"
"""Beneath the student's folder: transfer set, checkpoints; a finished student does not need it."""

_RECIPE = "recipe.json"
_KEPT = ("transfer-set", "stage-*", "checkpoints-*")


@dataclass(frozen=True, slots=True)
class Distilled:
    """What a distillation brought.

    :param student: the student, its weights as saved
    :param log: of each stage, the entries of its training
    :param transfer_set: what was learnt from
    :param teacher: None where no stage had one
    :param validation: the topics that chose the checkpoint, if there are any
    :param seconds: of each part of the work in this call
    """

    student: Student
    log: list[list[dict[str, float]]]
    transfer_set: TransferSet
    teacher: Teacher | None
    validation: Validation | None
    seconds: dict[str, float]


def distill(recipe: DistillRecipe, output: Path, *, cache: Path | None = None, quiet: bool = False) -> Distilled:
    """Make a student; go on where an earlier call was stopped.

    :param output: becomes the student's folder, which :func:`reranker_kd.load_reranker` opens
    :param cache: where models keep their scores, shared by all students; by default beside the work
    :raises RecipeError: a recipe that cannot be carried out, before any training starts
    :raises InputError: the folder holds work of another recipe
    """
    work = output / WORK
    _claim(output, recipe)
    student = build_student(recipe.student, recipe.seed)
    stages = recipe.all_stages()
    layers = _layer_teacher(recipe, student) if any(stage.layer_losses for stage in stages) else None
    embedder = encoder_of(_first_model(recipe.teacher)) if any(stage.embedding_losses for stage in stages) else None
    width = None if embedder is None else embedder.dimension
    # Made once now, so that what cannot be is known before hours of scoring.
    for stage in stages:
        _distiller(student, stage, layers, width)
    teacher = None
    if any(needs_teacher(stage) and _on_scores(stage) for stage in stages):
        assert recipe.teacher is not None
        teacher = make_teacher(recipe.teacher, cache or work / "scores")
    validation = load_validation(recipe.validation) if recipe.validation else None
    seconds: dict[str, float] = {}
    processes = PartialState(cpu=recipe.training.device == "cpu")
    quiet = quiet or not processes.is_main_process
    # Under torchrun the first process does what is kept on disk, and the others read it there.
    with processes.main_process_first():
        with atomic_writer(work / _RECIPE) as stream:
            json.dump(as_json(recipe), stream, indent=2)
        with _timed(seconds, "transfer set"):
            transfer_set = _transfer_set(recipe, work, quiet=quiet)
        listed = pairs(transfer_set)
        scores = np.full(len(listed), np.nan, dtype=np.float32)
        if teacher is not None:
            bar = progress_bar("scoring by the teacher", len(listed), "pairs", quiet=quiet)
            with _timed(seconds, "teacher"), bar as advancing:
                scores = teacher.scores(transfer_set, listed, advancing.advance)
        embeddings = None
        if embedder is not None:
            with _timed(seconds, "teacher embeddings"):
                embeddings = embed_texts(embedder, transfer_set, cache or work / "scores", quiet=quiet)
    with _timed(seconds, "tokens"):
        tokenizer = student.framed(student.tokenizer)
        groups = GroupDataset(transfer_set, scores, tokenizer)
    if not len(groups) and any(stage.over == "groups" for stage in stages):
        raise InputError("empty transfer set: no group has two documents with a teacher's score or a label")
    school = _School(recipe, student, layers, tokenizer, groups, embeddings, validation, work, quiet)
    log = []
    for number, stage in enumerate(stages, start=1):
        with _timed(seconds, f"stage {number}"):
            log.append(school.teach(number, stage))
    student.network.eval()
    if processes.is_main_process:
        student.save(output)
    processes.wait_for_everyone()
    return Distilled(student, log, transfer_set, teacher, validation, seconds)


def _claim(output: Path, recipe: DistillRecipe) -> None:
    manifest = output / WORK / _RECIPE
    if manifest.is_file():
        begun, asked = json.loads(manifest.read_text(encoding="utf-8")), as_json(recipe)
        changed = sorted(key for key in {*begun, *asked} if begun.get(key) != asked.get(key))
        if changed and not any(path for kept in _KEPT for path in (output / WORK).glob(kept)):
            # Nothing has come of that recipe, whose fault has been mended since.
            shutil.rmtree(output / WORK / "index", ignore_errors=True)
        elif changed:
            raise InputError(
                f"{output}: another recipe was begun here ({', '.join(changed)} differ): name another --output, or "
                f"remove {output / WORK}"
            )
    elif output.is_dir() and any(path.name != WORK for path in output.iterdir()):
        raise InputError(f"{output}: is not empty and holds no distillation to go on with: name another --output")


def _transfer_set(recipe: DistillRecipe, work: Path, *, quiet: bool) -> TransferSet:
    folder = work / "transfer-set"
    if recipe.transfer_set.folder is not None:
        return read_transfer_set(recipe.transfer_set.folder)
    if not (folder / "groups.jsonl").is_file():
        write_transfer_set(folder, make_transfer_set(recipe.transfer_set, work, recipe.seed, quiet=quiet))
    return read_transfer_set(folder)


def _layer_teacher(recipe: DistillRecipe, student: Student) -> LayerTeacher:
    settings = _first_model(recipe.teacher)
    if settings is None:
        raise RecipeError("teacher: losses over layers need a model among the teachers, such as model: NAME")
    folder = model_folder(settings.model)
    if load_tokenizer(folder).get_vocab() != student.tokenizer.get_vocab():
        raise RecipeError(
            f"student.start: its vocabulary is not that of the teacher {settings.model}: layers are compared over the "
            "same tokens, so start from a model of the teacher's vocabulary"
        )
    if (kind := kind_of(folder)).name == student.kind.name:
        network = kind.load(folder)
        return LayerTeacher(network, kind.encoder(network))
    encoder = token_encoder_of(folder)
    return LayerTeacher(student.kind.around(student.settings, encoder), encoder)


def _first_model(settings: TeacherSettings | None) -> ModelSettings | None:
    if isinstance(settings, EnsembleSettings):
        return next((found for member in settings.ensemble if (found := _first_model(member))), None)
    return settings if isinstance(settings, ModelSettings) else None


def _on_scores(stage: Stage) -> bool:
    return stage.over == "groups" and any(name not in stage.layer_losses for name in stage.losses)


def _can_rank(stage: Stage) -> bool:
    # After losses over layers or masked tokens alone, a score means nothing yet.
    return _on_scores(stage) or bool(stage.embedding_losses)


def _objective(stage: Stage, student: Student) -> MaskedLanguageModel | None:
    if MASKED_LANGUAGE_MODEL not in stage.losses:
        return None
    if student.encoder is None:
        raise RecipeError(f"domain_pretraining: a {student.settings.kind} has no transformer to pre-train")
    tokenizer = student.tokenizer
    return MaskedLanguageModel(student.encoder, tokenizer.mask_token_id, tuple(tokenizer.all_special_ids))


def _distiller(student: Student, stage: Stage, layers: LayerTeacher | None, width: int | None) -> Distiller:
    return Distiller(student, stage, layers if stage.layer_losses else None, width, _objective(stage, student))


@dataclass(frozen=True, slots=True)
class _School:
    """What all stages share."""

    recipe: DistillRecipe
    student: Student
    layers: LayerTeacher | None
    tokenizer: PairTokenizer
    groups: GroupDataset
    embeddings: FloatArray | None
    validation: Validation | None
    work: Path
    quiet: bool

    def teach(self, number: int, stage: Stage) -> list[dict[str, float]]:
        """Train a stage, or load what it brought where it is done; return its log."""
        done, log = self.work / f"stage-{number}.safetensors", self.work / f"stage-{number}.json"
        if done.is_file():
            self.student.network.load_state_dict(load_file(done), strict=False)
            return json.loads(log.read_text(encoding="utf-8"))
        entries = self._train(number, stage)
        processes = PartialState()
        processes.wait_for_everyone()
        if not processes.is_main_process:
            return entries
        with atomic_writer(log) as stream:
            json.dump(entries, stream)
        temporary = done.with_suffix(".part")
        save_file(_distinct(self.student.network), temporary)
        temporary.replace(done)
        shutil.rmtree(self._checkpoints(number), ignore_errors=True)
        return entries

    def _train(self, number: int, stage: Stage) -> list[dict[str, float]]:
        training, seed = self.recipe.training, self.recipe.seed + number
        with torch.random.fork_rng(devices=[]):
            # What is learnt beside the student begins at random: the same whether or not earlier stages ran now.
            torch.manual_seed(seed)
            width = None if self.embeddings is None else self.embeddings.shape[1]
            distiller = _distiller(self.student, stage, self.layers, width)
        training = training.model_copy(update={"batch_groups": stage.batch_groups or training.batch_groups})
        steps = stage.steps or training.steps
        settings = self.recipe.validation
        with progress_bar(f"training, stage {number}", steps, "steps", quiet=self.quiet) as bar:
            return train_stage(
                distiller,
                *self._data(stage),
                training,
                self._checkpoints(number),
                steps=steps,
                learning_rate=stage.learning_rate or training.learning_rate,
                seed=seed,
                validate=self._validate if self.validation is not None and _can_rank(stage) else None,
                validate_every=None if settings is None else settings.every,
                progress=bar,
            )

    def _data(self, stage: Stage) -> tuple[Any, Any]:
        settings = self.student.settings
        lengths = {
            "max_length": settings.max_length,
            "max_query_length": getattr(settings, "max_query_length", None) or settings.max_length,
        }
        if stage.over == "texts":
            texts = TextDataset(self.groups, self.embeddings if stage.embedding_losses else None)
            return texts, TextCollator(texts, self.tokenizer, **lengths)
        return self.groups, GroupCollator(
            self.groups, self.tokenizer, twin=self.student.kind.reads == "texts", **lengths
        )

    def _validate(self) -> float:
        assert self.validation is not None
        self.student.save(self.work / "validation")
        return self.validation.measure(self.work / "validation")

    def _checkpoints(self, number: int) -> Path:
        return self.work / f"checkpoints-{number}"


def _distinct(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return a network's weights, each once: two names of one tower or table are one entry."""
    seen: set[int] = set()
    weights = {}
    for name, value in network.state_dict().items():
        if value.data_ptr() not in seen or value.numel() == 0:
            seen.add(value.data_ptr())
            weights[name] = value.contiguous()
    return weights


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Keep the seconds of the block under a name."""
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 1)
