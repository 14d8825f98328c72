"""Inputs as a user names them: a file, or a name that Pyserini knows; texts from an index or a collection."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from reranker_kd.errors import CandidateError, FormatError, InputError
from reranker_kd.formats.collections import read_texts
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import line_of_candidate
from reranker_kd.formats.topics import read_topics
from reranker_kd.types import Qrels, TextSource, Topics

if TYPE_CHECKING:
    from reranker_kd.retrieve.lucene import LuceneIndex


def load_topics(topics: str, topics_format: str | None = None) -> Topics:
    """Return topics out of a file, or those that Pyserini knows by a name such as ``dl19-passage``."""
    if _is_file(topics, "topics"):
        return read_topics(topics, topics_format)
    if topics_format is not None:
        raise InputError(f"{topics}: no such file, and topics that Pyserini knows by name have no format to be given")
    # Java starts for names only.
    from reranker_kd.retrieve.lucene import pyserini_topics

    return pyserini_topics(topics)


def load_qrels(qrels: str) -> Qrels:
    """Return qrels out of a file, or those that Pyserini knows by a name such as ``dl19-passage``."""
    if _is_file(qrels, "qrels"):
        return read_qrels(qrels)
    from reranker_kd.retrieve.lucene import qrels_file

    return read_qrels(qrels_file(qrels))


def _is_file(name: str, kind: str) -> bool:
    if Path(name).exists():
        return True
    # Pyserini's names hold no slash; their dots come from version numbers (beir-v1.0.0-nfcorpus-test).
    if "/" in name or name.endswith((".tsv", ".txt", ".jsonl", ".xml", ".gz", ".trec")):
        raise InputError(f"{name}: no such file: check its path, or give the name of {kind} that Pyserini knows")
    return False


def texts_of(
    index: LuceneIndex | str | None, collection: str | Path | None, docids: Collection[str], *, threads: int = 1
) -> TextSource:
    """Return the source of the texts of these documents; it is opened when the first text is asked for.

    :param index: a Lucene index, its folder or its name, out of which texts are fetched as they are asked for
    :param collection: what else holds the texts, which are read in one pass and kept
    :param docids: all documents that may be asked for
    """
    if collection is not None:
        texts = cache(lambda: read_texts(collection, docids))
        return lambda asked: {docid: texts()[docid] for docid in asked if docid in texts()}
    opened = cache(lambda: open_index(index or ""))
    return lambda asked: opened().texts(asked, threads=threads)


def open_index(index: LuceneIndex | str | Path) -> LuceneIndex:
    """Return an index by its folder or name; one that is open as it is."""
    from reranker_kd.retrieve.lucene import LuceneIndex

    return index if isinstance(index, LuceneIndex) else LuceneIndex(index)


@contextmanager
def faults_named_in(run: str | Path | None) -> Iterator[None]:
    """Turn a candidate's fault into one that names the line of the run file on which the candidate stands."""
    try:
        yield
    except CandidateError as error:
        if run is None:
            raise
        raise FormatError(run, line_of_candidate(run, error.qid, error.docid), str(error)) from error
