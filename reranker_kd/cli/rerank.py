"""``reranker-kd rerank``: candidates in a better order, by one model or several."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from reranker_kd.cli.options import (
    DEFAULT_RERANKER,
    model_options,
    output_options,
    quiet_option,
    search_options,
    search_settings,
    topics_options,
)

if TYPE_CHECKING:
    from reranker_kd.rerank.base import Reranker
    from reranker_kd.types import Run, TextSource, Topics


@click.command()
@click.option("--candidates", metavar="RUN", help="The run to rerank.  [default: retrieved from --index]")
@topics_options
@click.option("--index", metavar="DIR|NAME", help="Lucene index that stores the texts.")
@click.option("--collection", metavar="FILE|DIR", help="Collection that holds the texts, in place of --index.")
@click.option(
    "--model",
    "models",
    multiple=True,
    default=[DEFAULT_RERANKER],
    show_default=True,
    metavar="NAME",
    help="Reranker: a folder, a name that reranker-kd models lists, or a hub id; or a cascade of them, "
    "'NAME:100 > NAME:20'. Repeatable.",
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
    help="Candidates to rerank for each query.  [default: what the first stage of a cascade says, or 100]",
)
@click.option(
    "--early-stopping",
    type=click.IntRange(min=1),
    metavar="K",
    help="Leave out the rest of a query's candidates once its top K can hardly change any more.",
)
@click.option(
    "--stopping-margin",
    type=float,
    default=2.4,
    show_default=True,
    help="By how many standard deviations the top K must lie above what is still expected; with --early-stopping.",
)
@click.option(
    "--calibrate",
    type=click.IntRange(min=1),
    metavar="QUERIES",
    help="Fit the margin to the first queries, scored in full; with --early-stopping.",
)
@click.option(
    "--budget-ms",
    type=click.FloatRange(min=0, min_open=True),
    metavar="MS",
    help="Milliseconds a query: lowers the depth, or leaves the last stages of a cascade out, as measured here.",
)
@click.option("--timings", metavar="FILE", help="Speeds as benchmark wrote them in JSON; with --budget-ms.")
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
    depth: int | None,
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
    if options["calibrate"] is not None and options["early_stopping"] is None:
        raise click.UsageError("--calibrate fits the margin of --early-stopping: give both")
    if options["timings"] is not None and options["budget_ms"] is None:
        raise click.UsageError("--timings tell the speeds behind --budget-ms: give both")
    outputs = _outputs(output, models)

    from reranker_kd.experiment import stages
    from reranker_kd.rerank.cascade import tag_of
    from reranker_kd.rerank.registry import load_reranker
    from reranker_kd.rerank.rerank_run import pair_count
    from reranker_kd.retrieve.named_inputs import faults_named_in, load_topics

    queries = load_topics(topics, topics_format)
    with faults_named_in(candidates):
        deepest = max(stages.depth_of(model, depth) for model in models)
        run, record = _candidates(candidates, queries, index, deepest, options)
        record |= {"topics": topics, "texts": index or collection}
        for model, path in outputs.items():
            reranker = load_reranker(model, **stages.model_keywords(options))
            at = stages.depth_of(model, depth)
            texts = _texts(reranker, run, at, index, collection, options)
            reranker, at, less = _doing_less(reranker, model, run, queries, texts, at, options)
            reranked, seconds = stages.rerank_and_write(
                run,
                queries,
                texts,
                reranker,
                stages.RunOutput(path, tag, options["output_format"], options["hits"]),
                name=tag_of(model),
                depth=at,
                record=record | less,
                quiet=options["quiet"],
            )
            saved = pair_count(run, at) - reranked.pairs
            left_out = f", {saved} left out" if options["early_stopping"] is not None else ""
            click.echo(
                f"wrote {path}: {reranked.pairs} pairs in {seconds:.1f} s, {reranked.split} of them split into "
                f"passages, {reranked.cut} cut{left_out}",
                err=True,
            )


def _outputs(output: str, models: tuple[str, ...]) -> dict[str, str]:
    from reranker_kd.rerank.cascade import tag_of

    if len(models) > 1 and "{model}" not in output:
        raise click.UsageError("several models need several runs: write {model} into --output, as in run.{model}.txt")
    outputs = {model: output.replace("{model}", tag_of(model)) for model in models}
    if len(set(outputs.values())) < len(models):
        raise click.UsageError("two models would write the same run: name each once, by folders of different names")
    return outputs


def _candidates(
    candidates: str | None, queries: Topics, index: str | None, depth: int, options: dict[str, Any]
) -> tuple[Run, dict[str, Any]]:
    from reranker_kd.experiment import stages
    from reranker_kd.formats.runs import read_run
    from reranker_kd.provenance import file_record
    from reranker_kd.rerank.rerank_run import check_topics

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


def _doing_less(
    reranker: Reranker,
    model: str,
    run: Run,
    queries: Topics,
    texts: TextSource,
    depth: int,
    options: dict[str, Any],
) -> tuple[Reranker, int, dict[str, Any]]:
    from reranker_kd.experiment import stages

    record: dict[str, Any] = {}
    if options["calibrate"] is not None:
        reranker, fitted = stages.calibrate_stopping(reranker, options["calibrate"], run, queries, texts, depth)
        record["calibration"] = str(fitted)
        click.echo(f"early stopping at a {fitted}", err=True)
    if options["budget_ms"] is not None:
        budget = stages.Budget(options["budget_ms"], options["timings"])
        reranker, plan = stages.keep_to_budget(budget, reranker, model, run, queries, texts, depth)
        depth = plan.depths[0]
        record["budget"] = asdict(plan)
        click.echo(str(plan), err=True)
    return reranker, depth, record


def _texts(
    reranker: Reranker, run: Run, depth: int, index: str | None, collection: str | None, options: dict[str, Any]
) -> TextSource:
    from reranker_kd.errors import InputError
    from reranker_kd.rerank.cascade import Cascade
    from reranker_kd.rerank.rerank_run import docids_within
    from reranker_kd.retrieve.named_inputs import texts_of_collection, texts_of_index

    docids = docids_within(run, depth)
    wanted = sorted(reranker.texts_wanted(docids))
    if wanted and index is None and collection is None and isinstance(reranker, Cascade):
        raise InputError("the later stages of a cascade read texts: give them by --collection or --index")
    if options["embeddings"] is not None and wanted and not isinstance(reranker, Cascade):
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
