"""``reranker-kd export``: a model in a folder that a fast backend opens at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from reranker_kd.cli.options import Choice, Verb, format_option, model_option, partner
from reranker_kd.sections import GoesWith


@click.command(cls=Verb)
@model_option("Model", required=True)
@click.option("--output", required=True, metavar="DIR", help="Folder to write; an earlier export there is replaced.")
@format_option(
    ["openvino", "onnx", "torch"],
    "Which backend opens it; torch: a folder like the model's own, its weights in another precision.",
)
@click.option(
    "--precision",
    type=Choice(["float32", "bfloat16", "int8", "int6"]),
    help="In which the networks run; of torch, in which the weights are kept: int6 has tables of embeddings in 4.  "
    "[default: bfloat16; of onnx and torch: float32]",
)
@click.option("--max-length", type=int, help="Tokens of an input in calibration and test.  [default: the model's]")
@click.option("--calibration", metavar="RUN", help="Candidates to calibrate int8 on, and to test on.")
@click.option("--topics", metavar="FILE|NAME", help="Topics of --calibration.")
@click.option("--collection", metavar="FILE|DIR", help="Collection with the texts of --calibration.")
@click.option("--index", metavar="DIR|NAME", help="Lucene index with the texts of --calibration.")
@click.option("--pairs", type=click.IntRange(min=16), default=400, help="Pairs, half to calibrate and half to test on.")
@partner(GoesWith("calibration"), "topics", "collection", "index")
def export(model: str, output: str, output_format: Any, precision: Any, **options: Any) -> None:
    """Export a model to a folder that loads at once and is named like any model: --model DIR.

    Its scores are tested against the model's in float32, and against themselves in other batches; export.json, which
    exports for torch do not have, keeps how far they differ. Without --calibration, the pairs are sample queries and
    docstrings that every installation has.
    """
    run, topics = options["calibration"], options["topics"]
    texts_in = (options["collection"], options["index"])
    if run is not None and (topics is None or texts_in.count(None) != 1):
        raise click.UsageError("--calibration needs --topics, and the texts by --collection or --index")

    from reranker_kd.export.exporting import ExportSettings, export_model
    from reranker_kd.export.sample_pairs import builtin_pairs, pairs_of_run
    from reranker_kd.formats.runs import read_run

    precision = precision or ("bfloat16" if output_format == "openvino" else "float32")
    settings = ExportSettings(output_format, precision, options["max_length"])
    count = options["pairs"]
    pairs = builtin_pairs(count) if run is None else pairs_of_run(read_run(run), topics, *texts_in, count)
    figures = export_model(model, Path(output), settings, pairs, run or "sample queries and docstrings")
    click.echo(
        f"wrote {output}: {model} as {output_format} in {precision}; on {figures['pairs']} pairs, "
        f"it ranks as in float32 by a Kendall's tau of {figures['rank_correlation']:.4f} and an nDCG@10 of "
        f"{figures['nDCG@10']:.4f}; "
        f"scores differ by at most {figures['largest_difference']:.2%} of their spread, and by "
        f"{figures['batch_drift']:.2%} between batches of 1 and 64"
        + (f"; opens in {figures['opens_in']}" if "opens_in" in figures else ""),
        err=True,
    )
