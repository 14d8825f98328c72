"""The stages as the command line and recipes run them: with progress, a run file and its provenance."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reranker_kd.errors import InputError
from reranker_kd.formats.runs import write_run
from reranker_kd.inference.options import ModelOptions
from reranker_kd.progress import progress_bar
from reranker_kd.provenance import write_provenance
from reranker_kd.rerank.budget import Plan, milliseconds_a_pair, plan_stages, read_timings, within
from reranker_kd.rerank.cascade import Cascade, ModelExpression, Stage, stages_of, tag_of
from reranker_kd.rerank.early_stopping import Calibration, EarlyStopping, calibrate
from reranker_kd.rerank.options import RerankOptions
from reranker_kd.rerank.rerank_run import RerankedRun, pair_count, requests_of, rerank_run
from reranker_kd.types import Run, TextSource, Topics

if TYPE_CHECKING:
    from reranker_kd.inference.text_encoder import TextEncoder
    from reranker_kd.rerank.base import Reranker
    from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
    from reranker_kd.retrieve.lucene import LuceneIndex, SearchSettings


# A few queries tell a model's speed; each is reranked several times.
_TIMED_QUERIES = 3


@dataclass(frozen=True, slots=True)
class RunOutput:
    """Where and how a run is written.

    :param path: the file; ``.gz`` compresses it
    :param tag: the run tag; None takes what the stage calls itself
    :param output_format: ``trec`` or ``msmarco``
    :param hits: documents of each query at most
    """

    path: str | Path
    tag: str | None = None
    output_format: str = "trec"
    hits: int = 1000

    def write(self, run: Run, default_tag: str) -> None:
        """Write the run, atomically."""
        write_run(self.path, run, tag=self.tag or default_tag, output_format=self.output_format, hits=self.hits)


@dataclass(frozen=True, slots=True)
class PassageFolding:
    """Passages folded to their documents: what separates the two in a docid, and how many documents are kept."""

    delimiter: str = "#"
    hits: int = 100


@dataclass(frozen=True, slots=True)
class Retrieved:
    """A retrieved run, how it came about (for provenance files), and seconds of searching."""

    run: Run
    record: dict[str, Any]
    seconds: float


def retrieve(
    index: LuceneIndex,
    topics: Topics,
    settings: SearchSettings,
    *,
    hits: int,
    threads: int,
    batch_size: int = 256,
    folding: PassageFolding | None = None,
    remove_query: bool = False,
    quiet: bool = False,
) -> Retrieved:
    """Retrieve candidates of all topics.

    :param folding: keep the best passage of each document only
    :param remove_query: drop the document whose docid is the qid
    """
    from reranker_kd.retrieve.first_stage import describe_index, keep_best_passages, without_query_documents

    start = time.perf_counter()
    with progress_bar("retrieving", len(topics), "topics", quiet=quiet) as bar:
        run = index.search(
            topics,
            hits=hits,
            threads=threads,
            batch_size=batch_size,
            settings=settings,
            on_progress=bar.advance,
        )
    seconds = time.perf_counter() - start
    if remove_query:
        run = without_query_documents(run)
    if folding:
        run = keep_best_passages(run, folding.delimiter, folding.hits)
    record = {
        "index": describe_index(index),
        "parameters": {
            **asdict(settings),
            "hits": hits,
            "threads": threads,
            "folding": asdict(folding) if folding else None,
            "remove_query": remove_query,
        },
    }
    return Retrieved(run, record, seconds)


def write_retrieved(retrieved: Retrieved, output: RunOutput, settings: SearchSettings, *, topics_name: str) -> None:
    """Write a retrieved run and its provenance."""
    output.write(retrieved.run, settings.name)
    counts = {"topics": len(retrieved.run), "documents": sum(map(len, retrieved.run.values()))}
    write_provenance(
        output.path,
        {
            "stage": "retrieve",
            "topics": topics_name,
            **retrieved.record,
            "counts": counts,
            "seconds": {"retrieve": round(retrieved.seconds, 3)},
        },
    )


def rerank_and_write(
    candidates: Run,
    topics: Topics,
    texts: TextSource,
    reranker: Reranker,
    output: RunOutput,
    *,
    name: str,
    depth: int,
    record: dict[str, Any],
    quiet: bool = False,
) -> tuple[RerankedRun, float]:
    """Rerank candidates, write the run and its provenance; return the run and the seconds of reranking.

    :param name: what the model is called in the progress bar and, by default, in the run's tag
    :param record: where candidates, topics and texts came from, for the provenance file
    """
    start = time.perf_counter()
    with progress_bar(f"reranking by {name}", pair_count(candidates, depth), "pairs", quiet=quiet) as bar:
        reranked = rerank_run(candidates, topics, texts, reranker, depth=depth, on_progress=bar.advance)
    seconds = time.perf_counter() - start
    output.write(reranked.run, tag_of(name))
    counts = {
        "topics": len(reranked.run),
        "pairs": reranked.pairs,
        "pairs_split_into_passages": reranked.split,
        "pairs_cut": reranked.cut,
    }
    write_provenance(
        output.path,
        {
            "stage": "rerank",
            **record,
            "model": reranker.describe(),
            "parameters": {"depth": depth, "hits": output.hits},
            "counts": counts,
            "seconds": {"rerank": round(seconds, 3)},
        },
    )
    return reranked, seconds


def depth_of(model: ModelExpression, asked: int | None) -> int:
    """Return how many candidates a model reranks: as many as asked for, or as a cascade's first stage says, or 100."""
    return asked or stages_of(model)[0].depth or 100


@dataclass(frozen=True, slots=True)
class Budget:
    """Milliseconds that the reranking of a query may take.

    :param milliseconds: for one query, scored by itself
    :param timings: what ``reranker-kd benchmark`` wrote as JSON; None measures on the first queries
    """

    milliseconds: float
    timings: str | None = None


def keep_to_budget(
    budget: Budget,
    reranker: Reranker,
    model: ModelExpression,
    candidates: Run,
    topics: Topics,
    texts: TextSource,
    depth: int,
) -> tuple[Reranker, Plan]:
    """Return what of a model or cascade fits into a budget, and the plan, which says how deep it goes.

    :raises InputError: the budget pays for nothing, or the timings lack a model
    """
    stages = reranker.stages if isinstance(reranker, Cascade) else (Stage(reranker),)
    names = [stage.model for stage in stages_of(model)]
    depths = [min(depth, stage.depth or depth) for stage in stages]
    if budget.timings is None:
        first = dict(islice(candidates.items(), _TIMED_QUERIES))
        requests = requests_of(first, topics, texts, reranker, depth)
        milliseconds = [
            milliseconds_a_pair(stage.reranker, [(query, listed[:limit]) for query, listed in requests])
            for stage, limit in zip(stages, depths, strict=True)
        ]
    else:
        timings = read_timings(budget.timings)
        lacking = [name for name in names if name not in timings]
        if lacking:
            raise InputError(
                f"{budget.timings}: has no figure of {lacking[0]}: benchmark it too, or leave the timings out to have "
                "it measured here"
            )
        milliseconds = [timings[name] for name in names]
    plan = plan_stages(names, depths, milliseconds, budget.milliseconds)
    return within(reranker, plan), plan


def calibrate_stopping(
    reranker: Reranker, queries: int, candidates: Run, topics: Topics, texts: TextSource, depth: int
) -> tuple[EarlyStopping, Calibration]:
    """Return an early-stopping reranker with a margin that was fitted to the first queries of a run."""
    assert isinstance(reranker, EarlyStopping)
    first = dict(islice(candidates.items(), queries))
    requests = [(q, listed[:depth]) for q, listed in requests_of(first, topics, texts, reranker, depth)]
    fitted = calibrate(reranker.reranker, requests, reranker.rule)
    return EarlyStopping(reranker.reranker, fitted.rule), fitted


def search_and_write(
    index: EmbeddingIndex,
    encoder: TextEncoder,
    topics: Topics,
    output: RunOutput,
    *,
    topics_name: str,
    batch_size: int = 256,
    quiet: bool = False,
) -> tuple[Run, float]:
    """Search embeddings, write the run and its provenance; return the run and the seconds of searching."""
    from reranker_kd.retrieve.dense.search import search_topics

    start = time.perf_counter()
    with progress_bar("searching", len(topics), "topics", quiet=quiet) as bar:
        run = search_topics(index, encoder, topics, hits=output.hits, batch_size=batch_size, on_progress=bar.advance)
    seconds = time.perf_counter() - start
    output.write(run, tag_of(encoder.name))
    write_provenance(
        output.path,
        {
            "stage": "search",
            "topics": topics_name,
            "index": index.describe(),
            "model": encoder.describe(),
            "parameters": {"hits": output.hits},
            "counts": {"topics": len(run), "documents": sum(map(len, run.values()))},
            "seconds": {"search": round(seconds, 3)},
        },
    )
    return run, seconds


def model_keywords(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords for ``load_reranker`` out of the options of the command line or of a recipe.

    What was left at its default is not passed on: a reranker of another package knows only keywords of its own.
    """
    fields = RerankOptions.model_fields
    given = {name: options[name] for name in fields if options.get(name) not in (None, fields[name].default)}
    return given | ({"embeddings": options["embeddings"]} if options.get("embeddings") else {})


def encoder_keywords(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked of a network (its input's length, batches, device, precision, backend) by the options."""
    return {name: options[name] for name in ModelOptions.model_fields if options.get(name) is not None}
