"""``reranker-kd adapt``: a student fitted to a collection, out of its index alone."""

from __future__ import annotations

import click

from reranker_kd.cli.options import COUNT, quiet_option
from reranker_kd.models.registry import DEFAULT_BI_ENCODER


@click.command()
@click.option("--index", required=True, metavar="INDEX", help="Folder with a Lucene index that stores its texts.")
@click.option("--output", required=True, metavar="DIR", help="The fitted student's folder.")
@click.option(
    "--model", default=DEFAULT_BI_ENCODER, metavar="MODEL", help="The student to start from, bundled or a folder."
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="MODEL",
    help="A reranker whose scores are learnt, with BM25's. Repeatable.  [default: the bundled students]",
)
@click.option("--queries", type=COUNT, default=4000, help="Queries to make and to learn from at most.")
@click.option("--seed", type=click.IntRange(min=0), default=1, help="Of all that is drawn at random.")
@quiet_option
def adapt(index: str, output: str, model: str, teachers: tuple[str, ...], queries: int, seed: int, quiet: bool) -> None:
    """Fit a student to a collection, of which nothing is known but its index.

    Queries are made of the documents: titles, sentences and salient spans. BM25 finds their candidates, the teachers
    score these, and the student learns the scores. Documents held back tell whether that helped; if not, the folder
    holds the student as it was. The same command goes on where it was stopped.
    """
    from reranker_kd.distill.adapt import MEASURE
    from reranker_kd.distill.adapt import adapt as fit

    found = fit(index, output, model, teachers=teachers, queries=queries, seed=seed, quiet=quiet)
    click.echo(f"before  {found.before:.4f}")
    click.echo(f"after   {found.after:.4f}")
    click.echo(
        f"{MEASURE} over {found.queries} queries made of documents held back: {found.after - found.before:+.4f}, "
        f"95% interval {found.low:+.4f} to {found.high:+.4f}",
        err=True,
    )
    outcome = "fitted to the collection" if found.helped else f"no better: {model} as it was"
    click.echo(f"wrote {output}: {outcome}", err=True)
