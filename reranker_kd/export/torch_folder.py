"""A model as a folder in its own format, its weights in another precision: for torch, for training on, or to ship."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from reranker_kd.errors import ModelError
from reranker_kd.models.compact import COMPACT_WEIGHTS, WEIGHTS, compact, load_weights
from reranker_kd.models.folder import read_json

_NAMES = (WEIGHTS, COMPACT_WEIGHTS)
_TYPE_KEYS = ("dtype", "torch_dtype")
"""What transformers calls the data type in ``config.json``, now and formerly."""


def write_torch_folder(source: Path, target: Path, precision: str) -> None:
    """Copy a model's folder with its weights in a precision, its report and hidden files left out.

    :param target: an empty folder
    :param precision: ``float32``, ``bfloat16``, or ``int8`` with scales (see :mod:`reranker_kd.models.compact`)
    :raises ModelError: weights that lie in several files
    """
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("report", ".*", *_NAMES), dirs_exist_ok=True)
    if shards := sorted(target.rglob("*.safetensors.index.json")):
        raise ModelError(
            f"{source}: its weights lie in several files ({shards[0].name}): save it by save_pretrained with a larger "
            "max_shard_size"
        )
    for folder in (target, *sorted(path for path in target.rglob("*") if path.is_dir())):
        original = source / folder.relative_to(target)
        if not any((original / name).is_file() for name in _NAMES):
            continue
        weights = load_weights(original)
        if precision == "int8":
            save_file(compact(weights), folder / COMPACT_WEIGHTS)
        else:
            save_file(_in_type(weights, getattr(torch, precision)), folder / WEIGHTS, metadata={"format": "pt"})
        _say_type(folder / "config.json", "float32" if precision == "int8" else precision)


def _in_type(weights: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous() for name, value in weights.items()
    }


def _say_type(path: Path, dtype: str) -> None:
    content = read_json(path) if path.is_file() else {}
    if keys := [key for key in _TYPE_KEYS if key in content]:
        path.write_text(json.dumps({**content, keys[0]: dtype}, indent=2) + "\n", encoding="utf-8")
