"""Rerankers by name: a model's folder or name, or a reranker that an installed package registers."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from reranker_kd.errors import InputError, ModelError
from reranker_kd.models.registry import bundled_students, installed_models, local_folder, model_folder
from reranker_kd.rerank.base import Reranker
from reranker_kd.rerank.cascade import Cascade, ModelExpression, NamedStage, Stage, stages_of
from reranker_kd.rerank.options import RerankOptions
from reranker_kd.sections import checked

ENTRY_POINT_GROUP = "reranker_kd.rerankers"
"""Packages add rerankers under this group: a name, and a callable that takes keywords and returns a Reranker."""


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
    registered = {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}
    return {**registered, **installed_models(), **bundled}


def _load_one(name: str, embeddings: str | Path | None, options: Mapping[str, Any]) -> Reranker:
    folder = local_folder(name)
    if folder is None:
        for entry in entry_points(group=ENTRY_POINT_GROUP):
            if entry.name == name:
                return _load_registered(entry, {**options, **({"embeddings": embeddings} if embeddings else {})})
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


def _load_registered(entry: EntryPoint, keywords: dict[str, Any]) -> Reranker:
    try:
        factory = entry.load()
    except Exception as error:
        fault = f"the package that registers it ({entry.value}) does not load: {error}"
        raise ModelError(f"{entry.name}: {fault}") from error
    signature = _signature(factory)
    try:
        signature.bind(**keywords)
    except TypeError as error:
        raise ModelError(f"{entry.name}: {error}; it takes {', '.join(signature.parameters) or 'no option'}") from None
    reranker = factory(**keywords)
    if not isinstance(reranker, Reranker):
        raise ModelError(f"{entry.name}: {entry.value} returned no reranker_kd.Reranker")
    return reranker


def _signature(factory: Any) -> inspect.Signature:
    if not isinstance(factory, type):
        return inspect.signature(factory)
    # Of a class, inspect would see the call that gives models by name, and not what the class itself takes.
    initialise: Any = getattr(factory, "__init__")  # noqa: B009
    if initialise is object.__init__:
        return inspect.Signature()
    _, *own = inspect.signature(initialise).parameters.values()
    return inspect.Signature(own)
