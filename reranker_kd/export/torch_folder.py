"""A model as a folder for torch, its weights in another precision: to open elsewhere, to train on, or to ship."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from reranker_kd.models.compact import COMPACT, WEIGHTS, compact, load_weights
from reranker_kd.models.folder import read_json
from reranker_kd.models.kinds import kind_of
from reranker_kd.models.loading import load_tokenizer

_TYPE_KEYS = ("dtype", "torch_dtype")
"""What transformers calls the data type in ``config.json``, now and formerly."""


def write_torch_folder(source: Path, target: Path, precision: str) -> str:
    """Save the model of a folder anew, its weights in a precision; return what else opens it, empty where nothing does.

    :param target: an empty folder
    :param precision: ``float32``, ``bfloat16``, or one of :data:`~reranker_kd.models.compact.COMPACT`, which
        this package alone opens
    """
    kind = kind_of(source)
    network = kind.load(source)
    kind.save(network, load_tokenizer(source), target)
    if precision != "float32":
        for path in sorted(target.rglob(WEIGHTS)):
            weights = load_weights(path.parent)
            if precision in COMPACT:
                save_file(compact(weights, precision), path.with_name(f"model.{precision}.safetensors"))
                path.unlink()
            else:
                save_file(_in_type(weights, getattr(torch, precision)), path, metadata={"format": "pt"})
            _write_type(path.with_name("config.json"), "float32" if precision in COMPACT else precision)
    return "" if precision in COMPACT else kind.opens_in(network)


def _in_type(weights: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {
        name: (value.to(dtype) if value.is_floating_point() else value).contiguous() for name, value in weights.items()
    }


def _write_type(path: Path, dtype: str) -> None:
    content = read_json(path) if path.is_file() else {}
    if keys := [key for key in _TYPE_KEYS if key in content]:
        path.write_text(json.dumps({**content, keys[0]: dtype}, indent=2) + "\n", encoding="utf-8")
