"""``reranker-kd benchmark``: models and backends side by side."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from reranker_kd.cli.options import (
    COUNT,
    Verb,
    echo_table,
    model_option,
    partner,
    quiet_option,
    texts_options,
    topics_options,
)
from reranker_kd.sections import GoesWith


@click.command(cls=Verb)
@model_option("Model", ". Repeatable.", several=True, required=True)
@click.option("--candidates", required=True, metavar="RUN", help="The run whose candidates are scored.")
@topics_options
@texts_options
@click.option("--qrels", metavar="FILE|NAME", help="Qrels, to measure each system's nDCG@10 too.")
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME[:PRECISION]",
    help="Backend, such as torch:bfloat16. Repeatable: each model runs on each.  [default: the model's own]",
)
@click.option(
    "--peer",
    "peers",
    multiple=True,
    metavar="FILE:NAME",
    help="Another library that runs each cross-encoder among the models: its name in a file such as "
    "runs/benchmarks/peers.py. Repeatable.",
)
@click.option("--peer-python", metavar="PATH", help="The Python that has the peers.  [default: this one]")
@click.option("--baseline", metavar="NAME", help="What ratios are taken to: a system's name.  [default: the first]")
@click.option("--depth", type=COUNT, default=100, help="Candidates of each query.")
@click.option("--queries", type=COUNT, help="Take the run's first queries only.  [default: all]")
@click.option("--max-length", type=click.IntRange(min=16), default=256, help="Tokens of an input, for all.")
@click.option("--repeats", type=COUNT, default=3, help="Rounds over all systems.")
@click.option("--device", help="torch device, such as cpu or cuda:1.  [default: a GPU where there is one]")
@click.option("--output", metavar="FILE", help="Write every figure here too, as JSON.")
@quiet_option
@partner(GoesWith("peers"), "peer_python")
def benchmark(
    models: tuple[str, ...],
    candidates: str,
    topics: str,
    index: str | None,
    collection: str | None,
    qrels: str | None,
    output: str | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Measure the speed of models and backends side by side, on real candidates.

    Each runs in a process of its own, in turns; figures are medians over the rounds. One that fails is shown with its
    error, the others go on, and the exit status is 1.
    """
    if (index is None) == (collection is None):
        raise click.UsageError("give the texts by --index or by --collection, one of the two")

    from reranker_kd.benchmark.side_by_side import benchmark as run_benchmark
    from reranker_kd.benchmark.side_by_side import workload_of
    from reranker_kd.benchmark.systems import baseline_of, systems_of
    from reranker_kd.benchmark.table import benchmark_json, benchmark_table, failures, heading
    from reranker_kd.errors import ModelError
    from reranker_kd.formats.files import atomic_writer
    from reranker_kd.formats.runs import read_run
    from reranker_kd.rerank.rerank_run import docids_within
    from reranker_kd.retrieve.named_inputs import faults_named_in, load_qrels, load_topics, texts_of

    systems = systems_of(models, backends=options["backends"], peers=options["peers"], python=options["peer_python"])
    baseline = baseline_of(systems, options["baseline"])
    judgments = None if qrels is None else load_qrels(qrels)
    queries = load_topics(topics, options["topics_format"])
    depth = options["depth"]
    with faults_named_in(candidates):
        run = dict(islice(read_run(candidates).items(), options["queries"]))
        texts = texts_of(index, collection, docids_within(run, depth))
        workload = workload_of(run, queries, texts, depth=depth)
        if judgments is not None and options["queries"] is not None:
            judgments = {query.qid: judgments[query.qid] for query, _ in workload if query.qid in judgments}
        result = run_benchmark(
            systems,
            baseline,
            workload,
            qrels=judgments,
            settings={"candidates": candidates, "topics": topics, "texts": index or collection, "depth": depth},
            on_event=(lambda _: None) if quiet else (lambda message: click.echo(message, err=True)),
            **{key: options[key] for key in ("max_length", "repeats", "device")},
        )
    if output is not None:
        with atomic_writer(output) as stream:
            stream.write(benchmark_json(result) + "\n")
    click.echo(heading(result) + "\n")
    echo_table(benchmark_table(result))
    if failed := failures(result):
        raise ModelError(f"{len(failed)} of {len(systems)} systems did not run: {'; '.join(failed)}")
