"""Running a network by torch."""

from __future__ import annotations

import torch

from reranker_kd.inference.backends.registry import ScoringNetwork
from reranker_kd.inference.batching import Arrays
from reranker_kd.inference.precision import resolve_precision
from reranker_kd.types import FloatArray

_CPU_TOKENS, _GPU_TOKENS = 4096, 32768


class TorchBackend:
    """Runs a network as it is, on a CPU or a GPU, all cores on one batch.

    :param network: returns float (n, d); altered where the precision is lower than float32
    :param precision: ``float32``, ``bfloat16`` or ``auto`` (see
        :func:`~reranker_kd.inference.precision.resolve_precision`)
    """

    name = "torch"
    workers = 1
    length_step = 1

    def __init__(self, network: ScoringNetwork, *, device: torch.device, precision: str) -> None:
        dtype = resolve_precision(precision, device)
        if dtype != torch.float32:
            network.lower_precision(dtype)
        self.network = network.to(device).eval()
        self.precision = str(dtype).removeprefix("torch.")
        self.device = str(device)
        self.batch_tokens = _CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS

    def run(self, arrays: Arrays) -> FloatArray:
        """Return the network's rows, float32 (n, d)."""
        inputs = {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}
        with torch.inference_mode():
            return self.network(**inputs).float().cpu().numpy()


def torch_device(asked: str | None) -> torch.device:
    """Return a device by its name; None gives a CUDA GPU where there is one, else the CPU."""
    return torch.device(asked or ("cuda" if torch.cuda.is_available() else "cpu"))
