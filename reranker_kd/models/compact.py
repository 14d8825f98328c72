"""Weights in few bits: matrices as whole numbers with a scale for every 32 of them, float32 again when loaded.

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

COMPACT = {"int8": (8, 8), "int6": (6, 4), "ternary": (8, 8)}
"""By precision, the bits of a matrix's numbers and of those of a table of embeddings; ``ternary`` are what is not."""

_SCALE, _LEVEL = ".scale", ".level"
_GROUP = 32
"""Successive numbers of a row that share a scale, where it divides into such groups; else the whole row does."""

_SMALLEST = 1024
"""Numbers in the smallest matrix that is worth it; vectors (biases, norms) always stay as they are."""

_TABLE = 16
"""Rows for each column from which on a matrix is a table of embeddings, of which few rows bear on a score."""

_PLANES = {6: (4, 2), 4: (4,), 2: (2,)}
"""How a number of so many bits is cut into parts of which a byte holds several."""


def compact_file(folder: Path) -> Path | None:
    """Return the file of a folder's compact weights, None where there is none."""
    return next((path for name in COMPACT if (path := folder / f"model.{name}.safetensors").is_file()), None)


def compact(weights: dict[str, torch.Tensor], precision: str) -> dict[str, torch.Tensor]:
    """Return weights with each large matrix as bytes (rows, columns * bits / 8) and float16 scales (rows, groups).

    ``ternary`` has 2 bits and two sizes for each row, or for all, of a matrix that has no other numbers.

    :param precision: a name out of :data:`COMPACT`; a matrix whose rows do not divide into groups has 8 bits
    :raises ModelError: ``ternary``, and no matrix is
    """
    bits, table_bits = COMPACT[precision]
    small = {}
    for name, value in weights.items():
        if value.ndim != 2 or value.numel() < _SMALLEST or not value.is_floating_point():
            small[name] = value.contiguous()
            continue
        if precision == "ternary" and (found := _in_two_bits(value)) is not None:
            small[name], small[name + _LEVEL] = found
            continue
        rows, columns = value.shape
        divides = columns % _GROUP == 0
        own_bits = 8 if not divides else table_bits if rows >= _TABLE * columns else bits
        most = 2 ** (own_bits - 1) - 1
        groups = value.float().view(rows, columns // _GROUP if divides else 1, -1)
        scale = (groups.abs().amax(dim=2) / most).half()
        # A group of zeros has no scale of its own; the smallest of float16 keeps the quotient finite.
        steps = (groups / scale.float().clamp(min=2.0**-24)[:, :, None]).round().clamp(-most, most)
        steps = steps.to(torch.int8).view(rows, columns)
        small[name] = steps if own_bits == 8 else _packed(steps + (most + 1), own_bits)
        small[name + _SCALE] = scale
    if precision == "ternary" and not any(name.endswith(_LEVEL) for name in small):
        raise ModelError(
            "no weights of this model are ternary, and rounded now they would be ruined: train them so "
            "(student.weights: ternary in a recipe of distill)"
        )
    return small


def _in_two_bits(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return numbers of two sizes, a sign each, packed, and the sizes (rows, 2) or (1, 2); None of others."""
    sizes = value.abs().float()
    levels = torch.stack([sizes.amax(dim=1), sizes.amin(dim=1)], dim=1).half()
    smaller = sizes == levels[:, 1:].float()
    if value.shape[1] % 4 or not (smaller | (sizes == levels[:, :1].float())).all():
        return None
    packed = _packed((value < 0).to(torch.int8) * 2 + smaller, 2)
    return packed, levels[:1] if (levels == levels[0]).all() else levels


def _from_two_bits(packed: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
    codes = _unpacked(packed, 2, packed.shape[1] * 4)
    larger, smaller = levels.float().split(1, dim=1)
    sizes = torch.where(codes % 2 == 1, smaller, larger)
    return torch.where(codes >= 2, -sizes, sizes)


def expanded(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return compact weights as float32."""
    full = {}
    for name, value in weights.items():
        if name + _LEVEL in weights:
            full[name] = _from_two_bits(value, weights[name + _LEVEL])
        elif name + _SCALE in weights:
            full[name] = _scaled(value, weights[name + _SCALE])
        elif not name.endswith((_SCALE, _LEVEL)):
            full[name] = value
    return full


def _scaled(steps: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    if steps.dtype == torch.uint8:
        columns = scale.shape[1] * _GROUP
        bits = steps.shape[1] * 8 // columns
        steps = _unpacked(steps, bits, columns).float() - 2 ** (bits - 1)
    return (steps.float().view(*scale.shape, -1) * scale.float()[:, :, None]).view(steps.shape)


def _packed(numbers: torch.Tensor, bits: int) -> torch.Tensor:
    """Return whole numbers from 0 on, (rows, columns), as bytes: the upper parts of all, then the lower."""
    planes, left = [], bits
    for width in _PLANES[bits]:
        left -= width
        parts = (numbers.to(torch.uint8) >> left) & (2**width - 1)
        shifts = torch.arange(0, 8, width, dtype=torch.uint8)
        planes.append((parts.unflatten(1, (-1, 8 // width)) << shifts).sum(2, dtype=torch.uint8))
    return torch.cat(planes, dim=1)


def _unpacked(packed: torch.Tensor, bits: int, columns: int) -> torch.Tensor:
    numbers = torch.zeros(len(packed), columns, dtype=torch.uint8)
    for width, plane in zip(_PLANES[bits], packed.split([columns * w // 8 for w in _PLANES[bits]], 1), strict=True):
        shifts = torch.arange(0, 8, width, dtype=torch.uint8)
        parts = (plane[:, :, None] >> shifts) & (2**width - 1)
        numbers = (numbers << width) | parts.flatten(1)
    return numbers


def load_weights(folder: Path, name: str = WEIGHTS) -> dict[str, torch.Tensor]:
    """Return the weights in a file of a folder, compact ones as float32.

    :param name: of the file; where a compact one of the same name lies there, that is read
    :raises ModelError: none, or a broken file
    """
    path = (name == WEIGHTS and compact_file(folder)) or folder / name
    try:
        return expanded(load_file(path))
    except Exception as error:
        raise ModelError(f"{path}: cannot be loaded: {first_line(error)}: save the model again") from error
