"""Topics and qrels that Pyserini knows by name."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from reranker_kd.errors import InputError
from reranker_kd.retrieve.lucene.jvm import in_one_line, pyserini_importable
from reranker_kd.types import Topics


def pyserini_topics(name: str) -> Topics:
    """Return topics that Pyserini knows by name, such as ``dl19-passage``.

    :raises InputError: unknown name, or the topics cannot be downloaded
    """
    with pyserini_importable():
        from pyserini.search import get_topics
        from pyserini.search._base import topics_mapping
    _check_known(name, topics_mapping, "topics")
    try:
        topics = get_topics(name)
    except Exception as error:
        raise InputError(f"{name}: cannot fetch the topics: {in_one_line(error)}; name a file instead") from error
    return {str(qid): str(fields["title"]) for qid, fields in sorted(topics.items(), key=_numbers_first)}


def qrels_file(name: str) -> Path:
    """Return the local file of qrels that Pyserini knows by name, downloading it where needed.

    :raises InputError: unknown name, or the qrels cannot be downloaded
    """
    with pyserini_importable():
        from pyserini.search import get_qrels_file
        from pyserini.search._base import qrels_mapping
    _check_known(name, qrels_mapping, "qrels")
    try:
        return Path(get_qrels_file(name))
    except Exception as error:
        raise InputError(f"{name}: cannot fetch the qrels: {in_one_line(error)}; name a file instead") from error


def _check_known(name: str, known: Collection[str], kind: str) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"; names like it: {', '.join(near)}" if near else ""
        raise InputError(f"{name}: neither a file nor the name of {kind} that Pyserini knows{hint}")


def _numbers_first(item: tuple[int | str, Any]) -> tuple[bool, int, str]:
    qid = item[0]
    return (True, 0, qid) if isinstance(qid, str) else (False, qid, "")
