"""The kinds of models by name, and which of them a folder holds. Other packages add theirs by entry points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator, SerializeAsAny, ValidationInfo

from reranker_kd.errors import InputError, ModelError
from reranker_kd.models.folder import EXPORT_FILE, optional_json, read_json
from reranker_kd.models.kind import Kind, Shape
from reranker_kd.models.start import load_token_encoder
from reranker_kd.registry import Registry

KINDS: Registry[Kind] = Registry(
    "kind of model",
    "reranker_kd.kinds",
    {
        "cross-encoder": "reranker_kd.models.cross_encoder:KIND",
        "twin": "reranker_kd.models.twin:KIND",
        "bert-bilstm": "reranker_kd.models.bert_bilstm:KIND",
        "gated-cross-encoder": "reranker_kd.models.gated_cross_encoder:KIND",
        "splade": "reranker_kd.models.splade:KIND",
    },
)
"""The first is what a recipe gets that names none."""

_EARLIER_NAMES = {"bi-encoder": "twin"}
"""Names that ``export.json`` of earlier versions may hold."""


def kind_named(name: Any, where: Path) -> Kind:
    """Return the kind that a file names.

    :raises ModelError: there is no such kind
    """
    try:
        return KINDS[_EARLIER_NAMES.get(name, name)]
    except InputError as error:
        raise ModelError(f"{where}: {error}") from None


def kind_of(folder: Path) -> Kind:
    """Return the kind of model that a folder holds, detected from its files.

    :raises ModelError: none that can rerank, or no model at all
    """
    if (folder / EXPORT_FILE).is_file():
        return kind_named(read_json(folder / EXPORT_FILE).get("kind"), folder / EXPORT_FILE)
    config = optional_json(folder / "config.json")
    if config.get("model_type") in KINDS:
        return KINDS[config["model_type"]]
    for kind in KINDS.values():
        if kind.recognises(folder, config):
            return kind
    if not config:
        raise ModelError(f"{folder}: holds no model: expected config.json, as save_pretrained writes it")
    raise ModelError(
        f"{folder}: no model that can rerank: neither a cross-encoder (architectures in config.json ending in "
        "ForSequenceClassification) nor a sentence-transformers bi-encoder (modules.json) nor one of our own "
        f"students; config.json says {config.get('architectures')}"
    )


def token_encoder_of(folder: Path) -> Any:
    """Return the transformer of any model's folder: of a bi-encoder, a student of our own, a classifier, a bare one.

    :raises ModelError: it cannot be loaded, or there is none in it
    """
    config = optional_json(folder / "config.json")
    if not (folder / "modules.json").is_file() and config.get("model_type") not in KINDS:
        return load_token_encoder(folder)
    kind = kind_of(folder)
    encoder = kind.encoder(kind.load(folder))
    if encoder is None:
        raise ModelError(f"{folder}: a {kind.name} has no transformer to start from: name another model")
    return encoder


def _shape(value: Any, info: ValidationInfo) -> Shape:
    if isinstance(value, Shape):
        return value
    if not isinstance(value, Mapping):
        raise ValueError("expected keys and values, such as start: NAME")
    name = value.get("kind") or next(iter(KINDS))
    if name not in KINDS:
        raise ValueError(f"kind: no kind of model {name!r}; known: {', '.join(KINDS)}")
    if not value.get("start"):
        raise ValueError("start: give the model whose vocabulary, and unless random, whose weights the student takes")
    return KINDS[name].shape.model_validate({**value, "kind": name}, context=info.context)


AnyShape = Annotated[SerializeAsAny[Shape], PlainValidator(_shape)]
"""The type of a recipe's field that takes the shape of any kind; a key that the kind does not have is an error."""
