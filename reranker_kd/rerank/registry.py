"""Rerankers by name: a folder, a model that an installed package carries, or one of the Hugging Face hub."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from reranker_kd.errors import ModelError
from reranker_kd.models.folder import fetch_from_hub, kind_of
from reranker_kd.rerank.base import Reranker

ENTRY_POINT_GROUP = "reranker_kd.rerankers"
"""Packages add rerankers under this group: a name, and a callable that takes keywords and returns a Reranker."""


def load_reranker(name: str | Path, **keywords: Any) -> Reranker:
    """Return the reranker of a name.

    Looked up in this order: a local folder; a name that an installed package registers under the entry point group
    ``reranker_kd.rerankers``; a Hugging Face hub id.

    :param name: the folder, name or hub id
    :param keywords: what the model documents, such as ``max_length``, ``long_documents``, ``device``
    :raises ModelError: no such model, it cannot be loaded, or it knows no such keyword
    """
    name = str(name)
    if Path(name).is_dir():
        return load_from_folder(Path(name), name=name, **keywords)
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if name in registered:
        return _load_registered(registered[name], keywords)
    if Path(name).exists():
        raise ModelError(f"{name}: is a file; name the folder that holds config.json and model.safetensors")
    return load_from_folder(fetch_from_hub(name), name=name, **keywords)


def load_from_folder(folder: Path, *, name: str, **keywords: Any) -> Reranker:
    """Return the reranker that a folder holds; see :func:`load_reranker`."""
    # Each pulls in torch and transformers, so neither is imported before it is wanted.
    if kind_of(folder) == "cross-encoder":
        from reranker_kd.rerank.cross_encoder import CrossEncoderReranker as Kind
    else:
        from reranker_kd.rerank.bi_encoder import BiEncoderReranker as Kind  # type: ignore[assignment]
    return _call(Kind, name, {"folder": folder, "name": name, **keywords})


def registered_names() -> dict[str, str]:
    """Return the names that installed packages register, each with the object that it stands for."""
    return {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}


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


def _call(factory: Any, name: str, keywords: dict[str, Any]) -> Reranker:
    try:
        inspect.signature(factory).bind(**keywords)
    except TypeError as error:
        raise ModelError(f"{name}: {error}; it takes {', '.join(inspect.signature(factory).parameters)}") from None
    return factory(**keywords)
