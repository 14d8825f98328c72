"""Where a network runs: torch, OpenVINO, ONNX Runtime, or what an installed package adds."""

from __future__ import annotations

from reranker_kd.inference.interface import Backend
from reranker_kd.registry import Registry

BACKENDS: Registry[Backend] = Registry(
    "backend",
    "reranker_kd.backends",
    {
        "torch": "reranker_kd.inference.backends.torch:BACKEND",
        "openvino": "reranker_kd.inference.backends.openvino:BACKEND",
        "onnxruntime": "reranker_kd.inference.backends.onnxruntime:BACKEND",
    },
)
