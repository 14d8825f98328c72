"""``reranker-kd evaluate``: the figures of runs, as trec_eval has them."""

from __future__ import annotations

import click

from reranker_kd.cli.options import echo_table, format_option, qrels_option, relevance_level_option
from reranker_kd.evaluate.measures import DEFAULT_MEASURES

measures_option = click.option(
    "-m",
    "--measure",
    "measures",
    metavar="NAME",
    multiple=True,
    default=DEFAULT_MEASURES,
    help="A measure: nDCG@10, AP, RR@10, P@5, R@100, Judged@10, or trec_eval's name for it. Repeatable.",
)


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@qrels_option
@measures_option
@relevance_level_option
@click.option("-q", "--per-query", is_flag=True, help="Also show the figures of each query.")
@click.option(
    "--complete/--no-complete",
    default=True,
    help="Count queries of the qrels that a run lacks as zero (trec_eval -c), or leave them out.",
)
@format_option(["table", "json", "tsv"], "Layout of the output; JSON has all digits.")
def evaluate(
    runs: tuple[str, ...],
    qrels: str,
    measures: tuple[str, ...],
    relevance_level: int,
    per_query: bool,
    complete: bool,
    output_format: str,
) -> None:
    """Evaluate one or several runs against relevance judgments.

    Figures are trec_eval's. A measure that trec_eval knows under one name for several cutoffs, such as P.5,10 or
    official, gives a column for each.
    """
    from reranker_kd.evaluate import evaluation, tables
    from reranker_kd.evaluate.grid import tab_separated
    from reranker_kd.evaluate.measures import parse_measures
    from reranker_kd.retrieve.named_inputs import load_qrels

    # An unknown measure is an error before files are read.
    parse_measures(measures)
    judgments = load_qrels(qrels)
    evaluated = []
    for run in runs:
        figures = evaluation.evaluate(
            run, judgments, measures, relevance_level=relevance_level, missing_as_zero=complete
        )
        evaluated.append((run, figures))
        if missing := len(figures.missing_queries):
            consequence = "they count as zero" if complete else "they are left out"
            note = f"{run} lacks {missing} of the {len(judgments)} queries of the qrels; {consequence}"
            click.echo(note, err=True)
    table = tables.evaluation_table(evaluated, per_query=per_query)
    if output_format == "json":
        document = tables.evaluation_json(
            evaluated, qrels=qrels, relevance_level=relevance_level, missing_as_zero=complete, per_query=per_query
        )
        click.echo(document)
    elif output_format == "tsv":
        click.echo(tab_separated(table))
    else:
        echo_table(table)
