"""A student fitted to a collection, of which nothing is known but its documents.

Queries are made out of the documents (:mod:`~reranker_kd.distill.data.pseudo_queries`), their candidates come by BM25
from an index without the sentences that became queries, an ensemble of teachers scores them, and the student goes on
from where it is. Whether that helped is measured on documents of which no query was learnt: by the place of the
document that a query was made of. If it did not, the model stays what it was.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from reranker_kd.distill.data.mining import Draw, mine_groups
from reranker_kd.distill.data.pseudo_queries import PseudoQueries, pseudo_queries
from reranker_kd.distill.data.sources import Validation, load_validation
from reranker_kd.distill.data.transfer_set import (
    DOCUMENTS_FILE,
    GROUPS_FILE,
    TransferSet,
    read_transfer_set,
    write_transfer_set,
)
from reranker_kd.distill.distill import WORK, distill
from reranker_kd.distill.recipe import DistillRecipe, ValidationSettings
from reranker_kd.distill.report.report import REPORT
from reranker_kd.errors import InputError
from reranker_kd.evaluate.evaluation import evaluate
from reranker_kd.formats.files import atomic_writer
from reranker_kd.formats.runs import write_run
from reranker_kd.models.kinds import kind_of
from reranker_kd.models.registry import DEFAULT_BI_ENCODER, bundled_students, model_folder
from reranker_kd.progress import note, progress_bar
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.types import Document, Run

MEASURE = "nDCG@10"
_DEPTH = 50
_DRAWS = (Draw("bm25", 9, depth=_DEPTH, top=3),)
_BATCH_GROUPS = 8
_EPOCHS = 2
# Documents held back at most: half of them choose the checkpoint, the others tell whether it helped.
_HELD_BACK, _HELD_BACK_SHARE = 600, 0.2


@dataclass(frozen=True, slots=True)
class Adaptation:
    """What came of an adaptation, over queries made of documents that were held back.

    :param queries: how many
    :param before: nDCG@10 of the model as it was
    :param after: that of the model fitted to the collection
    :param low: of the gain, the lower end of the 95% interval of a paired t-test
    :param high: the upper end
    """

    queries: int
    before: float
    after: float
    low: float
    high: float

    @property
    def helped(self) -> bool:
        """Whether the gain is more than chance."""
        return self.low > 0


def adapt(
    index: str | Path,
    output: str | Path,
    model: str = DEFAULT_BI_ENCODER,
    *,
    teachers: Sequence[str] = (),
    queries: int = 4000,
    seed: int = 1,
    quiet: bool = False,
) -> Adaptation:
    """Fit a model to the documents of an index; go on where an earlier call was stopped.

    :param index: a Lucene index that stores its documents' texts
    :param output: becomes the model's folder; it holds the old model where the new one is no better
    :param model: any student, bundled or in a folder
    :param teachers: rerankers, whose scores are averaged, with 0.3 of BM25's; without any the bundled students, whose
        mean knows more than each of them
    :param queries: how many are made to learn from, at most
    :raises InputError: too few documents with more than one sentence; the folder holds something else
    """
    output = Path(output)
    work = output / WORK
    teachers = list(teachers or bundled_students())
    _claim(output, {"index": str(index), "model": model, "teachers": teachers, "queries": queries, "seed": seed})
    kept = output / REPORT / "adaptation.json"
    if kept.is_file():
        adaptation = Adaptation(**json.loads(kept.read_text(encoding="utf-8")))
    else:
        if not (work / "pseudo-queries" / GROUPS_FILE).is_file():
            _make(index, work, queries, seed, quiet=quiet)
        distill(_recipe(work, model, teachers, seed), output, quiet=quiet)
        adaptation = _measured(work, model, output)
        with atomic_writer(kept) as stream:
            json.dump(asdict(adaptation), stream, indent=2)
            stream.write("\n")
    if not adaptation.helped:
        # After what was measured is kept: a call that is killed here does it again.
        _put_back(model_folder(model), output)
    return adaptation


def _claim(output: Path, request: dict[str, Any]) -> None:
    """Raise :class:`InputError` where a folder holds anything but the work of the same request."""
    claim = output / WORK / "adaptation.json"
    if claim.is_file():
        begun = json.loads(claim.read_text(encoding="utf-8"))
        if changed := sorted(key for key in request if begun.get(key) != request[key]):
            raise InputError(
                f"{output}: another adaptation was begun here ({', '.join(changed)} differ): name another --output"
            )
    elif output.is_file() or (output.is_dir() and any(path.name != WORK for path in output.iterdir())):
        raise InputError(f"{output}: is there already, and no adaptation to go on with: name another --output")
    with atomic_writer(claim) as stream:
        json.dump(request, stream, indent=2)


def _measured(work: Path, model: str, output: Path) -> Adaptation:
    reported = load_validation(_held_back(work, "reported"))
    before, after = (_per_query(reported, name) for name in (model, str(output)))
    tested = stats.ttest_rel(after, before).confidence_interval()
    low, high = (0.0, 0.0) if np.array_equal(before, after) else (float(tested.low), float(tested.high))
    return Adaptation(len(before), float(before.mean()), float(after.mean()), low, high)


def _per_query(held_back: Validation, model: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    measured = evaluate(held_back.rerank(load_reranker(model)), held_back.qrels, [MEASURE])
    return np.array(list(measured.per_query[MEASURE].values()))


def _put_back(model: Path, output: Path) -> None:
    """Replace all but work and report by another model's files."""
    for path in output.iterdir():
        if path.name not in {WORK, REPORT}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.copytree(model, output, dirs_exist_ok=True, ignore=shutil.ignore_patterns(WORK, REPORT))


def _recipe(work: Path, model: str, teachers: Sequence[str], seed: int) -> DistillRecipe:
    folder = model_folder(model)
    kind = kind_of(folder)
    network = kind.load(folder)
    # A cross-encoder of transformers does not say how much it reads.
    length = {}
    if network.shape.max_length is None:
        length = {"max_length": min(kind.encoder(network).config.max_position_embeddings, 256)}
    shape = network.shape.model_dump(exclude={"start", "random", "head"}) | length
    groups = len(read_transfer_set(work / "pseudo-queries").groups)
    members: list[Mapping[str, Any]] = [{"run": str(work / "run.bm25.txt"), "weight": 0.3}]
    members += [{"model": teacher} for teacher in teachers]
    return DistillRecipe.model_validate(
        {
            "method": "rank-kl",
            "seed": seed,
            "teacher": {"ensemble": members, "scale": 4},
            "student": {**shape, "start": model, "head": "copied"},
            "transfer_set": {"folder": str(work / "pseudo-queries")},
            "training": {
                "steps": max(1, _EPOCHS * groups // _BATCH_GROUPS),
                "batch_groups": _BATCH_GROUPS,
                # An LSTM takes ten times what a transformer does.
                "learning_rate": 3e-5 if kind.encoder(network) is not None else 3e-4,
                "save_every": 100,
            },
            "validation": _held_back(work, "choosing"),
        }
    )


def _held_back(work: Path, name: str) -> ValidationSettings:
    folder = work / name
    return ValidationSettings(
        topics=str(folder / "topics.tsv"),
        qrels=str(folder / "qrels.txt"),
        candidates=str(folder / "run.bm25.txt"),
        collection=str(work / "documents" / DOCUMENTS_FILE),
        depth=_DEPTH,
    )


def _make(index: str | Path, work: Path, count: int, seed: int, *, quiet: bool) -> None:
    """Write what is learnt from and what is held back."""
    from reranker_kd.retrieve.indexing import build_index
    from reranker_kd.retrieve.lucene import LuceneIndex, SearchSettings

    source = LuceneIndex(index)
    # A document makes two or three queries.
    texts = source.sample(max(2 * count, 1000), seed)
    source.close()
    made = pseudo_queries(texts, seed)
    learnt, held_back = _parts(made, count, seed)
    masked = work / "documents" / "index"
    with progress_bar("indexing documents without their queries", len(texts), "documents", quiet=quiet) as bar:
        documents = (Document(docid, text) for docid, text in made.documents.items())
        build_index(documents, masked, threads=2, overwrite=True, on_progress=bar.advance)
    topics = {qid: made.queries[qid] for qid in (*learnt, *held_back)}
    with progress_bar("retrieving", len(topics), "queries", quiet=quiet) as bar:
        run = LuceneIndex(masked).search(topics, SearchSettings(hits=_DEPTH), bar.advance)
    # A query whose document BM25 does not find tells nothing of a reranker.
    held_back = [qid for qid in held_back if made.sources[qid] in run[qid]]
    choosing, reported = held_back[::2], held_back[1::2]
    if len(learnt) < _BATCH_GROUPS or len(reported) < 2:
        raise InputError(
            f"{index}: {len(made.queries)} queries can be made of {len(texts)} documents, too few to learn from and to "
            "measure with: index more documents, of more than one sentence each"
        )
    with atomic_writer(work / "documents" / DOCUMENTS_FILE) as stream:
        stream.writelines(json.dumps({"id": key, "contents": text}) + "\n" for key, text in made.documents.items())
    write_run(work / "run.bm25.txt", {qid: found for qid, found in run.items() if found})
    for name, qids in {"choosing": choosing, "reported": reported}.items():
        _write_held_back(work / name, made, qids, run)
    # What the document that a query was made of teaches, it teaches in each group: it counts as judged relevant.
    qrels = {qid: {made.sources[qid]: 1} for qid in learnt}
    groups = mine_groups(
        {qid: topics[qid] for qid in learnt}, {"bm25": run}, _DRAWS, qrels=qrels, positives=1, seed=seed
    )
    used = {docid: made.documents[docid] for group in groups for docid in group.docids}
    transfer_set = TransferSet({group.qid: topics[group.qid] for group in groups}, used, groups)
    write_transfer_set(work / "pseudo-queries", transfer_set)
    if not quiet:
        note(f"{len(groups)} queries to learn from, {len(choosing)} to choose by, {len(reported)} to report on")


def _parts(made: PseudoQueries, count: int, seed: int) -> tuple[list[str], list[str]]:
    """Return the qids to learn from and those of documents held back, whose other queries nobody sees."""
    docids = np.random.default_rng(seed).permutation(sorted(set(made.sources.values()))).tolist()
    by_document: dict[str, list[str]] = {docid: [] for docid in docids}
    for qid, docid in made.sources.items():
        by_document[docid].append(qid)
    size = min(_HELD_BACK, round(len(docids) * _HELD_BACK_SHARE))
    # One of each document, the title where it has one.
    held_back = [by_document[docid][0] for docid in docids[:size]]
    return [qid for docid in docids[size:] for qid in by_document[docid]][:count], held_back


def _write_held_back(folder: Path, made: PseudoQueries, qids: Iterable[str], run: Run) -> None:
    with atomic_writer(folder / "topics.tsv") as stream:
        stream.writelines(f"{qid}\t{made.queries[qid]}\n" for qid in qids)
    with atomic_writer(folder / "qrels.txt") as stream:
        stream.writelines(f"{qid} 0 {made.sources[qid]} 1\n" for qid in qids)
    write_run(folder / "run.bm25.txt", {qid: run[qid] for qid in qids})
