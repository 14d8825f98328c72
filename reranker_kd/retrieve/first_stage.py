"""The first stage: candidates out of a Lucene index, by BM25 and its relatives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from reranker_kd.retrieve.lucene import LuceneIndex, SearchSettings
from reranker_kd.retrieve.named_inputs import load_topics, open_index
from reranker_kd.sections import GoesWith, checked
from reranker_kd.types import Run, Topics


class FirstStage(SearchSettings):
    """How candidates are retrieved; names and defaults are those of Pyserini's search."""

    threads: int = Field(default=2, ge=1, description="Lucene threads.")
    batch_size: int = Field(default=256, ge=1, description="Topics handed to Lucene at once.")
    hits: int = Field(default=1000, ge=1, description="Documents of each query at most.")
    max_passage: bool = Field(default=False, description="Keep the best passage of each document only.")
    max_passage_hits: Annotated[int, GoesWith("max_passage")] = Field(
        default=100, ge=1, description="Documents to keep; with --max-passage."
    )
    max_passage_delimiter: Annotated[str, GoesWith("max_passage")] = Field(
        default="#",
        min_length=1,
        description="What separates document and passage in a docid; with --max-passage.",
    )
    remove_query: bool = Field(default=False, description="Drop the document whose docid is the qid.")


def retrieve(index: LuceneIndex | str | Path, topics: Topics | str, hits: int = 1000, **settings: Any) -> Run:
    """Retrieve candidates of all topics.

    :param index: a folder with a Lucene index, or the name of one that Pyserini knows
    :param topics: query texts by qid, a file of them, or a name that Pyserini knows
    :param hits: documents of each topic at most
    :param settings: those of :class:`FirstStage`: ``k1``, ``b``, ``rm3``, ``fields``, ``threads``, ...
    :return: a run with the topics in their order; a topic without a match has no documents
    :raises InputError: an unknown setting, or a wrong value
    :raises LuceneError: no such index, or the settings ask for what it does not hold
    """
    first_stage = checked(FirstStage, {"hits": hits, **settings})
    return candidates_of(
        open_index(index),
        load_topics(topics) if isinstance(topics, str) else topics,
        first_stage,
    )


def candidates_of(
    index: LuceneIndex, topics: Topics, settings: FirstStage, on_progress: Callable[[int], None] = lambda _: None
) -> Run:
    """Return the candidates of all topics; see :func:`retrieve`.

    :param on_progress: called with the number of topics that were finished since the last call
    """
    run = index.search(
        topics,
        hits=settings.hits,
        threads=settings.threads,
        batch_size=settings.batch_size,
        settings=settings,
        on_progress=on_progress,
    )
    if settings.remove_query:
        # Some collections use documents as queries.
        run = {qid: {docid: s for docid, s in found.items() if docid != qid} for qid, found in run.items()}
    if settings.max_passage:
        run = keep_best_passages(run, settings.max_passage_delimiter, settings.max_passage_hits)
    return run


def keep_best_passages(run: Run, delimiter: str, hits: int) -> Run:
    """Return a run of documents out of a run of passages: each document with its best passage's score (MaxP).

    :param run: docids of the form document, delimiter, passage, best first
    :param hits: documents kept for each query at most
    """
    folded: Run = {}
    for qid, passages in run.items():
        best: dict[str, float] = {}
        for docid, score in passages.items():
            best.setdefault(docid.split(delimiter, 1)[0], score)
            if len(best) == hits:
                break
        folded[qid] = best
    return folded
