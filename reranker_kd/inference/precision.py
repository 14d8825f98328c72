"""In which precision a network runs. Scores come out in float32 whatever it is."""

from __future__ import annotations

import torch

from reranker_kd.errors import InputError

PRECISIONS = ("float32", "bfloat16", "auto")


def resolve_precision(asked: str, device: torch.device) -> torch.dtype:
    """Return the data type of a network's weights and activations.

    :param asked: a name out of :data:`PRECISIONS`; ``auto`` takes bfloat16 where the device computes in it
    :raises InputError: an unknown name
    """
    if asked not in PRECISIONS:
        raise InputError(f"unknown precision {asked!r}; known: {', '.join(PRECISIONS)}")
    if asked == "bfloat16" or (asked == "auto" and _computes_in_bfloat16(device)):
        return torch.bfloat16
    return torch.float32


def _computes_in_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # AVX-512 BF16 or AMX, through oneDNN: on other processors bfloat16 is emulated and slower than float32.
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
