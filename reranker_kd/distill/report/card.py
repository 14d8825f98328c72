"""The model card of a student."""

from __future__ import annotations

from reranker_kd.distill.data.transfer_set import pairs
from reranker_kd.distill.methods import METHODS
from reranker_kd.distill.recipe import DistillRecipe
from reranker_kd.distill.report.report import Distilled, Report
from reranker_kd.distill.teachers.base import Teacher


def model_card(name: str, recipe: DistillRecipe, distilled: Distilled, report: Report) -> str:
    """Return the README of a student's folder."""
    settings = recipe.student
    size = f"{report.parameters / 1e6:.1f} million parameters ({report.megabytes:.1f} MB)"
    steps = [str(max((int(entry["step"]) for entry in entries), default=0)) for entries in distilled.log]
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
        f"- Teacher: {_teacher_line(recipe, distilled.teacher)}",
        f"- Start: {start}; inputs of at most {settings.max_length} tokens",
        f"- Transfer set: {len(distilled.transfer_set.groups)} groups, {len(pairs(distilled.transfer_set))} pairs",
        f"- Updates: {', '.join(steps)} of {recipe.training.batch_groups} groups; seed {recipe.seed}",
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


def _teacher_line(recipe: DistillRecipe, teacher: Teacher | None) -> str:
    # A teacher of embeddings or layers alone gave no scores.
    settings = {} if recipe.teacher is None else recipe.teacher.model_dump(exclude_defaults=True)
    described = settings if teacher is None else teacher.describe()
    named = [f"{key} {value}" for key, value in described.items() if isinstance(value, str | int | float)]
    return ", ".join(named) or "none"
