"""A comparison as tables to read, in Markdown and in LaTeX: four decimals, a dash for what is not defined."""

from __future__ import annotations

import math

from reranker_kd.compare.comparison import CORRECTIONS, ComparedSystem, Comparison, Significance
from reranker_kd.evaluate.grid import Grid, latex, latex_text, markdown, table_text

_DASH = "-"
_BY_T_TEST, _BY_RANDOMISATION = "†", "‡"


def comparison_grids(comparison: Comparison) -> list[Grid]:
    """Return the summary, the differences in each measure, the agreement and the costs; without what is empty."""
    grids = [_summary(comparison)]
    grids += [_differences(comparison, measure.name) for measure in comparison.measures]
    grids += [_agreement(comparison), _costs(comparison)]
    return [grid for grid in grids if grid.rows]


def comparison_text(comparison: Comparison, *, styled: bool) -> str:
    """Return the tables one below the other, and a note on the tests.

    :param styled: with the control codes of a terminal; plain text without
    """
    parts = [f"{grid.title}\n{table_text(grid, styled=styled)}" for grid in comparison_grids(comparison)]
    return "\n\n".join(filter(None, [*parts, tests_note(comparison)]))


def comparison_markdown(comparison: Comparison) -> str:
    """Return the tables in GitHub's Markdown."""
    return "\n\n".join(filter(None, [*map(markdown, comparison_grids(comparison)), tests_note(comparison)]))


def comparison_latex(comparison: Comparison) -> str:
    """Return a ``table`` environment for each table; they want the package booktabs."""
    note = [latex_text(line) for line in filter(None, [tests_note(comparison)])]
    return "\n\n".join([*map(latex, comparison_grids(comparison)), *(f"% {line}" for line in note)])


def _summary(comparison: Comparison) -> Grid:
    names = [measure.name for measure in comparison.measures]
    title = f"{len(comparison.queries)} queries of {comparison.qrels}"
    # JSON and CSV have the ceilings of all.
    ceilings = [name for name in names if name.lower().startswith("ndcg")] or names[:1]
    header = ["run", *names, *(f"best {name}" for name in ceilings), "recall", "depth"]
    if any(system.kind != "run" for system in comparison.systems):
        header.insert(1, "runs")
    rows = []
    for system in comparison.systems:
        cells = [system.name]
        if "runs" in header:
            cells.append("1" if system.kind == "run" else f"{len(system.runs)} {system.kind}")
        cells += [_figure(system, name) for name in names]
        cells += [_decimals(system.ceiling.oracle[name]) for name in ceilings]
        rows.append((*cells, _decimals(system.ceiling.recall), str(system.ceiling.depth)))
    return Grid(tuple(header), tuple(rows), 2 if "runs" in header else 1, title)


def _figure(system: ComparedSystem, measure: str) -> str:
    text = _decimals(system.means[measure])
    if measure in system.spread:
        text += f" ± {_decimals(system.spread[measure].deviation)}"
    difference = system.differences.get(measure)
    if difference is None:
        return text
    return text + _BY_T_TEST * difference.t_test.significant + _BY_RANDOMISATION * difference.randomisation.significant


def _differences(comparison: Comparison, measure: str) -> Grid:
    level = f"{100 * (1 - comparison.settings.alpha):g} %"
    is_corrected = comparison.settings.correction != "none"
    corrected = ("corrected",) if is_corrected else ()
    header = ("run", "difference", "relative", level, "effect", "W/T/L", "p t", *corrected, "p rand.", *corrected)
    rows = []
    for system in comparison.systems:
        if (difference := system.differences.get(measure)) is None:
            continue
        low, high = difference.interval
        rows.append(
            (
                system.name,
                _signed(difference.mean),
                _DASH if math.isnan(difference.relative) else f"{100 * difference.relative:+.1f} %",
                _DASH if math.isnan(low) else f"[{_signed(low)}, {_signed(high)}]",
                _DASH if math.isnan(difference.effect_size) else f"{difference.effect_size:.2f}",
                f"{difference.wins}/{difference.ties}/{difference.losses}",
                *_p_values(difference.t_test, is_corrected=is_corrected),
                *_p_values(difference.randomisation, is_corrected=is_corrected),
            )
        )
    return Grid(header, tuple(rows), title=f"{measure} against {comparison.baseline}")


def _p_values(significance: Significance, *, is_corrected: bool) -> list[str]:
    return [_p(significance.p_value), _p(significance.corrected)] if is_corrected else [_p(significance.p_value)]


def _agreement(comparison: Comparison) -> Grid:
    rows = tuple(
        (each.first, each.second, _decimals(each.tau), _decimals(each.rbo), _decimals(each.overlap))
        for each in comparison.agreement
    )
    return Grid(("run", "and", "tau", "RBO", "top 10"), rows, 2, "agreement of rankings")


def _costs(comparison: Comparison) -> Grid:
    costs = {system.name: system.cost for system in comparison.systems if system.cost is not None}
    columns = {
        title: [_scaled(getattr(cost, name), unit, digits, suffix) for cost in costs.values()]
        for title, name, unit, digits, suffix in _COSTS
    }
    columns["pays from"] = [
        ", ".join(f"{queries} queries ({name})" for name, queries in cost.pays_from_queries.items()) or _DASH
        for cost in costs.values()
    ]
    columns = {title: cells for title, cells in columns.items() if set(cells) - {_DASH}}
    rows = tuple(zip(costs, *columns.values(), strict=True)) if columns else ()
    return Grid(("run", *columns), rows, title="cost")


# Heading, name of the figure, its unit, digits after the point, the unit's name.
_COSTS: tuple[tuple[str, str, float, int, str], ...] = (
    ("ms/query", "query_ms", 1, 1, ""),
    ("p95", "query_ms_p95", 1, 1, ""),
    ("p99", "query_ms_p99", 1, 1, ""),
    ("pairs/s", "pairs_per_second", 1, 0, ""),
    ("parameters", "parameters", 1e6, 1, " M"),
    ("model", "model_bytes", 1e6, 1, " MB"),
    ("index", "index_bytes", 1e6, 1, " MB"),
    ("encoding", "encoding_seconds", 1, 1, " s"),
    ("cold start", "cold_start_s", 1, 1, " s"),
    ("memory", "peak_memory_bytes", 1e6, 0, " MB"),
)


def _scaled(value: float | None, unit: float, digits: int, suffix: str) -> str:
    return _DASH if value is None else f"{value / unit:.{digits}f}{suffix}"


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


def _decimals(figure: float) -> str:
    return _DASH if math.isnan(figure) else f"{figure:.4f}"


def _signed(figure: float) -> str:
    return f"{figure:+.4f}"


def _p(p_value: float) -> str:
    if math.isnan(p_value):
        return _DASH
    return "<0.0001" if p_value < 0.0001 else f"{p_value:.4f}"
