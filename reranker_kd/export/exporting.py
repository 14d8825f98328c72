"""Writing an exported model: networks, tokenizer, model card, ``export.json``; whole and tested, or not at all.

For torch there is no network to compile: the folder is a model's like any other, without ``export.json``.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from reranker_kd.errors import InputError, ModelError, OutputError
from reranker_kd.export.self_test import self_test
from reranker_kd.export.torch_folder import write_torch_folder
from reranker_kd.inference.backends.registry import check_installed
from reranker_kd.inference.batching import Arrays, padded
from reranker_kd.inference.pair_tokenizer import TokenSequence
from reranker_kd.models.exported import Export, Exportable, read_export
from reranker_kd.models.folder import EXPORT_FILE, content_hash, kind_of
from reranker_kd.models.registry import model_folder
from reranker_kd.rerank.base import Pair
from reranker_kd.rerank.registry import load_reranker

Format = Literal["openvino", "onnx", "torch"]
Precision = Literal["float32", "bfloat16", "int8"]

_SUFFIX = {"openvino": ".xml", "onnx": ".onnx"}
_PACKAGES: dict[str, tuple[str, ...]] = {"openvino": ("openvino",), "onnx": ("onnx", "onnxruntime"), "torch": ()}


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What to make of a model.

    :param format: ``openvino``, ``onnx`` or ``torch``
    :param precision: ``float32``, ``bfloat16`` or ``int8``; ``onnx`` is float32 only. Of ``torch`` it is that of the
        weights on disk; what they compute in is asked for when they are loaded
    :param max_length: tokens of an input at most in what is calibrated and tested; None takes the model's own
    :raises InputError: a precision that the format does not have
    """

    format: Format = "openvino"
    precision: Precision = "bfloat16"
    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.format == "onnx" and self.precision != "float32":
            raise InputError(f"onnx is exported in float32, not in {self.precision}: take the format openvino")


def export_model(
    name: str | Path, output: Path, settings: ExportSettings, pairs: Sequence[Pair], pairs_from: str
) -> dict[str, Any]:
    """Write a model into a folder that :func:`reranker_kd.load_reranker` opens, on its backend where it has one.

    :param name: as ``load_reranker`` takes it
    :param output: a folder that is new, empty, or an earlier export with ``export.json``, which is replaced
    :param pairs: every other one is calibrated on (int8), the rest tested on: what ranges were fitted to flatters them
    :param pairs_from: where they come from, for ``export.json``
    :return: the figures of the self-test
    :raises ModelError: a model that cannot be exported, a package that is missing, or scores too far from the source's
    :raises OutputError: the output is in use for something else
    """
    folder = model_folder(name)
    if read_export(folder) is not None:
        raise ModelError(f"{name}: is an exported model already: name the model that it was made from")
    if output.exists() and not (output / EXPORT_FILE).is_file() and (output.is_file() or any(output.iterdir())):
        raise OutputError(f"{output}: holds something else than an exported model: name a new folder")
    check_installed(*_PACKAGES[settings.format])
    if settings.precision == "int8" and settings.format == "openvino":
        check_installed("nncf")
    lengths: dict[str, Any] = {"max_length": settings.max_length} if settings.max_length else {}
    source = load_reranker(name, **lengths)
    calibrated_on, tested_on = pairs[::2], pairs[1::2]
    with _whole(output) as temporary:
        if settings.format == "torch":
            write_torch_folder(folder, temporary, settings.precision)
            return self_test(source.score_pairs(tested_on), temporary, tested_on, settings.precision, **lengths)
        export = _write(name, folder, source, temporary, settings, calibrated_on, pairs_from)
        figures = self_test(source.score_pairs(tested_on), temporary, tested_on, settings.precision, **lengths)
        _save_record(export.model_copy(update={"self_test": figures}), temporary)
        return figures


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """Yield a folder that takes the place of ``output`` when all went well, and else leaves no trace."""
    temporary = output.with_name(f".{output.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if output.exists():
            shutil.rmtree(output)
        temporary.replace(output)
    except OSError as error:
        raise OutputError(f"{output}: cannot write: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(
    name: str | Path,
    folder: Path,
    source: Any,
    output: Path,
    settings: ExportSettings,
    pairs: Sequence[Pair],
    pairs_from: str,
) -> Export:
    inner = getattr(source, "encoder", source)
    model: Exportable = inner.exportable()
    sequences = inner.sequences(pairs)
    if not hasattr(model.tokenizer, "backend_tokenizer"):
        raise ModelError(f"{folder}: its tokenizer has no tokenizer.json: save it with a current transformers")
    files: dict[int, str] = {}
    networks = {}
    for side, network in model.networks.items():
        if id(network) not in files:
            files[id(network)] = f"{side}{_SUFFIX[settings.format]}"
            _save_network(network, output / files[id(network)], settings, model, sequences[side])
        networks[side] = files[id(network)]
    model.tokenizer.backend_tokenizer.save(str(output / "tokenizer.json"))
    if model.twin is not None and not inner.searchable:
        from reranker_kd.models.crossing import save_crossing

        save_crossing(model.crossing, output)
    if (folder / "README.md").is_file():
        shutil.copyfile(folder / "README.md", output / "README.md")
    pad_id = model.tokenizer.pad_token_id
    export = Export(
        kind=kind_of(folder),
        format=cast(Literal["openvino", "onnx"], settings.format),
        precision=settings.precision,
        networks=networks,
        limit=model.limit,
        own_length=model.own_length,
        pad_id=0 if pad_id is None else pad_id,
        input_names=list(model.tokenizer.model_input_names),
        twin=model.twin,
        dimension=model.dimension,
        source={"name": str(name), "sha256": content_hash(folder)},
        calibration={"pairs": len(pairs), "from": pairs_from} if settings.precision == "int8" else None,
    )
    _save_record(export, output)
    return export


def _save_record(export: Export, folder: Path) -> None:
    (folder / EXPORT_FILE).write_text(export.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _save_network(
    network: Any, path: Path, settings: ExportSettings, model: Exportable, sequences: Sequence[TokenSequence]
) -> None:
    if settings.format == "onnx":
        from reranker_kd.inference.backends.onnxruntime import onnx_bytes

        path.write_bytes(onnx_bytes(network, with_types=model.with_types))
        return
    import openvino

    from reranker_kd.inference.backends.openvino import openvino_model, quantised

    converted = openvino_model(network, with_types=model.with_types)
    if settings.precision == "int8":
        converted = quantised(converted, [_arrays(sequence, model) for sequence in sequences])
    openvino.save_model(converted, str(path), compress_to_fp16=settings.precision != "float32")


def _arrays(sequence: TokenSequence, model: Exportable) -> Arrays:
    arrays = padded([sequence], model.tokenizer.pad_token_id or 0)
    if not model.with_types:
        del arrays["token_type_ids"]
    return arrays
