"""The whole of the upper river, as a recipe declares it: candidates, reranked runs, figures, in one folder."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reranker_kd.evaluate.evaluation import evaluate_run
from reranker_kd.evaluate.measures import parse_measures
from reranker_kd.evaluate.tables import EvaluatedRun, evaluation_json, evaluation_tsv
from reranker_kd.experiment.recipe import Recipe, Reranking, run_name
from reranker_kd.experiment.stages import (
    Budget,
    RunOutput,
    depth_of,
    keep_to_budget,
    model_keywords,
    rerank_and_write,
    retrieve,
    write_retrieved,
)
from reranker_kd.formats.files import atomic_writer
from reranker_kd.formats.runs import read_run
from reranker_kd.provenance import file_record
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.rerank.rerank_run import check_topics, docids_within
from reranker_kd.retrieve.named_inputs import (
    faults_named_in,
    load_qrels,
    load_topics,
    texts_of_collection,
    texts_of_index,
)
from reranker_kd.types import Run, TextSource, Topics

if TYPE_CHECKING:
    from reranker_kd.retrieve.lucene import LuceneIndex, SearchSettings


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """A run of an experiment.

    :param name: what the recipe calls it
    :param path: its file
    :param run: its documents
    :param milliseconds: wall-clock time a query of this stage alone; None for a run that was only read
    """

    name: str
    path: Path
    run: Run
    milliseconds: float | None


@dataclass(frozen=True, slots=True)
class Experiment:
    """What a recipe brought: the first-stage run, the reranked ones in the recipe's order, figures if it has qrels."""

    runs: tuple[FinishedRun, ...]
    evaluated: tuple[EvaluatedRun, ...]

    @property
    def milliseconds(self) -> dict[str, float | None]:
        """Milliseconds a query by the run's name."""
        return {finished.name: finished.milliseconds for finished in self.runs}


def run_recipe(recipe: Recipe, output: Path, *, quiet: bool = False) -> Experiment:
    """Run an experiment and leave everything in one folder.

    The folder gets ``run.NAME.txt`` for the first stage and each reranker, each with its provenance, and where
    the recipe names qrels ``figures.json`` (per query too) and ``figures.tsv``; ``recipe.json`` is what was run.

    :raises RerankerKDError: an input that is missing or at fault, a model that cannot be loaded
    """
    topics = load_topics(recipe.topics)
    qrels = load_qrels(recipe.qrels) if recipe.qrels else None
    measures = parse_measures(recipe.evaluate.measures)
    with atomic_writer(output / "recipe.json") as stream:
        stream.write(recipe.model_dump_json(indent=2) + "\n")
    with faults_named_in(recipe.candidates):
        runs = _runs(recipe, topics, output, quiet=quiet)
    if qrels is None:
        return Experiment(tuple(runs), ())
    level = recipe.evaluate.relevance_level
    evaluated = tuple(
        EvaluatedRun(finished.name, evaluate_run(finished.run, qrels, measures, relevance_level=level))
        for finished in runs
    )
    experiment = Experiment(tuple(runs), evaluated)
    figures = evaluation_json(
        evaluated, qrels=recipe.qrels or "", relevance_level=level, missing_as_zero=True, per_query=True
    )
    document = {**json.loads(figures), "milliseconds_per_query": experiment.milliseconds}
    with atomic_writer(output / "figures.json") as stream:
        stream.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    with atomic_writer(output / "figures.tsv") as stream:
        stream.write(evaluation_tsv(evaluated) + "\n")
    return experiment


def _runs(recipe: Recipe, topics: Topics, output: Path, *, quiet: bool) -> list[FinishedRun]:
    index: LuceneIndex | None = None
    if recipe.index or not recipe.candidates:
        index = _open_index(recipe, output, quiet=quiet)
    if recipe.candidates:
        run = read_run(recipe.candidates)
        check_topics(run, topics)
        record: dict[str, Any] = {"candidates": file_record(recipe.candidates)}
        finished = [FinishedRun("candidates", Path(recipe.candidates), run, None)]
    else:
        assert index is not None
        finished, record = _first_stage(recipe, topics, index, output, quiet=quiet)
        run = finished[0].run
    record |= {"topics": recipe.topics, "texts": recipe.index or recipe.collection}
    if not recipe.rerank:
        return finished
    texts = _texts(recipe, index, run, max(depth_of(reranking.model, reranking.depth) for reranking in recipe.rerank))
    for reranking in recipe.rerank:
        finished.append(_rerank(reranking, run, topics, texts, output, record, quiet=quiet))
    return finished


def _open_index(recipe: Recipe, output: Path, *, quiet: bool) -> LuceneIndex:
    from reranker_kd.progress import progress_bar
    from reranker_kd.retrieve.indexing import build_index
    from reranker_kd.retrieve.lucene import LuceneIndex

    if recipe.index:
        return LuceneIndex(recipe.index)
    assert recipe.collection is not None
    folder = output / "index"
    with progress_bar("indexing", None, "documents", quiet=quiet) as bar:
        build_index(recipe.collection, folder, threads=recipe.retrieve.threads, overwrite=True, on_progress=bar.advance)
    return LuceneIndex(folder)


def _first_stage(
    recipe: Recipe, topics: Topics, index: LuceneIndex, output: Path, *, quiet: bool
) -> tuple[list[FinishedRun], dict[str, Any]]:
    settings = _settings(recipe)
    retrieved = retrieve(
        index, topics, settings, hits=recipe.retrieve.hits, threads=recipe.retrieve.threads, quiet=quiet
    )
    path = output / f"run.{settings.name}.txt"
    write_retrieved(retrieved, RunOutput(path, hits=recipe.retrieve.hits), settings, topics_name=recipe.topics)
    milliseconds = 1000 * retrieved.seconds / max(1, len(topics))
    return [FinishedRun(settings.name, path, retrieved.run, milliseconds)], {"candidates": file_record(path)}


def _settings(recipe: Recipe) -> SearchSettings:
    from reranker_kd.retrieve.lucene import SearchSettings

    return SearchSettings(**recipe.retrieve.model_dump(exclude={"hits", "threads"}))


def _texts(recipe: Recipe, index: LuceneIndex | None, run: Run, depth: int) -> TextSource:
    if index is not None:
        return texts_of_index(index, threads=recipe.retrieve.threads)
    assert recipe.collection is not None
    return texts_of_collection(recipe.collection, docids_within(run, depth))


def _rerank(
    reranking: Reranking,
    run: Run,
    topics: Topics,
    texts: TextSource,
    output: Path,
    record: dict[str, Any],
    *,
    quiet: bool,
) -> FinishedRun:
    name = run_name(reranking)
    path = output / f"run.{name}.txt"
    reranker = load_reranker(reranking.model, **model_keywords(reranking.model_dump()))
    depth = depth_of(reranking.model, reranking.depth)
    if reranking.budget_ms is not None:
        budget = Budget(reranking.budget_ms)
        reranker, plan = keep_to_budget(budget, reranker, reranking.model, run, topics, texts, depth)
        depth = plan.depths[0]
        record = {**record, "budget": asdict(plan)}
        if not quiet:
            sys.stderr.write(f"{name}: {plan}\n")
    reranked, seconds = rerank_and_write(
        run,
        topics,
        texts,
        reranker,
        RunOutput(path, tag=name),
        name=name,
        depth=depth,
        record=record,
        quiet=quiet,
    )
    return FinishedRun(name, path, reranked.run, 1000 * seconds / max(1, len(run)))
