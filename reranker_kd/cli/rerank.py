"""``reranker-kd rerank``: candidates in a better order, by one model or several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from reranker_kd.cli.options import output_options, quiet_option, search_options, search_settings, topics_options

if TYPE_CHECKING:
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
@click.option("--max-length", type=int, help="Tokens of an input.  [default: the model's limit]")
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
@click.option("--batch-tokens", type=click.IntRange(min=1), help="Tokens of a batch, padding included.")
@click.option("--device", help="torch device, such as cpu or cuda:1.  [default: a GPU where there is one]")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "auto"]),
    help="Precision of the network; auto takes bfloat16 where the device computes in it.  [default: float32]",
)
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
    if (index is None) == (collection is None):
        raise click.UsageError("give the texts by --index or by --collection, one of the two")
    if candidates is None and index is None:
        raise click.UsageError("give the candidates by --candidates, or an --index to retrieve them from")
    outputs = _outputs(output, models)

    from reranker_kd import stages
    from reranker_kd.inputs import faults_named_in, load_topics
    from reranker_kd.rerank.registry import load_reranker

    queries = load_topics(topics, topics_format)
    with faults_named_in(candidates):
        run, texts, record = _candidates(candidates, queries, index, collection, depth, options)
        record |= {"topics": topics, "texts": index or collection}
        for model, path in outputs.items():
            reranked, seconds = stages.rerank_and_write(
                run,
                queries,
                texts,
                load_reranker(model, **stages.model_keywords(options)),
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
    candidates: str | None,
    queries: Topics,
    index: str | None,
    collection: str | None,
    depth: int,
    options: dict[str, Any],
) -> tuple[Run, Any, dict[str, Any]]:
    from reranker_kd import stages
    from reranker_kd.formats.runs import read_run
    from reranker_kd.inputs import texts_of_collection, texts_of_index
    from reranker_kd.provenance import file_record
    from reranker_kd.rerank.run import check_topics

    if candidates is not None:
        run = read_run(candidates)
        check_topics(run, queries)
        record = {"candidates": file_record(candidates)}
        if collection is not None:
            return run, texts_of_collection(collection, run, depth), record
    from reranker_kd.retrieve.lucene import LuceneIndex

    lucene = LuceneIndex(index or "")
    texts = texts_of_index(lucene, threads=options["threads"])
    if candidates is not None:
        return run, texts, record
    retrieved = stages.retrieve(
        lucene,
        queries,
        search_settings(options),
        hits=max(options["hits"], depth),
        threads=options["threads"],
        batch_size=options["batch_size"],
        quiet=options["quiet"],
    )
    return retrieved.run, texts, {"candidates": retrieved.record}
