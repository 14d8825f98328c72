"""What came of a distillation: figures, fidelity to the teacher, loss curves, model card, kept beside the student."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.distill.data.sources import Validation
from reranker_kd.distill.data.transfer_set import ScoredPair, TransferSet, pairs
from reranker_kd.distill.methods import METHODS
from reranker_kd.distill.recipe import DistillRecipe
from reranker_kd.distill.report.fidelity import Fidelity, fidelity
from reranker_kd.distill.students import Student
from reranker_kd.distill.teachers.base import Teacher
from reranker_kd.distill.training.stages import VALIDATION
from reranker_kd.formats.files import atomic_writer
from reranker_kd.provenance import software
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.types import Run, in_rank_order

REPORT = "report"
"""The folder beneath a student's that holds the report."""

_TIMED_PAIRS = 512
_NOT_DRAWN = {"loss", "grad_norm", "learning_rate", "epoch", "step"}


@dataclass(frozen=True, slots=True)
class Distilled:
    """What a distillation brought.

    :param student: the student, its weights as saved
    :param log: of each stage, the entries of its training
    :param transfer_set: what was learnt from
    :param teacher: None where no stage had one
    :param validations: the topics that chose the checkpoint, if there are any
    :param seconds: of each part of the work in this call
    """

    student: Student
    log: list[list[dict[str, float]]]
    transfer_set: TransferSet
    teacher: Teacher | None
    validations: tuple[Validation, ...]
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Report:
    """Figures of a student.

    :param figures: measure on the validation topics of first stage, teacher (where it scored them all) and student;
        of several collections each with its name before it
    :param fidelity: of the student's ranking of the first collection's candidates to the teacher's; None without both
    :param parameters: number of weights
    :param megabytes: of the weights as saved
    :param pairs_per_second: over validation candidates, on this machine; None without validation
    """

    figures: dict[str, float]
    fidelity: Fidelity | None
    parameters: int
    megabytes: float
    pairs_per_second: float | None


def make_report(output: Path, distilled: Distilled) -> Report:
    """Measure a student that lies in ``output``."""
    weights = [path for path in output.rglob("*.safetensors") if not path.relative_to(output).parts[0].startswith(".")]
    size = sum(path.stat().st_size for path in weights) / 1e6
    if not distilled.validations:
        return Report({}, None, distilled.student.parameters, size, None)
    figures: dict[str, float] = {}
    compared = None
    reranker = load_reranker(output, backend="torch")
    names = [validation.name for validation in distilled.validations]
    for place, validation in enumerate(distilled.validations, start=1):
        runs = {"first stage": validation.first_stage(), "student": validation.rerank(reranker)}
        if distilled.teacher is not None:
            teacher_run, complete = _teacher_run(validation, distilled.teacher)
            # A run or qrels may know nothing of these topics.
            if teacher_run:
                compared = compared or fidelity(teacher_run, runs["student"])
            if complete:
                runs["teacher"] = teacher_run
        called = validation.name if names.count(validation.name) == 1 else f"{validation.name}-{place}"
        before = "" if len(names) == 1 else f"{called} "
        figures |= {before + name: validation.measure(run) for name, run in runs.items()}
    speed = _speed(reranker, distilled.validations[0])
    return Report(figures, compared, distilled.student.parameters, size, speed)


def _pairs(validation: Validation) -> list[ScoredPair]:
    return [(qid, docid) for qid, documents in validation.first_stage().items() for docid in documents]


def _teacher_run(validation: Validation, teacher: Teacher) -> tuple[Run, bool]:
    listed = _pairs(validation)
    scores = teacher.scores(TransferSet(dict(validation.topics), validation.texts, ()), listed)
    run: dict[str, dict[str, float]] = {}
    for (qid, docid), score in zip(listed, scores.tolist(), strict=True):
        if not np.isnan(score):
            run.setdefault(qid, {})[docid] = score
    return {qid: in_rank_order(documents) for qid, documents in run.items()}, not np.isnan(scores).any()


def _speed(reranker: Reranker, validation: Validation) -> float:
    listed = [(validation.topics[qid], validation.texts[docid]) for qid, docid in _pairs(validation)[:_TIMED_PAIRS]]
    reranker.score_pairs(listed[:32])
    start = time.perf_counter()
    reranker.score_pairs(listed)
    return len(listed) / (time.perf_counter() - start)


def write_report(output: Path, recipe: DistillRecipe, distilled: Distilled, report: Report) -> None:
    """Write the model card and ``report/``: recipe, log, figures, fidelity as JSON; loss curves as a picture."""
    folder = output / REPORT
    documents: dict[str, Any] = {
        "recipe.json": recipe.model_dump(mode="json"),
        "log.json": distilled.log,
        "figures.json": {
            "validation": report.figures,
            "parameters": report.parameters,
            "megabytes": round(report.megabytes, 2),
            "pairs_per_second": report.pairs_per_second,
            "seconds": distilled.seconds,
            "groups": len(distilled.transfer_set.groups),
            "pairs_seen": _pairs_seen(recipe, distilled),
            "teacher": None if distilled.teacher is None else distilled.teacher.describe(),
            "software": software(),
        },
        "fidelity.json": report.fidelity and report.fidelity.record(),
    }
    for name, content in documents.items():
        if content is not None:
            with atomic_writer(folder / name) as stream:
                json.dump(content, stream, indent=2)
                stream.write("\n")
    draw_losses(distilled.log, folder / "losses.png")
    with atomic_writer(output / "README.md") as stream:
        stream.write(model_card(output.name, recipe, distilled, report))


def draw_losses(log: list[list[dict[str, float]]], path: Path) -> None:
    """Draw the losses of all stages and the validation measure over the updates, one stage after the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="updates", ylabel="loss", yscale="log")
    start = 0
    curves: dict[str, list[tuple[float, float]]] = {}
    for entries in log:
        for entry in entries:
            for name in entry:
                if name == VALIDATION or ("loss" in entry and name not in _NOT_DRAWN):
                    curves.setdefault(name, []).append((start + entry["step"], entry[name]))
        start += _updates(entries)
        axes.axvline(start, color="0.8", linewidth=1)
    validations = curves.pop(VALIDATION, [])
    for style, (name, points) in zip(["-", "--", "-.", ":"] * 4, curves.items(), strict=False):
        axes.plot(*zip(*points, strict=True), style, label=name)
    if validations:
        other = axes.twinx()
        other.set_ylabel("validation")
        other.plot(*zip(*validations, strict=True), "k.-", label="validation")
        other.legend(loc="upper left")
    if curves:
        axes.legend(loc="upper right")
    figure.savefig(path, dpi=150)


def _updates(entries: list[dict[str, float]]) -> int:
    return max((int(entry["step"]) for entry in entries), default=0)


def _pairs_seen(recipe: DistillRecipe, distilled: Distilled) -> int:
    """Return how many pairs the updates went over, those seen again included."""
    a_group = len(pairs(distilled.transfer_set)) / len(distilled.transfer_set.groups)
    groups = [
        _updates(entries) * (stage.batch_groups or recipe.training.batch_groups)
        for stage, entries in zip(recipe.all_stages(), distilled.log, strict=True)
        if stage.over == "groups"
    ]
    return round(sum(groups) * a_group)


def model_card(name: str, recipe: DistillRecipe, distilled: Distilled, report: Report) -> str:
    """Return the README of a student's folder."""
    settings = recipe.student
    # A teacher of embeddings or layers alone gave no scores.
    given = {} if recipe.teacher is None else recipe.teacher.model_dump(exclude_defaults=True)
    described = given if distilled.teacher is None else distilled.teacher.describe()
    teacher = ", ".join(f"{key} {value}" for key, value in described.items() if isinstance(value, str | int | float))
    size = f"{report.parameters / 1e6:.1f} million parameters ({report.megabytes:.1f} MB)"
    steps, seen = [str(_updates(entries)) for entries in distilled.log], _pairs_seen(recipe, distilled)
    start = f"{settings.start}{', its vocabulary alone' if settings.random else ''}"
    lines = [
        f"# {name}",
        "",
        f"A {settings.kind} of {size}, distilled by reranker_kd: `{recipe.method}` ({METHODS[recipe.method].source}).",
        "",
        "```python",
        "from reranker_kd import load_reranker",
        "",
        f'load_reranker("{name}").score("a query", ["a passage", "another one"])',
        "```",
        "",
        "## Training",
        "",
        f"- Teacher: {teacher or 'none'}",
        f"- Start: {start}; inputs of at most {settings.max_length} tokens",
        f"- Transfer set: {len(distilled.transfer_set.groups)} groups, {len(pairs(distilled.transfer_set))} pairs",
        f"- Updates: {', '.join(steps)} of {recipe.training.batch_groups} groups, {seen} pairs; seed {recipe.seed}",
        "",
        "The recipe as it was run, the log and all figures lie in `report/`.",
    ]
    if report.figures:
        measure = " and ".join(dict.fromkeys(settings.measure for settings in recipe.validation))
        chose = "which chose the checkpoint and so flatter the student: report on others"
        lines += ["", "## Figures", "", f"{measure} on the validation topics, {chose}.", ""]
        lines += [f"| run | {measure} |", "| --- | --- |"]
        lines += [f"| {run} | {value:.4f} |" for run, value in report.figures.items()]
    if report.pairs_per_second is not None:
        lines += ["", f"Speed where it was made: {report.pairs_per_second:.0f} pairs a second."]
    if report.fidelity is not None:
        means = report.fidelity.record()["means"]
        shown = ", ".join(f"{key.replace('_', ' ')} {value:.3f}" for key, value in means.items() if value is not None)
        lines += ["", "## Fidelity to the teacher", "", f"Over the validation candidates: {shown}."]
    return "\n".join(lines) + "\n"
