"""``reranker-kd retrieve``: candidates out of a Lucene index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reranker_kd.cli.options import Verb, options_of, quiet_option, run_option, section, topics_options
from reranker_kd.experiment.recipe import Retrieval


@click.command(cls=Verb)
@click.option("--index", required=True, metavar="DIR|NAME", help="Lucene index, or a prebuilt one that Pyserini knows.")
@topics_options
@run_option
@quiet_option
@options_of(Retrieval)
def retrieve(index: str, topics: str, topics_format: str | None, output: str, quiet: bool, **options: Any) -> None:
    """Retrieve candidates from a Lucene index by BM25 or its relatives and write a run."""
    from reranker_kd.experiment.stages import retrieve_run
    from reranker_kd.retrieve.named_inputs import load_topics, open_index

    retrieval = section(Retrieval, options)
    queries = load_topics(topics, topics_format)
    made = retrieve_run(open_index(index), queries, retrieval, Path(output), {"topics": topics}, quiet=quiet)
    empty = sum(not documents for documents in made.run.values())
    note = f"; {empty} topics match no document" if empty else ""
    click.echo(f"wrote {output}: {len(queries)} topics in {made.seconds:.2f} s{note}", err=True)
