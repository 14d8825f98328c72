"""In which precision a network runs, and on what. Scores come out in float32 whatever it is.

To import torch takes a second. What device and processor can do is read off the system's files where they say it, so
that a compiled network opens without torch.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_DEVICE_FILES = Path("/dev")
_GPU_FILES = ("nvidia", "nvhost", "nvgpu", "nvmap", "dxg", "kfd")
"""Device files without which no program reaches a GPU: NVIDIA's, those of its boards, Windows's below, AMD's."""

_PROCESSOR_FILE = Path("/proc/cpuinfo")
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}
_ISAS_WITHOUT_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI"}


def resolve_precision(asked: str, device: torch.device) -> torch.dtype:
    """Return the data type of a torch network's weights and activations.

    :param asked: ``float32``, ``bfloat16``, or ``auto``, which takes bfloat16 where the device computes in it
    """
    import torch

    if asked == "bfloat16" or (asked == "auto" and computes_in_bfloat16(device)):
        return torch.bfloat16
    return torch.float32


def computes_in_bfloat16(device: torch.device | str) -> bool:
    """Return whether a device has instructions for bfloat16; elsewhere torch emulates it, hundreds of times slower."""
    kind = str(device).partition(":")[0]
    if kind == "cpu" and (known := _processor_has_bfloat16()) is not None:
        return known
    import torch

    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return kind == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _processor_has_bfloat16() -> bool | None:
    """Return whether oneDNN has AVX-512 BF16 or AMX; None where Linux does not list an x86 processor's flags."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA", "")
    try:
        with _PROCESSOR_FILE.open(encoding="utf-8") as lines:
            flags = next((line for line in lines if line.startswith("flags")), None)
    except OSError:
        return None
    if flags is None:
        return None
    return limit.upper() not in _ISAS_WITHOUT_BFLOAT16 and not _BFLOAT16_FLAGS.isdisjoint(flags.split())


def default_device() -> str:
    """Return ``cuda`` where there is a GPU, else ``cpu``."""
    if sys.platform == "linux" and not any(file.name.startswith(_GPU_FILES) for file in _DEVICE_FILES.glob("*")):
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def torch_device(requested: str | None) -> torch.device:
    """Return a device by its name; None gives :func:`default_device`."""
    import torch

    return torch.device(requested or default_device())
