"""``reranker-kd fuse``: several runs made into one."""

from __future__ import annotations

import click

from reranker_kd.cli.options import output_options


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--output", required=True, metavar="RUN", help="The run to write; .gz compresses it.")
@click.option(
    "--method",
    type=click.Choice(["rrf", "interpolation", "average", "normalize", "zscore"]),
    default="rrf",
    show_default=True,
    help="Reciprocal ranks, weighted scores, their mean, or the sum of scores normalised by min-max or z-score.",
)
@click.option("--rrf-k", type=click.IntRange(min=0), default=60, show_default=True, help="k; with rrf.")
@click.option("--alpha", type=float, help="Weight of the first of two runs, the second has 1 - alpha; interpolation.")
@click.option("--weight", "weights", type=float, multiple=True, help="Weight of a run; once for each, in their order.")
@click.option(
    "--depth", type=click.IntRange(min=1), default=1000, show_default=True, help="Documents of each run that take part."
)
@output_options
@click.option("--tag", help="Run tag.  [default: the method]")
def fuse(
    runs: tuple[str, ...],
    output: str,
    method: str,
    rrf_k: int,
    alpha: float | None,
    weights: tuple[float, ...],
    depth: int,
    hits: int,
    output_format: str,
    tag: str | None,
) -> None:
    """Fuse several runs of the same topics into one. Methods and defaults are Pyserini's; zscore is ours."""
    if alpha is not None and (method != "interpolation" or len(runs) != 2 or weights):
        raise click.UsageError("--alpha goes with --method interpolation, two runs and no --weight")

    from reranker_kd.experiment.stages import RunOutput
    from reranker_kd.formats.runs import read_run
    from reranker_kd.provenance import file_record, write_provenance
    from reranker_kd.retrieve.fusion import fuse as fuse_runs

    chosen = [alpha, 1 - alpha] if alpha is not None else (list(weights) or None)
    fused = fuse_runs([read_run(run) for run in runs], method, weights=chosen, rrf_k=rrf_k, depth=depth)
    RunOutput(output, tag, output_format, hits).write(fused, method)
    write_provenance(
        output,
        {
            "stage": "fuse",
            "runs": [file_record(run) for run in runs],
            "parameters": {"method": method, "weights": chosen, "rrf_k": rrf_k, "depth": depth, "hits": hits},
            "counts": {"topics": len(fused), "documents": sum(map(len, fused.values()))},
        },
    )
    click.echo(f"wrote {output}: {len(runs)} runs fused by {method}, {len(fused)} topics", err=True)
