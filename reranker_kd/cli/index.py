"""``reranker-kd index``: from a collection to a Lucene index."""

from __future__ import annotations

import time
from typing import Any

import click

from reranker_kd.cli.options import COUNT, Verb, partner, quiet_option
from reranker_kd.sections import GoesWith


@click.command(cls=Verb)
@click.option(
    "--collection",
    required=True,
    metavar="FILE|DIR",
    help="JSONL (id and contents, or BEIR's _id, title and text) or TSV (docid TAB text), also gzipped, or a folder.",
)
@click.option("--index", required=True, metavar="DIR", help="Folder of the new index.")
@click.option(
    "--collection-class",
    metavar="NAME",
    help="Let this class of Anserini's read the folder instead, such as TrecCollection.",
)
@click.option(
    "--generator",
    default="DefaultLuceneDocumentGenerator",
    help="Anserini's document generator; with --collection-class.",
)
@click.option("--fields", multiple=True, metavar="NAME", help="Index this field too; with --collection-class.")
@click.option("--threads", type=COUNT, default=2, help="Lucene threads.")
@click.option("--overwrite", is_flag=True, help="Replace an index that is there.")
@quiet_option
@partner(GoesWith("collection_class"), "generator", "fields")
def index(collection: str, index: str, collection_class: str | None, quiet: bool, **options: Any) -> None:
    """Build a Lucene index from a collection, with positions, document vectors and texts stored."""
    if collection_class:
        from reranker_kd.retrieve.indexing import build_index_with_class

        build_index_with_class(collection, collection_class, index, **options)
        click.echo(f"indexed {collection} into {index}", err=True)
        return
    from reranker_kd.experiment.stages import index_collection

    start = time.perf_counter()
    settings = {key: options[key] for key in ("threads", "overwrite")}
    indexed, empty = index_collection(collection, index, quiet=quiet, **settings)
    seconds = time.perf_counter() - start
    click.echo(f"indexed {indexed} documents into {index} in {seconds:.1f} s", err=True)
    if empty:
        click.echo(f"left out {len(empty)} documents without text; the first is {empty[0]}", err=True)
