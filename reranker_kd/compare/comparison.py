"""What a comparison of runs is: figures, tests against a baseline, ceilings, agreement and cost, all unrounded.

:func:`reranker_kd.compare.compare.compare` makes it; the tables, pictures and pages are made of it. What is not
defined (a t-test over one query, an effect without spread) is NaN; a cost that nobody measured is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import BaseModel

from reranker_kd.evaluate.registry import Measure

CORRECTIONS = {
    "holm": "Holm's",
    "bonferroni": "Bonferroni's",
    "bh": "Benjamini and Hochberg's",
    "none": "none",
}
"""Names of the corrections for multiple comparisons, and whose they are."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How differences are tested.

    :param correction: one of :data:`CORRECTIONS`; a family is a test of one measure over all systems
    :param alpha: level of the tests, between 0 and 1; intervals are at 1 - alpha
    :param resamples: of the bootstrap and of the randomisation test
    :param seed: of both
    """

    correction: str
    alpha: float
    resamples: int
    seed: int


@dataclass(frozen=True, slots=True)
class Significance:
    """One test of one difference.

    :param p_value: two-sided, uncorrected
    :param corrected: after the correction over all systems of the measure; equal to ``p_value`` without one
    :param significant: whether ``corrected`` is below the comparison's alpha
    """

    p_value: float
    corrected: float
    significant: bool


@dataclass(frozen=True, slots=True)
class Difference:
    """A system against the baseline in one measure: always system minus baseline, over the same queries.

    :param mean: mean of the differences of the queries
    :param relative: ``mean`` over the baseline's figure; NaN where that is 0
    :param interval: bootstrap confidence interval of ``mean`` at 1 - alpha, (low, high)
    :param effect_size: Cohen's d of paired differences, mean over sample standard deviation (Cohen 1988, d_z)
    :param wins: number of queries in which the system is better
    :param ties: queries with the same figure, but for rounding (1e-9)
    :param losses: queries in which it is worse
    :param t_test: paired t-test, scipy's ``ttest_rel``; p is 1 where no query differs
    :param randomisation: paired randomisation test: signs of the differences flipped at random, or in all ways
        where there are few queries
    """

    mean: float
    relative: float
    interval: tuple[float, float]
    effect_size: float
    wins: int
    ties: int
    losses: int
    t_test: Significance
    randomisation: Significance


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What no reordering of the candidates can exceed.

    :param depth: most candidates that a query has here
    :param oracle: measure name -> mean figure of the candidates ordered by their grades
    :param recall: mean share of the relevant documents that is among the candidates
    """

    depth: int
    oracle: dict[str, float]
    recall: float


@dataclass(frozen=True, slots=True)
class Spread:
    """How far the seeds, or folds, of one system lie apart in one measure.

    :param figures: the figure of each run, in the order of the system's runs; of folds, over the fold's queries
    :param deviation: their sample standard deviation
    """

    figures: tuple[float, ...]
    deviation: float


class Cost(BaseModel, frozen=True):
    """What a system costs; None where nobody measured it.

    :param query_ms: milliseconds of a query: of the benchmark the median, of provenance the mean over the run
    :param query_ms_p95: 95th percentile
    :param query_ms_p99: 99th percentile
    :param pairs_per_second: query-document pairs scored in a second
    :param parameters: of the model
    :param model_bytes: of the model's folder
    :param index_bytes: of the precomputed embeddings
    :param encoding_seconds: what precomputing them took
    :param cold_start_s: from the start of a process to its first score
    :param peak_memory_bytes: of that process
    :param pays_from_queries: name of a system that precomputes nothing -> the number of queries from which this one,
        its encoding included, has taken less time; without the systems that it is never faster than
    :param sources: where the figures are from: names of files
    """

    query_ms: float | None = None
    query_ms_p95: float | None = None
    query_ms_p99: float | None = None
    pairs_per_second: float | None = None
    parameters: int | None = None
    model_bytes: int | None = None
    index_bytes: int | None = None
    encoding_seconds: float | None = None
    cold_start_s: float | None = None
    peak_memory_bytes: int | None = None
    pays_from_queries: dict[str, int] = {}
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ComparedSystem:
    """A row: a run, or several seeds or folds of one system.

    :param name: as it was given: the run's file, or the name of the group
    :param runs: the files behind it
    :param kind: ``run``, ``seeds`` (every run has the queries; figures of a query are their mean) or ``folds`` (no
        two runs share a query; each query is taken from its run)
    :param per_query: measure name -> qid -> figure, the queries in the order of the qrels; 0 where they are missing
    :param means: measure name -> mean over the queries
    :param spread: measure name -> spread of the runs; empty for a single run
    :param missing_queries: the queries of the qrels that no run of it has
    :param unjudged_queries: number of its queries that the qrels lack; they are left out
    :param ceiling: of the first stage's candidates where they are given, or else of the documents in its own run
    :param cost: None where neither a benchmark nor provenance tells
    :param differences: measure name -> difference to the baseline; empty for the baseline
    :param model: the name of its model, where provenance or the benchmark tells
    """

    name: str
    runs: tuple[str, ...]
    kind: str
    per_query: dict[str, dict[str, float]]
    means: dict[str, float]
    spread: dict[str, Spread]
    missing_queries: tuple[str, ...]
    unjudged_queries: int
    ceiling: Ceiling
    cost: Cost | None = None
    differences: dict[str, Difference] = field(default_factory=dict)
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike two systems rank, mean over the queries that both have; several runs of a system are averaged.

    :param first: name of a system
    :param second: name of another
    :param tau: Kendall's tau over the documents that both have in their top 100; NaN where no query has two
    :param rbo: extrapolated rank-biased overlap of the top 100, p = 0.9
    :param overlap: share of the top 10 that both have
    """

    first: str
    second: str
    tau: float
    rbo: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Systems side by side, in the order in which they were given.

    :param qrels: the file or name of the qrels
    :param measures: what was measured, in the order asked for
    :param relevance_level: the lowest grade that binary measures count as relevant
    :param queries: the qids of the qrels, which every figure is taken over
    :param baseline: name of the system that the others are held against
    :param candidates: the first stage's run behind the ceilings; None where each run's own documents are
    :param systems: the baseline among them
    :param agreement: of every two systems
    :param settings: how the differences were tested
    """

    qrels: str
    measures: tuple[Measure, ...]
    relevance_level: int
    queries: tuple[str, ...]
    baseline: str
    candidates: str | None
    systems: tuple[ComparedSystem, ...]
    agreement: tuple[Agreement, ...]
    settings: Settings

    def system(self, name: str) -> ComparedSystem:
        """Return the system of a name.

        :raises KeyError: there is none
        """
        return {system.name: system for system in self.systems}[name]
