"""``reranker-kd run``: an experiment as a recipe declares it."""

from __future__ import annotations

import click

from reranker_kd.cli.options import changes_option, echo_table, quiet_option


@click.command()
@click.argument("recipe", metavar="RECIPE.yaml")
@click.option(
    "--output", metavar="DIR", help="Folder for runs and figures.  [default: the recipe's path without .yaml]"
)
@changes_option
@click.option(
    "--submission", metavar="DIR", help="Check the reranked runs by a track's rules and write a folder to submit."
)
@quiet_option
def run(recipe: str, output: str | None, changes: tuple[str, ...], submission: str | None, quiet: bool) -> None:
    """Retrieve, rerank and evaluate as a recipe says, and leave everything in one folder."""
    from pathlib import Path

    from reranker_kd.evaluate.tables import evaluation_table
    from reranker_kd.experiment.recipe import read_recipe
    from reranker_kd.experiment.run import run_recipe

    folder = Path(output) if output else Path(recipe).with_suffix("")
    if folder == Path(recipe):
        raise click.UsageError(f"{recipe} has no suffix to drop: name the folder by --output")
    asked = read_recipe(recipe, changes)
    experiment = run_recipe(asked, folder, quiet=quiet)
    if experiment.evaluated:
        echo_table(evaluation_table(experiment.evaluated, milliseconds=experiment.milliseconds))
    click.echo(f"wrote {len(experiment.runs)} runs and their figures into {folder}", err=True)
    if submission:
        from reranker_kd.experiment.submission import write_checked_submission

        # The first stage is what was reranked, and where it was only read, not ours.
        reranked = [str(finished.path) for finished in experiment.runs[1:]]
        write_checked_submission(
            submission, reranked, topics=asked.topics, index=asked.index, collection=asked.collection
        )
