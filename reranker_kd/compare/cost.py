"""What systems cost, out of the JSON documents of ``benchmark`` and of provenance files. Missing figures stay None."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from reranker_kd.compare.comparison import Cost

Document = Mapping[str, Any]


def model_of(provenance: Document) -> str | None:
    """Return the name of the model that made a run, or None where no model did."""
    name = _section(provenance, "model").get("name")
    return str(name) if name is not None else None


def cost_of_run(provenance: Document, source: str) -> Cost:
    """Return what a run took, out of its provenance: the mean over its queries.

    :param source: name of the file
    """
    seconds = sum(value for value in map(_number, _section(provenance, "seconds").values()) if value is not None)
    counts = _section(provenance, "counts")
    topics, pairs = _number(counts.get("topics")), _number(counts.get("pairs"))
    if not seconds:
        return Cost()
    return Cost(
        query_ms=seconds * 1000 / topics if topics else None,
        pairs_per_second=pairs / seconds if pairs else None,
        sources=(source,),
    )


def cost_of_index(provenance: Document, index_bytes: int | None, source: str) -> Cost:
    """Return what precomputing took, out of the provenance of an encoded folder.

    :param index_bytes: size of the folder's index
    """
    encoding = _number(_section(provenance, "seconds").get("encode"))
    return Cost(index_bytes=index_bytes, encoding_seconds=encoding, sources=(source,))


def cost_of_model(entry: Document, source: str) -> Cost:
    """Return the figures of one of the ``models`` of a benchmark."""
    query_ms = _section(entry, "query_ms")
    return Cost(
        query_ms=_number(query_ms.get("p50")),
        query_ms_p95=_number(query_ms.get("p95")),
        query_ms_p99=_number(query_ms.get("p99")),
        pairs_per_second=_number(entry.get("pairs_per_second")),
        parameters=_count(entry.get("parameters")),
        model_bytes=_count(entry.get("model_bytes")),
        index_bytes=_count(entry.get("index_bytes")),
        encoding_seconds=_number(entry.get("encoding_seconds")),
        cold_start_s=_number(entry.get("cold_start_s")),
        peak_memory_bytes=_count(entry.get("peak_memory_bytes")),
        sources=(source,),
    )


def entry_of(entries: Iterable[Document], names: Sequence[str], made_by: Document) -> Document | None:
    """Return the entry of a benchmark that measures a system, or None.

    An entry's ``model`` is held against names and folder names alike. Of several (backends, precisions) the one that
    is most like what made the run is taken, or else the first.

    :param names: what the system may be called: its name, its model's, its run's file
    :param made_by: ``model`` of the run's provenance
    """
    known = {word for name in names for word in (name, Path(name).name)}
    files = [Path(name).name for name in names]
    matching = [
        entry
        for entry in entries
        if (model := str(entry.get("model"))) in known
        or Path(model).name in known
        # As rerank names runs that it is given a {model} for.
        or any(f".{Path(model).name}." in f".{file}." for file in files)
    ]
    return max(
        matching,
        key=lambda entry: sum(entry.get(key) == made_by.get(key) for key in ("backend", "precision") if key in made_by),
        default=None,
    )


def joined(costs: Iterable[Cost]) -> Cost:
    """Return each figure from the first that has it."""
    result = Cost()
    for cost in costs:
        missing = {
            field.name: getattr(cost, field.name) for field in fields(Cost) if getattr(result, field.name) is None
        }
        result = replace(result, **missing, sources=(*result.sources, *cost.sources))
    return result


def with_break_even(costs: Mapping[str, Cost]) -> dict[str, Cost]:
    """Return the costs with :attr:`Cost.pays_from_queries`: encoding time over the time saved with each query."""
    return {name: replace(cost, pays_from_queries=_break_even(cost, costs)) for name, cost in costs.items()}


def _break_even(cost: Cost, costs: Mapping[str, Cost]) -> dict[str, int]:
    if cost.encoding_seconds is None or cost.query_ms is None:
        return {}
    return {
        name: int(cost.encoding_seconds * 1000 / (other.query_ms - cost.query_ms)) + 1
        for name, other in costs.items()
        if other.encoding_seconds is None and other.query_ms is not None and other.query_ms > cost.query_ms
    }


def _section(document: Document, key: str) -> Document:
    section = document.get(key)
    return section if isinstance(section, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _count(value: Any) -> int | None:
    number = _number(value)
    return None if number is None else round(number)
