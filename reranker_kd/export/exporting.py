"""Writing an exported model: networks, tokenizer, model card, ``export.json``; whole and tested, or not at all.

For torch there is no network to compile: the folder is a model's like any other, without ``export.json``.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from reranker_kd.errors import InputError, ModelError, OutputError
from reranker_kd.export.self_test import self_test
from reranker_kd.export.torch_folder import write_torch_folder
from reranker_kd.formats.files import atomic_folder
from reranker_kd.inference.backends import BACKENDS
from reranker_kd.inference.batching import Arrays, padded
from reranker_kd.inference.loading import load_networks, write_export, write_record
from reranker_kd.inference.options import REFERENCE
from reranker_kd.inference.pair_tokenizer import PairTokenizer, TokenSequence
from reranker_kd.models.exported import read_export
from reranker_kd.models.folder import EXPORT_FILE
from reranker_kd.models.registry import model_folder
from reranker_kd.rerank.base import Pair
from reranker_kd.rerank.registry import load_reranker

Precision = Literal["float32", "bfloat16", "int8", "int6", "ternary"]

FORMATS = {"openvino": "openvino", "onnx": "onnxruntime", "torch": "torch"}
"""Backend by the name of the format that it opens; what packages add is called by the backend's own name."""


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """What to make of a model.

    :param format: a name out of :data:`FORMATS`, or a backend that exports
    :param precision: ``float32``, ``bfloat16``, ``int8``, ``int6`` or ``ternary``; ``onnx`` is float32 only. Of
        ``torch``, which alone has the last two, it is that of the weights on disk; what they compute in is asked for
        when they are loaded
    :param max_length: tokens of an input at most in what is calibrated and tested; None takes the model's own
    :raises InputError: an unknown format, or a precision that it does not have
    """

    format: str = "openvino"
    precision: Precision = "bfloat16"
    max_length: int | None = None

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise InputError(f"unknown format {self.format!r}; known: {', '.join(FORMATS)}")
        if self.format == "onnx" and self.precision != "float32":
            raise InputError(f"onnx is exported in float32, not in {self.precision}: take the format openvino")
        if self.precision in ("int6", "ternary") and self.format != "torch":
            raise InputError(f"{self.precision} is how a torch folder keeps its weights: take --format torch, or int8")

    @property
    def backend(self) -> str:
        """The backend that opens the export."""
        return FORMATS.get(self.format, self.format)


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
    backend = BACKENDS[settings.backend]
    int8 = settings.precision == "int8"
    backend.check_installed(*(["nncf"] if int8 and backend.export else []))
    lengths: dict[str, Any] = {"max_length": settings.max_length} if settings.max_length else {}
    source: Any = load_reranker(name, **REFERENCE, **lengths)
    calibrated_on, tested_on = pairs[::2], pairs[1::2]
    with atomic_folder(output, overwrite=True) as temporary:
        tested = partial(self_test, source.score_pairs(tested_on), temporary, tested_on, settings.precision, **lengths)
        precision = settings.precision
        if backend.export is None or precision == "int6" or precision == "ternary":
            opens_in = write_torch_folder(folder, temporary, precision)
            figures = {**tested(**REFERENCE), "opens_in": opens_in or "reranker_kd alone"}
        else:
            examples = {
                side: [_arrays(sequence, source.tokenizer) for sequence in sequences]
                for side, sequences in source.sequences(calibrated_on).items()
            }
            calibration = {"pairs": len(calibrated_on), "from": pairs_from} if int8 else None
            how: dict[str, Any] = {"name": str(name), "examples": examples, "calibration": calibration}
            export = write_export(folder, load_networks(folder), backend, precision, temporary, **how)
            figures = tested()
            write_record(export.model_copy(update={"self_test": figures}), temporary)
        if (folder / "README.md").is_file():
            shutil.copyfile(folder / "README.md", temporary / "README.md")
        return figures


def _arrays(sequence: TokenSequence, tokenizer: PairTokenizer) -> Arrays:
    arrays = padded([sequence], tokenizer.pad_id)
    if not tokenizer.has_types:
        del arrays["token_type_ids"]
    return arrays
