"""Query-text pairs that an export is calibrated and tested on: the user's candidates, or ones at hand everywhere."""

from __future__ import annotations

import random
from pathlib import Path

from reranker_kd.formats.topics import read_topics
from reranker_kd.rerank.base import Pair
from reranker_kd.rerank.rerank_run import check_topics, docids_within, pair_count, requests_of
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
    :raises CandidateError: a query or a text that is missing
    """
    draw = random.Random(seed)
    drawn: Run = {}
    for qid in draw.sample(list(run), len(run)):
        found = list(run[qid])[:100]
        if left := count - pair_count(drawn, count):
            drawn[qid] = {docid: run[qid][docid] for docid in draw.sample(found, min(_TEXTS_A_QUERY, len(found), left))}
    queries = load_topics(topics)
    check_topics(drawn, queries)
    docids = docids_within(drawn, count)
    texts = texts_of(index, collection, docids)
    requests = requests_of(drawn, queries, texts, docids, count)
    return [(query.text, candidate.text or "") for query, candidates in requests for candidate in candidates]
