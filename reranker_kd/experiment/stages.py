"""The stages of an experiment: each makes a run, with progress, and writes it with its provenance."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reranker_kd.errors import InputError
from reranker_kd.experiment.recipe import Output, Reranking, Retrieval
from reranker_kd.formats.runs import write_run
from reranker_kd.progress import note, progress_bar
from reranker_kd.provenance import file_record, write_provenance
from reranker_kd.rerank.budget import keep_to_budget
from reranker_kd.rerank.cascade import Cascade, stages_of, tag_of
from reranker_kd.rerank.options import RerankOptions
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.rerank.rerank_run import docids_within, pair_count, requests_of, rerank_run
from reranker_kd.types import Run, TextSource, Topics

if TYPE_CHECKING:
    from reranker_kd.inference.text_encoder import TextEncoder
    from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
    from reranker_kd.retrieve.lucene import LuceneIndex

_TIMED_QUERIES = 3
"""A few queries show a model's speed; each is reranked several times."""


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run of an experiment.

    :param name: what the experiment calls it
    :param path: its file; None for candidates that were retrieved on the way and not written
    :param run: its documents
    :param seconds: wall-clock time of this stage alone; None for a run that was only read
    :param record: what made it, as its provenance file has it
    """

    name: str
    path: Path | None
    run: Run
    seconds: float | None
    record: dict[str, Any]

    @property
    def milliseconds(self) -> float | None:
        """Milliseconds a query."""
        return None if self.seconds is None else 1000 * self.seconds / max(1, len(self.run))

    @property
    def origin(self) -> dict[str, Any]:
        """What the provenance of a run that is made out of this one says of it."""
        return self.record if self.path is None else file_record(self.path)


def index_collection(
    collection: str, folder: str | Path, *, threads: int = 1, overwrite: bool = True, quiet: bool
) -> tuple[int, list[str]]:
    """Index a collection, with progress; see :func:`reranker_kd.retrieve.indexing.build_index`."""
    from reranker_kd.retrieve.indexing import build_index

    with progress_bar("indexing", None, "documents", quiet=quiet) as bar:
        return build_index(collection, folder, threads=threads, overwrite=overwrite, on_progress=bar.advance)


def retrieve_run(
    index: LuceneIndex, topics: Topics, retrieval: Retrieval, path: Path | None, record: dict[str, Any], *, quiet: bool
) -> FinishedRun:
    """Retrieve candidates of all topics.

    :param record: where the topics came from
    """
    start = time.perf_counter()
    with progress_bar("retrieving", len(topics), "topics", quiet=quiet) as bar:
        run = index.search(topics, retrieval, bar.advance)
    seconds = time.perf_counter() - start
    parameters = retrieval.model_dump(exclude={"tag"})
    record = {"stage": "retrieve", **record, "index": index.describe(), "parameters": parameters}
    return finished(retrieval.name, run, path, retrieval, record, seconds)


def search_run(
    index: EmbeddingIndex,
    encoder: TextEncoder,
    topics: Topics,
    output: Output,
    path: Path,
    record: dict[str, Any],
    *,
    batch_size: int,
    quiet: bool,
) -> FinishedRun:
    """Search embeddings for the documents nearest to each topic.

    :param record: where the topics came from
    """
    from reranker_kd.retrieve.dense.search import search_topics

    start = time.perf_counter()
    with progress_bar("searching", len(topics), "topics", quiet=quiet) as bar:
        run = search_topics(index, encoder, topics, hits=output.hits, batch_size=batch_size, on_progress=bar.advance)
    seconds = time.perf_counter() - start
    described = {"index": index.describe(), "model": encoder.describe(), "parameters": {"hits": output.hits}}
    record = {"stage": "search", **record, **described}
    return finished(tag_of(encoder.name), run, path, output, record, seconds)


def reranked_run(
    reranking: Reranking,
    candidates: Run,
    topics: Topics,
    texts: TextSource | None,
    path: Path | None,
    record: dict[str, Any],
    *,
    quiet: bool,
) -> FinishedRun:
    """Rerank candidates.

    :param texts: None where embeddings stand for all texts
    :param record: where candidates, topics and texts came from
    :raises InputError: a text is wanted and there is no source of texts, or a budget pays for nothing
    :raises ModelError: no such model, or it cannot be loaded
    """
    # What was left at its default is not passed on: a reranker of another package knows keywords of its own only.
    keys = {*RerankOptions.model_fields, "embeddings"} & reranking.changed().keys()
    reranker = load_reranker(reranking.model, **{key: getattr(reranking, key) for key in keys})
    name, depth = reranking.run_name, reranking.full_depth
    docids = docids_within(candidates, depth)
    wanted = frozenset(reranker.texts_wanted(docids))
    if wanted and reranking.embeddings is not None and isinstance(reranker, Cascade):
        if texts is None:
            raise InputError("the later stages of a cascade read texts: give them by collection or index")
    elif wanted and reranking.embeddings is not None:
        some = ", ".join(sorted(wanted)[:3]) + (", ..." if len(wanted) > 3 else "")
        message = f"{reranking.embeddings}: {len(wanted)} of {len(docids)} documents have no embedding there ({some}): "
        if texts is None:
            raise InputError(f"{message}give their texts by collection or index, or encode them too")
        note(f"{message}encoding them now")
    source = texts or (lambda _: {})
    if reranking.budget_ms is not None:
        timed = requests_of(dict(islice(candidates.items(), _TIMED_QUERIES)), topics, source, wanted, depth)
        models = [stage.model for stage in stages_of(reranking.model)]
        reranker, plan = keep_to_budget(reranker, models, timed, depth, reranking.budget_ms)
        depth = plan.depths[0]
        record = {**record, "budget": asdict(plan)}
        note(f"{name}: {plan}")
    start = time.perf_counter()
    with progress_bar(f"reranking by {name}", pair_count(candidates, depth), "pairs", quiet=quiet) as bar:
        run, counts = rerank_run(
            candidates, topics, source, reranker, depth=depth, wanted=wanted, on_progress=bar.advance
        )
    seconds = time.perf_counter() - start
    names = ("pairs", "passages", "pairs_split_into_passages", "pairs_cut")
    record = {
        "stage": "rerank",
        **record,
        "model": reranker.describe(),
        "parameters": {"depth": depth, "hits": reranking.hits},
        "counts": {"topics": len(run), **dict(zip(names, counts, strict=True))},
    }
    return finished(name, run, path, reranking, record, seconds)


def finished(
    name: str, run: Run, path: Path | None, output: Output, record: dict[str, Any], seconds: float | None = None
) -> FinishedRun:
    """Write a run, and what made it beside it.

    :param name: the run's name, and its tag where the output has none
    :param record: the stage, its inputs and its parameters; counts are added where it has none
    :param seconds: wall-clock time of the stage, where it matters
    """
    counts = {"topics": len(run), "documents": sum(map(len, run.values()))}
    record = {**record, "counts": record.get("counts", counts)}
    if seconds is not None:
        record["seconds"] = {record["stage"]: round(seconds, 3)}
    if path is not None:
        write_run(path, run, tag=output.tag or name, output_format=output.output_format, hits=output.hits)
        write_provenance(path, record)
    return FinishedRun(name, path, run, seconds, record)
