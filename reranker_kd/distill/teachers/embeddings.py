"""The embeddings of a teacher that is a bi-encoder, computed once and kept on disk for all students."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from reranker_kd.distill.data.transfer_set import TransferSet
from reranker_kd.distill.teachers.model import ModelSettings
from reranker_kd.errors import ModelError, RecipeError
from reranker_kd.formats.files import save_array
from reranker_kd.inference.options import ModelOptions
from reranker_kd.inference.text_encoder import TextEncoder, load_encoder
from reranker_kd.progress import progress_bar
from reranker_kd.types import FloatArray

_TEXTS_A_PART = 4096


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
