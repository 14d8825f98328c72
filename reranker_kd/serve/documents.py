"""The index behind the service: BM25 and texts, from a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from reranker_kd.retrieve.lucene import LuceneIndex

T = TypeVar("T")


class IndexedDocuments:
    """Searches an index and fetches texts without stopping the event loop. Call :meth:`close` at the end.

    :param index: used by one thread only from now on: a search sets its parameters on the index
    """

    def __init__(self, index: LuceneIndex) -> None:
        self._index = index
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lucene")
        self.count = index.document_count

    async def search(self, query: str, hits: int) -> Mapping[str, float]:
        """Return docid -> BM25 score of the best documents, best first."""
        run = await self._in_thread(lambda: self._index.search({"": query}, hits=hits))
        return run[""]

    async def texts(self, docids: Collection[str]) -> Mapping[str, str]:
        """Return docid -> text; documents that the index lacks are absent."""
        return await self._in_thread(lambda: self._index.texts(docids)) if docids else {}

    def close(self) -> None:
        """End the thread when it has done what it was given."""
        self._thread.shutdown()

    async def _in_thread(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)
