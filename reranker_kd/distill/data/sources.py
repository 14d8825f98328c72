"""Where transfer sets and validation topics come from: files, an index, runs."""

from __future__ import annotations

import json
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from reranker_kd.distill.data.augmentation import augment
from reranker_kd.distill.data.mining import RANDOM, mine_groups
from reranker_kd.distill.data.transfer_set import Group, TransferSet
from reranker_kd.distill.recipe import TransferSettings, ValidationSettings
from reranker_kd.errors import InputError
from reranker_kd.evaluate.evaluation import evaluate_run
from reranker_kd.evaluate.measures import parse_measures
from reranker_kd.formats.collections import read_collection, read_texts
from reranker_kd.formats.files import atomic_writer
from reranker_kd.formats.runs import read_run
from reranker_kd.progress import progress_bar
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.rerank.rerank_run import check_topics, docids_within, rerank_run
from reranker_kd.retrieve.named_inputs import load_qrels, load_topics
from reranker_kd.types import Qrels, Run, Topics

Value = TypeVar("Value")

BM25 = "bm25"
"""The source of candidates that is retrieved where a recipe draws from it and names no run of that name."""


def make_transfer_set(settings: TransferSettings, work: Path, seed: int, *, quiet: bool = False) -> TransferSet:
    """Return the transfer set of a recipe: candidates retrieved, groups drawn, texts augmented.

    :param work: where an index is built, if one is needed
    :raises InputError: no query has two candidates
    """
    assert settings.queries is not None and settings.collection is not None
    topics = _queries(settings.queries)
    if settings.max_queries is not None:
        topics = dict(list(topics.items())[: settings.max_queries])
    runs = {name: read_run(path) for name, path in settings.runs.items()}
    sources = {draw.source for draw in settings.draws}
    documents = _documents(settings.collection)
    if BM25 in sources and BM25 not in runs:
        deepest = max(draw.depth or 1000 for draw in settings.draws if draw.source == BM25)
        runs[BM25] = _retrieve(settings.index, documents, topics, deepest, work, quiet=quiet)
    qrels = load_qrels(settings.qrels) if settings.qrels else None
    runs = {name: _within(run, documents) for name, run in runs.items()}
    mined = mine_groups(
        topics,
        runs,
        settings.draws,
        collection=list(documents) if RANDOM in sources else (),
        qrels=None if qrels is None else _within(qrels, documents),
        positives=settings.positives,
        relevance_level=settings.relevance_level,
        seed=seed,
    )
    if not mined.groups:
        raise InputError(f"empty transfer set: none of {len(topics)} queries has two candidates in the collection")
    made = _with_texts(mined.groups, topics, documents)
    return augment(made, settings.augment, seed) if settings.augment else made


def _within(lists: Mapping[str, Mapping[str, Value]], documents: Container[str]) -> dict[str, dict[str, Value]]:
    # Runs and qrels of the whole of MS MARCO name passages that a smaller collection lacks.
    return {qid: {d: value for d, value in found.items() if d in documents} for qid, found in lists.items()}


def _with_texts(groups: tuple[Group, ...], topics: Topics, documents: dict[str, str]) -> TransferSet:
    used = dict.fromkeys(docid for group in groups for docid in group.docids)
    queries = {group.qid: " ".join(topics[group.qid].split()) for group in groups}
    return TransferSet(queries, {docid: documents[docid] for docid in used}, groups)


def _queries(files: str | tuple[str, ...]) -> Topics:
    queries: dict[str, str] = {}
    for file in (files,) if isinstance(files, str) else files:
        for qid, text in load_topics(file).items():
            if queries.setdefault(qid, text) != text:
                raise InputError(f"{file}: query {qid} has another text in another file")
    return queries


def _documents(collection: str | tuple[str, ...]) -> dict[str, str]:
    documents: dict[str, str] = {}
    for place in (collection,) if isinstance(collection, str) else collection:
        for document in read_collection(place):
            if documents.setdefault(document.docid, document.text) != document.text:
                raise InputError(f"{place}: document {document.docid} has another text in another collection")
    return {docid: text for docid, text in documents.items() if text.strip()}


def _retrieve(
    index: str | None, documents: dict[str, str], topics: Topics, hits: int, work: Path, *, quiet: bool
) -> Run:
    from reranker_kd.retrieve.indexing import build_index
    from reranker_kd.retrieve.lucene import LuceneIndex, SearchSettings

    if index is None:
        index = str(work / "index")
        if not Path(index).is_dir():
            # Of the documents as they were read, whatever number of files they came from.
            collection = work / "collection.jsonl"
            with atomic_writer(collection) as stream:
                for docid, text in documents.items():
                    stream.write(json.dumps({"id": docid, "contents": text}, ensure_ascii=False) + "\n")
            with progress_bar("indexing", len(documents), "documents", quiet=quiet) as bar:
                build_index(collection, index, threads=2, on_progress=bar.advance)
    with progress_bar("retrieving", len(topics), "topics", quiet=quiet) as bar:
        lucene = LuceneIndex(index)
        return lucene.search(topics, hits=hits, threads=2, settings=SearchSettings(), on_progress=bar.advance)


@dataclass(frozen=True, slots=True)
class Validation:
    """Topics by which a checkpoint is chosen, with everything that measuring takes."""

    settings: ValidationSettings
    topics: Topics
    qrels: Qrels
    candidates: Run
    texts: dict[str, str]

    def measure(self, model: Path) -> float:
        """Return the measure of the candidates as a model reranks them."""
        run = self.rerank(model)
        (measure,) = parse_measures([self.settings.measure])
        return float(evaluate_run(run, self.qrels, [measure]).means[measure.name])

    def first_stage(self) -> Run:
        """Return the candidates as they came, to the depth that is reranked."""
        return {qid: dict(list(documents.items())[: self.settings.depth]) for qid, documents in self.candidates.items()}

    def rerank(self, model: Path) -> Run:
        """Return the candidates as a model reranks them."""
        reranker = load_reranker(model, backend="torch")
        return rerank_run(self.candidates, self.topics, lambda _: self.texts, reranker, depth=self.settings.depth).run


def load_validation(settings: ValidationSettings) -> Validation:
    """Read the validation topics, their qrels, candidates and texts.

    :raises InputError: candidates whose topics or texts are missing
    """
    # An unknown one is known now, not after the training.
    parse_measures([settings.measure])
    topics = load_topics(settings.topics)
    candidates = read_run(settings.candidates)
    check_topics(candidates, topics)
    texts = read_texts(settings.collection, docids_within(candidates, settings.depth))
    return Validation(settings, topics, load_qrels(settings.qrels), candidates, texts)
