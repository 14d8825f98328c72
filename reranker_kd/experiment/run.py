"""An experiment as a recipe declares it: candidates, reranked runs, figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reranker_kd.evaluate.evaluation import Evaluation, evaluate
from reranker_kd.evaluate.grid import tab_separated
from reranker_kd.evaluate.measures import parse_measures
from reranker_kd.evaluate.tables import evaluation_json, evaluation_table
from reranker_kd.experiment.recipe import Recipe
from reranker_kd.experiment.stages import FinishedRun, index_collection, reranked_run, retrieve_run
from reranker_kd.formats.files import atomic_writer
from reranker_kd.formats.runs import read_run
from reranker_kd.rerank.rerank_run import docids_within
from reranker_kd.retrieve.named_inputs import faults_named_in, load_qrels, load_topics, open_index, texts_of
from reranker_kd.types import Topics

if TYPE_CHECKING:
    from reranker_kd.retrieve.lucene import LuceneIndex


@dataclass(frozen=True, slots=True)
class Experiment:
    """What a recipe brought: the first-stage run, the reranked ones in the recipe's order, figures if it has qrels."""

    runs: tuple[FinishedRun, ...]
    evaluated: tuple[tuple[str, Evaluation], ...]

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
    topics = load_topics(recipe.topics, recipe.topics_format)
    qrels = load_qrels(recipe.qrels) if recipe.qrels else None
    # An unknown measure is an error before anything runs.
    parse_measures(measures := recipe.evaluate.measures)
    with atomic_writer(output / "recipe.json") as stream:
        stream.write(recipe.model_dump_json(indent=2) + "\n")
    index = output / "index"
    runs = tuple(runs_of(recipe, topics, lambda name: output / f"run.{name}.txt", index, quiet=quiet))
    if qrels is None:
        return Experiment(runs, ())
    level = recipe.evaluate.relevance_level
    evaluated = tuple(
        (finished.name, evaluate(finished.run, qrels, measures, relevance_level=level)) for finished in runs
    )
    experiment = Experiment(runs, evaluated)
    figures = evaluation_json(
        evaluated, qrels=recipe.qrels or "", relevance_level=level, missing_as_zero=True, per_query=True
    )
    document = {**json.loads(figures), "milliseconds_per_query": experiment.milliseconds}
    with atomic_writer(output / "figures.json") as stream:
        stream.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    with atomic_writer(output / "figures.tsv") as stream:
        stream.write(tab_separated(evaluation_table(evaluated)) + "\n")
    return experiment


def runs_of(
    recipe: Recipe,
    topics: Topics,
    path_of: Callable[[str], Path | None],
    new_index: Path | None = None,
    *,
    quiet: bool = False,
) -> Iterator[FinishedRun]:
    """Yield the first-stage run and each reranked one, as they are finished.

    :param topics: those of the recipe, read
    :param path_of: from a run's name to its file; candidates without one are retrieved and not written
    :param new_index: where a collection is indexed, if candidates are to be retrieved from it
    :raises RerankerKDError: an input that is missing or at fault, a model that cannot be loaded
    """
    index: LuceneIndex | str | None = recipe.index
    record: dict[str, Any] = {"topics": recipe.topics}
    if recipe.candidates:
        first = FinishedRun("candidates", Path(recipe.candidates), read_run(recipe.candidates), None, {})
    else:
        folder = recipe.index or new_index
        assert folder is not None
        if recipe.collection:
            index_collection(recipe.collection, Path(folder), threads=recipe.retrieve.threads, quiet=quiet)
        index = opened = open_index(folder)
        first = retrieve_run(opened, topics, recipe.retrieve, path_of(recipe.retrieve.name), record, quiet=quiet)
    yield first
    record |= {"candidates": first.origin, "texts": recipe.index or recipe.collection}
    deepest = max((reranking.full_depth for reranking in recipe.rerank), default=0)
    texts = None
    if record["texts"]:
        collection = None if index else recipe.collection
        texts = texts_of(index, collection, docids_within(first.run, deepest), threads=recipe.retrieve.threads)
    for reranking in recipe.rerank:
        path = path_of(reranking.run_name)
        with faults_named_in(recipe.candidates):
            finished = reranked_run(reranking, first.run, topics, texts, path, record, quiet=quiet)
        yield finished
