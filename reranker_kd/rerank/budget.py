"""Budgets: how many candidates each model may score within so many milliseconds a query.

The stages of a cascade go from cheap to expensive, and the budget is spent in this order: a stage gets as many
candidates as it asks for, or as many as what is left pays for. What an expensive model would find in the first few
candidates is less than what a cheap one finds in all of them (docs/doing-less.md has the figures).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

from reranker_kd.errors import InputError
from reranker_kd.rerank.base import Request, Reranker
from reranker_kd.rerank.cascade import Cascade, Stage

# Fewer candidates than these have no order to change.
_FEWEST = 2
_REPEATS = 3


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A model, milliseconds of one pair, candidates that it was to score and that it will score; 0 leaves it out."""

    model: str
    milliseconds: float
    asked: int
    depth: int

    def __str__(self) -> str:
        return f"{self.depth} of {self.asked} candidates by {self.model} at {self.milliseconds:.3g} ms"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a budget, in milliseconds a query, pays for: all models, cheap ones first, also those that are left out."""

    budget: float
    stages: tuple[PlannedStage, ...]

    @property
    def depths(self) -> list[int]:
        """Candidates of each stage that is kept, the first one's first."""
        return [stage.depth for stage in self.stages if stage.depth]

    def __str__(self) -> str:
        expected = sum(stage.depth * stage.milliseconds for stage in self.stages)
        return f"budget of {self.budget:g} ms a query: {', '.join(map(str, self.stages))}; {expected:.3g} ms expected"


def plan_stages(models: Sequence[str], depths: Sequence[int], milliseconds: Sequence[float], budget: float) -> Plan:
    """Return how many candidates each model scores.

    :param models: names of n models, cheap ones first
    :param depths: n candidates that each is to score, never growing
    :param milliseconds: n times of one pair
    :param budget: milliseconds a query
    :raises InputError: the budget does not even pay for two candidates of the first model
    """
    stages: list[PlannedStage] = []
    left = budget
    reaching = depths[0]
    for model, asked, cost in zip(models, depths, milliseconds, strict=True):
        depth = min(asked, reaching)
        affordable = int(left / cost) if cost > 0 else depth
        if affordable < depth:
            depth = affordable if affordable >= _FEWEST else 0
        stages.append(PlannedStage(model, cost, asked, depth))
        left -= depth * cost
        reaching = depth
    if stages[0].depth == 0:
        raise InputError(
            f"{models[0]}: takes {milliseconds[0]:.3g} ms a pair, so that a budget of {budget:g} ms a query pays for "
            f"less than {_FEWEST} candidates: raise the budget, or begin with a cheaper model"
        )
    return Plan(budget, tuple(stages))


def keep_to_budget(
    reranker: Reranker, models: Sequence[str], requests: Sequence[Request], depth: int, budget: float
) -> tuple[Reranker, Plan]:
    """Return what of a model or cascade fits into a budget, and the plan, whose first depth it is to be run at.

    :param models: names of the model, or of the cascade's stages
    :param requests: queries that the models are timed on, one by one, with their candidates
    :param depth: candidates that are to be reranked
    :param budget: milliseconds a query
    :raises InputError: the budget pays for nothing, or no query has a candidate
    """
    stages = reranker.stages if isinstance(reranker, Cascade) else (Stage(reranker),)
    depths = [min(depth, stage.depth or depth) for stage in stages]
    milliseconds = [
        _milliseconds_a_pair(stage.reranker, [(query, listed[:limit]) for query, listed in requests if listed])
        for stage, limit in zip(stages, depths, strict=True)
    ]
    plan = plan_stages(models, depths, milliseconds, budget)
    if not isinstance(reranker, Cascade):
        return reranker, plan
    kept = [Stage(stage.reranker, depth) for stage, depth in zip(stages, plan.depths, strict=False)]
    return Cascade(kept), plan


def _milliseconds_a_pair(reranker: Reranker, requests: Sequence[Request]) -> float:
    """Return the median time of scoring a pair, one query at a time, after one query that is not counted."""
    if not requests:
        raise InputError("a budget is measured on candidates: give it at least one query that has some")
    reranker.rerank_batch(requests[:1])
    times = []
    for request in [*requests] * _REPEATS:
        start = perf_counter()
        pairs = reranker.rerank_batch([request]).counts.pairs
        times.append(1000 * (perf_counter() - start) / pairs)
    return median(times)
