"""``reranker-kd retrieve``: candidates out of a Lucene index."""

from __future__ import annotations

from typing import Any

import click

from reranker_kd.cli.options import output_options, quiet_option, search_options, search_settings, topics_options


@click.command()
@click.option("--index", required=True, metavar="DIR|NAME", help="Lucene index, or a prebuilt one that Pyserini knows.")
@topics_options
@click.option("--output", required=True, metavar="RUN", help="The run to write; .gz compresses it.")
@output_options
@quiet_option
@search_options
@click.option("--max-passage", is_flag=True, help="Keep the best passage of each document only.")
@click.option(
    "--max-passage-hits",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Documents to keep; with --max-passage.",
)
@click.option(
    "--max-passage-delimiter",
    default="#",
    show_default=True,
    help="What stands between document and passage in a docid; with --max-passage.",
)
@click.option("--remove-query", is_flag=True, help="Drop the document whose docid is the qid.")
@click.option("--tag", help="Run tag.  [default: the scoring function]")
def retrieve(index: str, topics: str, topics_format: str | None, output: str, tag: str | None, **options: Any) -> None:
    """Retrieve candidates from a Lucene index by BM25 or its relatives and write a run."""
    from reranker_kd.experiment import stages
    from reranker_kd.retrieve.lucene import LuceneIndex
    from reranker_kd.retrieve.named_inputs import load_topics

    settings = search_settings(options)
    queries = load_topics(topics, topics_format)
    folding = None
    if options["max_passage"]:
        folding = stages.PassageFolding(options["max_passage_delimiter"], options["max_passage_hits"])
    retrieved = stages.retrieve(
        LuceneIndex(index),
        queries,
        settings,
        hits=options["hits"],
        threads=options["threads"],
        batch_size=options["batch_size"],
        folding=folding,
        remove_query=options["remove_query"],
        quiet=options["quiet"],
    )
    run_output = stages.RunOutput(output, tag, options["output_format"], options["hits"])
    stages.write_retrieved(retrieved, run_output, settings, topics_name=topics)
    empty = sum(not documents for documents in retrieved.run.values())
    note = f"; {empty} topics match no document" if empty else ""
    click.echo(f"wrote {output}: {len(queries)} topics in {retrieved.seconds:.2f} s{note}", err=True)
