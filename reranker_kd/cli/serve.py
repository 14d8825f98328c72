"""``reranker-kd serve``: a local service over an index and several models."""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack, closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from reranker_kd.cli.options import Verb, model_option, model_options, options_of, partner, quiet_option, section
from reranker_kd.errors import InputError
from reranker_kd.inference.options import ModelOptions
from reranker_kd.sections import NotWith
from reranker_kd.serve.limits import Limits

API_KEY_VARIABLE = "RERANKER_KD_API_KEY"


@click.command(cls=Verb)
@click.option("--index", metavar="DIR|NAME", help="Lucene index that stores the texts, or a prebuilt one.")
@click.option("--collection", metavar="FILE|DIR", help="Collection, indexed anew at each start, in place of --index.")
@model_option("Reranker", ". Repeatable.", several=True, required=True)
@click.option(
    "--example",
    "examples",
    multiple=True,
    metavar="QUERY",
    help="Query that the page offers to begin with. Repeatable.  [default: three of the sample collection's topics, "
    "where that is what is served]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 takes a free one."
)
@click.option(
    "--api-key-file",
    metavar="FILE",
    help=f"Holds the key that clients must send.  [default: the environment variable {API_KEY_VARIABLE}, or no key]",
)
@options_of(Limits)
@model_options
@quiet_option
@partner(NotWith("index"), "collection")
def serve(
    index: str | None,
    collection: str | None,
    models: tuple[str, ...],
    examples: tuple[str, ...],
    host: str,
    port: int,
    api_key_file: str | None,
    **options: Any,
) -> None:
    """Serve search and reranking over HTTP, and a page that shows BM25 beside each model.

    POST /rerank and /search, GET /models, /health and /docs. SIGTERM and Ctrl-C finish what runs.
    """
    if lacking := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
        raise InputError(f"serve needs {' and '.join(lacking)}: pip install 'reranker-kd[serve]'")
    from reranker_kd.experiment.stages import index_collection
    from reranker_kd.rerank.cascade import tag_of
    from reranker_kd.rerank.registry import load_reranker
    from reranker_kd.retrieve.named_inputs import open_index
    from reranker_kd.serve.app import create_app
    from reranker_kd.serve.server import LOOPBACK_NAMES, address_of, is_loopback, listen, make_server, run_until_stopped
    from reranker_kd.serve.service import Service, sample_queries

    names = {tag_of(model): model for model in models}
    if len(names) < len(models):
        raise click.UsageError("two models would have the same name: name each once, by folders of different names")
    api_key = _api_key(api_key_file)
    limits = section(Limits, options)
    with ExitStack() as stack:
        # Before anything that takes long: a port that is taken shows at once.
        listening = stack.enter_context(listen(host, port))
        if collection is not None:
            index = str(Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="reranker-kd-")), "index"))
            index_collection(collection, index, quiet=options["quiet"])
        opened = None if index is None else stack.enter_context(closing(open_index(index)))
        asked = section(ModelOptions, options).changed()
        rerankers = {name: load_reranker(model, **asked) for name, model in names.items()}
        if opened is not None and not examples:
            examples = tuple(sample_queries(opened))
        service = Service(rerankers, opened, limits, examples)
        if not is_loopback(host) and api_key is None:
            click.echo(f"warning: everybody who reaches {host} can use this service: give --api-key-file", err=True)
        application = create_app(service, hosts=LOOPBACK_NAMES if is_loopback(host) else None, api_key=api_key)
        click.echo(f"serving {', '.join(names)} on {address_of(listening)} (Ctrl-C ends)", err=True)
        run_until_stopped(make_server(application, limits), listening)


def _api_key(file: str | None) -> str | None:
    if file is None:
        return os.environ.get(API_KEY_VARIABLE) or None
    key = Path(file).read_text(encoding="utf-8").strip()
    if not key.isascii() or not key.isprintable() or not key:
        raise InputError(f"{file}: expected an API key of printable ASCII in one line")
    return key
