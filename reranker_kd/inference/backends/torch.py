"""Running a network by torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reranker_kd.inference.batching import Arrays
from reranker_kd.inference.interface import Backend
from reranker_kd.inference.precision import resolve_precision
from reranker_kd.types import FloatArray

if TYPE_CHECKING:
    import torch

    from reranker_kd.models.network import Network

_CPU_TOKENS, _GPU_TOKENS = 4096, 32768


class TorchRunner:
    """Runs a network as it is, on a CPU or a GPU, all cores on one batch.

    :param network: altered, where the precision is lower than float32
    :param precision: ``float32``, ``bfloat16`` or ``auto`` (see
        :func:`~reranker_kd.inference.precision.resolve_precision`)
    """

    name = "torch"
    workers = 1
    length_step = 1

    def __init__(self, network: Network, *, with_types: bool, precision: str, device: torch.device) -> None:  # noqa: ARG002
        import torch

        dtype = resolve_precision(precision, device)
        if dtype != torch.float32:
            network.lower_precision(dtype)
        self.network = network.to(device).eval()
        self.precision = str(dtype).removeprefix("torch.")
        self.device = str(device)
        self.batch_tokens = _CPU_TOKENS if device.type == "cpu" else _GPU_TOKENS

    def run(self, arrays: Arrays) -> FloatArray:
        """Return the network's rows, float32 (n, d)."""
        import torch

        inputs = {name: torch.from_numpy(array).to(self.device) for name, array in arrays.items()}
        with torch.inference_mode():
            return self.network(**inputs).float().cpu().numpy()


BACKEND = Backend(name="torch", packages=("torch",), preference=lambda _device, _half: 0, make=TorchRunner)
