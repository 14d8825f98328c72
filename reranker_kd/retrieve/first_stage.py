"""The first stage: candidates out of a Lucene index, by BM25 and its relatives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reranker_kd.retrieve.lucene import LuceneIndex, SearchSettings
from reranker_kd.retrieve.named_inputs import load_topics, open_index
from reranker_kd.sections import checked
from reranker_kd.types import Run, Topics


def retrieve(index: LuceneIndex | str | Path, topics: Topics | str, hits: int = 1000, **settings: Any) -> Run:
    """Retrieve candidates of all topics.

    :param index: a folder with a Lucene index, or the name of one that Pyserini knows
    :param topics: query texts by qid, a file of them, or a name that Pyserini knows
    :param hits: documents of each topic at most
    :param settings: those of :class:`SearchSettings`: ``k1``, ``b``, ``rm3``, ``fields``, ``threads``, ...
    :return: a run with the topics in their order; a topic without a match has no documents
    :raises InputError: an unknown setting, or a wrong value
    :raises LuceneError: no such index, or the settings ask for what it does not hold
    """
    chosen = checked(SearchSettings, {"hits": hits, **settings})
    return open_index(index).search(load_topics(topics) if isinstance(topics, str) else topics, chosen)
