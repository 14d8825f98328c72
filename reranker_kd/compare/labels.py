"""Short names of systems for pictures and pages, where a run's path would not fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath

from reranker_kd.compare.comparison import ComparedSystem, Comparison


def short_labels(comparison: Comparison) -> dict[str, str]:
    """Return name of a system, or of the candidates -> a label that no other has.

    Of files, the words between dots that all of them start or end with are left out: ``run.dl20.bm25.txt`` and
    ``run.dl20.splade.txt`` are ``bm25`` and ``splade``. Labels that would be alike stay whole names. Groups keep
    their names.
    """
    files = [system.name for system in comparison.systems if system.kind == "run"]
    if comparison.candidates is not None and comparison.candidates not in files:
        files.append(comparison.candidates)
    labels = {system.name: system.name for system in comparison.systems}
    labels |= dict(zip(files, _without_common_words([PurePath(file).name for file in files]), strict=True))
    often = Counter(labels.values())
    return {name: label if often[label] == 1 else name for name, label in labels.items()}


def _without_common_words(names: Sequence[str]) -> list[str]:
    if len(names) < 2:
        return list(names)
    words = [name.split(".") for name in names]
    shortest = min(map(len, words))
    start = end = 0
    while end < shortest - 1 and len({name[-1 - end] for name in words}) == 1:
        end += 1
    while start < shortest - end - 1 and len({name[start] for name in words}) == 1:
        start += 1
    return [".".join(name[start : len(name) - end]) for name in words]


def with_labels(comparison: Comparison, labels: Mapping[str, str]) -> Comparison:
    """Return the comparison with labels in place of names, and the qrels by the last part of their path."""
    return replace(
        comparison,
        qrels=PurePath(comparison.qrels).name,
        baseline=labels[comparison.baseline],
        candidates=None if comparison.candidates is None else labels[comparison.candidates],
        systems=tuple(_labelled(system, labels) for system in comparison.systems),
        agreement=tuple(
            replace(each, first=labels[each.first], second=labels[each.second]) for each in comparison.agreement
        ),
    )


def _labelled(system: ComparedSystem, labels: Mapping[str, str]) -> ComparedSystem:
    cost = system.cost
    if cost is not None:
        cost = replace(cost, pays_from_queries={labels[name]: n for name, n in cost.pays_from_queries.items()})
    return replace(system, name=labels[system.name], cost=cost)
