"""The folder of a student of our own: shape, transformers in folders of their own, all other weights in one file.

``config.json`` holds the shape, with the kind under ``model_type``. The weights outside of the transformers lie in
``heads.safetensors``, those of a student without a transformer in ``model.safetensors``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from safetensors.torch import save_file

from reranker_kd.errors import ModelError
from reranker_kd.models.compact import WEIGHTS, load_weights
from reranker_kd.models.folder import check_weights, read_json
from reranker_kd.models.loading import quiet_transformers
from reranker_kd.models.network import Network
from reranker_kd.models.start import SavedStart
from reranker_kd.sections import first_fault

if TYPE_CHECKING:
    from reranker_kd.models.kind import Kind, Shape

HEADS = "heads.safetensors"
CONFIG = "config.json"


def save(kind: Kind, network: Any, tokenizer: Any, folder: Path) -> None:
    """Write a network and its tokenizer into a folder.

    :raises ModelError: the tokenizer knows more word pieces than the network
    """
    pieces = getattr(network.shape, "vocabulary_size", None)
    if pieces is not None and len(tokenizer) > pieces:
        raise ModelError(f"vocabulary_size is {pieces}, but the tokenizer has {len(tokenizer)} pieces")
    folder.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        tokenizer.save_pretrained(folder)
        for name, transformer in kind.transformers(network).items():
            transformer.save_pretrained(folder / name)
    write_heads(kind, network, folder)
    write_shape(network.shape, folder / CONFIG)


def load(kind: Kind, folder: Path) -> Network:
    """Load a network, in float32 and in evaluation mode.

    :raises ModelError: an unknown key, a wrong value, missing or broken weights, or weights that do not fit
    """
    network = kind.build(read_shape(kind, folder / CONFIG), SavedStart(folder))
    load_heads(kind, network, folder)
    return network.eval()


def heads_of(kind: Kind, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights that are in none of the network's transformers."""
    within = {
        id(weight)
        for part in kind.transformers(network).values()
        for weight in part.state_dict(keep_vars=True).values()
    }
    kept = network.state_dict(keep_vars=True)
    return {name: value.detach().clone() for name, value in kept.items() if id(value) not in within}


def write_heads(kind: Kind, network: Any, folder: Path) -> None:
    """Write the weights that :func:`heads_of` names into a folder."""
    save_file(heads_of(kind, network), folder / (HEADS if kind.transformers(network) else WEIGHTS))


def load_heads(kind: Kind, network: torch.nn.Module, folder: Path) -> None:
    """Load the weights that :func:`heads_of` names from a folder into a network.

    :raises ModelError: missing or broken weights, or weights that do not fit
    """
    apart = bool(kind.transformers(network))
    if not apart:
        check_weights(folder)
    expected = heads_of(kind, network)
    given = load_weights(folder, HEADS if apart else WEIGHTS)
    for name in sorted(given.keys() | expected.keys()):
        has, needs = (tuple(weights[name].shape) if name in weights else None for weights in (given, expected))
        if has != needs:
            fault = "is missing" if has is None else f"has shape {has}, expected {needs or 'no such weight'}"
            raise ModelError(f"{folder}: the weights do not fit {CONFIG}: weight {name} {fault}")
    network.load_state_dict(given, strict=False)


def write_shape(shape: Shape, path: Path) -> None:
    """Write a shape; what only the making of the student needed is left out."""
    content = shape.model_dump(exclude={"kind", "start", "random"})
    path.write_text(json.dumps({"model_type": shape.kind, **content}, indent=2) + "\n", encoding="utf-8")


def read_shape(kind: Kind, path: Path) -> Any:
    """Return the shape in a file.

    :raises ModelError: another kind, an unknown key or a wrong value
    """
    content = read_json(path)
    model_type = content.pop("model_type", None)
    if model_type != kind.name:
        raise ModelError(f"{path}: model_type is {model_type!r}, expected {kind.name!r}")
    try:
        return kind.shape.model_validate({"kind": kind.name, **content})
    except ValidationError as error:
        raise ModelError(f"{path}: {first_fault(error)}") from None
