"""Evaluations of one or several runs, side by side: as a table to read, as TSV, as JSON.

Figures are printed to four decimals and counts as whole numbers, as trec_eval does; JSON has all digits.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reranker_kd.evaluate.evaluation import Evaluation
from reranker_kd.evaluate.measures import Measure
from reranker_kd.evaluate.registry import Summary

# What stands for a qid in the row of the whole run, as in trec_eval's output.
_ALL_QUERIES = "all"

_WIDER_THAN_ANY_TABLE = 10_000


@dataclass(frozen=True, slots=True)
class EvaluatedRun:
    """A run by its name, mostly its file's, and its figures."""

    run: str
    evaluation: Evaluation


def evaluation_table(
    runs: Sequence[EvaluatedRun], *, per_query: bool = False, milliseconds: Mapping[str, float | None] | None = None
) -> Table:
    """Return a table of runs by measures; the best figure of a measure over several runs is bold.

    :param runs: at least one, all evaluated on the same measures
    :param per_query: a row for each query before the row of the run
    :param milliseconds: what a query cost, by the run's name, as a last column
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", no_wrap=True)
    if per_query:
        table.add_column("qid", no_wrap=True)
    for measure in runs[0].evaluation.measures:
        table.add_column(measure.name, justify="right", no_wrap=True)
    if milliseconds is not None:
        table.add_column("ms/query", justify="right", no_wrap=True)
    best = _best_figures(runs)
    for row in _rows(runs, per_query=per_query):
        emphasised = best if row.of_run else [None] * len(best)
        # Texts, not strings, which rich would search for markup.
        figures = [Text(f, "bold" if f == top else "") for f, top in zip(row.figures, emphasised, strict=True)]
        cost = [] if milliseconds is None else [_milliseconds_text(milliseconds.get(row.labels[0]))]
        table.add_row(*map(Text, row.labels), *figures, *cost)
    return table


def table_text(table: Table, *, styled: bool) -> str:
    """Return a table as lines of text at its full width, so that no figure is cut.

    :param styled: with the control codes of a terminal; plain text without
    """
    stream = io.StringIO()
    color_system: Literal["standard"] | None = "standard" if styled else None
    Console(file=stream, force_terminal=styled, color_system=color_system, width=_WIDER_THAN_ANY_TABLE).print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def evaluation_tsv(runs: Sequence[EvaluatedRun], *, per_query: bool = False) -> str:
    """Return a header line and a line for each run (and query), columns separated by tabs.

    :param runs: at least one, all evaluated on the same measures
    :param per_query: a line for each query before the line of the run, whose qid is ``all``
    """
    header = [*_labels("run", "qid", per_query=per_query), *(m.name for m in runs[0].evaluation.measures)]
    rows = [[*row.labels, *row.figures] for row in _rows(runs, per_query=per_query)]
    return "\n".join("\t".join(line) for line in [header, *rows])


def evaluation_json(
    runs: Sequence[EvaluatedRun],
    *,
    qrels: str,
    relevance_level: int,
    missing_as_zero: bool,
    per_query: bool = False,
) -> str:
    """Return a JSON document with each figure under the name by which its measure was asked for.

    :param qrels: the file or name of the qrels
    :param per_query: with the figures of each query, qid -> measure -> figure
    """
    document = {
        "qrels": qrels,
        "relevance_level": relevance_level,
        "missing_as_zero": missing_as_zero,
        "runs": [_run_document(evaluated, per_query=per_query) for evaluated in runs],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _run_document(evaluated: EvaluatedRun, *, per_query: bool) -> dict[str, Any]:
    evaluation = evaluated.evaluation
    document: dict[str, Any] = {
        "run": evaluated.run,
        "measures": {m.name: _json_number(m, evaluation.means[m.name]) for m in evaluation.measures},
        "queries": evaluation.queries,
        "missing_queries": list(evaluation.missing_queries),
        "unjudged_queries": evaluation.unjudged_queries,
    }
    if per_query:
        document["per_query"] = {
            qid: {m.name: _json_number(m, evaluation.per_query[m.name][qid]) for m in evaluation.measures}
            for qid in _qids(evaluation)
        }
    return document


@dataclass(frozen=True, slots=True)
class _Row:
    labels: list[str]
    figures: list[str]
    of_run: bool


def _rows(runs: Sequence[EvaluatedRun], *, per_query: bool) -> Iterator[_Row]:
    for evaluated in runs:
        name, evaluation = evaluated.run, evaluated.evaluation
        for qid in _qids(evaluation) if per_query else ():
            figures = [_text(measure, evaluation.per_query[measure.name][qid]) for measure in evaluation.measures]
            yield _Row([name, qid], figures, of_run=False)
        figures = [_text(measure, evaluation.means[measure.name]) for measure in evaluation.measures]
        yield _Row(_labels(name, _ALL_QUERIES, per_query=per_query), figures, of_run=True)


def _labels(run: str, qid: str, *, per_query: bool) -> list[str]:
    return [run, qid] if per_query else [run]


def _qids(evaluation: Evaluation) -> list[str]:
    return list(next(iter(evaluation.per_query.values()), {}))


def _best_figures(runs: Sequence[EvaluatedRun]) -> list[str | None]:
    """Return the best printed figure of each measure; None where no run is better for more."""
    measures = runs[0].evaluation.measures
    if len(runs) == 1:
        return [None for _ in measures]
    best = [max(evaluated.evaluation.means[measure.name] for evaluated in runs) for measure in measures]
    return [None if _is_count(m) else _text(m, figure) for m, figure in zip(measures, best, strict=True)]


def _milliseconds_text(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f"{milliseconds:.1f}"


def _is_count(measure: Measure) -> bool:
    return measure.summary is Summary.SUM


def _text(measure: Measure, figure: float) -> str:
    return f"{figure:.0f}" if _is_count(measure) else f"{figure:.4f}"


def _json_number(measure: Measure, figure: float) -> float | int:
    return round(figure) if _is_count(measure) else figure
