"""Every measure, declared: trec_eval's own, and the names by which papers call them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

JUDGED = "judged"
"""The base of ``Judged@k``, the one measure here that trec_eval lacks."""


class Summary(Enum):
    """How the figures of the queries make the figure of the run."""

    MEAN = "mean"
    SUM = "sum"
    GEOMETRIC_MEAN = "geometric mean"


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


@dataclass(frozen=True, slots=True)
class FieldMeasure:
    """A measure as papers name it.

    :param name: without cutoff
    :param meaning: for the documentation
    :param whole: trec_eval's name for it over the whole ranking; None where it needs a cutoff
    :param at_cutoff: trec_eval's name for it at a cutoff, or :data:`JUDGED`; None where it takes no cutoff
    :param cuts_run: ``at_cutoff`` takes no cutoff itself, so the run is cut
    """

    name: str
    meaning: str
    whole: str | None = None
    at_cutoff: str | None = None
    cuts_run: bool = False
    aliases: tuple[str, ...] = ()


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

_RANKS = ("5", "10", "15", "20", "30", "100", "200", "500", "1000")
_RECALL_LEVELS = tuple(f"{tenths / 10:.2f}" for tenths in range(11))
_MULTIPLES_OF_R = tuple(f"{tenths / 10:.2f}" for tenths in range(2, 21, 2))

# All but trec_eval's two texts (runid, relstring) and what needs preferences or judgment groups for qrels.
TREC_EVAL_MEASURES = (
    TrecEvalMeasure("num_q", summary=Summary.SUM),
    TrecEvalMeasure("num_ret", summary=Summary.SUM),
    TrecEvalMeasure("num_rel", summary=Summary.SUM),
    TrecEvalMeasure("num_rel_ret", summary=Summary.SUM),
    TrecEvalMeasure("map"),
    TrecEvalMeasure("gm_map", summary=Summary.GEOMETRIC_MEAN),
    TrecEvalMeasure("Rprec"),
    TrecEvalMeasure("bpref"),
    TrecEvalMeasure("recip_rank"),
    TrecEvalMeasure("iprec_at_recall", LEVEL, _RECALL_LEVELS),
    TrecEvalMeasure("P", RANK, _RANKS),
    TrecEvalMeasure("recall", RANK, _RANKS),
    TrecEvalMeasure("infAP"),
    TrecEvalMeasure("gm_bpref", summary=Summary.GEOMETRIC_MEAN),
    TrecEvalMeasure("Rprec_mult", LEVEL, _MULTIPLES_OF_R),
    TrecEvalMeasure("utility", parameters=COEFFICIENTS),
    TrecEvalMeasure("11pt_avg", parameters=LEVELS),
    TrecEvalMeasure("binG"),
    TrecEvalMeasure("G", parameters=GAINS),
    TrecEvalMeasure("ndcg", parameters=GAINS),
    TrecEvalMeasure("ndcg_rel", parameters=GAINS),
    TrecEvalMeasure("Rndcg", parameters=GAINS),
    TrecEvalMeasure("ndcg_cut", RANK, _RANKS),
    TrecEvalMeasure("map_cut", RANK, _RANKS),
    TrecEvalMeasure("relative_P", RANK, _RANKS),
    TrecEvalMeasure("success", RANK, ("1", "5", "10")),
    TrecEvalMeasure("set_P"),
    TrecEvalMeasure("set_relative_P"),
    TrecEvalMeasure("set_recall"),
    TrecEvalMeasure("set_map"),
    TrecEvalMeasure("set_F", parameters=BETA),
    TrecEvalMeasure("num_nonrel_judged_ret", summary=Summary.SUM),
    TrecEvalMeasure("yaap"),
)

_COUNTS = ("num_q", "num_ret", "num_rel", "num_rel_ret")

# What trec_eval calls some of its measures together.
NICKNAMES = {
    "official": (*_COUNTS, "map", "gm_map", "Rprec", "bpref", "recip_rank", "iprec_at_recall", "P"),
    "set": (*_COUNTS, "utility", "set_P", "set_relative_P", "set_recall", "set_map", "set_F"),
    "all_trec": tuple(declared.name for declared in TREC_EVAL_MEASURES if declared.name != "yaap"),
}

FIELD_MEASURES = (
    FieldMeasure("nDCG", "cumulative gain of the grades, discounted by rank, over the ideal", "ndcg", "ndcg_cut"),
    FieldMeasure("AP", "mean of the precisions at the relevant documents", "map", "map_cut", aliases=("MAP",)),
    FieldMeasure(
        "RR",
        "one over the rank of the first relevant document",
        whole="recip_rank",
        at_cutoff="recip_rank",
        cuts_run=True,
        aliases=("MRR",),
    ),
    FieldMeasure("P", "share of the top k that is relevant", at_cutoff="P", aliases=("Precision",)),
    FieldMeasure("R", "share of the relevant that is in the top k", at_cutoff="recall", aliases=("Recall",)),
    FieldMeasure("Success", "1 if a relevant document is in the top k, else 0", at_cutoff="success"),
    FieldMeasure("Judged", "share of the top k that was judged", at_cutoff=JUDGED, cuts_run=True),
    FieldMeasure("Rprec", "precision after as many documents as are relevant", "Rprec"),
    FieldMeasure("Bpref", "share of judged pairs in which the relevant document comes first", "bpref"),
    FieldMeasure("infAP", "AP inferred from a sample of judgments", "infAP"),
    FieldMeasure("IPrec", "highest precision from a recall level on", at_cutoff="iprec_at_recall"),
    FieldMeasure("SetP", "share of the retrieved documents that is relevant", "set_P"),
    FieldMeasure("SetR", "share of the relevant documents that was retrieved", "set_recall"),
    FieldMeasure("SetF", "harmonic mean of SetP and SetR", "set_F"),
    FieldMeasure("SetAP", "SetP times SetR", "set_map"),
    FieldMeasure("NumQ", "number of queries", "num_q"),
    FieldMeasure("NumRet", "number of retrieved documents", "num_ret"),
    FieldMeasure("NumRel", "number of relevant documents", "num_rel"),
    FieldMeasure("NumRelRet", "number of relevant documents retrieved", "num_rel_ret"),
)
