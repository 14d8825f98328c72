"""``reranker-kd models``: what can be named."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, get_args

import click

from reranker_kd.cli.options import format_option

# Group -> the registry that it lists, so that nothing heavy is imported before the command runs.
_REGISTRIES = {
    "methods": "reranker_kd.distill.methods:METHODS",
    "losses": "reranker_kd.distill.objectives.registry:LOSSES",
    "kinds": "reranker_kd.models.kinds:KINDS",
    "teachers": "reranker_kd.distill.teachers.registry:TEACHERS",
    "augmentations": "reranker_kd.distill.data.augmentation:AUGMENTATIONS",
    "poolings": "reranker_kd.models.pooling:POOLINGS",
    "backends": "reranker_kd.inference.backends:BACKENDS",
    "measures": "reranker_kd.evaluate.registry:MEASURES",
}


@click.command()
@format_option(["table", "json"], "Output.")
def models(output_format: str) -> None:
    """List what can be named: rerankers, distillation methods and losses, and what students and teachers are made of.

    In place of a reranker's name, a folder or a Hugging Face hub id can be given.
    """
    groups = named()
    if output_format == "json":
        click.echo(json.dumps(groups, indent=2, ensure_ascii=False))
        return
    for number, (group, entries) in enumerate(groups.items()):
        click.echo(f"\n{group}" if number else group)
        width = max(map(len, entries), default=0)
        for name, line in entries.items():
            click.echo(f"  {name:<{width}}  {line}".rstrip())


def named() -> dict[str, dict[str, str]]:
    """Return all that can be named, by group: name -> what it is in a line, empty where no more can be said."""
    from reranker_kd.models.settings import TextSettings
    from reranker_kd.rerank.registry import registered_names

    groups = {"rerankers": dict(sorted(registered_names().items()))}
    for group, place in _REGISTRIES.items():
        module, _, name = place.partition(":")
        registry: Mapping[str, Any] = getattr(import_module(module), name)
        groups[group] = {key: _line(entry) for key, entry in registry.items()}
    groups["poolings"]["weighted"] = "learnt weights (TwinBERT, section 3.2)"
    groups["crossings"] = dict.fromkeys(get_args(TextSettings.model_fields["crossing"].annotation), "")
    return groups


def _line(entry: Any) -> str:
    """Return where a method was published, what trec_eval calls a measure, or the first sentence of a docstring."""
    if hasattr(entry, "source"):
        return str(entry.source)
    if hasattr(entry, "at_cutoff") and (named := [name for name in (entry.whole, entry.at_cutoff) if name]):
        return f"trec_eval's {' and '.join(named)}"
    if hasattr(entry, "shape") or hasattr(entry, "preference"):
        # A kind and a backend are described by the file that each of them is.
        entry = inspect.getmodule(getattr(entry, "build", None) or entry.make)
    text = inspect.getdoc(getattr(entry, "function", getattr(entry, "compute", entry))) or ""
    sentence = " ".join(re.split(r"\.(?:\n|$)", text, maxsplit=1)[0].split())
    # Docstrings are marked up for Sphinx.
    return re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"\1", sentence).replace("``", "").removeprefix("Return ")
