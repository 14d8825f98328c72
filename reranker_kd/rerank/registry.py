"""Rerankers by name: a model's folder or name, or a reranker that an installed package registers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from reranker_kd.errors import ModelError
from reranker_kd.models.folder import kind_of
from reranker_kd.models.registry import bundled_students, installed_models, local_folder, model_folder
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.cascade import Cascade, ModelExpression, NamedStage, Stage, is_cascade, stages_of
from reranker_kd.rerank.early_stopping import EarlyStopping, StoppingRule

ENTRY_POINT_GROUP = "reranker_kd.rerankers"
"""Packages add rerankers under this group: a name, and a callable that takes keywords and returns a Reranker."""

_RERANKER_OF_KIND = {
    "cross-encoder": "reranker_kd.rerank.cross_encoder:CrossEncoderReranker",
    "bi-encoder": "reranker_kd.rerank.bi_encoder:BiEncoderReranker",
    "twin": "reranker_kd.rerank.bi_encoder:BiEncoderReranker",
    "bert-bilstm": "reranker_kd.rerank.bert_bilstm:BertBiLSTMReranker",
    "gated-cross-encoder": "reranker_kd.rerank.gated_cross_encoder:GatedCrossEncoderReranker",
}


def load_reranker(
    name: ModelExpression | Path,
    *,
    early_stopping: StoppingRule | None = None,
    network_defaults: Mapping[str, Any] | None = None,
    **keywords: Any,
) -> Reranker:
    """Return the reranker of a name, or the cascade of several.

    Looked up in this order: a local folder; a bundled student; a model that an installed package carries (entry point
    group ``reranker_kd.models``); a reranker that one registers (group ``reranker_kd.rerankers``); a hub id.

    :param name: the folder, name or hub id, or a cascade of them as :func:`~reranker_kd.rerank.cascade.stages_of` reads
        it: ``"twin:100 > cross:20"``
    :param early_stopping: when to leave out the rest of the candidates; by default never
    :param network_defaults: keywords for models, where ``keywords`` do not name them; rerankers that packages register
        keep their own defaults
    :param keywords: what the model documents, such as ``max_length``, ``long_documents``, ``device``; of a cascade,
        ``embeddings`` are for the first stage, all others for every stage
    :raises ModelError: no such model, it cannot be loaded, or it knows no such keyword
    """
    defaults = network_defaults or {}
    stages = (NamedStage(str(name)),) if isinstance(name, Path) else stages_of(name)
    if not is_cascade(stages):
        loaded = _load_one(stages[0].model, keywords, defaults)
        return loaded if early_stopping is None else EarlyStopping(loaded, early_stopping)
    if early_stopping is not None:
        named = " > ".join(stage.model for stage in stages)
        raise ModelError(f"{named}: early stopping is for a single model: leave it out, or name one model")
    later = {keyword: value for keyword, value in keywords.items() if keyword != "embeddings"}
    return Cascade(
        [
            Stage(_load_one(stage.model, later if place else keywords, defaults), stage.depth)
            for place, stage in enumerate(stages)
        ]
    )


def registered_names() -> dict[str, str]:
    """Return the names of bundled students and of what installed packages register, each with what it stands for."""
    bundled = {name: f"bundled {kind_of(folder)}" for name, folder in bundled_students().items()}
    registered = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return {**registered, **installed_models(), **bundled}


def _load_one(name: str | Path, keywords: Mapping[str, Any], defaults: Mapping[str, Any]) -> Reranker:
    folder = local_folder(name)
    if folder is None:
        for entry in entry_points(group=ENTRY_POINT_GROUP):
            if entry.name == str(name):
                return _load_registered(entry, dict(keywords))
    folder = folder or model_folder(name)
    # Each pulls in torch and transformers, so none is imported before it is wanted.
    kind = kind_of(folder)
    place = _RERANKER_OF_KIND[kind]
    embeddings = keywords.get("embeddings")
    keywords = {**defaults, **{keyword: value for keyword, value in keywords.items() if keyword != "embeddings"}}
    if embeddings is not None and place != _RERANKER_OF_KIND["bi-encoder"]:
        raise ModelError(
            f"{name}: is a {kind}, which scores query and document together: only bi-encoders have embeddings"
        )
    module, _, factory = place.partition(":")
    loaded = _call(
        getattr(import_module(module), factory), str(name), {"folder": folder, "name": str(name), **keywords}
    )
    if embeddings is None:
        return loaded
    from reranker_kd.rerank.embeddings import EmbeddingReranker

    return EmbeddingReranker(loaded, embeddings)


def _load_registered(entry: EntryPoint, keywords: dict[str, Any]) -> Reranker:
    try:
        factory = entry.load()
    except Exception as error:
        raise ModelError(
            f"{entry.name}: the package that registers it ({entry.value}) does not load: {error}"
        ) from error
    reranker = _call(factory, entry.name, keywords)
    if not isinstance(reranker, Reranker):
        raise ModelError(f"{entry.name}: {entry.value} returned no reranker_kd.Reranker")
    return reranker


def _call(factory: Any, name: str, keywords: dict[str, Any]) -> Any:
    try:
        inspect.signature(factory).bind(**keywords)
    except TypeError as error:
        raise ModelError(f"{name}: {error}; it takes {', '.join(inspect.signature(factory).parameters)}") from None
    return factory(**keywords)
