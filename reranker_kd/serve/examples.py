"""Queries that the page offers to begin with."""

from __future__ import annotations

from itertools import islice

from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.topics import read_topics
from reranker_kd.resources.sample_collection import SAMPLE_QRELS, SAMPLE_TOPICS
from reranker_kd.retrieve.lucene import LuceneIndex

_RELEVANT = 2
"""The lowest grade of the sample's judgments that counts."""


def sample_queries(index: LuceneIndex, count: int = 3) -> list[str]:
    """Return topics of the sample collection that documents of the index answer: of another collection none."""
    qrels = read_qrels(SAMPLE_QRELS)
    answered = (
        query
        for qid, query in read_topics(SAMPLE_TOPICS).items()
        if index.known([docid for docid, grade in qrels[qid].items() if grade >= _RELEVANT])
    )
    return list(islice(answered, count))
