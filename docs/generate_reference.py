"""Writes docs/command-reference.md and the tables of docs/distillation.md; ``make docs`` runs it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from reranker_kd.cli import cli
from reranker_kd.cli.models import named
from reranker_kd.distill.data.augmentation import AUGMENTATIONS
from reranker_kd.distill.methods import METHODS, LossTerm, Stage
from reranker_kd.distill.objectives.registry import LOSSES

PAGE = Path(__file__).parent / "command-reference.md"
DISTILLATION = Path(__file__).parent / "distillation.md"

INTRODUCTION = """\
<!-- Made by docs/generate_reference.py out of the commands: change those, then run make docs. -->
# Command reference

`reranker-kd COMMAND --help` shows the same. `python -m reranker_kd` is another way to call it.

- Results go to stdout, progress and notes to stderr. `--format json` prints one JSON document.
- The exit status is 0 where all was done, 1 after an error that one line explains, 2 after wrong usage.
- Every command takes `--debug`, which shows the traceback of an error.
- `--version` shows the version.
"""


def command_reference() -> str:
    """Return the page in Markdown: a table of the commands, then a section for each."""
    context = click.Context(cli, info_name="reranker-kd", **cli.context_settings)
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    overview = ["| command | what it does |", "| --- | --- |"]
    overview += [f"| [`{name}`](#{name}) | {_one_line(command.help)} |" for name, command in commands.items()]
    sections = [_section(click.Context(command, info_name=name, parent=context)) for name, command in commands.items()]
    return "\n".join([INTRODUCTION, *overview, "", "\n\n".join(sections)]) + "\n"


def _section(context: click.Context) -> str:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    options = [option for option in command.params if isinstance(option, click.Option)]
    parts = [
        f"## {command.name}",
        f"```text\n{usage}\n```",
        inspect.cleandoc(command.help or ""),
        "\n".join(["| option | meaning |", "| --- | --- |", *(_row(option, context) for option in options)]),
    ]
    return "\n\n".join(parts)


def _row(option: click.Option, context: click.Context) -> str:
    names, meaning = option.get_help_record(context) or ("", "")
    # What click calls a range comes again as a bound at the end of the meaning.
    return f"| `{_cell(names.replace(' RANGE', ''))}` | {_cell(meaning)} |"


def _one_line(text: str | None) -> str:
    """Return the first paragraph."""
    return _cell(inspect.cleandoc(text or "").split("\n\n", 1)[0])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def distillation(page: str) -> str:
    """Return docs/distillation.md with its tables made anew, each between its two marks."""
    # Asterisks and underscores are marks in Markdown.
    lines = {
        group: {name: re.sub(r"([*_])", r"\\\1", line) for name, line in entries.items()}
        for group, entries in named().items()
    }
    tables = {
        "methods": _table(
            "method | student reads | losses of its stages | after",
            (
                (f"`{name}`", method.reads or "any", "; then ".join(map(_stage, method.stages)), method.source)
                for name, method in METHODS.items()
            ),
        ),
        "losses": _table(
            "loss | reads | options | what",
            (
                (f"`{name}`", ", ".join(loss.reads).replace("_", " "), _options(loss.options), lines["losses"][name])
                for name, loss in LOSSES.items()
            ),
        ),
        "teachers": _table("key | what", ((f"`{name}`", line) for name, line in lines["teachers"].items())),
        "augmentations": _table(
            "augmentation | kind | options | what",
            (
                (f"`{name}`", each.kind, _options(each.options), lines["augmentations"][name])
                for name, each in AUGMENTATIONS.items()
            ),
        ),
    }
    for name, table in tables.items():
        start, end = f"<!-- {name}: made by make docs -->\n", f"<!-- end of {name} -->\n"
        before, _, rest = page.partition(start)
        page = before + start + table + end + rest.partition(end)[2]
    return page


def _table(heading: str, rows: Any) -> str:
    ruler = " | ".join("---" for _ in heading.split(" | "))
    lines = [heading, ruler, *(" | ".join(map(_cell, row)) for row in rows)]
    return "".join(f"| {line} |\n" for line in lines)


def _stage(stage: Stage) -> str:
    terms = " + ".join(_term(name, term) for name, term in stage.losses.items())
    rate = "" if stage.learning_rate is None else f", at {stage.learning_rate:g}"
    return terms + (", over texts" if stage.over == "texts" else "") + rate


def _term(name: str, term: LossTerm) -> str:
    options = ", ".join(f"{option} {value:g}" for option, value in term.options.items())
    weight = "" if term.weight == 1 else f"{term.weight:g} "
    return f"{weight}`{name}`" + (f" ({options})" if options else "")


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}` {_shown(value)}" for name, value in options.items()) or "none"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).replace("'", "`") if isinstance(value, str) else f"{value:g}"


if __name__ == "__main__":
    PAGE.write_text(command_reference(), encoding="utf-8")
    DISTILLATION.write_text(distillation(DISTILLATION.read_text(encoding="utf-8")), encoding="utf-8")
