"""What a student of our own keeps beside its transformers: a checked configuration, and the weights of its heads."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors.torch import load_file, save_file

from reranker_kd.errors import ModelError
from reranker_kd.models.folder import read_json

HEADS = "heads.safetensors"
CONFIG = "config.json"

Config = TypeVar("Config", bound=BaseModel)


def save_heads(folder: Path, config: BaseModel, heads: dict[str, torch.Tensor]) -> None:
    """Write configuration and heads into a folder that exists."""
    save_file(heads, folder / HEADS)
    (folder / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_config(folder: Path, kind: type[Config]) -> Config:
    """Return the configuration of a folder.

    :raises ModelError: it cannot be read, or has an unknown key or a wrong value
    """
    try:
        return kind.model_validate(read_json(folder / CONFIG))
    except ValidationError as error:
        fault = error.errors()[0]
        raise ModelError(f"{folder / CONFIG}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None


def load_heads(folder: Path, network: torch.nn.Module, expected: dict[str, torch.Tensor]) -> None:
    """Load the heads of a folder into a network.

    :param expected: the network's own, whose names the file must have
    :raises ModelError: a broken file, or weights that do not fit
    """
    path = folder / HEADS
    try:
        heads = load_file(path)
        odd = heads.keys() ^ expected.keys()
        if not odd:
            network.load_state_dict(heads, strict=False)
    except Exception as error:
        raise ModelError(f"{path}: cannot be loaded: {str(error).splitlines()[0]}") from None
    if odd:
        raise ModelError(f"{path}: does not fit {CONFIG}: weight {sorted(odd)[0]}")
