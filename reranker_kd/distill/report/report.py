"""What came of a distillation: figures, fidelity to the teacher, loss curves, kept beside the student."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.distill.data.sources import Validation
from reranker_kd.distill.data.transfer_set import Group, TransferSet, pairs
from reranker_kd.distill.recipe import DistillRecipe, as_json
from reranker_kd.distill.report.fidelity import Fidelity, fidelity
from reranker_kd.distill.students import Student
from reranker_kd.distill.teachers.base import Teacher
from reranker_kd.distill.training.train import VALIDATION
from reranker_kd.formats.files import atomic_writer
from reranker_kd.provenance import software
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.types import Run, in_rank_order

REPORT = "report"
"""The folder beneath a student's that holds the report."""

_TIMED_PAIRS = 512


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
        own, alike = _measured(reranker, validation, distilled.teacher)
        called = validation.name if names.count(validation.name) == 1 else f"{validation.name}-{place}"
        figures |= {name if len(names) == 1 else f"{called} {name}": value for name, value in own.items()}
        compared = compared or alike
    speed = _speed(reranker, distilled.validations[0])
    return Report(figures, compared, distilled.student.parameters, size, speed)


def _measured(
    reranker: Reranker, validation: Validation, teacher: Teacher | None
) -> tuple[dict[str, float], Fidelity | None]:
    student_run = validation.rerank(reranker)
    runs: dict[str, Run] = {"first stage": validation.first_stage(), "student": student_run}
    compared = None
    if teacher is not None:
        teacher_run, complete = _teacher_run(validation, teacher)
        # A run or qrels may know nothing of these topics.
        compared = fidelity(teacher_run, student_run) if teacher_run else None
        if complete:
            runs["teacher"] = teacher_run
    return {name: validation.measure(run) for name, run in runs.items()}, compared


def _teacher_run(validation: Validation, teacher: Teacher) -> tuple[Run, bool]:
    groups = tuple(Group(qid, tuple(documents)) for qid, documents in validation.first_stage().items() if documents)
    transfer_set = TransferSet(dict(validation.topics), validation.texts, groups)
    listed = pairs(transfer_set)
    scores = teacher.scores(transfer_set, listed, lambda _: None)
    run: dict[str, dict[str, float]] = {}
    for (qid, docid), score in zip(listed, scores.tolist(), strict=True):
        if not np.isnan(score):
            run.setdefault(qid, {})[docid] = score
    return {qid: in_rank_order(documents) for qid, documents in run.items()}, not np.isnan(scores).any()


def _speed(reranker: Reranker, validation: Validation) -> float:
    listed = [
        (validation.topics[qid], validation.texts[docid])
        for qid, documents in validation.first_stage().items()
        for docid in documents
    ][:_TIMED_PAIRS]
    reranker.score_pairs(listed[:32])
    start = time.perf_counter()
    reranker.score_pairs(listed)
    return len(listed) / (time.perf_counter() - start)


def write_report(output: Path, recipe: DistillRecipe, distilled: Distilled, report: Report) -> None:
    """Write ``report/``: recipe, log, figures, fidelity as JSON; loss curves as a picture."""
    folder = output / REPORT
    fidelity_record = None if report.fidelity is None else report.fidelity.record()
    documents: dict[str, Any] = {
        "recipe.json": as_json(recipe),
        "log.json": distilled.log,
        "figures.json": {
            "validation": report.figures,
            "parameters": report.parameters,
            "megabytes": round(report.megabytes, 2),
            "pairs_per_second": report.pairs_per_second,
            "seconds": distilled.seconds,
            "groups": len(distilled.transfer_set.groups),
            "teacher": None if distilled.teacher is None else distilled.teacher.describe(),
            "software": software(),
        },
        "fidelity.json": fidelity_record,
    }
    for name, content in documents.items():
        if content is not None:
            with atomic_writer(folder / name) as stream:
                json.dump(content, stream, indent=2)
                stream.write("\n")
    draw_losses(distilled.log, folder / "losses.png")


def draw_losses(log: list[list[dict[str, float]]], path: Path) -> None:
    """Draw the losses of all stages and the validation measure over the updates, one stage after the other."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="updates", ylabel="loss", yscale="log")
    start = 0
    curves: dict[str, list[tuple[float, float]]] = {}
    validations = []
    for entries in log:
        for entry in entries:
            step = start + entry["step"]
            if f"eval_{VALIDATION}" in entry:
                validations.append((step, entry[f"eval_{VALIDATION}"]))
            for name, value in entry.items():
                if "loss" in entry and name not in ("loss", "grad_norm", "learning_rate", "epoch", "step"):
                    curves.setdefault(name, []).append((step, value))
        start += max((int(entry["step"]) for entry in entries), default=0)
        axes.axvline(start, color="0.8", linewidth=1)
    for style, (name, points) in zip(["-", "--", "-.", ":"] * 4, curves.items(), strict=False):
        axes.plot(*zip(*points, strict=True), style, label=name)
    if validations:
        other = axes.twinx()
        other.set_ylabel("validation")
        other.plot(*zip(*validations, strict=True), "k.-", label="validation")
        other.legend(loc="upper left")
    if curves:
        axes.legend(loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
