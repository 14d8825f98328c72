"""What a comparison leaves beside its table: pictures and a page, with short names of systems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import PurePath

from reranker_kd.compare.comparison import Comparison
from reranker_kd.compare.html.page import comparison_page, shown_documents, shown_queries
from reranker_kd.compare.plot_style import write_pictures
from reranker_kd.compare.plots import comparison_pictures
from reranker_kd.compare.rankings import ComparedRankings
from reranker_kd.formats.files import atomic_writer
from reranker_kd.formats.runs import read_run_columns
from reranker_kd.retrieve.named_inputs import load_qrels, load_topics, texts_of


def write_reports(
    comparison: Comparison,
    *,
    html: str | None = None,
    plots: str | None = None,
    topics: str | None = None,
    index: str | None = None,
    collection: str | None = None,
) -> list[str]:
    """Write the pictures of a comparison of files, and a page to read query by query.

    :param html: the page's file
    :param plots: the folder of the pictures
    :param topics: file or name of the queries' texts
    :param index: folder or name of the Lucene index with the documents' texts
    :param collection: file or folder with these texts, in place of an index
    :return: lines that say what was written, and what was left out
    :raises InputError: an input that cannot be read
    :raises OutputError: what cannot be written
    """
    labels = short_labels(comparison)
    labelled = with_labels(comparison, labels)
    files: dict[str, Sequence[str]] = {labels[system.name]: system.runs for system in comparison.systems}
    if comparison.candidates is not None and labels[comparison.candidates] not in files:
        files = {labels[comparison.candidates]: (comparison.candidates,), **files}
    # Of seeds, which all have the same queries, only the first would be read.
    seeds = {labels[system.name] for system in comparison.systems if system.kind == "seeds"}
    shown = {name: paths[:1] if name in seeds else paths for name, paths in files.items()}
    rankings = ComparedRankings(
        qrels=load_qrels(comparison.qrels),
        runs={name: list(map(read_run_columns, paths)) for name, paths in shown.items()},
        reference=labels[comparison.candidates or comparison.baseline],
        topics=load_topics(topics) if topics else {},
    )
    pictures, left_out = comparison_pictures(labelled, rankings)
    notes = []
    if plots:
        write_pictures(plots, pictures)
        notes.append(f"wrote {len(pictures)} pictures into {plots}")
    if html:
        docids = shown_documents(labelled, rankings)
        texts = texts_of(index, collection, docids)(docids) if index or collection else None
        page = comparison_page(labelled, rankings, files_of=files, pictures=pictures, left_out=left_out, texts=texts)
        with atomic_writer(html) as stream:
            stream.write(page)
        queries = f"{len(shown_queries(comparison))} of {len(comparison.queries)} queries"
        notes.append(f"wrote {html}: {queries}, {len(page.encode()) / 1e6:.1f} MB")
    return [*notes, *(f"left out {reason}" for reason in left_out)]


def short_labels(comparison: Comparison) -> dict[str, str]:
    """Return name of a system, or of the candidates -> a label that no other has.

    Of files, the words between dots that all of them start or end with are left out: ``run.dl20.bm25.txt`` and
    ``run.dl20.splade.txt`` are ``bm25`` and ``splade``. Labels that would be alike stay whole names. Groups keep
    their names.
    """
    files = [system.name for system in comparison.systems if system.kind == "run"]
    if comparison.candidates is not None and comparison.candidates not in files:
        files.append(comparison.candidates)
    labels = {system.name: system.name for system in comparison.systems}
    labels |= dict(zip(files, _without_common_words([PurePath(file).name for file in files]), strict=True))
    often = Counter(labels.values())
    return {name: label if often[label] == 1 else name for name, label in labels.items()}


def _without_common_words(names: Sequence[str]) -> list[str]:
    words = [name.split(".") for name in names]
    # One word stays of the shortest, and all of a lone name.
    spare = min(map(len, words)) - 1 if len(words) > 1 else 0
    end = min(spare, _shared([name[::-1] for name in words]))
    start = min(spare - end, _shared(words))
    return [".".join(name[start : len(name) - end]) for name in words]


def _shared(names: Sequence[Sequence[str]]) -> int:
    """Return how many words they all start with."""
    return len(list(takewhile(lambda words: len(set(words)) == 1, zip(*names, strict=False))))


def with_labels(comparison: Comparison, labels: Mapping[str, str]) -> Comparison:
    """Return the comparison with labels in place of names, and the qrels by the last part of their path."""
    systems = []
    for system in comparison.systems:
        cost = system.cost
        if cost is not None:
            pays = {labels[name]: queries for name, queries in cost.pays_from_queries.items()}
            cost = cost.model_copy(update={"pays_from_queries": pays})
        systems.append(replace(system, name=labels[system.name], cost=cost))
    return replace(
        comparison,
        qrels=PurePath(comparison.qrels).name,
        baseline=labels[comparison.baseline],
        candidates=None if comparison.candidates is None else labels[comparison.candidates],
        systems=tuple(systems),
        agreement=tuple(
            replace(each, first=labels[each.first], second=labels[each.second]) for each in comparison.agreement
        ),
    )
