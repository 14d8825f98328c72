"""A distillation from end to end: transfer set, teacher scores, stages of training, report and model card."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from accelerate import PartialState
from pydantic import ValidationError

from reranker_kd.distill.data.batches import GroupDataset
from reranker_kd.distill.data.sources import load_validation, make_transfer_set
from reranker_kd.distill.data.transfer_set import GROUPS_FILE, TransferSet, pairs, read_transfer_set, write_transfer_set
from reranker_kd.distill.methods import Stage
from reranker_kd.distill.objectives.recording import LAYERS, LayerTeacher
from reranker_kd.distill.objectives.registry import LOSSES
from reranker_kd.distill.recipe import DistillRecipe, read_distill_recipe
from reranker_kd.distill.report.report import Distilled, Report, make_report, write_report
from reranker_kd.distill.students import Student, build_student
from reranker_kd.distill.teachers.base import TeacherSettings
from reranker_kd.distill.teachers.model import ModelSettings, embed_texts, encoder_of
from reranker_kd.distill.teachers.registry import EnsembleSettings, make_teacher
from reranker_kd.distill.training.distiller import Distiller
from reranker_kd.distill.training.stages import Stages
from reranker_kd.errors import InputError, RecipeError
from reranker_kd.formats.files import atomic_writer
from reranker_kd.inference.pair_tokenizer import FRAMINGS
from reranker_kd.models.kinds import kind_of, token_encoder_of
from reranker_kd.models.loading import load_tokenizer
from reranker_kd.models.registry import model_folder
from reranker_kd.progress import progress_bar

WORK = ".work"
"""Beneath the student's folder: transfer set, checkpoints; it can be deleted when the student is finished."""

_RECIPE = "recipe.json"
_KEPT = ("transfer-set", "stage-*", "checkpoints-*")


def distill(
    recipe: DistillRecipe | str | Path, output: str | Path, *, cache: str | Path | None = None, quiet: bool = False
) -> Report | None:
    """Make a student, measure it, and write report and model card; go on where an earlier call was stopped.

    :param recipe: or its file, see :func:`~reranker_kd.distill.recipe.read_distill_recipe`
    :param output: becomes the student's folder, which :func:`reranker_kd.load_reranker` opens
    :param cache: where models keep their scores, shared by all students; by default beside the work
    :return: under torchrun None in all processes but the first, which alone measures
    :raises RecipeError: a recipe that cannot be carried out, before any training starts
    :raises InputError: the folder holds work of another recipe
    """
    output = Path(output)
    if not isinstance(recipe, DistillRecipe):
        recipe = read_distill_recipe(recipe)
    distilled = make_student(recipe, output, cache=Path(cache) if cache else None, quiet=quiet)
    if not PartialState().is_main_process:
        return None
    report = make_report(output, distilled)
    write_report(output, recipe, distilled, report)
    return report


def make_student(recipe: DistillRecipe, output: Path, *, cache: Path | None = None, quiet: bool = False) -> Distilled:
    """Make a student, and no report; see :func:`distill`."""
    work = output / WORK
    _claim(output, recipe)
    student = build_student(recipe.student, recipe.seed)
    named = {part for name, _ in student.network.named_parameters() for part in name.split(".")}
    if unknown := recipe.training.learning_rates.keys() - named:
        raise RecipeError(f"training.learning_rates: no weight of this student has {min(unknown)} in its name")
    stages = recipe.all_stages()
    reads = frozenset().union(*(stage.reads for stage in stages))
    layers = _layer_teacher(recipe, student) if reads & LAYERS.keys() else None
    embedder = encoder_of(_first_model(recipe.teacher)) if "embeddings" in reads else None
    width = None if embedder is None else embedder.dimension
    # Made once now, so that what cannot be is known before hours of scoring.
    for stage in stages:
        Distiller(student, stage, layers, width)
    scores_folder = cache or work / "scores"
    teacher = make_teacher(recipe.teacher, scores_folder) if recipe.teacher and "teacher" in reads else None
    validations = tuple(load_validation(settings) for settings in recipe.validation)
    seconds: dict[str, float] = {}
    processes = PartialState(cpu=recipe.training.device == "cpu")
    quiet = quiet or not processes.is_main_process
    # Under torchrun the first process does what is kept on disk, and the others read it there.
    with processes.main_process_first():
        with atomic_writer(work / _RECIPE) as stream:
            json.dump(recipe.model_dump(mode="json"), stream, indent=2)
        with _timed(seconds, "transfer set"):
            transfer_set = _transfer_set(recipe, work, quiet=quiet)
        _check_labels(stages, transfer_set)
        listed = pairs(transfer_set)
        scores = np.full(len(listed), np.nan, dtype=np.float32)
        if teacher is not None:
            bar = progress_bar("scoring by the teacher", len(listed), "pairs", quiet=quiet)
            with _timed(seconds, "teacher"), bar as advancing:
                scores = teacher.scores(transfer_set, listed, advancing.advance)
        # Millions of pairs are much to keep while the student learns.
        del listed
        embeddings = None
        if embedder is not None:
            with _timed(seconds, "teacher embeddings"):
                embeddings = embed_texts(embedder, transfer_set, scores_folder, quiet=quiet)
    with _timed(seconds, "tokens"):
        shape = student.settings
        groups = GroupDataset(
            transfer_set,
            scores,
            FRAMINGS[student.kind.framing](student.tokenizer),
            apart=student.kind.reads == "texts",
            max_length=min(shape.max_length, recipe.training.max_length or shape.max_length),
            max_query_length=getattr(shape, "max_query_length", None) or shape.max_length,
            folder=work / "tokens",
        )
    if not len(groups) and any(stage.over == "groups" for stage in stages):
        raise InputError("empty transfer set: no group has two documents with a teacher's score or a label")
    training = Stages(recipe, student, layers, groups, embeddings, validations, work, quiet)
    log = []
    began = {name: value.clone() for name, value in student.network.state_dict().items()} if recipe.start_share else {}
    for number, stage in enumerate(stages, start=1):
        with _timed(seconds, f"stage {number}"):
            log.append(training.train(number, stage))
    if began:
        learnt = student.network.state_dict()
        student.network.load_state_dict({name: learnt[name].lerp(began[name], recipe.start_share) for name in learnt})
    student.network.eval()
    if processes.is_main_process:
        student.save(output)
    processes.wait_for_everyone()
    return Distilled(student, log, transfer_set, teacher, validations, seconds)


def _claim(output: Path, recipe: DistillRecipe) -> None:
    manifest = output / WORK / _RECIPE
    if manifest.is_file():
        begun, asked = json.loads(manifest.read_text(encoding="utf-8")), recipe.model_dump(mode="json")
        # An earlier version wrote other keys and defaults for the same recipe.
        with suppress(ValidationError, RecipeError):
            begun = DistillRecipe.model_validate(begun).model_dump(mode="json")
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
    given, folder = recipe.transfer_set.folder, work / "transfer-set"
    if given is None and not (folder / GROUPS_FILE).is_file():
        write_transfer_set(folder, make_transfer_set(recipe.transfer_set, work, recipe.seed, quiet=quiet))
    return read_transfer_set(given or folder)


def _check_labels(stages: tuple[Stage, ...], transfer_set: TransferSet) -> None:
    """Raise :class:`InputError` where a loss would learn from labels alone, and there are none."""
    for name in (name for stage in stages for name in stage.losses):
        needed = "labels" in LOSSES[name].reads and not LOSSES[name].needs_teacher
        if needed and all(group.labels is None or np.isnan(group.labels).all() for group in transfer_set.groups):
            raise InputError(
                f"{name} learns from labels, and no document of the transfer set has one: give transfer_set.qrels with "
                "grades of these queries (and positives, so that groups hold graded documents), or stages without it"
            )


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


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Keep the seconds of the block under a name."""
    start = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - start, 1)
