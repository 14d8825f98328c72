"""Topics and qrels that Pyserini knows by name."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from reranker_kd.errors import InputError
from reranker_kd.retrieve.lucene.jvm import in_one_line, names_like, pyserini_importable
from reranker_kd.types import Topics


def pyserini_topics(name: str) -> Topics:
    """Return topics that Pyserini knows by name, such as ``dl19-passage``.

    :raises InputError: unknown name, or the topics cannot be downloaded
    """
    with pyserini_importable():
        from pyserini.search import get_topics
        from pyserini.search._base import topics_mapping
    topics = _fetched(name, "topics", topics_mapping, get_topics)
    # Numbers come first, in their order; they do not compare with words.
    return {
        str(qid): str(fields["title"])
        for qid, fields in sorted(topics.items(), key=lambda topic: (isinstance(topic[0], str), topic[0]))
    }


def qrels_file(name: str) -> Path:
    """Return the local file of qrels that Pyserini knows by name, downloading it where needed.

    :raises InputError: unknown name, or the qrels cannot be downloaded
    """
    with pyserini_importable():
        from pyserini.search import get_qrels_file
        from pyserini.search._base import qrels_mapping
    return Path(_fetched(name, "qrels", qrels_mapping, get_qrels_file))


def _fetched(name: str, kind: str, known: Collection[str], fetch: Callable[[str], Any]) -> Any:
    if name not in known:
        near = names_like(name, known)
        raise InputError(f"{name}: neither a file nor the name of {kind} that Pyserini knows{near}")
    try:
        return fetch(name)
    except Exception as error:
        raise InputError(f"{name}: cannot fetch the {kind}: {in_one_line(error)}; name a file instead") from error
