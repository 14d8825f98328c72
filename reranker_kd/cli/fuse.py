"""``reranker-kd fuse``: several runs made into one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reranker_kd.cli.options import COUNT, Verb, options_of, partner, run_option, section
from reranker_kd.experiment.recipe import Output
from reranker_kd.sections import GoesWith, NotWith


@click.command(cls=Verb)
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@run_option
@click.option(
    "--method",
    type=click.Choice(["rrf", "interpolation", "average", "normalize", "zscore"]),
    default="rrf",
    help="Reciprocal ranks, weighted scores, their mean, or the sum of scores normalised by min-max or z-score.",
)
@click.option("--rrf-k", type=click.IntRange(min=0), default=60, help="k; with rrf.")
@click.option("--alpha", type=float, help="Weight of the first of two runs, the second has 1 - alpha; interpolation.")
@click.option("--weight", "weights", type=float, multiple=True, help="Weight of a run; once for each, in their order.")
@click.option("--depth", type=COUNT, default=1000, help="Documents of each run that take part.")
@options_of(Output)
@partner(GoesWith("method", ("rrf",)), "rrf_k")
@partner(GoesWith("method", ("interpolation",)), "alpha")
@partner(NotWith("weights"), "alpha")
def fuse(
    runs: tuple[str, ...],
    output: str,
    method: str,
    rrf_k: int,
    alpha: float | None,
    weights: tuple[float, ...],
    depth: int,
    **options: Any,
) -> None:
    """Fuse several runs of the same topics into one. Methods and defaults are Pyserini's; zscore is ours."""
    if alpha is not None and len(runs) != 2:
        raise click.UsageError("--alpha goes with two runs: give each of several its --weight")

    from reranker_kd.experiment.stages import finished
    from reranker_kd.formats.runs import read_run
    from reranker_kd.provenance import file_record
    from reranker_kd.retrieve.fusion import fuse as fuse_runs

    chosen = [alpha, 1 - alpha] if alpha is not None else (list(weights) or None)
    fused = fuse_runs([read_run(run) for run in runs], method, weights=chosen, rrf_k=rrf_k, depth=depth)
    parameters = {"method": method, "weights": chosen, "rrf_k": rrf_k, "depth": depth, "hits": options["hits"]}
    record = {"stage": "fuse", "runs": [file_record(run) for run in runs], "parameters": parameters}
    finished(method, fused, Path(output), section(Output, options), record)
    click.echo(f"wrote {output}: {len(runs)} runs fused by {method}, {len(fused)} topics", err=True)
