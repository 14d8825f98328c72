"""What ``reranker-kd compare`` writes beside its table: pictures, a page, a folder to submit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reranker_kd.errors import InputError

if TYPE_CHECKING:
    from reranker_kd.compare.comparison import Comparison
    from reranker_kd.compare.rankings import ComparedRankings

Command = TypeVar("Command", bound=Callable[..., Any])


_OPTIONS = (
    click.option("--html", metavar="FILE", help="Write a page of tables, pictures and queries, whole in itself."),
    click.option("--html-queries", type=click.IntRange(min=1), default=200, show_default=True, help="Most queries."),
    click.option("--plots", metavar="DIR", help="Write the pictures as PNG and SVG, and their data as CSV."),
    click.option("--topics", metavar="FILE|NAME", help="Texts of the queries, for --html and --plots."),
    click.option(
        "--topics-format",
        type=click.Choice(["tsv", "trec", "xml", "jsonl"]),
        help="Format of the topics file.  [default: told by its content]",
    ),
    click.option("--index", metavar="DIR|NAME", help="Lucene index with the texts for --html."),
    click.option("--collection", metavar="FILE|DIR", help="Collection with the texts, in place of --index."),
    click.option("--submission", metavar="DIR", help="Check the runs and write a folder to submit; needs --topics."),
    click.option(
        "--submission-depth",
        type=click.IntRange(min=1),
        default=1000,
        show_default=True,
        help="Documents that the track allows for a query.",
    ),
    click.option("--submission-runs", type=click.IntRange(min=1), help="Runs that the track allows.  [default: any]"),
)


def report_options(command: Command) -> Command:
    """Give a command the options of the reports."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def check_report_options(options: Mapping[str, Any]) -> None:
    """Refuse options that do not go together, before any work.

    :raises UsageError: a submission without topics, texts from two places
    """
    if options["submission"] and not options["topics"]:
        raise click.UsageError("--submission checks that each topic is covered: give them by --topics")
    if options["index"] and options["collection"]:
        raise click.UsageError("give the texts by --index or by --collection, one of the two")


def write_reports(comparison: Comparison, options: Mapping[str, Any]) -> None:
    """Write what is asked for, and say on stderr what was written and what was left out."""
    if options["html"] or options["plots"]:
        _write_pictures_and_page(comparison, options)
    if options["submission"]:
        write_checked_submission([run for system in comparison.systems for run in system.runs], options)


def _write_pictures_and_page(comparison: Comparison, options: Mapping[str, Any]) -> None:
    from reranker_kd.compare.html.page import comparison_page
    from reranker_kd.compare.html.queries import PageLimits, shown_documents
    from reranker_kd.compare.labels import short_labels, with_labels
    from reranker_kd.compare.plot_style import write_pictures
    from reranker_kd.compare.plots import comparison_pictures
    from reranker_kd.formats.files import atomic_writer

    labels = short_labels(comparison)
    labelled = with_labels(comparison, labels)
    files = _files(comparison, labels)
    rankings = _rankings(comparison, labels, files, options)
    pictures, left_out = comparison_pictures(labelled, rankings)
    if options["plots"]:
        write_pictures(options["plots"], pictures)
        click.echo(f"wrote {len(pictures)} pictures into {options['plots']}", err=True)
    if options["html"]:
        limits = PageLimits(queries=options["html_queries"])
        texts = _texts(shown_documents(labelled, rankings, limits), options)
        page = comparison_page(
            labelled, rankings, files_of=files, pictures=pictures, left_out=left_out, texts=texts, limits=limits
        )
        with atomic_writer(options["html"]) as stream:
            stream.write(page)
        shown, of = min(limits.queries, len(comparison.queries)), len(comparison.queries)
        click.echo(f"wrote {options['html']}: {shown} of {of} queries, {len(page.encode()) / 1e6:.1f} MB", err=True)
    for reason in left_out:
        click.echo(f"left out {reason}", err=True)


def _files(comparison: Comparison, labels: Mapping[str, str]) -> dict[str, Sequence[str]]:
    """Return label -> files, the candidates' first where they are none of the systems."""
    files: dict[str, Sequence[str]] = {labels[system.name]: system.runs for system in comparison.systems}
    if comparison.candidates is not None and labels[comparison.candidates] not in files:
        files = {labels[comparison.candidates]: (comparison.candidates,), **files}
    return files


def _rankings(
    comparison: Comparison,
    labels: Mapping[str, str],
    files: Mapping[str, Sequence[str]],
    options: Mapping[str, Any],
) -> ComparedRankings:
    from reranker_kd.compare.rankings import ComparedRankings
    from reranker_kd.formats.run_columns import read_run_columns
    from reranker_kd.retrieve.named_inputs import load_qrels, load_topics

    # Of seeds, which all have the same queries, only the first would be asked.
    seeds = {labels[system.name] for system in comparison.systems if system.kind == "seeds"}
    return ComparedRankings(
        qrels=load_qrels(comparison.qrels),
        runs={
            name: [read_run_columns(path) for path in (paths[:1] if name in seeds else paths)]
            for name, paths in files.items()
        },
        reference=labels[comparison.candidates or comparison.baseline],
        topics=load_topics(options["topics"], options["topics_format"]) if options["topics"] else {},
    )


def _texts(docids: Collection[str], options: Mapping[str, Any]) -> Mapping[str, str] | None:
    from reranker_kd.retrieve.named_inputs import texts_of

    if options["collection"] or options["index"]:
        return texts_of(options["index"], options["collection"], docids)(docids)
    return None


def write_checked_submission(runs: Sequence[str], options: Mapping[str, Any]) -> None:
    """Write a folder of runs to submit, or name every fault of them.

    :param options: those of :func:`report_options` that begin with submission, and where topics and docids come from
    :raises InputError: a fault in a run
    """
    from reranker_kd.experiment.submission import write_submission
    from reranker_kd.formats.submission_rules import Rules
    from reranker_kd.retrieve.named_inputs import load_topics

    faults = write_submission(
        options["submission"],
        runs,
        load_topics(options["topics"], options["topics_format"]),
        Rules(depth=options["submission_depth"], runs=options["submission_runs"]),
        _known_docids(options),
    )
    for fault in faults:
        click.echo(str(fault), err=True)
    if faults:
        raise InputError(f"{len(faults)} faults in {len(runs)} runs, each named above; nothing was submitted")
    click.echo(f"wrote {len(runs)} runs into {options['submission']}", err=True)


def _known_docids(options: Mapping[str, Any]) -> Callable[[Collection[str]], Collection[str]] | None:
    if options["collection"]:
        from reranker_kd.formats.collections import read_collection

        return lambda asked: {doc.docid for doc in read_collection(options["collection"]) if doc.docid in asked}
    if options["index"]:
        return lambda asked: _docids_of_index(asked, options["index"])
    return None


def _docids_of_index(asked: Collection[str], name: str) -> set[str]:
    from contextlib import closing

    from reranker_kd.retrieve.lucene import LuceneIndex

    with closing(LuceneIndex(name)) as index:
        return index.known(sorted(asked))
