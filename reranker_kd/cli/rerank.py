"""``reranker-kd rerank``: candidates in a better order, by one model or several."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import click

from reranker_kd.cli.options import (
    Verb,
    model_option,
    model_or,
    options_of,
    partner,
    quiet_option,
    run_option,
    section,
    texts_options,
    topics_options,
)
from reranker_kd.experiment.recipe import Recipe, Reranking, Retrieval
from reranker_kd.models.registry import DEFAULT_RERANKER
from reranker_kd.retrieve.lucene import SearchSettings
from reranker_kd.sections import NotWith

_SEARCH = ["k1", "b", "rm3", "rocchio", "qld", "fields", "language", "batch_size"]
"""What has no effect on candidates out of a file; threads fetch texts, too."""


@click.command(cls=Verb)
@click.option("--candidates", metavar="RUN", help="The run to rerank.  [default: retrieved from --index]")
@topics_options
@texts_options
@model_option(
    "Reranker",
    f"; or a cascade of them, 'NAME:100 > NAME:20'. Repeatable.  [default: {DEFAULT_RERANKER}]",
    several=True,
)
@run_option
@quiet_option
@options_of(Reranking)
@options_of(SearchSettings, ["threads"])
@options_of(SearchSettings, _SEARCH)
@partner(NotWith("candidates"), *_SEARCH)
def rerank(output: str, models: tuple[str, ...], **options: Any) -> None:
    """Rerank candidates with one or more models and write a run for each.

    Candidates come from a run file, or straight from an index by BM25 and its relatives. Documents below --depth
    keep their order after the reranked ones. With several models, --output holds {model}, which stands for each name.
    """
    from reranker_kd.experiment.run import runs_of
    from reranker_kd.retrieve.named_inputs import load_topics

    if len(models) > 1 and "{model}" not in output:
        raise click.UsageError("several models need several runs: write {model} into --output, as in run.{model}.txt")
    if options["candidates"] is None and options["index"] is None:
        raise click.UsageError("give the candidates by --candidates, or an --index to retrieve them from")
    rerankings = [section(Reranking, options, model=model) for model in models or [model_or(DEFAULT_RERANKER, None)]]
    retrieved = {key: options[key] for key in [*_SEARCH, "threads"]}
    if options["candidates"] is None:
        retrieved["hits"] = max(options["hits"], *(reranking.full_depth for reranking in rerankings))
    recipe = section(Recipe, options, rerank=rerankings, retrieve=section(Retrieval, retrieved))
    topics = load_topics(recipe.topics, recipe.topics_format)
    paths = {one.run_name: Path(output.replace("{model}", one.run_name)) for one in rerankings}
    for finished in islice(runs_of(recipe, topics, paths.get, quiet=options["quiet"]), 1, None):
        counts = finished.record["counts"]
        passages = f"passages ({counts['passages']} read)" if counts["pairs_split_into_passages"] else "passages"
        click.echo(
            f"wrote {finished.path}: {counts['pairs']} pairs in {finished.seconds:.1f} s, "
            f"{counts['pairs_split_into_passages']} of them split into {passages}, {counts['pairs_cut']} cut",
            err=True,
        )
