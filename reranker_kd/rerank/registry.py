"""Rerankers by name: a model's folder or name, or a reranker that an installed package registers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reranker_kd.errors import InputError, ModelError
from reranker_kd.models.registry import bundled_students, installed_models, local_folder, model_folder
from reranker_kd.registry import Registry
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.cascade import Cascade, ModelExpression, NamedStage, Stage, stages_of
from reranker_kd.rerank.options import RerankOptions
from reranker_kd.sections import checked

RERANKERS: Registry[Callable[..., Reranker]] = Registry("reranker", "reranker_kd.rerankers", {})
"""What packages add: a name, and a callable that takes keywords and returns a Reranker."""


def load_reranker(name: ModelExpression | Path, *, embeddings: str | Path | None = None, **options: Any) -> Reranker:
    """Return the reranker of a name, or the cascade of several.

    Looked up in this order: a local folder; a bundled student; a model that an installed package carries (entry point
    group ``reranker_kd.models``); a reranker that one registers (group ``reranker_kd.rerankers``); a hub id.

    :param name: the folder, name or hub id, or a cascade of them as :func:`~reranker_kd.rerank.cascade.stages_of` reads
        it: ``"twin:100 > cross:20"``
    :param embeddings: a folder of the documents' embeddings; of a cascade, for the first stage
    :param options: those of :class:`~reranker_kd.rerank.options.RerankOptions`, such as ``max_length`` and
        ``precision``; of a cascade, for every stage. A reranker that a package registers gets them as keywords
    :raises ModelError: no such model, it cannot be loaded, or an option is unknown or has a wrong value
    :raises InputError: the package that adds the reranker does not load
    """
    stages = (NamedStage(str(name)),) if isinstance(name, Path) else stages_of(name)
    first, *later = stages
    reranker = _load_one(first.model, embeddings, options)
    if not later and first.depth is None:
        return reranker
    further = [Stage(_load_one(stage.model, None, options), stage.depth) for stage in later]
    return Cascade([Stage(reranker, first.depth), *further])


def registered_names() -> dict[str, str]:
    """Return the names of bundled students and of what installed packages register, each with what it stands for."""
    from reranker_kd.models.kinds import kind_of

    bundled = {name: f"bundled {kind_of(folder).name}" for name, folder in bundled_students().items()}
    registered = {point.name: point.value for point in RERANKERS.added()}
    return {**registered, **installed_models(), **bundled}


def _load_one(name: str, embeddings: str | Path | None, options: Mapping[str, Any]) -> Reranker:
    folder = local_folder(name)
    if folder is None and name in RERANKERS:
        return _load_registered(name, {**options, **({"embeddings": embeddings} if embeddings else {})})
    # They pull in much, so that they are not imported before they are wanted.
    from reranker_kd.rerank.embeddings import EmbeddingReranker
    from reranker_kd.rerank.model_reranker import TextReranker, load_model_reranker

    try:
        asked = checked(RerankOptions, options)
    except InputError as error:
        raise ModelError(f"{name}: {error}; it takes {', '.join(RerankOptions.model_fields)}") from None
    loaded = load_model_reranker(folder or model_folder(name), name, asked)
    if embeddings is None:
        return loaded
    if not isinstance(loaded, TextReranker):
        raise ModelError(f"{name}: scores query and document together: only bi-encoders have embeddings")
    return EmbeddingReranker(loaded, embeddings)


def _load_registered(name: str, keywords: dict[str, Any]) -> Reranker:
    factory = RERANKERS[name]
    # Of the class itself, inspect would see the call that gives models by name, and not what its __init__ takes.
    seen = type(name, (), {"__init__": factory.__init__}) if isinstance(factory, type) else factory  # type: ignore[misc]
    signature = inspect.signature(seen)
    try:
        signature.bind(**keywords)
    except TypeError as error:
        raise ModelError(f"{name}: {error}; it takes {', '.join(signature.parameters) or 'no option'}") from None
    reranker = factory(**keywords)
    if not isinstance(reranker, Reranker):
        raise ModelError(f"{name}: {factory.__module__}:{factory.__qualname__} returned no reranker_kd.Reranker")
    return reranker
