"""``reranker-kd validate``: every fault of a file, with its line."""

from __future__ import annotations

import click


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--kind",
    type=click.Choice(["run", "qrels", "topics", "collection"]),
    help="What the files are.  [default: detected from their content]",
)
def validate(files: tuple[str, ...], kind: str | None) -> None:
    """Check runs, qrels, topics and collections; name every fault with its line.

    The faults go to stdout, one a line, as FILE:LINE: FAULT. The exit status is 1 where there is any.
    """
    from reranker_kd.errors import InputError
    from reranker_kd.formats.validate import validate_file

    faults = 0
    for file in files:
        validation = validate_file(file, kind)
        faults += len(validation.faults)
        for fault in validation.faults:
            click.echo(fault)
        if not validation.faults:
            click.echo(f"{file}: {validation.kind}, {validation.entries} entries, no fault", err=True)
    if faults:
        raise InputError(f"{faults} faults in {len(files)} files; each is named above with its line")
