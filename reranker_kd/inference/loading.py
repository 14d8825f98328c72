"""Engines out of networks and out of exported folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reranker_kd.errors import InputError
from reranker_kd.inference.backends.registry import Backend, ScoringNetwork, load_backend, make_backend
from reranker_kd.inference.engine import Engine
from reranker_kd.inference.pair_tokenizer import PairTokenizer
from reranker_kd.models.exported import Export

_BACKEND_OF = {"openvino": "openvino", "onnx": "onnxruntime"}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What a user may ask of an engine; None leaves it to the engine.

    :param batch_tokens: tokens of a batch, padding included
    :param device: a torch device
    :param precision: a name out of :data:`reranker_kd.inference.precision.PRECISIONS`
    :param backend: a name out of :data:`reranker_kd.inference.backends.registry.BACKENDS`
    """

    batch_tokens: int | None = None
    device: str | None = None
    precision: str | None = None
    backend: str | None = None


def engine_of_network(network: ScoringNetwork, tokenizer: PairTokenizer, asked: EngineSettings) -> Engine:
    """Return an engine that runs a torch network, by default by torch in float32."""
    made = make_backend(
        network,
        with_types=tokenizer.has_types,
        backend=asked.backend or "torch",
        precision=asked.precision or "float32",
        device=asked.device,
    )
    return _engine(made, tokenizer, asked)


def engine_of_export(
    folder: Path, export: Export, network: str, tokenizer: PairTokenizer, asked: EngineSettings
) -> Engine:
    """Return an engine that runs a network of an exported folder, as it was exported.

    :param network: its name in ``export.json``
    :raises InputError: another backend, precision or device is asked for than the folder was exported for
    """
    has = {"backend": _BACKEND_OF[export.format], "precision": export.precision, "device": "cpu"}
    for setting, exported_for in has.items():
        if (value := getattr(asked, setting)) not in (None, "auto", exported_for):
            raise InputError(
                f"{folder}: was exported for {setting} {exported_for}, not {value}: leave it out, or export the model "
                "again"
            )
    # What was exported in half precision still runs where the processor has none.
    wanted = "auto" if export.precision == "bfloat16" else export.precision
    loaded = load_backend(folder / export.networks[network], precision=wanted)
    return _engine(loaded, tokenizer, asked)


def _engine(backend: Backend, tokenizer: PairTokenizer, asked: EngineSettings) -> Engine:
    return Engine(backend, pad_id=tokenizer.pad_id, with_types=tokenizer.has_types, batch_tokens=asked.batch_tokens)


def describe_engine(engine: Engine) -> dict[str, str]:
    """Return backend, precision and device, for a provenance file."""
    backend = engine.backend
    return {"backend": backend.name, "precision": backend.precision, "device": backend.device}
