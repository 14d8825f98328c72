"""From a collection to a folder of embeddings that Pyserini's FaissSearcher opens: ``index`` and ``docid``."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from reranker_kd.errors import InputError, ModelError
from reranker_kd.formats.collections import documents_with_text
from reranker_kd.formats.files import atomic_binary_writer, atomic_writer
from reranker_kd.inference.text_encoder import TextEncoder
from reranker_kd.provenance import provenance_path, read_provenance, write_provenance
from reranker_kd.retrieve.dense.embedding_index import EmbeddingIndex
from reranker_kd.retrieve.dense.index_types import resolve_index_type
from reranker_kd.retrieve.dense.index_writer import write_index
from reranker_kd.retrieve.dense.parts import PARTS, EmbeddingParts
from reranker_kd.types import FloatArray

_ROWS = 16384
"""Vectors that are converted at once."""

_Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class CollectionSurvey:
    """What one pass over a collection found.

    :param documents: documents with text
    :param sha256: over their docids and texts, in their order
    :param empty: file, line and docid of each document without text, which gets no embedding
    """

    documents: int
    sha256: str
    empty: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoding did.

    :param documents: documents that were encoded by this call; 0 where all was there
    :param cut: those of them that are longer than the model takes
    :param missing: parts that other shards have yet to make; the folder is finished when there are none
    """

    documents: int
    cut: int
    missing: int


def survey_collection(collection: str | Path) -> CollectionSurvey:
    """Read a collection once, so that its faults are found before hours of encoding, and return what it holds.

    :raises FormatError: a fault, such as a docid that stands twice; or no document with text
    """
    digest = hashlib.sha256()
    empty: list[str] = []
    count = 0
    for document in documents_with_text(collection, empty):
        count += 1
        digest.update(f"{document.docid}\0{document.text}\n".encode())
    if not count:
        raise InputError(f"{collection}: none of its {len(empty)} documents has a text: there is nothing to encode")
    return CollectionSurvey(count, digest.hexdigest(), tuple(empty))


def encode_collection(
    collection: str | Path,
    survey: CollectionSurvey,
    encoder: TextEncoder,
    output: str | Path,
    *,
    index_type: str = "Flat",
    part_size: int = 2048,
    shard: tuple[int, int] = (0, 1),
    overwrite: bool = False,
    on_progress: _Progress = lambda _: None,
) -> Encoded:
    """Encode a collection part by part, then write its FAISS folder; go on where an earlier call was stopped.

    The vectors of a part do not depend on what was encoded before it, so that the folder is the same byte by byte
    whether or not the work was interrupted, and however many shards made it.

    :param survey: what :func:`survey_collection` found
    :param index_type: see :func:`resolve_index_type`
    :param part_size: documents of a part: enough to find others of like length, few enough to lose little
    :param shard: (id, number): this call makes the parts whose number leaves the remainder id; whoever finishes the
        last part writes the folder
    :param overwrite: replace what the folder holds
    :param on_progress: called with the number of documents since the last call that are finished or, with shards,
        left to others
    :raises InputError: a folder that holds other embeddings, or an index type that does not fit
    :raises ModelError: an embedding that is not finite
    """
    output = Path(output)
    index_type = resolve_index_type(index_type, encoder.dimension)
    model = encoder.describe()
    request = {
        "collection": survey.sha256,
        "part_size": part_size,
        **{f"model {key}": model[key] for key in ("sha256", "max_length", "precision")},
    }
    if not overwrite and _is_finished(output, {**request, "index_type": index_type}):
        return Encoded(0, 0, 0)
    parts = EmbeddingParts(output, request, -(-survey.documents // part_size), overwrite=overwrite)
    encoded = cut = 0
    mine = {number for number in parts.missing if number % shard[1] == shard[0]}
    remaining = documents_with_text(collection, [])
    for number, documents in enumerate(iter(lambda: list(islice(remaining, part_size)), [])):
        if number not in mine:
            on_progress(len(documents))
            continue
        start = time.perf_counter()
        tokens = encoder.document_tokens([document.text for document in documents])
        vectors = encoder.embed_documents(tokens, on_progress)
        seconds = time.perf_counter() - start
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise ModelError(
                f"{encoder.name}: NaN or infinity in the embedding of document {documents[finite.argmin()].docid}: "
                "encode with --precision float32, or with another model"
            )
        parts.save(number, [document.docid for document in documents], vectors, seconds)
        encoded += len(documents)
        cut += sum(len(ids) > encoder.document_room for ids in tokens)
    # Another shard that finished the last part may be writing the folder, or have written it and removed the parts.
    lock = output / ".lock"
    with FileLock(lock):
        missing = len(parts.missing) if parts.folder.is_dir() else 0
        if parts.folder.is_dir() and not missing:
            record = {
                "request": {**request, "index_type": index_type},
                "collection": {"path": str(collection), "sha256": survey.sha256},
                "model": model,
                "counts": {"documents": survey.documents, "empty": len(survey.empty)},
                "seconds": {"encode": round(parts.seconds(), 3)},
            }
            _write_folder(output, parts.vectors, parts.docids(), encoder.dimension, index_type, record)
            parts.remove()
    with suppress(OSError):
        lock.unlink()
    return Encoded(encoded, cut, missing)


def convert_embeddings(
    index: EmbeddingIndex,
    output: str | Path,
    index_type: str,
    *,
    overwrite: bool = False,
    on_progress: _Progress = lambda _: None,
) -> None:
    """Write the vectors of a folder into another one, as an index of another type.

    What the first index lost of the vectors stays lost: convert from Flat.

    :param on_progress: called with the number of vectors written since the last call
    :raises InputError: the output holds embeddings already, or is the folder that is read
    """
    output = Path(output)
    if output.resolve() == index.folder.resolve():
        raise InputError(f"{output}: is the folder that the vectors come from: name another --output")
    if (output / "index").exists() and not overwrite:
        raise InputError(f"{output}: holds embeddings already: name another --output, or --overwrite")
    made_by = read_provenance(index.folder / "index") or {}
    kept = {key: value for key, value in made_by.items() if key in {"collection", "model", "counts", "seconds"}}
    record = {**kept, "embeddings": index.describe()}

    def vectors() -> Iterator[FloatArray]:
        rows = np.arange(len(index))
        return (index.vectors_of(rows[start : start + _ROWS]) for start in range(0, len(index), _ROWS))

    index_type = resolve_index_type(index_type, index.dimension)
    _write_folder(output, vectors, index.docids, index.dimension, index_type, record, on_progress)


def _write_folder(
    output: Path,
    parts: Callable[[], Iterable[FloatArray]],
    docids: Iterable[str],
    dimension: int,
    index_type: str,
    record: dict[str, Any],
    on_progress: _Progress = lambda _: None,
) -> None:
    """Write ``index``, ``docid`` and provenance, in an order in which no reader finds an old with a new one."""
    index = output / "index"
    with atomic_binary_writer(index) as stream:
        write_index(stream, parts, dimension=dimension, index_type=index_type, on_progress=on_progress)
        for old in (output / "docid", provenance_path(index)):
            old.unlink(missing_ok=True)
    with atomic_writer(output / "docid") as lines:
        lines.writelines(f"{docid}\n" for docid in docids)
    write_provenance(index, {"stage": "encode", "index_type": index_type, **record})


def _is_finished(output: Path, request: dict[str, Any]) -> bool:
    if not (output / "index").exists() or (output / PARTS).is_dir():
        return False
    made_by = read_provenance(output / "index") or {}
    if made_by.get("request") != request:
        raise InputError(f"{output}: holds other embeddings already: name another --output, or --overwrite")
    return True
