"""From systems and candidates to a benchmark: everything measured, and everything that follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from itertools import chain, islice
from statistics import median
from typing import Any

from reranker_kd.benchmark.machine import describe_machine
from reranker_kd.benchmark.network_cost import NetworkCost, network_cost
from reranker_kd.benchmark.results import Benchmark, SystemResult, ratios, score_gap, speed_of
from reranker_kd.benchmark.rounds import run_rounds
from reranker_kd.benchmark.systems import System, same_weights
from reranker_kd.errors import InputError, ModelError
from reranker_kd.evaluate.evaluation import evaluate
from reranker_kd.rerank.base import Request, pairs_of
from reranker_kd.rerank.rerank_run import check_topics, docids_within, requests_of
from reranker_kd.types import Qrels, Run, TextSource, Topics, in_rank_order

QUALITY = ("nDCG@10",)


def workload_of(run: Run, topics: Topics, texts: TextSource, *, depth: int) -> list[Request]:
    """Return the first ``depth`` candidates of every query that has any, with texts.

    :raises CandidateError: a query that the topics lack, or a document without text
    :raises InputError: no candidates
    """
    tops = {qid: dict(islice(documents.items(), depth)) for qid, documents in run.items() if documents}
    if not tops:
        raise InputError("the run has no candidates: there is nothing to score")
    check_topics(tops, topics)
    return requests_of(tops, topics, texts, docids_within(tops, depth), depth)


def benchmark(
    systems: Sequence[System],
    baseline: System,
    workload: Sequence[Request],
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
    :raises CandidateError: a candidate without text, or an empty query
    """
    pairs = [pair for request in workload for pair in pairs_of(*request)]
    keywords = {"max_length": max_length, **({} if device is None else {"device": device})}
    outcomes, rates = run_rounds(systems, workload, keywords, repeats=repeats, on_event=on_event)
    flops = {name: median(of_round[name] for of_round in rates) for name in rates[0]}
    ceiling = max(flops.values())

    @cache
    def cost(model: str) -> NetworkCost:
        # Of one model, however many run it.
        folder = next(system.folder for system in systems if system.model == model)
        with suppress(ModelError, InputError):
            if folder is not None:
                return network_cost(folder, pairs, max_length)
        return NetworkCost()

    def result(system: System) -> SystemResult:
        outcome, reference, costs = outcomes[system], outcomes[baseline], cost(system.model)
        said, timings = outcome.description, outcome.timings
        figures: dict[str, Any] = {}
        if outcome.error is None:
            figures = speed_of(timings, len(pairs), costs.tokens) | {
                "peak_memory_bytes": outcome.peak_memory_bytes,
                "ceiling_share": costs.operations and costs.operations / median(timings.seconds) / ceiling,
                "quality": {} if qrels is None else _quality(workload, outcome.scores, qrels),
                "rounds": timings,
            }
            if reference.error is None:
                figures |= ratios(timings, reference.timings)
                if system != baseline and same_weights(system, baseline):
                    ours, theirs = ([*chain.from_iterable(side.scores)] for side in (outcome, reference))
                    figures |= {"score_gap": score_gap(ours, theirs)}
        return SystemResult(
            system=system.name,
            model=system.tag,
            backend=system.peer or said.get("backend") or system.backend,
            precision=said.get("precision") or system.precision,
            parameters=costs.parameters,
            model_bytes=outcome.folder_bytes,
            tokens=costs.tokens,
            software=outcome.software,
            error=outcome.error,
            **figures,
        )

    results = {system: result(system) for system in systems}
    return Benchmark(
        machine={**describe_machine(device), "matrix_product_flops": flops},
        settings={**settings, "max_length": max_length, "repeats": repeats},
        queries=len(workload),
        pairs=len(pairs),
        tokens=results[baseline].tokens,
        baseline=baseline.name,
        models=tuple(results.values()),
    )


def _quality(workload: Sequence[Request], scores: Sequence[Sequence[float]], qrels: Qrels) -> dict[str, float]:
    run = {
        query.qid: in_rank_order(dict(zip([candidate.docid for candidate in candidates], of_query, strict=True)))
        for (query, candidates), of_query in zip(workload, scores, strict=True)
    }
    return evaluate(run, qrels, QUALITY).means
