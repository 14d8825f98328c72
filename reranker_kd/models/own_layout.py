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
    from reranker_kd.models.kind import Kind

HEADS = "heads.safetensors"
CONFIG = "config.json"


def save(kind: Kind, network: Any, tokenizer: Any, folder: Path, config: str = CONFIG) -> None:
    """Write a network and its tokenizer into a folder.

    :param config: another file for the shape, where ``config.json`` is that of the one transformer in the same folder
    :raises ModelError: the tokenizer knows more word pieces than the network
    """
    shape = network.shape
    pieces = getattr(shape, "vocabulary_size", None)
    if pieces is not None and len(tokenizer) > pieces:
        raise ModelError(f"vocabulary_size is {pieces}, but the tokenizer has {len(tokenizer)} pieces")
    folder.mkdir(parents=True, exist_ok=True)
    transformers = kind.transformers(network)
    with quiet_transformers():
        tokenizer.save_pretrained(folder)
        for name, transformer in transformers.items():
            transformer.save_pretrained(folder / name if config == CONFIG else folder)
    save_file(heads_of(kind, network), folder / (HEADS if transformers else WEIGHTS))
    # What only the making of the student needed is left out.
    content = {"model_type": shape.kind, **shape.model_dump(exclude={"kind", "start", "random", "head", "weights"})}
    (folder / config).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def load(kind: Kind, folder: Path, config: str = CONFIG) -> Network:
    """Load a network in float32.

    :param config: as in :func:`save`
    :raises ModelError: another kind, an unknown key, a wrong value, missing or broken weights, or some that do not fit
    """
    content = read_json(folder / config)
    model_type = content.pop("model_type", None)
    if model_type != kind.name:
        raise ModelError(f"{folder / config}: model_type is {model_type!r}, expected {kind.name!r}")
    try:
        shape = kind.shape.model_validate({"kind": kind.name, **content})
    except ValidationError as error:
        raise ModelError(f"{folder / config}: {first_fault(error)}") from None
    network = kind.build(shape, SavedStart(folder, in_folders=config == CONFIG))
    apart = bool(kind.transformers(network))
    if not apart:
        check_weights(folder)
    expected = heads_of(kind, network)
    given = load_weights(folder, HEADS if apart else WEIGHTS)
    for name in sorted(given.keys() | expected.keys()):
        has, needs = (tuple(weights[name].shape) if name in weights else None for weights in (given, expected))
        if has != needs:
            fault = "is missing" if has is None else f"has shape {has}, expected {needs or 'no such weight'}"
            raise ModelError(f"{folder}: the weights do not fit {config}: weight {name} {fault}")
    network.load_state_dict(given, strict=False)
    return network


def heads_of(kind: Kind, network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the weights that are in none of the network's transformers."""
    within = {
        id(weight)
        for part in kind.transformers(network).values()
        for weight in part.state_dict(keep_vars=True).values()
    }
    kept = network.state_dict(keep_vars=True)
    return {name: value.detach().clone() for name, value in kept.items() if id(value) not in within}
