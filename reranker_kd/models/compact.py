"""Weights in a quarter of the bytes: each row of a matrix as int8 with a scale, float32 again when it is loaded.

What a model computes is in float32 or bfloat16 as ever; only its folder is small. Rounding moves a weight by at most a
254th of its row's largest one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from reranker_kd.errors import ModelError, OutputError

WEIGHTS = "model.safetensors"
COMPACT_WEIGHTS = "model.int8.safetensors"

_SCALE = ".scale"
_SMALLEST = 1024
"""Numbers in the smallest matrix that is worth it; vectors (biases, norms) always stay as they are."""


def compact(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights with each large matrix as int8 (rows, columns) and float32 scales (rows, 1) beside it."""
    small = {}
    for name, value in weights.items():
        if value.ndim != 2 or value.numel() < _SMALLEST or not value.is_floating_point():
            small[name] = value.contiguous()
            continue
        scale = value.float().abs().amax(dim=1, keepdim=True) / 127
        # A row of zeros has no scale of its own.
        steps = value.float() / scale.clamp(min=torch.finfo(torch.float32).tiny)
        small[name] = steps.round().clamp(-127, 127).to(torch.int8)
        small[name + _SCALE] = scale
    return small


def expanded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return compact weights as float32."""
    return {
        name: value.float() * weights[name + _SCALE] if value.dtype == torch.int8 else value
        for name, value in weights.items()
        if not name.endswith(_SCALE)
    }


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a folder, compact ones as float32.

    :raises ModelError: none, or a broken file
    """
    path = folder / COMPACT_WEIGHTS
    path = path if path.is_file() else folder / WEIGHTS
    try:
        return expanded(load_file(path))
    except Exception as error:
        raise ModelError(f"{path}: cannot be loaded: {str(error).splitlines()[0]}: save the model again") from error


def compact_folder(source: Path, target: Path) -> None:
    """Copy a model's folder with compact weights, its report and hidden files left out.

    :raises OutputError: the target exists
    """
    if target.exists():
        raise OutputError(f"{target}: is there already: remove it, or name another folder")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("report", ".*"))
    for path in sorted(target.rglob(WEIGHTS)):
        with safe_open(path, framework="pt") as stream:
            weights = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        save_file(compact(weights), path.with_name(COMPACT_WEIGHTS))
        path.unlink()
