"""Exported models: a folder of networks that a backend opens at once, without torch and transformers.

``export.json`` says all that the model's own folder said; the tokenizer lies beside it as ``tokenizer.json``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from reranker_kd.errors import ModelError
from reranker_kd.models.folder import EXPORT_FILE, read_json
from reranker_kd.models.settings import Inputs
from reranker_kd.sections import first_fault


class Export(Inputs):
    """What ``export.json`` says.

    :param format: the backend that opens it, or ``onnx`` in files of earlier versions
    :param precision: in which the networks run
    :param networks: the file of each: ``network`` of one that reads pairs, ``query`` and ``document`` of others
    :param pad_id: the token that fills shorter rows
    :param input_names: what the tokenizer gives to the network
    :param source: name and content hash of the model that was exported
    :param self_test: how the exported model ranks beside its source in float32
    :param calibration: of int8, where the pairs came from, and how many
    """

    format: str
    precision: Literal["float32", "bfloat16", "int8"]
    networks: dict[str, str]
    pad_id: int
    input_names: list[str]
    source: dict[str, str]
    self_test: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None

    @property
    def backend(self) -> str:
        """The backend that opens it."""
        return {"onnx": "onnxruntime"}.get(self.format, self.format)


def read_export(folder: Path) -> Export | None:
    """Return what ``export.json`` of a folder says, None where there is no such file.

    :raises ModelError: it cannot be read, or names a file that is missing
    """
    path = folder / EXPORT_FILE
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        if "reads" not in content:
            # Earlier versions left these to the kind, which is imported for that.
            from reranker_kd.models.kinds import kind_named

            kind = kind_named(content.get("kind"), path)
            content |= {"kind": kind.name, "reads": kind.reads, "framing": kind.framing}
        export = Export.model_validate(content)
    except ValidationError as error:
        raise ModelError(f"{path}: {first_fault(error)}: export the model again") from None
    for name in (*export.networks.values(), "tokenizer.json"):
        if Path(name).name != name or not (folder / name).is_file():
            raise ModelError(f"{path}: names {name}, which is not in the folder: export the model again")
    return export


class SavedTokenizer:
    """A ``tokenizer.json``, called as a ``transformers`` tokenizer is.

    :param folder: holds the file
    :param export: knows what the file does not
    :raises ModelError: the file cannot be read
    """

    def __init__(self, folder: Path, export: Export) -> None:
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            raise ModelError(f"{path}: cannot be read as a tokenizer: {error}") from error
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.name_or_path = str(folder)
        self.pad_token_id = export.pad_id
        self.model_input_names = export.input_names

    def __call__(
        self, text: str | list[str], pair: str | None = None, *, add_special_tokens: bool = True, **_: Any
    ) -> dict[str, Any]:
        """Return ``input_ids`` and ``token_type_ids`` of a text, a pair, or a list of texts, never cut or padded."""
        if isinstance(text, list):
            encoded = self._tokenizer.encode_batch_fast(text, add_special_tokens=add_special_tokens)
            return {"input_ids": [one.ids for one in encoded], "token_type_ids": [one.type_ids for one in encoded]}
        one = self._tokenizer.encode(text, pair, add_special_tokens=add_special_tokens)
        return {"input_ids": one.ids, "token_type_ids": one.type_ids}
