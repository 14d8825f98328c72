"""``reranker-kd rerank``: candidates in a better order, by one model or several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reranker_kd.cli.options import (
    model_options,
    output_options,
    quiet_option,
    search_options,
    search_settings,
    topics_options,
)

if TYPE_CHECKING:
    from reranker_kd.rerank.base import Reranker
    from reranker_kd.rerank.run import TextSource
    from reranker_kd.types import Run, Topics


@click.command()
@click.option("--candidates", metavar="RUN", help="The run to rerank.  [default: retrieved from --index]")
@topics_options
@click.option("--index", metavar="DIR|NAME", help="Lucene index that stores the texts.")
@click.option("--collection", metavar="FILE|DIR", help="Collection that holds the texts, in place of --index.")
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="NAME",
    help="Reranker: a folder, a name that reranker-kd models lists, or a hub id. Repeatable.",
)
@click.option(
    "--embeddings",
    metavar="DIR",
    help="Precomputed embeddings of the documents, by reranker-kd encode or Pyserini: no text is read or encoded.",
)
@click.option(
    "--output",
    required=True,
    metavar="RUN",
    help="The run to write; .gz compresses it. With several models it holds {model}, which stands for each name.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Candidates to rerank for each query.",
)
@output_options
@quiet_option
@click.option("--tag", help="Run tag.  [default: the model's name]")
@model_options
@click.option(
    "--long-documents",
    type=click.Choice(["maxp", "firstp", "meanp", "topk"]),
    default="maxp",
    show_default=True,
    help="Score of a document out of its passages: best, first, mean, mean of the best few.",
)
@click.option("--passage-length", type=click.IntRange(min=1), help="Tokens of a passage.  [default: what fits]")
@click.option("--passage-stride", type=click.IntRange(min=1), help="Tokens between passages.  [default: half of it]")
@click.option("--top-passages", type=click.IntRange(min=1), default=3, show_default=True, help="Passages; with topk.")
@search_options
def rerank(
    candidates: str | None,
    topics: str,
    topics_format: str | None,
    index: str | None,
    collection: str | None,
    models: tuple[str, ...],
    output: str,
    depth: int,
    tag: str | None,
    **options: Any,
) -> None:
    """Rerank candidates with one or more models and write a run for each.

    Candidates come from a run file, or straight from an index by BM25 and its relatives. Documents below --depth
    keep their order after the reranked ones.
    """
    if index is not None and collection is not None:
        raise click.UsageError("give the texts by --index or by --collection, one of the two")
    if index is None and collection is None and options["embeddings"] is None:
        raise click.UsageError("give the texts by --index or by --collection, or the documents' --embeddings")
    if candidates is None and index is None:
        raise click.UsageError("give the candidates by --candidates, or an --index to retrieve them from")
    outputs = _outputs(output, models)

    from reranker_kd import stages
    from reranker_kd.inputs import faults_named_in, load_topics
    from reranker_kd.rerank.registry import load_reranker

    queries = load_topics(topics, topics_format)
    with faults_named_in(candidates):
        run, record = _candidates(candidates, queries, index, depth, options)
        record |= {"topics": topics, "texts": index or collection}
        for model, path in outputs.items():
            reranker = load_reranker(model, **stages.model_keywords(options))
            reranked, seconds = stages.rerank_and_write(
                run,
                queries,
                _texts(reranker, run, depth, index, collection, options),
                reranker,
                stages.RunOutput(path, tag, options["output_format"], options["hits"]),
                name=stages.tag_of(model),
                depth=depth,
                record=record,
                quiet=options["quiet"],
            )
            click.echo(
                f"wrote {path}: {reranked.pairs} pairs in {seconds:.1f} s, {reranked.split} of them split into "
                f"passages, {reranked.cut} cut",
                err=True,
            )


def _outputs(output: str, models: tuple[str, ...]) -> dict[str, str]:
    from reranker_kd.stages import tag_of

    if len(models) > 1 and "{model}" not in output:
        raise click.UsageError("several models need several runs: write {model} into --output, as in run.{model}.txt")
    outputs = {model: output.replace("{model}", tag_of(model)) for model in models}
    if len(set(outputs.values())) < len(models):
        raise click.UsageError("two models would write the same run: name each once, by folders of different names")
    return outputs


def _candidates(
    candidates: str | None, queries: Topics, index: str | None, depth: int, options: dict[str, Any]
) -> tuple[Run, dict[str, Any]]:
    from reranker_kd import stages
    from reranker_kd.formats.runs import read_run
    from reranker_kd.provenance import file_record
    from reranker_kd.rerank.run import check_topics

    if candidates is not None:
        run = read_run(candidates)
        check_topics(run, queries)
        return run, {"candidates": file_record(candidates)}
    from reranker_kd.retrieve.lucene import LuceneIndex

    retrieved = stages.retrieve(
        LuceneIndex(index or ""),
        queries,
        search_settings(options),
        hits=max(options["hits"], depth),
        threads=options["threads"],
        batch_size=options["batch_size"],
        quiet=options["quiet"],
    )
    return retrieved.run, {"candidates": retrieved.record}


def _texts(
    reranker: Reranker, run: Run, depth: int, index: str | None, collection: str | None, options: dict[str, Any]
) -> TextSource:
    from reranker_kd.errors import InputError
    from reranker_kd.inputs import texts_of_collection, texts_of_index
    from reranker_kd.rerank.run import docids_within

    docids = docids_within(run, depth)
    wanted = sorted(reranker.texts_wanted(docids))
    if options["embeddings"] is not None and wanted:
        lacking = f"{len(wanted)} of {len(docids)} documents have no embedding there ({', '.join(wanted[:3])}"
        lacking += ", ...)" if len(wanted) > 3 else ")"
        if index is None and collection is None:
            raise InputError(
                f"{options['embeddings']}: {lacking}: give their texts by --collection or --index, or encode them too"
            )
        click.echo(f"{options['embeddings']}: {lacking}: encoding them now", err=True)
    if not wanted:
        return lambda _: {}
    if collection is not None:
        return texts_of_collection(collection, wanted)
    from reranker_kd.retrieve.lucene import LuceneIndex

    return texts_of_index(LuceneIndex(index or ""), threads=options["threads"])
