"""trec_eval's measures, by its own code, which pytrec_eval (package pytrec-eval-terrier) carries.

C. Van Gysel and M. de Rijke, Pytrec_eval: An Extremely Fast Python Interface to trec_eval, SIGIR 2018.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# The extension itself: the wrapper around it sorts and merges parameters, so that utility.1,-1,0,0 and
# ndcg.1=3.5,2=9.0 do not pass.
from pytrec_eval_ext import RelevanceEvaluator

from reranker_kd.evaluate.judged import Figures, JudgedRanks
from reranker_kd.evaluate.registry import Measure, Summary


@dataclass(frozen=True, slots=True)
class Parameter:
    """What may stand after a measure's name: a regular expression, and examples of it for error messages."""

    pattern: str
    examples: str


@dataclass(frozen=True, slots=True)
class TrecEvalMeasure:
    """A measure of trec_eval 9.0.4, described by ``trec_eval -h -m all_trec``.

    :param name: trec_eval's own, without parameters
    :param cutoff: what its cutoffs look like: it has one figure for each; None where it has one figure
    :param defaults: its cutoffs when none is named
    :param parameters: what else it takes after its name, None for nothing
    """

    name: str
    cutoff: Parameter | None = None
    defaults: tuple[str, ...] = ()
    parameters: Parameter | None = None
    summary: Summary = Summary.MEAN


_NUMBER = r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
# trec_eval prints these cutoffs with two decimals, so more decimals could give two figures one name.
_TWO_DECIMALS = r"(?:[0-9]+(?:\.[0-9]{1,2})?|\.[0-9]{1,2})"
RANK = Parameter(r"[1-9][0-9]{0,6}", "whole numbers from 1, such as 10")
LEVEL = Parameter(_TWO_DECIMALS, "numbers of at most two decimals, such as 0.2")
BETA = Parameter(_NUMBER, "one number, such as 2.0")
LEVELS = Parameter(rf"{_TWO_DECIMALS}(?:,{_TWO_DECIMALS})*", "recall levels, such as 0.2,0.5,0.8")
GAINS = Parameter(rf"[0-9]+={_NUMBER}(?:,[0-9]+={_NUMBER})*", "gains of grades, such as 1=3.5,2=9.0")
# The fourth weighs the documents that were not retrieved, whose number neither qrels nor run tells.
COEFFICIENTS = Parameter(rf"(?:{_NUMBER},){{3}}0(?:\.0*)?", "four coefficients, the last 0, such as 1,-1,0,0")

_COUNTS = ("num_q", "num_ret", "num_rel", "num_rel_ret")
_RANKS = ("5", "10", "15", "20", "30", "100", "200", "500", "1000")
_RECALL_LEVELS = tuple(f"{tenths / 10:.2f}" for tenths in range(11))
_MULTIPLES_OF_R = tuple(f"{tenths / 10:.2f}" for tenths in range(2, 21, 2))

# All but trec_eval's two texts (runid, relstring) and what needs preferences or judgment groups for qrels.
TREC_EVAL_MEASURES = (
    *(TrecEvalMeasure(name, summary=Summary.SUM) for name in _COUNTS),
    TrecEvalMeasure("map"),
    TrecEvalMeasure("gm_map", summary=Summary.GEOMETRIC_MEAN),
    *map(TrecEvalMeasure, ("Rprec", "bpref", "recip_rank")),
    TrecEvalMeasure("iprec_at_recall", LEVEL, _RECALL_LEVELS),
    *(TrecEvalMeasure(name, RANK, _RANKS) for name in ("P", "recall")),
    TrecEvalMeasure("infAP"),
    TrecEvalMeasure("gm_bpref", summary=Summary.GEOMETRIC_MEAN),
    TrecEvalMeasure("Rprec_mult", LEVEL, _MULTIPLES_OF_R),
    TrecEvalMeasure("utility", parameters=COEFFICIENTS),
    TrecEvalMeasure("11pt_avg", parameters=LEVELS),
    TrecEvalMeasure("binG"),
    *(TrecEvalMeasure(name, parameters=GAINS) for name in ("G", "ndcg", "ndcg_rel", "Rndcg")),
    *(TrecEvalMeasure(name, RANK, _RANKS) for name in ("ndcg_cut", "map_cut", "relative_P")),
    TrecEvalMeasure("success", RANK, ("1", "5", "10")),
    *map(TrecEvalMeasure, ("set_P", "set_relative_P", "set_recall", "set_map")),
    TrecEvalMeasure("set_F", parameters=BETA),
    TrecEvalMeasure("num_nonrel_judged_ret", summary=Summary.SUM),
    TrecEvalMeasure("yaap"),
)

# What trec_eval calls some of its measures together.
NICKNAMES = {
    "official": (*_COUNTS, "map", "gm_map", "Rprec", "bpref", "recip_rank", "iprec_at_recall", "P"),
    "set": (*_COUNTS, "utility", "set_P", "set_relative_P", "set_recall", "set_map", "set_F"),
    "all_trec": tuple(declared.name for declared in TREC_EVAL_MEASURES if declared.name != "yaap"),
}


def trec_eval_figures(ranks: JudgedRanks, measures: Sequence[Measure]) -> dict[str, Figures]:
    """Return measure name -> figures (t,), unrounded; 0 for a query that the run lacks.

    trec_eval sees documents of made-up names at the ranks of the run, which is all that its figures depend on.
    """
    figures = {measure.name: np.zeros(len(ranks.retrieved)) for measure in measures}
    # trec_eval takes one set of parameters for a measure, but any number of cutoffs.
    batches: dict[str, list[Measure]] = defaultdict(list)
    for measure in measures:
        batches[measure.parameters].append(measure)
    if batches:
        qrels, run = _stand_ins(ranks)
    for batch in batches.values():
        # An evaluator serves once: at a second run it has lost all cutoffs but the first.
        evaluator = RelevanceEvaluator(qrels, _arguments(batch), ranks.judgments.relevance_level)
        for place, found in evaluator.evaluate(run).items():
            for measure in batch:
                value = found[f"{measure.base}_{measure.cutoff}" if measure.cutoff else measure.base]
                # trec_eval keeps the logarithm of what goes into a geometric mean.
                is_log = measure.summary is Summary.GEOMETRIC_MEAN
                figures[measure.name][int(place)] = np.exp(value) if is_log else value
    return figures


def _stand_ins(ranks: JudgedRanks) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """Return qrels and run with the place of a query as its qid and the rank of a document as its docid."""
    qrels, run = {}, {}
    names = [str(rank) for rank in range(1, int(ranks.retrieved.max(initial=0)) + 1)]
    ideal = ranks.judgments.ideal
    places = np.arange(len(ranks.retrieved))
    judged, pooled = (np.searchsorted(each.query, places[1:]) for each in (ranks, ideal))
    columns = (np.split(ranks.rank, judged), np.split(ranks.grade, judged), np.split(ideal.grade, pooled))
    for place, retrieved, at, found, grades in zip(places, ranks.retrieved.astype(int), *columns, strict=True):
        if not retrieved:
            continue
        missed = Counter(grades.tolist())
        missed.subtract(found.tolist())
        graded = dict(zip(map(str, at), found.tolist(), strict=True))
        graded |= {f"-{number}": grade for number, grade in enumerate(missed.elements())}
        # trec_eval fails, or runs for ever, where no document is judged.
        qrels[str(place)] = graded if max(graded.values()) >= 0 else {**graded, "-": 0}
        # Scores that fall with the rank.
        run[str(place)] = dict(zip(names[:retrieved], range(retrieved, 0, -1), strict=True))
    return qrels, run


def _arguments(measures: Sequence[Measure]) -> set[str]:
    """Return trec_eval's ``-m`` arguments: all cutoffs of a measure in one of them, as only the first counts."""
    details: dict[str, set[str]] = defaultdict(set)
    for measure in measures:
        details[measure.base] |= {detail for detail in (measure.cutoff, measure.parameters) if detail}
    return {f"{base}.{','.join(texts)}" if texts else base for base, texts in details.items()}
