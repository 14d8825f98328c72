"""Requests of several clients in one batch: the same answers, bounded waiting, no fault shared."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from reranker_kd.errors import CandidateError
from reranker_kd.rerank.base import Pair, Reranker
from reranker_kd.serve.batching import RerankingThread
from reranker_kd.serve.messages import RefusedError
from reranker_kd.types import Candidate, FloatArray

CANDIDATES = [Candidate("a", 0, "x"), Candidate("b", -1, "xxx"), Candidate("c", -2, "xx")]


class Lengths(Reranker):
    """Scores by the text's length; waits until it is let go, and notes what it is called with."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.calls: list[list[Pair]] = []

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        self.calls.append(list(pairs))
        self.begun.set()
        assert self.go.wait(10)
        if any(text == "boom" for _, text in pairs):
            raise RuntimeError("boom")
        return np.asarray([len(text) for _, text in pairs], dtype=np.float32)


@pytest.fixture
def lengths() -> Lengths:
    return Lengths()


@pytest.fixture
def thread(lengths) -> Iterator[RerankingThread]:
    made = RerankingThread("lengths", lengths, 4)
    yield made
    lengths.go.set()
    made.close()


def _occupy(thread, lengths):
    """Give the thread a request that it does not finish, so that further ones wait."""
    first = thread.submit("first", CANDIDATES[:1])
    assert lengths.begun.wait(10)
    return first


def _order(answer) -> list[str]:
    return [candidate.docid for candidate in answer.result(10).ranking.candidates]


def test_waiting_requests_go_together_in_one_call(thread, lengths):
    first = _occupy(thread, lengths)
    answers = [thread.submit(f"q{i}", CANDIDATES) for i in range(4)]
    lengths.go.set()
    assert _order(first) == ["a"]
    assert [_order(answer) for answer in answers] == [["b", "c", "a"]] * 4
    assert [len(call) for call in lengths.calls] == [1, 12]


def test_requests_of_different_depths(thread, lengths):
    _occupy(thread, lengths)
    answers = [thread.submit("q", CANDIDATES, depth) for depth in (1, 2, 3, None)]
    lengths.go.set()
    assert list(map(_order, answers)) == [["a", "b", "c"], ["b", "a", "c"], ["b", "c", "a"], ["b", "c", "a"]]
    # A depth that cuts nothing is none.
    assert sorted(len(call) for call in lengths.calls[1:]) == [1, 2, 6]


def test_a_full_queue_refuses_and_takes_again(thread, lengths):
    _occupy(thread, lengths)
    answers = [thread.submit("q", CANDIDATES) for _ in range(4)]
    with pytest.raises(RefusedError, match="too many requests wait for lengths") as refused:
        thread.submit("q", CANDIDATES)
    assert refused.value.status_code == 503
    assert refused.value.headers == {"Retry-After": "1"}
    lengths.go.set()
    assert [_order(answer) for answer in answers] == [["b", "c", "a"]] * 4
    assert _order(thread.submit("q", CANDIDATES)) == ["b", "c", "a"]


def test_the_fault_of_one_request_is_not_that_of_the_others(thread, lengths):
    _occupy(thread, lengths)
    before = thread.submit("q", CANDIDATES)
    boom = thread.submit("q", [Candidate("a", 0, "boom")])
    textless = thread.submit("q", [Candidate("a", 0, None)])
    after = thread.submit("q", CANDIDATES)
    lengths.go.set()
    assert _order(before) == _order(after) == ["b", "c", "a"]
    with pytest.raises(RuntimeError, match="boom"):
        boom.result(10)
    with pytest.raises(CandidateError, match="comes without its text"):
        textless.result(10)


def test_what_is_cancelled_costs_nothing(thread, lengths):
    _occupy(thread, lengths)
    gone = thread.submit("gone", CANDIDATES)
    answer = thread.submit("q", CANDIDATES)
    assert gone.cancel()
    lengths.go.set()
    assert _order(answer) == ["b", "c", "a"]
    assert {query for call in lengths.calls for query, _ in call} == {"first", "q"}


@pytest.mark.parametrize(("leaving", "calls"), [(1, [1, 256, 256, 88]), (2, [1, 256])])
def test_a_model_stops_once_nobody_waits_for_it(thread, lengths, monkeypatch, leaving, calls):
    _occupy(thread, lengths)
    many = [Candidate(str(i), -i, "x" * (i + 1)) for i in range(300)]
    answers = [thread.submit("q", many) for _ in range(2)]
    score_pairs = lengths.score_pairs

    def leave_meanwhile(pairs: Sequence[Pair]) -> FloatArray:
        for answer in answers[:leaving]:
            answer.cancel()
        return score_pairs(pairs)

    monkeypatch.setattr(lengths, "score_pairs", leave_meanwhile)
    lengths.go.set()
    # A stop does not wait for what they left behind either.
    thread.close()
    assert [len(call) for call in lengths.calls] == calls
    assert [answer.cancelled() for answer in answers] == [True] * leaving + [False] * (2 - leaving)
    assert [len(answer.result(0).ranking.candidates) for answer in answers[leaving:]] == [300] * (2 - leaving)


def test_large_requests_do_not_go_into_one_batch(thread, lengths):
    _occupy(thread, lengths)
    many = [Candidate(str(i), -i, "x" * (i + 1)) for i in range(400)]
    answers = [thread.submit("q", many) for _ in range(3)]
    lengths.go.set()
    assert [len(answer.result(10).ranking.candidates) for answer in answers] == [400] * 3
    # The base class hands on at most 256 pairs a call, batch by batch: 800 pairs, then 400.
    assert [len(call) for call in lengths.calls[1:]] == [256, 256, 256, 32, 256, 144]


def test_closing_finishes_what_waits_and_takes_no_more(lengths):
    thread = RerankingThread("lengths", lengths, 4)
    first = _occupy(thread, lengths)
    waiting = thread.submit("q", CANDIDATES)
    closing = threading.Thread(target=thread.close)
    closing.start()
    lengths.go.set()
    closing.join(10)
    assert _order(first) == ["a"]
    assert _order(waiting) == ["b", "c", "a"]
    with pytest.raises(RefusedError, match="shutting down"):
        thread.submit("q", CANDIDATES)
