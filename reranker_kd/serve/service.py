"""What the service does, apart from HTTP: requests checked, searched, reranked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.topics import read_topics
from reranker_kd.rerank.base import Reranker
from reranker_kd.resources.sample_collection import SAMPLE_QRELS, SAMPLE_TOPICS
from reranker_kd.retrieve.lucene import LuceneIndex, SearchSettings
from reranker_kd.serve.batching import RerankingThread
from reranker_kd.serve.limits import Limits
from reranker_kd.serve.messages import (
    Document,
    Hit,
    ModelsAnswer,
    Ranked,
    RefusedError,
    RerankAnswer,
    RerankRequest,
    SearchAnswer,
    SearchRequest,
)
from reranker_kd.types import Candidate, Query, Ranking

T = TypeVar("T")

_DEFAULT_HITS = 10
_DEFAULT_DEPTH = 100

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


class Service:
    """Answers requests over an index and several rerankers. Call :meth:`close` at the end.

    :param rerankers: by the names that clients use; each is used by a thread of its own from now on
    :param index: used by a thread of its own too: a search sets its parameters on the index. None where clients bring
        all texts
    :param examples: queries that the page offers
    """

    def __init__(
        self,
        rerankers: Mapping[str, Reranker],
        index: LuceneIndex | None,
        limits: Limits | None = None,
        examples: Sequence[str] = (),
    ) -> None:
        self.limits = limits or Limits()
        self._examples = list(examples)
        self._index = index
        self._lucene = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lucene")
        self._descriptions = [{**reranker.describe(), "name": name} for name, reranker in rerankers.items()]
        self._threads = {
            name: RerankingThread(name, reranker, self.limits.max_concurrent) for name, reranker in rerankers.items()
        }

    def close(self) -> None:
        """Finish what waits, and end all threads."""
        for thread in self._threads.values():
            thread.close()
        self._lucene.shutdown()

    def models(self) -> ModelsAnswer:
        """Return what there is to ask for."""
        return ModelsAnswer(
            models=self._descriptions,
            documents=self._index.document_count if self._index else None,
            limits=self.limits.model_dump(),
            examples=self._examples,
        )

    async def rerank(self, request: RerankRequest) -> RerankAnswer:
        """Rerank the candidates of a request.

        :raises RefusedError: the request cannot be answered as it stands
        :raises CandidateError: nor can a candidate be reranked
        """
        thread = self._thread(request.model)
        self._check_query(request.query)
        _check_most("candidates", len(request.candidates), self.limits.max_candidates)
        start = time.perf_counter()
        candidates = await self._candidates(request.candidates)
        milliseconds = {"texts": 1000 * (time.perf_counter() - start)}
        reranked = await asyncio.wrap_future(thread.submit(request.query, candidates, request.depth))
        ranking = [Ranked(rank=hit.rank, docid=hit.docid, score=hit.score) for hit in reranked.ranking]
        milliseconds |= reranked.milliseconds
        return RerankAnswer(model=request.model, ranking=ranking, milliseconds=milliseconds)

    async def search(self, request: SearchRequest) -> SearchAnswer:
        """Search, and rerank where a model is named.

        :raises RefusedError: the request cannot be answered as it stands
        :raises CandidateError: nor can a candidate be reranked
        """
        if self._index is None:
            raise RefusedError(422, "this service has no index to search: send candidates to /rerank")
        thread = None if request.model is None else self._thread(request.model)
        self._check_query(request.query)
        hits = self._count("hits", request.hits, _DEFAULT_HITS)
        depth = self._count("depth", request.depth, _DEFAULT_DEPTH)
        wanted = hits if thread is None else max(hits, depth)
        settings = SearchSettings(hits=wanted, threads=1)
        start = time.perf_counter()
        found = await self._in_index(lambda index: index.search({"": request.query}, settings)[""])
        between = time.perf_counter()
        texts = await self._in_index(lambda index: index.texts(found))
        milliseconds = {"retrieving": 1000 * (between - start), "texts": 1000 * (time.perf_counter() - between)}
        candidates = [Candidate(docid, score, texts.get(docid, "")) for docid, score in found.items()]
        ranking = Ranking(Query("", request.query), tuple(candidates))
        if thread is not None and candidates:
            reranked = await asyncio.wrap_future(thread.submit(request.query, candidates, depth))
            ranking = reranked.ranking
            milliseconds |= reranked.milliseconds
        best = islice(ranking, hits)
        shown = [Hit(rank=hit.rank, docid=hit.docid, score=hit.score, text=hit.text or "") for hit in best]
        return SearchAnswer(model=request.model, ranking=shown, milliseconds=milliseconds)

    async def _in_index(self, act: Callable[[LuceneIndex], T]) -> T:
        assert self._index is not None
        return await asyncio.get_running_loop().run_in_executor(self._lucene, act, self._index)

    def _thread(self, model: str) -> RerankingThread:
        if model not in self._threads:
            raise RefusedError(404, f"no model {_shown(model)} here: take one of {', '.join(self._threads)}")
        return self._threads[model]

    def _check_query(self, query: str) -> None:
        if not query.strip():
            raise RefusedError(422, "query: is empty")
        _check_most("query", len(query), self.limits.max_query_chars, " characters")

    def _count(self, name: str, asked: int | None, default: int) -> int:
        if asked is None:
            return min(default, self.limits.max_candidates)
        _check_most(name, asked, self.limits.max_candidates)
        return asked

    async def _candidates(self, given: Sequence[Document | str]) -> list[Candidate]:
        texts: dict[str, str | None] = {}
        for place, candidate in enumerate(given):
            docid, text = (candidate, None) if isinstance(candidate, str) else (candidate.docid, candidate.text)
            if docid in texts:
                raise RefusedError(422, f"candidates.{place}: document {_shown(docid)} stands twice")
            if text is not None and not text.strip():
                raise RefusedError(422, f"candidates.{place}: document {_shown(docid)} is empty")
            _check_most(f"candidates.{place}", len(text or ""), self.limits.max_text_chars, " characters")
            texts[docid] = text
        if lacking := [docid for docid, text in texts.items() if text is None]:
            if self._index is None:
                raise RefusedError(422, f"document {_shown(lacking[0])}: comes without text, and there is no index")
            texts |= await self._in_index(lambda index: index.texts(lacking))
        for docid, text in texts.items():
            if text is None:
                raise RefusedError(422, f"document {_shown(docid)} is not in the index")
        return [Candidate(docid, -place, text) for place, (docid, text) in enumerate(texts.items())]


def _check_most(name: str, count: int, limit: int, unit: str = "") -> None:
    if count > limit:
        raise RefusedError(422, f"{name}: {count}{unit}, where {limit} are the limit")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else f"{name[:60]}...")
