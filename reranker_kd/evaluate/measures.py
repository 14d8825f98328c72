"""The names of measures: as the field writes them (``nDCG@10``), or as trec_eval does (``ndcg_cut_10``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from reranker_kd.errors import InputError
from reranker_kd.evaluate.registry import (
    FIELD_MEASURES,
    JUDGED,
    LEVEL,
    NICKNAMES,
    RANK,
    TREC_EVAL_MEASURES,
    Parameter,
    Summary,
    TrecEvalMeasure,
)

DEFAULT_MEASURES = ("nDCG@10", "AP", "RR@10", "R@100", "Judged@10")

_TREC_EVAL = {declared.name.lower(): declared for declared in TREC_EVAL_MEASURES}
_FIELD = {name.lower(): declared for declared in FIELD_MEASURES for name in (declared.name, *declared.aliases)}


@dataclass(frozen=True, slots=True)
class Measure:
    """What gives one figure for each query, and one for the run.

    :param name: the name that it was asked for by, to the letter
    :param base: trec_eval's name for it without parameters (``ndcg_cut``), or ``judged``
    :param cutoff: the cutoff that goes with the base, as trec_eval prints it (``10``, ``0.20``), or empty
    :param parameters: what else trec_eval takes for it (gains, a beta, coefficients), or empty
    :param depth: the run is cut to so many documents for each query first; None leaves it whole
    """

    name: str
    base: str
    cutoff: str = ""
    parameters: str = ""
    depth: int | None = None

    @property
    def by_trec_eval(self) -> bool:
        """Whether trec_eval computes it."""
        return self.base != JUDGED

    @property
    def summary(self) -> Summary:
        """How the figures of the queries make the figure of the run."""
        return _TREC_EVAL[self.base.lower()].summary if self.by_trec_eval else Summary.MEAN


def parse_measure(name: str) -> Measure:
    """Return the measure that a name stands for, in upper or lower case.

    :param name: such as ``nDCG@10``, ``AP``, ``RR@10``, ``ndcg_cut_10``, ``P.30``, ``set_F.2.0``
    :raises InputError: no measure is called so, or several are (``P.5,10``: see :func:`parse_measures`)
    """
    measures = parse_measures([name])
    if len(measures) > 1:
        names = ", ".join(measure.name for measure in measures)
        raise InputError(f"{name} stands for {len(measures)} measures where one is wanted: choose among {names}")
    return measures[0]


def parse_measures(names: Iterable[str]) -> tuple[Measure, ...]:
    """Return the measures that names stand for, in their order, each name once.

    A name that stands for several measures, as trec_eval has them (``P.5,10``, ``recall``, ``official``), gives
    each under the name that trec_eval prints (``P_5``, ``P_10``).

    :raises InputError: no measure is called so; the message tells what is
    """
    return tuple({measure.name: measure for name in names for measure in _measures_named(name)}.values())


def _measures_named(name: str) -> list[Measure]:
    lowered = name.lower()
    if lowered in NICKNAMES:
        return [measure for member in NICKNAMES[lowered] for measure in _measures_named(member)]
    stem, at, cutoff = lowered.partition("@")
    declared = _FIELD.get(stem)
    if declared and at and declared.at_cutoff:
        return [_at_cutoff(name, declared.at_cutoff, cutoff, cuts_run=declared.cuts_run)]
    if declared and not at and declared.whole:
        return [Measure(name, declared.whole)]
    if measures := _trec_eval_measures(name):
        return measures
    raise InputError(f"unknown measure {name!r}: {_hint(name)}")


def _at_cutoff(name: str, base: str, cutoff: str, *, cuts_run: bool) -> Measure:
    accepted = (None if cuts_run else _TREC_EVAL[base.lower()].cutoff) or RANK
    if not re.fullmatch(accepted.pattern, cutoff):
        raise InputError(f"measure {name!r}: expected after the @ {accepted.examples}")
    if cuts_run:
        return Measure(name, base, depth=int(cutoff))
    return Measure(name, base, cutoff=_as_printed(accepted, cutoff))


def _as_printed(accepted: Parameter, cutoff: str) -> str:
    return f"{float(cutoff):.2f}" if accepted is LEVEL else cutoff


def _trec_eval_measures(name: str) -> list[Measure]:
    """Return what trec_eval or its output calls by a name; nothing if it calls nothing so."""
    for declared, parameters in _split_trec_eval_name(name.lower()):
        if declared.cutoff:
            one = declared.cutoff.pattern
            if parameters and not re.fullmatch(f"{one}(?:,{one})*", parameters):
                continue
            cutoffs = [_as_printed(declared.cutoff, cutoff) for cutoff in parameters.split(",") if cutoff]
            cutoffs = sorted(set(cutoffs or declared.defaults), key=float)
            if len(cutoffs) == 1:
                return [Measure(name, declared.name, cutoffs[0])]
            return [Measure(f"{declared.name}_{cutoff}", declared.name, cutoff) for cutoff in cutoffs]
        if not parameters or (declared.parameters and re.fullmatch(declared.parameters.pattern, parameters)):
            return [Measure(name, declared.name, parameters=parameters)]
    return []


def _split_trec_eval_name(lowered: str) -> Iterator[tuple[TrecEvalMeasure, str]]:
    """Yield the readings of ``base``, ``base.parameters`` or ``base_parameters``."""
    if lowered in _TREC_EVAL:
        yield _TREC_EVAL[lowered], ""
    for position, letter in enumerate(lowered[:-1]):
        if letter in "._" and lowered[:position] in _TREC_EVAL:
            yield _TREC_EVAL[lowered[:position]], lowered[position + 1 :]


def _hint(name: str) -> str:
    stem, at, cutoff = name.partition("@")
    if stem.lower() in _FIELD:
        return f"{stem} takes no cutoff" if at else f"{stem} needs a cutoff, such as {stem}@100"
    declared = _TREC_EVAL.get(name.lower().partition(".")[0])
    if declared:
        accepted = declared.cutoff or declared.parameters
        return f"trec_eval's {declared.name} takes {accepted.examples if accepted else 'no parameters'}"
    digits = re.search(rf"{RANK.pattern}$", name)
    cutoff = digits[0] if digits else "10"
    known = [declared.name for declared in FIELD_MEASURES if declared.whole]
    known += [f"{declared.name}@{cutoff}" for declared in FIELD_MEASURES if declared.at_cutoff]
    known += [f"{declared.name}_{cutoff}" if declared.cutoff else declared.name for declared in TREC_EVAL_MEASURES]
    # Where two differ in case only, the field's spelling wins.
    spelled = {candidate.lower(): candidate for candidate in reversed(known)}
    close = [spelled[match] for match in get_close_matches(name.lower(), spelled)]
    return f"did you mean {' or '.join(close)}?" if close else "name it as in nDCG@10, or as in ndcg_cut_10"
