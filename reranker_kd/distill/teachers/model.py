"""A model as teacher: any reranker, whose scores are kept on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reranker_kd.distill.data.transfer_set import ScoredPair, TransferSet
from reranker_kd.distill.teachers.base import Place, Teacher, TeacherSettings
from reranker_kd.distill.teachers.score_cache import ScoreCache, cached_scores
from reranker_kd.errors import InputError
from reranker_kd.inference.options import ModelOptions
from reranker_kd.rerank.base import Progress, Reranker, no_progress
from reranker_kd.rerank.long_documents import LongDocuments
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.types import FloatArray


class ModelSettings(TeacherSettings, ModelOptions, LongDocuments):
    """Any reranker: a folder, a registered name, a hub id; it scores every pair, augmented ones too.

    Names and defaults are those of ``reranker-kd rerank``.
    """

    model: Place

    def make(self, cache_folder: str | Path) -> Teacher:
        # What was left at its default is not passed on: a reranker of another package knows keywords of its own only.
        options = self.model_dump(
            include={*ModelOptions.model_fields, *LongDocuments.model_fields}, exclude_defaults=True
        )
        # Neither its share nor its scale bears on the scores that are kept.
        identity = self.model_dump(exclude={"weight", "scale", "shift"})
        return ModelTeacher(load_reranker(self.model, **options), cache_folder, identity)


class ModelTeacher(Teacher):
    """Any reranker, which scores every pair, those of augmented texts too; its scores are kept.

    :param cache_folder: of all scorers' caches (see :class:`ScoreCache`)
    :param settings: what the reranker was loaded with: it identifies one that describes itself by no content hash
    """

    def __init__(self, reranker: Reranker, cache_folder: str | Path, settings: Mapping[str, Any] | None = None) -> None:
        self._reranker = reranker
        described = reranker.describe()
        # A model is the same by whatever name it was asked for, and scores pairs alike beside any first stage.
        by_content = {name: value for name, value in described.items() if name not in ("name", "interpolate")}
        by_settings = {**described, "settings": dict(settings or {})}
        self._cache = ScoreCache(cache_folder, by_content if "sha256" in described else by_settings)

    def scores(self, ts: TransferSet, pairs: Sequence[ScoredPair], on_progress: Progress = no_progress) -> FloatArray:
        """Return the reranker's score of each pair, long documents by passages."""
        for qid, docid in pairs:
            if qid not in ts.queries or docid not in ts.documents:
                missing = f"query {qid}" if qid not in ts.queries else f"document {docid}"
                raise InputError(f"the transfer set has no text of {missing}: score pairs of the same set")
        texts = [(ts.queries[qid], ts.documents[docid]) for qid, docid in pairs]
        return cached_scores(self._reranker, texts, self._cache, on_progress=on_progress)

    def describe(self) -> dict[str, Any]:
        return {"teacher": "model", **self._reranker.describe()}
