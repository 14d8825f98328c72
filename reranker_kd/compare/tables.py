"""A comparison as text: tables to read, with four decimals, and CSV and JSON with all digits.

What is not defined is a dash in tables, empty in CSV and null in JSON.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import asdict
from typing import Any

from pydantic_core import to_json

from reranker_kd.compare.comparison import CORRECTIONS, ComparedSystem, Comparison
from reranker_kd.evaluate.grid import Grid, latex, latex_text, markdown, table_text
from reranker_kd.evaluate.tables import by_query

_DASH = "-"
_BY_T_TEST, _BY_RANDOMISATION = "†", "‡"

# Heading, name of the figure, its unit, the format of the number, the unit's name.
_COSTS: tuple[tuple[str, str, float, str, str], ...] = (
    ("ms/query", "query_ms", 1, ".1f", ""),
    ("p95", "query_ms_p95", 1, ".1f", ""),
    ("p99", "query_ms_p99", 1, ".1f", ""),
    ("pairs/s", "pairs_per_second", 1, ".0f", ""),
    ("parameters", "parameters", 1e6, ".1f", " M"),
    ("model", "model_bytes", 1e6, ".1f", " MB"),
    ("index", "index_bytes", 1e6, ".1f", " MB"),
    ("encoding", "encoding_seconds", 1, ".1f", " s"),
    ("cold start", "cold_start_s", 1, ".1f", " s"),
    ("memory", "peak_memory_bytes", 1e6, ".0f", " MB"),
)
_CSV_COLUMNS = (
    *("run", "measure", "figure", "spread", "ceiling", "recall", "depth"),
    *("baseline", "difference", "relative", "low", "high", "effect_size", "wins", "ties", "losses"),
    *("p_t_test", "p_t_test_corrected", "p_randomisation", "p_randomisation_corrected"),
    *("query_ms", "pairs_per_second", "parameters", "model_bytes", "index_bytes", "encoding_seconds"),
)


def comparison_text(
    comparison: Comparison, layout: str = "table", *, per_query: bool = False, styled: bool = False
) -> str:
    """Return a comparison in a layout.

    :param layout: ``table``, ``markdown`` (GitHub's) or ``latex`` (with the package booktabs), all tables one below the
        other and a note on the tests; ``csv``, a line for each system and measure; ``json``, each figure under the name
        by which its measure was asked for
    :param per_query: of JSON: with the figures of each query, qid -> measure -> figure
    :param styled: of ``table``: with the control codes of a terminal
    """
    if layout == "json":
        return _json(comparison, per_query=per_query)
    if layout == "csv":
        return _csv(comparison)
    note = tests_note(comparison)
    if layout == "latex" and note:
        note = f"% {latex_text(note)}"
    layouts = {"markdown": markdown, "latex": latex}
    tables = [
        layouts[layout](grid) if layout in layouts else f"{grid.title}\n{table_text(grid, styled=styled)}"
        for grid in comparison_grids(comparison)
    ]
    return "\n\n".join(filter(None, [*tables, note]))


def comparison_grids(comparison: Comparison) -> list[Grid]:
    """Return the summary, the differences in each measure, the agreement and the costs; without what is empty."""
    differences = (_differences(comparison, measure.name) for measure in comparison.measures)
    grids = [_summary(comparison), *differences, _agreement(comparison), _costs(comparison)]
    return [grid for grid in grids if grid.rows]


def tests_note(comparison: Comparison) -> str:
    """Return what the marks of significance mean; nothing where there is nothing to test."""
    if len(comparison.systems) < 2:
        return ""
    by = comparison.settings
    return (
        f"{_BY_T_TEST} {_BY_RANDOMISATION}: differs from {comparison.baseline} at {by.alpha:g} by the paired t-test, "
        f"by the paired randomisation test ({by.resamples} resamples, seed {by.seed}); correction: "
        f"{CORRECTIONS[by.correction]}."
    )


def _summary(comparison: Comparison) -> Grid:
    names = [measure.name for measure in comparison.measures]
    # JSON and CSV have the ceilings of all.
    ceilings = [name for name in names if name.lower().startswith("ndcg")] or names[:1]
    groups = ["runs"] if any(system.kind != "run" for system in comparison.systems) else []
    rows = (
        (
            system.name,
            *("1" if system.kind == "run" else f"{len(system.runs)} {system.kind}" for _ in groups),
            *(_figure(system, name) for name in names),
            *(_cell(system.ceiling.oracle[name]) for name in ceilings),
            _cell(system.ceiling.recall),
            str(system.ceiling.depth),
        )
        for system in comparison.systems
    )
    header = ("run", *groups, *names, *(f"best {name}" for name in ceilings), "recall", "depth")
    return Grid(header, tuple(rows), 1 + len(groups), f"{len(comparison.queries)} queries of {comparison.qrels}")


def _figure(system: ComparedSystem, measure: str) -> str:
    text = _cell(system.means[measure])
    if measure in system.spread:
        text += f" ± {_cell(system.spread[measure].deviation)}"
    difference = system.differences.get(measure)
    if difference is None:
        return text
    return text + _BY_T_TEST * difference.t_test.significant + _BY_RANDOMISATION * difference.randomisation.significant


def _differences(comparison: Comparison, measure: str) -> Grid:
    corrected = [] if comparison.settings.correction == "none" else ["corrected"]
    level = f"{100 * (1 - comparison.settings.alpha):g} %"
    rows = []
    for system in comparison.systems:
        if (difference := system.differences.get(measure)) is None:
            continue
        low, high = (_cell(end, "+.4f") for end in difference.interval)
        tests = (difference.t_test, difference.randomisation)
        p_values = [getattr(test, name) for test in tests for name in ("p_value", *corrected)]
        rows.append(
            (
                system.name,
                _cell(difference.mean, "+.4f"),
                _cell(100 * difference.relative, "+.1f", " %"),
                _DASH if low == _DASH else f"[{low}, {high}]",
                _cell(difference.effect_size, ".2f"),
                f"{difference.wins}/{difference.ties}/{difference.losses}",
                *("<0.0001" if p_value < 0.0001 else _cell(p_value) for p_value in p_values),
            )
        )
    header = ("run", "difference", "relative", level, "effect", "W/T/L", "p t", *corrected, "p rand.", *corrected)
    return Grid(header, tuple(rows), title=f"{measure} against {comparison.baseline}")


def _agreement(comparison: Comparison) -> Grid:
    rows = ((each.first, each.second, *map(_cell, (each.tau, each.rbo, each.overlap))) for each in comparison.agreement)
    return Grid(("run", "and", "tau", "RBO", "top 10"), tuple(rows), 2, "agreement of rankings")


def _costs(comparison: Comparison) -> Grid:
    costs = {system.name: system.cost for system in comparison.systems if system.cost is not None}
    columns = {
        title: [_cell(getattr(cost, name), form, suffix, unit) for cost in costs.values()]
        for title, name, unit, form, suffix in _COSTS
    }
    columns["pays from"] = [
        ", ".join(f"{queries} queries ({name})" for name, queries in cost.pays_from_queries.items()) or _DASH
        for cost in costs.values()
    ]
    columns = {title: cells for title, cells in columns.items() if set(cells) - {_DASH}}
    rows = tuple(zip(costs, *columns.values(), strict=True)) if columns else ()
    return Grid(("run", *columns), rows, title="cost")


def _cell(figure: float | None, form: str = ".4f", suffix: str = "", unit: float = 1) -> str:
    return _DASH if figure is None or math.isnan(figure) else f"{figure / unit:{form}}{suffix}"


def _csv(comparison: Comparison) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, _CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for system in comparison.systems:
        for measure in comparison.measures:
            row = {"baseline": comparison.baseline, **_csv_row(system, measure.name)}
            writer.writerow({name: value for name, value in row.items() if value == value})
    return stream.getvalue().rstrip("\n")


def _csv_row(system: ComparedSystem, measure: str) -> dict[str, Any]:
    row = {"run": system.name, "measure": measure, "figure": system.means[measure]}
    row |= {"ceiling": system.ceiling.oracle[measure], "recall": system.ceiling.recall, "depth": system.ceiling.depth}
    if spread := system.spread.get(measure):
        row["spread"] = spread.deviation
    if difference := system.differences.get(measure):
        row |= asdict(difference) | {"difference": difference.mean}
        row["low"], row["high"] = difference.interval
        for name, test in (("p_t_test", difference.t_test), ("p_randomisation", difference.randomisation)):
            row |= {name: test.p_value, f"{name}_corrected": test.corrected}
    return row | (system.cost.model_dump() if system.cost else {})


def _json(comparison: Comparison, *, per_query: bool) -> str:
    document = {
        "qrels": comparison.qrels,
        "relevance_level": comparison.relevance_level,
        "queries": len(comparison.queries),
        "baseline": comparison.baseline,
        "candidates": comparison.candidates,
        **asdict(comparison.settings),
        "runs": [_document(system, per_query=per_query) for system in comparison.systems],
        "agreement": comparison.agreement,
    }
    return to_json(document, indent=2, inf_nan_mode="null").decode()


def _document(system: ComparedSystem, *, per_query: bool) -> dict[str, Any]:
    record = asdict(system)
    document = {"run": record.pop("name"), "files": record.pop("runs"), "measures": record.pop("means"), **record}
    figures = document.pop("per_query")
    if not system.spread:
        del document["spread"]
    if per_query:
        document["per_query"] = by_query(figures)
    return document
