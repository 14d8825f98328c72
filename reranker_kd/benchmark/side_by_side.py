"""From systems and candidates to a benchmark: everything measured, and everything that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import chain
from statistics import median
from typing import Any

from reranker_kd.benchmark.machine import describe_machine
from reranker_kd.benchmark.network_cost import NetworkCost, network_cost
from reranker_kd.benchmark.results import Benchmark, SystemResult, Timings, query_ratio, ratio, score_gap, speed_of
from reranker_kd.benchmark.rounds import Outcome, Rounds, Workload, run_rounds
from reranker_kd.benchmark.systems import System, same_weights
from reranker_kd.errors import CandidateError, InputError, ModelError
from reranker_kd.evaluate.evaluation import evaluate_run
from reranker_kd.evaluate.measures import parse_measures
from reranker_kd.types import Qrels, Run, Topics, in_rank_order

QUALITY = ("nDCG@10",)


def workload_of(run: Run, topics: Topics, texts: Mapping[str, str], *, depth: int) -> Workload:
    """Return the first ``depth`` candidates of every query, with texts.

    :raises CandidateError: a query that the topics lack, or a document without text
    :raises InputError: no candidates
    """
    tops = {qid: tuple(list(documents)[:depth]) for qid, documents in run.items() if documents}
    if not tops:
        raise InputError("the run has no candidates: there is nothing to score")
    for qid, docids in tops.items():
        if not topics.get(qid, "").strip():
            raise CandidateError(qid, None, "has no text among the topics: give the topics that the run was made with")
        for docid in docids:
            if not texts.get(docid, "").strip():
                fault = f"document {docid!r} has no text in the index or collection: name the one of the run"
                raise CandidateError(qid, docid, fault)
    return Workload(
        qids=tuple(tops),
        queries=tuple(topics[qid] for qid in tops),
        docids=tuple(tops.values()),
        texts=tuple(tuple(texts[docid] for docid in docids) for docids in tops.values()),
    )


def benchmark(
    systems: Sequence[System],
    baseline: System,
    workload: Workload,
    *,
    max_length: int,
    repeats: int,
    device: str | None = None,
    qrels: Qrels | None = None,
    settings: Mapping[str, Any],
    on_event: Callable[[str], None] = lambda _: None,
) -> Benchmark:
    """Run systems side by side.

    :param baseline: the one of them that ratios are taken to
    :param max_length: tokens of an input, for all of them
    :param device: a torch device; None leaves it to each
    :param qrels: judgments of the workload's queries, for the quality
    :param settings: what was asked for, to stand in the result
    :param on_event: called with a line about what was done
    """
    keywords = {"max_length": max_length, **({} if device is None else {"device": device})}
    rounds = run_rounds(systems, workload, keywords, repeats=repeats, on_event=on_event)
    ceiling = {name: median(rates[name] for rates in rounds.rates) for name in rounds.rates[0]}

    @cache
    def cost(model: str) -> NetworkCost | None:
        # Of one model, however many run it.
        folder = next(system.folder for system in systems if system.model == model)
        try:
            return None if folder is None else network_cost(folder, workload.pairs, max_length)
        except (ModelError, InputError):
            return None

    results = [
        _result(system, rounds, baseline, workload, cost(system.model), max(ceiling.values()), qrels)
        for system in systems
    ]
    return Benchmark(
        machine={**describe_machine(device), "matrix_product_flops": ceiling},
        settings={**settings, "max_length": max_length, "repeats": repeats},
        queries=len(workload.queries),
        pairs=len(workload.pairs),
        tokens=results[list(systems).index(baseline)].tokens,
        baseline=baseline.name,
        systems=tuple(results),
    )


def _result(
    system: System,
    rounds: Rounds,
    baseline: System,
    workload: Workload,
    cost: NetworkCost | None,
    ceiling: float,
    qrels: Qrels | None,
) -> SystemResult:
    outcome, reference = rounds.outcomes[system], rounds.outcomes[baseline]
    said = outcome.description
    result = SystemResult(
        system=system.name,
        model=system.tag,
        backend=system.peer or said.get("backend") or system.backend,
        precision=said.get("precision") or system.precision,
        parameters=None if cost is None else cost.parameters,
        model_bytes=outcome.folder_bytes,
        tokens=None if cost is None else cost.tokens,
        software=outcome.software,
        error=outcome.error,
    )
    if outcome.error is not None:
        return result
    timings = outcome.timings
    result = replace(
        result,
        timings=timings,
        speed=speed_of(timings, len(workload.pairs)),
        peak_memory_bytes=outcome.peak_memory_bytes,
        ceiling_share=_share(cost, timings, ceiling),
        quality={} if qrels is None else _quality(outcome, workload, qrels),
    )
    if reference.error is not None:
        return result
    return replace(
        result,
        ratio=ratio(timings, reference.timings),
        query_ratio=query_ratio(timings, reference.timings),
        score_gap=_gap(outcome, reference) if system != baseline and same_weights(system, baseline) else None,
    )


def _share(cost: NetworkCost | None, timings: Timings, ceiling: float) -> float | None:
    if cost is None or cost.operations is None:
        return None
    return cost.operations / median(timings.passes) / ceiling


def _quality(outcome: Outcome, workload: Workload, qrels: Qrels) -> dict[str, float]:
    scored = zip(workload.qids, workload.docids, outcome.scores, strict=True)
    run = {qid: in_rank_order(dict(zip(docids, scores, strict=True))) for qid, docids, scores in scored}
    return evaluate_run(run, qrels, parse_measures(QUALITY)).means


def _gap(outcome: Outcome, reference: Outcome) -> dict[str, float] | None:
    ours, theirs = (list(chain.from_iterable(side.scores)) for side in (outcome, reference))
    return score_gap(ours, theirs)
