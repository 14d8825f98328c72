"""The measures by the names of papers, each one entry that says how it is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import numpy as np

from reranker_kd.evaluate.judged import Figures, JudgedRanks, ratio
from reranker_kd.registry import Registry

Compute = Callable[[JudgedRanks, int | None], Figures]
"""From the judged documents of a run, cut at the measure's cutoff, and this cutoff (None: the whole run) to a figure of
each query, 0 for one that the run lacks."""


class Summary(Enum):
    """How the figures of the queries make the figure of the run."""

    MEAN = "mean"
    SUM = "sum"
    GEOMETRIC_MEAN = "geometric mean"


@dataclass(frozen=True, slots=True)
class MeasureEntry:
    """A measure by its name.

    :param compute: its figures; None where trec_eval computes it
    :param cutoff: whether ``@k`` goes with the name
    :param whole: trec_eval's name for it over the whole run; empty where it has none
    :param at_cutoff: trec_eval's name for it at a cutoff
    """

    compute: Compute | None = None
    cutoff: Literal["never", "optional", "required"] = "never"
    whole: str = ""
    at_cutoff: str = ""
    summary: Summary = Summary.MEAN


@dataclass(frozen=True, slots=True)
class Measure:
    """What gives one figure for each query, and one for the run.

    :param name: the name that it was asked for by, to the letter
    :param compute: its figures; None where trec_eval computes it
    :param base: trec_eval's name for it without parameters (``ndcg_cut``), where it has one
    :param cutoff: as trec_eval prints it (``10``, ``0.20``), or empty
    :param parameters: what else trec_eval takes for it (gains, a beta, coefficients), or empty
    """

    name: str
    compute: Compute | None
    base: str = ""
    cutoff: str = ""
    parameters: str = ""
    summary: Summary = Summary.MEAN


def _ndcg(ranks: JudgedRanks, cutoff: int | None) -> Figures:
    """Gains are the grades (Järvelin and Kekäläinen, TOIS 2002), discounted from the first rank on."""
    return ratio(_dcg(ranks), _dcg(ranks.judgments.ideal.cut(cutoff)))


def _dcg(ranks: JudgedRanks) -> Figures:
    return ranks.summed(np.maximum(ranks.grade, 0) / np.log2(ranks.rank + 1))


def _average_precision(ranks: JudgedRanks, _: int | None) -> Figures:
    relevant = ranks.relevant()
    return ratio(relevant.summed((relevant.place() + 1) / relevant.rank), ranks.judgments.relevant)


def _reciprocal_rank(ranks: JudgedRanks, _: int | None) -> Figures:
    relevant = ranks.relevant()
    return relevant.summed((relevant.place() == 0) / relevant.rank)


def _hits(ranks: JudgedRanks) -> Figures:
    return ranks.summed(ranks.grade >= ranks.judgments.relevance_level)


def _precision(ranks: JudgedRanks, cutoff: int | None) -> Figures:
    return ratio(_hits(ranks), ranks.retrieved if cutoff is None else np.full_like(ranks.retrieved, cutoff))


def _recall(ranks: JudgedRanks, _: int | None) -> Figures:
    return ratio(_hits(ranks), ranks.judgments.relevant)


def _success(ranks: JudgedRanks, _: int | None) -> Figures:
    return (_hits(ranks) > 0).astype(np.float64)


def _judged(ranks: JudgedRanks, _: int | None) -> Figures:
    """Return the share of the top k that was judged."""
    return ratio(ranks.summed(ranks.grade >= 0), ranks.retrieved)


OWN_MEASURES = {
    "nDCG": MeasureEntry(_ndcg, "optional", "ndcg", "ndcg_cut"),
    "AP": (average_precision := MeasureEntry(_average_precision, "optional", "map", "map_cut")),
    "MAP": average_precision,
    "RR": (reciprocal_rank := MeasureEntry(_reciprocal_rank, "optional", "recip_rank")),
    "MRR": reciprocal_rank,
    "P": (precision := MeasureEntry(_precision, "required", at_cutoff="P")),
    "Precision": precision,
    "R": (recall := MeasureEntry(_recall, "required", at_cutoff="recall")),
    "Recall": recall,
    "Success": MeasureEntry(_success, "required", at_cutoff="success"),
    "Judged": MeasureEntry(_judged, "required"),
    "SetP": MeasureEntry(_precision, whole="set_P"),
    "SetR": MeasureEntry(_recall, whole="set_recall"),
    # Of counts, a run that lacks a query has these two.
    "NumQ": MeasureEntry(lambda ranks, _: np.ones_like(ranks.retrieved), whole="num_q", summary=Summary.SUM),
    "NumRel": MeasureEntry(lambda ranks, _: ranks.judgments.relevant, whole="num_rel", summary=Summary.SUM),
    # Computed by trec_eval.
    "Rprec": MeasureEntry(whole="Rprec"),
    "Bpref": MeasureEntry(whole="bpref"),
    "infAP": MeasureEntry(whole="infAP"),
    "IPrec": MeasureEntry(cutoff="required", at_cutoff="iprec_at_recall"),
    "SetF": MeasureEntry(whole="set_F"),
    "SetAP": MeasureEntry(whole="set_map"),
    "NumRet": MeasureEntry(whole="num_ret", summary=Summary.SUM),
    "NumRelRet": MeasureEntry(whole="num_rel_ret", summary=Summary.SUM),
}

MEASURES: Registry[MeasureEntry] = Registry("measure", "reranker_kd.measures", OWN_MEASURES)
"""Measures by name; a package adds another by an entry point of the group ``reranker_kd.measures``."""
