"""One thread a model, which reranks what several clients wait for in one call."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from itertools import groupby

from reranker_kd.rerank.base import Reranker
from reranker_kd.serve.messages import RefusedError
from reranker_kd.types import Candidate, Query, Ranking

_PAIRS_A_BATCH = 512
"""Pairs after which a batch is closed: enough to fill the cores, few enough that a small request waits little."""

_WINDOW_S = 0.003
"""How long the first request of a batch waits for others."""


@dataclass(frozen=True, slots=True)
class Reranked:
    """The ranking of a request; milliseconds that it was waiting until its batch began, and of reranking the batch."""

    ranking: Ranking
    milliseconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Waiting:
    query: Query
    candidates: Sequence[Candidate]
    depth: int | None
    answer: Future[Reranked] = field(default_factory=Future)
    since: float = field(default_factory=time.perf_counter)


class RerankingThread:
    """Gathers requests and reranks them together, in a thread of its own: rerankers are not made for several.

    :param name: the model's name, for messages
    :param reranker: used by this thread only from now on
    :param capacity: requests that may wait
    """

    def __init__(self, name: str, reranker: Reranker, capacity: int) -> None:
        self._name = name
        self._reranker = reranker
        # None is the last entry: nothing is taken after it.
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(capacity)
        self._closed = False
        # A second Ctrl-C ends the process, whatever the model is at.
        self._thread = threading.Thread(target=self._run, name=f"rerank by {name}", daemon=True)
        self._thread.start()

    def submit(self, query: str, candidates: Sequence[Candidate], depth: int | None = None) -> Future[Reranked]:
        """Return the future answer to a request as :meth:`Reranker.rerank` takes it; it may be cancelled.

        :raises RefusedError: too many requests wait already, or the thread is closed
        """
        if self._closed:
            raise RefusedError(503, "the service is shutting down")
        # Requests of one depth go together, so that a depth that cuts nothing must not look like one of its own.
        waiting = _Waiting(Query("", query), candidates, depth if depth and depth < len(candidates) else None)
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            raise RefusedError(503, f"too many requests wait for {self._name}: try again later") from None
        return waiting.answer

    def close(self) -> None:
        """Take no more requests, finish those that somebody waits for, and end the thread."""
        self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going_on = True
        while going_on:
            batch, going_on = self._gather()
            batch.sort(key=lambda waiting: waiting.depth or 0)
            for _, together in groupby(batch, lambda waiting: waiting.depth):
                self._rerank(list(together))

    def _gather(self) -> tuple[list[_Waiting], bool]:
        """Return a batch, and whether more may come."""
        batch: list[_Waiting] = []
        pairs = 0
        latest = None
        while pairs < _PAIRS_A_BATCH:
            try:
                waiting = self._queue.get(timeout=None if latest is None else max(0.0, latest - time.perf_counter()))
            except queue.Empty:
                break
            if waiting is None:
                return batch, False
            latest = latest or time.perf_counter() + _WINDOW_S
            batch.append(waiting)
            pairs += min(len(waiting.candidates), waiting.depth or len(waiting.candidates))
        return batch, True

    def _rerank(self, together: Sequence[_Waiting]) -> None:
        # Answers stay pending while the model runs: clients that time out or hang up cancel them, and a model that
        # nobody waits for any more is stopped. It would keep the service from its end, and from other requests.
        together = [waiting for waiting in together if not waiting.answer.cancelled()]
        if not together:
            return

        def go_on(_: float) -> None:
            if all(waiting.answer.cancelled() for waiting in together):
                raise CancelledError

        start = time.perf_counter()
        requests = [(waiting.query, waiting.candidates) for waiting in together]
        try:
            rankings = self._reranker.rerank_batch(requests, depth=together[0].depth, on_progress=go_on).rankings
        except CancelledError:
            return
        except Exception as error:
            if len(together) > 1:
                # The fault of one request is not that of the others.
                for waiting in together:
                    self._rerank([waiting])
            elif together[0].answer.set_running_or_notify_cancel():
                together[0].answer.set_exception(error)
            return
        reranking = 1000 * (time.perf_counter() - start)
        for waiting, ranking in zip(together, rankings, strict=True):
            if waiting.answer.set_running_or_notify_cancel():
                milliseconds = {"waiting": 1000 * (start - waiting.since), "reranking": reranking}
                waiting.answer.set_result(Reranked(ranking, milliseconds))
