"""A comparison as data, with all digits: CSV, a line for each system and measure, and JSON.

What cannot be told is empty in CSV and null in JSON.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from reranker_kd.compare.comparison import ComparedSystem, Comparison, Cost, Difference

_CSV_COLUMNS = (
    *("run", "measure", "figure", "spread", "ceiling", "recall", "depth"),
    *("baseline", "difference", "relative", "low", "high", "effect_size", "wins", "ties", "losses"),
    *("p_t_test", "p_t_test_corrected", "p_randomisation", "p_randomisation_corrected"),
    *("query_ms", "pairs_per_second", "parameters", "model_bytes", "index_bytes", "encoding_seconds"),
)


def comparison_csv(comparison: Comparison) -> str:
    """Return a header and a line for each system and measure."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_CSV_COLUMNS)
    for system in comparison.systems:
        for measure in comparison.measures:
            writer.writerow(_csv_cell(value) for value in _csv_row(comparison, system, measure.name))
    return stream.getvalue().rstrip("\n")


def comparison_json(comparison: Comparison, *, per_query: bool = False) -> str:
    """Return a JSON document with each figure under the name by which its measure was asked for.

    :param per_query: with the figures of each query, qid -> measure -> figure
    """
    document = {
        "qrels": comparison.qrels,
        "relevance_level": comparison.relevance_level,
        "queries": len(comparison.queries),
        "baseline": comparison.baseline,
        "candidates": comparison.candidates,
        "correction": comparison.correction,
        "alpha": comparison.alpha,
        "resamples": comparison.resamples,
        "seed": comparison.seed,
        "runs": [_document(system, per_query=per_query) for system in comparison.systems],
        "agreement": [asdict(agreement) for agreement in comparison.agreement],
    }
    return json.dumps(_without_nan(document), indent=2, ensure_ascii=False, allow_nan=False)


def _csv_row(comparison: Comparison, system: ComparedSystem, measure: str) -> Iterator[Any]:
    spread = system.spread.get(measure)
    yield from (system.name, measure, system.means[measure], spread.deviation if spread else None)
    yield from (system.ceiling.oracle[measure], system.ceiling.recall, system.ceiling.depth, comparison.baseline)
    yield from _csv_difference(system.differences.get(measure))
    cost = system.cost or Cost()
    yield from (cost.query_ms, cost.pairs_per_second, cost.parameters)
    yield from (cost.model_bytes, cost.index_bytes, cost.encoding_seconds)


def _csv_difference(difference: Difference | None) -> Sequence[Any]:
    if difference is None:
        return [None] * 12
    return [
        difference.mean,
        difference.relative,
        *difference.interval,
        difference.effect_size,
        difference.wins,
        difference.ties,
        difference.losses,
        difference.t_test.p_value,
        difference.t_test.corrected,
        difference.randomisation.p_value,
        difference.randomisation.corrected,
    ]


def _csv_cell(value: Any) -> Any:
    return "" if value is None or value != value else value


def _document(system: ComparedSystem, *, per_query: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "run": system.name,
        "kind": system.kind,
        "files": list(system.runs),
        "model": system.model,
        "measures": system.means,
        "missing_queries": list(system.missing_queries),
        "unjudged_queries": system.unjudged_queries,
        "ceiling": asdict(system.ceiling),
        "cost": None if system.cost is None else asdict(system.cost),
        "differences": {name: asdict(difference) for name, difference in system.differences.items()},
    }
    if system.spread:
        document["spread"] = {name: asdict(spread) for name, spread in system.spread.items()}
    if per_query:
        qids = next(iter(system.per_query.values()))
        document["per_query"] = {
            qid: {name: figures[qid] for name, figures in system.per_query.items()} for qid in qids
        }
    return document


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
