"""``reranker-kd distill``: a student as a recipe says."""

from __future__ import annotations

import click

from reranker_kd.cli.options import changes_option, quiet_option


@click.command()
@click.argument("recipe", metavar="RECIPE")
@click.option("--output", required=True, metavar="DIR", help="The student's folder.")
@changes_option
@click.option(
    "--cache",
    metavar="DIR",
    help="Where the teacher's scores are kept, to be shared by all students.  [default: beneath --output]",
)
@quiet_option
def distill(recipe: str, output: str, changes: tuple[str, ...], cache: str | None, quiet: bool) -> None:
    """Distil a student from a teacher, as a recipe says.

    The same command goes on where it was stopped. The folder becomes a model that rerank and encode take, with a model
    card and a report beside its weights.
    """
    from reranker_kd.distill import distill as distillation
    from reranker_kd.distill.recipe import read_distill_recipe

    report = distillation.distill(read_distill_recipe(recipe, changes), output, cache=cache, quiet=quiet)
    if report is None:
        # One of several processes under torchrun, and not the first.
        return
    for name, value in report.figures.items():
        click.echo(f"{name:<12} {value:.4f}")
    click.echo(f"wrote {output}: {report.parameters / 1e6:.1f} million parameters, {report.megabytes:.1f} MB", err=True)
