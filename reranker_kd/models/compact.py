"""Weights in a quarter of the bytes: matrices as int8 with a scale for every 32 numbers, float32 again when loaded.

What a model computes is in float32 or bfloat16 as ever; only its folder is small. A few weights of a transformer are
far larger than their neighbours: with one scale for a whole row they would cost all others their precision (of the
bundled `cross`, scores within a query would move by 17% of their spread; with 32 by 2%).
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from reranker_kd.errors import ModelError
from reranker_kd.models.folder import first_line

WEIGHTS = "model.safetensors"
COMPACT_WEIGHTS = "model.int8.safetensors"

_SCALE = ".scale"
_GROUP = 32
"""Successive numbers of a row that share a scale, where it divides into such groups; else the whole row does."""

_SMALLEST = 1024
"""Numbers in the smallest matrix that is worth it; vectors (biases, norms) always stay as they are."""


def compact(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights with each large matrix as int8 (rows, columns) and float16 scales (rows, groups) beside it."""
    small = {}
    for name, value in weights.items():
        if value.ndim != 2 or value.numel() < _SMALLEST or not value.is_floating_point():
            small[name] = value.contiguous()
            continue
        rows, columns = value.shape
        groups = value.float().view(rows, columns // _GROUP if columns % _GROUP == 0 else 1, -1)
        scale = (groups.abs().amax(dim=2) / 127).half()
        # A group of zeros has no scale of its own; the smallest of float16 keeps the quotient finite.
        steps = groups / scale.float().clamp(min=2.0**-24)[:, :, None]
        small[name] = steps.round().clamp(-127, 127).to(torch.int8).view(rows, columns)
        small[name + _SCALE] = scale
    return small


def expanded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return compact weights as float32."""
    return {
        name: _scaled(value, weights[name + _SCALE]) if value.dtype == torch.int8 else value
        for name, value in weights.items()
        if not name.endswith(_SCALE)
    }


def _scaled(steps: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return (steps.float().view(*scale.shape, -1) * scale.float()[:, :, None]).view(steps.shape)


def load_weights(folder: Path, name: str = WEIGHTS) -> dict[str, torch.Tensor]:
    """Return the weights in a file of a folder, compact ones as float32.

    :param name: of the file; where a compact one of the same name lies there, that is read
    :raises ModelError: none, or a broken file
    """
    path = folder / (COMPACT_WEIGHTS if name == WEIGHTS and (folder / COMPACT_WEIGHTS).is_file() else name)
    try:
        return expanded(load_file(path))
    except Exception as error:
        raise ModelError(f"{path}: cannot be loaded: {first_line(error)}: save the model again") from error
