"""Options that several verbs share, and the inputs behind them. Names and defaults follow Pyserini's."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from reranker_kd.retrieve.lucene import SearchSettings

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_RERANKER = "cross"
DEFAULT_BI_ENCODER = "twin"
"""Bundled students, which need no network."""


class PrecisionChoice(click.Choice[str]):
    """A choice of precisions that also takes the short names ``fp32`` and ``bf16``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the precision's full name."""
        return super().convert(full_precision(value), param, ctx)


def full_precision(name: str) -> str:
    """Return a precision's full name; what is no short name stays as it is."""
    return {"fp32": "float32", "bf16": "bfloat16"}.get(name, name)


def _together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    return lambda command: reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


topics_options = _together(
    click.option("--topics", required=True, metavar="FILE|NAME", help="Topics file, or a name that Pyserini knows."),
    click.option(
        "--topics-format",
        type=click.Choice(["tsv", "trec", "xml", "jsonl"]),
        help="Format of the topics file.  [default: told by its content]",
    ),
)

search_options = _together(
    click.option("--k1", type=float, help="BM25's k1.  [default: 0.9, or Pyserini's value for a prebuilt index]"),
    click.option("--b", type=float, help="BM25's b.  [default: 0.4, or Pyserini's value for a prebuilt index]"),
    click.option("--rm3", is_flag=True, help="Expand queries by RM3."),
    click.option("--rocchio", is_flag=True, help="Expand queries by Rocchio."),
    click.option("--qld", is_flag=True, help="Query likelihood with Dirichlet smoothing in place of BM25."),
    click.option(
        "--fields",
        multiple=True,
        metavar="NAME=WEIGHT",
        help="Search this field with this weight; may be repeated.",
    ),
    click.option("--language", default="en", show_default=True, help="Language code of the analyser."),
    click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True, help="Lucene threads."),
    click.option(
        "--batch-size",
        type=click.IntRange(min=1),
        default=256,
        show_default=True,
        help="Topics handed to Lucene at once.",
    ),
)

output_options = _together(
    click.option(
        "--output-format",
        type=click.Choice(["trec", "msmarco"]),
        default="trec",
        show_default=True,
        help="Format of the run.",
    ),
    click.option(
        "--hits",
        type=click.IntRange(min=1),
        default=1000,
        show_default=True,
        help="Documents to write for each query at most.",
    ),
)

model_options = _together(
    click.option("--max-length", type=int, help="Tokens of an input.  [default: the model's limit]"),
    click.option("--batch-tokens", type=click.IntRange(min=1), help="Tokens of a batch, padding included."),
    click.option("--device", help="torch device, such as cpu or cuda:1.  [default: a GPU where there is one]"),
    click.option(
        "--precision",
        type=PrecisionChoice(["float32", "bfloat16", "int8", "auto"]),
        help="Precision of the network; auto takes bfloat16 where the device computes in it, int8 is for exported "
        "models.  [default: float32, or the exported model's; of encode and serve: auto]",
    ),
    click.option(
        "--backend",
        type=click.Choice(["torch", "openvino", "onnxruntime", "auto"]),
        help="What runs the network; auto takes the fastest that is installed.  [default: torch, or the exported "
        "model's; of serve: auto]",
    ),
)

qrels_option = click.option(
    "--qrels", metavar="FILE|NAME", required=True, help="Qrels: a file, or a name that Pyserini knows."
)

relevance_level_option = click.option(
    "-l",
    "--relevance-level",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Lowest grade that binary measures count as relevant; nDCG uses the grades.",
)

quiet_option = click.option("--quiet", is_flag=True, help="Show no progress.")


def search_settings(options: dict[str, Any]) -> SearchSettings:
    """Return the settings behind :data:`search_options`."""
    from reranker_kd.retrieve.lucene import SearchSettings

    fields = {}
    for given in options["fields"]:
        name, _, weight = given.partition("=")
        try:
            fields[name] = float(weight)
        except ValueError:
            raise click.BadParameter(
                f"{given!r}: expected NAME=WEIGHT, such as title=2", param_hint="--fields"
            ) from None
    names = ("k1", "b", "rm3", "rocchio", "qld", "language")
    return SearchSettings(fields=fields, **{name: options[name] for name in names})
