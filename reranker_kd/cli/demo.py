"""``reranker-kd demo``: the whole chain, offline, on the sample collection."""

from __future__ import annotations

import click

from reranker_kd.cli.options import COUNT, echo_table, model_option, quiet_option
from reranker_kd.models.registry import bundled_students


@click.command()
@click.option("--output", default="demo-output", metavar="DIR", help="Folder for all that is made.")
@model_option("Reranker", ". Repeatable.", several=True, default=tuple(bundled_students()))
@click.option("--depth", type=COUNT, default=50, help="Candidates to rerank.")
@quiet_option
def demo(output: str, models: tuple[str, ...], depth: int, quiet: bool) -> None:
    """Build the sample collection, index it, retrieve, rerank, evaluate; print one table.

    The collection is the API documentation of the packages that this one depends on, read from their source files
    on this machine; topics and graded judgments come with the package.
    """
    from pathlib import Path

    from reranker_kd.evaluate.tables import evaluation_table
    from reranker_kd.experiment.recipe import Recipe
    from reranker_kd.experiment.run import run_recipe
    from reranker_kd.provenance import provenance_path
    from reranker_kd.resources.sample_collection import SAMPLE_QRELS, SAMPLE_TOPICS, build_sample_collection

    folder = Path(output)
    collection = folder / "collection.jsonl"
    count = build_sample_collection(collection)
    click.echo(f"wrote {collection}: {count} documents out of the docstrings of installed packages", err=True)
    recipe = Recipe.model_validate(
        {
            "topics": str(SAMPLE_TOPICS),
            "qrels": str(SAMPLE_QRELS),
            "collection": str(collection),
            "rerank": [{"model": model, "depth": depth} for model in models],
            "evaluate": {"measures": ["nDCG@10", "RR@10", "R@50", "Judged@10"], "relevance_level": 2},
        }
    )
    experiment = run_recipe(recipe, folder, quiet=quiet)
    echo_table(evaluation_table(experiment.evaluated, milliseconds=experiment.milliseconds))
    click.echo()
    for finished in experiment.runs:
        click.echo(f"{finished.path}  (and {provenance_path(str(finished.path)).name})")
    click.echo(f"{folder / 'figures.json'}  (per query too)")
    click.echo(f"{folder / 'index'}  (a Lucene index: reranker-kd retrieve --index {folder / 'index'} ...)")
