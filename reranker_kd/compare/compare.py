"""Compares runs query by query: from columns of runs to a :class:`reranker_kd.compare.comparison.Comparison`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reranker_kd.compare.comparison import (
    Agreement,
    Ceiling,
    ComparedSystem,
    Comparison,
    Cost,
    Difference,
    Significance,
    Spread,
)
from reranker_kd.compare.measured_run import AGREEMENT_DEPTH, MeasuredRun
from reranker_kd.compare.ranking_agreement import mean_told, pairwise_agreement
from reranker_kd.compare.significance import (
    bootstrap_intervals,
    corrected,
    effect_size,
    paired_t_test,
    randomisation_tests,
    wins_ties_losses,
)
from reranker_kd.compare.vectorised_measures import Figures, Judgments
from reranker_kd.errors import InputError
from reranker_kd.evaluate.measures import Measure


@dataclass(frozen=True, slots=True)
class Settings:
    """How runs are measured and tested.

    :param relevance_level: the lowest grade that binary measures count as relevant, trec_eval's ``-l``
    :param correction: one of :data:`reranker_kd.compare.comparison.CORRECTIONS`
    :param alpha: level of the tests, between 0 and 1; intervals are at 1 - alpha
    :param resamples: of bootstrap and randomisation test
    :param seed: of both
    """

    relevance_level: int = 1
    correction: str = "holm"
    alpha: float = 0.05
    resamples: int = 10_000
    seed: int = 0


def compare(
    systems: Mapping[str, Sequence[MeasuredRun]],
    judgments: Judgments,
    measures: Sequence[Measure],
    settings: Settings,
    *,
    qrels: str = "",
    baseline: str | None = None,
    candidates: str | None = None,
    ceilings: Mapping[int, Ceiling] | None = None,
    costs: Mapping[str, Cost] | None = None,
    models: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare systems over the queries of the qrels; a query that a run lacks counts as zero.

    :param systems: name -> its run, or its seeds or folds
    :param measures: those of :func:`measure_run`
    :param qrels: the file or name of the qrels, for the record
    :param baseline: name of the system that the others are held against; by default the first
    :param candidates: the file behind ``ceilings``
    :param ceilings: depth -> ceiling of the candidates; by default a system's own documents are its candidates
    :param costs: name of a system -> its cost
    :param models: name of a system -> its model
    :raises InputError: no system of the baseline's name; an unknown correction
    """
    baseline = next(iter(systems)) if baseline is None else baseline
    if baseline not in systems:
        raise InputError(f"the baseline {baseline} is none of the runs: name one of {', '.join(systems)}")
    merged = {name: _Merged(name, runs) for name, runs in systems.items()}
    differences = _differences(merged, baseline, measures, settings)
    return Comparison(
        qrels=qrels,
        measures=tuple(measures),
        relevance_level=settings.relevance_level,
        queries=judgments.qids,
        baseline=baseline,
        candidates=candidates,
        systems=tuple(
            ComparedSystem(
                name=name,
                runs=tuple(run.path for run in system.runs),
                kind=system.kind,
                per_query={
                    measure: dict(zip(judgments.qids, figures.tolist(), strict=True))
                    for measure, figures in system.figures.items()
                },
                means={measure: math.fsum(figures) / len(figures) for measure, figures in system.figures.items()},
                spread={} if system.kind == "run" else {m.name: system.spread(m.name) for m in measures},
                missing_queries=tuple(
                    qid for qid, held in zip(judgments.qids, system.retrieved, strict=True) if not held
                ),
                unjudged_queries=len(frozenset[str]().union(*(run.unjudged for run in system.runs))),
                ceiling=(ceilings or {}).get(system.depth) or system.ceiling,
                cost=(costs or {}).get(name),
                differences=differences.get(name, {}),
                model=(models or {}).get(name),
            )
            for name, system in merged.items()
        ),
        agreement=_agreement(merged, len(judgments.qids)),
        correction=settings.correction,
        alpha=settings.alpha,
        resamples=settings.resamples,
        seed=settings.seed,
    )


class _Merged:
    """The runs of one system as one."""

    def __init__(self, name: str, runs: Sequence[MeasuredRun]) -> None:
        self.name = name
        self.runs = runs
        held = np.stack([run.retrieved > 0 for run in runs])
        self.kind = "run" if len(runs) == 1 else "folds" if held.sum(axis=0).max() < 2 else "seeds"
        self.retrieved = np.max([run.retrieved for run in runs], axis=0)
        self.depth = int(self.retrieved.max())
        # A fold has 0 where it lacks a query, so that the sum is the figure of the one that has it.
        self._parts = 1 if self.kind == "folds" else len(runs)
        self.figures = {name: self._merge([run.figures[name] for run in runs]) for name in runs[0].figures}

    def spread(self, measure: str) -> Spread:
        figures = []
        for run in self.runs:
            values = run.figures[measure]
            figures.append(float((values[run.retrieved > 0] if self.kind == "folds" else values).mean()))
        return Spread(tuple(figures), float(np.std(figures, ddof=1)))

    @property
    def ceiling(self) -> Ceiling:
        oracle = {name: float(self._merge([run.oracle[name] for run in self.runs]).mean()) for name in self.figures}
        return Ceiling(self.depth, oracle, float(self._merge([run.recall for run in self.runs]).mean()))

    def _merge(self, figures: Sequence[Figures]) -> Figures:
        if len(figures) == 1:
            return figures[0]
        return np.sum(figures, axis=0) / self._parts


def _differences(
    systems: Mapping[str, _Merged], baseline: str, measures: Sequence[Measure], settings: Settings
) -> dict[str, dict[str, Difference]]:
    """Return name of a system -> measure name -> its difference to the baseline."""
    others = [name for name in systems if name != baseline]
    rows = list(product(range(len(measures)), others))
    held = systems[baseline].figures
    if not rows:
        return {}
    values = np.stack([systems[name].figures[measures[m].name] - held[measures[m].name] for m, name in rows])
    intervals = bootstrap_intervals(values, alpha=settings.alpha, resamples=settings.resamples, seed=settings.seed)
    randomised = randomisation_tests(values, resamples=settings.resamples, seed=settings.seed)
    t_tests = np.array(
        [paired_t_test(systems[name].figures[measures[m].name], held[measures[m].name]) for m, name in rows]
    )
    differences: dict[str, dict[str, Difference]] = {name: {} for name in others}
    for m, measure in enumerate(measures):
        family = slice(m * len(others), (m + 1) * len(others))
        by_t = _significances(t_tests[family], settings)
        by_randomisation = _significances(randomised[family], settings)
        for i, name in enumerate(others):
            row = family.start + i
            wins, ties, losses = wins_ties_losses(values[row])
            mean, reference = float(values[row].mean()), float(held[measure.name].mean())
            differences[name][measure.name] = Difference(
                mean=mean,
                relative=mean / reference if reference else math.nan,
                interval=(float(intervals[row, 0]), float(intervals[row, 1])),
                effect_size=effect_size(values[row]),
                wins=wins,
                ties=ties,
                losses=losses,
                t_test=by_t[i],
                randomisation=by_randomisation[i],
            )
    return differences


def _significances(p_values: npt.NDArray[np.float64], settings: Settings) -> list[Significance]:
    return [
        Significance(p_value, after, after < settings.alpha)
        for p_value, after in zip(p_values.tolist(), corrected(p_values, settings.correction).tolist(), strict=True)
    ]


def _agreement(systems: Mapping[str, _Merged], topics: int) -> tuple[Agreement, ...]:
    """Return the agreement of every two systems, of all pairs of their runs together."""
    runs = [run for system in systems.values() for run in system.runs]
    numbers = pa.chunked_array([run.tops for run in runs], pa.string()).combine_chunks().dictionary_encode().indices
    # A query's documents stand before its first -1.
    within = np.arange(AGREEMENT_DEPTH) < np.stack([run.retrieved for run in runs])[:, :, None]
    tops = np.full((len(runs), topics, AGREEMENT_DEPTH), -1, dtype=np.int64)
    tops[within] = numbers.to_numpy()
    rows: dict[str, list[int]] = {}
    rankings: list[npt.NDArray[np.int64]] = []
    start = 0
    for name, system in systems.items():
        of_system = tops[start : start + len(system.runs)]
        start += len(system.runs)
        parts = [of_system.max(axis=0)] if system.kind == "folds" else list(of_system)
        rows[name] = list(range(len(rankings), len(rankings) + len(parts)))
        rankings += parts
    owner = {row: name for name, owned in rows.items() for row in owned}
    found: dict[tuple[str, str], list[tuple[Figures, Figures, Figures]]] = {}
    for first, second, *figures in pairwise_agreement(np.stack(rankings)):
        if owner[first] != owner[second]:
            tau, rbo, overlap = figures
            found.setdefault((owner[first], owner[second]), []).append((tau, rbo, overlap))
    return tuple(
        Agreement(first, second, *(mean_told(column) for column in zip(*columns, strict=True)))
        for (first, second), columns in found.items()
    )
