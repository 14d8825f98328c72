"""Where a network runs: torch, OpenVINO or ONNX Runtime, behind one small interface."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from reranker_kd.errors import InputError, ModelError
from reranker_kd.inference.batching import Arrays
from reranker_kd.inference.precision import check_precision, computes_in_bfloat16
from reranker_kd.types import FloatArray

if TYPE_CHECKING:
    import torch

BACKENDS = ("torch", "openvino", "onnxruntime", "auto")


class ScoringNetwork(Protocol):
    """What a backend asks of a network, beside being a ``torch.nn.Module``."""

    def lower_precision(self, dtype: torch.dtype) -> None:
        """Run in ``dtype`` what may be, the scores' own arithmetic excepted."""

    def to(self, device: torch.device) -> Any:
        """Move to a device; returns the network."""


class Backend(Protocol):
    """A network ready to run."""

    name: str
    precision: str
    device: str
    workers: int
    """Threads that should call :meth:`run` at a time."""
    batch_tokens: int
    """Tokens of a batch, padding included, that suit this backend: enough to fill it, few enough to stay in caches."""
    length_step: int
    """Lengths are padded to multiples of this; above 1 the number of rows is kept to few values too."""

    def run(self, arrays: Arrays) -> FloatArray:
        """Return the network's rows, float32 (n, d), for arrays of shape (n, tokens)."""


def make_backend(
    network: ScoringNetwork, *, with_types: bool, backend: str, precision: str, device: str | None
) -> Backend:
    """Return a backend that runs a torch network.

    :param network: called with ``input_ids``, ``attention_mask`` and, where ``with_types``, ``token_type_ids``,
        each (n, tokens); returns float (n, d); altered where the precision is lower than float32
    :param backend: a name out of :data:`BACKENDS`; ``auto`` takes the first of :func:`by_speed` that takes the network
    :param precision: a name out of :data:`reranker_kd.inference.precision.PRECISIONS`
    :param device: a torch device; None takes a CUDA GPU where there is one, else the CPU
    :raises InputError: an unknown backend or precision, or a device that the backend does not run on
    :raises ModelError: a backend that is not installed, or does not take the network
    """
    if backend not in BACKENDS:
        raise InputError(f"unknown backend {backend!r}; known: {', '.join(BACKENDS)}")
    check_precision(precision)
    from reranker_kd.inference.backends.torch import TorchBackend, torch_device

    place = torch_device(device)
    if backend == "auto":
        for name in by_speed(place, precision):
            try:
                return make_backend(network, with_types=with_types, backend=name, precision=precision, device=device)
            except ModelError:
                # A network with operations that it does not know.
                continue
        backend = "torch"
    if backend == "torch":
        return TorchBackend(network, device=place, precision=precision)
    if device is None:
        place = torch_device("cpu")
    if place.type != "cpu":
        raise InputError(f"backend {backend} runs on the CPU, not on {device}: leave the device out, or take torch")
    if backend == "openvino":
        check_installed("openvino")
        from reranker_kd.inference.backends.openvino import OpenVinoBackend, openvino_model

        return OpenVinoBackend(openvino_model(network, with_types=with_types), precision)
    check_installed("onnxruntime", "onnx")
    from reranker_kd.inference.backends.onnxruntime import OnnxBackend, onnx_bytes

    return OnnxBackend(onnx_bytes(network, with_types=with_types), precision)


def by_speed(device: torch.device, precision: str) -> list[str]:
    """Return the installed backends that are faster than torch, the fastest first; on a GPU none is.

    Where a processor computes in bfloat16, OpenVINO makes the most of it; where it does not (AVX2 alone), ONNX Runtime
    is the faster one (docs/speed.md).
    """
    if device.type != "cpu":
        return []
    has_half = computes_in_bfloat16(device)
    faster = ["openvino"] if has_half or precision == "bfloat16" else ["onnxruntime", "openvino"]
    needs = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime", "onnx")}
    return [name for name in faster if all(find_spec(package) for package in needs[name])]


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_backend(path: Path, *, precision: str) -> Backend:
    """Return a backend that runs an exported network: an OpenVINO model (``.xml``) or an ONNX model.

    :raises ModelError: the backend is not installed, or the file cannot be read
    """
    try:
        if path.suffix == ".xml":
            check_installed("openvino")
            from reranker_kd.inference.backends.openvino import OpenVinoBackend

            return OpenVinoBackend(path, precision)
        check_installed("onnxruntime")
        from reranker_kd.inference.backends.onnxruntime import OnnxBackend

        return OnnxBackend(path, precision)
    except RuntimeError as error:
        raise ModelError(f"{path}: cannot be read: {str(error).strip().splitlines()[-1]}: export it again") from error


def check_installed(*packages: str) -> None:
    """Raise :class:`ModelError` with the command that installs the first package that is missing."""
    for package in packages:
        if find_spec(package) is None:
            raise ModelError(f"{package} is not installed: pip install {package}")
