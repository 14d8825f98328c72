"""A benchmark as a table to read, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from reranker_kd.benchmark.results import Benchmark, SystemResult
from reranker_kd.evaluate.grid import Grid

_COLUMNS = ("pairs/s", "ratio", "p50 ms", "p95 ms", "p99 ms", "ratio p50", "start s", "MB", "tokens/s", "of ceiling")


def benchmark_table(benchmark: Benchmark) -> Grid:
    """Return a row for each system that ran to its end; :func:`failures` has the others."""
    measures = dict.fromkeys(name for system in benchmark.systems for name in system.quality)
    rows = tuple(
        (
            system.system,
            system.precision or "",
            *_figures(system),
            *(_number(system.quality.get(name), 4) for name in measures),
        )
        for system in benchmark.systems
        if system.error is None
    )
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
    return [f"{system.system}: {system.error}" for system in benchmark.systems if system.error is not None]


def benchmark_json(benchmark: Benchmark) -> str:
    """Return the JSON document, with the figures of each round; what is not known is null."""
    document = {
        "machine": benchmark.machine,
        "settings": benchmark.settings,
        "queries": benchmark.queries,
        "pairs": benchmark.pairs,
        "tokens": benchmark.tokens,
        "baseline": benchmark.baseline,
        "models": [_system_document(system) for system in benchmark.systems],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _system_document(system: SystemResult) -> dict[str, Any]:
    document = asdict(system)
    speed, timings, quality = (document.pop(key) for key in ("speed", "timings", "quality"))
    document |= speed or dict.fromkeys(("pairs_per_second", "query_ms", "cold_start_s"))
    rounds = timings and {
        "cold_start_s": timings["starts"],
        "seconds": timings["passes"],
        "query_ms": timings["queries"],
    }
    return {**document, "tokens_per_second": system.tokens_per_second, **quality, "rounds": rounds}


def _figures(system: SystemResult) -> list[str]:
    speed = system.speed
    assert speed is not None
    share, memory = system.ceiling_share, system.peak_memory_bytes
    return [
        f"{speed.pairs_per_second:.1f}",
        _number(system.ratio, 2),
        *(f"{milliseconds:.1f}" for milliseconds in speed.query_ms.values()),
        _number(system.query_ratio, 2),
        f"{speed.cold_start_s:.1f}",
        "" if memory is None else f"{memory / 1e6:.0f}",
        _number(system.tokens_per_second, 0),
        "" if share is None else f"{share:.0%}",
    ]


def _number(figure: float | None, decimals: int) -> str:
    return "" if figure is None else f"{figure:.{decimals}f}"
