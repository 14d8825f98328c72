"""The command line: a thin module a verb, imported when it is called."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from reranker_kd.errors import RerankerKDError

# Verb -> what --help says of it, so that the overview imports no verb's module.
_VERBS = {
    "index": "Build a Lucene index from a collection.",
    "retrieve": "Retrieve candidates from a Lucene index and write a run.",
    "rerank": "Rerank candidates with one or more models and write a run for each.",
    "encode": "Encode a collection into a FAISS folder that Pyserini opens.",
    "search": "Search embeddings for the documents nearest to each query.",
    "fuse": "Fuse several runs into one.",
    "distill": "Distil a student from a teacher, as a recipe says.",
    "adapt": "Fit a student to a collection, of which nothing is known but its index.",
    "export": "Export a model to a folder that a fast backend opens at once.",
    "evaluate": "Measure runs against qrels.",
    "compare": "Compare runs: significance, ceilings, agreement, cost.",
    "benchmark": "Measure the speed of models and backends side by side.",
    "run": "Retrieve, rerank and evaluate as a recipe says.",
    "serve": "Serve search and reranking over HTTP, with a page that compares models.",
    "validate": "Check runs, qrels, topics and collections; name every fault with its line.",
    "models": "List models, methods, losses and whatever else can be named.",
    "demo": "Show the whole chain, offline, on the sample collection.",
}


class _LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _VERBS:
            return None
        return getattr(import_module(f"reranker_kd.cli.{cmd_name}"), cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_VERBS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(package_name="reranker-kd", prog_name="reranker-kd")
def cli() -> None:
    """Rerank Pyserini candidates with distilled models: retrieve, rerank, evaluate, compare.

    Every command takes --debug, which shows the traceback of an error.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 an error that one line explains, 2 wrong usage."""
    given = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in given
    sys.exit(_exit_status([argument for argument in given if argument != "--debug"], debug=debug))


def _exit_status(arguments: list[str], *, debug: bool) -> int:
    try:
        outcome: Any = cli.main(arguments, prog_name="reranker-kd", standalone_mode=False)
        sys.stdout.flush()
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Abort:
        return _fail("interrupted", 130)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except BrokenPipeError:
        # Whoever read our output has stopped; Python must not complain of it again while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if debug:
            raise
        message = f"{type(error).__name__}: {error} (a fault of this program: --debug shows where)"
        if isinstance(error, OSError):
            message = f"{error.filename or 'input or output'}: {error.strerror or error}"
        return _fail(str(error) if isinstance(error, RerankerKDError) else message, 1)


def _fail(message: str, status: int) -> int:
    click.echo(f"error: {' '.join(message.split())}", err=True)
    return status
