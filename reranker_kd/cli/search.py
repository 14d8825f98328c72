"""``reranker-kd search``: dense retrieval over a folder of embeddings."""

from __future__ import annotations

from typing import Any

import click

from reranker_kd.cli.options import DEFAULT_BI_ENCODER, model_options, output_options, quiet_option, topics_options


@click.command()
@click.option("--index", required=True, metavar="DIR", help="Embeddings: by reranker-kd encode, or by Pyserini.")
@click.option(
    "--model",
    default=DEFAULT_BI_ENCODER,
    show_default=True,
    metavar="NAME",
    help="The bi-encoder that made them: a folder, a name that reranker-kd models lists, or a hub id.",
)
@topics_options
@click.option("--output", required=True, metavar="RUN", help="The run to write; .gz compresses it.")
@output_options
@model_options
@click.option("--threads", type=click.IntRange(min=1), help="FAISS threads.  [default: as many as there are cores]")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Topics encoded and searched at once.",
)
@click.option("--ef-search", type=click.IntRange(min=1), help="Nodes to visit; of an HNSW index.")
@click.option("--nprobe", type=click.IntRange(min=1), help="Clusters to visit; of an IVF index.")
@quiet_option
@click.option("--tag", help="Run tag.  [default: the model's name]")
def search(
    index: str, model: str, topics: str, topics_format: str | None, output: str, tag: str | None, **options: Any
) -> None:
    """Search embeddings for the documents nearest to each query and write a run."""
    from reranker_kd.experiment import stages
    from reranker_kd.inference.text_encoder import load_encoder
    from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
    from reranker_kd.retrieve.named_inputs import load_topics

    queries = load_topics(topics, topics_format)
    embeddings = EmbeddingIndex(
        index, ef_search=options["ef_search"], nprobe=options["nprobe"], threads=options["threads"]
    )
    run, seconds = stages.search_and_write(
        embeddings,
        load_encoder(model, **stages.encoder_keywords(options)),
        queries,
        stages.RunOutput(output, tag, options["output_format"], options["hits"]),
        topics_name=topics,
        batch_size=options["batch_size"],
        quiet=options["quiet"],
    )
    click.echo(f"wrote {output}: {len(run)} topics in {seconds:.1f} s", err=True)
