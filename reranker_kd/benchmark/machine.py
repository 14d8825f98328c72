"""The machine: what it has, and how fast it multiplies matrices."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark import Timer

from reranker_kd.inference.interface import cores
from reranker_kd.inference.precision import computes_in_bfloat16, torch_device

_FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16", "i8mm")
_SIDE = {"cpu": 2048, "cuda": 8192}
_SECONDS = 0.3


def describe_machine(device: str | None) -> dict[str, Any]:
    """Return processor, cores, memory, what of its instructions bears on speed, and versions of torch, as JSON values.

    :param device: a torch device; None takes a GPU where there is one
    """
    place = torch_device(device)
    said = _cpu_information()
    flags = set(said.get("flags", said.get("features", "")).split())
    return {
        "cpu": said.get("model name") or platform.processor() or platform.machine(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "flags": [flag for flag in _FLAGS if flag in flags],
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def matrix_product_rates(device: str | None) -> dict[str, float]:
    """Return floating-point operations a second of a square matrix product, by precision: the machine's ceiling.

    bfloat16 is left out where the device only emulates it: one such product takes most of a minute.
    """
    place = torch_device(device)
    side = _SIDE.get(place.type, 2048)
    rates = {}
    for dtype in (torch.float32, *([torch.bfloat16] if computes_in_bfloat16(place) else [])):
        matrix = torch.full((side, side), 0.5, dtype=dtype, device=place)
        timer = Timer("matrix @ matrix", globals={"matrix": matrix}, num_threads=torch.get_num_threads())
        rates[str(dtype).removeprefix("torch.")] = 2 * side**3 / timer.blocked_autorange(min_run_time=_SECONDS).median
    return rates


def _cpu_information() -> dict[str, str]:
    """Return what Linux says of the first processor, keys in lower case; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    first = path.read_text(encoding="utf-8").split("\n\n")[0] if path.is_file() else ""
    entries = (line.partition(":") for line in first.splitlines())
    return {key.strip().lower(): value.strip() for key, _, value in entries}
