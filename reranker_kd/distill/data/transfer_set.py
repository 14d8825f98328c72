"""Transfer sets: the queries and documents that a teacher scores and a student learns from, in groups.

On disk a folder of three files, which are also topics and a collection:

- ``queries.tsv``: qid TAB text
- ``documents.jsonl``: ``{"id": "d3", "contents": "the text"}``
- ``groups.jsonl``: ``{"qid": "q7", "docids": ["d3", "d9"], "labels": [2, null]}``; ``labels`` only where there are
  any, null where nobody judged
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reranker_kd.errors import FormatError, InputError, OutputError
from reranker_kd.formats.collections import read_numbered_documents
from reranker_kd.formats.files import atomic_writer, read_lines
from reranker_kd.formats.parsing import identifier_fault, identifier_under, parse_object, raise_fault
from reranker_kd.formats.topics import read_topics

QUERIES_FILE = "queries.tsv"
DOCUMENTS_FILE = "documents.jsonl"
GROUPS_FILE = "groups.jsonl"

ScoredPair = tuple[str, str]
"""The qid and the docid of what a teacher scores."""


@dataclass(frozen=True, slots=True)
class Group:
    """A query and the documents that are scored and learnt together.

    :param qid: the query
    :param docids: its documents, each once
    :param labels: human grades in the order of ``docids``, NaN where nobody judged; None where there are none.
        ``math.nan`` itself, which equals itself inside a tuple, makes groups with labels comparable.
    """

    qid: str
    docids: tuple[str, ...]
    labels: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class TransferSet:
    """What a teacher scores: query texts by qid, document texts by docid, and the groups that bring them together.

    Augmented texts have ids of their own, such as ``q7~swap-1`` or ``d3~masking-2``. A query may have several groups.
    """

    queries: dict[str, str]
    documents: dict[str, str]
    groups: tuple[Group, ...]


def pairs(transfer_set: TransferSet) -> list[ScoredPair]:
    """Return every (qid, docid), group after group: as many as all groups have documents, repeated pairs included."""
    return [(group.qid, docid) for group in transfer_set.groups for docid in group.docids]


def check(transfer_set: TransferSet) -> None:
    """Raise :class:`InputError` for the first fault of a transfer set.

    Faults are: no groups; a text without a word; whitespace in an identifier; in a query other whitespace than single
    spaces, as topics have it; a group that is empty, names what is not there, has a document twice, or more or fewer
    labels than documents.
    """
    if not transfer_set.groups:
        raise InputError("empty transfer set: no group of documents; give queries with at least 2 candidates")
    for fault in _faults(transfer_set):
        raise InputError(f"transfer set: {fault}")


def _faults(ts: TransferSet) -> Iterator[str]:
    for name, texts in (("qid", ts.queries), ("docid", ts.documents)):
        yield from filter(None, (identifier_fault(name, identifier) for identifier in texts))
    for name, texts in (("query", ts.queries), ("document", ts.documents)):
        yield from (f"{name} {key} has no text: leave it out" for key, text in texts.items() if not text.strip())
    for qid, text in ts.queries.items():
        if text != " ".join(text.split()):
            yield f"query {qid} has runs of whitespace: make each one space"
    for group in ts.groups:
        if fault := _group_fault(group, ts.queries, ts.documents):
            yield f"query {group.qid}: {fault}"


def write_transfer_set(folder: str | Path, transfer_set: TransferSet) -> None:
    """Write a transfer set as three files; equal sets give equal bytes.

    The groups are written last, and old ones removed first, so that a set whose writing was cut short cannot be read.

    :raises InputError: see :func:`check`
    :raises OutputError: the folder cannot be written
    """
    check(transfer_set)
    folder = Path(folder)
    try:
        (folder / GROUPS_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{folder / GROUPS_FILE}: cannot replace: {error.strerror}") from None
    with atomic_writer(folder / QUERIES_FILE) as stream:
        stream.writelines(f"{qid}\t{text}\n" for qid, text in transfer_set.queries.items())
    with atomic_writer(folder / DOCUMENTS_FILE) as stream:
        stream.writelines(_json_line(id=docid, contents=text) for docid, text in transfer_set.documents.items())
    with atomic_writer(folder / GROUPS_FILE) as stream:
        for group in transfer_set.groups:
            labels = [None if math.isnan(label) else label for label in group.labels or ()]
            own = {} if group.labels is None else {"labels": labels}
            stream.write(_json_line(qid=group.qid, docids=group.docids, **own))


def read_transfer_set(folder: str | Path) -> TransferSet:
    """Return the transfer set of a folder.

    :raises InputError: a file is missing or cannot be read
    :raises FormatError: a fault in a file, with its line; the faults are those of :func:`check` and wrong types
    """
    folder = Path(folder)
    groups_path = folder / GROUPS_FILE
    if not groups_path.is_file():
        raise InputError(f"{folder}: no {GROUPS_FILE}: no transfer set, or one cut short while it was written; make it")
    queries = read_topics(folder / QUERIES_FILE, "tsv")
    documents = {}
    for file, number, document in read_numbered_documents(folder / DOCUMENTS_FILE, raise_fault):
        if not document.text.strip():
            raise FormatError(file, number, f"document {document.docid} has no text; write one or remove it")
        documents[document.docid] = document.text
    groups = tuple(_read_groups(groups_path, queries, documents))
    if not groups:
        fault = 'empty transfer set: no groups; expected lines of {"qid": ..., "docids": ...}'
        raise FormatError(groups_path, None, fault)
    return TransferSet(queries, documents, groups)


def generator(seed: int, *names: str) -> np.random.Generator:
    """Return random numbers that depend on the seed and the names alone.

    So what is drawn for one query, or one text, is the same whatever else is in the set.

    :param seed: from 0
    """
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:16], "big")])


def _read_groups(path: Path, queries: Collection[str], documents: Collection[str]) -> Iterator[Group]:
    with closing(read_lines(path)) as lines:
        for number, line in lines:
            try:
                if line.strip():
                    yield _parse_group(line, queries, documents)
            except ValueError as error:
                raise FormatError(path, number, str(error)) from None


def _parse_group(line: str, queries: Collection[str], documents: Collection[str]) -> Group:
    value = parse_object(line)
    if unknown := value.keys() - {"qid", "docids", "labels"}:
        raise ValueError(f"unknown key {min(unknown)}; expected qid, docids, labels")
    qid = identifier_under(value, ["qid"])
    docids = value.get("docids")
    if not isinstance(docids, list) or not all(isinstance(docid, str) for docid in docids):
        raise ValueError("expected an array of strings under docids")
    labels = value.get("labels")
    if labels is not None:
        if not isinstance(labels, list) or not all(_is_label(label) for label in labels):
            raise ValueError("expected an array of finite numbers and nulls under labels")
        labels = tuple(math.nan if label is None else float(label) for label in labels)
    group = Group(qid, tuple(docids), labels)
    if fault := _group_fault(group, queries, documents):
        raise ValueError(fault)
    return group


def _is_label(label: object) -> bool:
    # The bound is far above any grade: a longer integer would not become a float.
    return label is None or (isinstance(label, int | float) and not isinstance(label, bool) and abs(label) < 1e300)


def _group_fault(group: Group, queries: Collection[str], documents: Collection[str]) -> str | None:
    if group.qid not in queries:
        return f"query {group.qid} is not among the queries; add it or remove the group"
    if not group.docids:
        return "the group has no documents; remove it"
    if len(set(group.docids)) < len(group.docids):
        return f"document {max(group.docids, key=group.docids.count)} is in the group twice; remove one"
    if missing := [docid for docid in group.docids if docid not in documents]:
        return f"document {missing[0]} is not among the documents; add it or take it out of the group"
    if group.labels is not None and len(group.labels) != len(group.docids):
        return f"{len(group.labels)} labels for {len(group.docids)} documents; give one each, null where nobody judged"
    return None


def _json_line(**value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
