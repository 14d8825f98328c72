"""From candidates to groups: which documents a student sees with each query.

Documents come from runs (BM25, dense, any other), each by a :class:`Draw` from a range of ranks, and from the whole
collection. The first ranks hold relevant documents and hard negatives, lower ranks and the collection easy ones.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reranker_kd.distill.data.transfer_set import Group, generator
from reranker_kd.errors import RecipeError
from reranker_kd.types import Qrels, Run, Topics

RANDOM = "random"
"""The source that stands for the whole collection."""


@dataclass(frozen=True, slots=True)
class Draw:
    """How many documents a group gets from one source, and from which of its ranks.

    Documents that are in the group already are passed over, so that the draw is of new ones. Where the ranks hold
    fewer, all are taken.

    :param source: the name of a run, or ``random`` for the whole collection, which has no ranks
    :param count: documents to draw, from 1; None draws all of a run's ranks
    :param first: the best rank, from 1
    :param depth: the lowest rank; None goes down to the last
    :param top: so many of the count are the best of the ranks, the others are drawn evenly from the rest
    :raises RecipeError: numbers that do not fit together
    """

    source: str
    count: int | None = None
    first: int = 1
    depth: int | None = None
    top: int = 0

    def __post_init__(self) -> None:
        if self.count is not None and self.count < 1:
            raise RecipeError(f"draw from {self.source}: count is {self.count}; give 1 or more")
        if self.first < 1 or (self.depth is not None and self.depth < self.first):
            raise RecipeError(f"draw from {self.source}: ranks {self.first} to {self.depth}; give 1 <= first <= depth")
        if not 0 <= self.top <= (self.count or 0):
            raise RecipeError(f"draw from {self.source}: top is {self.top}; give 0 to count, which is {self.count}")
        if self.source == RANDOM and (self.first, self.depth, self.top) != (1, None, 0):
            raise RecipeError("draw from random: the collection has no ranks; leave first, depth and top out")
        if self.source == RANDOM and self.count is None:
            raise RecipeError("draw from random: give a count")


def mine_groups(
    topics: Topics,
    runs: Mapping[str, Run],
    draws: Sequence[Draw],
    *,
    collection: Sequence[str] = (),
    qrels: Qrels | None = None,
    positives: int = 0,
    relevance_level: int = 1,
    seed: int = 0,
) -> tuple[Group, ...]:
    """Return one group for each query: judged relevant documents first, then what each draw gave, best rank first.

    They are in the order of the topics; queries with fewer than 2 documents have none.
    What is drawn for a query depends on the seed, its qid and its own candidates, and on no other query. Groups are
    as large as ``positives`` and the counts together, and smaller where a query has fewer documents.

    :param topics: the queries to make groups of
    :param runs: the sources by name, documents in rank order
    :param draws: made in this order, so that an earlier one takes a document that two sources share
    :param collection: the docids, each once, that ``random`` draws from
    :param qrels: where given, every group has labels; NaN where nobody judged
    :param positives: relevant documents put into each group, drawn evenly from those that the qrels have
    :param relevance_level: the lowest grade that counts as relevant
    :param seed: from 0
    :raises RecipeError: an unknown source, ``random`` without a collection, positives without qrels
    """
    if seed < 0:
        raise RecipeError(f"seed is {seed}; give 0 or more")
    if positives < 0 or (positives and qrels is None):
        raise RecipeError(f"positives is {positives}; give 0 or more, and qrels with it")
    if RANDOM in runs:
        raise RecipeError("a run is called random, which stands for the whole collection; give it another name")
    for draw in draws:
        if draw.source not in {*runs, RANDOM}:
            raise RecipeError(f"draw from {draw.source}: unknown source; known: {', '.join([*runs, RANDOM])}")
        if draw.source == RANDOM and not collection:
            raise RecipeError("draw from random: no collection to draw from; give its docids")
    groups = []
    for qid in topics:
        rng = generator(seed, qid)
        grades = (qrels or {}).get(qid, {})
        docids = _drawn([docid for docid, grade in grades.items() if grade >= relevance_level], positives, rng)
        for draw in draws:
            if draw.source == RANDOM:
                docids += draw_new(collection, draw.count or 0, docids, rng)
            else:
                candidates = list(runs[draw.source].get(qid, {}))[draw.first - 1 : draw.depth]
                ranked = [docid for docid in candidates if docid not in docids]
                rest = ranked[draw.top :]
                docids += ranked[: draw.top]
                docids += rest if draw.count is None else _drawn(rest, draw.count - draw.top, rng)
        if len(docids) > 1:
            labels = None if qrels is None else tuple(float(grades[d]) if d in grades else math.nan for d in docids)
            groups.append(Group(qid, tuple(docids), labels))
    return tuple(groups)


def draw_new(collection: Sequence[str], count: int, taken: Collection[str], rng: np.random.Generator) -> list[str]:
    """Return ``count`` documents of a collection, drawn evenly, or as many as it has, none of them among ``taken``."""
    # As many more as are taken, so that enough are left: the time is that of the draw, not of the collection.
    size = min(count + len(taken), len(collection))
    drawn = [collection[place] for place in rng.choice(len(collection), size, replace=False).tolist()]
    return [docid for docid in drawn if docid not in taken][:count]


def _drawn(docids: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    places = rng.choice(len(docids), min(count, len(docids)), replace=False).tolist()
    return [docids[place] for place in sorted(places)]
