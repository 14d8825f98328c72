"""A comparison as data, with all digits: CSV, a line for each system and measure, and JSON.

What is not defined is empty in CSV and null in JSON.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from typing import Any

from reranker_kd.compare.comparison import ComparedSystem, Comparison

_COSTS = ("query_ms", "pairs_per_second", "parameters", "model_bytes", "index_bytes", "encoding_seconds")
_CSV_COLUMNS = (
    *("run", "measure", "figure", "spread", "ceiling", "recall", "depth"),
    *("baseline", "difference", "relative", "low", "high", "effect_size", "wins", "ties", "losses"),
    *("p_t_test", "p_t_test_corrected", "p_randomisation", "p_randomisation_corrected", *_COSTS),
)


def comparison_csv(comparison: Comparison) -> str:
    """Return a header and a line for each system and measure."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for system in comparison.systems:
        for measure in comparison.measures:
            writer.writerow({**_csv_row(system, measure.name), "baseline": comparison.baseline})
    return stream.getvalue().rstrip("\n")


def _csv_row(system: ComparedSystem, measure: str) -> dict[str, Any]:
    row = {"run": system.name, "measure": measure, "figure": system.means[measure]}
    row |= {"ceiling": system.ceiling.oracle[measure], "recall": system.ceiling.recall, "depth": system.ceiling.depth}
    if spread := system.spread.get(measure):
        row["spread"] = spread.deviation
    if difference := system.differences.get(measure):
        row |= {"difference": difference.mean, "low": difference.interval[0], "high": difference.interval[1]}
        row |= {name: getattr(difference, name) for name in ("relative", "effect_size", "wins", "ties", "losses")}
        for test in ("t_test", "randomisation"):
            significance = getattr(difference, test)
            row |= {f"p_{test}": significance.p_value, f"p_{test}_corrected": significance.corrected}
    if system.cost:
        row |= {name: getattr(system.cost, name) for name in _COSTS}
    return {name: value for name, value in row.items() if value is not None and value == value}


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
        **asdict(comparison.settings),
        "runs": [_document(system, per_query=per_query) for system in comparison.systems],
        "agreement": [asdict(agreement) for agreement in comparison.agreement],
    }
    return json.dumps(_without_nan(document), indent=2, ensure_ascii=False, allow_nan=False)


def _document(system: ComparedSystem, *, per_query: bool) -> dict[str, Any]:
    document = asdict(system)
    document = {
        "run": document.pop("name"),
        "files": document.pop("runs"),
        "measures": document.pop("means"),
        **document,
    }
    figures = document.pop("per_query")
    if not system.spread:
        del document["spread"]
    if per_query:
        qids = next(iter(figures.values()))
        document["per_query"] = {qid: {name: by_qid[qid] for name, by_qid in figures.items()} for qid in qids}
    return document


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
