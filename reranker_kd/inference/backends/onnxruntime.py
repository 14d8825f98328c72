"""Running a network by ONNX Runtime on the CPU, one batch on each core."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from reranker_kd.errors import InputError
from reranker_kd.inference.batching import Arrays
from reranker_kd.inference.interface import Backend, Examples, cores
from reranker_kd.types import FloatArray

if TYPE_CHECKING:
    import torch

    from reranker_kd.models.network import Network

_OPSET = 17


class OnnxRunner:
    """Runs an ONNX model.

    :param model: the model's bytes, or the path of its file
    :param precision: ``float32`` or ``auto``, which is float32: ONNX Runtime computes in no half precision on CPUs
    :raises InputError: another precision
    :raises RuntimeError: the file is no ONNX model
    """

    name = "onnxruntime"
    precision = "float32"
    device = "cpu"
    batch_tokens = 1024
    length_step = 1

    def __init__(self, model: bytes | Path, precision: str) -> None:
        if precision not in ("float32", "auto"):
            raise InputError(f"backend onnxruntime runs in float32 on CPUs, not in {precision}: take openvino or torch")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Errors are raised; warnings of initialisers it drops are of no use.
        options.log_severity_level = 3
        # A core a batch is up to a quarter faster than all cores on one, and no thread waits in a loop.
        options.intra_op_num_threads = 1
        # A plan of the memory for every shape that was ever seen would pile up, and gains nothing.
        options.enable_mem_pattern = False
        self.workers = cores()
        try:
            self._session = onnxruntime.InferenceSession(
                str(model) if isinstance(model, Path) else model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            # ONNX Runtime's exceptions share no narrower class.
            raise RuntimeError(str(error)) from error

    def run(self, arrays: Arrays) -> FloatArray:
        """Return the network's rows, float32 (n, d); any number of threads may call it."""
        return self._session.run(None, arrays)[0]


def onnx_bytes(network: Network, *, with_types: bool) -> bytes:
    """Return the ONNX model of a float32 torch network, for any number of rows and tokens.

    :raises ModelError: the network has operations that ONNX does not know
    """
    import torch

    from reranker_kd.inference.backends.tracing import converting, traceable

    module, example = traceable(network, with_types=with_types)
    stream = io.BytesIO()
    with converting("ONNX"):
        torch.onnx.export(
            module,
            tuple(example.values()),
            stream,  # type: ignore[arg-type]
            input_names=list(example),
            output_names=["rows"],
            dynamic_axes={"rows": {0: "rows"}, **{name: {0: "rows", 1: "tokens"} for name in example}},
            opset_version=_OPSET,
            # The newer exporter needs a package more, and gives the same network.
            dynamo=False,
        )
    return stream.getvalue()


def _make(network: Network, *, with_types: bool, precision: str, device: torch.device) -> OnnxRunner:
    if device.type != "cpu":
        raise InputError(f"backend onnxruntime runs on the CPU, not on {device}: leave the device out, or take torch")
    return OnnxRunner(onnx_bytes(network, with_types=with_types), precision)


def _export(network: Network, path: Path, *, with_types: bool, precision: str, examples: Examples = ()) -> None:  # noqa: ARG001
    if precision != "float32":
        raise InputError(f"onnxruntime is exported for in float32, not in {precision}: take openvino")
    path.write_bytes(onnx_bytes(network, with_types=with_types))


BACKEND = Backend(
    name="onnxruntime",
    packages=("onnxruntime", "onnx"),
    preference=lambda device, in_half: 2 if device == "cpu" and not in_half else None,
    make=_make,
    suffix=".onnx",
    export=_export,
    open=OnnxRunner,
)
