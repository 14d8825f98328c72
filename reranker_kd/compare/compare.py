"""Compares runs query by query: :func:`compare`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations, product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reranker_kd.compare.comparison import Agreement, ComparedSystem, Comparison, Difference, Settings, Significance
from reranker_kd.compare.cost import costs_of
from reranker_kd.compare.significance import (
    bootstrap_intervals,
    corrected,
    effect_size,
    paired_t_test,
    randomisation_tests,
    wins_ties_losses,
)
from reranker_kd.compare.systems import AGREEMENT_DEPTH, MeasuredRun, System, ceiling_of, measure_run
from reranker_kd.errors import InputError
from reranker_kd.evaluate.agreement import agreement, mean_defined
from reranker_kd.evaluate.judged import Judgments
from reranker_kd.evaluate.measures import DEFAULT_MEASURES, parse_measures
from reranker_kd.evaluate.registry import Measure, Summary
from reranker_kd.formats.runs import RunColumns, columns_of_run, read_run_columns
from reranker_kd.retrieve.named_inputs import load_qrels
from reranker_kd.types import Qrels, Run

AnyRun = str | Path | Run
"""A file of a run, or qid -> docid -> score."""

# Arrow and numpy leave other threads running.
_READERS = 2


def compare(
    runs: Sequence[str | Path] | Mapping[str, AnyRun | Sequence[AnyRun]],
    qrels: str | Path | Qrels,
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    baseline: str | None = None,
    candidates: AnyRun | None = None,
    cost_files: Sequence[str | Path] = (),
    relevance_level: int = 1,
    correction: str = "holm",
    alpha: float = 0.05,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare runs over the queries of the qrels; a query that a run lacks counts as zero.

    :param runs: files, or name of a system -> its run, or its seeds or folds
    :param qrels: a file, a name that Pyserini knows, or qid -> docid -> grade
    :param measures: names such as ``nDCG@10``; each a mean over queries
    :param baseline: the system that the others are held against, or a file that is not among them; by default the first
    :param candidates: the first stage's run, for the ceilings; by default a run's own documents are its candidates
    :param cost_files: JSON of ``benchmark``, provenance of encoded folders
    :param relevance_level: the lowest grade that binary measures count as relevant
    :param correction: one of :data:`reranker_kd.compare.comparison.CORRECTIONS`
    :param alpha: level of the tests, between 0 and 1; intervals are at 1 - alpha
    :param resamples: of bootstrap and randomisation test
    :param seed: of both
    :raises InputError: a run named twice, one that shares no query with the qrels, an unknown baseline, measure or
        correction, a measure that is no mean, a file that cannot be read
    :raises FormatError: a fault in a file
    """
    settings = Settings(correction, alpha, resamples, seed)
    named = _named(runs, baseline)
    asked = parse_measures(measures)
    _refuse_untestable(asked)
    judgments = Judgments(qrels if isinstance(qrels, dict) else load_qrels(str(qrels)), relevance_level)
    with ThreadPoolExecutor(_READERS) as pool:
        first_stage = None if candidates is None else pool.submit(_columns, candidates)
        submitted = {
            name: [pool.submit(_measured, name, run, judgments, asked) for run in group]
            for name, group in named.items()
        }
        systems = [System(name, [future.result() for future in futures]) for name, futures in submitted.items()]
    ceilings = {}
    if first_stage is not None:
        depths = {system.depth for system in systems}
        ceilings = {depth: ceiling_of(first_stage.result(), depth, judgments, asked) for depth in depths}
    files = {name: [str(run) for run in group if not isinstance(run, dict)] for name, group in named.items()}
    costs, models = costs_of(files, [str(file) for file in cost_files])
    first = systems[0].name if baseline is None else baseline
    differences = _differences({system.name: system for system in systems}, first, asked, settings)
    return Comparison(
        qrels="" if isinstance(qrels, dict) else str(qrels),
        measures=asked,
        relevance_level=relevance_level,
        queries=judgments.qids,
        baseline=first,
        candidates=None if candidates is None or isinstance(candidates, dict) else str(candidates),
        systems=tuple(
            ComparedSystem(
                name=system.name,
                runs=tuple(run.name for run in system.runs),
                kind=system.kind,
                per_query={
                    measure: dict(zip(judgments.qids, figures.tolist(), strict=True))
                    for measure, figures in system.figures.items()
                },
                means={measure: math.fsum(figures) / len(figures) for measure, figures in system.figures.items()},
                spread={} if system.kind == "run" else {m.name: system.spread(m.name) for m in asked},
                missing_queries=tuple(
                    qid for qid, count in zip(judgments.qids, system.retrieved, strict=True) if not count
                ),
                unjudged_queries=len(frozenset[str]().union(*(run.unjudged for run in system.runs))),
                ceiling=ceilings.get(system.depth) or system.ceiling(),
                cost=costs.get(system.name),
                differences=differences.get(system.name, {}),
                model=models.get(system.name),
            )
            for system in systems
        ),
        agreement=_agreement(systems, len(judgments.qids)),
        settings=settings,
    )


def _named(
    runs: Sequence[str | Path] | Mapping[str, AnyRun | Sequence[AnyRun]], baseline: str | None
) -> dict[str, list[AnyRun]]:
    """Return name -> runs, the baseline first where it is a run that is not listed."""
    pairs = list(runs.items()) if isinstance(runs, Mapping) else [(str(run), run) for run in runs]
    if baseline is not None and baseline not in dict(pairs) and Path(baseline).exists():
        pairs.insert(0, (baseline, baseline))
    if not pairs:
        raise InputError("no runs to compare: name at least one")
    named = {name: [group] if isinstance(group, str | Path | dict) else list(group) for name, group in pairs}
    if baseline is not None and baseline not in named:
        raise InputError(f"the baseline {baseline} is none of the runs: name one of {', '.join(named)}")
    seen: dict[Path, AnyRun] = {}
    for path in [run for _, group in pairs for run in ([group] if isinstance(group, str | Path) else group)]:
        if isinstance(path, str | Path) and (other := seen.setdefault(Path(path).resolve(), path)) is not path:
            same = "is given twice" if str(other) == str(path) else f"and {other} are the same file"
            raise InputError(f"{path} {same}: name each run once")
    return named


def _refuse_untestable(measures: Sequence[Measure]) -> None:
    for measure in measures:
        if measure.summary is not Summary.MEAN:
            raise InputError(f"{measure.name} is no mean over queries, so no test fits it: ask evaluate for it")


def _columns(run: AnyRun) -> RunColumns:
    return columns_of_run(run) if isinstance(run, dict) else read_run_columns(run)


def _measured(name: str, run: AnyRun, judgments: Judgments, measures: Sequence[Measure]) -> MeasuredRun:
    return measure_run(name if isinstance(run, dict) else str(run), _columns(run), judgments, measures)


def _differences(
    systems: Mapping[str, System], baseline: str, measures: Sequence[Measure], settings: Settings
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


def _agreement(systems: Sequence[System], topics: int) -> tuple[Agreement, ...]:
    """Return the agreement of every two systems, of all pairs of their runs together."""
    runs = [run for system in systems for run in system.runs]
    documents = pa.chunked_array([run.tops for run in runs], pa.string()).combine_chunks().dictionary_encode()
    # A query's documents stand before its first -1.
    within = np.arange(AGREEMENT_DEPTH) < np.stack([run.retrieved for run in runs])[:, :, None]
    topic = np.broadcast_to(np.arange(topics)[:, None], within.shape)[within]
    keys = topic * len(documents.dictionary) + documents.indices.to_numpy()
    tops = np.full(within.shape, -1, dtype=np.int64)
    tops[within] = np.unique(keys, return_inverse=True)[1]
    rankings: dict[str, npt.NDArray[np.int64]] = {}
    start = 0
    for system in systems:
        of_system = tops[start : start + len(system.runs)]
        start += len(system.runs)
        rankings[system.name] = of_system.max(axis=0, keepdims=True) if system.kind == "folds" else of_system
    found = []
    for first, second in combinations(rankings, 2):
        pairs = [agreement(one, other) for one, other in product(rankings[first], rankings[second])]
        figures = (mean_defined(np.concatenate(column)) for column in zip(*pairs, strict=True))
        found.append(Agreement(first, second, *figures))
    return tuple(found)
