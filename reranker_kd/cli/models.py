"""``reranker-kd models``: what can be named."""

from __future__ import annotations

import json

import click


@click.command()
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Output.",
)
def models(output_format: str) -> None:
    """List the rerankers that can be named; a folder or a Hugging Face hub id can be named besides."""
    from reranker_kd.rerank.registry import registered_names

    names = registered_names()
    if output_format == "json":
        click.echo(json.dumps({"rerankers": names}, indent=2))
        return
    width = max(map(len, names), default=0)
    for name, value in sorted(names.items()):
        click.echo(f"{name:<{width}}  {value}")
