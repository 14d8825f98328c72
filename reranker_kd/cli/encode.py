"""``reranker-kd encode``: a collection's embeddings, in a folder that Pyserini's FaissSearcher opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reranker_kd.cli.options import COUNT, Verb, model_option, model_options, model_or, partner, quiet_option, section
from reranker_kd.inference.options import ModelOptions
from reranker_kd.models.registry import DEFAULT_BI_ENCODER
from reranker_kd.sections import NotWith

_ENCODING = ["model", *ModelOptions.model_fields, "part_size", "shard_id", "shard_num"]
"""What has no effect where the vectors are there already."""


@click.command(cls=Verb)
@click.option("--collection", metavar="FILE|DIR", help="Collection to encode.")
@model_option("Bi-encoder", f".  [default: {DEFAULT_BI_ENCODER}]")
@click.option(
    "--embeddings",
    metavar="DIR",
    help="Take the vectors of this folder in place of encoding a collection: the same embeddings, another index type.",
)
@click.option("--output", required=True, metavar="DIR", help="Folder for the files index and docid.")
@click.option(
    "--index-type",
    default="Flat",
    metavar="TYPE",
    help="Flat, fp16, SQ8, PQ48, HNSW32, IVF256,Flat or another of FAISS's factory strings.",
)
@model_options
@click.option(
    "--part-size",
    type=COUNT,
    default=2048,
    help="Documents encoded between two saves: what a killed call loses at most.",
)
@click.option("--shard-id", type=click.IntRange(min=0), default=0, help="Which share to encode.")
@click.option("--shard-num", type=COUNT, default=1, help="Shares in all.")
@click.option("--overwrite", is_flag=True, help="Replace the embeddings that the folder holds.")
@quiet_option
@partner(NotWith("embeddings"), *_ENCODING)
def encode(collection: str | None, model: str | None, embeddings: str | None, output: str, **options: Any) -> None:
    """Encode a collection by a bi-encoder into a folder that Pyserini's FaissSearcher opens.

    The same command goes on where it was stopped. Shards of one encoding write to the same --output, side by side or
    one after the other; whoever finishes the last one writes the index.
    """
    if options["shard_id"] >= options["shard_num"]:
        raise click.UsageError(f"--shard-id counts from 0: with --shard-num {options['shard_num']} give less than that")
    if (embeddings is None) == (collection is None):
        raise click.UsageError("give the documents by --collection, or the vectors by --embeddings, one of the two")
    if embeddings is not None:
        return _convert(embeddings, Path(output), options)
    return _encode(str(collection), model_or(DEFAULT_BI_ENCODER, model), Path(output), options)


def _convert(embeddings: str, output: Path, options: dict[str, Any]) -> None:
    from reranker_kd.progress import progress_bar
    from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
    from reranker_kd.retrieve.dense.encoding import convert_embeddings

    index = EmbeddingIndex(embeddings)
    with progress_bar("indexing", len(index), "vectors", quiet=options["quiet"]) as bar:
        convert_embeddings(
            index, output, options["index_type"], overwrite=options["overwrite"], on_progress=bar.advance
        )
    click.echo(f"wrote {output}: {len(index)} vectors as {options['index_type']}", err=True)


def _encode(collection: str, model: str, output: Path, options: dict[str, Any]) -> None:
    from reranker_kd.inference.text_encoder import load_encoder
    from reranker_kd.progress import progress_bar
    from reranker_kd.retrieve.dense import encoding
    from reranker_kd.retrieve.dense.index_types import resolve_index_type

    encoder = load_encoder(model, **section(ModelOptions, options).changed())
    resolve_index_type(options["index_type"], encoder.dimension)
    survey = encoding.survey_collection(collection)
    if survey.empty:
        click.echo(f"{len(survey.empty)} documents without text get no embedding (first: {survey.empty[0]})", err=True)
    settings = {key: options[key] for key in ("index_type", "part_size", "overwrite")}
    settings["shard"] = options["shard_id"], options["shard_num"]
    with progress_bar("encoding", survey.documents, "documents", quiet=options["quiet"]) as bar:
        encoded = encoding.encode_collection(collection, survey, encoder, output, on_progress=bar.advance, **settings)
    done = f"{encoded.documents} documents encoded, {encoded.cut} of them cut to {encoder.max_document_length} tokens"
    if encoded.missing:
        click.echo(f"{output}: {done}; {encoded.missing} parts are left to other shards", err=True)
    else:
        click.echo(f"wrote {output}: {survey.documents} vectors as {options['index_type']}; {done}", err=True)
