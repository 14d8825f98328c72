"""A model as teacher: a reranker's scores, a bi-encoder's embeddings, computed once and kept for all students."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reranker_kd.distill.data.transfer_set import ScoredPair, TransferSet
from reranker_kd.distill.students import build_student
from reranker_kd.distill.teachers.base import Place, StudentShape, Teacher, TeacherSettings
from reranker_kd.distill.teachers.score_cache import ScoreCache, cached_scores
from reranker_kd.errors import InputError, ModelError, RecipeError
from reranker_kd.formats.files import atomic_folder, save_array
from reranker_kd.inference.options import ModelOptions
from reranker_kd.inference.text_encoder import TextEncoder, load_encoder
from reranker_kd.models.folder import content_hash
from reranker_kd.models.registry import model_folder
from reranker_kd.progress import progress_bar
from reranker_kd.rerank.base import Progress, Reranker, no_progress
from reranker_kd.rerank.long_documents import LongDocuments
from reranker_kd.rerank.registry import load_reranker
from reranker_kd.types import FloatArray

_TEXTS_A_PART = 4096


class ScoringSettings(TeacherSettings, ModelOptions, LongDocuments):
    """How a model scores pairs. Names and defaults are those of ``reranker-kd rerank``."""

    def teacher(self, model: str | Path, cache_folder: str | Path) -> Teacher:
        """Return a model as teacher, by these options."""
        # What was left at its default is not passed on: a reranker of another package knows keywords of its own only.
        options = self.model_dump(
            include={*ModelOptions.model_fields, *LongDocuments.model_fields}, exclude_defaults=True
        )
        # Neither its share nor its scale bears on the scores that are kept.
        identity = self.model_dump(exclude={"weight", "scale", "shift"})
        return ModelTeacher(load_reranker(model, **options), cache_folder, identity)


class ModelSettings(ScoringSettings):
    """Any reranker: a folder, a registered name, a hub id; it scores every pair, augmented ones too."""

    model: Place

    def make(self, cache_folder: str | Path) -> Teacher:
        return self.teacher(self.model, cache_folder)


class UntrainedSettings(ScoringSettings):
    """A student as it starts: a bi-encoder read token by token, a masked language model read as SPLADE."""

    untrained: StudentShape

    def make(self, cache_folder: str | Path) -> Teacher:
        # By the start's content: what lies under its name may change.
        made_of = self.untrained.model_dump_json() + content_hash(model_folder(self.untrained.start))
        folder = Path(cache_folder) / "untrained" / hashlib.sha256(made_of.encode()).hexdigest()[:32]
        if not folder.is_dir():
            with atomic_folder(folder) as temporary:
                build_student(self.untrained, seed=0).save(temporary)
        return self.teacher(folder, cache_folder)


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


def encoder_of(settings: ModelSettings | None) -> TextEncoder:
    """Return the encoder of a recipe's teacher.

    :raises RecipeError: no model among the teachers, or one without embeddings
    """
    if settings is None:
        raise RecipeError("teacher: losses over embeddings need a bi-encoder among the teachers, such as model: NAME")
    options = settings.model_dump(include=set(ModelOptions.model_fields), exclude_defaults=True)
    try:
        return load_encoder(settings.model, **options)
    except ModelError as error:
        raise RecipeError(f"teacher.model: {error}") from None


def embed_texts(encoder: TextEncoder, transfer_set: TransferSet, cache: Path, *, quiet: bool = False) -> FloatArray:
    """Return the embeddings (n, d) of all queries, then all documents; float32, of length 1.

    Parts are kept under ``cache`` by the model and the texts themselves, so that a killed call goes on from the last.
    """
    sides = [(encoder.encode_queries, transfer_set.queries), (encoder.encode_documents, transfer_set.documents)]
    described = json.dumps(encoder.describe(), sort_keys=True)
    total = sum(len(texts) for _, texts in sides)
    parts = [np.zeros((0, encoder.dimension), dtype=np.float32)]
    with progress_bar("embedding by the teacher", total, "texts", quiet=quiet) as bar:
        for encode, by_id in sides:
            texts = list(by_id.values())
            for start in range(0, len(texts), _TEXTS_A_PART):
                part = texts[start : start + _TEXTS_A_PART]
                key = hashlib.sha256("\0".join([described, encode.__name__, *part]).encode()).hexdigest()
                path = cache / "embeddings" / f"{key[:32]}.npy"
                if not path.is_file():
                    save_array(path, encode(part))
                parts.append(np.load(path, allow_pickle=False))
                bar.advance(len(part))
    embeddings = np.concatenate(parts)
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)
