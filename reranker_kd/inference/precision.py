"""In which precision a network runs. Scores come out in float32 whatever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reranker_kd.errors import InputError

if TYPE_CHECKING:
    import torch

PRECISIONS = ("float32", "bfloat16", "int8", "auto")


def check_precision(asked: str) -> None:
    """Raise :class:`InputError` unless a precision is known, and can be had without calibration."""
    if asked not in PRECISIONS:
        raise InputError(f"unknown precision {asked!r}; known: {', '.join(PRECISIONS)}")
    if asked == "int8":
        raise InputError(
            "int8 needs calibration: make a folder by reranker-kd export --precision int8, and name that as the model"
        )


def resolve_precision(asked: str, device: torch.device) -> torch.dtype:
    """Return the data type of a torch network's weights and activations.

    :param asked: a name out of :data:`PRECISIONS`; ``auto`` takes bfloat16 where the device computes in it
    :raises InputError: an unknown name, or one that torch does not run here
    """
    import torch

    check_precision(asked)
    if asked == "bfloat16" or (asked == "auto" and computes_in_bfloat16(device)):
        return torch.bfloat16
    return torch.float32


def computes_in_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16; elsewhere torch emulates it, hundreds of times slower."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # AVX-512 BF16 or AMX, through oneDNN.
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def torch_device(requested: str | None) -> torch.device:
    """Return a device by its name; None gives a CUDA GPU where there is one, else the CPU."""
    import torch

    return torch.device(requested or ("cuda" if torch.cuda.is_available() else "cpu"))
