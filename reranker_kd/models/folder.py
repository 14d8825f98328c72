"""A model's folder: where a name leads to, what lies there, and what identifies its content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from reranker_kd.errors import InputError, ModelError

EXPORT_FILE = "export.json"
"""Tells an exported model's folder, and says what lies in it; see :mod:`reranker_kd.models.exported`."""

# Weights as safetensors only: nothing is unpickled. Code files are never fetched.
_FETCHED = ("*.json", "*.txt", "*.model", "*.safetensors")


def fetch_from_hub(name: str) -> Path:
    """Return the local folder of a Hugging Face hub model, downloading what it lacks.

    :raises ModelError: no such model, or no connection and no cached copy
    """
    from huggingface_hub import snapshot_download

    # Its errors (no network, no such repository, a malformed name) share no narrower class.
    try:
        return Path(snapshot_download(name, allow_patterns=list(_FETCHED)))
    except Exception as error:
        raise ModelError(
            f"{name}: no such folder, bundled student or installed model, and not to be had from the "
            f"Hugging Face hub: {first_line(error)}"
        ) from error


def check_weights(folder: Path) -> None:
    """Raise :class:`ModelError` unless the folder holds weights as safetensors."""
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.h5")])
    if pickled:
        raise ModelError(
            f"{folder}: holds weights only as {pickled[0].name}, which is not loaded since it may run code: "
            "save it again with save_pretrained, which writes model.safetensors"
        )
    raise ModelError(f"{folder}: holds no weights: expected model.safetensors, as save_pretrained writes it")


def checked_length(asked: int | None, limit: int, folder: Path, *, shortest: int = 16) -> int:
    """Return the input length to use.

    :param asked: what the user wants, None for the model's limit
    :param limit: tokens that the model takes at most
    :param shortest: tokens of the shortest input that makes sense, by default of a query with a passage
    :raises InputError: longer than the model takes, or too short
    """
    if asked is None:
        return limit
    if not shortest <= asked <= limit:
        raise InputError(f"{folder}: max_length {asked} is out of range: this model takes {shortest} to {limit}")
    return asked


def content_hash(folder: Path) -> str:
    """Return the SHA-256 over the names and contents of a model's files, in hexadecimal.

    Model cards, the report of a distillation and hidden files do not count: they change no score.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if not path.is_file() or path.suffix == ".md" or relative.parts[0] == "report":
            continue
        if any(part.startswith(".") for part in relative.parts):
            continue
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{relative.as_posix()}\0{content}\n".encode())
    return digest.hexdigest()


def optional_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file, an empty one where there is no file; see :func:`read_json`."""
    return read_json(path) if path.is_file() else {}


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a model's file.

    :raises ModelError: it cannot be read, or is no JSON object
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a JSON object")
    return content


def first_line(error: Exception) -> str:
    """Return what an error of another library says, in one line."""
    return " ".join(str(error).strip().split("\n", 1)[0].split()) or type(error).__name__
