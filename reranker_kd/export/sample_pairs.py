"""Query-text pairs that an export is calibrated and tested on: the user's candidates, or ones at hand everywhere."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from reranker_kd.errors import InputError
from reranker_kd.formats.topics import read_topics
from reranker_kd.rerank.base import Pair
from reranker_kd.resources.docstrings import documented_names
from reranker_kd.resources.sample_collection import SAMPLE_TOPICS, readable
from reranker_kd.retrieve.named_inputs import load_topics, texts_of
from reranker_kd.types import Run

_SAMPLE_PACKAGE = "numpy"

_TEXTS_A_QUERY = 40
"""Half of them to calibrate, half to test on: enough to tell whether an export ranks as its source does."""


def builtin_pairs(count: int) -> list[Pair]:
    """Return sample queries, each with many docstrings of an installed package: real sentences of many lengths."""
    queries = list(read_topics(SAMPLE_TOPICS).values())
    queries = queries[:: max(1, len(queries) * _TEXTS_A_QUERY // count)]
    texts = [readable(definition.docstring) for _, definition in documented_names(_SAMPLE_PACKAGE)]
    texts = [text for text in texts if text.strip()]
    step = max(1, len(texts) // count)
    # Every other pair is calibrated on: both halves have all queries.
    return [(queries[place // 2 % len(queries)], text) for place, text in enumerate(texts[::step][:count])]


def pairs_of_run(
    run: Run, topics: str, collection: str | Path | None, index: str | None, count: int, seed: int = 0
) -> list[Pair]:
    """Return pairs drawn from the first 100 candidates of queries, queries and candidates at random.

    :param topics: file or name of the run's topics
    :param collection: holds the texts, or None where ``index`` does
    :raises InputError: a query or a text that is missing
    """
    draw = random.Random(seed)
    drawn: list[tuple[str, str]] = []
    for qid in draw.sample(list(run), len(run)):
        found = list(run[qid])[:100]
        drawn += [(qid, docid) for docid in draw.sample(found, min(_TEXTS_A_QUERY, len(found), count - len(drawn)))]
    queries = load_topics(topics)
    docids = {docid for _, docid in drawn}
    texts = texts_of(index, collection, docids)(docids)
    check_complete(drawn, queries, texts)
    return [(queries[qid], texts[docid]) for qid, docid in drawn]


def check_complete(places: Sequence[tuple[str, str]], queries: Mapping[str, str], texts: Mapping[str, str]) -> None:
    """Raise :class:`InputError` for the first query or document of a run whose text is missing."""
    for qid, docid in places:
        if qid not in queries:
            raise InputError(f"query {qid!r} of the calibration run is not among the topics: name the run's topics")
        if docid not in texts:
            raise InputError(f"document {docid!r} of the calibration run has no text: name the run's collection")
