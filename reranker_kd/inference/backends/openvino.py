"""Running a network by OpenVINO: its operations fused, and one stream of batches on each core."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from reranker_kd.errors import InputError
from reranker_kd.inference.batching import Arrays
from reranker_kd.inference.interface import Backend, Examples, cores
from reranker_kd.types import FloatArray

if TYPE_CHECKING:
    import openvino
    import torch

    from reranker_kd.models.network import Network

_TYPE_OF = {"float32": "f32", "bfloat16": "bf16"}


class OpenVinoRunner:
    """Runs an OpenVINO model of dynamic shape on the CPU.

    What OpenVINO prepares for a shape it keeps, so that batches out of few shapes run at the speed of a model that was
    compiled for each, on one copy of the weights.

    :param model: the model, or the path of its ``.xml``
    :param precision: ``float32``, ``bfloat16``, ``auto`` for bfloat16 where the processor computes in it, or ``int8``
        for a model that was quantised, whose other operations run as with ``auto``
    :raises RuntimeError: the file is no OpenVINO model
    """

    name = "openvino"
    device = "cpu"
    batch_tokens = 1024
    # AMX tiles and the fused attention take 16 at a time.
    length_step = 16

    def __init__(self, model: openvino.Model | Path, precision: str) -> None:
        import openvino

        # It fills a table when first called; two threads at their first batch would wait for each other for ever.
        openvino.Type.f32.to_dtype()
        core = openvino.Core()
        self.workers = cores()
        streams = {"NUM_STREAMS": str(self.workers), "INFERENCE_NUM_THREADS": str(self.workers)}
        read = core.read_model(model) if isinstance(model, Path) else model

        def compiled_in(kind: str) -> openvino.CompiledModel:
            return core.compile_model(read, "CPU", streams | {"INFERENCE_PRECISION_HINT": _TYPE_OF[kind]})

        free = precision in ("auto", "int8")
        has_half = free and "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        hint = ("bfloat16" if has_half else "float32") if free else precision
        try:
            compiled = compiled_in(hint)
        except RuntimeError:
            if not has_half:
                raise
            # It offers bfloat16 where oneDNN is held to less (ONEDNN_MAX_CPU_ISA), and then lacks a kernel.
            hint = "float32"
            compiled = compiled_in(hint)
        self.precision = "int8" if precision == "int8" else hint
        self._idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(self.workers):
            self._idle.put(compiled.create_infer_request())

    def run(self, arrays: Arrays) -> FloatArray:
        """Return the network's rows, float32 (n, d); any number of threads may call it."""
        request = self._idle.get()
        try:
            request.infer(arrays, share_inputs=True)
            return request.get_output_tensor(0).data.copy()
        finally:
            self._idle.put(request)


def openvino_model(network: Network, *, with_types: bool) -> openvino.Model:
    """Return the OpenVINO model of a float32 torch network, for any number of rows and tokens.

    :raises ModelError: the network has operations that OpenVINO does not know
    """
    import openvino

    from reranker_kd.inference.backends.tracing import converting, traceable

    module, example = traceable(network, with_types=with_types)
    with converting("OpenVINO", line=-1):
        model = openvino.convert_model(module, example_input=example)
    for port, name in zip(model.inputs, example, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
    model.validate_nodes_and_infer_types()
    return model


def quantised(model: openvino.Model, examples: Examples) -> openvino.Model:
    """Return a model whose products with weights run in int8, by ranges that are fixed from examples.

    Ranges fixed beforehand, unlike those taken from each batch, leave a score the same whatever else is in its batch.
    Products of activations with activations, attention's, stay as they are: their ranges would take in the padding, and
    so the score the length of its batch.

    :param examples: inputs like those to come
    """
    import nncf

    from reranker_kd.inference.backends.tracing import converting

    attention = [
        node.get_friendly_name()
        for node in model.get_ops()
        if node.get_type_name() == "ScaledDotProductAttention"
        or (node.get_type_name() == "MatMul" and not _is_weight(node.input_value(1).get_node()))
    ]
    with converting("nncf", line=-1), redirect_stdout(io.StringIO()):
        return nncf.quantize(
            model,
            nncf.Dataset(list(examples)),
            subset_size=len(examples),
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=attention, validate=False),
            # Weights within 7 bits: processors without VNNI add up products in 16 bits, which would overflow, and an
            # export may be opened on another machine than it was made on.
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        )


def _is_weight(node: Any) -> bool:
    """Tell whether a node is computed from constants alone."""
    if node.get_type_name() in ("Constant", "Parameter"):
        return node.get_type_name() == "Constant"
    return all(_is_weight(node.input_value(place).get_node()) for place in range(node.get_input_size()))


def _make(network: Network, *, with_types: bool, precision: str, device: torch.device) -> OpenVinoRunner:
    if device.type != "cpu":
        raise InputError(f"backend openvino runs on the CPU, not on {device}: leave the device out, or take torch")
    return OpenVinoRunner(openvino_model(network, with_types=with_types), precision)


def _export(network: Network, path: Path, *, with_types: bool, precision: str, examples: Examples = ()) -> None:
    import openvino

    model = openvino_model(network, with_types=with_types)
    if precision == "int8":
        model = quantised(model, examples)
    openvino.save_model(model, str(path), compress_to_fp16=precision != "float32")


BACKEND = Backend(
    name="openvino",
    packages=("openvino",),
    # Where a processor computes in bfloat16, OpenVINO makes the most of it; elsewhere ONNX Runtime is faster.
    preference=lambda device, in_half: (3 if in_half else 1) if device == "cpu" else None,
    make=_make,
    suffix=".xml",
    export=_export,
    open=OpenVinoRunner,
)
