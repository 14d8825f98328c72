"""Evaluations of one or several runs, side by side: as a table to read, as TSV, as JSON.

Figures are printed to four decimals and counts as whole numbers, as trec_eval does; JSON has all digits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reranker_kd.evaluate.evaluation import Evaluation
from reranker_kd.evaluate.grid import Grid
from reranker_kd.evaluate.registry import Measure, Summary

# What stands for a qid in the row of the whole run, as in trec_eval's output.
_ALL_QUERIES = "all"


def evaluation_table(
    runs: Sequence[tuple[str, Evaluation]],
    *,
    per_query: bool = False,
    milliseconds: Mapping[str, float | None] | None = None,
) -> Grid:
    """Return a table of runs by measures; the best figure of a measure over several runs is bold.

    :param runs: names, mostly of files, and figures; at least one, all evaluated on the same measures
    :param per_query: a row for each query before the row of the run, whose qid is ``all``
    :param milliseconds: what a query cost, by the run's name, as a last column
    """
    measures = runs[0][1].measures
    header = ["run", *(["qid"] if per_query else []), *(measure.name for measure in measures)]
    texts = 2 if per_query else 1
    rows: list[list[str]] = []
    of_runs = []
    for run, evaluation in runs:
        of_queries = by_query(evaluation.per_query).items() if per_query else ()
        for qid, figures in (*of_queries, (_ALL_QUERIES, evaluation.means)):
            rows.append([run, *([qid] if per_query else []), *map(_text, measures, figures.values())])
        of_runs.append(len(rows) - 1)
    bold = set()
    for column, measure in enumerate(measures, texts):
        printed = {row: float(rows[row][column]) for row in of_runs}
        if len(runs) > 1 and measure.summary is not Summary.SUM:
            bold |= {(row, column) for row, figure in printed.items() if figure == max(printed.values())}
    if milliseconds is not None:
        header.append("ms/query")
        for row in rows:
            cost = milliseconds.get(row[0])
            row.append("" if cost is None else f"{cost:.1f}")
    return Grid(tuple(header), tuple(map(tuple, rows)), texts, bold=frozenset(bold))


def evaluation_json(
    runs: Sequence[tuple[str, Evaluation]],
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
        "runs": [_run_document(*evaluated, per_query=per_query) for evaluated in runs],
    }
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)


def _run_document(run: str, evaluation: Evaluation, *, per_query: bool) -> dict[str, Any]:
    document = {
        "run": run,
        "measures": _numbers(evaluation.measures, evaluation.means),
        "queries": evaluation.queries,
        "missing_queries": list(evaluation.missing_queries),
        "unjudged_queries": evaluation.unjudged_queries,
    }
    if per_query:
        of_queries = by_query(evaluation.per_query)
        document["per_query"] = {qid: _numbers(evaluation.measures, figures) for qid, figures in of_queries.items()}
    return document


def by_query(per_query: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Turn measure name -> qid -> figure into qid -> measure name -> figure."""
    qids = next(iter(per_query.values()), {})
    return {qid: {name: figures[qid] for name, figures in per_query.items()} for qid in qids}


def _numbers(measures: Sequence[Measure], figures: Mapping[str, float]) -> dict[str, float]:
    return {m.name: round(figures[m.name]) if m.summary is Summary.SUM else figures[m.name] for m in measures}


def _text(measure: Measure, figure: float) -> str:
    return f"{figure:.{0 if measure.summary is Summary.SUM else 4}f}"
