"""What happens to a first-stage run before it is written: passages folded, the query's own document dropped."""

from __future__ import annotations

import hashlib
from typing import Any

from reranker_kd.retrieve.lucene import LuceneIndex
from reranker_kd.types import Run


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


def without_query_documents(run: Run) -> Run:
    """Return the run without documents whose docid is the qid: some collections use documents as queries."""
    return {qid: {docid: score for docid, score in documents.items() if docid != qid} for qid, documents in run.items()}


def describe_index(index: LuceneIndex) -> dict[str, Any]:
    """Return what identifies an index in a provenance file.

    Lucene's ``segments_N`` file names every segment by a random identifier, so its hash stands for the content.
    """
    segments = sorted(index.folder.glob("segments_*"))[-1]
    return {
        "name": index.name,
        "documents": index.document_count,
        "segments_sha256": hashlib.sha256(segments.read_bytes()).hexdigest(),
    }
