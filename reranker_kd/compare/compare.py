"""Compares runs query by query: :func:`compare`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from reranker_kd.compare import significance
from reranker_kd.compare.comparison import Agreement, ComparedSystem, Comparison, Difference, Settings, Significance
from reranker_kd.compare.cost import costs_of
from reranker_kd.compare.systems import AGREEMENT_DEPTH, AnyRun, MeasuredRun, measure_run, merged
from reranker_kd.errors import InputError
from reranker_kd.evaluate.agreement import agreement, mean_defined
from reranker_kd.evaluate.evaluation import columns_of
from reranker_kd.evaluate.judged import Judgments
from reranker_kd.evaluate.measures import DEFAULT_MEASURES, parse_measures
from reranker_kd.evaluate.registry import Summary
from reranker_kd.retrieve.named_inputs import load_qrels
from reranker_kd.types import Qrels

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
    for measure in asked:
        if measure.summary is not Summary.MEAN:
            raise InputError(f"{measure.name} is no mean over queries, so no test fits it: ask evaluate for it")
    judgments = Judgments(qrels if isinstance(qrels, dict) else load_qrels(str(qrels)), relevance_level)
    with ThreadPoolExecutor(_READERS) as pool:
        first_stage = None if candidates is None else pool.submit(lambda: judgments.ranks(columns_of(candidates)))
        submitted = {
            name: [pool.submit(measure_run, name, run, judgments, asked) for run in group]
            for name, group in named.items()
        }
        measured = {name: [future.result() for future in futures] for name, futures in submitted.items()}
        candidate_ranks = None if first_stage is None else first_stage.result()
    systems = [merged(name, group, judgments, asked, candidate_ranks) for name, group in measured.items()]
    files = {name: [str(run) for run in group if not isinstance(run, dict)] for name, group in named.items()}
    costs, models = costs_of(files, [str(file) for file in cost_files])
    first = systems[0].name if baseline is None else baseline
    differences = _differences(systems, first, settings)
    return Comparison(
        qrels="" if isinstance(qrels, dict) else str(qrels),
        measures=asked,
        relevance_level=relevance_level,
        queries=judgments.qids,
        baseline=first,
        candidates=None if candidates is None or isinstance(candidates, dict) else str(candidates),
        systems=tuple(
            replace(each, cost=costs.get(each.name), model=models.get(each.name), differences=differences[each.name])
            for each in systems
        ),
        agreement=_agreement(systems, measured),
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
    grouped = [(name, [group] if isinstance(group, str | Path | dict) else list(group)) for name, group in pairs]
    named = dict(grouped)
    if baseline is not None and baseline not in named:
        raise InputError(f"the baseline {baseline} is none of the runs: name one of {', '.join(named)}")
    seen: dict[Path, str | Path] = {}
    for path in [run for _, group in grouped for run in group if not isinstance(run, dict)]:
        if (real := Path(path).resolve()) in seen:
            same = "is given twice" if str(seen[real]) == str(path) else f"and {seen[real]} are the same file"
            raise InputError(f"{path} {same}: name each run once")
        seen[real] = path
    return named


def _differences(
    systems: Sequence[ComparedSystem], baseline: str, settings: Settings
) -> dict[str, dict[str, Difference]]:
    """Return name of a system -> measure name -> its difference to the baseline."""
    figures = {s.name: np.array([list(by_qid.values()) for by_qid in s.per_query.values()]) for s in systems}
    differences: dict[str, dict[str, Difference]] = {name: {} for name in figures}
    held = figures.pop(baseline)
    if not figures:
        return differences
    # Of each measure, system and query: resampled together, which draws once.
    values = np.stack([own - held for own in figures.values()], axis=1)
    drawn = {"resamples": settings.resamples, "seed": settings.seed}
    intervals = significance.bootstrap_intervals(values, alpha=settings.alpha, **drawn).tolist()
    tests = (significance.paired_t_tests(values), significance.randomisation_tests(values, **drawn))
    for m, measure in enumerate(systems[0].per_query):
        reference = float(held[m].mean())
        p_values = zip(*(_significances(test[m], settings) for test in tests), strict=True)
        for name, of_queries, interval, (t_test, randomised) in zip(
            figures, values[m], intervals[m], p_values, strict=True
        ):
            differences[name][measure] = Difference(
                mean := float(of_queries.mean()),
                mean / reference if reference else math.nan,
                tuple(interval),
                significance.effect_size(of_queries),
                *significance.wins_ties_losses(of_queries),
                t_test,
                randomised,
            )
    return differences


def _significances(p_values: npt.NDArray[np.float64], settings: Settings) -> list[Significance]:
    after = significance.corrected(p_values, settings.correction)
    return [
        Significance(*pair, pair[1] < settings.alpha) for pair in zip(p_values.tolist(), after.tolist(), strict=True)
    ]


def _agreement(
    systems: Sequence[ComparedSystem], measured: Mapping[str, Sequence[MeasuredRun]]
) -> tuple[Agreement, ...]:
    """Return the agreement of every two systems, of all pairs of their runs together."""
    runs = [run for group in measured.values() for run in group]
    documents = pa.chunked_array([run.tops for run in runs], pa.string()).combine_chunks().dictionary_encode()
    # A query's documents stand before its first -1.
    within = np.arange(AGREEMENT_DEPTH) < np.stack([run.retrieved for run in runs])[:, :, None]
    topic = np.broadcast_to(np.arange(within.shape[1])[:, None], within.shape)[within]
    keys = topic * len(documents.dictionary) + documents.indices.to_numpy()
    tops = np.full(within.shape, -1, dtype=np.int64)
    tops[within] = np.unique(keys, return_inverse=True)[1]
    by_system = np.split(tops, np.cumsum([len(group) for group in measured.values()])[:-1])
    rankings = [
        own.max(axis=0, keepdims=True) if system.kind == "folds" else own
        for system, own in zip(systems, by_system, strict=True)
    ]
    found = []
    for (one, first), (other, second) in combinations(zip(systems, rankings, strict=True), 2):
        pairs = [agreement(*pair) for pair in product(first, second)]
        figures = (mean_defined(np.concatenate(column)) for column in zip(*pairs, strict=True))
        found.append(Agreement(one.name, other.name, *figures))
    return tuple(found)
