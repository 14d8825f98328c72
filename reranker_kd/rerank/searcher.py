"""A Pyserini searcher whose hits come reranked: existing code changes one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reranker_kd.errors import InputError
from reranker_kd.formats.document_text import text_of_stored_document
from reranker_kd.rerank.base import Reranker
from reranker_kd.types import Candidate, Query, first_of_each


@dataclass(frozen=True, slots=True)
class RerankedHit:
    """A hit as Pyserini's have it, with its text at hand.

    :param docid: the document
    :param score: the reranker's score, or below the depth a score under the last reranked one
    :param text: the text that was scored; None below the depth
    :param first_stage_score: the score of the wrapped searcher
    """

    docid: str
    score: float
    text: str | None
    first_stage_score: float


class RerankedSearcher:
    """Wraps a Pyserini searcher: ``search`` and ``batch_search`` as it has them, hits in the reranker's order.

    Whatever else the wrapped searcher offers (``set_bm25``, ``doc``, ``num_docs``, ...) is reached through it.

    :param searcher: such as ``pyserini.search.lucene.LuceneSearcher``
    :param reranker: what :func:`reranker_kd.load_reranker` returns
    :param depth: how many hits are reranked
    :param text_of: from docid to text, for searchers that store none (such as Faiss searchers); by default the
        searcher's own ``doc(docid)``
    """

    def __init__(
        self, searcher: Any, reranker: Reranker, depth: int = 100, *, text_of: Callable[[str], str | None] | None = None
    ) -> None:
        self.searcher = searcher
        self.reranker = reranker
        self.depth = depth
        self._text_of = text_of or self._stored_text

    def search(self, q: str, k: int = 10, **keywords: Any) -> list[RerankedHit]:
        """Return the ``k`` best hits of a query; keywords go to the wrapped searcher's ``search``."""
        hits = self.searcher.search(q, max(k, self.depth), **keywords)
        return self._reranked([q], [""], [hits], k)[0]

    def batch_search(
        self, queries: Sequence[str], qids: Sequence[str], k: int = 10, threads: int = 1, **keywords: Any
    ) -> dict[str, list[RerankedHit]]:
        """Return the ``k`` best hits of several queries by qid; keywords go to the wrapped ``batch_search``."""
        found = self.searcher.batch_search(list(queries), list(qids), k=max(k, self.depth), threads=threads, **keywords)
        reranked = self._reranked(queries, qids, [found.get(qid, []) for qid in qids], k)
        return dict(zip(qids, reranked, strict=True))

    def __getattr__(self, name: str) -> Any:
        # Only asked for what this class lacks; "searcher" itself is missing while an unpickler builds the object.
        if name == "searcher":
            raise AttributeError(name)
        return getattr(self.searcher, name)

    def _reranked(
        self, queries: Sequence[str], qids: Sequence[str], hits: Sequence[Iterable[Any]], k: int
    ) -> list[list[RerankedHit]]:
        first_stage = [first_of_each((hit.docid, float(hit.score)) for hit in listed) for listed in hits]
        requests = [
            (Query(qid, query), self._candidates(scores))
            for query, qid, scores in zip(queries, qids, first_stage, strict=True)
        ]
        rankings = self.reranker.rerank_batch(requests, depth=self.depth).rankings
        return [
            [RerankedHit(c.docid, c.score, c.text, scores[c.docid]) for c in ranking.candidates[:k]]
            for ranking, scores in zip(rankings, first_stage, strict=True)
        ]

    def _candidates(self, scores: dict[str, float]) -> list[Candidate]:
        return [
            Candidate(docid, score, self._text_of(docid) if place < self.depth else None)
            for place, (docid, score) in enumerate(scores.items())
        ]

    def _stored_text(self, docid: str) -> str:
        document = self.searcher.doc(docid)
        text = None if document is None else text_of_stored_document(document.raw(), document.contents())
        if text is None:
            raise InputError(
                f"document {docid!r}: the searcher stores no text of it: build the index with reranker-kd index, "
                "or give RerankedSearcher the texts by text_of"
            )
        return text
