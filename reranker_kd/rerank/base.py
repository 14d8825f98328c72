"""What every reranker promises. The base class alone checks scores, sorts, cuts and ranks."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np

from reranker_kd.errors import CandidateError, InputError, ModelError
from reranker_kd.rerank.interpolation import interpolated
from reranker_kd.types import Candidate, FloatArray, Query, Ranking, rank_order

Pair = tuple[str, str]
"""A query's text and a document's text."""

Request = tuple[Query, Sequence[Candidate]]
"""A query and its candidates."""

DocumentLike = str | tuple[Any, str] | Mapping[str, Any] | Candidate
"""A document as :meth:`Reranker.rank` takes it."""

Progress = Callable[[float], None]
"""Called with the number of pairs that were finished since the last call, as a share where one is under way."""

_PAIRS_A_CALL = 256


def no_progress(_: float) -> None:
    """Report to nobody."""


def scaled(on_progress: Progress, share: float) -> Progress:
    """Return what reports so many shares of a pair for each step."""
    return lambda done: on_progress(done * share)


def parts(pairs: Sequence[Pair], size: int) -> Iterator[Sequence[Pair]]:
    """Yield the pairs, as many at once."""
    return (pairs[start : start + size] for start in range(0, len(pairs), size))


@dataclass(frozen=True, slots=True)
class DocumentScores:
    """Scores of pairs, float32 (n,), higher is more relevant; the counts are those of :class:`Counts`."""

    scores: FloatArray
    passages: int = 0
    split: int = 0
    cut: int = 0


class Counts(NamedTuple):
    """How many pairs were scored, and how much of their documents the model saw.

    :param passages: that the model read; of precomputed embeddings none
    :param split: pairs whose document was scored as several passages
    :param cut: pairs of which the model did not see all the text
    """

    pairs: int = 0
    passages: int = 0
    split: int = 0
    cut: int = 0

    @classmethod
    def total(cls, several: Iterable[Counts]) -> Counts:
        """Return the sums."""
        return cls(*map(sum, zip(*several, strict=True)))


class RerankedBatch(NamedTuple):
    """Rankings of several queries, and the counts of the pairs behind them."""

    rankings: tuple[Ranking, ...]
    counts: Counts


class _LoadedByName(ABCMeta):
    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:
        if cls is Reranker:
            # The one upward step of this package: the base class, called by its name, gives what the registry loads.
            return import_module("reranker_kd.rerank.registry").load_reranker(*arguments, **keywords)
        return super().__call__(*arguments, **keywords)


class Reranker(metaclass=_LoadedByName):
    """Scores query-document pairs. A new reranker implements :meth:`score_pairs`, and no more is needed.

    ``Reranker("name-or-folder", **options)`` is :func:`reranker_kd.load_reranker`.
    """

    interpolate: float = 0.0
    """Weight of the first stage's z-scores beside this reranker's own, see ``interpolation.py``; 0 takes its own."""

    @abstractmethod
    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the relevance of each (query, text), float32 (n,), higher is more relevant.

        Text beyond what the model takes is cut; :meth:`rerank` deals with long documents by passages.
        """

    def score(self, query: str, texts: Sequence[str]) -> FloatArray:
        """Return the relevance of each text to one query, float32 (n,); texts that are too long are cut.

        :raises InputError: one string in place of a list
        """
        check_list(texts)
        return self.score_pairs([(query, text) for text in texts])

    def score_documents(self, pairs: Sequence[Pair], on_progress: Progress = no_progress) -> DocumentScores:
        """Score whole documents, however long. Overridden by rerankers that know where their model cuts."""
        scores = [np.zeros(0, dtype=np.float32)]
        for batch in parts(pairs, _PAIRS_A_CALL):
            scores.append(_checked(self.score_pairs(batch), len(batch), self))
            on_progress(len(batch))
        return DocumentScores(np.concatenate(scores))

    def texts_wanted(self, docids: Collection[str]) -> Collection[str]:
        """Return those of the documents whose texts are needed; all, unless a reranker has them in another form."""
        return docids

    def score_candidates(self, requests: Sequence[Request], on_progress: Progress = no_progress) -> DocumentScores:
        """Score the candidates of several queries, one after the other, by their texts.

        Overridden by rerankers that know documents by their docids.

        :raises CandidateError: a candidate without text, or an empty query
        """
        return self.score_documents([pair for request in requests for pair in pairs_of(*request)], on_progress)

    def describe(self) -> dict[str, Any]:
        """Return what identifies this reranker in a provenance file, as JSON values."""
        weight = {"interpolate": self.interpolate} if self.interpolate else {}
        return {"class": f"{type(self).__module__}.{type(self).__qualname__}", **weight}

    def rank(self, query: str, documents: Iterable[DocumentLike], *, top_k: int | None = None) -> Ranking:
        """Return documents in the order of their relevance to a query; long ones are read by passages.

        :param documents: texts, pairs ``(id, text)``, mappings with ``id`` and ``text``, or candidates. A text alone
            gets its place in the list, from 0, as its id
        :param top_k: documents that are returned, the best; None returns all
        :raises InputError: one string in place of a list, or a document of another form
        :raises CandidateError: an empty text or query, or an id that stands twice
        """
        check_list(documents)
        ranking = self.rerank(query, [candidate_of(document, place) for place, document in enumerate(documents)])
        return Ranking(ranking.query, ranking.candidates[:top_k])

    def rerank(self, query: Query | str, candidates: Sequence[Candidate], *, depth: int | None = None) -> Ranking:
        """Return the candidates of one query in the order of this reranker's scores.

        :param candidates: best first, with texts down to ``depth``
        :param depth: how many candidates are scored; those below keep their order after the scored ones, each a
            full point under the one before it. None scores all
        :raises CandidateError: a candidate without text, an empty query, or a docid that stands twice
        """
        query = Query("", query) if isinstance(query, str) else query
        return self.rerank_batch([(query, candidates)], depth=depth).rankings[0]

    def rerank_batch(
        self, requests: Sequence[Request], *, depth: int | None = None, on_progress: Progress = no_progress
    ) -> RerankedBatch:
        """Rerank the candidates of several queries, their pairs pooled; see :meth:`rerank`."""
        heads = [candidates[:depth] for _, candidates in requests]
        pairs = sum(map(len, heads))
        scored = self.score_candidates(
            [(query, head) for (query, _), head in zip(requests, heads, strict=True)], on_progress
        )
        scores = _checked(scored.scores, pairs, self)
        if self.interpolate:
            scores = interpolated(scores, heads, self.interpolate)
        # Each head takes its share of the scores.
        remaining = iter(scores.tolist())
        rankings = [
            _ranking_of(query, head, list(islice(remaining, len(head))), candidates[len(head) :])
            for (query, candidates), head in zip(requests, heads, strict=True)
        ]
        return RerankedBatch(tuple(rankings), Counts(pairs, scored.passages, scored.split, scored.cut))


def check_list(texts: Any) -> None:
    """Raise :class:`InputError` where one string is given in place of a list: its letters would be scored."""
    if isinstance(texts, str):
        raise InputError(f"got one string, {texts[:40]!r}: give a list of texts, such as [{texts[:10]!r}]")


def candidate_of(document: DocumentLike, place: int) -> Candidate:
    """Return the candidate that a document given to :meth:`Reranker.rank` stands for.

    :raises InputError: a document of another form
    """
    if isinstance(document, str):
        return Candidate(str(place), text=document)
    if isinstance(document, Candidate):
        return document
    if isinstance(document, Mapping) and {"id", "text"} <= document.keys():
        return Candidate(str(document["id"]), text=document["text"])
    if isinstance(document, tuple) and len(document) == 2:
        return Candidate(str(document[0]), text=document[1])
    raise InputError(
        f"document {place} is {type(document).__name__} {str(document)[:40]!r}: give a text, (id, text), a mapping "
        "with id and text, or a Candidate"
    )


def check_query(query: Query) -> None:
    """Raise :class:`CandidateError` where a query has no text."""
    if not query.text.strip():
        raise CandidateError(query.qid, None, "its text is empty: give it one, or leave the query out")


def pairs_of(query: Query, candidates: Sequence[Candidate]) -> list[Pair]:
    """Return a query with the text of each candidate.

    :raises CandidateError: a candidate without text, or an empty query
    """
    check_query(query)
    pairs = []
    for candidate in candidates:
        text = candidate.text or ""
        if not text.strip():
            fault = "comes without its text: fetch it first"
            if candidate.text is not None:
                fault = "is empty: mend the collection, or leave the document out"
            raise CandidateError(query.qid, candidate.docid, f"document {candidate.docid!r} {fault}")
        pairs.append((query.text, text))
    return pairs


def _checked(scores: Any, count: int, reranker: Reranker) -> FloatArray:
    array = np.asarray(scores, dtype=np.float32)
    name = type(reranker).__name__
    if array.shape != (count,):
        raise ModelError(f"{name}: gave scores of shape {array.shape} for {count} pairs: expected ({count},)")
    if not np.isfinite(array).all():
        raise ModelError(f"{name}: gave a score that is not finite for pair {int(np.argmin(np.isfinite(array)))}")
    return array


def _ranking_of(query: Query, head: Sequence[Candidate], scores: list[float], tail: Sequence[Candidate]) -> Ranking:
    """Return the head by its scores, and after it the tail in its order, a full point a place."""
    docids = [candidate.docid for candidate in chain(head, tail)]
    if len(set(docids)) < len(docids):
        twice = next(docid for docid in docids if docids.count(docid) > 1)
        raise CandidateError(query.qid, twice, f"document {twice!r} stands twice among the candidates")
    ranked = [
        Candidate(head[i].docid, scores[i], head[i].text)
        for i in rank_order([candidate.docid for candidate in head], scores)
    ]
    lowest = ranked[-1].score if ranked else 0.0
    # A full point a place stays apart in single precision for any score that a model gives.
    ranked += [Candidate(c.docid, lowest - place, c.text) for place, c in enumerate(tail, start=1)]
    return Ranking(query, tuple(ranked))
