"""Cascades: a cheap model scores many candidates, an expensive one the best of these."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from reranker_kd.errors import ModelError
from reranker_kd.rerank.base import (
    Counts,
    DocumentScores,
    Pair,
    Progress,
    Request,
    RerankedBatch,
    Reranker,
    no_progress,
    scaled,
)
from reranker_kd.types import FloatArray, Ranking

ModelExpression = str | Sequence[str]
"""A model's name, or a cascade: ``"twin:100 > cross:20"``, or its stages in a list, ``["twin:100", "cross:20"]``."""


class NamedStage(NamedTuple):
    """A model (a folder, a name or a hub id) and how many candidates it scores; None takes all that reach it."""

    model: str
    depth: int | None = None


class Stage(NamedTuple):
    """A stage of a cascade; ``depth`` as in :class:`NamedStage`."""

    reranker: Reranker
    depth: int | None = None


def stages_of(expression: ModelExpression) -> tuple[NamedStage, ...]:
    """Return the stages that an expression names; a plain name is one stage without a depth.

    A folder that exists wins over what its name could mean. A folder whose name holds ``>`` goes into a cascade that
    is written as a list.

    :raises ModelError: a stage without a model, a depth of 0, or one beyond that of a stage before
    """
    if isinstance(expression, str) and Path(expression).is_dir():
        return (NamedStage(expression),)
    shown = expression if isinstance(expression, str) else " > ".join(expression)
    parts = expression.split(">") if isinstance(expression, str) else expression
    stages = tuple(_named_stage(part.strip()) for part in parts)
    if not stages or not all(stage.model for stage in stages):
        raise ModelError(f"{shown or 'no model'}: a stage names no model; expected NAME:DEPTH > NAME:DEPTH")
    _check_depths([stage.depth for stage in stages], shown)
    return stages


def tag_of(expression: ModelExpression) -> str:
    """Return one word out of a model's name or folder, as a run's tag or a file's name wants it.

    The stages of a cascade are joined by a plus: ``twin-100+cross-20``.
    """
    stages = stages_of(expression)
    words = (["-".join(Path(model).name.split()), *([str(depth)] if depth else [])] for model, depth in stages)
    return "+".join(map("-".join, words)) or "reranked"


class Cascade(Reranker):
    """Each stage reranks the best candidates of the one before; those that it leaves behind keep their order below.

    What a stage interpolates with are the scores of the stage before it.

    A pair by itself stands in no list that could be thinned out: :meth:`score_pairs`, :meth:`score` and
    :meth:`score_documents` are those of the last stage.

    :param stages: cheap models first, at least one; depths never grow
    :raises ModelError: no stage, or a depth beyond that of a stage before
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        if not stages:
            raise ModelError("a cascade without a stage: give it at least one model")
        _check_depths([stage.depth for stage in stages], "cascade")
        self.stages = tuple(stages)

    def score_pairs(self, pairs: Sequence[Pair]) -> FloatArray:
        """Return the last stage's score of each pair."""
        return self.stages[-1].reranker.score_pairs(pairs)

    def score_documents(self, pairs: Sequence[Pair], on_progress: Progress = no_progress) -> DocumentScores:
        """Score documents by the last stage."""
        return self.stages[-1].reranker.score_documents(pairs, on_progress)

    def texts_wanted(self, docids: Collection[str]) -> Collection[str]:
        """Return the documents whose texts any stage needs: which of them get that far is not known beforehand."""
        wanted = [frozenset(stage.reranker.texts_wanted(docids)) for stage in self.stages]
        return [docid for docid in docids if any(docid in those for those in wanted)]

    def rerank_batch(
        self, requests: Sequence[Request], *, depth: int | None = None, on_progress: Progress = no_progress
    ) -> RerankedBatch:
        """Rerank stage after stage; the counts are those of all stages together."""
        given = [(stage.depth, depth) for stage in self.stages]
        depths = [min((limit for limit in both if limit is not None), default=None) for both in given]
        todo = [sum(len(candidates[:limit]) for _, candidates in requests) for limit in depths]
        # Whoever watches counts each candidate down to the depth once, whatever number of stages score it.
        share = sum(len(candidates[:depth]) for _, candidates in requests) / max(1, sum(todo))
        rankings: tuple[Ranking, ...] = ()
        counts = []
        for stage, limit in zip(self.stages, depths, strict=True):
            batch = stage.reranker.rerank_batch(requests, depth=limit, on_progress=scaled(on_progress, share))
            rankings = batch.rankings
            requests = [(ranking.query, ranking.candidates) for ranking in rankings]
            counts.append(batch.counts)
        return RerankedBatch(rankings, Counts.total(counts))

    def describe(self) -> dict[str, Any]:
        """Return what identifies each stage, in their order, and its depth."""
        stages = [{**stage.reranker.describe(), "depth": stage.depth} for stage in self.stages]
        return {**super().describe(), "stages": stages}


def _named_stage(part: str) -> NamedStage:
    name, colon, depth = part.rpartition(":")
    if colon and depth.isascii() and depth.isdecimal() and not Path(part).is_dir():
        return NamedStage(name.strip(), int(depth))
    return NamedStage(part)


def _check_depths(depths: Sequence[int | None], shown: str) -> None:
    before: int | None = None
    for number, depth in enumerate(depths, start=1):
        if depth is not None and depth < 1:
            raise ModelError(f"{shown}: stage {number} scores {depth} candidates; expected at least 1")
        if depth is not None and before is not None and depth > before:
            raise ModelError(
                f"{shown}: stage {number} scores {depth} candidates, more than the {before} of the stage before it: "
                "depths may shrink, not grow"
            )
        before = depth or before
