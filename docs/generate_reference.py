"""Writes docs/command-reference.md out of the commands themselves; ``make docs`` runs it."""

from __future__ import annotations

import inspect
from pathlib import Path

import click

from reranker_kd.cli import cli

PAGE = Path(__file__).parent / "command-reference.md"

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
    context = click.Context(cli, info_name="reranker-kd")
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


if __name__ == "__main__":
    PAGE.write_text(command_reference(), encoding="utf-8")
