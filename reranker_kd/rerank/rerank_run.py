"""Reranking a whole run: queries and texts fetched, pairs of many queries pooled, one run out."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import NamedTuple

from reranker_kd.errors import CandidateError
from reranker_kd.rerank.base import Counts, Progress, Request, Reranker, no_progress
from reranker_kd.types import Candidate, Query, Run, TextSource, Topics

_PAIRS_A_POOL = 16384
"""Pairs that are scored together: enough to find others of like length, few enough to bound memory."""


class RerankedRun(NamedTuple):
    """A reranked run, and the counts of the pairs behind it."""

    run: Run
    counts: Counts


def rerank_run(
    candidates: Run,
    topics: Topics,
    texts: TextSource,
    reranker: Reranker,
    *,
    depth: int = 100,
    wanted: Collection[str] | None = None,
    on_progress: Progress = no_progress,
) -> RerankedRun:
    """Rerank the first ``depth`` candidates of every query; those below keep their order after them.

    :param candidates: the run to rerank
    :param topics: the texts of at least the run's queries
    :param texts: where the documents' texts come from
    :param wanted: what the reranker wants the texts of (:meth:`Reranker.texts_wanted`), where it was asked before
    :param on_progress: called with the number of pairs finished since the last call
    :raises CandidateError: a query that the topics lack, or a document that is empty or has no text
    """
    check_topics(candidates, topics)
    wanted = frozenset(reranker.texts_wanted(docids_within(candidates, depth)) if wanted is None else wanted)
    run: Run = {}
    counts = [Counts()]
    for pool in _pools(candidates, depth):
        requests = requests_of(pool, topics, texts, wanted, depth)
        batch = reranker.rerank_batch(requests, depth=depth, on_progress=on_progress)
        for ranking in batch.rankings:
            run[ranking.query.qid] = {candidate.docid: candidate.score for candidate in ranking.candidates}
        counts.append(batch.counts)
    return RerankedRun(run, Counts.total(counts))


def docids_within(candidates: Run, depth: int) -> set[str]:
    """Return the distinct documents among the first ``depth`` candidates of all queries."""
    return {docid for documents in candidates.values() for docid in islice(documents, depth)}


def pair_count(candidates: Run, depth: int) -> int:
    """Return how many pairs :func:`rerank_run` will score."""
    return sum(min(depth, len(documents)) for documents in candidates.values())


def check_topics(candidates: Run, topics: Topics) -> None:
    """Raise :class:`CandidateError` for the first query of the run that the topics lack."""
    for qid in candidates:
        if qid not in topics:
            raise CandidateError(qid, None, "not among the topics: give the topics that the run was made with")


def requests_of(
    candidates: Run, topics: Topics, texts: TextSource, wanted: AbstractSet[str], depth: int
) -> list[Request]:
    """Return the queries of a run with their candidates.

    :param wanted: documents that come with their texts, down to ``depth``
    :raises CandidateError: a document that has no text
    """
    read = sorted(wanted & docids_within(candidates, depth))
    found = texts(read) if read else {}
    requests: list[Request] = []
    for qid, documents in candidates.items():
        listed = []
        for place, (docid, score) in enumerate(documents.items()):
            if place < depth and docid in wanted and docid not in found:
                fault = "is not in the index or collection of the texts: name the one that the run was made over"
                raise CandidateError(qid, docid, f"document {docid!r} {fault}")
            listed.append(Candidate(docid, score, found.get(docid) if place < depth else None))
        requests.append((Query(qid, topics[qid]), listed))
    return requests


def _pools(candidates: Run, depth: int) -> Iterator[Run]:
    pool: Run = {}
    for qid, documents in candidates.items():
        if pool and pair_count(pool, depth) + min(depth, len(documents)) > _PAIRS_A_POOL:
            yield pool
            pool = {}
        pool[qid] = documents
    if pool:
        yield pool
