"""What systems cost, out of the JSON of ``benchmark`` and of provenance files. Missing figures stay None."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasPath, BaseModel, BeforeValidator, Field, ValidationError

from reranker_kd.compare.comparison import Cost
from reranker_kd.errors import InputError
from reranker_kd.formats.files import sha256_of_file
from reranker_kd.provenance import provenance_path, read_provenance
from reranker_kd.sections import checked, first_fault

_NullIsEmpty = BeforeValidator(lambda value: {} if value is None else value)


class BenchmarkedModel(Cost, frozen=True):
    """One of the ``models`` of a benchmark's JSON; keys besides these are ignored."""

    model: str
    backend: str | None = None
    precision: str | None = None
    percentiles: dict[str, float] | None = Field(None, alias="query_ms")
    query_ms: float | None = Field(None, validation_alias=AliasPath("query_ms", "p50"))
    query_ms_p95: float | None = Field(None, validation_alias=AliasPath("query_ms", "p95"))
    query_ms_p99: float | None = Field(None, validation_alias=AliasPath("query_ms", "p99"))


class CostFile(BaseModel):
    """The JSON of ``benchmark``, or the provenance of an encoded folder or of a run."""

    models: list[BenchmarkedModel] | None = None
    stage: str | None = None
    model: Annotated[dict[str, Any], _NullIsEmpty] = {}
    seconds: Annotated[dict[str, float], _NullIsEmpty] = {}
    counts: Annotated[dict[str, int | None], _NullIsEmpty] = {}


def costs_of(systems: Mapping[str, Sequence[str]], cost_files: Sequence[str]) -> tuple[dict[str, Cost], dict[str, str]]:
    """Return the costs and the models of the systems of which something is known.

    :param systems: name -> the files of its runs; what made a run is read from the provenance beside it
    :raises InputError: a cost file that cannot be read, or is neither a benchmark's nor an encoded folder's; faulty
        provenance beside a run
    """
    documents = {path: _cost_file(path) for path in cost_files}
    costs: dict[str, Cost] = {}
    models: dict[str, str] = {}
    for name, runs in systems.items():
        made_by = next(filter(None, map(_provenance, runs)), CostFile())
        model = made_by.model.get("name")
        found: dict[str, dict[str, Any]] = {}
        for path, document in documents.items():
            if document.models is None:
                if model and document.model.get("name") == model and "embeddings" in made_by.model:
                    index = Path(path.removesuffix(".provenance.json"))
                    size = index.stat().st_size if index.is_file() else None
                    found[path] = {"index_bytes": size, "encoding_seconds": document.seconds.get("encode")}
            elif entry := entry_of(document.models, [name, *filter(None, [model]), *runs], made_by.model):
                found[path] = entry.model_dump(include=set(Cost.model_fields))
                model = model or entry.model
        if seconds := sum(made_by.seconds.values()):
            topics, pairs = made_by.counts.get("topics"), made_by.counts.get("pairs")
            found[f"{runs[0]}.provenance.json"] = {
                "query_ms": seconds * 1000 / topics if topics else None,
                "pairs_per_second": pairs / seconds if pairs else None,
            }
        if model:
            models[name] = str(model)
        if found:
            # Each figure from the first that has it.
            figures = {key: each[key] for each in reversed(found.values()) for key in each if each[key] is not None}
            costs[name] = Cost(**figures | {"sources": tuple(found)})
    return {name: cost.model_copy(update=_break_even(cost, costs)) for name, cost in costs.items()}, models


def _cost_file(path: str) -> CostFile:
    try:
        document = CostFile.model_validate_json(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror or error}") from None
    except ValidationError as error:
        raise InputError(f"{path}: {first_fault(error)}") from None
    if document.models is None and document.stage != "encode":
        raise InputError(f"{path}: expected the JSON of benchmark (--format json), or of an index.provenance.json")
    return document


def _provenance(run: str) -> CostFile | None:
    """Return what lies beside a run, unless it is another file's."""
    record = read_provenance(run)
    if record is None or (record.get("artefact") or {}).get("sha256") != sha256_of_file(run):
        return None
    return checked(CostFile, record, lambda key: f"{provenance_path(run)}: {key}")


def entry_of(
    entries: Iterable[BenchmarkedModel], names: Sequence[str], made_by: Mapping[str, Any]
) -> BenchmarkedModel | None:
    """Return the entry of a benchmark that measures a system, or None.

    An entry's ``model`` is held against names and folder names alike. Of several (backends, precisions) the one that
    is most like what made the run is taken, or else the first.

    :param names: what the system may be called: its name, its model's, its run's file
    :param made_by: ``model`` of the run's provenance
    """
    files = [Path(name).name for name in names]
    matching = [
        entry
        for entry in entries
        if {entry.model, last := Path(entry.model).name} & {*names, *files}
        # As rerank names runs that it is given a {model} for.
        or any(f".{last}." in f".{file}." for file in files)
    ]
    keys = made_by.keys() & {"backend", "precision"}
    return max(matching, key=lambda entry: sum(getattr(entry, key) == made_by[key] for key in keys), default=None)


def _break_even(cost: Cost, costs: Mapping[str, Cost]) -> dict[str, dict[str, int]]:
    """Return :attr:`Cost.pays_from_queries`: encoding time over the time saved with each query."""
    if cost.encoding_seconds is None or cost.query_ms is None:
        return {}
    pays = {
        name: int(cost.encoding_seconds * 1000 / (other.query_ms - cost.query_ms)) + 1
        for name, other in costs.items()
        if other.encoding_seconds is None and other.query_ms is not None and other.query_ms > cost.query_ms
    }
    return {"pays_from_queries": pays}
