"""``reranker-kd search``: dense retrieval over a folder of embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reranker_kd.cli.options import (
    COUNT,
    Verb,
    model_option,
    model_options,
    model_or,
    options_of,
    quiet_option,
    run_option,
    section,
    topics_options,
)
from reranker_kd.experiment.recipe import Output
from reranker_kd.inference.options import ModelOptions
from reranker_kd.models.registry import DEFAULT_BI_ENCODER


@click.command(cls=Verb)
@click.option("--index", required=True, metavar="DIR", help="Embeddings: by reranker-kd encode, or by Pyserini.")
@model_option("The bi-encoder that made them", f".  [default: {DEFAULT_BI_ENCODER}]")
@topics_options
@run_option
@options_of(Output)
@model_options
@click.option("--threads", type=COUNT, help="FAISS threads.  [default: as many as there are cores]")
@click.option("--batch-size", type=COUNT, default=256, help="Topics encoded and searched at once.")
@click.option("--ef-search", type=COUNT, help="Nodes to visit; of an HNSW index.")
@click.option("--nprobe", type=COUNT, help="Clusters to visit; of an IVF index.")
@quiet_option
def search(index: str, model: str | None, topics: str, topics_format: str | None, output: str, **options: Any) -> None:
    """Search embeddings for the documents nearest to each query and write a run."""
    from reranker_kd.experiment.stages import search_run
    from reranker_kd.inference.text_encoder import load_encoder
    from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
    from reranker_kd.retrieve.named_inputs import load_topics

    queries = load_topics(topics, topics_format)
    made = search_run(
        EmbeddingIndex(index, ef_search=options["ef_search"], nprobe=options["nprobe"], threads=options["threads"]),
        load_encoder(model_or(DEFAULT_BI_ENCODER, model), **section(ModelOptions, options).changed()),
        queries,
        section(Output, options),
        Path(output),
        {"topics": topics},
        batch_size=options["batch_size"],
        quiet=options["quiet"],
    )
    click.echo(f"wrote {output}: {len(made.run)} topics in {made.seconds:.1f} s", err=True)
