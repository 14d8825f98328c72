"""Where transfer sets and validation topics come from: files, an index, runs."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from reranker_kd.distill.data.augmentation import augment
from reranker_kd.distill.data.mining import RANDOM, mine_groups
from reranker_kd.distill.data.transfer_set import TransferSet
from reranker_kd.distill.recipe import TransferSettings, ValidationSettings
from reranker_kd.errors import InputError
from reranker_kd.evaluate.evaluation import evaluate
from reranker_kd.evaluate.measures import parse_measure
from reranker_kd.formats.collections import read_collection, read_texts
from reranker_kd.formats.runs import read_run
from reranker_kd.progress import progress_bar
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.rerank_run import check_topics, docids_within, rerank_run
from reranker_kd.retrieve.named_inputs import load_qrels, load_topics
from reranker_kd.types import Document, Qrels, Run, Topics

Value = TypeVar("Value")

BM25 = "bm25"
"""The source of candidates that is retrieved where a recipe draws from it and names no run of that name."""


def make_transfer_set(settings: TransferSettings, work: Path, seed: int, *, quiet: bool = False) -> TransferSet:
    """Return the transfer set of a recipe: candidates retrieved, groups drawn, texts augmented.

    The collection is read as a stream, several times: what stays in memory are the texts of the groups, and for draws
    at random the docids.

    :param work: where an index is built, if one is needed
    :raises InputError: no query has two candidates
    """
    topics = _queries(settings.queries)
    if settings.max_queries is not None:
        topics = dict(list(topics.items())[: settings.max_queries])
    collection = settings.collection
    sources = {draw.source for draw in settings.draws}
    runs = {name: read_run(path) for name, path in settings.runs.items()}
    if BM25 in sources and BM25 not in runs:
        deepest = max(draw.depth or 1000 for draw in settings.draws if draw.source == BM25)
        runs[BM25] = _retrieve(settings.index, collection, topics, deepest, work, quiet=quiet)
    qrels = load_qrels(settings.qrels) if settings.qrels else None
    # Runs and qrels of the whole of MS MARCO name passages that a smaller collection lacks.
    lists: list[Mapping[str, Mapping[str, object]]] = [*runs.values(), qrels or {}]
    named = {docid for listed in lists for qid in topics for docid in listed.get(qid, ())}
    docids = [each.docid for each in _documents(collection) if RANDOM in sources or each.docid in named]
    present = named.intersection(docids)
    groups = mine_groups(
        topics,
        {name: _within(run, present) for name, run in runs.items()},
        settings.draws,
        collection=docids,
        qrels=None if qrels is None else _within(qrels, present),
        positives=settings.positives,
        relevance_level=settings.relevance_level,
        seed=seed,
    )
    if not groups:
        raise InputError(f"empty transfer set: none of {len(topics)} queries has two candidates in the collection")
    queries = {group.qid: " ".join(topics[group.qid].split()) for group in groups}
    used = dict.fromkeys(docid for group in groups for docid in group.docids)
    texts = {document.docid: document.text for document in _documents(collection) if document.docid in used}
    made = TransferSet(queries, {docid: texts[docid] for docid in used}, groups)
    return augment(made, settings.augment, seed) if settings.augment else made


def _within(lists: Mapping[str, Mapping[str, Value]], docids: Container[str]) -> dict[str, dict[str, Value]]:
    return {qid: {d: value for d, value in found.items() if d in docids} for qid, found in lists.items()}


def _queries(files: Iterable[str]) -> Topics:
    queries: dict[str, str] = {}
    for file in files:
        for qid, text in load_topics(file).items():
            if queries.setdefault(qid, text) != text:
                raise InputError(f"{file}: query {qid} has another text in another file")
    return queries


def _documents(collection: Collection[str]) -> Iterator[Document]:
    """Yield the documents with a text, those of several collections once."""
    # Hashes, which are enough to find a docid again, and a text changed.
    texts: dict[int, int] = {}
    for place in collection:
        for document in read_collection(place):
            if len(collection) > 1:
                known, text = len(texts), hash(document.text)
                if texts.setdefault(hash(document.docid), text) != text:
                    raise InputError(f"{place}: document {document.docid} has another text in another collection")
                if len(texts) == known:
                    continue
            if document.text.strip():
                yield document


def _retrieve(
    index: str | None, collection: Collection[str], topics: Topics, hits: int, work: Path, *, quiet: bool
) -> Run:
    from reranker_kd.retrieve.indexing import build_index
    from reranker_kd.retrieve.lucene import LuceneIndex, SearchSettings

    if index is None:
        index = str(work / "index")
        if not Path(index).is_dir():
            with progress_bar("indexing", None, "documents", quiet=quiet) as bar:
                build_index(_documents(collection), index, threads=2, on_progress=bar.advance)
    with progress_bar("retrieving", len(topics), "topics", quiet=quiet) as bar:
        return LuceneIndex(index).search(topics, SearchSettings(hits=hits), bar.advance)


@dataclass(frozen=True, slots=True)
class Validation:
    """Topics by which a checkpoint is chosen, with everything that measuring takes."""

    settings: ValidationSettings
    topics: Topics
    qrels: Qrels
    candidates: Run
    texts: dict[str, str]

    def measure(self, run: Run) -> float:
        """Return the measure of a run over these topics."""
        return evaluate(run, self.qrels, [self.settings.measure]).means[self.settings.measure]

    @property
    def name(self) -> str:
        """What it is called where there are several: ``dl21`` of ``topics.dl21.tsv``, ``med`` of ``med/topics.tsv``."""
        path = Path(self.settings.topics)
        first, *others = path.name.removeprefix("topics.").split(".")
        return first if others else path.absolute().parent.name

    def first_stage(self) -> Run:
        """Return the candidates as they came, to the depth that is reranked."""
        return {qid: dict(list(documents.items())[: self.settings.depth]) for qid, documents in self.candidates.items()}

    def rerank(self, reranker: Reranker) -> Run:
        """Return the candidates as a student reranks them."""
        return rerank_run(self.candidates, self.topics, lambda _: self.texts, reranker, depth=self.settings.depth).run


def load_validation(settings: ValidationSettings) -> Validation:
    """Read the validation topics, their qrels, candidates and texts.

    :raises InputError: candidates whose topics or texts are missing
    """
    # An unknown one is known now, not after the training.
    parse_measure(settings.measure)
    topics = load_topics(settings.topics)
    candidates = read_run(settings.candidates)
    check_topics(candidates, topics)
    texts = read_texts(settings.collection, docids_within(candidates, settings.depth))
    return Validation(settings, topics, load_qrels(settings.qrels), candidates, texts)
