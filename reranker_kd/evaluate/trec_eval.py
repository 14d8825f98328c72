"""Per-query figures by trec_eval's own code, which pytrec_eval (package pytrec-eval-terrier) carries.

C. Van Gysel and M. de Rijke, Pytrec_eval: An Extremely Fast Python Interface to trec_eval, SIGIR 2018.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from math import exp

# The extension itself: the wrapper around it sorts and merges parameters, so that utility.1,-1,0,0 and
# ndcg.1=3.5,2=9.0 do not pass.
from pytrec_eval_ext import RelevanceEvaluator

from reranker_kd.errors import InputError
from reranker_kd.evaluate.measures import Measure
from reranker_kd.evaluate.registry import Summary
from reranker_kd.types import Qrels

# No docid holds white space.
_JUDGED_BUT_NEVER_RETRIEVED = " "

# trec_eval holds a counter for each grade up to the highest.
_HIGHEST_GRADE = 1_000_000


def trec_eval_values(
    rankings: Mapping[str, Sequence[str]], qrels: Qrels, measures: Sequence[Measure], relevance_level: int
) -> dict[str, dict[str, float]]:
    """Return measure name -> qid -> figure, unrounded.

    :param rankings: docids by qid, best first, none empty
    :param qrels: grades of at least the queries in ``rankings``
    :param measures: those whose base is trec_eval's
    :param relevance_level: the lowest grade that binary measures count as relevant, trec_eval's ``-l``
    :raises InputError: a grade is too high for trec_eval
    """
    grades = {qid: _safe_grades(qrels[qid]) for qid in rankings}
    # trec_eval takes one set of parameters for a measure, but any number of cutoffs.
    batches: dict[tuple[int | None, str], list[Measure]] = defaultdict(list)
    for measure in measures:
        batches[measure.depth, measure.parameters].append(measure)
    values: dict[str, dict[str, float]] = {}
    for (depth, _), batch in batches.items():
        # Scores that fall with the rank: the order is decided before, and single precision makes no ties of it.
        scores = {qid: _falling_scores(docids[:depth]) for qid, docids in rankings.items()}
        # An evaluator serves once: at a second run it has lost all cutoffs but the first.
        evaluator = RelevanceEvaluator(grades, _arguments(batch), relevance_level)
        by_query = evaluator.evaluate(scores)
        for measure in batch:
            key = f"{measure.base}_{measure.cutoff}" if measure.cutoff else measure.base
            values[measure.name] = {qid: _figure(measure, figures[key]) for qid, figures in by_query.items()}
    return values


def _falling_scores(docids: Sequence[str]) -> dict[str, int]:
    return dict(zip(docids, range(len(docids), 0, -1), strict=True))


def _safe_grades(grades: dict[str, int]) -> dict[str, int]:
    """Return grades that trec_eval can hold.

    A negative grade means pooled but not judged, and trec_eval crashes, fails or runs for ever where no grade is
    higher.
    """
    safe = {docid: max(grade, -1) for docid, grade in grades.items()}
    highest = max(safe.values())
    if highest > _HIGHEST_GRADE:
        raise InputError(f"the qrels hold the grade {highest}; expected at most {_HIGHEST_GRADE}: is it a grade?")
    return safe if highest >= 0 else {**safe, _JUDGED_BUT_NEVER_RETRIEVED: 0}


def _arguments(measures: Sequence[Measure]) -> set[str]:
    """Return trec_eval's ``-m`` arguments: all cutoffs of a measure in one of them, as only the first counts."""
    details: dict[str, set[str]] = defaultdict(set)
    for measure in measures:
        details[measure.base] |= {detail for detail in (measure.cutoff, measure.parameters) if detail}
    return {f"{base}.{','.join(texts)}" if texts else base for base, texts in details.items()}


def _figure(measure: Measure, value: float) -> float:
    # trec_eval keeps the logarithm of what goes into a geometric mean.
    return exp(value) if measure.summary is Summary.GEOMETRIC_MEAN else value
