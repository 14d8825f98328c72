"""A benchmark as a table to read, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from reranker_kd.benchmark.results import Benchmark, SystemResult
from reranker_kd.evaluate.grid import Grid

_COLUMNS = ("pairs/s", "ratio", "p50 ms", "p95 ms", "p99 ms", "ratio p50", "start s", "MB", "tokens/s", "of ceiling")


def benchmark_table(benchmark: Benchmark) -> Grid:
    """Return a row for each system that ran to its end; :func:`failures` has the others."""
    measures = dict.fromkeys(name for system in benchmark.models for name in system.quality)
    ended = [system for system in benchmark.models if system.error is None]
    rows = tuple((system.system, system.precision or "", *_figures(system, measures)) for system in ended)
    return Grid(("system", "precision", *_COLUMNS, *measures), rows, texts=2)


def heading(benchmark: Benchmark) -> str:
    """Return what stands above the table: the work, the machine, and what ratios are taken to."""
    machine = benchmark.machine
    ceiling = max(machine["matrix_product_flops"].items(), key=lambda rate: rate[1])
    return (
        f"{benchmark.pairs} pairs of {benchmark.queries} queries, at most {benchmark.settings['max_length']} tokens; "
        f"{benchmark.settings['repeats']} rounds; ratios to {benchmark.baseline}\n"
        f"{machine['cpu']}, {machine['cores']} cores, {machine['device']}; "
        f"ceiling {ceiling[1] / 1e12:.2f} TFLOP/s ({ceiling[0]})"
    )


def failures(benchmark: Benchmark) -> list[str]:
    """Return a line for each system that did not run to its end."""
    return [f"{system.system}: {system.error}" for system in benchmark.models if system.error is not None]


def benchmark_json(benchmark: Benchmark) -> str:
    """Return the JSON document, with the figures of each round; what is not known is null."""
    document = asdict(benchmark)
    for model in document["models"]:
        model |= model.pop("quality")
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _figures(system: SystemResult, measures: Iterable[str]) -> list[str]:
    memory = system.peak_memory_bytes
    figures = [
        (system.pairs_per_second, ".1f"),
        (system.ratio, ".2f"),
        *((milliseconds, ".1f") for milliseconds in (system.query_ms or {}).values()),
        (system.query_ratio, ".2f"),
        (system.cold_start_s, ".1f"),
        (memory and memory / 1e6, ".0f"),
        (system.tokens_per_second, ".0f"),
        (system.ceiling_share, ".0%"),
        *((system.quality.get(name), ".4f") for name in measures),
    ]
    return ["" if figure is None else f"{figure:{layout}}" for figure, layout in figures]
