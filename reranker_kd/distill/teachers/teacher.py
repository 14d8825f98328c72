"""Teachers: whatever scores the pairs of a transfer set, be it a model, a run, human grades, or several of them.

What a recipe says of them is in :mod:`reranker_kd.distill.teachers.settings`; :func:`make_teacher` makes them of that.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reranker_kd.distill.data.transfer_set import ScoredPair, TransferSet
from reranker_kd.distill.teachers.score_cache import ScoreCache, cached_scores
from reranker_kd.distill.teachers.settings import (
    Absent,
    EnsembleSettings,
    ModelSettings,
    Normalisation,
    QrelsSettings,
    RunSettings,
    TeacherSettings,
    Use,
    teacher_settings,
)
from reranker_kd.errors import InputError
from reranker_kd.evaluate.agreement import z_scores
from reranker_kd.formats.qrels import read_qrels
from reranker_kd.formats.runs import read_run
from reranker_kd.provenance import file_record
from reranker_kd.rerank.base import Pair, Progress, Reranker, no_progress
from reranker_kd.rerank.options import RerankOptions
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.types import FloatArray, Qrels, Run

_Scores = npt.NDArray[np.float64]


class Teacher(ABC):
    """Gives its opinion of query-document pairs."""

    @abstractmethod
    def scores(self, ts: TransferSet, pairs: Sequence[ScoredPair], on_progress: Progress = no_progress) -> FloatArray:
        """Return the score of each (qid, docid), float32 (n,), higher is more relevant; NaN where it has no opinion.

        :param ts: the texts behind the ids
        :param on_progress: called with the number of pairs done since the last call, ``len(pairs)`` in all
        :raises InputError: an id that the transfer set lacks, where the texts are needed
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return what identifies this teacher, as JSON values."""


class ModelTeacher(Teacher):
    """Any reranker, which scores every pair, those of augmented texts too; its scores are kept.

    :param cache_folder: of all scorers' caches (see :class:`ScoreCache`)
    :param settings: what the reranker was loaded with: it identifies one that describes itself by no content hash
    """

    def __init__(self, reranker: Reranker, cache_folder: str | Path, settings: Mapping[str, Any] | None = None) -> None:
        self._reranker = reranker
        described = reranker.describe()
        if "sha256" in described:
            # A model is the same by whatever name it was asked for.
            key = {name: value for name, value in described.items() if name != "name"}
        else:
            key = {**described, "settings": dict(settings or {})}
        self._cache = ScoreCache(cache_folder, key)

    def scores(self, ts: TransferSet, pairs: Sequence[ScoredPair], on_progress: Progress = no_progress) -> FloatArray:
        """Return the reranker's score of each pair, long documents by passages."""
        return cached_scores(self._reranker, _texts_of(ts, pairs), self._cache, on_progress=on_progress)

    def describe(self) -> dict[str, Any]:
        """Return what the reranker says of itself."""
        return {"teacher": "model", **self._reranker.describe()}


class _TableTeacher(Teacher):
    """Scores by qid and docid that are there already; it needs no texts and knows no augmented ones."""

    def __init__(
        self, scores: Mapping[str, Mapping[str, float]], absent: Mapping[str, float], description: Mapping[str, Any]
    ) -> None:
        self._scores = scores
        # The score of any other document of a query; queries that it lacks give NaN.
        self._absent = absent
        self._description = description

    def scores(
        self,
        ts: TransferSet,  # noqa: ARG002
        pairs: Sequence[ScoredPair],
        on_progress: Progress = no_progress,
    ) -> FloatArray:
        """Return what the table has for each pair."""
        nothing: Mapping[str, float] = {}
        found = [self._scores.get(qid, nothing).get(docid, self._absent.get(qid, np.nan)) for qid, docid in pairs]
        on_progress(len(pairs))
        return np.asarray(found, dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        """Return where the table came from and how it is used."""
        return dict(self._description)


class RunTeacher(_TableTeacher):
    """The scores or the ranks of a run; it knows nothing of queries that the run lacks, such as augmented ones.

    :param run: documents in rank order
    :param use: ``score``; ``rank`` for -rank; ``reciprocal_rank`` for 1 / (k + rank) (Cormack et al. 2009); rank from 1
    :param k: what dampens high ranks in reciprocal ranks
    :param absent: for documents that the run lacks, of a query that it has: ``unknown`` gives NaN, ``worst`` the
        lowest score of the query, or what the rank after the last gives
    :param source: where the run came from, as JSON values
    """

    def __init__(
        self,
        run: Run,
        *,
        use: Use = "score",
        k: int = 60,
        absent: Absent = "unknown",
        source: Mapping[str, Any] | None = None,
    ) -> None:
        def of_rank(rank: int) -> float:
            return -float(rank) if use == "rank" else 1 / (k + rank)

        scores, worst = run, {qid: min(documents.values()) for qid, documents in run.items() if documents}
        if use != "score":
            scores = {qid: {d: of_rank(rank) for rank, d in enumerate(docs, start=1)} for qid, docs in run.items()}
            worst = {qid: of_rank(len(documents) + 1) for qid, documents in run.items()}
        description = {"teacher": "run", "use": use, "k": k, "absent": absent, **(source or {})}
        super().__init__(scores, worst if absent == "worst" else {}, description)


class QrelsTeacher(_TableTeacher):
    """Human grades as they stand, negative ones too.

    :param unjudged: the score of an unjudged document of a query that has judgments; None for NaN
    :param source: where the qrels came from, as JSON values
    """

    def __init__(self, qrels: Qrels, *, unjudged: float | None = None, source: Mapping[str, Any] | None = None) -> None:
        absent = {} if unjudged is None else dict.fromkeys(qrels, unjudged)
        super().__init__(qrels, absent, {"teacher": "qrels", "unjudged": unjudged, **(source or {})})


def min_max(scores: _Scores) -> _Scores:
    """Map a query's scores (n,) to 0 to 1; where all are equal, to 0.5, which prefers nothing."""
    low, high = scores.min(), scores.max()
    return np.full_like(scores, 0.5) if low == high else (scores - low) / (high - low)


def raw(scores: _Scores) -> _Scores:
    """Take the scores as they are."""
    return scores


NORMALISATIONS: dict[Normalisation, Callable[[_Scores], _Scores]] = {"zscore": z_scores, "minmax": min_max, "raw": raw}
"""How an ensemble makes its members' scores comparable: functions of a member's scores of one query, without NaN."""


class EnsembleTeacher(Teacher):
    """The weighted mean of several teachers, their scores first normalised over each query's documents.

    A member without an opinion of a pair is left out there, and the weights of the others are taken to sum to 1: such
    a pair is scored on the others' scale, which is why normalised scores are the default. It is NaN where no member
    has an opinion.

    :param members: teachers, each with a weight above 0
    :param normalise: a name out of :data:`NORMALISATIONS`; over the distinct documents that are scored for a query
        and that the member has an opinion of
    """

    def __init__(self, members: Sequence[tuple[Teacher, float]], normalise: Normalisation = "zscore") -> None:
        if not members or not all(0 < weight < np.inf for _, weight in members):
            raise InputError("an ensemble needs members, each with a weight above 0")
        self._members = tuple(members)
        self._normalise = normalise

    def scores(self, ts: TransferSet, pairs: Sequence[ScoredPair], on_progress: Progress = no_progress) -> FloatArray:
        """Return the members' mean of each pair."""
        # A document that stands in two groups of a query counts once in its mean and deviation.
        places = {pair: place for place, pair in enumerate(dict.fromkeys(pairs))}
        rows_of: dict[str, list[int]] = {}
        for (qid, _), place in places.items():
            rows_of.setdefault(qid, []).append(place)
        queries = [np.asarray(rows) for rows in rows_of.values()]
        total = np.zeros(len(places))
        weights = np.zeros(len(places))
        share = len(pairs) / max(1, len(places) * len(self._members))
        for teacher, weight in self._members:
            own = teacher.scores(ts, list(places), lambda done: on_progress(done * share)).astype(np.float64)
            known = ~np.isnan(own)
            for rows in queries:
                rows = rows[known[rows]]
                if len(rows):
                    own[rows] = NORMALISATIONS[self._normalise](own[rows])
            total[known] += weight * own[known]
            weights[known] += weight
        means = np.full(len(places), np.nan)
        np.divide(total, weights, out=means, where=weights > 0)
        return means[[places[pair] for pair in pairs]].astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """Return the members with their weights."""
        members = [{"weight": weight, **teacher.describe()} for teacher, weight in self._members]
        return {"teacher": "ensemble", "normalise": self._normalise, "members": members}


class ScaledTeacher(Teacher):
    """What another teacher gives, times ``scale``, plus ``shift``.

    Losses take a teacher's scores for logits. Those that are none, such as cosines, become such by this: their order
    stays.

    :param teacher: whose scores are scaled; what it keeps on disk is as it gave it
    :param scale: above 0
    :param shift: added after that
    """

    def __init__(self, teacher: Teacher, scale: float = 1.0, shift: float = 0.0) -> None:
        if not (0 < scale < np.inf and np.isfinite(shift)):
            raise InputError(
                f"a teacher's scale is {scale}, its shift {shift}: give a scale above 0 and a finite shift"
            )
        self._teacher = teacher
        self._scale = scale
        self._shift = shift

    def scores(self, ts: TransferSet, pairs: Sequence[ScoredPair], on_progress: Progress = no_progress) -> FloatArray:
        """Return ``scale * score + shift`` of each pair."""
        given = self._teacher.scores(ts, pairs, on_progress)
        return (given * np.float64(self._scale) + self._shift).astype(np.float32)

    def describe(self) -> dict[str, Any]:
        """Return what the other teacher says, with scale and shift."""
        return {**self._teacher.describe(), "scale": self._scale, "shift": self._shift}


def make_teacher(settings: TeacherSettings | Mapping[str, Any], cache_folder: str | Path) -> Teacher:
    """Return the teacher that settings name.

    :param settings: checked, or keys and values as in a recipe
    :param cache_folder: where models keep their scores, shared by all students
    :raises RecipeError: an unknown key or a wrong value
    :raises ModelError: a model cannot be loaded
    :raises InputError: a file cannot be read
    :raises FormatError: a file is broken
    """
    settings = teacher_settings(settings)
    teacher = _MAKERS[type(settings)](settings, cache_folder)
    if (settings.scale, settings.shift) == (1.0, 0.0):
        return teacher
    return ScaledTeacher(teacher, settings.scale, settings.shift)


def _model_teacher(settings: ModelSettings, cache_folder: str | Path) -> Teacher:
    # What was left at its default is not passed on: a reranker of another package knows keywords of its own only.
    fields = RerankOptions.model_fields
    given = {name: getattr(settings, name, None) for name in fields}
    keywords = {name: value for name, value in given.items() if value not in (None, fields[name].default)}
    # Neither its share nor its scale bears on the scores that are kept.
    identity = settings.model_dump(exclude={"weight", "scale", "shift"})
    return ModelTeacher(load_reranker(settings.model, **keywords), cache_folder, identity)


def _run_teacher(settings: RunSettings, _cache_folder: str | Path) -> Teacher:
    run, source = read_run(settings.run), file_record(settings.run)
    return RunTeacher(run, use=settings.use, k=settings.k, absent=settings.absent, source=source)


def _qrels_teacher(settings: QrelsSettings, _cache_folder: str | Path) -> Teacher:
    qrels, source = read_qrels(settings.qrels), file_record(settings.qrels)
    return QrelsTeacher(qrels, unjudged=settings.unjudged, source=source)


def _ensemble_teacher(settings: EnsembleSettings, cache_folder: str | Path) -> Teacher:
    members = [(make_teacher(member, cache_folder), member.weight) for member in settings.ensemble]
    return EnsembleTeacher(members, settings.normalise)


_MAKERS: dict[type[TeacherSettings], Callable[[Any, str | Path], Teacher]] = {
    ModelSettings: _model_teacher,
    RunSettings: _run_teacher,
    QrelsSettings: _qrels_teacher,
    EnsembleSettings: _ensemble_teacher,
}


def _texts_of(ts: TransferSet, pairs: Sequence[ScoredPair]) -> list[Pair]:
    try:
        return [(ts.queries[qid], ts.documents[docid]) for qid, docid in pairs]
    except KeyError:
        qid, docid = next((q, d) for q, d in pairs if q not in ts.queries or d not in ts.documents)
        lacking = f"query {qid}" if qid not in ts.queries else f"document {docid}"
        raise InputError(f"the transfer set has no text of {lacking}: score pairs of the same set") from None
