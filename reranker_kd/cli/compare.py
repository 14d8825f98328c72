"""``reranker-kd compare``: runs side by side, with tests against a baseline, ceilings, agreement and cost."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from reranker_kd.cli.evaluate import measures_option
from reranker_kd.cli.options import COUNT, Verb, format_option, partner, qrels_option, relevance_level_option
from reranker_kd.compare.comparison import CORRECTIONS
from reranker_kd.errors import InputError
from reranker_kd.sections import GoesWith, NotWith


@click.command(cls=Verb)
@click.argument("runs", metavar="RUN...", nargs=-1)
@qrels_option
@measures_option
@relevance_level_option
@click.option("--baseline", metavar="RUN", help="What the others are held against.  [default: the first]")
@click.option(
    "--system",
    "groups",
    metavar="NAME=RUN,RUN...",
    multiple=True,
    help="Several seeds or folds of one system, as one row. Repeatable.",
)
@click.option(
    "--candidates",
    metavar="RUN",
    help="The first stage's run, for the ceilings.  [default: the documents in each run itself]",
)
@click.option(
    "--cost",
    "cost_files",
    metavar="FILE",
    multiple=True,
    help="JSON of benchmark, or the index.provenance.json of an encoded folder. Repeatable.",
)
@click.option(
    "--correction",
    type=click.Choice(list(CORRECTIONS)),
    default="holm",
    help="For multiple comparisons, over the systems of a measure: Holm, Bonferroni, Benjamini-Hochberg.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    help="Level of the tests; confidence intervals are at 1 - alpha.",
)
@click.option(
    "--resamples", type=click.IntRange(min=100), default=10_000, help="Of the bootstrap and of the randomisation test."
)
@click.option("-q", "--per-query", is_flag=True, help="JSON: also the figures of each query.")
@format_option(["table", "json", "csv", "latex", "markdown"], "Layout of the output; JSON and CSV have all digits.")
@click.option("--output", metavar="FILE", help="Write there in place of stdout.")
@click.option("--html", metavar="FILE", help="Write a page of tables, pictures and queries, whole in itself.")
@click.option("--plots", metavar="DIR", help="Write the pictures as PNG and SVG, and their data as CSV.")
@click.option("--topics", metavar="FILE|NAME", help="Texts of the queries, for --html and --plots.")
@click.option("--index", metavar="DIR|NAME", help="Lucene index with the texts for --html.")
@click.option("--collection", metavar="FILE|DIR", help="Collection with the texts, in place of --index.")
@click.option("--submission", metavar="DIR", help="Check the runs and write a folder to submit; needs --topics.")
@click.option("--submission-depth", type=COUNT, default=1000, help="Documents that the track allows for a query.")
@partner(NotWith("index"), "collection")
@partner(GoesWith("topics"), "submission")
@partner(GoesWith("submission"), "submission_depth")
def compare(
    runs: tuple[str, ...],
    groups: tuple[str, ...],
    per_query: bool,
    output_format: str,
    output: str | None,
    submission: str | None,
    submission_depth: int,
    **options: Any,
) -> None:
    """Compare runs over the same queries, each with the first or with a baseline.

    Differences are tested by the paired t-test and the paired randomisation test, query by query; a query that a
    run lacks counts as zero. Ceilings tell what no reordering of the candidates can exceed.
    """
    if not runs and not groups and not options["baseline"]:
        raise click.UsageError("name at least one run, or a --system")
    from reranker_kd.compare.compare import compare as compare_runs
    from reranker_kd.compare.tables import comparison_text
    from reranker_kd.formats.files import atomic_writer

    pictures = {key: options.pop(key) for key in ("html", "plots")}
    inputs = {key: options.pop(key) for key in ("topics", "index", "collection")}
    comparison = compare_runs(_systems(runs, groups), **options)
    for system in comparison.systems:
        if missing := len(system.missing_queries):
            note = f"{system.name} lacks {missing} of the {len(comparison.queries)} queries of the qrels"
            click.echo(f"{note}; they count as zero", err=True)
    styled = output is None and sys.stdout.isatty()
    text = comparison_text(comparison, output_format, per_query=per_query, styled=styled)
    if output is None:
        click.echo(text)
    else:
        with atomic_writer(output) as stream:
            stream.write(f"{text}\n")
    if any(pictures.values()):
        from reranker_kd.compare.reports import write_reports

        click.echo("\n".join(write_reports(comparison, **pictures, **inputs)), err=True)
    if submission:
        from reranker_kd.experiment.submission import write_checked_submission
        from reranker_kd.formats.validate import Rules

        files = [run for system in comparison.systems for run in system.runs]
        write_checked_submission(submission, files, **inputs, rules=Rules(depth=submission_depth))


def _systems(runs: Sequence[str], groups: Sequence[str]) -> dict[str, list[str]]:
    """Return name -> runs."""
    named = [(run, [run]) for run in runs]
    for group in groups:
        name, _, listed = group.partition("=")
        paths = [path for path in listed.split(",") if path]
        if not name or not paths:
            raise click.BadParameter(f"{group!r}: expected NAME=RUN,RUN...", param_hint="--system")
        named.append((name, paths))
    for name, _ in named:
        if [other for other, _ in named].count(name) > 1:
            raise InputError(f"{name} is given twice: name each run and each system once")
    return dict(named)
