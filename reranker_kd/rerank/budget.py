"""Budgets: how many candidates each model may score within so many milliseconds a query.

The stages of a cascade go from cheap to dear, and the budget is spent in this order: a stage gets as many candidates as
it asks for, or as many as what is left pays for. What a shallow dear model would find in the first few candidates is
less than what a cheap one finds in all of them (docs/doing-less.md has the figures).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from reranker_kd.errors import FormatError, InputError
from reranker_kd.rerank.base import Request, Reranker
from reranker_kd.rerank.cascade import Cascade, Stage

# Fewer candidates than these have no order to change.
_FEWEST = 2


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A model within a budget.

    :param model: its name
    :param milliseconds: of one pair
    :param asked: candidates that it was to score
    :param depth: candidates that it will score; 0 leaves the stage out
    """

    model: str
    milliseconds: float
    asked: int
    depth: int

    def __str__(self) -> str:
        return f"{self.depth} of {self.asked} candidates by {self.model} at {self.milliseconds:.3g} ms"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a budget pays for.

    :param budget: milliseconds a query
    :param stages: the models, cheap ones first, also those that are left out
    """

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


def within(reranker: Reranker, plan: Plan) -> Reranker:
    """Return a cascade of the stages that a plan keeps; of a single model the model, to be run at the plan's depth."""
    if not isinstance(reranker, Cascade):
        return reranker
    loaded = [stage.reranker for stage in reranker.stages[: len(plan.depths)]]
    return Cascade([Stage(model, depth) for model, depth in zip(loaded, plan.depths, strict=True)])


def milliseconds_a_pair(
    reranker: Reranker,
    requests: Sequence[Request],
    *,
    repeats: int = 3,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Return the median time of scoring a pair, one query at a time, after one that is not counted.

    :param requests: queries with the candidates to be timed, at least one
    :param clock: gives seconds
    :raises InputError: no candidates
    """
    timed = [(query, candidates) for query, candidates in requests if candidates]
    if not timed:
        raise InputError("a budget is measured on candidates: give it at least one query that has some")
    reranker.rerank_batch(timed[:1])
    times = []
    for request in timed * repeats:
        start = clock()
        pairs = reranker.rerank_batch([request]).pairs
        times.append(1000 * (clock() - start) / pairs)
    return median(times)


def read_timings(path: str | Path) -> dict[str, float]:
    """Return model -> milliseconds of a pair out of what ``reranker-kd benchmark`` wrote as JSON.

    Of a model that was measured several times (on several backends, say) the slowest counts: a budget is to be kept.

    :raises InputError: the file cannot be read
    :raises FormatError: it is no such JSON
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror or error}") from None
    except ValueError as error:
        raise FormatError(path, None, f"no JSON: {error}") from None
    timings: dict[str, float] = {}
    try:
        for entry in document["models"]:
            # A model that failed to run has no figure.
            if entry.get("pairs_per_second"):
                name = str(entry["model"])
                timings[name] = max(timings.get(name, 0.0), 1000 / float(entry["pairs_per_second"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise FormatError(
            path,
            None,
            'expected {"models": [{"model": NAME, "pairs_per_second": NUMBER}, ...]}, as benchmark writes it',
        ) from None
    return timings
