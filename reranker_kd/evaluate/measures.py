"""The names of measures: as papers write them (``nDCG@10``), or as trec_eval does (``ndcg_cut_10``)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from reranker_kd.errors import InputError
from reranker_kd.evaluate.registry import MEASURES, OWN_MEASURES, Measure, MeasureEntry
from reranker_kd.evaluate.trec_eval import LEVEL, NICKNAMES, RANK, TREC_EVAL_MEASURES, Parameter

DEFAULT_MEASURES = ("nDCG@10", "AP", "RR@10", "R@100", "Judged@10")

_TREC_EVAL = {declared.name.lower(): declared for declared in TREC_EVAL_MEASURES}
_COMPUTED_HERE = {base: e.compute for e in OWN_MEASURES.values() if e.compute for base in (e.whole, e.at_cutoff)}


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
    if (entry := _entry(stem)) and (entry.cutoff != "never" if at else entry.cutoff != "required"):
        return [_of_entry(name, entry, cutoff if at else None)]
    if measures := _trec_eval_measures(name):
        return measures
    raise InputError(f"unknown measure {name!r}: {_hint(name)}")


def _entry(stem: str) -> MeasureEntry | None:
    return next((MEASURES[known] for known in MEASURES if known.lower() == stem.lower()), None)


def _of_entry(name: str, entry: MeasureEntry, cutoff: str | None) -> Measure:
    base = entry.whole if cutoff is None else entry.at_cutoff
    accepted = (_TREC_EVAL[base.lower()].cutoff if base else None) or RANK
    if cutoff is not None and not re.fullmatch(accepted.pattern, cutoff):
        raise InputError(f"measure {name!r}: expected after the @ {accepted.examples}")
    return Measure(name, entry.compute, base, _as_printed(accepted, cutoff or ""), summary=entry.summary)


def _as_printed(accepted: Parameter, cutoff: str) -> str:
    return f"{float(cutoff):.2f}" if accepted is LEVEL and cutoff else cutoff


def _trec_eval_measures(name: str) -> list[Measure]:
    """Return what trec_eval or its output calls by a name; nothing if it calls nothing so."""
    lowered = name.lower()
    # The readings of base, base.parameters or base_parameters.
    readings = [(lowered, ""), *((lowered[:at], lowered[at + 1 :]) for at in range(len(name) - 1) if name[at] in "._")]
    for stem, parameters in readings:
        if (declared := _TREC_EVAL.get(stem)) is None:
            continue
        base, compute = declared.name, _COMPUTED_HERE.get(declared.name)
        if declared.cutoff:
            one = declared.cutoff.pattern
            if parameters and not re.fullmatch(f"{one}(?:,{one})*", parameters):
                continue
            cutoffs = [_as_printed(declared.cutoff, cutoff) for cutoff in parameters.split(",") if cutoff]
            cutoffs = sorted(set(cutoffs or declared.defaults), key=float)
            names = [name] if len(cutoffs) == 1 else [f"{base}_{cutoff}" for cutoff in cutoffs]
            return [Measure(each, compute, base, cutoff) for each, cutoff in zip(names, cutoffs, strict=True)]
        if not parameters:
            return [Measure(name, compute, base, summary=declared.summary)]
        if declared.parameters and re.fullmatch(declared.parameters.pattern, parameters):
            return [Measure(name, None, base, parameters=parameters, summary=declared.summary)]
    return []


def _hint(name: str) -> str:
    stem, at, _ = name.partition("@")
    if _entry(stem):
        return f"{stem} takes no cutoff" if at else f"{stem} needs a cutoff, such as {stem}@100"
    if declared := _TREC_EVAL.get(name.lower().partition(".")[0]):
        accepted = declared.cutoff or declared.parameters
        return f"trec_eval's {declared.name} takes {accepted.examples if accepted else 'no parameters'}"
    digits = re.search(rf"{RANK.pattern}$", name)
    cutoff = digits[0] if digits else "10"
    # Where two differ in case only, the papers' spelling wins.
    known = [f"{declared.name}_{cutoff}" if declared.cutoff else declared.name for declared in TREC_EVAL_MEASURES]
    known += [spelling for stem in MEASURES for spelling in (stem, f"{stem}@{cutoff}")]
    spelled = {candidate.lower(): candidate for candidate in known}
    close = [spelled[match] for match in get_close_matches(name.lower(), spelled)]
    return f"did you mean {' or '.join(close)}?" if close else "name it as in nDCG@10, or as in ndcg_cut_10"
